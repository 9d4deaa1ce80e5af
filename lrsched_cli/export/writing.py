"""How exported text is put together: its header, its functions, its calls."""

from __future__ import annotations

import ast
import json
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lrsched_cli.document import load_text
from lrsched_cli.errors import SpecError
from lrsched_cli.export.arithmetic import floating, number
from lrsched_cli.export.code import JAX, KERAS, NUMPY, Backend, Writer, modules_of
from lrsched_cli.export.layout import call as call  # re-exported beside `keywords`
from lrsched_cli.export.layout import formatted, lean
from lrsched_cli.export.lower import UnknownFormError
from lrsched_cli.export.plan import Difference, Plan
from lrsched_cli.export.trial import guarded, quiet, single_precision
from lrsched_cli.schedules.parameters import REQUIRED, Metrics, default_of, params_of

#: The longest line of a comment.
COMMENT = 100
#: A list in a header is cut where it is longer.
MOST_ITEMS = 12
#: Parameters that are clearer if they are said even where they are as by default.
SAID = ("total_iters",)
#: Modules of Python itself that exported code may need.
STANDARD = ("bisect", "functools", "math")
#: Text that YAML may read as itself without quotes.
_PLAIN = re.compile(r"\w[\w.%/()<>=*+-]*(?: [\w.%/()<>=*+-]+)*")


@dataclass(frozen=True)
class Export:
    """What is written for a library: the text, the ending of a file that holds it, and what to tell beside it."""

    text: str
    suffix: str = ".py"
    notes: tuple[str, ...] = ()


def flow(value: Any) -> str:
    """A value as YAML writes it on one line; long lists of numbers are cut."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple, Metrics)):
        items = list(map(flow, value[:MOST_ITEMS]))
        more = [f"... {len(value)} in all"] if len(value) > MOST_ITEMS else []
        return "[" + ", ".join([*items, *more]) + "]"
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and _is_text(value) else quoted(value)
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: ".inf", -math.inf: "-.inf"}.get(value, ".nan")
    return {True: "true", False: "false", None: "null"}[value] if isinstance(value, bool | None) else str(value)


def _is_text(value: str) -> bool:
    """Whether a plan's reader takes a word for text, and not for a number or for nothing."""
    try:
        return bool(load_text(value, "") == value)
    except SpecError:  # null is nothing
        return False


