"""Findings of a check as text for people, and as JSON, SARIF, GitHub annotations and JUnit for programs."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from lrsched_cli.show.summary import printable
from lrsched_cli.verify.findings import SEVERITIES, Finding
from lrsched_cli.verify.rules import Rule, rules

#: What the severities are called elsewhere, and the colours of a terminal.
SARIF_LEVELS = {"error": "error", "warning": "warning", "note": "note"}
GITHUB_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}
COLOURS = {"error": "1;31", "warning": "1;33", "note": "1;36"}
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
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
    """``tick 500, epoch 2``, as far as it is known and says more."""
    if finding.tick is None:
        return ""
    if finding.epoch is None or finding.tick == finding.epoch == 0:
        return f"tick {finding.tick}"
    return f"epoch {finding.epoch}" if finding.tick == finding.epoch else f"tick {finding.tick}, epoch {finding.epoch}"


def count_text(findings: Sequence[Finding], schedules: int) -> str:
    """``10 schedules: 1 error, 2 warnings, 3 notes``, or that nothing was found."""
    many = f"{schedules} schedule" + ("" if schedules == 1 else "s")
    counts = Counter(finding.severity for finding in findings)
    told = [f"{counts[s]} {s}" + ("" if counts[s] == 1 else "s") for s in SEVERITIES if counts[s]]
    return f"{many}: {', '.join(told)}" if told else f"{many}, nothing found"


def write_json(findings: Sequence[Finding]) -> str:
    """``{"version", "findings"}``, every key of every finding always there, null where it is unknown."""
    keys = ("code", "severity", "schedule", "tick", "epoch", "file", "line", "message", "advice")
    listed = [{key: getattr(finding, key) for key in keys} for finding in findings]
    return json.dumps({"version": 1, "findings": listed}, indent=2) + "\n"


def write_sarif(findings: Sequence[Finding]) -> str:
    """SARIF 2.1.0, which GitHub's code scanning and editors read."""
    known = rules()
    used = [known[code] for code in dict.fromkeys(finding.code for finding in findings)]
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
        "results": [_sarif_result(finding, numbers[finding.code]) for finding in findings],
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


def _sarif_result(finding: Finding, index: int) -> dict[str, Any]:
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
        "properties": {"tick": finding.tick, "epoch": finding.epoch},
    }


def write_github(findings: Sequence[Finding]) -> str:
    """Workflow commands, which GitHub shows beside the lines of a pull request."""
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
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def write_junit(findings: Sequence[Finding], schedules: Sequence[str] = ()) -> str:
    """JUnit's XML: a test for each schedule, which fails with its errors and warnings."""
    names = list(dict.fromkeys([*schedules, *(finding.schedule for finding in findings)]))
    failing = {name: [f for f in findings if f.schedule == name and f.severity != "note"] for name in names}
    count = {"tests": str(len(names)), "failures": str(sum(map(bool, failing.values()))), "errors": "0"}
    root = ElementTree.Element("testsuites", {"name": "lrsched check", **count})
    suite = ElementTree.SubElement(root, "testsuite", {"name": "lrsched check", **count, "skipped": "0"})
    for name in names:
        mine = [finding for finding in findings if finding.schedule == name]
        place = {"file": _xml(mine[0].file)} if mine and mine[0].file else {}
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": "lrsched.check", "name": _xml(name), "time": "0", **place}
        )
        if failing[name]:
            said = {"message": _xml(failing[name][0].message), "type": failing[name][0].code}
            ElementTree.SubElement(case, "failure", said).text = _xml(write_text(failing[name]))
        notes = [finding for finding in mine if finding.severity == "note"]
        if notes:
            ElementTree.SubElement(case, "system-out").text = _xml(write_text(notes))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    """A text without the characters that XML 1.0 has no way to say."""
    return "".join(c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


#: The formats for programs, by name.
WRITERS: Mapping[str, Callable[[Sequence[Finding]], str]] = {
    "json": write_json,
    "sarif": write_sarif,
    "github": write_github,
}


def explanation_text(rule: Rule) -> str:
    """What a rule is about, for a person."""
    return f"{rule.code} ({rule.severity}): {rule.summary}\n\n{rule.explanation}\n"


def rules_text() -> str:
    """Every rule, a line each."""
    known = rules()
    width = max(map(len, known))
    return "".join(f"{rule.code:<{width}}  {rule.severity:<7}  {rule.summary}\n" for rule in known.values())
