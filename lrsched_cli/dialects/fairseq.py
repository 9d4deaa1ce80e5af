"""The fairseq dialect: ``--lr-scheduler NAME``, as its Trainer steps it.

Read in fairseq 0.12.2, optim/lr_scheduler and trainer.py: update t has the rate of ``step_update(t)``, and an epoch
ends after ``updates_per_epoch`` updates. ``pass_through`` is left out: it is no schedule, but hands over to one that
the optimizer has.
"""

from __future__ import annotations

from lrsched_cli.dialects import fairseq_epochs, fairseq_metric, fairseq_updates

#: The kinds by their names in the library.
KINDS = {**fairseq_epochs.KINDS, **fairseq_updates.KINDS, **fairseq_metric.KINDS}
