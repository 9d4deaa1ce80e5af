"""An ensemble against the plain loop that a user writes: the same curves and rates, run by run, over whole runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.optim import lr_scheduler  # noqa: E402
from torch.optim.swa_utils import SWALR  # noqa: E402

from lrsched_cli.training.jobs import Job  # noqa: E402
from lrsched_cli.training.stack import Mapped, OneByOne, Stack  # noqa: E402
from tests.training.support import (  # noqa: E402
    HERE,
    OPTIMIZERS,
    Plain,
    chosen_way,
    close,
    ensemble_of,
    job_of,
    outcome,
    trained,
    write_csv,
)

EPOCHS = 5


@dataclass(frozen=True)
class Pair:
    """A schedule as a plan has it, and torch's own: from the optimizer, the base rate and the number of updates."""

    spec: Mapping[str, Any]
    made: Callable[[Any, float, int], Any]
    after: str = "epoch"


def at_each_step(kind: str, **params: Any) -> dict[str, Any]:
    return {"kind": kind, **params, "run": {"interval": "step"}}


PAIRS = {
    "constant": Pair({"kind": "constant"}, lambda o, lr, n: None),
    "step": Pair(
        {"kind": "torch.StepLR", "step_size": 2, "gamma": 0.4}, lambda o, lr, n: lr_scheduler.StepLR(o, 2, 0.4)
    ),
    "cosine": Pair({"kind": "cosine"}, lambda o, lr, n: lr_scheduler.CosineAnnealingLR(o, EPOCHS)),
    "exponential": Pair(
        at_each_step("torch.ExponentialLR", gamma=0.95), lambda o, lr, n: lr_scheduler.ExponentialLR(o, 0.95), "step"
    ),
    "onecycle": Pair(
        at_each_step("onecycle", cycle_momentum=True), lambda o, lr, n: lr_scheduler.OneCycleLR(o, lr, n), "step"
    ),
    "cyclic": Pair(
        at_each_step("cyclic", step_size_up=4, cycle_momentum=True),
        lambda o, lr, n: lr_scheduler.CyclicLR(o, lr / 100, lr, 4),
        "step",
    ),
    "plateau": Pair(
        {"kind": "plateau", "patience": 0, "factor": 0.3, "threshold": 0.02},
        lambda o, lr, n: lr_scheduler.ReduceLROnPlateau(o, factor=0.3, patience=0, threshold=0.02),
        "val_loss",
    ),
    "plateau-max": Pair(
        {"kind": "torch.ReduceLROnPlateau", "patience": 0, "factor": 0.5, "mode": "max"},
        lambda o, lr, n: lr_scheduler.ReduceLROnPlateau(o, "max", 0.5, 0),
        "val_accuracy",
    ),
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What a case calls three and two: classes that every seed splits anew."""
    folder = tmp_path_factory.mktemp("tables")
    return {"three": write_csv(folder / "drei Größen.csv"), "two": write_csv(folder / "two.csv", classes=2)}


def against_the_plain_loop(
    job: Job,
    names: Mapping[str, Pair],
    options: Mapping[str, Any],
    *,
    tolerance: float = 1e-12,
    way: type[Stack] | None = None,
    **plain: Any,
) -> None:
    """Train all runs of a job at once, and each in the plain loop; assert that they agree."""
    ensemble = trained(job, way=way)
    dtype = torch.float64 if job.experiment.dtype == "float64" else torch.float32
    for member, number in enumerate(run.number for run in ensemble.members):
        run, found = job.runs[number], outcome(ensemble, member)
        pair, updates = names[run.schedule], run.course.updates
        curves = Plain(
            job.data,
            lambda: job.model.make(job.data.shape, job.data.classes),
            lambda params, run=run: OPTIMIZERS[job.experiment.optimizer](params, lr=run.lr, **options),
            updates, job.batching.size, job.batching.used,
            lambda o, pair=pair, run=run, updates=updates: pair.made(o, run.lr, updates), pair.after, dtype, **plain,
        ).trained(run.seed)  # fmt: skip
        where = f"{run.schedule} at {run.lr} from seed {run.seed}"
        assert len(found["train_loss"]) == run.course.epochs + 1
        for name, values in found.items():
            exact = name in ("lr_used", "momentum_used")
            # Rates as a part of their peak: what an anneal ends at is a small difference of large numbers.
            least = 1e-12 * values.max() if exact else 0
            close(values, getattr(curves, name), 1e-12 if exact else tolerance, f"{name} of {where}", least)
        assert ("momentum_used" in found) == (run.schedule in ("onecycle", "cyclic"))
        if curves.averaged:
            averaged = ensemble.judge_average()[member]
            assert averaged is not None
            for name, value in curves.averaged.items():
                close(averaged[name], value, tolerance, f"averaged {name} of {where}")


def compared(
    data: str, model: str, optimizer: str, schedules: str = "step", lrs: Any = (0.01, 0.1), seeds: Any = (0, 3),
    run: Mapping[str, Any] | None = None, said: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None, **more: Any,
) -> Job:  # fmt: skip
    """Compare some schedules on some data; ``said`` is said to the package and, unless given, to torch too."""
    names = {name: PAIRS[name] for name in schedules.split()}
    said = said or {}
    job = job_of(
        {name: pair.spec for name, pair in names.items()}, {"epochs": EPOCHS, "batch_size": 8, **(run or {})},
        data=data, model=model, optimizer=optimizer, lrs=list(lrs), seeds=list(seeds), **said,
    )  # fmt: skip
    options = {k: v for k, v in said.items() if k not in ("dtype", "limit")} if options is None else options
    against_the_plain_loop(job, names, options, **more)
    return job


# In double precision: to 1e-12 over whole runs.


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        ("sgd", {}),
        ("sgd", {"momentum": 0.9}),
        ("sgd", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
        ("adam", {}),
        ("adam", {"weight_decay": 0.1}),
        ("adamw", {"weight_decay": 0.1}),
        ("rmsprop", {"weight_decay": 0.01}),
        ("rmsprop", {"momentum": 0.9}),
        ("adagrad", {"weight_decay": 0.01}),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value) or "plain",
)
@pytest.mark.parametrize("data", ["three", "two"])
def test_every_optimizer(tables: Mapping[str, str], data: str, optimizer: str, said: Mapping[str, Any]) -> None:
    lrs = (0.001, 0.01) if optimizer == "rmsprop" else (0.01, 0.1)
    compared(tables[data], "mlp:7", optimizer, "step plateau", lrs, said=said)


def test_adamw_decays_by_itself(tables: Mapping[str, str]) -> None:
    """Unless said otherwise: its weight decay is torch's default of 0.01."""
    assert compared(tables["three"], "linear", "adamw").experiment.weight_decay == 0.01


def test_every_schedule(tables: Mapping[str, str]) -> None:
    """By epoch and by step, on the run's own loss or accuracy, with and without a cycled momentum, in one ensemble."""
    job = compared(tables["three"], "mlp:6", "sgd", " ".join(PAIRS), seeds=[4], said={"momentum": 0.9})
    assert len({run.course.updates for run in job.runs}) == 1
    assert {run.course.interval for run in job.runs} == {"epoch", "step"}


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [("sgd", {}), ("sgd", {"momentum": 0.5, "nesterov": True}), ("adam", {}), ("adamw", {}), ("rmsprop", {})],
)
def test_a_cycled_momentum(tables: Mapping[str, str], optimizer: str, said: Mapping[str, Any]) -> None:
    lrs = [0.003 if optimizer == "rmsprop" else 0.03]
    compared(tables["two"], "mlp:6", optimizer, "onecycle cyclic constant", lrs, said=said)


