"""A plan as a scheduler of torch: exact, cheap, and at home wherever a ``LRScheduler`` is."""

from __future__ import annotations

import warnings
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from lrsched_cli.errors import SpecError, must, shown
from lrsched_cli.integrations.blocks import Block, Stream, block_of, streams_of
from lrsched_cli.integrations.groups import (
    Group,
    groups_of,
    has_momentum,
    is_tensor,
    like,
    own,
    write_momentum,
    write_rate,
)
from lrsched_cli.integrations.plan import Member, Plan, Target, missing, planned_for
from lrsched_cli.run import Run

try:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
except ImportError:
    raise missing("PyTorch", "torch") from None


def torch_scheduler(
    optimizer: Optimizer,
    target: Target,
    run: Mapping[str, Any] | Run | None = None,
    *,
    last_epoch: int = -1,
) -> PlannedLR:
    """A ``torch.optim.lr_scheduler.LRScheduler`` that gives the optimizer the rates of a plan.

    >>> scheduler = torch_scheduler(optimizer, "schedules.yaml:warmup-cosine")  # doctest: +SKIP
    >>> for batch in batches:  # doctest: +SKIP
    ...     train(batch)
    ...     optimizer.step()
    ...     scheduler.step()

    The rate of update ``t`` is ``trace.lr[t]`` of the plan, to the last bit, and so is the momentum (or Adam's beta1),
    if the plan cycles it. The rate of update 0 is set at once, the next one by every ``step()``: once an update or
    once an epoch, as the plan ticks. Past the end of the run the schedule goes on as it is defined; where it is
    defined no further, as torch's OneCycleLR, ``step()`` raises ``SpecError``.

    Parameters
    ----------
    optimizer: a ``torch.optim.Optimizer``. Its weight decay is left alone. A rate that is a tensor is filled in place.
    target: what ``lrsched plot`` takes, such as ``"cosine"`` or ``"schedules.yaml:main"``; or an entry as a mapping,
        a :class:`~lrsched_cli.Schedule` or a :class:`~lrsched_cli.Trace`.
    run: what to lay over the plan's own run, such as ``{"steps": 10_000}`` (durations in epochs, steps or tokens).
    last_epoch: the last tick that is over, where training goes on without a saved state; -1 to begin.

    Base rate: where the plan names ``lr``, that is used, with a warning if the optimizer's is another; where it does
    not, the optimizer's is (its groups' ``initial_lr``, as in torch). Parameter groups: a plan with ``groups:`` finds
    them by their key ``"name"`` if all have one, else in order. Without ``groups:`` each runs the schedule at a base
    rate of its own, in the ratio of its ``lr`` to the first group's; a plan whose rates do not come from ``lr`` (a
    onecycle with ``max_lr``) is scaled by that ratio. Groups that are added later join in.

    A plan that a metric drives gives a scheduler whose ``step(metric)`` works as ReduceLROnPlateau's, of which it is
    an instance, so that Lightning, transformers and torch treat it as one. It keeps every metric, in its state too, and
    looks at all of them at each step: made for a metric an epoch.

    ``state_dict()`` holds plain numbers and text, with a digest of the plan: loading the state of another plan warns.
    A scheduler with its state loaded goes on exactly, in a new process too. It works under torch's SequentialLR and
    accelerate (whose scheduler steps once for each process: plan that many ticks an update, or do not prepare it).
    Beside another in ChainedScheduler it warns once and keeps to the plan, where ``product:`` says what was meant.

    Raises ``SpecError`` (a ``ValueError``) where the plan or its groups do not fit.
    """
    if not isinstance(optimizer, Optimizer):
        raise must("optimizer", "a torch.optim.Optimizer", optimizer)
    if not isinstance(last_epoch, int) or last_epoch < -1:
        raise must("last_epoch", "a whole number >= -1", last_epoch)
    plan, told = planned_for(target, run, groups_of(optimizer))
    if told is not None:
        warnings.warn(told, stacklevel=2)
    if plan.schedule.momentum is not None and not has_momentum(optimizer.param_groups):
        warnings.warn(f"{plan.name} cycles momentum, and the optimizer has none: it gets the rates only", stacklevel=2)
    return (ReactiveLR if plan.schedule.reacts else PlannedLR)(optimizer, plan, last_epoch)


