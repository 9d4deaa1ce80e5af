"""How a user's callables want to be called, read from their signatures."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lrsched_cli.errors import SpecError, nearest

#: What the one parameter of a function of the step is called, and that of a factory.
STEP_NAMES = frozenset(
    ("step", "steps", "epoch", "epochs", "t", "tick", "it", "iter", "iters", "iteration", "iter_num", "i", "n", "count",
     "current_step", "global_step", "num_updates", "num_steps", "step_num", "update")
)  # fmt: skip
OPTIMIZER_NAMES = frozenset(("optimizer", "optim", "opt", "optimiser"))
#: What a scheduler's ``step`` calls the metric that it reacts to, and the number of the tick that begins.
METRIC_NAMES = frozenset(
    ("metrics", "metric", "val_loss", "loss", "valid_loss", "validation_loss", "score", "value", "measure")
)
CLOCK_NAMES = STEP_NAMES | {"num_update", "last_epoch", "last_batch_iteration"}

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """The parameters of a callable; None where it does not tell, as some written in C."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):
        return None


@dataclass(frozen=True)
class Calling:
    """How a callable wants to be called.

    Attributes
    ----------
    way: ``factory`` where it takes the optimizer, ``function`` where it takes the step, ``untold`` where it takes one
        of them and does not tell which, ``alone`` where it takes neither; ``optional`` where its first parameter has a
        default and is not called like an optimizer: with nothing it gives a scheduler, or else it is a function.
    keyword: the name under which it takes the one or the other; None where it is its first argument.
    """

    way: str
    keyword: str | None = None

    def bound(self, factory: Callable[..., Any], named: Mapping[str, Any]) -> Callable[[Any], Any]:
        """The callable as a function of what it takes, the arguments that the entry gives filled in."""
        keyword = self.keyword
        if keyword is None:
            return lambda value: factory(value, **named)
        return lambda value: factory(**{keyword: value}, **named)


def calling_of(word: str, factory: Callable[..., Any], named: Mapping[str, Any]) -> Calling:
    """How a callable wants to be called, by the names of its parameters and their annotations.

    ``named`` are the arguments that the entry gives. Raises ``SpecError`` where it needs more of them.
    """
    parameters = parameters_of(factory)
    has_step = isinstance(factory, type) and hasattr(factory, "step")
    if parameters is None:
        return Calling("factory" if has_step else "untold")
    free = [p for p in parameters if p.name not in named]
    named_so = next((p for p in free if _is_optimizer(p)), None)
    first = named_so or next((p for p in free if p.kind in _POSITIONAL), None)
    _refuse_arguments(word, parameters, first, named)
    if first is None:
        starred = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        return Calling(("factory" if has_step else "untold") if starred else "alone")
    at_front = (first is parameters[0] and first.kind in _POSITIONAL) or first.kind is first.POSITIONAL_ONLY
    keyword = None if at_front else first.name
    if named_so is not None:
        return Calling("factory", keyword)
    if first.default is not first.empty:
        return Calling("alone" if has_step else "optional", keyword)
    if has_step:
        return Calling("factory", keyword)
    return Calling("function" if _is_step(first) else "untold", keyword)


def _is_optimizer(parameter: inspect.Parameter) -> bool:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return False
    if re.search(r"\bOptimizer\b", inspect.formatannotation(parameter.annotation)):
        return True
    return parameter.name.lower() in OPTIMIZER_NAMES and not _is_number(parameter)


def _is_step(parameter: inspect.Parameter) -> bool:
    return _is_number(parameter) or parameter.name.lower() in STEP_NAMES


def _is_number(parameter: inspect.Parameter) -> bool:
    return inspect.formatannotation(parameter.annotation) in ("int", "float")


def _refuse_arguments(
    word: str, parameters: list[inspect.Parameter], first: inspect.Parameter | None, named: Mapping[str, Any]
) -> None:
    takes = [p.name for p in parameters if p is not first and p.kind is not p.POSITIONAL_ONLY]
    needs = [
        p.name
        for p in parameters
        if p is not first and p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    unknown = [name for name in named if name not in takes]
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        told = nearest(unknown[0], takes) or (f"; it has {', '.join(takes)}" if takes else "")
        raise SpecError(f"has {unknown[0]}, which {word} does not take{told}", parameter="args")
    missing = [name for name in needs if name not in named]
    if missing:
        told = ", ".join(f"{name}: ..." for name in missing)
        raise SpecError(f"{word} needs {' and '.join(missing)} too: give args: {{{told}}}")


def step_arguments(word: str, step: Callable[..., Any], has_metrics: bool) -> Callable[[int, float], dict[str, Any]]:
    """The arguments of a scheduler's ``step`` at the end of a tick, given the next one's number and the metric.

    ``step()`` where it needs none. A parameter that it needs is filled by its name: the number of the tick that
    begins (as timm counts), or the metric of the tick that ends; a metric that it can do without too, if there is one.
    Raises ``SpecError`` where it needs a metric that is not given, or something else.
    """
    parameters = parameters_of(step) or []
    names = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    needed = [p.name for p in parameters if p.name in names and p.default is p.empty]
    metric = [name for name in names if name.lower() in METRIC_NAMES] if has_metrics else []
    wants = [name for name in needed if name.lower() in METRIC_NAMES]
    if wants and not has_metrics:
        told = f"{word} reacts to a metric (step needs {wants[0]})"
        raise SpecError(f"{told}: give metrics: FILE:COLUMN, or a list of numbers")
    clock = [name for name in needed if name.lower() in CLOCK_NAMES]
    increment = [name for name in needed if name == "increment"]  # as Megatron's
    unknown = [name for name in needed if name not in (*metric, *clock, *increment)]
    if unknown:
        told = f"{word} gives a scheduler whose step needs {' and '.join(unknown)}"
        raise SpecError(f"{told}: only the epoch and a metric are known")

    def arguments(tick: int, measured: float) -> dict[str, Any]:
        return {**dict.fromkeys(metric, measured), **dict.fromkeys(clock, tick), **dict.fromkeys(increment, 1)}

    return arguments
