"""What the integrations share: a target as a plan, and what each parameter group of an optimizer runs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lrsched_cli.book import Entry
from lrsched_cli.errors import SpecError, must, nearest
from lrsched_cli.integrations.groups import Group
from lrsched_cli.run import DEFAULT_LR, Run
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.parameters import Metrics
from lrsched_cli.spec import simulate
from lrsched_cli.targets import find_targets
from lrsched_cli.trace import Trace

#: What stands for a plan: a word of the command line, an entry as the YAML has it, or what these give in Python.
Target: TypeAlias = "str | Path | Mapping[str, Any] | Schedule | Trace"


def missing(library: str, install: str) -> SpecError:
    """The error where a library is not installed."""
    return SpecError(f"needs {library}: pip install {install}")


class Member(NamedTuple):
    """What a parameter group runs: a schedule and a factor of its rates, which amount to a base rate."""

    schedule: Schedule
    factor: float
    base: float


@dataclass(frozen=True, eq=False)
class Plan:
    """A target on its run.

    Attributes
    ----------
    name: what errors and warnings call it.
    trace: the schedule on its run.
    entry: what was written, with the run laid over it; None for a schedule built in Python.
    base: the base rate it was built with.
    named: whether the plan names that rate itself, rather than taking the optimizer's.
    """

    name: str
    trace: Trace
    entry: Entry | None
    base: float
    named: bool

    @property
    def schedule(self) -> Schedule:
        return self.trace.schedule

    @property
    def total(self) -> int:
        return self.trace.clock.total

    @property
    def interval(self) -> str:
        return self.trace.clock.interval

    def __deepcopy__(self, memo: Any) -> Plan:
        return self

    def __getstate__(self) -> dict[str, Any]:
        # Compiled expressions, which a schedule keeps once it is asked for a rate, cannot be pickled.
        return {**vars(self), "trace": Trace(self.trace.name, _bare(self.schedule), self.trace.clock)}

    def rebased(self, lr: float) -> Plan:
        """The same plan with another base rate."""
        assert self.entry is not None
        return replace(_built(self.entry.overlaid({}, _run_at(lr))), named=self.named)

    def members(self, groups: Sequence[Group]) -> list[Member]:
        """What each parameter group of an optimizer runs; raises ``SpecError`` where ``groups:`` does not match them.

        Without ``groups:`` each runs the schedule from its own rate, where the plan's is among them; else at a base
        rate that is to the plan's as its own is to the optimizer's.
        """
        planned = self.schedule.groups
        if planned:
            return [Member(planned[name], 1.0, planned[name].lr) for name in self._matched(groups)]
        known: dict[float, Member] = {}
        main = self.base if any(_same_rate(group.lr, self.base) for group in groups) else groups[0].main
        for number, group in enumerate(groups):
            base = self._base_beside(group.lr, main)
            if base not in known:
                try:
                    known[base] = self._member(base)
                except SpecError as error:
                    raise error.adding(f" (in parameter group {number}, whose base rate is {base})") from None
        return [known[self._base_beside(group.lr, main)] for group in groups]

    def _base_beside(self, lr: float, main: float) -> float:
        if lr == main:
            return self.base
        if main == 0:
            raise must("lr", "> 0 in the first parameter group, as the others have another", main)
        return lr if main == self.base else self.base * (lr / main)

    def _member(self, base: float) -> Member:
        """The schedule at a base rate."""
        ratio = base / self.base if self.base else 1.0
        if ratio == 1 or ratio == 0 or self.entry is None or isinstance(self.entry.spec.get("lr"), Sequence):
            return Member(self.schedule, ratio, base)
        other = self.rebased(base).schedule
        if _peak(other, self.total) == _peak(self.schedule, self.total):
            # Its rates come from a parameter such as max_lr, not from lr: what is left to scale are the rates.
            return Member(self.schedule, ratio, base)
        return Member(other, 1.0, base)

    def _matched(self, groups: Sequence[Group]) -> list[str]:
        """The names in the plan of an optimizer's groups: by their own names if all have one, else in order."""
        planned = list(self.schedule.groups)
        names = [group.name for group in groups if group.name is not None]
        if len(names) < len(groups):
            if len(groups) != len(planned):
                told = f"names {len(planned)} ({', '.join(planned)}), and the optimizer has {len(groups)}"
                raise self._wrong_groups(f"{told} parameter group{'s' * (len(groups) != 1)}")
            return planned
        for name in names:
            if name not in planned:
                raise self._wrong_groups(f"has no {name}, as a parameter group is called{nearest(name, planned)}")
        for name in planned:
            if name not in names:
                told = f"has {name}, and no parameter group is called so"
                raise self._wrong_groups(f"{told}; the optimizer has {', '.join(names)}")
        return names

    def _wrong_groups(self, message: str) -> SpecError:
        return SpecError(message, parameter="groups", entry=self.name)

    def digest(self, members: Sequence[Member]) -> str:
        """What tells this plan from others: 16 hexadecimal digits, the same on every machine.

        It covers every parameter of every group's schedule and what a tick is, but neither the run's length, where it
        changes no parameter, nor the metrics that a plan lists.
        """
        told = [self.interval, *([_plain(member.schedule), repr(float(member.factor))] for member in members)]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def plan_of(target: Target, run: Mapping[str, Any] | Run | None = None, lr: float | None = None) -> Plan:
    """A target as a plan, on its own run with ``run`` laid over it; ``lr`` is the base rate where it names none."""
    if isinstance(target, Trace):
        if run is not None:
            raise SpecError("stands beside a trace, which has one already", parameter="run")
        return Plan(target.name, target, None, target.schedule.lr, True)
    if isinstance(target, Schedule):
        trace = simulate(target, run)
        return Plan(trace.name, trace, None, trace.schedule.lr, True)
    entry = _entry_of(target).overlaid({}, Run.of(run))
    if lr is None or _names_lr(entry):
        return _built(entry)
    return replace(_built(replace(entry, run=_run_at(lr).over(entry.run))), named=False)


