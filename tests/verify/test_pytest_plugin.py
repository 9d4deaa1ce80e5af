"""The pytest plugin, in runs of pytest as users start them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PLAN = """\
run: {epochs: 90}
schedules:
  main: {kind: cosine, eta_min: 0.001}
  bad: {kind: torch.CosineAnnealingLR, T_max: 30}
  ours: {kind: "python:ours.py:rate"}
"""
TESTS = """\
from lrsched_cli.pytest_plugin import assert_schedule

def test_main():
    assert_schedule("schedules.yaml:main")

def test_by_fixture(assert_schedule):
    assert_schedule("schedules.yaml:main", rules=False)
"""


@pytest.fixture
def project(tmp_path: Path) -> Any:
    (tmp_path / "schedules.yaml").write_text(PLAN)
    (tmp_path / "ours.py").write_text("def rate(step):\n    return 0.1 * 0.99**step\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "tests/test_schedules.py").write_text(TESTS)

    def run(*args: str, cwd: str = ".") -> tuple[int, str]:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "PYTHONDONTWRITEBYTECODE": "1"}
        env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # as if it alone were installed
        command = [sys.executable, "-m", "pytest", "-p", "lrsched_cli.pytest_plugin", "-p", "no:cacheprovider", *args]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / cwd, env=env, timeout=60)
        return done.returncode, done.stdout + done.stderr

    run.path = tmp_path  # type: ignore[attr-defined]
    return run


def test_a_schedule_is_pinned(project: Any) -> None:
    code, out = project()
    assert code == 1
    assert "AssertionError: schedules.yaml:main is not as it should be:" in out
    assert "there is no schedules.lrsnap: pytest --lrsched-update or lrsched snapshot schedules.yaml:main" in out
    assert project("--lrsched-update")[0] == 0
    assert (project.path / "schedules.lrsnap").read_text().count("schedule schedules.yaml:") == 1
    assert project()[0] == 0
    assert project(cwd="tests")[0] == 0, "from a folder below the rootdir too"
    (project.path / "schedules.yaml").write_text(PLAN.replace("0.001", "0.002"))
    code, out = project()
    assert code == 1
    assert "schedules.yaml:3: main: differs from schedules.lrsnap: lr was 0.0999698 and is 0.0999702 at tick 1" in out
    assert "eta_min was 0.001 and is 0.002 (snapshot)" in out
    assert "Undo it, or let pytest --lrsched-update or lrsched snapshot record it." in out
    assert "pytest_plugin.py" not in out, "the frames are the user's own"


def test_the_rules_are_applied_too(project: Any) -> None:
    (project.path / "tests/test_schedules.py").write_text(TESTS.replace(":main", ":bad"))
    assert project("--lrsched-update")[0] == 1
    code, out = project()
    assert code == 1
    assert "bad: " in out
    assert "(not-a-restart)" in out or "(rebounds)" in out
    assert "1 failed, 1 passed" in out, "without the rules it is what was recorded"


def test_python_targets_and_mistakes(project: Any) -> None:
    (project.path / "tests/test_schedules.py").write_text(
        "from lrsched_cli.pytest_plugin import assert_schedule\n"
        "def test_word(): assert_schedule('python:ours.py:rate', run={'epochs': 9}, snapshot='more.lrsnap')\n"
        "def test_refused(): assert_schedule('schedules.yaml:ours')\n"
        "def test_allowed(): assert_schedule('schedules.yaml:ours', allow_code=True)\n"
        "def test_unknown(): assert_schedule('schedules.yaml:mian')\n"
    )
    _, out = project("--lrsched-update", "-rA")
    assert "PASSED tests/test_schedules.py::test_word" in out
    assert "PASSED tests/test_schedules.py::test_allowed" in out
    assert "ours: kind is 'python:ours.py:rate', which is run: allow_code=True permits that" in out
    assert "has no entry 'mian' (did you mean main?)" in out
    assert "Traceback" not in out
    assert "During handling" not in out
    assert "schedule python:ours.py:rate\nrun 9 epochs" in (project.path / "more.lrsnap").read_text()
    (project.path / "ours.py").write_text("def rate(step):\n    return 0.1 * 0.98**step\n")
    _, out = project("-rA")
    assert "python:ours.py:rate: differs from " in out
    assert "ours: differs from schedules.lrsnap: lr was 0.099 and is 0.098 at tick 1" in out
    (project.path / "ours.py").write_text("def rate(step):\n    raise ValueError('no luck')\n")
    _, out = project("-rA", "-k", "word")
    assert "ValueError: no luck" in out


def test_it_loads_nothing_heavy_before_it_is_used(tmp_path: Path) -> None:
    code = (
        "import sys\nimport lrsched_cli.pytest_plugin\n"
        "heavy = {'numpy', 'torch', 'yaml', 'matplotlib', 'typer', 'rich'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, cwd=tmp_path, timeout=60)


def test_it_is_announced_to_pytest() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"lrsched": "lrsched_cli.pytest_plugin"}


def test_the_hook_of_pre_commit() -> None:
    import re

    import yaml

    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert (hook["id"], hook["entry"], hook["language"]) == ("lrsched-check", "lrsched check", "python")
    assert hook["pass_filenames"] is True
    for path, wanted in {
        "schedules.yaml": True, "conf/schedules.yml": True, "my-schedules.yaml": False, "schedules.yaml.bak": False,
        "schedules.lrsnap": True, "conf/schedules.lrsnap": True, "other.lrsnap": False,
    }.items():  # fmt: skip
        assert bool(re.search(hook["files"], path)) == wanted


def test_a_path_is_a_target_and_what_is_none_is_one_line(project: Any) -> None:
    (project.path / "schedules.yaml").write_text(
        "run: {epochs: 90}\nschedules: {main: {kind: cosine, eta_min: 0.001}}\n"
    )
    (project.path / "tests/test_schedules.py").write_text(
        "from pathlib import Path\n"
        "def test_path(assert_schedule): assert_schedule(Path('schedules.yaml'))\n"
        "def test_none(assert_schedule): assert_schedule(None)\n"
        "def test_number(assert_schedule): assert_schedule(3)\n"
    )
    code, out = project("--lrsched-update")
    assert code == 1
    assert "2 failed, 1 passed" in out, out
    assert "assert_schedule needs a target such as 'schedules.yaml:main', got None" in out
    assert "pytest_plugin.py" not in out