@pytest.mark.parametrize(
    ("data", "model", "way"),
    [
        ("three", "linear", "stacked"),
        ("two", "linear", "stacked"),
        ("three", "mlp:6,4", "stacked"),
        ("two", "mlp:6,outputs=2", "stacked"),
        ("three", "mlp-bn:6,4", "stacked"),
        ("two", "mlp-bn:6", "stacked"),
        (f"{HERE}:images", "mlp-bn:5", "stacked"),
        (f"{HERE}:images", "lenet", "one after the other"),
        (f"{HERE}:vectors", f"{HERE}:norm_gelu", "mapped by torch.func"),
        (f"{HERE}:halves", f"{HERE}:gelu_to_one", "mapped by torch.func"),
        (f"{HERE}:images", f"{HERE}:conv_norm", "one after the other"),
        (f"{HERE}:vectors", f"{HERE}:Branching", "one after the other"),
        (f"{HERE}:halves", f"{HERE}:two_logits", "stacked"),
    ],
)
def test_every_model(tables: Mapping[str, str], data: str, model: str, way: str) -> None:
    """Data in parts has a third one, of which the accuracy is recorded too; a user's model of any number of logits."""
    epochs = 3 if model == "lenet" else EPOCHS
    job = compared(tables.get(data, data), model, "sgd", "step plateau", run={"epochs": epochs}, said={"momentum": 0.9})
    assert chosen_way(job)[0].how == way


@pytest.mark.parametrize("way", [Mapped, OneByOne])
@pytest.mark.parametrize("model", ["mlp-bn:6", "lenet", f"{HERE}:conv_norm"])
def test_every_way(tables: Mapping[str, str], way: type[Stack], model: str) -> None:
    """Also those that are not taken for a model on a CPU."""
    for data in ("three", "two") if model == "mlp-bn:6" else (f"{HERE}:images",):
        compared(tables.get(data, data), model, "sgd", "step plateau", [0.03], [3], {"epochs": 3}, way=way)


@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "rmsprop"])
def test_batch_norm_under_an_optimizer_that_divides_by_the_gradient(tables: Mapping[str, str], optimizer: str) -> None:
    """A bias before it would have a gradient of 0 but for rounding, and such an optimizer makes full steps of that."""
    compared(tables["three"], "mlp-bn:6", optimizer, "step", [0.01])


