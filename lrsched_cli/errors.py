"""What a user's mistake raises, and how the nearest known name is found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SpecError(ValueError):
    """A schedule, run or file that cannot be used as given.

    ``str(error)`` is the one line that the command line prints: ``file:line: entry: what must hold, what was given``.

    Attributes
    ----------
    message: what must hold and what was given, without the place.
    parameter: the parameter or key at fault, if one is.
    entry: the schedule entry it belongs to, if known.
    file, line: where it was written, if it was read from a file.
    """

    def __init__(
        self,
        message: str,
        *,
        parameter: str | None = None,
        entry: str | None = None,
        file: str | None = None,
        line: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.parameter = parameter
        self.entry = entry
        self.file = file
        self.line = line

    def locate(self, *, entry: str | None = None, file: str | None = None, line: int | None = None) -> SpecError:
        """Fill in the parts of the place that are not known yet; the innermost place wins."""
        self.entry = self.entry or entry
        self.file = self.file or file
        self.line = self.line or line
        return self

    def adding(self, words: str) -> SpecError:
        """The same error with words at the end of its message."""
        self.message += words
        return self

    def __str__(self) -> str:
        place = self.file or ""
        if place and self.line:
            place += f":{self.line}"
        subject = f"{self.parameter} {self.message}" if self.parameter else self.message
        named = self.entry is not None and subject.startswith(f"{self.entry} ")
        return ": ".join(part for part in (place, None if named else self.entry, subject) if part)


class UserCodeError(SpecError):
    """Something that the user's own Python code raised.

    Attributes
    ----------
    traceback: where, as Python prints it, without our own frames; it ends in a line break.
    """

    def __init__(self, message: str, traceback: str) -> None:
        super().__init__(message)
        self.traceback = traceback


class TrainingError(Exception):
    """Something that is nobody's mistake and ends a command all the same, told in one line: a process that died."""


class LostProcessError(TrainingError):
    """Another of the processes that train together died."""


def must(parameter: str, condition: str, given: object) -> SpecError:
    """The error that says what must hold for a parameter and what was given instead."""
    return SpecError(f"must be {condition}, got {shown(given)}", parameter=parameter)


def shown(value: object) -> str:
    """A value as an error message shows it: on one line, and never longer than a line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def nearest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean X?)``, or nothing where no known name is near."""
    folded = {k.lower().replace("_", "-"): k for k in known}
    match = difflib.get_close_matches(name.lower().replace("_", "-"), folded, n=1, cutoff=0.6)
    return f" (did you mean {folded[match[0]]}?)" if match else ""
