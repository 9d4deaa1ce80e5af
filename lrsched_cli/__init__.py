"""See any learning-rate schedule exactly as the optimizer will use it.

>>> import lrsched_cli as lrs
>>> trace = lrs.simulate({"kind": "torch.StepLR", "lr": 0.1, "step_size": 10}, {"epochs": 30})
>>> round(float(trace.lr[29]), 6)
0.001

In training code: ``torch_scheduler``, ``lightning_config``, ``trainer_optimizers`` and ``RateAudit``,
``keras_schedule``, ``optax_schedule``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrsched_cli.book import Book, load
    from lrsched_cli.errors import SpecError
    from lrsched_cli.integrations.keras import keras_schedule as keras_schedule
    from lrsched_cli.integrations.lightning import lightning_config as lightning_config
    from lrsched_cli.integrations.optax import optax_schedule as optax_schedule
    from lrsched_cli.integrations.torch import torch_scheduler as torch_scheduler
    from lrsched_cli.integrations.transformers import RateAudit as RateAudit
    from lrsched_cli.integrations.transformers import trainer_optimizers as trainer_optimizers
    from lrsched_cli.kinds import KINDS
    from lrsched_cli.run import Run
    from lrsched_cli.schedules.base import Schedule
    from lrsched_cli.spec import simulate
    from lrsched_cli.trace import Trace

__all__ = ["KINDS", "Book", "Run", "Schedule", "SpecError", "Trace", "__version__", "load", "simulate"]

# The command line imports this package for every --help: what needs NumPy is imported when it is first asked for. So is
# what needs a training library; as nobody has all of them, `import *` and `dir` leave these out.
_INTEGRATIONS = {
    "torch_scheduler": "integrations.torch",
    "lightning_config": "integrations.lightning",
    "trainer_optimizers": "integrations.transformers",
    "RateAudit": "integrations.transformers",
    "keras_schedule": "integrations.keras",
    "optax_schedule": "integrations.optax",
}
_HOMES = {
    "KINDS": "kinds",
    "Book": "book",
    "Run": "run",
    "Schedule": "schedules.base",
    "SpecError": "errors",
    "Trace": "trace",
    "load": "book",
    "simulate": "spec",
    **_INTEGRATIONS,
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("lrsched-cli")
        except PackageNotFoundError:  # run from a checkout that is not installed
            return "unknown"
    if name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(f"lrsched_cli.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
