"""The line that says what a schedule does, and how numbers and names are written for people."""

from __future__ import annotations

from lrsched_cli.show.curve import extremes, mean_rate
from lrsched_cli.trace import Trace


def summary(trace: Trace) -> str:
    """One line about a trace: its peak and when, its warm-up, its mean and its end."""
    return f"{printable(trace.name)}: {facts(trace)}"


def facts(trace: Trace) -> str:
    """What :func:`summary` says, without the name."""
    schedule, total, unit = trace.schedule, len(trace), trace.interval
    shape = extremes(schedule, 0, total)
    if shape.peak == shape.low:
        return f"{number(shape.peak)} throughout, {ticks(total, unit)}"
    peak = f"peak {number(shape.peak)} at {unit} {shape.peak_tick:,}"
    if schedule(0) < shape.peak:
        peak += f" (warm-up {number(100 * shape.peak_tick / total, 2)}%)"
    end = f"ends at {number(schedule(total - 1))} ({unit} {total - 1:,})"
    return f"{peak}, {end}, mean {number(mean_rate(schedule, 0, total))}"


def ticks(count: int, unit: str) -> str:
    """A number of epochs or steps."""
    return f"{count:,} {unit}" + ("s" if count != 1 else "")


def number(value: float, digits: int = 4) -> str:
    """A number to some significant digits: ``0.1``, ``2.467e-05``, ``12``."""
    return f"{value:.{digits}g}"


def printable(text: str) -> str:
    """A name on one line, with characters that would move the cursor or break the file written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
