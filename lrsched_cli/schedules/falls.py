"""How a rate goes from one value to another: shapes that fall from 1 to 0 as ``x`` goes from 0 to 1."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrsched_cli.schedules.expression import CompiledExpression
from lrsched_cli.schedules.ticks import Array, Times, cos_pi, log, piecewise, pow_, power_of, sqrt, tanh, written
from lrsched_cli.schedules.value import Value


class Fall(Value, ABC):
    """The part that is left at ``x``; outside of ``0 <= x <= 1`` the formula goes on."""

    @abstractmethod
    def __call__(self, x: Times) -> Any:
        """The part left at each ``x``, of the same length."""

    def next_turn(self, x: Array) -> Array:
        """The first later ``x`` at which it turns or bends; inf where it never does."""
        return np.full(x.shape, np.inf)


@dataclass(eq=False, repr=False)
class Line(Fall):
    """A straight line."""

    def __call__(self, x: Times) -> Any:
        return 1 - x


LINE = Line()


@dataclass(eq=False, repr=False)
class Wave(Fall):
    """A cosine wave, by default half of one; its clock and its value may be raised to powers."""

    waves: float = 0.5
    exponent: float = 1.0
    k: float = 1.0

    def __call__(self, x: Times) -> Any:
        clock = x if self.k == 1 else pow_(x, self.k)
        wave = cos_pi(clock * (2 * self.waves)) * 0.5 + 0.5
        if self.exponent != 1:  # added up from angles, a cosine may come out a digit below -1
            wave = np.maximum(wave, 0.0)
        return pow_(wave, self.exponent)

    def next_turn(self, x: Array) -> Array:
        if not self.waves:
            return super().next_turn(x)
        halves = abs(2 * self.waves)
        return np.asarray(((np.floor(np.maximum(x, 0.0) ** self.k * halves) + 1) / halves) ** (1 / self.k))


@dataclass(eq=False, repr=False)
class Power(Fall):
    """A power of the part of the time that is left: ``(1 - x ** k) ** power``."""

    power: float
    k: float = 1.0

    def __call__(self, x: Times) -> Any:
        # Near its end a root makes much of the last digit that a row of quotients loses.
        x = written(x)
        return pow_(1 - (x if self.k == 1 else pow_(x, self.k)), self.power)


@dataclass(eq=False, repr=False)
class Root(Fall):
    """``1 - sqrt(x)``: fast at first."""

    def __call__(self, x: Times) -> Any:
        return 1 - sqrt(x)


@dataclass(eq=False, repr=False)
class Shrink(Fall):
    """A geometric fall, stretched so that it arrives: ``(ratio ** x - ratio) / (1 - ratio)``."""

    ratio: float

    def __call__(self, x: Times) -> Any:
        return (power_of(self.ratio, x) - self.ratio) * (1 / (1 - self.ratio))


@dataclass(eq=False, repr=False)
class Fade(Fall):
    """``exp(-x)``: it never arrives."""

    def __call__(self, x: Times) -> Any:
        return power_of(math.exp(-1), x)


@dataclass(eq=False, repr=False)
class Logarithm(Fall):
    """The logarithm of the tick, counted from 1, over that of the whole: ``1 - log(x * ticks + 1) / log(ticks)``."""

    ticks: float

    def __call__(self, x: Times) -> Any:
        return 1 - log(x * self.ticks + 1) / math.log(self.ticks)


@dataclass(eq=False, repr=False)
class Tangent(Fall):
    """A hyperbolic tangent between two of its arguments, which need not begin at 1 nor end at 0."""

    lb: float
    ub: float

    def __call__(self, x: Times) -> Any:
        return tanh(x * (self.ub - self.lb) + self.lb) * -0.5 + 0.5


@dataclass(eq=False, repr=False)
class Reflected(Fall):
    """The reflected exponential, REX: ``(1 - x) / (1 - x / 2)``."""

    def __call__(self, x: Times) -> Any:
        x = written(x)
        return (1 - x) / (1 - x / 2)


@dataclass(eq=False, repr=False)
class Triangle(Fall):
    """From 0 up to 1 at ``rise`` and down again: a cycle that begins at its foot."""

    rise: float = 0.5

    def __call__(self, x: Times) -> Any:
        return piecewise(x, [self.rise], [lambda u: u / self.rise, lambda u: (1 - u) / (1 - self.rise)])

    def next_turn(self, x: Array) -> Array:
        return np.where(x < self.rise, self.rise, np.where(x < 1, 1.0, np.inf))


@dataclass(eq=False, repr=False)
class Formula(Fall):
    """What is left as a user wrote it, of ``x``."""

    expression: CompiledExpression

    def __call__(self, x: Times) -> Any:
        return self.expression(written(x))

    def next_turn(self, x: Array) -> Array:
        return np.array(x)  # nothing is known of it: every tick may be a turn