class PlannedLR(LRScheduler):
    """The rates of a plan, one a step; made by :func:`torch_scheduler`.

    Attributes
    ----------
    plan: the plan.
    optimizer: the optimizer.
    last_epoch: the tick whose rate the optimizer has, counted from 0.
    base_lrs: the base rate of each parameter group.
    """

    def __init__(self, optimizer: Optimizer, plan: Plan, last_epoch: int = -1) -> None:
        if last_epoch >= 0:
            for group in optimizer.param_groups:
                if "initial_lr" not in group and not plan.named:
                    told = "needs the optimizer's initial_lr: load the optimizer's state first, or name lr in the plan"
                    raise SpecError(told, parameter="last_epoch")
                group.setdefault("initial_lr", own(group["lr"]))
        self._warned = False
        self._since = 0  # the first tick of those in a row whose rates were written
        self._loaded = -1  # the tick at which a state was loaded last
        self._assign(plan, groups_of(optimizer))
        LRScheduler.__init__(self, optimizer, last_epoch)
        self.base_lrs = [member.base for member in self._members]

    def _assign(self, plan: Plan, groups: list[Group]) -> None:
        """Take a plan for parameter groups; no rates are known yet."""
        self.plan = plan
        self._groups = groups
        self._members = plan.members(groups)
        self._first = self._end = 0  # the ticks of which rates are known
        self._rates: list[list[float]] = []  # of each group
        self._momenta: list[float] | None = None
        self._prepare()

    # The plan's side.

    def _prepare(self) -> None:
        follow = self._members[0].schedule.momentum
        self._streams = streams_of(self._members, self.plan.total)
        if follow is not None:
            self._streams.append(Stream(follow, self.plan.total))

    def _block(self, tick: int) -> Block:
        """Rates of ticks about this one: of every group, and behind them the momentum, if it is cycled."""
        return block_of(self._streams, tick)

    def _look_up(self, tick: int) -> int:
        """Where the rates of a tick are, in the lists of what is known."""
        if not self._first <= tick < self._end:
            self._first, self._end, rows = self._block(tick)
            groups = len(self._members)
            self._rates, self._momenta = rows[:groups], rows[groups] if len(rows) > groups else None
        return tick - self._first

    def _rates_at(self, tick: int) -> list[float]:
        at = self._look_up(tick)
        return [row[at] for row in self._rates]

    @property
    def digest(self) -> str:
        """What tells this plan, at these base rates, from others."""
        return self.plan.digest(self._members)

    # The optimizer's side.

    def step(self, epoch: int | None = None) -> None:
        """Give the optimizer the rates of the next tick, or of tick ``epoch``, which torch calls deprecated.

        Raises ``SpecError`` past the last tick that the schedule is defined for.
        """
        tick = self.last_epoch + 1
        if self._since < tick < self._end and epoch is None and self._step_count != 1:
            groups, rates = self.optimizer.param_groups, self._rates
            if len(groups) == len(rates):
                at = tick - self._first
                for group, row in zip(groups, rates):  # noqa: B905 - as long, and without the keyword faster
                    if group["lr"] is not row[at - 1]:
                        break  # a tensor, or not what was written last
                    group["lr"] = row[at]
                else:
                    if self._momenta is not None:
                        write_momentum(groups, self._momenta[at])
                    self.last_epoch = tick
                    self._step_count += 1
                    return
        self._step_carefully(epoch)

    def _step_carefully(self, epoch: Any) -> None:
        if self._step_count == 1:
            self._check_order()
        if epoch is not None and (not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 0):
            raise SpecError(f"{self.plan.name} reacts to no metric: step() takes none, got {shown(epoch)}")
        self._check_untouched()
        self._put(self.last_epoch + 1 if epoch is None else epoch)
        self._step_count += 1

    def _initial_step(self) -> None:
        self._step_count = 0
        self._put(self.last_epoch + 1)
        self._step_count = 1

    def _update_lr(self, epoch: int | None = None) -> None:  # SequentialLR calls it where a scheduler's turn comes
        self._put(self.last_epoch + 1 if epoch is None else epoch)

    def _put(self, tick: int) -> None:
        """Give the optimizer the rates of a tick, whatever it has now."""
        groups = self.optimizer.param_groups
        if len(groups) != len(self._members):
            self._join()
        at = self._look_up(tick)
        for group, row in zip(groups, self._rates, strict=True):
            write_rate(group, row[at])
        if self._momenta is not None:
            write_momentum(groups, self._momenta[at])
        self.last_epoch = self._since = tick

    def _join(self) -> None:
        """Take in the groups that the optimizer was given since."""
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", own(group["lr"]))
        now = groups_of(self.optimizer)
        self._assign(self.plan, [*self._groups, *now[len(self._groups) :]][: len(now)])
        self.base_lrs = [member.base for member in self._members]

    def _written(self) -> list[float] | None:
        """The rates that were written last, where they are still known."""
        known = self._since <= self.last_epoch and self._first <= self.last_epoch < self._end
        return self._rates_at(self.last_epoch) if known else None

    def _check_untouched(self) -> None:
        """Warn, once, where the optimizer no longer has the rates that were written last.

        An optimizer whose own state is loaded after the scheduler's may have others.
        """
        written = None if self._warned or self.last_epoch == self._loaded else self._written()
        if written is None:
            return
        following = self.last_epoch + 1 - self._first
        for group, planned, row in zip(self.optimizer.param_groups, written, self._rates, strict=False):
            now = group["lr"]
            if is_tensor(now) or now == planned or (following < len(row) and now is row[following]):
                continue
            self._warned = True
            warnings.warn(
                f"something else changed the learning rate from {planned:g}, as {self.plan.name} has it, to {now:g}: "
                "the plan's rates are written over it (combine schedules in the plan, with product: or sequence:)",
                stacklevel=4,
            )
            return

    def _check_order(self) -> None:
        """Warn where no update came before the first step, as torch does."""
        if hasattr(self.optimizer.step, "_wrapped_by_lr_sched") and not getattr(self.optimizer, "_opt_called", False):
            warnings.warn(
                "scheduler.step() came before optimizer.step(), so the first rate of the plan is skipped: "
                "call optimizer.step() first",
                stacklevel=4,
            )

    def get_last_lr(self) -> list[Any]:
        """The rate of each parameter group that the last step has set: a number, or a tensor where the group's is."""
        groups = self.optimizer.param_groups
        if self.last_epoch < 0 or len(groups) != len(self._members):
            return [own(group["lr"]) for group in groups]
        rates = self._rates_at(self.last_epoch)
        return [like(group["lr"], rate) for group, rate in zip(groups, rates, strict=True)]

    get_lr = get_last_lr

    @property
    def _last_lr(self) -> list[Any]:  # type: ignore[override]
        return self.get_last_lr()

    # Its state.

    def state_dict(self) -> dict[str, Any]:
        """The state as plain numbers and text, which ``torch.load(weights_only=True)`` and JSON can read."""
        return {
            "last_epoch": self.last_epoch,
            "_step_count": self._step_count,
            "base_lrs": list(self.base_lrs),
            "_last_lr": [float(lr) for lr in self.get_last_lr()],
            "plan": self.plan.name,
            "digest": self.digest,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where a state was taken; warns where that was of another plan, and keeps to this one.

        The optimizer's rate is set too, unless its own state was loaded before. Where the plan names no ``lr``, the
        base rates are those of the state. Raises ``SpecError`` where it is no scheduler's state, or of an optimizer
        with other groups.
        """
        if not isinstance(state_dict, Mapping):
            raise must("state_dict", "what state_dict() gave", state_dict)
        last = state_dict.get("last_epoch")
        if not isinstance(last, int) or last < -1:
            raise must("last_epoch", "a whole number in a scheduler's state", last)
        untouched = self._is_untouched()
        self._take_bases(state_dict.get("base_lrs"))
        self._load_metrics(state_dict, last)
        self.last_epoch = last
        self._step_count = int(state_dict.get("_step_count", last + 1))
        self._since = last + 1
        self._loaded = last
        if state_dict.get("digest") != self.digest:
            self._warn_of_another(state_dict)
        if untouched and last >= 0:
            self._put(last)

    def _is_untouched(self) -> bool:
        """Whether the optimizer still has the rates that were written last."""
        written = self._written()
        return written is not None and all(
            bool(group["lr"] == like(group["lr"], rate))
            for group, rate in zip(self.optimizer.param_groups, written, strict=False)
        )

    def _take_bases(self, bases: Any) -> None:
        """Take the base rates of a state, where the plan leaves them to the optimizer."""
        if not isinstance(bases, (list, tuple)):
            return
        if len(bases) != len(self._members):
            told = f"has {len(bases)} parameter groups, and the optimizer {len(self._members)}"
            raise SpecError(told, parameter="state_dict")
        bases = [float(lr) for lr in bases]
        if self.plan.named or self.plan.schedule.groups or bases == self.base_lrs:
            return
        at = next((i for i, group in enumerate(self._groups) if group.lr == group.main), 0)
        groups = [Group(group.name, lr, bases[at]) for group, lr in zip(self._groups, bases, strict=True)]
        self._assign(self.plan.rebased(bases[at]), groups)
        self.base_lrs = bases

    def _load_metrics(self, state: Mapping[str, Any], last: int) -> None:
        """What training has measured, for a plan that reacts to it."""

    def _warn_of_another(self, state: Mapping[str, Any]) -> None:
        other = state.get("plan", "or of another scheduler")
        told = f"the state is of another plan ({other}) than {self.plan.name}"
        if other == self.plan.name:
            told = f"the state is of another plan that is called {other} too"
        saved = state.get("_last_lr")
        if isinstance(saved, (list, tuple)) and saved and self.last_epoch >= 0:
            now = self._rates_at(self.last_epoch)[0]
            told += f": at tick {self.last_epoch} its rate was {float(saved[0]):g}, and this one's is {now:g}"
        warnings.warn(told, stacklevel=3)

    def __getstate__(self) -> dict[str, Any]:
        made = ("_members", "_streams", "_rates", "_momenta")  # again, from the plan
        return {key: value for key, value in vars(self).items() if key not in made}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._assign(self.plan, self._groups)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.plan.name}, {self.plan.interval} {self.last_epoch} of {self.plan.total})"


class ReactiveLR(PlannedLR, ReduceLROnPlateau):
    """The rates of a plan that a metric drives; made by :func:`torch_scheduler`.

    It is a ``ReduceLROnPlateau`` in the eyes of ``isinstance`` alone: what a metric does is what the plan says.
    """

    def __init__(self, optimizer: Optimizer, plan: Plan, last_epoch: int = -1) -> None:
        if last_epoch >= 0:
            told = f"does not say what training measured, and {plan.name} reacts to it: load the scheduler's state"
            raise SpecError(told, parameter="last_epoch")
        self._metrics = array("d")
        super().__init__(optimizer, plan, last_epoch)

    def _prepare(self) -> None:
        self._feed()

    def _feed(self) -> None:
        fed: dict[int, Any] = {}
        members: list[Member] = []
        for member in self._members:
            key = id(member.schedule)
            if key not in fed:
                fed[key] = member.schedule.fed(self._metrics)
            members.append(member._replace(schedule=fed[key]))
        self._members = members

    def _block(self, tick: int) -> Block:
        rows = [[member.schedule(tick) * member.factor] for member in self._members]
        follow = self._members[0].schedule.momentum
        if follow is not None:
            rows.append([follow(tick)])
        return Block(tick, tick + 1, rows)

    def step(self, metrics: Any = None, epoch: int | None = None) -> None:  # type: ignore[override]
        """Go on to the next tick, told the metric of the one that is over: a number, or a tensor of one element."""
        if metrics is None:
            raise SpecError(f"{self.plan.name} reacts to a metric: call step(metric), as ReduceLROnPlateau's")
        if epoch is not None:
            raise SpecError(f"{self.plan.name} reacts to every metric in turn: step(metric) takes no epoch")
        self._metrics.append(float(metrics))
        self._check_untouched()
        self._feed()
        self._put(self.last_epoch + 1)
        self._step_count += 1

    def state_dict(self) -> dict[str, Any]:
        """The state as plain numbers and text; every metric so far is in it."""
        return {**super().state_dict(), "metrics": self._metrics.tolist()}

    def _load_metrics(self, state: Mapping[str, Any], last: int) -> None:
        metrics = state.get("metrics")
        if not isinstance(metrics, Sequence) or len(metrics) != last:
            told = f"must list the {last} metrics so far, as {self.plan.name} reacts to them"
            raise SpecError(told, parameter="state_dict")
        self._metrics = array("d", metrics)
        self._first = self._end = 0
        self._feed()
