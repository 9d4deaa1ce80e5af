"""``lrsched check``: its formats, exit codes and messages, and what it does beside the snapshot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.cli.conftest import on_terminal, spawn

PLAN = """\
run: {epochs: 20}
schedules:
  dead:
    kind: torch.PolynomialLR
  fine: {kind: cosine}
  warm: {kind: cosine, warmup: 5ep}
"""
DEAD = (
    "torch.PolynomialLR is over at tick 5 (its total_iters is 5 unless given): "
    "the rate stays at 0 for the last 15 epochs of 20"
)
KEYS = ["code", "severity", "schedule", "tick", "epoch", "file", "line", "message", "advice"]
HOSTILE = 'a%b\n: c,"é\x1b[31m'


@pytest.fixture
def plan() -> Path:
    path = Path("schedules.yaml")
    path.write_text(PLAN)
    return path


def hostile() -> None:
    Path("p.yaml").write_text(
        f"run: {{epochs: 20}}\nschedules: {{{json.dumps(HOSTILE)}: {{kind: torch.PolynomialLR}}}}\n"
    )


# Exit codes and talk.


def test_a_fault_is_told_like_a_compiler_does(run: Any, plan: Path) -> None:
    result = run("check")
    assert result.code == 1
    assert result.out == (
        f"schedules.yaml:4: warning[goes-dead] dead: {DEAD}\n"
        "    Make total_iters as long as the run, 20 epochs.\n"
        "schedules.yaml:6: note[first-update-zero] warm: "
        "the whole first epoch has a rate of 0, where the warm-up starts\n"
        "    Normal; warmup: {for: ..., first: 1} or a start_factor above 0 would use it.\n"
    )
    assert result.err == "3 schedules in schedules.yaml: 1 warning, 1 note\n"


def test_exit_codes(run: Any, plan: Path) -> None:
    assert run("check", "schedules.yaml:fine") == (0, "", "1 schedule in schedules.yaml, nothing found\n")
    assert run("check", "schedules.yaml:warm").code == 0, "notes alone"
    assert run("check", "schedules.yaml:dead", "--ignore", "goes-dead") == (
        0,
        "",
        "1 schedule in schedules.yaml, nothing found\n",
    )
    assert run("check", "dead", "-q").err == ""
    assert run("check", "torch.OneCycleLR", "--max-lr", "0.1", "--total-steps", "10", "--steps", "20").code == 1
    assert run("check", "cosine", "--warmup", "5", "--steps", "5").code == 1


def test_a_kind_and_the_options_of_the_run(run: Any) -> None:
    result = run("check", "torch.PolynomialLR", "--epochs", "20")
    assert (result.code, result.out.splitlines()[0]) == (
        1, f"warning[goes-dead] torch.PolynomialLR: {DEAD}")  # fmt: skip
    assert run("check", "torch.PolynomialLR", "--epochs", "20", "--total-iters", "20").code == 0
    assert run("check", "torch.PolynomialLR", "--epochs", "5").code == 0


def test_a_configuration_of_another_program(run: Any) -> None:
    scheduler = {"type": "WarmupDecayLR", "params": {"total_num_steps": 500, "warmup_num_steps": 100}}
    Path("ds_config.json").write_text(json.dumps({"train_batch_size": 8, "scheduler": scheduler}))
    assert run("check", "ds_config.json").code == 0
    result = run("check", "ds_config.json", "--steps", "1000")
    assert result.code == 1
    assert result.out.startswith("ds_config.json:")
    assert "[goes-dead] ds_config: deepspeed.WarmupDecayLR is over at tick 501" in result.out


def test_set_changes_what_is_judged(run: Any, plan: Path) -> None:
    assert run("check", "dead", "--set", "dead.total_iters=20").code == 0
    assert run("check", "schedules.yaml:dead", "--set", "dead.total_iters=20").code == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--format xml", "--format must be text, json, sarif, github, junit, got 'xml'"),
        ("--format jsno", "--format must be text, json, sarif, github, junit, got 'jsno' (did you mean json?)"),
        ("--select goes-deaf", "--select names no rule: goes-deaf (did you mean goes-dead?)"),
        ("--ignore rate-jumps,zzz", "--ignore names no rule: zzz; lrsched check --explain all lists every one"),
        ("--select ,", "--select names no rule; lrsched check --explain all lists every one"),
        ("--explain rate-jump", "unknown rule 'rate-jump' (did you mean rate-jumps?)"),
        ("--explain zzz", "unknown rule 'zzz'; lrsched check --explain all lists every one"),
        ("--strict", "check has no option --strict"),
        ("cosine --strict", "check has no option --strict"),
        ("--formt json", "check has no option --formt (did you mean --format?)"),
        ("cosine --eta-mn 1", "cosine has no option --eta-mn (did you mean --eta-min?)"),
        ("nosuch.yaml", "no such file: nosuch.yaml"),
        ("cosin", "no kind and no entry of schedules.yaml is called cosin (did you mean cosine?)"),
        ("-o nosuch/x.txt", "cannot write nosuch/x.txt: No such file or directory"),
        ("cosine --eta-min -1", "cosine: eta_min must be >= 0, got -1"),
        ("--snapshot nosuch.lrsnap", "no such file: nosuch.lrsnap"),
    ],
)
def test_bad_input_is_one_line(run: Any, plan: Path, line: str, message: str) -> None:
    assert run("check", *line.split(" ")).message() == message
    assert [path.name for path in Path().iterdir()] == ["schedules.yaml"]


def test_nothing_to_check(run: Any) -> None:
    told = "name a kind or a file, or run it where there is a schedules.yaml; lrsched list shows the kinds"
    assert run("check").message() == told


# The formats for programs.


def test_json_has_every_key(run: Any, plan: Path) -> None:
    result = run("check", "--format", "json")
    document = json.loads(result.out)
    assert list(document) == ["version", "findings"]
    assert document["version"] == 1
    dead, warm = document["findings"]
    assert list(dead) == list(warm) == KEYS
    assert dead == {
        "code": "goes-dead", "severity": "warning", "schedule": "dead", "tick": 5, "epoch": 5,
        "file": "schedules.yaml", "line": 4, "message": DEAD,
        "advice": "Make total_iters as long as the run, 20 epochs.",
    }  # fmt: skip
    assert warm["severity"] == "note"
    assert json.loads(run("check", "fine", "--format", "json").out) == {"version": 1, "findings": []}
    (alone,) = json.loads(run("check", "torch.PolynomialLR", "--steps", "20", "--format", "json").out)["findings"]
    assert (alone["file"], alone["line"], alone["epoch"]) == (None, None, None)


def test_sarif_has_what_the_standard_requires(run: Any, plan: Path) -> None:
    """The required properties of SARIF 2.1.0, and those that GitHub's code scanning shows."""
    document = json.loads(run("check", "--format", "sarif").out)
    assert document["version"] == "2.1.0"
    assert document["$schema"].endswith("sarif-2.1.0.json")
    (only,) = document["runs"]
    driver = only["tool"]["driver"]
    assert driver["name"] == "lrsched"
    assert [rule["id"] for rule in driver["rules"]] == ["goes-dead", "first-update-zero"]
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"]
        assert rule["help"]["text"]
        assert rule["defaultConfiguration"]["level"] in ("note", "warning", "error")
    dead, warm = only["results"]
    assert (dead["ruleId"], dead["ruleIndex"], dead["level"]) == ("goes-dead", 0, "warning")
    assert (warm["ruleIndex"], warm["level"]) == (1, "note")
    assert dead["message"]["text"] == f"dead: {DEAD}. Make total_iters as long as the run, 20 epochs."
    physical = dead["locations"][0]["physicalLocation"]
    assert physical == {"artifactLocation": {"uri": "schedules.yaml"}, "region": {"startLine": 4}}
    alone = json.loads(run("check", "torch.PolynomialLR", "--steps", "20", "--format", "sarif").out)
    assert "physicalLocation" not in alone["runs"][0]["results"][0]["locations"][0]
    assert json.loads(run("check", "fine", "--format", "sarif").out)["runs"][0]["results"] == []


