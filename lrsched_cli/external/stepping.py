"""A user's factory called, and what it gives stepped for real, tick by tick."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lrsched_cli.errors import SpecError, UserCodeError, shown
from lrsched_cli.external.calling import calling_of, step_arguments
from lrsched_cli.external.guest import called, hosted, reason, trace
from lrsched_cli.external.optimizer import (
    StandIn,
    is_torch_loaded,
    names_torch,
    optimizer_of,
    stand_in,
    torch_optimizer,
)
from lrsched_cli.external.recorded import LONGEST, Break, Recorded, values_of
from lrsched_cli.external.word import Word

#: A factory or a function as one of the optimizer, or of the step.
Call = Callable[[Any], Any]


@dataclass(frozen=True)
class Stepping:
    """What is to be stepped.

    Attributes
    ----------
    word: the factory.
    lr: the base rate.
    groups: the base rate of each named parameter group; empty where there is one without a name.
    optimizer: the name of the optimizer.
    args: arguments that the factory gets beside the optimizer.
    metrics: the metric of every tick, for a scheduler that reacts to one; it is not stepped any more after the last.
    interval: ``step`` or ``epoch``, what a tick is.
    last: the last tick that is wanted, which the run does not use itself: its rate is what the last step leaves.
    """

    word: Word
    lr: float
    last: int
    groups: Mapping[str, float] = field(default_factory=dict)
    optimizer: str = "sgd"
    args: Mapping[str, Any] = field(default_factory=dict)
    metrics: Sequence[float] | None = None
    interval: str = "epoch"

    @property
    def text(self) -> str:
        return self.word.text

    def run(self, last: int | None = None) -> dict[str, Recorded]:
        """The schedule of each group, of one called ``""`` where there are no named ones; ``last`` replaces its own.

        Raises ``UserCodeError`` where the code raises before the rate of tick 0 is known, ``SpecError`` where what it
        gives is no scheduler and no rate.
        """
        if last is not None and last != self.last:
            return replace(self, last=last).run()
        if self.last > LONGEST:
            raise SpecError(f"{self.text} is stepped tick by tick, up to {LONGEST:.0e} of them, got {self.last}")
        factory = self.word.load()
        if not callable(factory):
            raise SpecError(f"{self.text} must name a function or a class, got {_kind(factory)}")
        calling = calling_of(self.text, factory, self.args)
        way, call = calling.way, calling.bound(factory, self.args)
        if way in ("alone", "optional"):
            made = called(self.text, "when it was called", factory, **self.args)
            if way == "alone" or _number(made) is None:
                return self._scheduler(made, None)
            way = "function"
        if way == "function":
            return {"": self._function(call)}
        try:
            optimizer, made = self._made(call, names_torch(factory))
        except UserCodeError as error:
            if way != "untold" or not _is_of_the_optimizer(error.__cause__, self.optimizer):
                raise
            return self._function_after(call, error)
        if way == "untold" and _number(made) is not None:
            return {"": self._function(call)}
        return self._scheduler(made, optimizer)

    # A function of the step.

    def _function_after(self, call: Call, error: UserCodeError) -> dict[str, Recorded]:
        """What a callable gives that could do nothing with the optimizer; its ``error`` counts if steps fail too."""
        try:
            return {"": self._function(call)}
        except UserCodeError:
            raise error from error.__cause__

    def _function(self, function: Call) -> Recorded:
        rates: list[float] = []
        broken: BaseException | None = None
        with hosted(self.text):
            for tick in range(self.last + 1):
                if tick == 1 and self.groups:
                    raise SpecError(f"{self.text} is a function of the step, which knows no groups: leave groups out")
                try:
                    value = function(tick)
                except KeyboardInterrupt:
                    raise
                except BaseException as error:
                    broken = error
                    break
                rates.append(self._rate(value, tick))
        if broken is not None and not rates:
            self._raise_again(broken, "at tick 0")
        remarks = (f"{self.text} is a function of the step: it gives the rate itself, whatever the base rate is",)
        return self._recorded("", self.lr, rates, None, broken, remarks, ())

    # A factory.

    def _scheduler(self, made: Any, given: Any) -> dict[str, Recorded]:
        """What stepping a scheduler gives that a factory made, of the optimizer that it was given if it was."""
        scheduler = made
        while isinstance(scheduler, Mapping):  # as Lightning is told it
            scheduler = scheduler.get("lr_scheduler", scheduler.get("scheduler"))
        if not callable(getattr(scheduler, "step", None)):
            _put_away(scheduler)
            told = "a scheduler with step(), or be a function of the step"
            raise SpecError(f"{self.text} must give {told}, got {_kind(scheduler)}")
        optimizer = optimizer_of(self.text, scheduler, given)
        bases, name, remarks = self._starting(optimizer, optimizer is given)
        advance = self._advance(scheduler)
        names = list(self.groups) or [""]
        columns: list[list[float]] = [[] for _ in names]
        momenta: list[list[Any]] = [[] for _ in names]
        broken: BaseException | None = None
        known = len(self.metrics) if self.metrics is not None else self.last
        with hosted(self.text):
            for tick in range(self.last + 1):
                self._read(optimizer, tick, columns, momenta)
                if tick == self.last or tick >= known:
                    break
                try:
                    _update(optimizer)
                    advance(tick)
                except KeyboardInterrupt:
                    raise
                except BaseException as error:
                    broken = error
                    break
        for column in (*columns, *momenta):
            column += column[-1:] * (self.last + 1 - len(column) if broken is None else 0)
        groups = (("groups", dict(zip(names, bases, strict=True))),) if self.groups else ()
        settings = (("optimizer", name), *groups)
        return {
            name: self._recorded(name, base, column, _cycled(moments), broken, remarks, settings)
            for name, base, column, moments in zip(names, bases, columns, momenta, strict=True)
        }

    def _starting(self, optimizer: Any, is_given: bool) -> tuple[list[float], str, tuple[str, ...]]:
        """The base rate of each group of the optimizer, its name, and what a reader should know."""
        bases = list(self.groups.values()) or [self.lr]
        if is_given:
            return bases, self.optimizer, self._remarks()
        own = [_number(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
        name = type(optimizer).__name__
        if len(own) != len(bases):
            told = f"{self.text} makes an optimizer of its own, with {len(own)} parameter group{'s' * (len(own) != 1)}"
            raise SpecError(f"{told}: {_groups_to_name(len(own))}")
        told = f"{self.text} makes an optimizer of its own: the rates are those of that {name}, not the base rate"
        bases = [rate or base for rate, base in zip(own, bases, strict=True)]
        return bases, f"{name} of its own", (told, *self._remarks())

    def _made(self, call: Call, wants_torch: bool) -> tuple[Any, Any]:
        """An optimizer, and what the factory makes of it.

        Where the factory's module does not speak of torch it gets a stand-in, so that torch need not be there; where
        that is not good enough, as other code imports torch when it is called, it is called once more, with a real one.
        """
        try:
            return self._given(call, wants_torch)
        except UserCodeError as error:
            error.adding(_on_groups(error))
            raise

    def _given(self, call: Call, wants_torch: bool) -> tuple[Any, Any]:
        if not (wants_torch or is_torch_loaded()):
            optimizer: Any = stand_in(self.groups, self.lr, self.optimizer)
            try:
                return optimizer, called(self.text, "when it was called", call, optimizer)
            except SpecError:
                if not is_torch_loaded():
                    raise
        if self.optimizer == "lbfgs" and len(self.groups) > 1:
            raise SpecError("is of no use here: lbfgs takes one parameter group", parameter="groups")
        optimizer = torch_optimizer(self.groups, self.lr, self.optimizer)
        return optimizer, called(self.text, "when it was called", call, optimizer)

    def _advance(self, scheduler: Any) -> Callable[[int], None]:
        """What steps the scheduler at the end of a tick.

        One that has ``step_update`` beside ``step(epoch)``, as timm's and fairseq's, has a clock for each: its own
        ``t_in_epochs`` says which one counts, or else what a tick is.
        """
        by_update = callable(getattr(scheduler, "step_update", None))
        if by_update:
            by_update = not getattr(scheduler, "t_in_epochs", self.interval == "epoch")
        step = scheduler.step_update if by_update else scheduler.step
        arguments = step_arguments(self.text, step, self.metrics is not None)
        metrics = self.metrics

        def advance(tick: int) -> None:
            step(**arguments(tick + 1, 0.0 if metrics is None else metrics[tick]))

        return advance

    def _read(self, optimizer: Any, tick: int, columns: list[list[float]], momenta: list[list[Any]]) -> None:
        """Read the rate and the momentum of every group off the optimizer."""
        groups = optimizer.param_groups
        if len(groups) != len(columns):
            told = f"changes the parameter groups: {len(columns)} are {len(groups)} at tick {tick}"
            raise SpecError(f"{self.text} {told}; name them all, as in groups: {{backbone: 0.1, head: 1}}")
        for group, column, moments in zip(groups, columns, momenta, strict=True):
            column.append(self._rate(group.get("lr"), tick))
            betas = group.get("betas")
            moments.append(_number(betas[0] if betas else group.get("momentum")))

    def _rate(self, value: Any, tick: int) -> float:
        rate = _number(value)
        if rate is None:
            _put_away(value)
            raise SpecError(f"{self.text} gives {_kind(value)} at tick {tick}: a rate must be a number")
        return rate

    def _recorded(
        self,
        name: str,
        base: float,
        rates: list[float],
        momenta: list[float] | None,
        broken: BaseException | None,
        remarks: tuple[str, ...],
        settings: tuple[tuple[str, Any], ...],
    ) -> Recorded:
        args = (("args", dict(self.args)),) if self.args else ()
        return Recorded(
            lr=base,
            word=self.text,
            rates=values_of(rates),
            momenta=None if momenta is None else values_of(momenta),
            end=None if broken is None else Break(len(rates), reason(broken), trace(broken)),
            settings=(*settings, *args),
            remarks=remarks,
            stepping=self,
            part=(name, False),
        )

    def _remarks(self) -> tuple[str, ...]:
        if self.metrics is None or len(self.metrics) >= self.last:
            return ()
        return (f"there are {len(self.metrics)} metrics for {self.last} ticks: the last rate is held from there on",)

    def _raise_again(self, error: BaseException, doing: str) -> None:
        def fail() -> None:
            raise error

        called(self.text, doing, fail)


def _cycled(moments: list[Any]) -> list[float] | None:
    """The momentum at every tick where it changes; None where it is left alone, or there is none."""
    return moments if None not in moments and len(set(moments)) > 1 else None


def _number(value: Any) -> float | None:
    """A rate as a float, whatever kind of number (or tensor of one) it is; None where it is none."""
    if value is None or isinstance(value, (str, bytes, bool, complex)):
        return None
    try:
        number = float(value)
    except Exception:
        return None
    return number if np.ndim(number) == 0 else None


def _put_away(value: Any) -> None:
    """End a coroutine, of which Python would say in the middle of our own code that nobody awaited it."""
    if inspect.iscoroutine(value):
        value.close()


def _is_of_the_optimizer(error: BaseException | None, name: str) -> bool:
    """Whether an error says that an optimizer is of no use, as to a function that counts with it."""
    if isinstance(error, KeyError):
        return bool(error.args) and hasattr(error.args[0], "param_groups")
    if not isinstance(error, (TypeError, AttributeError)):
        return False
    return re.search(rf"\b({StandIn.__name__}|{name})\b", reason(error), re.IGNORECASE) is not None


def _update(optimizer: Any) -> None:
    """An update, as far as there is one without gradients."""
    if type(optimizer).__name__ == "LBFGS":
        optimizer.step(_no_loss)
    elif callable(getattr(optimizer, "step", None)):
        optimizer.step()


#: How torch's schedulers refuse a list that has not a value for each parameter group.
_LISTED = re.compile(r"(?:expected \d+ \w+, (?:but )?got|param_groups\. \w+ has) (\d+)\b", re.IGNORECASE)


def _on_groups(error: UserCodeError) -> str:
    """What to add to the refusal of a factory that is made for parameter groups; nothing for another."""
    listed = _LISTED.search(error.message)
    if listed is not None:
        return f"; it is made for {listed[1]} parameter groups: {_groups_to_name(int(listed[1]))}"
    if isinstance(error.__cause__, LookupError) and "param_groups" in error.traceback:
        return f"; if it is made for several parameter groups, {_groups_to_name(2)}"
    return ""


def _groups_to_name(count: int) -> str:
    if count < 2:
        return "name no groups"
    return f"name them, as in --groups {','.join(f'{name}=1' for name in 'abcdefgh'[:count])}"


def _no_loss() -> float:
    return 0.0


def _kind(value: Any) -> str:
    """What a value is, shown as far as that is safe: its own ``repr`` may be anything."""
    return shown(value) if value is None or isinstance(value, (int, float, str, bool)) else type(value).__name__
