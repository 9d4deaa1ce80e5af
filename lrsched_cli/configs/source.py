"""What every reader of another program's configuration needs: values by key, and the plan that they make."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, overload

from lrsched_cli.document import Located, line_of
from lrsched_cli.errors import SpecError, must, nearest
from lrsched_cli.kinds import find_kind
from lrsched_cli.run import Run, is_number
from lrsched_cli.schedules.parameters import params_of

#: Parameters of our kinds that no library's function takes by these names: the entry and the run give them.
OURS = ("lr", "optimizer", "metrics", "num_warmup_steps", "num_training_steps", "training_steps")
#: The key by which a Python file with a function ``get_lr`` says how that warms up: as nanoGPT does, did, or neither.
GET_LR = "get_lr()"
NEWER, OLDER, UNKNOWN = "newer", "older", "unknown"


class Plan(NamedTuple):
    """An entry that is complete: its parameters, its run, and what a reader of its rates should know."""

    spec: Mapping[str, Any]
    run: Run
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What a configuration says.

    Attributes
    ----------
    form: the name of its format.
    spec: the entry as far as the file alone gives it: its kind, and what is known without the run.
    plan: completes it, given the run and the parameters that a command line says; raises ``SpecError`` where the file
        and the command line together do not say enough, naming the option to add.
    """

    form: str
    spec: Mapping[str, Any]
    plan: Callable[[Run, Mapping[str, Any]], Plan]


@dataclass(frozen=True)
class Computed:
    """Stands for a value that a program would compute, and nobody does here."""

    line: int


class Keys:
    """A mapping in a file, its values asked for by key; what is wrong with one is told with file, line and key.

    A key without a value (``null``) counts as one that is not there.
    """

    def __init__(self, values: Mapping[Any, Any], file: str, path: str = "") -> None:
        self.values = values
        self.file = file
        self.path = path

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def __iter__(self) -> Any:
        return (str(key) for key in self.values)

    def any_of(self, names: Iterable[str]) -> list[str]:
        """Those of some keys that are there."""
        return [name for name in names if name in self]

    def misspelt(self, known: Iterable[str]) -> list[str]:
        """Notes on keys that nothing reads and that are a letter or two from one that would be."""
        known = list(known)
        notes = []
        for key in self:
            near = difflib.get_close_matches(key, [name for name in known if name not in self], n=1, cutoff=0.85)
            # What is set for evaluation has a name of its own beside that for training.
            if key not in known and near and "eval" not in key:
                notes.append(f"nothing reads {key} (did you mean {near[0]}?)")
        return notes

    def line(self, key: str) -> int | None:
        """Where a key was written, if that is known."""
        return line_of(self.values, key)

    def named(self, key: str) -> str:
        """A key as errors call it: with those that it lies in."""
        return f"{self.path}.{key}" if self.path else key

    def wrong(self, key: str, message: str) -> SpecError:
        """The error about a key."""
        return SpecError(message, parameter=self.named(key), file=self.file, line=self.line(key))

    def must(self, key: str, condition: str) -> SpecError:
        """The error that says what must hold of a key, and what was given."""
        return must(self.named(key), condition, self.values.get(key)).locate(file=self.file, line=self.line(key))

    def get(self, key: str) -> Any:
        """A value as it is written."""
        value = self.values.get(key)
        if isinstance(value, Computed):
            told = "is computed: only numbers, text and arithmetic on them are read, and nothing is run"
            raise SpecError(told, parameter=self.named(key), file=self.file, line=value.line)
        return value

    @overload
    def number(self, key: str) -> float | int | None: ...
    @overload
    def number(self, key: str, default: float) -> float | int: ...
    def number(self, key: str, default: float | None = None) -> float | int | None:
        """A finite number."""
        value = self.get(key)
        if value is None:
            return default
        if not is_number(value):
            raise self.must(key, "a number")
        return value  # type: ignore[no-any-return]

    def whole(self, key: str, least: int = 1) -> int | None:
        """A whole number of at least so many."""
        value = self.number(key)
        if value is None:
            return None
        if value != int(value) or value < least:
            raise self.must(key, f"a whole number >= {least}")
        return int(value)

    def text(self, key: str) -> str | None:
        """Text."""
        value = self.get(key)
        if value is not None and not isinstance(value, str):
            raise self.must(key, "text")
        return value

    def flag(self, key: str) -> bool | None:
        """A truth value."""
        value = self.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.must(key, "true or false")
        return value

    def inner(self, key: str) -> Keys:
        """A mapping inside this one; an empty one where there is none."""
        value = self.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise self.must(key, "a mapping")
        return Keys(value or {}, self.file, self.named(key))

    def part(self, key: str) -> Keys:
        """The same, where anything but a mapping is somebody else's affair."""
        value = self.get(key)
        return Keys(value if isinstance(value, Mapping) else {}, self.file, self.named(key))

    def only(self, values: Mapping[str, Any]) -> Keys:
        """Some of the keys, maybe with other values, each with the line that it has."""
        out = Located(self.file, 0)
        out.update(values)
        out.lines = {name: line for name in values if (line := self.line(name)) is not None}
        return Keys(out, self.file, self.path)


