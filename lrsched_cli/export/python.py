"""A plan as a function: of one step in plain Python, or of an array of steps in NumPy."""

from __future__ import annotations

from lrsched_cli.export.code import NUMPY, Backend
from lrsched_cli.export.plan import Plan
from lrsched_cli.export.writing import Export, formula, header, module
from lrsched_cli.trace import Trace


def export(plan: Plan) -> Export:
    """``learning_rate(step)`` in plain Python, for any loop."""
    return _functions(plan, None, "A learning rate in plain Python")


def export_numpy(plan: Plan) -> Export:
    """``learning_rate(step)`` for arrays of steps."""
    return _functions(plan, NUMPY, "A learning rate in NumPy")


def _functions(plan: Plan, backend: Backend | None, what: str) -> Export:
    blocks: list[list[str]] = []
    imports: list[str] = []
    taken: set[str] = set()
    for name, own in groups_of(plan).items():
        function = f"learning_rate_{name}" if name else "learning_rate"
        functions, standard = formula(own, backend, name=function, counts=plan.interval, taken=taken)
        blocks += functions
        imports += standard
    return Export(module(header(plan, what, plan.fit_of_rates), imports, *blocks))


def groups_of(plan: Plan) -> dict[str, Plan]:
    """The plan of each parameter group, by its name as an identifier; one without a name where there are no groups."""
    if not plan.schedule.groups:
        return {"": plan}
    out: dict[str, Plan] = {}
    for name, member in plan.schedule.groups.items():
        identifier = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
        unique, serial = identifier, 2
        while unique in out:
            unique, serial = f"{identifier}{serial}", serial + 1
        out[unique] = Plan(Trace(f"{plan.trace.name}.{name}", member, plan.trace.clock), plan.spec, plan.place)
    return out
