"""Resumes at the very end of a scheduler: where torch raises, and where the rate is 0."""

from __future__ import annotations

import pytest

from lrsched_cli.errors import SpecError
from lrsched_cli.verify.resume import Checkpoint, Resumed
from tests.verify.test_resume import of


@pytest.mark.parametrize("power", [0.5, 1.5])
def test_a_polynomial_ends_at_zero_by_the_row_as_by_the_tick(power: float) -> None:
    params = {"kind": "torch.PolynomialLR", "total_iters": 20, "power": power}
    resumed = of(params, Checkpoint(2, 20, "last-epoch", "never"), steps=20).resumed
    assert resumed.lr[-1] == resumed.schedule(len(resumed) - 1) == 0.0


@pytest.mark.parametrize("last", [39, 40])
def test_onecycle_refuses_a_last_epoch_beyond_its_end(last: int) -> None:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([{"params": [torch.zeros(1, requires_grad=True)], "lr": 0.04}])
    optimizer.param_groups[0].update(initial_lr=0.04, max_lr=1.0, min_lr=4e-6, max_momentum=0.95, base_momentum=0.85)
    made, given = torch.optim.lr_scheduler.OneCycleLR, {"max_lr": 1.0, "total_steps": 40}

    def mine() -> Resumed:
        return of({"kind": "torch.OneCycleLR", **given}, Checkpoint(25, 40, "last-epoch", "before", last), steps=40)

    if last < 40:
        made(optimizer, **given, cycle_momentum=False, last_epoch=last)
        mine()
        return
    told = "Tried to step 41 times. The specified number of total steps is 40"
    with pytest.raises(ValueError, match=told):
        made(optimizer, **given, cycle_momentum=False, last_epoch=last)
    with pytest.raises(SpecError, match=told):
        mine()