def unescaped(text: str) -> str:
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text


def test_github_annotations_survive_any_name(run: Any) -> None:
    """Read back as the runner does (actions/runner, ActionCommand.TryParseV2)."""
    hostile()
    result = run("check", "p.yaml", "--format", "github")
    assert result.code == 1
    assert result.out.count("\n") == 1, "a command is one line"
    head, _, data = result.out.strip("\n").removeprefix("::").partition("::")
    command, _, properties = head.partition(" ")
    said = {key: unescaped(value) for key, _, value in (part.partition("=") for part in properties.split(","))}
    assert command == "warning"
    assert said == {"file": "p.yaml", "line": "2", "title": "goes-dead: " + HOSTILE.replace("\x1b", r"\x1b")}
    assert "\x1b" not in result.out
    assert unescaped(data).startswith(f"{DEAD}\nMake total_iters")
    assert run("check", "p.yaml:nosuch", "--format", "github").code == 2


def test_junit_counts_schedules(run: Any, plan: Path) -> None:
    root = ElementTree.fromstring(run("check", "--format", "junit").out)
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    cases = {case.get("name"): case for case in suite}
    assert list(cases) == ["dead", "fine", "warm"]
    failure = cases["dead"].find("failure")
    assert failure is not None
    assert failure.get("type") == "goes-dead"
    assert failure.get("message") == DEAD
    assert cases["warm"].find("failure") is None, "a note is none"
    hostile()
    (again,) = ElementTree.fromstring(run("check", "p.yaml", "--format", "junit").out)
    assert again[0].get("name") == HOSTILE.replace("\x1b", "\N{REPLACEMENT CHARACTER}").replace("\n", " ") or again[
        0
    ].get("name") == HOSTILE.replace("\x1b", "\N{REPLACEMENT CHARACTER}")


