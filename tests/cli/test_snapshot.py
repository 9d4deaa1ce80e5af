"""``lrsched snapshot``, and ``lrsched check`` with what it wrote."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import on_terminal, spawn

PLAN = """\
run: {epochs: 90}
schedules:
  main: {kind: cosine, eta_min: 0.001}
  drop: {kind: step, step_size: 30ep}
"""


def plan(text: str = PLAN) -> None:
    Path("schedules.yaml").write_text(text)


def test_it_says_what_it_did(run: Any) -> None:
    plan()
    assert run("snapshot") == (
        0, "schedules.lrsnap\n",
        "new     schedules.yaml:main\nnew     schedules.yaml:drop\n2 schedules recorded in schedules.lrsnap: 2 new\n",
    )  # fmt: skip
    before = Path("schedules.lrsnap").read_bytes()
    assert run("snapshot") == (0, "schedules.lrsnap\n", "2 schedules recorded in schedules.lrsnap: 2 as before\n")
    assert Path("schedules.lrsnap").read_bytes() == before
    plan(PLAN.replace("30ep", "20ep").replace("main", "other"))
    assert run("snapshot").err == (
        "changed schedules.yaml:drop: lr was 0.1 and is 0.01 at tick 20, largest relative change -99% at tick 80; "
        "step_size was 30 and is 20\n"
        "gone    schedules.yaml:main\n"
        "new     schedules.yaml:other\n"
        "2 schedules recorded in schedules.lrsnap: 1 new, 1 changed, 1 gone\n"
    )
    assert run("snapshot", "-q") == (0, "schedules.lrsnap\n", "")


def test_check_compares_and_updates(run: Any) -> None:
    plan()
    run("snapshot", "-q")
    assert run("check", "-q").code == 0
    plan(PLAN.replace("0.001", "0.00101"))
    done = run("check", "-q")
    assert done.code == 1
    assert "lr was 0.0999698 and is 0.0999698 at" not in done.out
    assert "main" in done.out
    assert "differs from schedules.lrsnap" in done.out
    assert "eta_min was 0.001 and is 0.00101" in done.out
    assert run("check", "-q", "--ignore", "snapshot").code == 0
    assert run("check", "-q", "schedules.yaml:drop").code == 0
    updated = run("check", "--update")
    assert updated.code == 0
    assert updated.err.startswith("changed schedules.yaml:main: lr was ")
    assert "\n2 schedules recorded in schedules.lrsnap: 1 changed, 1 as before\n" in updated.err
    assert run("check").err.endswith("; compared with schedules.lrsnap\n")


def test_it_is_beside_the_file_wherever_it_is_looked_at_from(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a folder/deep").mkdir(parents=True)
    Path("a folder/plan.yaml").write_text(PLAN)
    assert run("snapshot", "a folder/plan.yaml").out == "a folder/schedules.lrsnap\n"
    assert os.listdir() == ["a folder"]
    Path("a folder/plan.yaml").write_text(PLAN.replace("0.001", "0.002"))
    for folder, file in ((".", "a folder/plan.yaml"), ("a folder", "plan.yaml"), ("deep", "../plan.yaml")):
        monkeypatch.chdir(folder)
        done = run("check", file)
        assert done.code == 1
        assert "differs from" in done.out
        home = Path(file).parent / "schedules.lrsnap"
        assert done.err.endswith(f"; compared with {home}\n")
    assert run("check", "../plan.yaml", "--update", "-q").code == 0
    assert run("check", "../plan.yaml").code == 0
    assert not os.listdir()


def test_one_that_is_here_already_stays_the_one(run: Any) -> None:
    Path("conf").mkdir()
    Path("conf/plan.yaml").write_text(PLAN)
    assert run("snapshot", "conf/plan.yaml", "-o", "schedules.lrsnap").code == 0
    assert run("check", "conf/plan.yaml").err.endswith("; compared with schedules.lrsnap\n")
    assert run("snapshot", "conf/plan.yaml").out == "schedules.lrsnap\n"
    Path("other").mkdir()
    Path("other/plan.yaml").write_text(PLAN)
    assert run("snapshot", "other/plan.yaml").out == "other/schedules.lrsnap\n", "it has nothing of that file"


def test_files_of_several_folders_and_kinds_are_recorded_here(run: Any) -> None:
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Path(folder, "plan.yaml").write_text(PLAN)
    done = run("snapshot", "a/plan.yaml", "b/plan.yaml", "cosine")
    assert done.out == "schedules.lrsnap\n"
    assert done.err.endswith("5 schedules recorded in schedules.lrsnap: 5 new\n")
    assert run("check", "b/plan.yaml", "cosine").err == ("3 schedules, nothing found; compared with schedules.lrsnap\n")
    # One in a folder of its own counts first.
    assert run("snapshot", "a/plan.yaml", "-o", "a/schedules.lrsnap").code == 0
    done = run("check", "a/plan.yaml", "b/plan.yaml")
    assert done.err.endswith("; compared with a/schedules.lrsnap, schedules.lrsnap\n")
    Path("b/plan.yaml").write_text("schedules: {main: {kind: nonsense}}")
    before = Path("a/schedules.lrsnap").read_bytes()
    Path("a/plan.yaml").write_text(PLAN.replace("0.001", "0.002"))
    assert run("snapshot", "a/plan.yaml", "b/plan.yaml").code == 2
    assert Path("a/schedules.lrsnap").read_bytes() == before, "all or nothing"


def test_a_snapshot_stands_for_its_files_as_a_hook_names_it(run: Any) -> None:
    Path("conf").mkdir()
    Path("conf/schedules.yaml").write_text(PLAN)
    run("snapshot", "conf/schedules.yaml", "-q")
    wanted = (0, "", "2 schedules in conf/schedules.yaml, nothing found; compared with conf/schedules.lrsnap\n")
    assert run("check", "conf/schedules.lrsnap") == wanted
    assert run("check", "conf/schedules.lrsnap", "conf/schedules.yaml") == wanted, "both were committed"
    snapshot = Path("conf/schedules.lrsnap")
    snapshot.write_text(snapshot.read_text().replace("0.1", "0.2"))
    assert run("check", "conf/schedules.lrsnap", "-q").code == 1
    for text, name, message in (
        ("lrsched snapshot 1\n", "schedules.lrsnap",
         "schedules.lrsnap has no schedule of a file that is there: name the schedules"),
        ("hello\n", "schedules.lrsnap",
         "schedules.lrsnap: is no snapshot of lrsched: it does not begin with lrsched snapshot 1"),
        ("lrsched snapshot 1\n", "other.lrsnap",
         "other.lrsnap is a snapshot: name its schedules, and --snapshot other.lrsnap"),
        (None, "nosuch.lrsnap", "no such file: nosuch.lrsnap"),
    ):  # fmt: skip
        if text is not None:
            Path(name).write_text(text)
        assert run("check", name).message() == message


def test_a_stepper_changes_nothing_of_what_is_recorded(run: Any) -> None:
    plan()
    run("snapshot", "-q")
    done = run("snapshot", "--stepper", "accelerate", "--world-size", "4")
    assert done.err == (
        "2 schedules recorded in schedules.lrsnap: 2 as before\n"
        "note: recorded is what was meant, not what a stepper makes of it: lrsched check judges that\n"
    )
    assert run("snapshot", "--stepper", "optimizer-step").err.count("note") == 0


def test_the_help_names_the_helper_for_tests(run: Any) -> None:
    assert "assert_schedule" in run("snapshot", "--help").out


def test_another_file_and_a_run_of_ones_own(run: Any) -> None:
    plan()
    Path("a folder").mkdir()
    done = run("snapshot", "schedules.yaml:main", "--epochs", "20", "-o", "a folder/über.lrsnap")
    assert done[:2] == (0, "a folder/über.lrsnap\n")
    text = Path("a folder/über.lrsnap").read_text(encoding="utf-8")
    assert "schedule ../schedules.yaml:main\nrun 20 epochs\n" in text
    done = run("check", "schedules.yaml:main", "--snapshot", "a folder/über.lrsnap", "-q")
    assert done.code == 1
    assert "its run was 20 epochs and is 90 epochs" in done.out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("snapshot -o -", "--output must be a file that is kept, got -"),
        ("snapshot nosuch.yaml", "no such file: nosuch.yaml"),
        ("snapshot -o nosuch/x.lrsnap", "cannot write nosuch/x.lrsnap: No such file or directory"),
        ("snapshot -o .", ".: is a directory"),
        ("snapshot -o bad.lrsnap",
         "bad.lrsnap: is no snapshot of lrsched: it does not begin with lrsched snapshot 1"),
        ("snapshot --allow-kode", "snapshot has no option --allow-kode (did you mean --allow-code?)"),
        ("check --snapshot bad.lrsnap",
         "bad.lrsnap: is no snapshot of lrsched: it does not begin with lrsched snapshot 1"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_nothing_is_written(run: Any, line: str, message: str) -> None:
    plan()
    Path("bad.lrsnap").write_text("hello\n")
    assert run(*line.split()).message() == message
    assert sorted(os.listdir()) == ["bad.lrsnap", "schedules.yaml"]
    assert Path("bad.lrsnap").read_text() == "hello\n"


def test_code_runs_only_where_it_is_named_or_allowed(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    Path("ours.py").write_text("print('running')\ndef rate(step):\n    return 0.1 * 0.99**step\n")
    plan(PLAN + "  ours: {kind: 'python:ours.py:rate'}\n")
    refusal = "schedules.yaml:5: ours: kind is 'python:ours.py:rate', which is run: --allow-code permits that"
    assert run("snapshot").message() == refusal
    assert run("check").message() == refusal
    done = run("snapshot", "--allow-code")
    assert done[:2] == (0, "schedules.lrsnap\n")
    assert "running" in done.err
    run("snapshot", "python:ours.py:rate", "--epochs", "30", "-q")
    assert run("check", "--allow-code", "-q").code == 0
    # Recorded, it is looked at only where it is named.
    plan()
    done = run("check", "schedules.yaml:main", "-q")
    assert "running" not in done.err
    assert run("check", "python:ours.py:rate", "--epochs", "30", "-q").code == 0
    Path("ours.py").write_text("def rate(step):\n    return 0.1 * 0.98**step\n")
    done = run("check", "python:ours.py:rate", "--epochs", "30", "-q")
    assert done.code == 1
    assert "lr was 0.099 and is 0.098 at tick 1, largest relative change" in done.out


def test_check_runs_code_once(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    Path("ours.py").write_text(
        "class S:\n    def __init__(self, optimizer):\n        print('made')\n        self.optimizer = optimizer\n"
        "    def step(self):\n        self.optimizer.param_groups[0]['lr'] *= 0.9\n"
    )
    run("snapshot", "python:ours.py:S", "-q")
    done = run("check", "python:ours.py:S")
    assert done.err.count("made") == 1
    assert done.err.endswith("; compared with schedules.lrsnap\n")
    Path("ours.py").write_text(
        Path("ours.py").read_text() + "        if self.optimizer.param_groups[0]['lr'] < 0.01: 1 / 0\n"
    )
    done = run("check", "python:ours.py:S")
    assert (
        "snapshot] python:ours.py:S: was recorded in schedules.lrsnap, and fails now: python:ours.py:S raises at"
        in (done.out)
    )
    assert done.code == 1


def test_a_terminal_of_80_columns_and_one_without_colour(tmp_path: Path) -> None:
    (tmp_path / "schedules.yaml").write_text(PLAN)
    done = on_terminal("snapshot", cwd=tmp_path)
    assert done == (0, "schedules.lrsnap\n", done.err)
    assert spawn("snapshot", cwd=tmp_path).err == "2 schedules recorded in schedules.lrsnap: 2 as before\n"


def test_it_loads_no_more_than_it_needs(tmp_path: Path) -> None:
    from tests.test_floors import loaded_by

    (tmp_path / "p.json").write_text('{"schedules": {"a": {"kind": "step"}}}')
    assert not loaded_by("snapshot", "p.json", cwd=tmp_path) & {"torch", "matplotlib", "yaml"}


@pytest.mark.parametrize("what", ["folder", "pipe", "broken link", "loop"])
def test_a_snapshot_that_is_no_file_is_one_line(run: Any, what: str) -> None:
    plan()
    path = Path("schedules.lrsnap")
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nosuch" if what == "broken link" else path)
    for verb in ("check", "snapshot"):
        assert "schedules.lrsnap" in run(verb, "schedules.yaml").message()
    assert not path.is_file()


def test_a_name_that_would_break_a_line_is_escaped(run: Any) -> None:
    plan('run: {epochs: 9}\nschedules:\n  "a\\nb\\e[31m": {kind: cosine}\n')
    done = run("snapshot")
    assert done.code == 0
    assert "new     schedules.yaml:a\\nb\\x1b[31m" in done.err.splitlines()
