"""The schedule that goes on smoothly where a checkpoint was made, as an entry that can be written into a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lrsched_cli.curve import extremes
from lrsched_cli.errors import SpecError
from lrsched_cli.kinds import find_kind
from lrsched_cli.run import is_number
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.compose import InSequence
from lrsched_cli.schedules.parameters import default_of, params_of
from lrsched_cli.schedules.warmup import Warmup
from lrsched_cli.spec import simulate
from lrsched_cli.trace import Trace
from lrsched_cli.verify.namesakes import alone
from lrsched_cli.verify.resume import Resumed

#: More drops than these are not written out.
MOST = 50
#: Ticks at which a continuation is compared with what was planned.
LOOKS = 513
#: A run whose rate has come down to so much of its peak is annealed: more of the same changes little.
ANNEALED = 0.01
#: What an annealed run is warmed up to again, as a part of its peak, and in what part of the remaining ticks.
AGAIN, RISING = 0.5, 0.05


class Continuation(NamedTuple):
    """An entry, the run it is meant for, its trace, and what it does in a few words."""

    spec: Mapping[str, Any]
    run: Mapping[str, Any]
    trace: Trace
    words: str


def continuation(outcome: Resumed) -> Continuation | None:
    """An entry with the planned rates up to the checkpoint that then goes on without a jump; None where none is known.

    It is the entry itself on the longer run where that is smooth, else a sequence: what was planned up to the rate
    that the optimizer has, and from there the same kind of fall down to the planned end. It is simulated, and compared
    with the plan.
    """
    if outcome.planned.schedule.reacts:
        return None
    itself = _itself(outcome)
    if itself is not None and (_smooth(outcome, itself.trace) or _as_ever(outcome, itself.trace)):
        return itself
    found = _sequence(outcome)
    return found if found is not None and _smooth(outcome, found.trace) else None


def annealed(outcome: Resumed) -> float | None:
    """The part of its peak to which the rate of a run that is to go on for longer is down; None where it is not."""
    planned = alone(outcome.planned.schedule)
    if outcome.planned.schedule.reacts or outcome.checkpoint.total <= len(outcome.planned):
        return None
    peak = extremes(planned, 0, outcome.checkpoint.at).peak  # of what is over: in a warm-up nothing is annealed
    share = float(planned(kept(outcome) - 1)) / peak if peak > 0 else 1.0
    return share if 0 <= share <= ANNEALED else None


def rewarmed(outcome: Resumed) -> Continuation | None:
    """An entry that warms an annealed run up again to a part of its peak, and decays to the planned end.

    None where the run is not annealed, has groups (each has a peak of its own), or no such entry is known.
    """
    cut, total = kept(outcome), outcome.checkpoint.total
    planned = alone(outcome.planned.schedule)
    rising = max(round(RISING * (total - cut)), 1)
    if annealed(outcome) is None or outcome.planned.schedule.groups or rising + 2 > total - cut:
        return None
    before = _written(planned)
    if before is None:
        return None
    start, end = max(float(planned(cut - 1)), 0.0), _end(planned, len(outcome.planned))
    level = float(f"{AGAIN * extremes(planned, 0, outcome.checkpoint.at).peak:.6g}")
    core, kind = planned.core, planned.core.kind.rpartition(".")[2].lower()
    warm = {"for": rising, **({"start_lr": float(f"{start:.6g}")} if start else {})}
    tail = {"lr": level, **_shape(core, kind, level, end), "warmup": warm}
    spec = {"lr": _lr(outcome), "sequence": [{**_bare(before, planned.lr), "for": cut}, tail]}
    found = _simulated(outcome, spec, f"up to {level:g}, then {_words(core, kind)} down to the planned end")
    if found is None or not _prefixed(outcome, found.trace):
        return None
    return found._replace(trace=Trace(f"{outcome.planned.name} (rewarmed)", found.trace.schedule, found.trace.clock))


def _itself(outcome: Resumed) -> Continuation | None:
    """The entry itself, if its first part does not depend on the length of the run."""
    spec = {key: value for key, value in outcome.spec.items() if key != "run" and value is not None}
    return _simulated(outcome, {"lr": _lr(outcome), **spec}, "the same entry on the longer run")


def _sequence(outcome: Resumed) -> Continuation | None:
    before = _written(alone(outcome.planned.schedule))
    cut = kept(outcome)
    fall = _fall(outcome, cut)
    if before is None or fall is None:
        return None
    lr, (tail, words), groups = _lr(outcome), fall, outcome.spec.get("groups")
    first = _bare(before, outcome.planned.schedule.lr)  # of groups the first's, and its rate is none for the others
    spec = {"lr": lr, "sequence": [{**first, "for": cut}, *tail], **({"groups": groups} if groups else {})}
    return _simulated(outcome, spec, words)


def _bare(entry: Mapping[str, Any], lr: float) -> dict[str, Any]:
    """An entry without a base rate that it has anyway, and so its parts."""
    kept = {key: value for key, value in entry.items() if key != "lr" or value != lr}
    if "sequence" in kept:
        kept["sequence"] = [_bare(part, lr) for part in kept["sequence"]]
    return kept


def kept(outcome: Resumed) -> int:
    """How many ticks stay as planned: those that are over, and the next one, whose rate the optimizer has already."""
    at = outcome.checkpoint.at
    return at + 1 if at < len(outcome.planned) and at + 1 < outcome.checkpoint.total else at


def _lr(outcome: Resumed) -> float:
    said, groups = outcome.spec.get("lr"), outcome.spec.get("groups")
    if is_number(said):
        return said  # type: ignore[return-value]
    lr = outcome.planned.schedule.lr
    return float(f"{lr / next(iter(groups.values())):.12g}") if groups else lr  # that of groups is their first's


def _simulated(outcome: Resumed, spec: Mapping[str, Any], words: str) -> Continuation | None:
    clock = outcome.resumed.clock
    run: dict[str, Any] = {f"{clock.interval}s": outcome.checkpoint.total}
    if clock.steps_per_epoch is not None:
        run |= {"steps_per_epoch": clock.steps_per_epoch, "interval": clock.interval}
    try:
        trace = simulate(spec, run)
    except SpecError:
        return None
    name = f"{outcome.planned.name} (smooth)"
    return Continuation(spec, run, Trace(name, trace.schedule, trace.clock), words)


def _smooth(outcome: Resumed, trace: Trace) -> bool:
    """Whether a trace has the planned rates up to the checkpoint, goes on from them, and ends no higher."""
    if not _prefixed(outcome, trace):
        return False
    at, cut = outcome.checkpoint.at, kept(outcome)
    planned, schedule = alone(outcome.planned.schedule), trace.schedule
    peak = extremes(schedule, 0, len(trace)).peak
    near = schedule(np.arange(max(at - 3, 0), min(cut + 4, len(trace))))
    own = planned(np.arange(max(at - 3, 0), cut))
    ordinary = max(float(np.abs(np.diff(rates)).max(initial=0.0)) for rates in (own, near[len(own) :]))
    join = abs(float(schedule(cut)) - float(schedule(cut - 1)))
    end = float(planned(len(outcome.planned) - 1))
    return join <= 2 * ordinary + 1e-6 * peak and float(schedule(len(trace) - 1)) <= end + 0.05 * peak


def _as_ever(outcome: Resumed, trace: Trace) -> bool:
    """Whether a trace does what the old scheduler does past its end, with the restarts or cycles that it has."""
    ticks = np.unique(np.linspace(0, len(trace) - 1, LOOKS).round().astype(np.int64))
    if outcome.ran.last_tick is not None and outcome.ran.last_tick < len(trace):
        return False
    try:
        return bool(np.allclose(trace.schedule(ticks), outcome.ran(ticks), rtol=1e-9, atol=0))
    except SpecError:  # an expression may be refused past its run
        return False


def _prefixed(outcome: Resumed, trace: Trace) -> bool:
    """Whether a trace has the planned rates up to the checkpoint."""
    cut, planned = kept(outcome), alone(outcome.planned.schedule)
    ticks = np.unique(np.linspace(0, cut - 1, LOOKS).round().astype(np.int64))
    peak = extremes(trace.schedule, 0, len(trace)).peak
    return bool(np.allclose(trace.schedule(ticks), planned(ticks), rtol=0, atol=1e-9 * peak))


def _fall(outcome: Resumed, cut: int) -> tuple[list[dict[str, Any]], str] | None:
    """From the rate that the optimizer has down to the planned end, as entries that say no rate of their own."""
    schedule, total = alone(outcome.planned.schedule), outcome.checkpoint.total
    start, end = float(schedule(cut - 1)), _end(schedule, len(outcome.planned))
    if not start > 0:
        return None
    if end >= start * (1 - 1e-9):
        return [{"lr": "current", "kind": "constant"}], "the last rate is held"
    rest = total - cut
    core = schedule.core
    kind = core.kind.rpartition(".")[2].lower()
    gamma = getattr(core, "gamma", None)
    drops = _drops(schedule, cut, len(outcome.planned), rest)
    if drops and is_number(gamma) and kind in ("step", "multistep", "steplr", "multisteplr"):
        return [{"lr": "current", "kind": "multistep", "milestones": drops, "gamma": gamma}], "its drops, later"
    if kind in ("exponential", "exponentiallr") and rest > 1:
        return [{"lr": "current", "kind": "exponential", "gamma": (end / start) ** (1 / (rest - 1))}], "slower"
    stable = _stable(schedule, cut, len(outcome.planned), total)
    tail: list[dict[str, Any]] = [{"lr": "current", "kind": "constant", "until": stable}] if stable > cut else []
    words = "the last rate is held, then " if tail else ""
    return [
        *tail,
        {"lr": "current", **_shape(core, kind, start, end)},
    ], f"{words}{_words(core, kind)} down to the planned end"


def _words(core: Schedule, kind: str) -> str:
    return {"linear": "a line", "polynomial": "a polynomial"}.get(_family(core, kind), "a cosine")


def _family(core: Schedule, kind: str) -> str:
    if "polynomial" in kind:
        return "polynomial"
    return "linear" if "linear" in kind or getattr(core, "decay_shape", None) == "linear" else "cosine"


def _shape(core: Schedule, kind: str, start: float, end: float) -> dict[str, Any]:
    """The kind of a fall between two rates, as the plan has it where that is a line or a power; else a cosine."""
    floor = float(f"{end:.9g}")
    family = _family(core, kind)
    if family == "linear":
        return {"kind": "linear", **({"end_factor": end / start} if end else {})}
    power = {"power": core.power} if family == "polynomial" else {}  # type: ignore[attr-defined]
    return {"kind": family, **power, **({"eta_min": floor} if floor else {})}


def _end(schedule: Schedule, total: int) -> float:
    """The lowest rate at the planned end; that of the tick after it, if that is lower."""
    last = float(schedule(total - 1))
    if schedule.last_tick is None or schedule.last_tick >= total:
        last = min(last, float(schedule(total)))
    return max(last, 0.0)


def _drops(schedule: Schedule, cut: int, total: int, rest: int) -> list[int]:
    """The ticks of the next part at which the planned drops come, stretched to its length; none where they are many."""
    found: list[int] = []
    at = float(cut - 1)
    while len(found) < MOST:
        at = float(schedule.next_knot(np.array([at]))[0])
        if at >= total:
            break
        if schedule(int(at)) != schedule(int(at) - 1):
            found.append(max(round((at - cut) * rest / (total - cut)), 1))
    return found if len(found) < MOST and len(set(found)) == len(found) else []


def _stable(schedule: Schedule, cut: int, total: int, longer: int) -> int:
    """Where a plan that is flat at the checkpoint begins to fall, counted from the end of the longer run; else 0."""
    at = float(schedule.next_knot(np.array([float(cut - 1)]))[0])
    if (
        cut < 2
        or schedule(cut - 1) != schedule(cut - 2)
        or not cut <= at < total
        or schedule(int(at) - 1) != schedule(cut - 1)
    ):
        return 0
    return longer - (total - int(at))


def _written(schedule: Schedule) -> dict[str, Any] | None:
    """A schedule as an entry in which every duration is a number of ticks; None where there is no such entry."""
    if isinstance(schedule, Warmup):
        body = _written(schedule.body)
        if body is None or "sequence" in body or "warmup" in body:
            return None
        warm = {"for": schedule.ticks, "start_lr": float(schedule.start)}
        others = {
            "shape": ("linear", schedule.shape),
            "clock": ("prefix", schedule.clock),
            "first": (0, schedule.first),
        }
        return {
            **body,
            "warmup": {**warm, **{name: given for name, (usual, given) in others.items() if given != usual}},
        }
    if isinstance(schedule, InSequence):
        return _parts(schedule)
    if find_kind(schedule.kind) is not type(schedule):
        return None
    return _kind(schedule, lr=True)


def _parts(schedule: InSequence) -> dict[str, Any] | None:
    """A sequence, each part with the rate that it has."""
    parts = [_written(part) for part in schedule.parts]
    ends = [*schedule.starts, schedule.stop]
    if any(part is None for part in parts):
        return None
    members = [
        {**part, **({} if end is None else {"until": end})} for part, end in zip(parts, ends, strict=True) if part
    ]
    after = {} if schedule.stop is None or schedule.after == "hold" else {"after": schedule.after}
    return {"sequence": members, **after}


def _kind(schedule: Schedule, *, lr: bool) -> dict[str, Any]:
    """A kind with the parameters that are not its defaults."""
    found: dict[str, Any] = {"kind": schedule.kind}
    for name in params_of(type(schedule)):
        value = getattr(schedule, name)
        if (name == "lr" and not lr) or value is None:
            continue
        if name == "lr" or value != default_of(type(schedule), name):
            found[name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    """A value as YAML has it; the members of a composed scheduler have no rate of their own."""
    if isinstance(value, Schedule):
        return _kind(value, lr=False)
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value