def test_text_moves_no_cursor(run: Any) -> None:
    hostile()
    out = run("check", "p.yaml").out
    assert "\x1b" not in out
    assert out.count("\n") == 2
    assert r"a%b\n: c,\"é\x1b[31m" in out.replace('"', r"\"")


@pytest.mark.parametrize("format", ["text", "json", "sarif", "github", "junit"])
def test_output_goes_to_a_file(run: Any, plan: Path, format: str) -> None:
    shown = run("check", "--format", format)
    written = run("check", "--format", format, "-o", "found.txt")
    assert (written.code, written.out) == (1, "")
    assert written.err == shown.err
    assert Path("found.txt").read_text() == shown.out
    assert run("check", "--format", format, "-o", "-").out == shown.out


@pytest.mark.parametrize("output", ["schedules.yaml", "./schedules.yaml", "schedules.lrsnap"])
def test_what_is_read_is_not_written_over(run: Any, plan: Path, output: str) -> None:
    run("snapshot")
    before = Path(output).read_bytes()
    result = run("check", "schedules.yaml", "-o", output)
    assert (result.code, result.out) == (2, "")
    assert result.err == f"lrsched: --output {Path(output)} is read here, and would be written over\n"
    assert Path(output).read_bytes() == before


# What an entry says to ignore.

SILENT = """\
run: {epochs: 20}
schedules:
  dead:
    kind: torch.PolynomialLR
    ignore: {goes-dead: "the paper\'s own <table 3>"}
  bare: {kind: torch.PolynomialLR, ignore: goes-dead}
"""


def test_what_is_silenced_leaves_a_trace(run: Any) -> None:
    Path("schedules.yaml").write_text(SILENT)
    assert run("check") == (0, "", "2 schedules in schedules.yaml, nothing found, 2 silenced\n")
    assert run("check", "--format", "github").out == ""
    document = json.loads(run("check", "--format", "json").out)
    assert document["findings"] == []
    dead, bare = document["ignored"]
    assert list(dead) == [*KEYS, "reason"]
    assert (dead["code"], dead["reason"], bare["reason"]) == ("goes-dead", "the paper's own <table 3>", None)
    results = json.loads(run("check", "--format", "sarif").out)["runs"][0]["results"]
    assert [result["suppressions"] for result in results] == [
        [{"kind": "inSource", "justification": "the paper's own <table 3>"}],
        [{"kind": "inSource"}],
    ]
    (suite,) = ElementTree.fromstring(run("check", "--format", "junit").out)
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("2", "0", "2")
    skipped = suite[0].find("skipped")
    assert skipped is not None
    assert skipped.get("message") == "ignored: goes-dead: the paper's own <table 3>"


def test_what_is_not_silenced_says_so_in_sarif(run: Any, plan: Path) -> None:
    """SARIF 2.1.0, 3.27.23: either all results of a run have suppressions, or none."""
    results = json.loads(run("check", "--format", "sarif").out)["runs"][0]["results"]
    assert [result["suppressions"] for result in results] == [[], []]


def test_a_changed_rate_can_be_ignored_too(run: Any, plan: Path) -> None:
    assert run("snapshot", "schedules.yaml:fine").code == 0
    plan.write_text(PLAN.replace("{kind: cosine}", "{kind: cosine, eta_min: 0.001}"))
    assert run("check", "fine").code == 1
    plan.write_text(PLAN.replace("{kind: cosine}", "{kind: cosine, eta_min: 0.001, ignore: {snapshot: on trial}}"))
    again = run("check", "fine")
    assert again.code == 0
    assert "1 schedule in schedules.yaml, nothing found, 1 silenced" in again.err


# Explanations and help.


def test_explain(run: Any) -> None:
    result = run("check", "--explain", "rate-jumps")
    assert result.code == 0
    assert result.out.startswith("rate-jumps (warning): a jump where one part hands over to the next")
    assert "huggingface/pytorch-image-models#1242" in result.out
    assert result.out.endswith("Where it is meant, the entry says so: ignore: {rate-jumps: the reason}\n")
    assert run("check", "--explain=rate-jumps", "schedules.yaml").out == result.out
    every = run("check", "--explain", "all")
    assert every.code == 0
    assert len(every.out.splitlines()) >= 18
    assert all(len(line) <= 110 for line in every.out.splitlines())


