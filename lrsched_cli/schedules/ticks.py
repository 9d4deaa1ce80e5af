"""Arithmetic on ticks: the same rule serves scattered ticks and, much faster, ticks in a row.

A rule is written once, with the functions of this file in place of NumPy's. Given an array of any ticks they are
NumPy's functions. Given :class:`Ticks`, a row of equally spaced clock values that has not been written out, they
use what is known of such a row: a cosine comes from angle addition and a power from a short table, so that a whole
trace costs little more than writing it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]

#: Clock values: any array of ticks, or a row of them not written out.
Times: TypeAlias = "Array | Ticks"

#: How many ticks are worked on at a time: their doubles stay in the cache, and under the 128 KiB from which on the
#: allocator maps fresh pages for every temporary.
CHUNK = 16_000
# Freeing a larger block once makes glibc's allocator keep small ones for reuse, which otherwise it may give back to
# the system, page by page, as often as a temporary is freed.
np.empty(16 * CHUNK)


class Ticks:
    """The clock values ``start + step * (0, 1, ..., n - 1)``, written out only when something needs them."""

    __slots__ = ("n", "start", "step")
    __array_ufunc__ = None  # an array on the left leaves the operation to __radd__ and its like

    def __init__(self, start: float, step: float, n: int) -> None:
        self.start = float(start)
        self.step = float(step)
        self.n = n

    @property
    def last(self) -> float:
        return self.start + self.step * (self.n - 1)

    @property
    def array(self) -> Array:
        out: Array = _row(self.n) * self.step
        out += self.start
        return out

    def __len__(self) -> int:
        return self.n

    def __add__(self, other: Any) -> Any:
        return Ticks(self.start + other, self.step, self.n) if _is_number(other) else self.array + written(other)

    __radd__ = __add__

    def __mul__(self, other: Any) -> Any:
        if _is_number(other):
            return Ticks(self.start * other, self.step * other, self.n)
        return self.array * written(other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        if _is_number(other):
            return Ticks(self.start / other, self.step / other, self.n)
        return self.array / written(other)

    def __rtruediv__(self, other: Any) -> Any:
        return written(other) / self.array

    def __sub__(self, other: Any) -> Any:
        return Ticks(self.start - other, self.step, self.n) if _is_number(other) else self.array - written(other)

    def __rsub__(self, other: Any) -> Any:
        return Ticks(other - self.start, -self.step, self.n) if _is_number(other) else written(other) - self.array

    def __neg__(self) -> Ticks:
        return Ticks(-self.start, -self.step, self.n)

    def __pow__(self, power: float) -> Array:
        return pow_(self, power)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, np.generic) and value.ndim == 0)


def written(value: Any) -> Any:
    """``value`` with a row of ticks written out as an array."""
    return value.array if isinstance(value, Ticks) else value


@lru_cache(maxsize=8)
def _row(n: int) -> Array:
    row = np.arange(n, dtype=np.float64)
    row.setflags(write=False)
    return row


@lru_cache(maxsize=16)
def _wave(step: float, n: int) -> tuple[Array, Array]:
    # A long wave from two short ones, by the same addition of angles: exp(i * (a + b)) = exp(i * a) * exp(i * b).
    short = np.exp(_row(min(n, 128)) * (1j * np.pi * step))
    long = np.exp(np.arange(-(-n // 128)) * (128j * np.pi * step))
    wave = np.multiply.outer(long, short).ravel()[:n]
    cos, sin = wave.real.copy(), wave.imag.copy()
    cos.setflags(write=False)
    sin.setflags(write=False)
    return cos, sin


@lru_cache(maxsize=16)
def _powers(base: float, step: float, n: int) -> Array:
    # Several short products instead of n powers: base ** (step * (64 * i + j)) = long[i] * short[j].
    with np.errstate(all="ignore"):
        short = np.power(base, _row(min(n, 64)) * step)
        long = np.power(base, np.arange(-(-n // 64), dtype=np.float64) * (64 * step))
        table = (long[:, None] * short[None, :]).ravel()[:n]
    table.setflags(write=False)
    return table


def cos_pi(x: Times) -> Array:
    """``cos(pi * x)``; on a row by angle addition, within 1e-15 of NumPy's cosine."""
    if not isinstance(x, Ticks):
        return np.cos(np.pi * x)
    cos, sin = _wave(x.step, x.n)
    phase = np.pi * float(np.fmod(x.start, 2.0))
    out = cos * np.cos(phase)
    out -= sin * np.sin(phase)
    return np.asarray(out)


