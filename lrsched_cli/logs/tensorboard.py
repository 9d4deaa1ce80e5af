"""TensorBoard's event files, read with the ``tensorboard`` package (the extra ``logs``).

Lightning's monitor writes ``lr-Adam`` at the number of updates made, as it does everywhere; the Trainer of
transformers writes ``train/learning_rate`` at the number of updates that are over, which is one more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lrsched_cli.errors import SpecError
from lrsched_cli.logs import names
from lrsched_cli.logs.log import Log, Unread, chosen, series_of
from lrsched_cli.logs.table import Choice, Convention

#: A part of the name of every event file, which ``tensorboard`` itself goes by.
MARK = "tfevents"
#: Tags that the Trainer of transformers writes and nobody else.
TRANSFORMERS = {"train/epoch", "train/grad_norm", "train/total_flos", "train/train_runtime"}
#: How far below a folder event files are looked for: ``runs/NAME`` and ``lightning_logs/version_0``.
BELOW = ("*", "*/*")


def folder_of_events(folder: Path, name: str) -> Path | None:
    """The folder that holds event files: this one, or the only one below it; None where there is none."""
    if any(MARK in path.name for path in folder.iterdir()):
        return folder
    found = {path.parent: None for below in BELOW for path in folder.glob(f"{below}/*{MARK}*")}
    if len(found) > 1:
        told = names.listed([str(path.relative_to(folder)) for path in sorted(found)]).replace("it has ", "")
        raise SpecError(f"holds event files of {len(found)} runs: name one of its folders{told}", file=name)
    return next(iter(found), None)


def read(path: Path, name: str, choice: Choice) -> Log:
    """The log in an event file or in a folder of them."""
    if choice.x is not None:
        raise SpecError("event files count their steps themselves: leave it out", parameter="--x")
    events = _loaded(path, name)
    scalars, tensors = events.Tags()["scalars"], events.Tags()["tensors"]
    tags = [*scalars, *(tag for tag in tensors if tag not in scalars)]
    try:
        wanted = list(choice.y) and names.named(choice.y, tags, "--y")
        wanted = wanted or [tag for tag in tags if names.is_rate(tag)]
        if not wanted:
            told = names.listed(tags) if tags else ""
            raise SpecError(f"has no tag of learning rates that is known by its name: say which with --y{told}")
        theirs = bool(TRANSFORMERS & set(tags))
        says = "step g is update g - 1, as transformers counts" if theirs else "step t is update t"
        convention = Convention("tensorboard", int(theirs), says)
        first = convention.first if choice.first is None else choice.first
        unread = Unread()
        series = []
        for tag in wanted:
            steps, rates = _scalars(events, tag) if tag in scalars else _tensors(events, tag)
            series.append(series_of(tag, steps, rates, first, unread))
        says = convention.says if choice.first is None else f"step {first} is update 0"
        return Log(name, "tensorboard", "step", chosen(series, name, unread), says, notes=tuple(unread.notes))
    except SpecError as error:
        raise error.locate(file=name) from None


def _loaded(path: Path, name: str) -> Any:
    try:
        from tensorboard.backend.event_processing import event_accumulator as events_of  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise SpecError("needs tensorboard to be read: pip install 'lrsched-cli[logs]'", file=name) from None
    # Every event is kept, those too that a resumed run has written once more.
    events = events_of.EventAccumulator(
        str(path), size_guidance={events_of.SCALARS: 0, events_of.TENSORS: 0}, purge_orphaned_data=False
    )
    try:
        events.Reload()
    except Exception as error:  # a damaged file raises whatever the package's reader raises
        raise SpecError(f"is no event file that tensorboard can read: {error}", file=name) from None
    return events


def _scalars(events: Any, tag: str) -> tuple[Any, Any]:
    found = events.Scalars(tag)
    return np.array([e.step for e in found], dtype=np.float64), np.array([e.value for e in found], dtype=np.float64)


def _tensors(events: Any, tag: str) -> tuple[Any, Any]:
    """Scalars as TensorFlow 2 writes them: tensors without a shape."""
    from tensorboard.util.tensor_util import make_ndarray  # type: ignore[import-not-found,import-untyped,unused-ignore]

    found = [(e.step, make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)]
    found = [(step, value) for step, value in found if value.size == 1 and value.dtype.kind in "fiu"]
    steps = np.array([step for step, _ in found], dtype=np.float64)
    return steps, np.array([value.item() for _, value in found], dtype=np.float64)