class Draft:
    """An entry in the making: parameters with the lines of what they come from."""

    def __init__(self, kind: str, file: str, line: int | None = None) -> None:
        # Line 0 is shown by nobody: an error about the entry as a whole names the file alone.
        self.spec = Located(file, line or 0)
        self.spec["kind"] = kind

    def put(self, name: str, value: Any, line: int | None = None) -> None:
        """Give the entry a parameter; None leaves it out."""
        if value is None:
            return
        if isinstance(value, str):
            self._refuse_duration(name, value, line)
        self.spec[name] = value
        if line is not None:
            self.spec.lines[name] = line

    def _refuse_duration(self, name: str, text: str, line: int | None) -> None:
        """A duration in our words is a text to any other program, which wants a number there."""
        kind = find_kind(self.spec["kind"])
        param = None if kind is None else params_of(kind).get(name)
        if param is not None and param.type == "ticks":
            raise must(name, "a number", text).locate(file=self.spec.file, line=line)

    def put_all(self, keys: Keys, library: str) -> None:
        """Give the entry the arguments that a file has for its kind; refuse those that the library does not know."""
        kind = find_kind(self.spec["kind"])
        assert kind is not None
        known = [name for name in params_of(kind) if name not in OURS]
        for name in keys:
            if name in self.spec:
                raise keys.wrong(name, f"is given by {library} itself, which refuses it twice")
            if name not in known:
                told = (
                    f"is no argument of {kind.kind.partition('.')[2]}{nearest(name, known)}, and {library} refuses it"
                )
                raise keys.wrong(name, told)
            self.put(name, keys.get(name), keys.line(name))


def ask(keys: Keys, wanted: str, options: str) -> SpecError:
    """The error about something that a file does not say: which options do."""
    return SpecError(f"does not say {wanted}: add {options}", file=keys.file)


def whole_number(value: Any) -> int | None:
    """A value that a command line gives a kind, where it is a whole number of at least 1."""
    return int(value) if is_number(value) and value == int(value) and value >= 1 else None


def said_steps(options: Run, geometry: Run | None = None) -> int | None:
    """The optimizer steps that a command line says, as such or in tokens."""
    if options.steps is None and options.tokens is None:
        return None
    a_step = options.tokens_per_step or (geometry.tokens_per_step if geometry is not None else None)
    return Run(steps=options.steps, tokens=options.tokens, tokens_per_step=a_step).clock().total


def refuse_interval(options: Run, only: str, reason: str) -> None:
    """Refuse ticks that the program does not step its scheduler at."""
    if options.interval not in (None, only):
        raise SpecError(f"is {options.interval}, but {reason}", parameter="--interval")


def laid_over(options: Run, geometry: Run, steps: int | None = None, epochs: int | None = None) -> Run:
    """The run of an entry: what a command line says over what a file says, with the length that came of both."""
    if steps is not None and options.steps is not None:
        epochs = options.epochs  # both said: the clock refuses them where they contradict each other
    whole = options.over(geometry).said
    for name in ("epochs", "steps", "tokens"):
        whole.pop(name, None)
    return replace(Run(**whole), steps=steps, epochs=epochs)


def said_length(keys: Keys, options: Run, geometry: Run) -> int | None:
    """The optimizer steps that a command line says, in steps, tokens or epochs."""
    steps = said_steps(options, geometry)
    if steps is not None or options.epochs is None:
        return steps
    updates = updates_per_epoch(keys, options, geometry)
    if updates is None:
        raise ask(keys, "how many steps an epoch has", "--steps-per-epoch, or --dataset-size")
    return options.epochs * updates


def updates_per_epoch(keys: Keys, options: Run, geometry: Run) -> int | None:
    """Optimizer steps an epoch, as the command line says or the launch gives them; None where the data are unknown."""
    whole = options.over(geometry)
    if options.steps_per_epoch is None and whole.dataset_size is not None and whole.world_size is None:
        raise ask(keys, "how many processes share the data", "--world-size")
    return whole.counted_steps_per_epoch


def defaults_note(program: str, used: Mapping[str, Any]) -> str:
    """What is said of values that a file leaves to its program."""
    listed = ", ".join(f"{name} {value}" for name, value in used.items())
    return f"not in the file, so as {program} has it: {listed}"