def anneal(x: Times, start: float, end: float, strategy: str) -> Any:
    """From one value to another as ``x`` goes from 0 to 1: a line (``linear``), or half a cosine wave."""
    if strategy == "linear":
        return x * (end - start) + start
    return cos_pi(x) * ((start - end) / 2) + (start + end) / 2


def power_of(base: float, x: Times | float) -> Any:
    """``base ** x``; on a row from a table of powers."""
    with np.errstate(all="ignore"):
        if isinstance(x, (int, float)):
            return float(np.power(float(base), x))
        if not isinstance(x, Ticks):
            return _integer_powers(base, x) if x.size > 64 else np.asarray(np.power(base, x))
        if base <= 0 or x.n < 2:
            return np.asarray(np.power(base, x.array))
        if (base < 1) == (x.step < 0):  # growing: from its end backwards, so that nothing small is scaled up
            return power_of(base, Ticks(x.last, -x.step, x.n))[::-1]
        first = np.power(base, x.start)
        if not np.isfinite(first):
            return np.asarray(np.power(base, x.array))
        return np.asarray(_powers(base, x.step, x.n) * first)


def _integer_powers(base: float, x: Array) -> Array:
    """Powers to whole exponents that repeat (cycle numbers, steps) come from one table."""
    low, high = float(x.min()), float(x.max())
    if not high - low < x.size or low != np.floor(low) or not np.array_equal(x, np.floor(x)):
        return np.asarray(np.power(base, x))
    table = power_of(base, Ticks(low, 1, int(high - low) + 1))
    return np.asarray(table[(x - low).astype(np.intp)])


def pow_(base: Times, power: float) -> Array:
    """``base ** power`` with a float power; the common powers without ``np.power``."""
    x: Array = written(base)
    if power == 1:
        return x
    if power == 2:
        return x * x
    if power == 0.5:
        return np.sqrt(x)
    if power == -0.5:
        return np.asarray(1.0 / np.sqrt(x))
    if power == -1:
        return np.asarray(1.0 / x)
    return np.asarray(np.power(x, power))


def sqrt(x: Times) -> Array:
    return np.asarray(np.sqrt(written(x)))


def exp(x: Times) -> Array:
    return power_of(np.e, x) if isinstance(x, Ticks) else np.exp(x)


def log(x: Times) -> Array:
    return np.asarray(np.log(written(x)))


def tanh(x: Times) -> Array:
    return np.asarray(np.tanh(written(x)))


def minimum(x: Times, bound: float) -> Times:
    """``min(x, bound)``; a row that lies on one side stays a row."""
    if isinstance(x, Ticks):
        if max(x.start, x.last) <= bound:
            return x
        if min(x.start, x.last) >= bound:
            return Ticks(bound, 0, x.n)
        x = x.array
    return np.minimum(x, bound)


def piecewise(t: Times, starts: Sequence[float] | Array, pieces: Sequence[Callable[[Any], Any]]) -> Array:
    """Piece ``i`` rules from ``starts[i - 1]`` on; ``pieces[0]`` before the first start.

    Each piece is evaluated only on its own ticks, so it need not make sense elsewhere.
    """
    if isinstance(t, Ticks) and t.step > 0:
        first, last = bisect_right(starts, t.start), bisect_right(starts, t.last)
        if first == last:
            return filled(pieces[first](t), t.n)
        begins = [math.ceil((start - t.start) / t.step) for start in starts[first:last]]
        out = np.empty(t.n)
        for i, low, high in zip(range(first, last + 1), (0, *begins), (*begins, t.n), strict=True):
            if high > low:
                out[low:high] = written(pieces[i](Ticks(t.start + low * t.step, t.step, high - low)))
        return out
    ticks: Array = written(t)
    which = np.searchsorted(np.asarray(starts, dtype=np.float64), ticks, side="right")
    out = np.empty(ticks.shape)
    for i in range(which.min(initial=len(starts)), which.max(initial=-1) + 1):
        mine = which == i
        if mine.any():
            out[mine] = written(pieces[i](ticks[mine]))
    return out


