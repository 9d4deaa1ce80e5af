"""Findings of a check as text for people, and as JSON, SARIF, GitHub annotations and JUnit for programs."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from lrsched_cli.show.summary import printable
from lrsched_cli.verify.findings import SEVERITIES, Finding, Silenced
from lrsched_cli.verify.rules import Rule, rules

#: What the severities are called elsewhere, and the colours of a terminal.
SARIF_LEVELS = {"error": "error", "warning": "warning", "note": "note"}
GITHUB_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}
COLOURS = {"error": "1;31", "warning": "1;33", "note": "1;36"}
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
#: A tick that a message tells itself.
TOLD_TICK = re.compile(r"\b(?:tick|t =) ([\d,]*\d)")
HOMEPAGE = "https://pypi.org/project/lrsched-cli/"


def write_text(findings: Sequence[Finding], *, colour: bool = False, width: int | None = None) -> str:
    """One line for each finding, as compilers write them, and a line of advice below it.

    ``width`` is that of a terminal, in which lines are broken between words.
    """

    def paint(code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colour and text else text

    lines = []
    for finding in findings:
        place = ":".join(str(part) for part in (finding.file, finding.line) if part is not None)
        prefix = f"{printable(place)}: " if place else ""
        kind, name = f"{finding.severity}[{finding.code}]", printable(finding.schedule)
        where = f" ({at})" if (at := where_of(finding)) else ""
        first, *more = _broken(f"{printable(finding.message)}{where}", width, len(f"{prefix}{kind} {name}: "))
        lines.append(f"{prefix}{paint(COLOURS[finding.severity], kind)} {paint('1', name)}: {first}".rstrip())
        lines += [f"    {line}" for line in more]
        lines += [f"    {paint('2', line)}" for line in _broken(printable(finding.advice), width, 4)]
    return "".join(f"{line}\n" for line in lines)


def _broken(text: str, width: int | None, start: int) -> list[str]:
    """A text in lines for a terminal: the first one begins in a column, the others are indented by four.

    The first line is empty where not even a word fits there.
    """
    if width is None:
        return [text]
    fits = start + len(text.partition(" ")[0]) <= width
    lines = textwrap.wrap(
        text,
        max(width, 30),
        initial_indent=" " * start if fits else "    ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [*([] if fits else [""]), *(line.strip() for line in lines)]


def where_of(finding: Finding) -> str:
    """``tick 500, epoch 2``, as far as it is known and the message does not say it itself.

    Of a message that tells other ticks, it is where that begins: ``from tick 500, epoch 2``.
    """
    tick, epoch = finding.tick, finding.epoch
    if not tick:  # what is so from the start on is so of the whole plan
        return ""
    told = {int(text.replace(",", "")) for text in TOLD_TICK.findall(finding.message)}
    by_epoch = tick == epoch
    if tick in told:
        return "" if epoch is None or by_epoch or f"epoch {epoch}" in finding.message else f"epoch {epoch}"
    where = f"tick {tick}" if epoch is None else f"epoch {epoch}" if by_epoch else f"tick {tick}, epoch {epoch}"
    return f"from {where}" if told else where


def count_text(findings: Sequence[Finding], schedules: int, silenced: int = 0, file: str | None = None) -> str:
    """``10 schedules in plan.yaml: 1 error, 2 warnings, 3 notes, 1 silenced``, or that nothing was found."""
    many = f"{schedules} schedule" + ("" if schedules == 1 else "s") + (f" in {printable(file)}" if file else "")
    counts = Counter(finding.severity for finding in findings)
    told = [f"{counts[s]} {s}" + ("" if counts[s] == 1 else "s") for s in SEVERITIES if counts[s]]
    quiet = [f"{silenced} silenced"] if silenced else []
    return f"{many}: {', '.join([*told, *quiet])}" if told else ", ".join([many, "nothing found", *quiet])


def write_json(findings: Sequence[Finding], silenced: Sequence[Silenced] = ()) -> str:
    """``{"version", "findings"}``, every key of every finding always there, null where it is unknown.

    Where entries say to ignore some, these are under ``ignored``, each with its ``reason``.
    """
    document: dict[str, Any] = {"version": 1, "findings": [_json_finding(finding) for finding in findings]}
    if silenced:
        document["ignored"] = [{**_json_finding(finding), "reason": reason or None} for finding, reason in silenced]
    return json.dumps(document, indent=2) + "\n"


def _json_finding(finding: Finding) -> dict[str, Any]:
    keys = ("code", "severity", "schedule", "tick", "epoch", "file", "line", "message", "advice")
    return {key: getattr(finding, key) for key in keys}


def write_sarif(findings: Sequence[Finding], silenced: Sequence[Silenced] = ()) -> str:
    """SARIF 2.1.0, which GitHub's code scanning and editors read; what an entry ignores is in it as suppressed."""
    known = rules()
    every = [*((finding, None) for finding in findings), *silenced]
    used = [known[code] for code in dict.fromkeys(finding.code for finding, _ in every)]
    driver = {
        "name": "lrsched",
        "informationUri": HOMEPAGE,
        **_version(),
        "rules": [_sarif_rule(rule) for rule in used],
    }
    numbers = {rule.code: number for number, rule in enumerate(used)}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(finding, numbers[finding.code], reason) for finding, reason in every],
    }
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _version() -> dict[str, str]:
    from lrsched_cli import __version__

    return {} if __version__ == "unknown" else {"version": str(__version__)}


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": "".join(word.capitalize() for word in rule.code.split("-")),
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": " ".join(rule.explanation.split("\n\n")[0].split())},
        "help": {"text": rule.explanation},
        "defaultConfiguration": {"level": SARIF_LEVELS[rule.severity]},
    }


