"""A plan for torch.optim: its own schedulers where they say it, else a LambdaLR with the formula."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from lrsched_cli.errors import SpecError
from lrsched_cli.export.arithmetic import number
from lrsched_cli.export.layout import call
from lrsched_cli.export.plan import Plan
from lrsched_cli.export.torch_specs import candidates, python_function, runs
from lrsched_cli.export.writing import Export, flow, formula, header, keywords, module, value
from lrsched_cli.kinds import kind_named

#: Schedulers made of others.
COMPOSED = ("torch.SequentialLR", "torch.ChainedScheduler")


def export(plan: Plan) -> Export:
    """The plan as a function that makes the scheduler."""
    blocks, imports, fit = scheduler(plan)
    head = header(plan, "A scheduler for torch.optim", fit)
    return Export(module(head, imports, *blocks))


def scheduler(
    plan: Plan, *, by_step: bool = False, caller: str | None = None
) -> tuple[list[list[str]], list[str], str]:
    """The function ``make_scheduler`` with what it needs, its imports, and the line that says how exact it is.

    Parameters
    ----------
    by_step: for a loop that steps its scheduler after every update, whatever the plan counts.
    caller: who steps it; by default the one who reads this.
    """
    counts = "step" if by_step else plan.interval
    found = native(plan) if counts == plan.interval else None
    if found is not None:
        lines, classes = _made(found)
        lines = [
            *head(plan, optimizer_of(plan, found.get("lr", plan.base)), counts, caller),
            *(f"    {line}" for line in lines),
        ]
        modules = ["import math"] if any("math." in line for line in lines) else []
        return [lines], [*_imports(classes), *modules], plan.fit
    if plan.schedule.momentum is not None:
        raise SpecError(f"{plan.trace.name} cycles the momentum, and no scheduler of torch.optim cycles it like this")
    blocks: list[list[str]] = []
    imports: list[str] = []
    factors: list[str] = []
    taken: set[str] = set()
    for name, own in plan.by_group.items():
        function = f"learning_rate_{name}" if name else "learning_rate"
        functions, modules = formula(own, name=function, counts=counts, taken=taken)
        blocks += functions
        imports += modules
        # The optimizer's own rate is what LambdaLR multiplies.
        over = "" if own.base == 1 else f" / {number(own.base)}"
        factors.append(f"lambda {counts}: {function}({counts}){over}" if over else function)
    factor = factors[0] if len(factors) == 1 else f"[{', '.join(factors)}]"
    made = call("LambdaLR", ["optimizer", factor])
    blocks.append([*head(plan, optimizer_of(plan, plan.base), counts, caller), f"    return {made}"])
    return blocks, [*_imports(["LambdaLR"]), *imports], plan.fit


def native(plan: Plan) -> Mapping[str, Any] | None:
    """The scheduler of torch that is the plan, on every group of parameters; None where there is none."""
    first = next(iter(plan.by_group.values()))
    for spec in candidates(first):
        if plan.is_said_by(spec) and _writable(spec, plan.total):
            return spec
    return None


def _writable(spec: Mapping[str, Any], total: int) -> bool:
    """Whether plain Python can compute the functions in a spec."""
    if spec["kind"] in COMPOSED:
        return all(_writable(member, total) for member in spec["schedulers"])
    # The first of the cycles has the number 1.
    of_ticks, of_cycles = spec.get("lr_lambda"), spec.get("scale_fn")
    return (of_ticks is None or runs(python_function(of_ticks, "t"), 0, total)) and (
        of_cycles is None or runs(python_function(of_cycles, "x"), 1, total)
    )


def optimizer_of(plan: Plan, lr: float) -> str:
    """How the optimizer is made that a scheduler is for."""
    if not plan.schedule.groups:
        return f"made with lr={number(lr)}"
    groups = zip(plan.schedule.groups, plan.by_group.values(), strict=True)
    rates = ", ".join(f"{flow(name)} with lr={number(own.base)}" for name, own in groups)
    return f"with the parameter groups {rates}, in this order"


def head(plan: Plan, optimizer: str, counts: str, caller: str | None = None) -> list[str]:
    """The first lines of ``make_scheduler``, which say for which optimizer it is and how it is stepped."""
    step = "scheduler.step(metric)" if plan.schedule.reacts else "scheduler.step()"
    usage = f"Call {step} once after every {'epoch' if counts == 'epoch' else 'optimizer.step()'}."
    if caller is not None:
        usage = f"{caller} steps it after every {'epoch' if counts == 'epoch' else 'update'}."
    told = textwrap.wrap(f'"""For an optimizer {optimizer}.', 96, break_on_hyphens=False)
    cycled = ["", "    It cycles the momentum too, or Adam's beta1."] if plan.schedule.momentum is not None else []
    return [
        "def make_scheduler(optimizer: Optimizer) -> LRScheduler:",
        *(f"    {line}" for line in told),
        *cycled,
        "",
        f"    {usage}",
        '    """',
    ]


def _imports(classes: list[str]) -> list[str]:
    names = sorted({*classes, "LRScheduler"} - {"SWALR"}, key=str.lower)
    swa = ["from torch.optim.swa_utils import SWALR"] if "SWALR" in classes else []
    line = f"from torch.optim.lr_scheduler import {', '.join(names)}"
    return ["from torch.optim import Optimizer", line, *swa]


# How torch's own are written.


def _made(spec: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The lines that make a scheduler and return it, and the classes that they name."""
    lines: list[str] = []
    classes: list[str] = []
    made = _construction(spec, lines, classes, set())
    return [*lines, f"return {made}"], list(dict.fromkeys(classes))


def _construction(spec: Mapping[str, Any], lines: list[str], classes: list[str], names: set[str]) -> str:
    """The call that makes one scheduler; those that it is made of go to ``lines`` first, each under a name."""
    cls = spec["kind"].partition(".")[2]
    if spec["kind"] not in COMPOSED:
        classes.append(cls)
        return call(cls, ["optimizer", *_arguments(spec)])
    members = []
    for member in spec["schedulers"]:
        made = _construction(member, lines, classes, names)
        name = _free(_role(member, first=not names), names)
        lines.append(f"{name} = {made}")
        members.append(name)
    classes.append(cls)
    listed = f"[{', '.join(members)}]"
    if spec["kind"] == "torch.ChainedScheduler":
        return call(cls, [listed])
    return call(cls, ["optimizer", listed, f"milestones={value(spec['milestones'])}"])


def _arguments(spec: Mapping[str, Any]) -> Iterator[str]:
    kind = kind_named(spec["kind"])
    for argument in keywords(kind, spec, leave=("metrics", "optimizer")):
        name = argument.partition("=")[0]
        if name == "lr_lambda":
            yield python_function(spec[name], "t")
        elif name == "scale_fn":
            yield f"scale_fn={python_function(spec[name], 'x')}"
        else:
            yield argument


def _role(member: Mapping[str, Any], *, first: bool) -> str:
    """What a member of a sequence is called in the code."""
    cls = member["kind"].partition(".")[2]
    if cls == "ConstantLR":
        return "constant"
    if member["kind"] in COMPOSED:
        return "inner"
    rises = member.get("start_factor", 0) < member.get("end_factor", 1)
    return "warmup" if first and cls in ("LinearLR", "LambdaLR") and rises else "decay"


def _free(name: str, taken: set[str]) -> str:
    serial, unique = 2, name
    while unique in taken:
        unique, serial = f"{name}{serial}", serial + 1
    taken.add(unique)
    return unique
