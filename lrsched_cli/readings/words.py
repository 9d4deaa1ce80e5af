"""What is asked for in words that every library has, and how a library's entry is made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Spec = Mapping[str, Any]


@dataclass(frozen=True)
class Words:
    """What is asked for; the other lengths follow from these.

    Attributes
    ----------
    lr: the rate that the warm-up rises to.
    warmup: ticks of a linear warm-up, 0 for none.
    total: ticks, the warm-up among them.
    floor: the rate at the end of a decay.
    """

    lr: float = 0.1
    warmup: int = 0
    total: int = 100
    floor: float = 0.0

    @property
    def rest(self) -> int:
        """Ticks after the warm-up."""
        return self.total - self.warmup

    @property
    def warm(self) -> int:
        """Ticks of the warm-up where there must be one."""
        return max(self.warmup, 1)

    @property
    def start(self) -> float:
        """The rate of update 0: nothing, or all of it where there is no warm-up."""
        return 0.0 if self.warmup else self.lr

    @property
    def target(self) -> float | None:
        """What the warm-up rises to, where there is one."""
        return self.lr if self.warmup else None

    @property
    def part(self) -> float:
        """The floor as a part of the rate."""
        return self.floor / self.lr

    @property
    def low(self) -> float:
        """The lower rate of cycles."""
        return self.lr / 100

    @property
    def half(self) -> float:
        return self.lr / 2

    @property
    def cycle(self) -> int:
        """Ticks of a cycle, where a schedule has several."""
        return max(self.total // 5, 2)

    @property
    def both_ways(self) -> int:
        """Ticks of a cycle up and down."""
        return 2 * self.cycle

    @property
    def stairs(self) -> int:
        """Ticks from one drop to the next, where a schedule falls in steps."""
        return max(self.total * 3 // 10, 1)

    @property
    def milestones(self) -> list[int]:
        return [self.total // 2, self.total * 3 // 4]

    @property
    def scales(self) -> dict[int, float]:
        """The factor at each milestone."""
        return dict.fromkeys(self.milestones, 0.1)

    @property
    def thirds(self) -> list[float]:
        """The rate before, between and after the milestones."""
        return [self.lr, self.lr / 10, self.lr / 100]

    @property
    def decay(self) -> int:
        """Ticks of the decay at the end of a trapezoid."""
        return max(self.total // 5, 1)

    @property
    def decay_part(self) -> float:
        """The decay as a part of the whole."""
        return self.decay / self.total

    @property
    def stable(self) -> int:
        """Ticks at the full rate of a trapezoid."""
        return self.rest - self.decay

    @property
    def anneal(self) -> int:
        return max(self.rest // 10, 1)

    @property
    def per_tick(self) -> float:
        """How fast an inverse of time falls that has a tenth left at the end."""
        return 9 / self.total

    @property
    def points(self) -> list[list[float]]:
        return [[0, self.lr], [self.total // 2, self.lr / 2], [self.total, self.lr / 20]]

    @property
    def point_scales(self) -> dict[int, float]:
        """The same points, each as a factor of the one before it."""
        return {self.total // 2: 0.5, self.total: 0.1}

    def said(self, value: Any) -> Any:
        """A parameter's value: what a word stands for, in batches where it ends in ``ba``; anything else as it is."""
        if isinstance(value, list):
            return [self.said(item) for item in value]
        word = value.removesuffix("ba") if isinstance(value, str) else ""
        if not hasattr(Words, word):
            return value
        return _batches(getattr(self, word)) if word != value else getattr(self, word)


def _batches(ticks: Any) -> Any:
    return [f"{tick}ba" for tick in ticks] if isinstance(ticks, list) else f"{ticks}ba"


@dataclass(frozen=True)
class Reading:
    """One library's name for a schedule, and the entry that it makes of the words.

    Attributes
    ----------
    kind: the kind, under the library's own name.
    entry: from the words to the entry.
    told: how it differs from the library's usual way, if it does.
    """

    kind: str
    entry: Callable[[Words], Spec]
    told: str = ""

    @property
    def name(self) -> str:
        return f"{self.kind} ({self.told})" if self.told else self.kind

    @property
    def library(self) -> str:
        return self.kind.partition(".")[0]