def _sarif_result(finding: Finding, index: int, reason: str | None) -> dict[str, Any]:
    """A result; ``reason`` is why its entry ignores it, None where it does not."""
    where = where_of(finding)
    text = f"{finding.schedule}: {finding.message}{f' ({where})' if where else ''}. {finding.advice}"
    logical = {"name": finding.schedule, "kind": "member"}
    location: dict[str, Any] = {"logicalLocations": [logical]}
    if finding.file is not None:
        physical: dict[str, Any] = {
            "artifactLocation": {"uri": quote(finding.file.replace("\\", "/"), safe="/:", errors="replace")}
        }
        if finding.line is not None:
            physical["region"] = {"startLine": finding.line}
        location = {"physicalLocation": physical, **location}
    return {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": SARIF_LEVELS[finding.severity],
        "message": {"text": text},
        "locations": [location],
        "suppressions": [] if reason is None else [_suppression(reason)],
        "properties": {"tick": finding.tick, "epoch": finding.epoch},
    }


def _suppression(reason: str) -> dict[str, str]:
    return {"kind": "inSource", **({"justification": reason} if reason else {})}


def write_github(findings: Sequence[Finding], silenced: Sequence[Silenced] = ()) -> str:
    """Workflow commands, which GitHub shows beside the lines of a pull request; nothing of what is ignored."""
    del silenced
    lines = []
    for finding in findings:
        said = {"file": finding.file, "line": finding.line, "title": f"{finding.code}: {finding.schedule}"}
        properties = ",".join(f"{key}={_property(str(value))}" for key, value in said.items() if value is not None)
        where = f" ({at})" if (at := where_of(finding)) else ""
        told = f"{finding.message}{where}\n{finding.advice}"
        lines.append(f"::{GITHUB_COMMANDS[finding.severity]} {properties}::{_data(told)}\n")
    return "".join(lines)


def _data(text: str) -> str:
    """A message as GitHub's runner unescapes it (actions/toolkit, core/src/command.ts)."""
    safe = "".join(c if c in "\r\n" else printable(c) for c in text)
    return safe.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def write_junit(findings: Sequence[Finding], silenced: Sequence[Silenced] = (), schedules: Sequence[str] = ()) -> str:
    """JUnit's XML: a test for each schedule, which fails with its errors and warnings.

    One that passes because it says to ignore some is skipped, with the reasons.
    """
    every = [*findings, *(finding for finding, _ in silenced)]
    names = list(dict.fromkeys([*schedules, *(finding.schedule for finding in every)]))
    root = ElementTree.Element("testsuites", {"name": "lrsched check"})
    suite = ElementTree.SubElement(root, "testsuite", {"name": "lrsched check"})
    for name in names:
        mine = [finding for finding in every if finding.schedule == name]
        place = {"file": _xml(mine[0].file)} if mine and mine[0].file else {}
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": "lrsched.check", "name": _xml(name), "time": "0", **place}
        )
        _junit_outcome(
            case, [f for f in findings if f.schedule == name], [s for s in silenced if s[0].schedule == name]
        )
    count = {"tests": str(len(names)), "failures": str(len(suite.findall("*/failure"))), "errors": "0"}
    root.attrib.update(count)
    suite.attrib.update(**count, skipped=str(len(suite.findall("*/skipped"))))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _junit_outcome(case: ElementTree.Element, mine: Sequence[Finding], silenced: Sequence[Silenced]) -> None:
    failing = [finding for finding in mine if finding.severity != "note"]
    reasons = [f"{finding.code}: {reason}" if reason else finding.code for finding, reason in silenced]
    if failing:
        said = {"message": _xml(failing[0].message), "type": failing[0].code}
        ElementTree.SubElement(case, "failure", said).text = _xml(write_text(failing))
    elif silenced:
        ElementTree.SubElement(case, "skipped", {"message": _xml(f"ignored: {'; '.join(reasons)}")})
    beside = write_text([finding for finding in mine if finding.severity == "note"])
    beside += "".join(f"ignored: {reason}\n" for reason in reasons if failing)
    if beside:
        ElementTree.SubElement(case, "system-out").text = _xml(beside)


def _xml(text: str) -> str:
    """A text without the characters that XML 1.0 has no way to say."""
    return "".join(c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


#: The formats for programs, by name.
WRITERS: Mapping[str, Callable[[Sequence[Finding], Sequence[Silenced]], str]] = {
    "json": write_json,
    "sarif": write_sarif,
    "github": write_github,
}


def explanation_text(rule: Rule) -> str:
    """What a rule is about, for a person."""
    silence = f"Where it is meant, the entry says so: ignore: {{{rule.code}: the reason}}"
    return f"{rule.code} ({rule.severity}): {rule.summary}\n\n{rule.explanation}\n\n{silence}\n"


def rules_text() -> str:
    """Every rule, a line each."""
    known = rules()
    width = max(map(len, known))
    return "".join(f"{rule.code:<{width}}  {rule.severity:<7}  {rule.summary}\n" for rule in known.values())
