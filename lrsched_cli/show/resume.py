"""What a resume does to the rate, in words, as a table and as data."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

from lrsched_cli.show.summary import number, printable
from lrsched_cli.trace import Trace
from lrsched_cli.verify.continuation import Continuation
from lrsched_cli.verify.resume import Resumed

VERSION = 1
#: Columns of its sentences.
WIDTH = 78
#: Ticks before and after the checkpoint in the table.
NEAR = 3


def as_text(outcome: Resumed, smooth: Continuation | None) -> str:
    """The whole story for a reader: what runs it, what the rate does, a table, and what would go on smoothly."""
    unit, checkpoint = outcome.planned.interval, outcome.checkpoint
    new = "" if checkpoint.total == len(outcome.planned) else f", to train {checkpoint.total:,} {unit}s in all"
    head = f"{printable(outcome.planned.name)}: resumed at {unit} {checkpoint.at:,} of {len(outcome.planned):,}{new}"
    paragraphs = [
        textwrap.fill(f"{head} ({checkpoint.mode})", WIDTH),
        *_told(outcome),
        _table(outcome, smooth),
        _advice(outcome, smooth),
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def _told(outcome: Resumed) -> list[str]:
    return ["\n".join(textwrap.fill(line, WIDTH) for line in lines) for lines in (how(outcome), what(outcome))]


def how(outcome: Resumed) -> list[str]:
    """What happens to the scheduler, a sentence each."""
    checkpoint, scheduler = outcome.checkpoint, outcome.scheduler
    lambda_ = scheduler == "LambdaLR"
    named = "It runs as a LambdaLR" if lambda_ else f"It runs as {scheduler}"
    grown = ", ".join(f"{name} {_short(old)} -> {_short(new)}" for name, old, new in outcome.changes)
    old = ", ".join(f"{name} {_short(was)}" for name, was, _ in outcome.changes)
    lines = []
    if checkpoint.mode == "state-dict" and lambda_:
        lines.append(f"{named}: its function is in the code, so that of the new run goes on at the old tick.")
    elif checkpoint.mode == "state-dict":
        wins = f" The new values are forgotten: {old} is back." if old else ""
        lines.append(f"{named}: load_state_dict brings back every parameter with the old value.{wins}")
    elif checkpoint.mode == "rebuild":
        lines.append(f"{named}, made anew: its clock starts at tick 0.")
    else:
        lines.append(
            f"{named}, made with last_epoch={checkpoint.given}: its clock starts at tick {checkpoint.given + 1}."
        )
        if checkpoint.last_epoch is None:
            lines.append(
                f"(last_epoch is the last tick that is over: {checkpoint.at - 1} makes it go on at {checkpoint.at}.)"
            )
    if grown and not (checkpoint.mode == "state-dict" and not lambda_):
        lines.append(f"The new run has {grown}.")
    lines.append(LOADED[checkpoint.order])
    return lines


LOADED = {
    "before": "The optimizer's state is loaded before the scheduler is made, whose constructor may change the rate.",
    "after": "The optimizer's state is loaded last: the first rate is the one of the checkpoint.",
    "never": "The optimizer is new: nothing of its state is loaded.",
}


def what(outcome: Resumed) -> list[str]:
    """What the rate does, a sentence each."""
    unit, jump, resumed, planned = outcome.planned.interval, outcome.jump, outcome.resumed, outcome.planned
    lines = []
    if jump is None:
        at = outcome.checkpoint.at
        before, after = (number(float(resumed.schedule(tick))) for tick in (at - 1, at))
        lines.append(f"The rate goes on without a jump: {before} at {unit} {at - 1:,}, {after} at {unit} {at:,}.")
    else:
        share = "" if jump.share is None else f", {100 * jump.share:+.3g}%"
        lines.append(
            f"The rate jumps at {unit} {jump.tick:,}: {number(jump.before)} -> {number(jump.after)} "
            f"({jump.size:+.3g}{share})."
        )
    last = len(resumed) - 1
    if outcome.stops is not None:
        lines.append(f"Training stops after {len(resumed):,} of {outcome.checkpoint.total:,} {unit}s: {outcome.stops}.")
    end, meant = float(resumed.schedule(last)), float(planned.schedule(len(planned) - 1))
    lines.append(
        f"It ends at {number(end)} ({unit} {last:,}); the old run was to end at {number(meant)} "
        f"({unit} {len(planned) - 1:,})."
    )
    lines += [f"Note: {note}." for note in outcome.resumed.schedule.notes(len(resumed)) if "climb" in note]
    return lines


def _short(value: Any) -> str:
    return number(value, 6) if isinstance(value, float) else str(value)


def near(outcome: Resumed) -> list[int]:
    """The ticks of the table: some on both sides of the checkpoint, and the ends of both runs."""
    at, old, new = outcome.checkpoint.at, len(outcome.planned), outcome.checkpoint.total
    ticks = {*range(max(at - NEAR, 0), min(at + NEAR + 1, new)), (at + new) // 2, min(old, new) - 1, new - 1}
    return sorted(ticks)


def columns(outcome: Resumed, smooth: Continuation | None) -> dict[str, list[float | None]]:
    """The rates at those ticks: planned, resumed, and what would be smooth; None where there is none."""
    traces: dict[str, Trace] = {"planned": outcome.planned, "resumed": outcome.resumed}
    if smooth is not None:
        traces["smooth"] = smooth.trace
    ticks = near(outcome)
    return {name: [_at(trace, tick) for tick in ticks] for name, trace in traces.items()}


def _at(trace: Trace, tick: int) -> float | None:
    return float(trace.schedule(tick)) if tick < len(trace) else None


def _table(outcome: Resumed, smooth: Continuation | None) -> str:
    unit = outcome.planned.interval
    found = columns(outcome, smooth)
    rows = [[unit, *found]]
    for i, tick in enumerate(near(outcome)):
        rates = [cells[i] for cells in found.values()]
        rows.append([f"{tick:,}", *("-" if rate is None else number(rate, 6) for rate in rates)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  "
        + "  ".join(
            cell.rjust(max(width, 10 if i else 6)) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _advice(outcome: Resumed, smooth: Continuation | None) -> str:
    if smooth is None:
        smoothly = outcome.jump is None and outcome.stops is None
        return "" if smoothly else "No entry is known that would go on smoothly from here."
    return f"To go on smoothly ({smooth.words}):\n\n" + "\n".join(
        f"  {line}" for line in as_yaml(outcome, smooth).splitlines()
    )


def as_yaml(outcome: Resumed, smooth: Continuation) -> str:
    """The smooth continuation as a file of schedules."""
    import yaml

    document = {"run": dict(smooth.run), "schedules": {f"{outcome.planned.name}-continued": _plain(smooth.spec)}}
    return yaml.dump(
        document, Dumper=_dumper(), sort_keys=False, default_flow_style=None, allow_unicode=True, width=50
    )  # type: ignore[no-any-return]


def _dumper() -> Any:
    """PyYAML's safe dumper, with mappings of plain values on one line and never an anchor."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return Dumper