def planned_for(
    target: Target, run: Mapping[str, Any] | Run | None, groups: Sequence[Group]
) -> tuple[Plan, str | None]:
    """The plan for an optimizer with these parameter groups, and what to warn its user of, if there is anything."""
    if not groups:
        raise must("optimizer", "one with parameter groups", groups)
    plan = plan_of(target, run, groups[0].main)
    rates = [group.lr for group in groups]
    if not plan.named:
        if plan.schedule.groups and len(set(rates)) > 1:
            listed = ", ".join(map(str, rates))
            told = f"scale one base rate, and the optimizer's groups have {listed}: name lr in the plan"
            raise SpecError(told, parameter="groups", entry=plan.name)
        return plan, None
    members = plan.members(groups)
    for lr, member in zip(rates, members, strict=True):
        if not any(_same_rate(lr, planned) for planned in (plan.base, member.base)):
            told = f"{plan.name} says lr {plan.base} and the optimizer {groups[0].main}: the plan's is used"
            if len(members) > 1:
                told += f", which makes {', '.join(f'{each.base:.6g}' for each in members)} of the groups' rates"
            return plan, told
    return plan, None


def _same_rate(lr: float, planned: float) -> bool:
    """Whether they are one rate, which in an optimizer may be a float32."""
    return lr in (planned, float(np.float32(planned)))


def _entry_of(target: Any) -> Entry:
    if isinstance(target, Mapping):
        form = next((form for form in ("sequence", "product") if form in target), "plan")
        return Entry(str(target.get("kind") or form), target)
    if not isinstance(target, (str, Path)):
        raise must("target", "a word such as schedules.yaml:main, a mapping, a schedule or a trace", target)
    entries = find_targets([str(target)])
    if len(entries) != 1:
        names = ", ".join(entry.name for entry in entries)
        raise SpecError(f"{target} has {len(entries)} entries ({names}): name one, as in {target}:{entries[0].name}")
    return entries[0]


def _names_lr(entry: Entry) -> bool:
    return entry.run.lr is not None or (isinstance(entry.spec, Mapping) and entry.spec.get("lr") is not None)


def _run_at(lr: float) -> Run:
    try:
        return Run(lr=lr)
    except SpecError as error:
        raise error.adding(", the optimizer's; name lr in the plan") from None


def _built(entry: Entry) -> Plan:
    trace = entry.trace()
    said = entry.spec.get("lr")
    if said is None:
        said = DEFAULT_LR if entry.run.lr is None else entry.run.lr
    base = float(said) if isinstance(said, Real) else trace.schedule.lr
    return Plan(entry.name, trace, entry, base, _names_lr(entry))


def _peak(schedule: Schedule, total: int) -> float:
    """The highest rate where it is looked at: at even distances, and about the first knots."""
    looks = np.linspace(0, total - 1, 33).round()
    if not schedule.cumulative:
        knots = schedule.next_knot(looks)
        looks = np.concatenate([looks, knots, knots - 1])
    return float(schedule(looks[looks < total]).max())


def _bare(value: Any) -> Any:
    """A schedule with nothing but its parameters, and so all that it is made of."""
    if isinstance(value, Schedule):
        copy = object.__new__(type(value))
        for field in dataclasses.fields(value):
            object.__setattr__(copy, field.name, _bare(getattr(value, field.name)))
        return copy
    if type(value) in (tuple, list):
        return type(value)(map(_bare, value))
    return {key: _bare(item) for key, item in value.items()} if type(value) is dict else value


def _plain(value: Any) -> Any:
    """A parameter's value, or a schedule, as JSON that is the same wherever it is written."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, Real):
        return repr(float(value))
    if dataclasses.is_dataclass(value):
        fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return [getattr(value, "kind", type(value).__name__), fields]
    if isinstance(value, Mapping):
        return [[str(key), _plain(item)] for key, item in value.items()]
    if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, Metrics):
        return [_plain(item) for item in value]
    return type(value).__name__  # metrics, above all


def refuse_epochs(plan: Plan, library: str) -> None:
    """Refuse a plan that ticks by epoch where a library steps its scheduler after every update."""
    if plan.interval != "step":
        told = f"{library} steps the scheduler after every update, and {plan.name} ticks by epoch"
        raise SpecError(f"{told}: say steps in its run, or epochs and steps_per_epoch")