# How libraries put a warm-up in front of a schedule. A text that is one of the words stands for it.


def _filled(params: Mapping[str, Any], w: Words) -> dict[str, Any]:
    found = {name: w.said(value) for name, value in params.items()}
    return {name: value for name, value in found.items() if value is not None}


def plain(kind: str, told: str = "", **params: Any) -> Reading:
    """A kind with a warm-up among its own parameters, or without any."""
    return Reading(kind, lambda w: {"kind": kind, "lr": w.lr, **_filled(params, w)}, told)


def torch(name: str, **params: Any) -> Reading:
    """A torch kind, after a LinearLR with torch's own start where a warm-up is asked for."""

    def entry(w: Words) -> Spec:
        body = {"kind": f"torch.{name}", **_filled(params, w)}
        if not w.warmup:
            return {"lr": w.lr, **body}
        ramp = {"kind": "torch.LinearLR", "total_iters": w.warmup}
        return {"kind": "torch.SequentialLR", "lr": w.lr, "schedulers": [ramp, body], "milestones": [w.warmup]}

    return Reading(f"torch.{name}", entry)


def ignite(name: str, **params: Any) -> Reading:
    """A torch kind under ignite's warm-up, which cannot be shorter than two ticks."""

    def entry(w: Words) -> Spec:
        body = {"kind": f"torch.{name}", **_filled(params, w)}
        warm = {"warmup_start_value": 0.0, "warmup_duration": max(w.warmup, 2)}
        return {"kind": "ignite.create_lr_scheduler_with_warmup", "lr": w.lr, "lr_scheduler": body, **warm}

    return Reading("ignite.create_lr_scheduler_with_warmup", entry)


def dampened(name: str, **params: Any) -> Reading:
    """A torch kind over the whole run, under pytorch_warmup's factor."""

    def entry(w: Words) -> Spec:
        body = {"kind": f"torch.{name}", **_filled(params, w)}
        return {"kind": "pytorch_warmup.LinearWarmup", "lr": w.lr, "inner": body, "warmup_period": w.warm}

    return Reading("pytorch_warmup.LinearWarmup", entry)


def composer(name: str, *, warm: str = "", **params: Any) -> Reading:
    """A Composer scheduler as its Trainer uses it; ``warm`` is the one that has a warm-up."""

    def entry(w: Words) -> Spec:
        warmed = bool(w.warmup and warm)
        more = {"t_warmup": f"{w.warmup}ba"} if warmed else {}
        whole = {"max_duration": f"{w.total}ba", "trainer": True}
        return {"kind": f"composer.{warm if warmed else name}", "lr": w.lr, **_filled(params, w), **more, **whole}

    return Reading(f"composer.{name}", entry)


def optax(name: str, **params: Any) -> Reading:
    """An optax schedule, joined to a linear one where a warm-up is asked for."""

    def entry(w: Words) -> Spec:
        body = {"kind": f"optax.{name}", **_filled(params, w)}
        if not w.warmup:
            return {"lr": w.lr, **body}
        ramp = {"kind": "optax.linear_schedule", "init_value": 0.0, "end_value": w.lr, "transition_steps": w.warmup}
        return {"kind": "optax.join_schedules", "lr": w.lr, "schedules": [ramp, body], "boundaries": [w.warmup]}

    return Reading(f"optax.{name}", entry)


def pypi(name: str, **params: Any) -> Reading:
    """A schedule of the PyPI package lrsched, in its own wrapper where a warm-up is asked for."""

    def entry(w: Words) -> Spec:
        body = {"kind": f"lrsched.{name}", **_filled(params, w)}
        if not w.warmup:
            return {"lr": w.lr, **body}
        return {"kind": "lrsched.with_warmup", "lr": w.lr, "schedule": body, "warmup_steps": w.warmup, "start_lr": 0.0}

    return Reading(f"lrsched.{name}", entry)


def at_low_rate(reading: Reading) -> Reading:
    """A cycle that takes the optimizer's rate for its lower one."""
    return Reading(reading.kind, lambda w: {**reading.entry(w), "lr": w.low}, reading.told)
