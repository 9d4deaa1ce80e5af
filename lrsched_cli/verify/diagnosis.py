"""What is wrong with one group's rates: the simplest explanation that all of its points bear out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.warmup import Warmup
from lrsched_cli.verify import causes
from lrsched_cli.verify.causes import Cause, Setting
from lrsched_cli.verify.evidence import Evidence
from lrsched_cli.verify.explain import WIDEST, Pace, Piece, Search

#: Points from which on anything is said at all.
ENOUGH = 4
#: Different rates up to which an explanation must stand out clearly from the next best.
THIN = 3
#: Points of a rate that stays what it is, from which on it is said to stay.
STAYS = 3
#: A change this large, as a part of the plan's peak, is a jump where the plan makes none.
JUMP = 0.02


@dataclass(frozen=True)
class Diagnosis:
    """A verdict with its cause; ``cost`` is how far-fetched it is, for choosing among several."""

    verdict: str
    cause: Cause
    factor: float | None = None
    shift: int | None = None
    cost: float = 0.0


def diagnosed(evidence: Evidence, setting: Setting, variants: Mapping[str, Schedule]) -> Diagnosis:
    """The diagnosis of a group's rates; ``variants`` are schedules that it may have had by mistake."""
    if len(evidence) < ENOUGH:
        count = {0: "no point of it lies", 1: "only 1 point of it lies"}.get(
            len(evidence), f"only {len(evidence)} points of it lie"
        )
        return _unclear(f"cannot tell: {count} within the plan", "audit a log of more of the run")
    if evidence.first_off is None:
        return _agreeing(evidence, setting)
    search = Search(evidence)
    return (
        _held(evidence, search, setting)
        or _without_warmup(evidence, setting)
        or _throughout(evidence, search, setting, variants)
        or _resumed(evidence, search, setting)
        or _jump(evidence, setting)
        or _different(evidence, setting)
    )


def _unclear(what: str, advice: str = "") -> Diagnosis:
    return Diagnosis("unclear", Cause(what, advice))


def _span(evidence: Evidence) -> str:
    ticks = evidence.planned.ticks(np.array([evidence.at.min(), evidence.at.max()]))
    return f"{int(ticks[0]):,} to {int(ticks[1]):,}"


def _agreeing(evidence: Evidence, setting: Setting) -> Diagnosis:
    if evidence.levels(evidence.plan) < 2:
        planned = evidence.planned
        looks = planned.rates(np.linspace(0, planned.total - 1, 257).astype(np.int64))
        if np.ptp(looks) <= 2 * float(evidence.tolerance.max()) and _covers(evidence):
            said = "cannot tell: every rate agrees, but the plan is constant, so a wrong loop looks the same"
            return _unclear(said)
        said = f"cannot tell: every rate agrees, but the plan is constant over {setting.tick}s {_span(evidence)}"
        return _unclear(f"{said}, so a wrong loop looks the same", "audit a log of more of the run")
    part = (
        ""
        if _covers(evidence)
        else f", as far as it goes ({setting.tick}s {_span(evidence)} of {evidence.planned.total:,})"
    )
    return Diagnosis("match", Cause(f"the run used the planned rates{part}"))


def _covers(evidence: Evidence) -> bool:
    """Whether a log covers the plan, but for what lies between two of its points."""
    ticks = np.sort(evidence.planned.ticks(evidence.at))
    gap = max(int(np.diff(ticks).max(initial=1)), 1)
    return bool(ticks[0] <= gap and ticks[-1] >= evidence.planned.total - 1 - gap)


_MORE = "audit a log with more points, or say how the run was launched (--world-size, --grad-accumulation)"


def _range(low: float, high: float, most: float) -> str:
    """``at least 1.84``, ``2 to 7``: all that a log tells of a number."""
    return f"at least {low:.4g}" if high >= most else f"{low:.4g} to {high:.4g}"


# Explanations.