def filled(value: Any, n: int) -> Array:
    """``value`` as an array of ``n`` rates; a single number is repeated."""
    value = written(value)
    return np.full(n, value, dtype=np.float64) if np.ndim(value) == 0 else np.asarray(value, dtype=np.float64)


def steps(t: Times, starts: Array, values: Array) -> Array | float:
    """``values[i]`` from ``starts[i - 1]`` on, ``values[0]`` before the first; starts in order."""
    if not isinstance(t, Ticks) or t.step <= 0:
        return np.asarray(values[np.searchsorted(starts, written(t), side="right")])
    first, last = np.searchsorted(starts, (t.start, t.last), side="right")
    if first == last:
        return float(values[first])
    begins = np.ceil((starts[first:last] - t.start) / t.step).astype(np.intp)
    return np.repeat(values[first : last + 1], np.diff(begins, prepend=0, append=t.n))


def periodic(f: Callable[[Any], Any], t: Times, period: float) -> Any:
    """``f(t mod period)``; a row through many whole periods takes ``f`` once around."""
    if not isinstance(t, Ticks):
        return f(t - np.floor(t / period) * period)
    number = np.floor(t.start / period)
    if np.floor(t.last / period) == number:
        return f(t - number * period)
    start = t.start - number * period
    if not _in_step(t, period) or period > t.n:
        return periodic(f, t.array, period)
    around = filled(f(Ticks(0, 1, int(period))), int(period))
    return np.tile(around, -(-(t.n + int(start)) // len(around)))[int(start) : int(start) + t.n]


def per_cycle(f: Callable[[Any], Any], t: Times, period: float) -> Any:
    """``f(floor(t / period))``; a row through many whole periods takes ``f`` once for each of them."""
    if not isinstance(t, Ticks):
        return f(np.floor(t / period))
    first, last = np.floor(t.start / period), np.floor(t.last / period)
    if first == last:
        return f(float(first))
    if not _in_step(t, period) or period > t.n:  # a cycle longer than the row must not be written out
        return per_cycle(f, t.array, period)
    cycles = int(last - first) + 1
    offset = int(t.start - first * period)
    values = written(f(Ticks(first, 1, cycles)))
    return np.repeat(values, int(period))[offset : offset + t.n] if np.ndim(values) else values


def _in_step(t: Ticks, period: float) -> bool:
    """Whether a row visits the same whole clock values in every period."""
    return t.step == 1 and t.start == np.floor(t.start) and period == np.floor(period)


def cycle(t: Times, first: float, growth: float = 1.0) -> tuple[Any, Any, Any]:
    """Number, local clock and length of the cycle at ``t``, the first ``first`` long and each ``growth`` times longer.

    In a row that stays within one cycle the number and the length are plain numbers and the local clock is a row.
    """
    if isinstance(t, Ticks):
        number, _, length = cycle(np.array([t.start, t.last]), first, growth)
        if number[0] == number[1]:
            return float(number[0]), t - cycle_start(number[0], first, growth), float(np.ravel(length)[0])
        t = t.array
    if growth == 1:
        number = np.floor(t / first)
        return number, t - number * first, np.asarray(first)
    # The closed form may be one cycle off where its logarithm is rounded: compare with the cycle's own ends.
    number = np.floor(np.log1p(np.maximum(t, 0) * (growth - 1) / first) / np.log(growth))
    number -= cycle_start(number, first, growth) > t
    number += cycle_start(number + 1, first, growth) <= t
    return number, t - cycle_start(number, first, growth), first * np.power(growth, number)


def cycle_start(number: Any, first: float, growth: float) -> Any:
    """The clock value at which a cycle begins."""
    if growth == 1:
        return number * first
    return first * (np.power(float(growth), number) - 1) / (growth - 1)