def quoted(text: str) -> str:
    """A text in double quotes, what cannot be printed in escapes."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def header(plan: Plan, what: str, fit: str) -> list[str]:
    """The comment on top: what this is, from which plan, and how exact it is."""
    clock = plan.trace.clock
    run = f"{clock.total} {clock.interval}{'s' * (clock.total != 1)}"
    if clock.steps_per_epoch is not None:
        run += f", {clock.steps_per_epoch} steps an epoch"
    place = plan.place if plan.place.isprintable() else quoted(plan.place)
    lr = "" if "lr" in plan.spec else f", at lr {number(plan.schedule.lr)}"
    lines = [f"Plan: {place}: {flow(plan.spec)}{lr}", f"Run: {run}.", fit]
    # What a user wrote must not stand in the first two lines, where Python looks for a file's encoding.
    return [f"# {what}, written by lrsched.", "#", *(out for line in lines for out in comment(line))]


def comment(text: str) -> list[str]:
    """A comment, in as many lines as it needs."""
    width = {"width": COMMENT, "initial_indent": "# ", "subsequent_indent": "#   ", "break_on_hyphens": False}
    return textwrap.wrap(text, **width)  # type: ignore[arg-type]


def roughly(difference: Difference) -> str:
    """The line of a header that says how much changed."""
    return f"NOT EXACT: {difference}."


def native_or_none(
    plan: Plan,
    candidates: Callable[[Plan], Iterable[Mapping[str, Any]]],
    library: str,
    nearest: bool,
    *,
    one_rate: bool = False,
) -> tuple[Mapping[str, Any] | None, str, tuple[str, ...]]:
    """A library's own schedule where it is exact, or where the nearest one is asked for; else None.

    ``one_rate``: what is written for it has one rate for all parameter groups, which it does not scale.

    With it comes the line of the header that says how exact the export is, and what to tell beside it.
    """
    if plan.schedule.groups:
        return _of_groups(plan, candidates, library, nearest, one_rate)
    found = plan.nearest(candidates(plan))
    if found is not None and found[1].exact:
        return found[0], plan.fit, ()
    if found is None:
        told = f"no scheduler of {library} has the shape of this plan"
        if nearest:
            raise SpecError(f"{plan.trace.name}: {told}", parameter="--nearest")
        return None, f"{plan.fit} Not one of its own: {told}.", ()
    name = found[0]["kind"].partition(".")[2]
    told = f"no scheduler of {library} is this plan; the nearest, {name}, is {found[1]}"
    if nearest:
        return found[0], roughly(found[1]), (told,)
    return None, f"{plan.fit} Not one of its own: {told}.", ()


def _of_groups(
    plan: Plan,
    candidates: Callable[[Plan], Iterable[Mapping[str, Any]]],
    library: str,
    nearest: bool,
    one_rate: bool,
) -> tuple[Mapping[str, Any] | None, str, tuple[str, ...]]:
    """The same of a plan with parameter groups, each of which has its own rates."""
    first = next(iter(plan.by_group.values()))
    for spec in candidates(first) if not one_rate else ():
        if plan.is_said_by(spec):
            return spec, plan.fit, ()
    told = f"no scheduler of {library} is this plan in all parameter groups"
    if nearest:
        raise SpecError(f"{plan.trace.name}: {told}", parameter="--nearest")
    return None, f"{plan.fit} Not one of its own: {told}.", ()


def module(head: Sequence[str], imports: Iterable[str], *blocks: Sequence[str]) -> str:
    """A Python module: its header, its imports, and its functions two lines apart."""
    groups: list[list[str]] = [[], []]
    for line in sorted(dict.fromkeys(imports), key=lambda line: (not line.startswith("import "), line.lower())):
        groups[line.split()[1] not in STANDARD].append(line)
    text = "\n\n".join("\n".join(group) for group in groups if group)
    body = "\n\n\n".join("\n".join(block) for block in blocks)
    return formatted("\n\n".join(part for part in ("\n".join(head), text, body) if part))


def formula(
    plan: Plan,
    backend: Backend | None = None,
    *,
    name: str = "learning_rate",
    counts: str = "step",
    taken: set[str] | None = None,
) -> tuple[list[list[str]], list[str]]:
    """The plan's formula as a function, with those that it calls before it, and the imports that they need.

    ``counts`` says what the library's clock counts: where it counts steps and the plan epochs, the function finds out
    which epoch a step is in. ``taken`` are names of functions that are in use. Raises ``SpecError`` where the steps of
    an epoch are unknown, or where there is no formula.
    """
    argument = "epoch" if counts != "step" and plan.interval == "epoch" else "step"
    per_tick = needed_steps(plan) if plan.interval == "epoch" and argument == "step" else 1
    blocks, at = _written(plan, backend, name, argument, per_tick, taken)
    helpers = [line for block in blocks[:-1] for line in block]
    if backend is None:
        blocks[-1] = guarded(plan, helpers, blocks[-1], name, per_tick, at)
    elif backend is NUMPY:
        blocks[-1] = quiet(plan, helpers, blocks[-1], name)
    imports = modules_of([line for block in blocks for line in block])
    return [lean(block) for block in blocks], imports


def _written(
    plan: Plan, backend: Backend | None, name: str, argument: str, per_tick: int, taken: set[str] | None
) -> tuple[list[list[str]], int]:
    """The functions as they come, the main one last, and where its formula begins."""
    clock = argument if per_tick == 1 else "epoch"
    taken = set() if taken is None else taken
    taken.add(name)
    writer = Writer(backend, plan.total, taken)
    try:
        body = writer.body(plan.form, clock)
    except UnknownFormError as error:
        raise SpecError(f"{plan.trace.name} {error}") from None
    what = f"The learning rate of {'update' if argument == 'step' else 'epoch'} `{argument}`, counted from 0"
    if backend is None:
        head = [f"def {name}({argument}: int) -> float:", f'    """{what}."""']
    else:
        head = [f"def {name}({argument}):", f'    """{what}: of an array of them, or of one."""']
    first = []
    if backend is NUMPY:
        first.append(f"{argument} = np.asarray({argument}, dtype=float)")
    elif backend is KERAS:
        first.append(f'{argument} = ops.cast({argument}, "float32")')
    elif backend is JAX and writer.says_expression:
        first.append(f"{argument} = jnp.asarray({argument}, dtype=float)")
    elif backend is JAX and any(map(_divides, body)):  # by zero an array gives inf, where a plain number raises
        first.append(f"{argument} = jnp.asarray({argument})")
    if per_tick != 1 and any(re.search(r"\bepoch\b", line) for line in body):
        first.append(f"epoch = step // {per_tick}")
    main = [*head, *(f"    {line}" for line in (*first, *body))]
    return [*writer.helpers, main], len(head) + len(first)


def _divides(line: str) -> bool:
    """Whether a line of a function divides by what is no plain number."""
    tree = ast.parse(textwrap.dedent(line).removeprefix("return "))
    by = (node.right for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))
    return any(isinstance(part, ast.Name) for divisor in by for part in ast.walk(divisor))


def needed_steps(plan: Plan) -> int:
    """The steps of an epoch, which a library that counts steps needs of a plan in epochs."""
    steps = plan.trace.clock.steps_per_epoch
    if steps is None:
        raise SpecError(
            f"{plan.trace.name} counts epochs, and this library counts steps: add --steps-per-epoch N, "
            "or --steps N for a plan in steps"
        )
    return steps


def computed_in_single(plan: Plan, backend: Backend, library: str, unless: str = "") -> str:
    """The line of a header about a library that computes in single precision, and how much that changes."""
    try:
        blocks, _ = _written(plan, backend, "learning_rate", plan.interval, 1, None)
    except SpecError:
        return f"{plan.fit_of_rates} {library} computes them in single precision{unless}."
    lines = [line for block in blocks for line in block]
    found = single_precision(plan, lines, "learning_rate", backend.module)
    return f"{plan.fit_of_rates} {library} computes them in single precision{unless}, {found.roughly}."


def value(item: Any) -> str:
    """A parameter's value as Python code."""
    if isinstance(item, str):
        return quoted(item)
    if isinstance(item, bool) or item is None:
        return repr(item)
    if isinstance(item, (int, float)):
        return repr(item) if isinstance(item, int) else floating(item).strip("()")
    if isinstance(item, Mapping):
        return "{" + ", ".join(f"{value(k)}: {value(v)}" for k, v in item.items()) + "}"
    return "[" + ", ".join(map(value, item)) + "]"


def keywords(kind: type, spec: Mapping[str, Any], leave: Iterable[str] = ()) -> list[str]:
    """The parameters of a spec as keyword arguments, without those that have their default anyway."""
    left = {"lr", "kind", *leave}
    known = params_of(kind)
    given = [name for name in spec if name in known and name not in left]
    given.sort(key=lambda name: default_of(kind, name) is not REQUIRED)
    return [f"{name}={value(spec[name])}" for name in given if name in SAID or spec[name] != default_of(kind, name)]