def _held(evidence: Evidence, search: Search, setting: Setting) -> Diagnosis | None:
    """The rate stays what it is from some tick on, and the plan goes on."""
    place, off = search.held(), evidence.first_off
    assert off is not None
    if place is None or off < place or len(evidence) - place < STAYS:
        return None
    rate, planned = float(evidence.rates[place]), evidence.planned
    tick = int(planned.ticks(evidence.at[place : place + 1])[0])
    if place == 0:
        starts = {"where it began": planned.schedule(0), "the base rate of the optimizer": planned.schedule.lr}
        near = float(evidence.tolerance[0])
        end = float(planned.rates(np.array([planned.total]))[0])
        if abs(end - rate) <= near < abs(planned.schedule.lr - rate):
            also = ", or it was never stepped" if abs(planned.schedule(0) - rate) <= near else ""
            said = f"cannot tell: the rate is {rate:.6g} throughout, the plan's last: the scheduler had run out{also}"
            return _unclear(said, "look at last_epoch where the run begins, and at who steps the scheduler")
        where = next((what for what, start in starts.items() if abs(start - rate) <= near), None)
        if where is None and off == 0 and not _between(evidence, 0, tick):
            return None
        said = f"the rate is {rate:.6g} throughout, {where or 'where it was'}: the scheduler was never stepped"
        if setting.per_epoch is not None and setting.interval == "step":
            said += f", or so rarely that it does not show (once in {setting.per_epoch:,} updates)"
        return Diagnosis("constant-after", Cause(said, _STEP))
    if place == off and not _between(evidence, place, tick):
        return None
    said = f"the rate stays {rate:.6g} from {setting.tick} {tick:,} on: the scheduler was no longer stepped"
    return Diagnosis(
        "constant-after", Cause(said, "look at what ends scheduler.step(): a condition, an exception, a resume")
    )


_STEP = "call scheduler.step() after optimizer.step(), and give the scheduler the optimizer that trains"


def _between(evidence: Evidence, place: int, tick: int) -> bool:
    """Whether the plan has the rate of a place at a tick that was not logged, between the point before and it."""
    planned = evidence.planned
    before = int(planned.ticks(evidence.at[place - 1 : place])[0]) if place else 0
    if tick - before < 1:
        return False
    ticks = np.unique(np.linspace(before, tick, 4097).astype(np.int64))
    rates = planned.rates(ticks)
    near = float(evidence.tolerance[place]) + (float(np.abs(np.diff(rates)).max()) if tick - before > 4096 else 0.0)
    return bool((np.abs(rates - evidence.rates[place]) <= near).any())


def _throughout(
    evidence: Evidence, search: Search, setting: Setting, variants: Mapping[str, Schedule]
) -> Diagnosis | None:
    """One explanation for all points; ``unclear`` where two are as good."""
    found = [
        explanation
        for explanation in (
            _shifted(evidence, search, setting),
            _scaled(evidence, search, setting),
            _other_rate(search),
            *(_variant(evidence, name, schedule) for name, schedule in variants.items()),
        )
        if explanation is not None
    ]
    if not found:
        return None
    best, *others = sorted(found, key=lambda explanation: explanation.cost)
    margin = 1.0 if evidence.levels(evidence.rates) <= THIN else 0.3
    rival = next((o for o in others if o.verdict != best.verdict and o.cost <= best.cost + margin), None)
    if rival is None or best.cost < 1:
        return best
    either, other = (one.cause.what.removeprefix("cannot tell: ") for one in (best, rival))
    return _unclear(f"cannot tell: {either}; or {other}", "audit a log with more points")


def _warmup(schedule: Schedule) -> int | None:
    """Ticks of a schedule's warm-up: its operator's, or until its first phase ends if it rises there."""
    if isinstance(schedule, Warmup):
        return schedule.ticks
    first = next((tick for tick, _ in schedule.marks if tick > 0), None)
    if first is None or first > 10**9:
        return None
    return first if schedule(first) > schedule(0) else None


def _without_warmup(evidence: Evidence, setting: Setting) -> Diagnosis | None:
    """The rate is held where the plan warms up, and is the plan's from there on."""
    warmup = _warmup(evidence.planned.schedule)
    if warmup is None or evidence.off.all():
        return None
    early = evidence.planned.ticks(evidence.at) < warmup
    held = evidence.rates[early]
    top = float(evidence.planned.rates(np.array([warmup]))[0])
    if len(held) < STAYS or evidence.off[~early].any() or (np.abs(held - top) > evidence.tolerance[early]).any():
        return None
    said = f"the warm-up is missing; from {setting.tick} {warmup:,} on the log is the plan"
    return Diagnosis("different", Cause(said, _NO_WARMUP))


_NO_WARMUP = "check that the warm-up is built and stepped, and that its length is not 0"


def _shifted(evidence: Evidence, search: Search, setting: Setting) -> Diagnosis | None:
    shift = search.shift()
    if shift is None:
        return None
    warmup = _warmup(evidence.planned.schedule)
    low, high = search.shifts(shift)
    if shift != warmup and low < high:
        where = "ahead of" if shift > 0 else "behind"
        count = _range(min(abs(low), abs(high)), max(abs(low), abs(high)), search.planned.total)
        said = f"cannot tell by how much: the rates are {count} {setting.tick}s {where} the plan"
        return Diagnosis("unclear", Cause(said, _MORE), cost=1.6)
    cost = 1.0 if abs(shift) == 1 else 1.1 if shift == warmup else 1.6 if abs(shift) <= 4 else 2.2
    return Diagnosis("shifted", causes.of_shift(shift, setting, warmup), shift=shift, cost=cost)


