"""What a check found: one fault of one schedule, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

#: From the worst to what is only worth knowing; notes alone leave the exit code at 0.
SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a schedule.

    Attributes
    ----------
    code: the stable name of the rule, such as ``rate-jumps``.
    severity: one of ``SEVERITIES``.
    schedule: the entry's name.
    message: what is wrong, with the numbers, in one sentence.
    advice: what to do about it, in one sentence.
    tick: the tick at which it shows, counted from 0; None where it is of the whole plan.
    epoch: the epoch of that tick, counted from 0; None where the steps per epoch are unknown.
    file, line: where the entry, or the key at fault, was written; None where it was not read from a file.
    """

    code: str
    severity: str
    schedule: str
    message: str
    advice: str
    tick: int | None = None
    epoch: int | None = None
    file: str | None = None
    line: int | None = None


class Silenced(NamedTuple):
    """A finding that its entry says to ignore, and the reason that it gives; empty where it gives none."""

    finding: Finding
    reason: str


class Judged(NamedTuple):
    """What is told of some entries, and what they say to ignore."""

    found: list[Finding]
    silenced: list[Silenced]
