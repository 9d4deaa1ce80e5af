"""A plan as a function: of one step in plain Python, or of an array of steps in NumPy."""

from __future__ import annotations

from lrsched_cli.export.code import NUMPY, Backend
from lrsched_cli.export.plan import Plan
from lrsched_cli.export.writing import Export, formula, header, module


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
    for name, own in plan.by_group.items():
        function = f"learning_rate_{name}" if name else "learning_rate"
        functions, standard = formula(own, backend, name=function, counts=plan.interval, taken=taken)
        blocks += functions
        imports += standard
    return Export(module(header(plan, what, plan.fit_of_rates), imports, *blocks))
