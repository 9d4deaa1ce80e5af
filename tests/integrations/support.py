"""Optimizers whose updates are watched: what a plan says is compared with the rate that a step really read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")


def weights(count: int = 1) -> list[Any]:
    made = [torch.nn.Parameter(torch.zeros(1)) for _ in range(count)]
    for weight in made:
        weight.grad = torch.ones(1)
    return made


def sgd(*rates: float, names: str = "", momentum: float = 0.9, **kwargs: Any) -> Any:
    """SGD with a parameter group for each rate, called by the letters of ``names`` if there are any."""
    groups: list[dict[str, Any]] = []
    for number, lr in enumerate(rates or (0.1,)):
        groups.append({"params": weights(), "lr": lr, **({"name": names[number]} if names else {})})
    return torch.optim.SGD(groups, momentum=momentum, **kwargs)


class Watch:
    """The rates and momenta of an optimizer's updates, as its ``step()`` finds them."""

    def __init__(self, optimizer: Any) -> None:
        self.rates: list[tuple[float, ...]] = []
        self.momenta: list[float] = []
        self.weights: list[float] = []
        optimizer.register_step_pre_hook(self._look)

    def _look(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        groups = optimizer.param_groups
        self.rates.append(tuple(float(group["lr"]) for group in groups))
        if "betas" in groups[0] or "momentum" in groups[0]:
            self.momenta.append(groups[0]["betas"][0] if "betas" in groups[0] else groups[0]["momentum"])
        self.weights.append(float(groups[0]["params"][0].detach().ravel()[0]))

    @property
    def first(self) -> list[float]:
        """The rates of the first group."""
        return [rates[0] for rates in self.rates]


def trained(optimizer: Any, scheduler: Any, updates: int, metrics: Iterator[float] | None = None) -> Watch:
    """Train for so many updates, the scheduler stepped after each."""
    watch = Watch(optimizer)
    for _ in range(updates):
        optimizer.step()
        scheduler.step(*([] if metrics is None else [next(metrics)]))
    return watch


def warnings_of(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, list[str]]:
    """What a call returns, and the warnings that it gives."""
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        out = function(*args, **kwargs)
    return out, [str(warning.message) for warning in caught]
