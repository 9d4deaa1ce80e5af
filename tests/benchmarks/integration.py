"""What a step of ``torch_scheduler`` costs beside one of torch's own scheduler, on the same optimizers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from tests.benchmarks.report import Row, Table

#: Steps a measurement takes: several blocks of rates.
STEPS = 40_000
FLOOR = 1.0


class Rival(NamedTuple):
    """A scheduler of torch, and an entry that says the same."""

    torch: Callable[[Any, Any], Any]
    entry: Mapping[str, Any]


RIVALS = {
    "CosineAnnealingLR": Rival(
        lambda s, o: s.CosineAnnealingLR(o, STEPS), {"kind": "torch.CosineAnnealingLR", "T_max": STEPS}
    ),
    "StepLR": Rival(lambda s, o: s.StepLR(o, 900, gamma=0.9), {"kind": "torch.StepLR", "step_size": 900, "gamma": 0.9}),
    "OneCycleLR, momentum": Rival(
        lambda s, o: s.OneCycleLR(o, 0.1, total_steps=STEPS),
        {"kind": "torch.OneCycleLR", "max_lr": 0.1, "total_steps": STEPS},
    ),
    "SequentialLR": Rival(
        lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.1, total_iters=99), s.CosineAnnealingLR(o, STEPS)], [99]),
        {"sequence": [{"kind": "linear", "start_factor": 0.1, "for": 99}, {"kind": "cosine"}]},
    ),
    "LambdaLR": Rival(
        lambda s, o: s.LambdaLR(o, lambda t: 1 / (1 + 0.001 * t)),
        {"kind": "torch.LambdaLR", "lr_lambda": "1 / (1 + 0.001 * t)"},
    ),
}


def _optimizer(groups: int) -> Any:
    import torch

    made = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(groups)]
    return torch.optim.SGD(made, lr=0.1, momentum=0.9)


def _a_step(make: Callable[[Any], Any], groups: int) -> float:
    """Seconds a step of a scheduler through its run, every block of rates included; its making is not."""
    optimizer = _optimizer(groups)
    scheduler = make(optimizer)
    optimizer.step()  # or the first step of the scheduler warns
    scheduler.step()
    step = scheduler.step
    start = time.perf_counter()
    for _ in range(STEPS - 2):
        step()
    return (time.perf_counter() - start) / STEPS


def _against_torch(quick: bool) -> Table:
    from torch.optim import lr_scheduler

    from lrsched_cli import torch_scheduler

    table = Table("A step of torch_scheduler : of torch's own scheduler", note="ns a step, ours : torch")
    for groups in (1, 2, 8):
        for name, (theirs, entry) in RIVALS.items():
            makers = (partial(torch_scheduler, target=entry, run={"steps": STEPS}), partial(theirs, lr_scheduler))
            rounds = [[_a_step(make, groups) for make in makers] for _ in range(2 if quick else 5)]
            mine, other = map(min, zip(*rounds, strict=True))
            what = f"{name}, {groups} group{'s' * (groups > 1)}"
            table.rows.append(Row(what, mine / other, at_most=FLOOR, note=f"{1e9 * mine:,.0f} : {1e9 * other:,.0f}"))
    return table


def _from_the_middle(entry: Mapping[str, Any], total: int) -> tuple[float, float]:
    """Seconds to go on in the middle of a run from a saved state, and of a step from there on."""
    from lrsched_cli import torch_scheduler

    scheduler = torch_scheduler(_optimizer(1), entry, {"steps": total})
    state = {**scheduler.state_dict(), "last_epoch": total // 2, "_step_count": total // 2}
    start = time.perf_counter()
    scheduler.load_state_dict(state)
    loaded = time.perf_counter()
    for _ in range(STEPS):
        scheduler.step()
    return loaded - start, (time.perf_counter() - loaded) / STEPS


def _long_runs(quick: bool) -> Table:
    table = Table("A step of a billion-step run : of a run of a hundred thousand", note="ns a step, long : short")
    for name, entry in {
        "cosine, warm-up 1%": {"kind": "cosine", "warmup": "1%"},
        "cyclic of 7 ticks": {"kind": "cyclic", "step_size_up": 7},
        "step every 5000": {"kind": "step", "step_size": 5000, "gamma": 0.999},
    }.items():
        rounds = [[_from_the_middle(entry, total) for total in (10**9, 10**5)] for _ in range(2 if quick else 5)]
        (load, long), (_, short) = (map(min, zip(*times, strict=True)) for times in zip(*rounds, strict=True))
        note = f"{1e9 * long:,.0f} : {1e9 * short:,.0f}; loading its state {1000 * load:,.0f} ms"
        table.rows.append(Row(name, long / short, at_most=1.3, note=note))
    return table


def tables(quick: bool) -> Iterator[Table]:
    yield _against_torch(quick)
    yield _long_runs(quick)