def _plain(value: Any) -> Any:
    """A value of nothing but plain mappings, lists and scalars."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def as_csv(outcome: Resumed, smooth: Continuation | None) -> str:
    """The table alone, numbers at full precision, empty where there is none."""
    out = io.StringIO()
    found = columns(outcome, smooth)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["t", *found])
    for i, tick in enumerate(near(outcome)):
        rates = (cells[i] for cells in found.values())
        writer.writerow([tick, *("" if rate is None else repr(rate) for rate in rates)])
    return out.getvalue()


def as_json(outcome: Resumed, smooth: Continuation | None) -> str:
    """Everything, as one object; keys in a fixed order."""
    checkpoint, jump, resumed = outcome.checkpoint, outcome.jump, outcome.resumed
    document = {
        "version": VERSION,
        "schedule": outcome.planned.name,
        "interval": outcome.planned.interval,
        "at": checkpoint.at,
        "total": len(outcome.planned),
        "new_total": checkpoint.total,
        "mode": checkpoint.mode,
        "optimizer_state": checkpoint.order,
        "last_epoch": checkpoint.given if checkpoint.mode == "last-epoch" else None,
        "scheduler": outcome.scheduler,
        "changes": {name: [_plain(old), _plain(new)] for name, old, new in outcome.changes},
        "continuous": jump is None and outcome.stops is None,
        "jump": None
        if jump is None
        else {"tick": jump.tick, "before": jump.before, "after": jump.after, "size": jump.size, "share": jump.share},
        "stops": None if outcome.stops is None else {"tick": len(resumed), "reason": outcome.stops},
        "end": {"tick": len(resumed) - 1, "lr": float(resumed.schedule(len(resumed) - 1))},
        "ticks": {"t": near(outcome), **columns(outcome, smooth)},
        "smooth": None
        if smooth is None
        else {"words": smooth.words, "run": smooth.run, "schedule": _plain(smooth.spec)},
    }
    return json.dumps(document) + "\n"
