"""A test that a schedule is what it was: ``assert_schedule("schedules.yaml:main")``, as a function and as a fixture.

pytest loads this module in every run of whoever has lrsched installed: nothing heavy is imported before a test asks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lrsched_cli.book import Entry
    from lrsched_cli.verify.findings import Finding

UPDATE = "--lrsched-update"
_config: pytest.Config | None = None


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that records schedules anew."""
    group = parser.getgroup("lrsched", "learning-rate schedules")
    group.addoption(UPDATE, action="store_true", help="Record what assert_schedule looks at, instead of comparing.")


def pytest_configure(config: pytest.Config) -> None:
    """Keep the configuration, for the function that has no fixture to ask."""
    global _config
    _config = config


def pytest_unconfigure() -> None:
    """Forget it."""
    global _config
    _config = None


@pytest.fixture(name="assert_schedule")
def _fixture() -> Callable[..., None]:
    """The function of that name, for tests that import nothing."""
    return assert_schedule


def assert_schedule(
    target: str | Path,
    *,
    snapshot: str | Path | None = None,
    run: Any = None,
    rules: bool = True,
    allow_code: bool = False,
) -> None:
    """Assert that schedules are what a snapshot has recorded, and that ``lrsched check`` finds nothing wrong.

    Parameters
    ----------
    target: a word of the command line: ``schedules.yaml:main``, a whole file, ``python:pkg.module:factory``; or a path.
        A file is looked for in the current folder, then in pytest's rootdir.
    snapshot: the file; unless said, ``schedules.lrsnap`` beside the target's file, in the rootdir or in the current
        folder, whichever is there first.
    run: laid over the run of the target, as ``{"epochs": 90}``.
    rules: whether the rules of ``lrsched check`` are applied as well; notes do not count.
    allow_code: whether a file may name ``python:`` schedules, which are run.

    Raises ``AssertionError`` with what differs, a line each. With ``pytest --lrsched-update`` the rates are recorded
    instead of compared.
    """
    __tracebackhide__ = True
    if not isinstance(target, (str, Path)):
        pytest.fail(f"assert_schedule needs a target such as 'schedules.yaml:main', got {target!r}", pytrace=False)
    target = str(target)
    from lrsched_cli.errors import SpecError

    refusal: SpecError | None = None
    faults: list[str] = []
    try:
        faults = _faults(target, None if snapshot is None else Path(snapshot), run, rules, allow_code)
    except SpecError as error:
        refusal = error
    if refusal is not None:  # out here, so that pytest shows nothing of what led to it
        told = str(refusal).replace("--allow-code", "allow_code=True")
        pytest.fail(f"{getattr(refusal, 'traceback', '')}{target}: {told}", pytrace=False)
    if faults:
        raise AssertionError("\n".join([f"{target} is not as it should be:", *faults]))


def _faults(target: str, snapshot: Path | None, run: Any, rules: bool, allow_code: bool) -> list[str]:
    from lrsched_cli.run import Run
    from lrsched_cli.targets import find_targets, permitted

    entries = permitted(find_targets([_placed(target)]), allow_code)
    entries = [entry.overlaid({}, Run.of(run)) for entry in entries]
    return [*_compared(target, entries, snapshot), *(_judged(entries) if rules else [])]


def _compared(target: str, entries: list[Entry], snapshot: Path | None) -> list[str]:
    from lrsched_cli.verify.lrsnap import read
    from lrsched_cli.verify.place import key_of
    from lrsched_cli.verify.snapshot import compare, write

    found: list[str] = []
    for path, mine in _snapshots_of(entries, snapshot):
        if _config is not None and _config.getoption(UPDATE):
            write(mine, path)
        elif not path.exists():
            found.append(f"  there is no {path}: pytest {UPDATE} or lrsched snapshot {target} records it")
        else:
            known = read(path)
            found += [_line(finding) for finding in compare(mine, path) if finding.severity != "note"]
            missing = [entry for entry in mine if key_of(entry, path) not in known and entry.place.file is None]
            found += [f"  {entry.name} is not in {path}: pytest {UPDATE} records it" for entry in missing]
    return found


def _judged(entries: list[Entry]) -> list[str]:
    from lrsched_cli.verify.check import check

    return [_line(finding) for finding in check(entries) if finding.severity != "note"]


def _line(finding: Finding) -> str:
    place = f"{finding.file}:{finding.line}: " if finding.file and finding.line else ""
    advice = finding.advice.replace("lrsched snapshot", f"pytest {UPDATE} or lrsched snapshot")
    return f"  {place}{finding.schedule}: {finding.message} ({finding.code})\n    {advice}"


def _placed(target: str) -> str:
    """The target, its file in the rootdir where the current folder has none."""
    root = _rootdir()
    if root is None:
        return target
    for end in (len(target), *(place for place, character in enumerate(target) if character == ":")):
        file = Path(target[:end])
        if file.suffix and not file.is_absolute() and not file.exists() and (root / file).is_file():
            return f"{root / file}{target[end:]}"
    return target


def _snapshots_of(entries: list[Entry], snapshot: Path | None) -> list[tuple[Path, list[Entry]]]:
    """The snapshots to compare with, each with its entries; where there is none yet, the one to write."""
    from lrsched_cli.verify.place import snapshots_of

    root = _rootdir()
    if snapshot is not None:
        return [(root / snapshot if root is not None and not snapshot.exists() else snapshot, entries)]
    folders = [Path()] if root is None else [root, Path()]
    places = snapshots_of(entries, folders)
    if sum(map(len, places.values())) < len(entries):
        places = snapshots_of(entries, folders, to_write=True)
    return [(path, [entries[i] for i in positions]) for path, positions in places.items()]


def _rootdir() -> Path | None:
    return None if _config is None else _config.rootpath