def _scaled(evidence: Evidence, search: Search, setting: Setting) -> Diagnosis | None:
    known = setting.causes()
    pace: Pace | None = search.pace(list(known))
    if pace is None:
        return None
    factor: Fraction = pace.pace / evidence.planned.unit
    if factor not in known:
        low, high = (number / float(evidence.planned.unit) for number in search.paces(pace))
        if low < high:
            slow = factor < 1
            low, high = (1 / high, 1 / low) if slow else (low, high)
            said = f"in time, the schedule ran {_range(low, high, WIDEST)} times too {'slowly' if slow else 'fast'}"
            return Diagnosis("unclear", Cause(f"cannot tell the pace: {said}", _MORE), cost=2.0)
    if evidence.levels(evidence.rates) < 3 and factor not in known:
        times = f"{float(max(factor, 1 / factor)):.4g} times too {'fast' if factor > 1 else 'slowly'}"
        said = f"cannot tell: one change of the rate tells no pace (the schedule may have run {times}"
        said += ")" if factor > 1 else ", or begun again after a resume)"
        return Diagnosis("unclear", Cause(said, _MORE), cost=2.0 if factor > 1 else 4.0)
    whole = factor.denominator == 1 or factor.numerator == 1
    cost = (
        0.5 if factor in known else (1.5 if max(factor.numerator, factor.denominator) <= 8 else 2.0) if whole else 3.0
    )
    length = evidence.planned.schedule.length
    cause = causes.of_pace(factor, pace.smooth, setting, None if length is None else evidence.planned.total)
    if pace.smooth and length is None and max(factor.numerator, factor.denominator) > 64:
        # A schedule without a length that is as if stretched by any number has another parameter.
        return Diagnosis("different", cause, cost=cost)
    return Diagnosis("scaled", cause, factor=float(factor), cost=cost)


def _other_rate(search: Search) -> Diagnosis | None:
    found = search.ratio()
    if found is None:
        return None
    factor, plus = found
    round_number = any(float(f"{value:.1e}") == float(f"{value:.6e}") for value in (factor, 1 / factor))
    peak = search.planned.peak
    cost = 1.4 if round_number else 2.4
    if plus and abs(factor * peak + plus - peak) <= 1e-6 * peak:
        floor = float(search.evidence.plan.min())
        if abs(factor * floor + plus - floor) <= 1e-6 * peak:
            return None
        said = f"the shape and the peak are the plan's, with a floor of {factor * floor + plus:.6g} where {floor:.6g}"
        said, cost = f"{said} was planned", 4.0  # another pace of a straight line looks the same, and is likelier
    elif plus:
        said = f"the shape is the plan's, with a peak of {factor * peak + plus:.6g} where {peak:.6g} was planned"
    else:
        said = f"every rate is {factor:.4g} times the planned one: the shape is the plan's, the base rate is not"
    return Diagnosis("different", Cause(said, "compare the optimizer's lr with the plan's"), cost=cost)


def _variant(evidence: Evidence, name: str, schedule: Schedule) -> Diagnosis | None:
    planned = type(evidence.planned)(schedule, evidence.planned.total, evidence.planned.unit)
    if not evidence.agrees(planned.at(evidence.at)):
        return None
    what = f"the warm-up is missing: the rates are those of the plan {name}"
    return Diagnosis("different", Cause(what, _NO_WARMUP), cost=1.2)


# What happened at one point.