@pytest.mark.parametrize(
    ("run", "micro", "sizes"),
    [
        ({"batch_size": 8}, None, [8, 8, 8, 8, 4]),
        ({"batch_size": 8, "drop_last": True}, None, [8, 8, 8, 8]),
        ({"batch_size": 64}, None, [36]),
        ({"batch_size": 4, "grad_accumulation": 3}, 4, [12, 12, 12]),
        ({"batch_size": 5, "grad_accumulation": 3}, 5, [15, 15, 6]),
        ({"batch_size": 5, "grad_accumulation": 3, "drop_last": True}, 5, [15, 15, 5]),
        ({"steps": 13, "epochs": None}, None, [8, 8, 8, 8, 4]),
    ],
)
@pytest.mark.parametrize("data", ["three", "vectors"])
def test_every_cut_into_batches(
    tables: Mapping[str, str], data: str, run: Mapping[str, Any], micro: int | None, sizes: list[int]
) -> None:
    """A smaller last batch or none, gradients accumulated over several, a last epoch that is a part of one."""
    text = tables.get(data, f"{HERE}:vectors")
    limit = {} if data == "three" else {"limit": 36}
    job = compared(text, "mlp:6", "sgd", "constant exponential", [0.1], run=run, said={**limit}, micro=micro)
    assert job.batching.sizes == sizes


# In single precision.


@pytest.mark.parametrize(
    ("data", "model", "optimizer", "said"),
    [
        ("three", "mlp:7", "adam", {}),
        ("two", "mlp:7", "sgd", {"momentum": 0.9}),
        ("two", "mlp-bn:7", "sgd", {}),
        (f"{HERE}:images", "lenet", "sgd", {}),
    ],
)
def test_single_precision(
    tables: Mapping[str, str], data: str, model: str, optimizer: str, said: Mapping[str, Any]
) -> None:
    single = {**said, "dtype": "float32"}
    compared(
        tables.get(data, data), model, optimizer, "step exponential", [0.03], said=single, options=said, tolerance=1e-3
    )


# Averaged weights.


class ThenAverage:
    """The body's scheduler until averaging begins, then torch's SWALR: the loop of torch.optim.swa_utils."""

    def __init__(self, body: Any, average: Any, start: int) -> None:
        self.body, self.average, self.start, self.t = body, average, start, 0

    def step(self) -> None:
        (self.average if self.t >= self.start else self.body).step()
        self.t += 1


@pytest.mark.parametrize("model", ["mlp:6", "mlp-bn:6", "lenet", f"{HERE}:conv_norm"])
@pytest.mark.parametrize("swa_lr", [None, 0.05])
def test_averaged_weights(tables: Mapping[str, str], model: str, swa_lr: float | None) -> None:
    """The mean of the weights at the end of the epochs, batch norm's statistics taken anew for them."""
    start, anneal = 2, 2

    def made(optimizer: Any, lr: float, updates: int) -> Any:
        body = lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
        return body if swa_lr is None else ThenAverage(body, SWALR(optimizer, swa_lr, anneal), start)

    own = {} if swa_lr is None else {"swa": {"start": start, "swa_lr": swa_lr, "anneal_epochs": anneal}}
    image = model in ("lenet", f"{HERE}:conv_norm")
    job = job_of(
        {"cosine": {"kind": "cosine", **own}}, {"epochs": EPOCHS, "batch_size": 8}, model=model, lrs=[0.01, 0.1],
        seeds=[0, 3], data=f"{HERE}:images" if image else tables["three"], **({} if own else {"swa_start": start}),
    )  # fmt: skip
    against_the_plain_loop(job, {"cosine": Pair({}, made)}, {}, average_from=start)


def test_averaging_by_steps_is_at_the_ends_of_epochs(tables: Mapping[str, str]) -> None:
    """From the epoch on that ends at the first averaged update or after it."""
    job = job_of(
        {"constant": {"kind": "constant"}}, {"epochs": EPOCHS, "batch_size": 8, "interval": "step"},
        data=tables["three"], model="mlp:6", seeds=[0], swa_start=12,
    )  # fmt: skip
    ensemble = trained(job)
    assert ensemble.averaged.tolist() == [3]
    against_the_plain_loop(job, {"constant": PAIRS["constant"]}, {}, average_from=2)


def test_what_averages_nothing_has_no_average(tables: Mapping[str, str]) -> None:
    swa = {"plain": None, "averaged": 3, "late": 99}
    specs = {name: {"kind": "constant", "swa": start} for name, start in swa.items()}
    job = job_of(specs, {"epochs": EPOCHS, "batch_size": 8}, data=tables["three"], model="mlp:6", seeds=[0])
    ensemble = trained(job)
    before = ensemble.stack.params.buffer.clone()
    averages = ensemble.judge_average()
    assert [average is None for average in averages] == [True, False, True]
    assert torch.equal(ensemble.stack.params.buffer, before)
    assert ensemble_of(job, [0]).judge_average() == [None]