def test_help(run: Any, plan: Path) -> None:
    result = run("check", "--help")
    assert result.code == 0
    for option in ("--format", "--select", "--ignore", "--explain", "--snapshot", "--update", "--steps"):
        assert option in result.out
    assert "ignore: {CODE: reason}" in " ".join(result.out.split())
    assert "check" in run("--help").out


def test_a_place_is_said_once(run: Any) -> None:
    def told(*args: str) -> str:
        return str(run("check", *args).out.splitlines()[0])

    cosine = ("torch.CosineAnnealingLR", "--select", "rebounds", "--t-max", "1000")
    assert told(*cosine, "--epochs", "15", "--steps-per-epoch", "100").endswith(
        " at tick 1,499 (from tick 1001, epoch 10)"
    )
    assert told(*cosine, "--epochs", "1500").endswith(" at tick 1,499 (from epoch 1001)")
    dead = ("torch.PolynomialLR", "--epochs", "20")
    assert told(*dead) == f"warning[goes-dead] torch.PolynomialLR: {DEAD}"
    assert told(*dead, "--steps-per-epoch", "2").endswith("for the last 35 steps of 40 (epoch 2)")
    warm = ("timm.CosineLRScheduler", "--t-initial", "10", "--warmup-t", "3", "--select", "peak-never-reached")
    assert told(*warm, "--steps", "10").endswith("that is asked for (tick 3)")


def test_where_nothing_can_be_shown_check_is_named(run: Any) -> None:
    line = ("torch.OneCycleLR", "--max-lr", "0.1", "--total-steps", "10", "--steps", "20")
    said = "it has been stepped more than its total_steps, 10; lrsched check says what is wrong with it"
    for verb in ("table", "plot"):
        assert run(verb, *line).message().endswith(said)


# A terminal, and none.


def test_a_terminal_gets_colours_and_whole_words(tmp_path: Path) -> None:
    (tmp_path / "schedules.yaml").write_text(PLAN)
    shown = on_terminal("check", cwd=tmp_path, columns=60)
    assert shown.code == 1
    assert "\x1b[1;33mwarning[goes-dead]\x1b[0m" in shown.out
    plain = on_terminal("check", cwd=tmp_path, columns=60, NO_COLOR="1").out
    assert "\x1b" not in plain
    assert max(map(len, plain.splitlines())) <= 60
    assert " ".join(plain.split()).startswith(f"schedules.yaml:4: warning[goes-dead] dead: {DEAD} Make total")
    piped = spawn("check", cwd=tmp_path)
    assert piped.code == 1
    assert len(piped.out.splitlines()) == 4


def test_a_reader_that_stops_ends_it_quietly(tmp_path: Path) -> None:
    entries = "".join(f"  e{i}: {{kind: torch.PolynomialLR}}\n" for i in range(2000))
    (tmp_path / "schedules.yaml").write_text(f"run: {{epochs: 20}}\nschedules:\n{entries}")
    result = spawn("check", cwd=tmp_path)
    assert (result.code, len(result.out.splitlines())) == (1, 4000)
    assert result.err == "2000 schedules in schedules.yaml: 2000 warnings\n"


def test_standard_input(run: Any) -> None:
    result = run("check", "-", stdin=PLAN)
    assert result.code == 1
    assert result.out.startswith("<stdin>:4: warning[goes-dead] dead: ")


# The snapshot beside it.


def test_a_snapshot_is_compared_where_there_is_one(run: Any, plan: Path) -> None:
    pytest.importorskip("lrsched_cli.verify.snapshot")
    assert run("check", "--update", "--ignore", "goes-dead").code == 0
    assert Path("schedules.lrsnap").is_file()
    assert run("check", "--ignore", "goes-dead").code == 0
    plan.write_text(PLAN.replace("fine: {kind: cosine}", "fine: {kind: cosine, eta_min: 1e-6}"))
    changed = run("check", "--ignore", "goes-dead", "--format", "json")
    assert changed.code == 1
    (first, *_) = json.loads(changed.out)["findings"]
    assert (first["code"], first["severity"], first["schedule"]) == ("snapshot", "error", "fine")
    assert run("check", "--ignore", "goes-dead,snapshot").code == 0
    assert run("check", "--select", "rate-jumps").code == 0
    assert run("check", "--select", "snapshot").code == 1
    assert run("check", "--update", "--ignore", "goes-dead").code == 0
    assert run("check", "--ignore", "goes-dead").code == 0
