"""A form as Python code: a function of one step in plain Python, or of an array of steps in NumPy, JAX or Keras."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lrsched_cli.export.arithmetic import constant, exact, floating, over, renamed, simplified
from lrsched_cli.export.lower import UnknownFormError, form_of
from lrsched_cli.export.outline import flattened
from lrsched_cli.schedules import forms
from lrsched_cli.schedules.forms import Form

#: A choice between two values is written as an expression where it is no longer than this.
SHORT = 72
#: So few steps are written as conditions.
FEW = 3
#: Names that exported code has other uses for.
RESERVED = (
    "step",
    "epoch",
    "math",
    "bisect",
    "functools",
    "np",
    "jnp",
    "ops",
    "keras",
    "optimizer",
    "scheduler",
    "schedule",
)


@dataclass(frozen=True)
class Backend:
    """How an array library spells what a schedule needs."""

    module: str
    pi: str
    array: str
    #: Functions that it lacks or calls otherwise.
    names: dict[str, str] = field(default_factory=dict)

    def call(self, name: str, *arguments: str) -> str:
        """A call of one of its functions."""
        return f"{self.module}.{self.names.get(name, name)}({', '.join(arguments)})"

    def select(self, conditions: Sequence[str], values: Sequence[str], otherwise: str) -> str:
        """The value of the first condition that holds."""
        if len(conditions) == 1:
            return self.call("where", conditions[0], values[0], otherwise)
        return self.call("select", f"[{', '.join(conditions)}]", f"[{', '.join(values)}]", otherwise)


#: How what formulas use is imported.
MODULES = {
    "bisect": "import bisect",
    "functools": "import functools",
    "math": "import math",
    "np": "import numpy as np",
    "jnp": "import jax.numpy as jnp",
    "ops": "from keras import ops",
}
NUMPY = Backend("np", "np.pi", "np.array")
JAX = Backend("jnp", "jnp.pi", "jnp.array")
KERAS = Backend("ops", "math.pi", "ops.array")


def _choices(value: str) -> Iterator[str]:
    """The lines that return a value; a long chain of ``a if b else c`` is one of ``if`` statements."""
    node = ast.parse(value, mode="eval").body
    while isinstance(node, ast.IfExp) and len(value) > SHORT:
        yield f"if {ast.unparse(node.test)}:"
        yield f"    return {ast.unparse(node.body)}"
        node = node.orelse
        value = ast.unparse(node)
    yield f"return {value}"


class Writer:
    """Writes one form as the lines of a function body that ends in ``return``.

    Parameters
    ----------
    backend: an array library; None for plain Python, where steps come one at a time.
    total: the run's length, as far as which what cannot be said in a formula is written out.
    taken: names that are in use; the names of functions are added to it.

    ``helpers`` are functions that the lines call, each with its lines, in the order in which they are defined.
    """

    def __init__(self, backend: Backend | None, total: int, taken: set[str] | None = None) -> None:
        self.backend = backend
        self.total = total
        self.lines: list[str] = []
        self.helpers: list[list[str]] = []
        self.functions = set(RESERVED) if taken is None else taken
        self.local: set[str] = set()
        #: Whether a user's own expression is part of it.
        self.says_expression = False

    # Whole bodies.

    def body(self, form: Form, t: str = "step") -> list[str]:
        """The lines of the function's body, given what the step is called."""
        form = flattened(form)
        if self.backend is None:
            return list(self._statements(form, t))
        value = simplified(self.value(form, t))
        names = {node.id for node in ast.walk(ast.parse(value)) if isinstance(node, ast.Name)}
        if not names & {t, *self.local}:  # an array of steps has an array of rates
            value = self.backend.call("full", self.backend.call("shape", t), value)
        if self.lines and self.lines[-1].startswith(f"{value} = "):  # a name for what is returned at once
            value = self.lines.pop().partition(" = ")[2]
        return [*self.lines, f"return {value}"]

    def _statements(self, form: Form, t: str) -> Iterator[str]:
        """Plain Python: phases are a chain of ``if``, each with the lines of its own."""
        form, t = self._unwrapped(form, t)
        if isinstance(form, forms.Phases):
            for start, part in zip(form.starts, form.forms, strict=False):
                yield f"if {simplified(f'{t} < {exact(start)}')}:"
                yield from ("    " + line for line in self._statements(part, t))
            yield from self._statements(form.forms[-1], t)
            return
        inner = self._inside()
        if isinstance(form, forms.Repeated):
            local = inner.named("t", inner.around(form, t))
            yield from inner.lines
            yield from inner._statements(form.form, local)
        elif isinstance(form, forms.Level):
            yield f"return {floating(form.value)}"
        elif isinstance(form, forms.Table) and 0 < len(set(form.ticks)) == len(form.ticks) <= FEW:
            for tick, rate in zip(form.ticks, form.values, strict=False):
                yield f"if {simplified(f'{t} < {exact(tick)}')}:"
                yield f"    return {floating(rate)}"
            yield f"return {floating(form.values[-1])}"
        else:
            value = simplified(inner.value(form, t))
            known = constant(ast.parse(value, mode="eval").body)
            yield from inner.lines
            if known is None:
                yield from _choices(value)
            else:
                yield f"return {floating(known)}"

    def _inside(self) -> Writer:
        """A writer of lines of their own in the same function."""
        inner = Writer(self.backend, self.total, self.functions)
        inner.helpers, inner.local = self.helpers, set(self.local)
        return inner

    def _unwrapped(self, form: Form, t: str) -> tuple[Form, str]:
        """A form and the clock that it reads, without the wrappers that only change the clock."""
        while True:
            if isinstance(form, forms.Of):
                form = form_of(form.schedule)
            elif isinstance(form, forms.Late):
                late = f"({t}) - ({exact(form.by)})"
                t = simplified(self.call("max", late, "0") if form.held else late)
                form = form.form
            elif (plain := _plain(form, self.total)) is not None:
                form = flattened(plain)
            else:
                return form, t

    # Values.

    def value(self, form: Form, t: str) -> str:
        """An expression of the form at ``t``; what has to be worked out before it goes to ``lines``."""
        from lrsched_cli.export.formulas import WRITERS

        form, t = self._unwrapped(form, t)
        write = WRITERS.get(type(form))
        if write is None:
            raise UnknownFormError("has a shape for which no formula is known")
        return write(self, form, t)

    def operand(self, name: str, told: str, form: Form, t: str) -> str:
        """The same, of a part of a larger expression: where it has phases it gets a name, or a function, of its own.

        ``told`` is what the function is said to give.
        """
        form, t = self._unwrapped(form, t)
        if not isinstance(form, forms.Phases):
            return self.value(form, t)
        if self.backend is not None:
            return self.named(name, self.value(form, t))
        if len(form.forms) == 2:
            inner = self._inside()
            value = simplified(inner.value(form, t))
            if not inner.lines and len(value) <= SHORT:
                return value
        function = self.fresh(name, self.functions)
        outer, self.local = self.local, {"t"}
        lines = list(self._statements(form, "t"))
        self.local = outer
        head = [f"def {function}(t: float) -> float:", f'    """{told}"""']
        self.helpers.append([*head, *(f"    {line}" for line in lines)])
        return f"{function}({t})"

    def around(self, form: forms.Repeated, t: str) -> str:
        """The clock of a form that is repeated."""
        if not form.there_and_back:
            return f"({t}) % {exact(form.every)}"
        back = exact(2 * form.every)
        around = self.named("t", f"({t}) % {back}")
        return self.call("min", around, f"{back} - {around}")

    def named(self, name: str, value: str) -> str:
        """A variable with the value, under that name or the next free one."""
        value = simplified(value)
        if value.isidentifier():
            return value
        unique = self.fresh(name, self.local)
        self.lines.append(f"{unique} = {value}")
        return unique

    def fresh(self, name: str, taken: set[str]) -> str:
        """The name, or the next one like it that is not taken yet."""
        unique, serial = name, 2
        while unique in taken or unique in self.functions or unique in self.local:
            unique, serial = f"{name}{serial}", serial + 1
        taken.add(unique)
        return unique

    # Spellings.

    def where(self, conditions: Sequence[str], values: Sequence[str], otherwise: str) -> str:
        """The value of the first condition that holds."""
        conditions, values = [simplified(c) for c in conditions], [simplified(v) for v in values]
        otherwise = simplified(otherwise)
        if self.backend is not None:
            return self.backend.select(conditions, values, otherwise)
        return " ".join(f"({v}) if {c} else" for c, v in zip(conditions, values, strict=True)) + f" ({otherwise})"

    def call(self, name: str, *arguments: str) -> str:
        """A function of the backend, or of plain Python."""
        if self.backend is not None:
            return self.backend.call({"max": "maximum", "min": "minimum"}.get(name, name), *arguments)
        return f"{name if name in ('max', 'min', 'abs', 'round') else f'math.{name}'}({', '.join(arguments)})"

    def constant(self, name: str, argument: str) -> str:
        """The same, of a number: Keras has no functions for these."""
        return f"math.{name}({argument})" if self.backend in (None, KERAS) else self.call(name, argument)

    @property
    def pi(self) -> str:
        return "math.pi" if self.backend is None else self.backend.pi

    def expression(self, compiled: Any, t: str) -> str:
        """A user's expression, of ``t``."""
        self.says_expression = True
        return renamed(compiled, t, self)

    def part(self, t: str, ticks: float) -> str:
        """The part of a length that is over."""
        return over(t, exact(ticks))


def _plain(form: Form, total: int) -> Form | None:
    """A form that one library alone has, in those that all have; None where it is one of these, or there is no such."""
    if type(form).__module__ in (forms.__name__, "lrsched_cli.export.lower"):
        return None
    from lrsched_cli.export.foreign import plain

    return plain(form, total)


def modules_of(lines: Sequence[str]) -> list[str]:
    """The imports that lines of code need."""
    used = {node.id for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, ast.Name)}
    return [line for module, line in MODULES.items() if module in used]
