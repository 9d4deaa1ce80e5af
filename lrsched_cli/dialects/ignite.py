"""The ignite dialect: the schedulers of ``ignite.handlers.param_scheduler`` for the optimizer's ``lr``.

Read in pytorch-ignite 0.5.5. A scheduler is attached to ``Events.ITERATION_STARTED``, as the documentation does it, so
that update t uses the value of event t; a run that is counted in epochs stands for ``Events.EPOCH_STARTED``.
"""

from __future__ import annotations

from lrsched_cli.dialects import ignite_compose, ignite_curves, ignite_metric

#: The kinds by their names in the library.
KINDS = {**ignite_curves.KINDS, **ignite_compose.KINDS, **ignite_metric.KINDS}
