"""What a resume does to the rate, in words and as a table."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from lrsched_cli.show.axes import Stroke
from lrsched_cli.show.resume_data import Answer, as_yaml, columns, near
from lrsched_cli.show.summary import number, printable
from lrsched_cli.trace import Trace
from lrsched_cli.verify.continuation import AGAIN, annealed, kept
from lrsched_cli.verify.namesakes import alone
from lrsched_cli.verify.resume import Resumed
from lrsched_cli.verify.resume_verdict import peak_of

#: The lines of a picture: what is used, and what helps.
DASHED, DOTTED = (0, (4, 1.8)), (0, (1.2, 1.4))
#: Columns of its sentences.
WIDTH = 78


def as_text(answer: Answer) -> str:
    """The whole story for a reader: what runs it, what the rate does, a table, and what would go on smoothly."""
    outcome = answer.first
    head = textwrap.fill(headline(answer), WIDTH, break_on_hyphens=False)
    told = [_modes(answer), _several(answer)] if answer.several else [_filled(what(outcome)), _filled(how(outcome))]
    paragraphs = [head, *told, _table(answer), *_advice(answer)]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def headline(answer: Answer) -> str:
    """What is resumed, and how."""
    outcome, unit = answer.first, answer.first.planned.interval
    old, new = len(outcome.planned), outcome.checkpoint.total
    longer = "" if new == old else f", to train {new:,} {unit}s in all"
    mode = "" if answer.several else f" ({outcome.checkpoint.mode})"
    return f"{printable(outcome.planned.name)}: resumed at {unit} {outcome.checkpoint.at:,} of {old:,}{longer}{mode}"


def title(answer: Answer) -> str:
    """What a picture of it is called."""
    outcome = answer.first
    old, new = len(outcome.planned), outcome.checkpoint.total
    told = f"{printable(outcome.planned.name)}, resumed at {outcome.planned.interval} {outcome.checkpoint.at:,}"
    modes = "" if answer.several else f" ({outcome.checkpoint.mode}): {spoken(outcome)}"
    return f"{told}, {old:,} → {new:,} {outcome.planned.interval}s{modes}"


def spoken(outcome: Resumed) -> str:
    """The verdict as words."""
    return outcome.verdict.name.replace("-", " ")


def _filled(lines: Sequence[str]) -> str:
    return "\n".join(textwrap.fill(line, WIDTH, break_on_hyphens=False) for line in lines)


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
    """The verdict, and what the rate does, a sentence each."""
    unit, resumed, planned = outcome.planned.interval, outcome.resumed, outcome.planned
    last = len(resumed) - 1
    end, meant = float(resumed.schedule(last)), float(planned.schedule(len(planned) - 1))
    return [
        f"Verdict: {spoken(outcome)}.",
        *reasons(outcome),
        (
            f"It ends at {number(end)} ({unit} {last:,}); the old run was to end at {number(meant)} "
            f"({unit} {len(planned) - 1:,})."
        ),
    ]


def reasons(outcome: Resumed) -> list[str]:
    """What the verdict rests on, a sentence each."""
    unit, jump, resumed = outcome.planned.interval, outcome.jump, outcome.resumed
    verdict, at, total = outcome.verdict, outcome.checkpoint.at, outcome.checkpoint.total
    lines = []
    if verdict.name == "smooth":
        before, after = (number(float(resumed.schedule(tick))) for tick in (at - 1, at))
        lines.append(f"The rate goes on without a jump: {before} at {unit} {at - 1:,}, {after} at {unit} {at:,}.")
    if jump is not None:
        share = "" if jump.share is None else f", {100 * jump.share:+.3g}%"
        lines.append(
            f"The rate jumps at {unit} {jump.tick:,}: {number(jump.before)} -> {number(jump.after)} "
            f"({jump.size:+.3g}{share})."
        )
    if verdict.name == "starts-anew":
        lines.append(f"From {unit} {at:,} on the rates are those of a new run from its start.")
    if verdict.climb is not None and (jump is None or verdict.climb.low_tick > jump.tick):
        climb = verdict.climb
        lines.append(
            f"The rate climbs again: from {number(climb.low)} at {unit} {climb.low_tick:,} to {number(climb.high)} at "
            f"{unit} {climb.high_tick:,}."
        )
    if verdict.dead is not None:
        lines.append(_dead(outcome, verdict.dead))
    if outcome.stops is not None:
        early = len(resumed) < total
        over = f"Training stops after {len(resumed):,} of {total:,} {unit}s:" if early else "Training is done, then"
        lines.append(f"{over} {outcome.stops}.")
    return lines


def _dead(outcome: Resumed, start: int) -> str:
    unit, rest = outcome.planned.interval, len(outcome.resumed) - start
    largest = max(abs(float(outcome.resumed.schedule(tick))) for tick in (start, len(outcome.resumed) - 1))
    share = f"{100 * largest / peak_of(outcome):.2g}% of the peak"
    level = "at 0" if not largest else f"at {number(largest)} or less ({share})"
    when = "the remaining" if start <= outcome.checkpoint.at else "the last"
    return f"The rate is dead: {level} for {when} {unit if rest == 1 else f'{rest:,} {unit}s'}."


def _short(value: Any) -> str:
    return number(value, 6) if isinstance(value, float) else str(value)


def _modes(answer: Answer) -> str:
    """A row for each mode: its verdict, the rates around the resume, and the end."""
    rows = [("mode", "verdict", "at the resume", "ends at")]
    for outcome in answer.outcomes:
        resumed, unit, at = outcome.resumed, outcome.planned.interval, outcome.checkpoint.at
        tick = outcome.jump.tick if outcome.jump is not None else at
        before, after = (number(float(resumed.schedule(t)), 3) for t in (tick - 1, tick))
        last = len(resumed) - 1
        rows.append(
            (
                outcome.checkpoint.mode, spoken(outcome), f"{before} -> {after} ({unit} {tick:,})",
                f"{number(float(resumed.schedule(last)), 3)} ({unit} {last:,})",
            )
        )  # fmt: skip
    rows += [(mode, "refused", "-", "-") for mode, _ in answer.refused]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        ("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip() for row in rows
    )


def _several(answer: Answer) -> str:
    """The reasons of each mode."""
    told = [(outcome.checkpoint.mode, " ".join(reasons(outcome))) for outcome in answer.outcomes]
    told += [(mode, f"{reason}.") for mode, reason in answer.refused]
    return _filled([f"{mode}: {words}" for mode, words in told])


def _table(answer: Answer) -> str:
    outcome = answer.first
    found = columns(answer)
    if answer.rewarmed is not None:
        found.pop("smooth", None)  # which is not what is advised
    rows = [[outcome.planned.interval, *found]]
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


def _advice(answer: Answer) -> list[str]:
    """What to use instead, as an entry."""
    outcome, smooth, again = answer.first, answer.smooth, answer.rewarmed
    told, share = [], annealed(outcome)
    if share is not None:
        told.append(_annealed(answer, share))
    if again is not None:
        part = f"a part of the peak, here {AGAIN:.0%}"
        told.append(_filled([f"To train on in earnest, warm up again to {part} ({again.words}):"]))
    elif smooth is not None and share is None:
        told.append(_filled([f"To go on smoothly ({smooth.words}):"]))
    elif smooth is None and not answer.fine:
        told.append("No entry is known that would go on smoothly from here.")
    found = again or smooth
    if found is not None:
        told.append("\n".join(f"  {line}" for line in as_yaml(outcome, found).splitlines()))
    return told


def _annealed(answer: Answer, share: float) -> str:
    """That more of the same would change little."""
    outcome = answer.first
    new, unit = outcome.checkpoint.total - outcome.checkpoint.at, outcome.planned.interval
    rest = f"the new {unit}" if new == 1 else f"the {new:,} new {unit}s"
    level = "0" if not share else f"{100 * share:.2g}% of the peak"
    words = "" if answer.smooth is None else f" ({answer.smooth.words})"
    told = f"To go on smoothly{words} trains {rest} at {level} or less, which changes little."
    return _filled([f"The run is already annealed. {told}"])


def curves(answer: Answer) -> tuple[list[Trace], list[Stroke]]:
    """What a picture shows, and how: the plan, what is used from the checkpoint on in each mode, and what helps."""
    planned, at = answer.first.planned, answer.first.checkpoint.at
    traces = [Trace("planned", alone(planned.schedule), planned.clock)]
    strokes = [Stroke(0, width=2.4)]
    for place, outcome in enumerate(answer.outcomes):
        name = f"resumed: {outcome.checkpoint.mode}" if answer.several else "resumed"
        traces.append(Trace(name, outcome.resumed.schedule, outcome.resumed.clock))
        ends = "" if outcome.stops is None else "raises"
        strokes.append(Stroke((1, 3, 5)[place % 3], DASHED, start=max(at - 2, 0), ends=ends))
    found, name = (answer.rewarmed, "warmed up again") if answer.rewarmed else (answer.smooth, "smooth")
    if found is not None:
        traces.append(Trace(name, alone(found.trace.schedule), found.trace.clock))
        strokes.append(Stroke(2, DOTTED, 1.5, start=kept(answer.first) - 1))
    return traces, strokes