def _resumed(evidence: Evidence, search: Search, setting: Setting) -> Diagnosis | None:
    """Stretches of the plan, each at a shift of its own, as a resumed run has them."""
    pieces = search.pieces()
    if pieces is None or len(pieces) < 2 or not all(_credible(evidence, piece) for piece in pieces[1:]):
        return None
    moves = np.diff([piece.shift for piece in pieces])
    places = [piece.place for piece in pieces[1:]]
    ticks = [int(evidence.at[place]) for place in places]
    if (np.abs(moves) <= 2).all() and len(moves) > 1:
        said = f"the schedule falls out of step at {setting.tick} {_listed(ticks)}, by {_listed(moves.tolist())}"
        return Diagnosis(
            "different", Cause(said, "a scheduler that is not stepped with every update, as on skipped AMP steps")
        )
    first = pieces[1]
    before, after = evidence.rates[first.place - 1], evidence.rates[first.place]
    leap = "" if abs(before - after) <= evidence.tolerance[first.place] else f" (from {before:.6g} to {after:.6g})"
    said = f"the schedule leaves its course at {setting.tick} {_listed(ticks)}{leap}: "
    fresh = [_is_fresh(evidence, piece) for piece in pieces[1:]]
    if all(fresh):
        said += "it starts again there, as with a fresh scheduler after a resume"
        return Diagnosis("jump", Cause(said, "save the scheduler's state_dict and load it when the run is resumed"))
    moved = int(first.shift - pieces[0].shift)
    count = f"{abs(moved):,} {setting.tick}{'s' if abs(moved) > 1 else ''}"
    said += f"from there on it is {count} {'ahead' if moved > 0 else 'behind'}, as after a resume"
    return Diagnosis("jump", Cause(said, "compare last_epoch of the resumed scheduler with the updates that were made"))


def _is_fresh(evidence: Evidence, piece: Piece) -> bool:
    return abs(piece.shift + int(evidence.at[piece.place])) <= 1


def _credible(evidence: Evidence, piece: Piece) -> bool:
    """Whether a stretch shows that it is the plan at another tick, and not just a rate that the plan has too."""
    ahead = slice(piece.place, piece.place + 400)
    return _is_fresh(evidence, piece) or evidence.levels(evidence.rates, ahead) > THIN


def _listed(values: list[int]) -> str:
    texts = [f"{value:,}" for value in values]
    return ", ".join(texts[:-1]) + " and " + texts[-1] if len(texts) > 1 else texts[0]


def _jump(evidence: Evidence, setting: Setting) -> Diagnosis | None:
    """A leap where the plan moves smoothly: away from it, or onto it after rates that were not the plan's."""
    first, last = evidence.first_off, int(np.flatnonzero(evidence.off)[-1])
    assert first is not None
    for place, onto in ((first, False), (last + 1, True)):
        stays = evidence.off[place - STAYS : place] if onto else evidence.off[place : place + STAYS]
        if ENOUGH <= place <= len(evidence) - ENOUGH and stays.all() and _leaps(evidence, place):
            tick = int(evidence.planned.ticks(evidence.at[place : place + 1])[0])
            before, after = evidence.rates[place - 1 : place + 1]
            said = f"the rate jumps at {setting.tick} {tick:,} from {before:.6g} to {after:.6g}"
            said += ": onto the plan, which it did not follow before" if onto else ", and the plan does not"
            advice = "look at what a resume there restored: the schedule's length, its base rate, its state"
            return Diagnosis("jump", Cause(said, advice))
    return None


def _leaps(evidence: Evidence, place: int) -> bool:
    """Whether the rate makes a leap at a place that the plan does not make, nor anything like it nearby."""
    near = slice(max(place - 8, 0), place + 1)
    plan, rates = evidence.plan[near], evidence.rates[near]
    leap = float(rates[-1] - rates[-2]) - float(plan[-1] - plan[-2])
    upward = rates[-1] > rates[-2] and plan[-1] <= plan[-2]
    planned, made = np.diff(plan), np.diff(rates[:-1])
    if upward:  # a drop nearby is nothing like a leap up
        planned, made = np.maximum(planned, 0), np.maximum(made, 0)
    usual, own = float(np.abs(planned).max()), float(np.abs(made).max(initial=0.0))
    # A rate that stays where it fell to is a step's, and not a resumed curve's.
    after = evidence.rates[place : place + 8]
    if not upward and np.ptp(after) <= float(evidence.tolerance[place]):
        return False
    large = abs(leap) >= JUMP * evidence.planned.peak and abs(leap) >= 4 * max(usual, own)
    return large and (usual > 0 or bool(upward))


def _different(evidence: Evidence, setting: Setting) -> Diagnosis:
    off, n = int(evidence.off.sum()), len(evidence)
    place = evidence.first_off
    assert place is not None
    tick = int(evidence.planned.ticks(evidence.at[place : place + 1])[0])
    if off == n:
        said = "no rate is the planned one"
    else:
        said = f"{off:,} of {n:,} rates are not the planned ones, the first at {setting.tick} {tick:,}"
    constant = np.ptp(evidence.rates) <= float(evidence.tolerance.max())
    said += (
        f": the rate is {float(evidence.rates[0]):.6g} throughout"
        if constant
        else ", and no usual mistake explains them"
    )
    return Diagnosis("different", Cause(said, "compare the two curves: -o FILE draws them"))
