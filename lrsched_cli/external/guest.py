"""Running somebody else's code: what it prints does not reach stdout, what it raises is told as its own."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
        with stdout_to_stderr():
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


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what is printed meanwhile to stderr, even by programs that the code starts: stdout is data."""
    with contextlib.redirect_stdout(sys.stderr), _descriptor_to_stderr():
        yield


@contextlib.contextmanager
def _descriptor_to_stderr() -> Iterator[None]:
    _flush()
    try:
        saved = os.dup(1)
    except OSError:  # there is none: nothing can reach it
        yield
        return
    try:
        with contextlib.suppress(OSError):
            os.dup2(2, 1)
        yield
    finally:
        _flush()
        os.dup2(saved, 1)
        os.close(saved)


def _flush() -> None:
    for stream in (sys.stdout, sys.__stdout__, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]
