"""Running somebody else's code: what it prints does not reach stdout, what it raises is told as its own."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from lrsched_cli.errors import SpecError, UserCodeError

PACKAGE = str(Path(__file__).parents[1])
#: The longest reason that a message gives; the traceback has all of it.
LONGEST = 300


def called(word: str, doing: str, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """What a function of the user's returns, its prints on stderr.

    Whatever it raises, but for Ctrl-C, becomes a ``UserCodeError`` that says what was being done and has the traceback
    without our own frames. A torch that is not installed is a ``SpecError`` that says so.
    """
    try:
        with hosted(word):
            return function(*args, **named)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise told(word, doing, error) from error


def told(word: str, doing: str, error: BaseException) -> SpecError:
    """An exception of the user's code as our error."""
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":
        return SpecError(f"{word} needs PyTorch: pip install 'lrsched-cli[train]'")
    return UserCodeError(f"{word} failed {doing}: {reason(error)}", trace(error))


def reason(error: BaseException) -> str:
    """An exception in one line, by its type and text."""
    with contextlib.suppress(Exception):  # its own text may raise
        if isinstance(error, SystemExit):
            return f"it exits with {error.code!r}"[:LONGEST]
        text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
    return type(error).__name__


def trace(error: BaseException) -> str:
    """The traceback of an exception as Python prints it, without the frames that led to the user's code."""
    made = traceback.TracebackException.from_exception(error)
    seen: set[int] = set()
    waiting = [made]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        first = next((i for i, frame in enumerate(one.stack) if not _is_ours(frame.filename)), len(one.stack))
        del one.stack[:first]
        waiting += [other for other in (one.__cause__, one.__context__, *(one.exceptions or ())) if other is not None]
    return "".join(made.format())


def _is_ours(file: str) -> bool:
    """Whether a frame is ours or the import system's, which stands between ours and the user's."""
    return file.startswith((PACKAGE + os.sep, "<frozen importlib")) or file == importlib.__file__


class _Lent:
    """A stream that somebody else may use, and not close."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def close(self) -> None:
        """It is needed afterwards."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def hosted(word: str) -> Iterator[None]:
    """Run the code of a word with its prints on stderr, even those of programs that it starts: stdout is data.

    What it does to the streams, and to what numpy has, ends with it. Its warnings are told in one line each.
    """
    lines: dict[str, None] = {}

    def tell(message: Warning | str, category: type[Warning], *_place: Any, **_more: Any) -> None:
        lines[" ".join(f"{word} warns: {category.__name__}: {message}".split())] = None

    before, warnings.showwarning = warnings.showwarning, tell
    try:
        with _descriptors(), _streams(), _numpy():
            yield
    finally:
        if warnings.showwarning is tell:
            warnings.showwarning = before
        with contextlib.suppress(OSError, ValueError, AttributeError):
            for line in lines:
                print(line, file=sys.stderr)  # noqa: T201


@contextlib.contextmanager
def _descriptors() -> Iterator[None]:
    _flush()
    saved: dict[int, int] = {}
    for number in (1, 2):
        with contextlib.suppress(OSError):  # there is none: nothing can reach it
            saved[number] = os.dup(number)
    with contextlib.suppress(OSError):
        os.dup2(2, 1)
    try:
        yield
    finally:
        _flush()
        for number, kept in saved.items():
            os.dup2(kept, number)
            os.close(kept)


@contextlib.contextmanager
def _streams() -> Iterator[None]:
    names = ("stdout", "stderr", "__stdout__", "__stderr__")
    saved = {name: getattr(sys, name) for name in names}
    lent: Any = None if sys.stderr is None else _Lent(sys.stderr)
    sys.stdout = sys.stderr = lent
    try:
        yield
    finally:
        _flush()
        for name, stream in saved.items():
            if getattr(stream, "closed", False):  # by way of sys.__stdout__
                stream = open(1 if "out" in name else 2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


@contextlib.contextmanager
def _numpy() -> Iterator[None]:
    """Put back what is replaced in numpy meanwhile: all that comes later counts with it."""
    saved = dict(vars(np))
    try:
        yield
    finally:
        vars(np).update(saved)


def _flush() -> None:
    for stream in (sys.stdout, sys.__stdout__, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]
