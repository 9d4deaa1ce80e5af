"""Where the snapshot of a schedule is, and what it calls it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lrsched_cli.book import Entry
from lrsched_cli.errors import SpecError
from lrsched_cli.targets import SUFFIXES

#: What a snapshot is called, wherever it is.
DEFAULT_SNAPSHOT = Path("schedules.lrsnap")


def snapshots_of(
    entries: Sequence[Entry], folders: Sequence[Path] = (Path(),), *, to_write: bool = False
) -> dict[Path, list[int]]:
    """The snapshots that some entries are compared with, and the positions of the entries of each.

    The one beside an entry's file counts, else the first that is in ``folders``; an entry without any is left out.
    ``to_write`` gives the snapshots to write instead: one of ``folders`` then counts only where it has something of the
    file, and what has none gets a new one, beside the files if these are in one folder, else in the first of
    ``folders``.
    """
    there = {file: _existing(file, folders, to_write) for file in {entry.place.file for entry in entries}}
    found: dict[Path, list[int]] = {}
    for i, entry in enumerate(entries):
        place = there[entry.place.file]
        if place is not None:
            found.setdefault(place, []).append(i)
    homeless = [i for i, entry in enumerate(entries) if there[entry.place.file] is None]
    if to_write and homeless:
        homes = {_folder(entries[i].place.file) for i in homeless}
        home = homes.pop() if len(homes) == 1 else None
        found.setdefault((folders[0] if home is None else home) / DEFAULT_SNAPSHOT, []).extend(homeless)
    return found


def _existing(file: str | None, folders: Sequence[Path], to_write: bool) -> Path | None:
    """The snapshot that there is for the entries of a file, or for those of none."""
    folder = _folder(file)
    # A link to nothing, or a loop of them, is there too: reading it says what is wrong.
    if folder is not None and os.path.lexists(folder / DEFAULT_SNAPSHOT):
        return folder / DEFAULT_SNAPSHOT
    others = [other / DEFAULT_SNAPSHOT for other in folders if os.path.lexists(other / DEFAULT_SNAPSHOT)]
    if file is None or folder is None or not to_write:
        return others[0] if others else None
    return next((path for path in others if _knows(path, file)), None)


def _folder(file: str | None) -> Path | None:
    """Where a file is; None where there is none."""
    return Path(file).parent if file is not None and Path(file).is_file() else None


def _knows(path: Path, file: str) -> bool:
    from lrsched_cli.verify.lrsnap import read

    return any(key.startswith(f"{seen(file, path)}:") for key in read(path))


def with_files(words: Sequence[str]) -> list[str]:
    """The words of a command line with the files that a snapshot is of in the place of the snapshot.

    So a hook may be called with whatever was committed. Raises ``SpecError`` where a snapshot is damaged, or is none
    that would be found without its name.
    """
    named = {os.path.abspath(word) for word in words}
    found: list[str] = []
    for word in words:
        if not word.endswith(DEFAULT_SNAPSHOT.suffix):
            found.append(word)
            continue
        from lrsched_cli.verify.lrsnap import read

        path = Path(word)
        keys = read(path)
        if path.name != DEFAULT_SNAPSHOT.name:
            raise SpecError(f"{word} is a snapshot: name its schedules, and --snapshot {word}")
        files = [path.parent / file for key in keys for file in files_in(key)]
        mine = [str(file) for file in dict.fromkeys(files) if file.is_file() and os.path.abspath(file) not in named]
        named |= set(map(os.path.abspath, mine))
        found += mine
    if words and not found:
        raise SpecError(f"{words[0]} has no schedule of a file that is there: name the schedules")
    return found


def files_in(key: str) -> list[str]:
    """What may be the file in the key of a snapshot; nothing where it is the word of a kind."""
    if key.startswith("python:"):
        return []
    return [key[:i] for i, character in enumerate(key) if character == ":" and key[:i].endswith(SUFFIXES)]


def key_of(entry: Entry, path: Path) -> str:
    """What a snapshot calls an entry: ``FILE:NAME``, the file as seen from the snapshot's folder, or its word."""
    if entry.place.file is None:
        return entry.name
    return f"{seen(entry.place.file, path)}:{entry.place.name or entry.name}"


def seen(file: str, path: Path) -> str:
    """A file's path as seen from the folder of the snapshot; what is no file (stdin, an example) by its name."""
    if not Path(file).exists():
        return file
    return Path(os.path.relpath(os.path.abspath(file), os.path.abspath(path.parent))).as_posix()
