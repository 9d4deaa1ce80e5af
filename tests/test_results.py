"""The folder of a training: strict JSON that reads back as it was, a CSV of every epoch, and one line for a bad one."""

from __future__ import annotations

import csv
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsched_cli import results as module
from lrsched_cli.errors import SpecError
from lrsched_cli.results import DIVERGED, OK, STOPPED, Results, RunResult, Spread, is_results
from tests.support import message_of

#: Final accuracy and loss of schedules as they come out on digits.
FINALS = {"constant": (0.955, 0.15), "step": (0.968, 0.09), "cosine": (0.975, 0.08), "onecycle": (0.976, 0.075)}
STEPS = 5


def fake_run(
    schedule: str = "cosine", lr: float = 0.1, seed: int = 0, *, epochs: int = 6, status: str = OK, **more: Any
) -> RunResult:
    """A run as training gives it: losses that decay with some noise, and accuracies that are shares of 360 samples."""
    random = np.random.default_rng([seed, sum(map(ord, schedule)), round(1e6 * lr)])
    accuracy, loss = FINALS.get(schedule, (0.96, 0.1))
    epoch = np.arange(epochs + 1)
    decay = np.exp(-12 * epoch / max(epochs, 1))
    val_loss = loss * (1 + 0.05 * random.normal()) + (2.3 - loss) * decay
    val_accuracy = accuracy - (accuracy - 0.1) * decay + 0.004 * random.normal(size=epochs + 1)
    rates = lr * (1 + np.cos(np.pi * np.arange(epochs * STEPS) / max(epochs * STEPS, 1))) / 2
    run = RunResult(
        schedule=schedule, lr=lr, seed=seed, status=status, train_loss=(0.8 * val_loss).tolist(),
        val_loss=val_loss.tolist(), val_accuracy=(np.round(np.clip(val_accuracy, 0, 1) * 360) / 360).tolist(),
        lr_used=rates.tolist(), **more,
    )  # fmt: skip
    if status == DIVERGED:
        run.train_loss[-1] = run.val_loss[-1] = math.nan  # type: ignore[index]
    return run


def fake(
    schedules: Iterable[str] = FINALS, lrs: Sequence[float] = (0.1,), seeds: int = 3,
    diverged: Iterable[tuple[str, float, int]] = (), **more: Any,
) -> Results:  # fmt: skip
    """The results of every schedule at every rate with every seed, of which some diverged."""
    lost = set(diverged)
    keys = [(name, lr, seed) for name in schedules for lr in lrs for seed in range(seeds)]
    runs = [fake_run(*key, status=DIVERGED if key in lost else OK, **more) for key in keys]
    return of(runs)


def of(runs: list[RunResult]) -> Results:
    return Results(
        device="cpu", train_seconds=1.5, runs=runs, spec={"model": "mlp:64", "optimizer": "adam"},
        versions={"torch": "2.13.0"}, data={"name": "digits", "digest": "ab", "train_size": 1437, "val_size": 360},
        notes=["a note"],
    )  # fmt: skip


def with_finals(schedule: str, accuracies: Sequence[float], losses: Sequence[float] | None = None, lr: float = 0.1):
    """Runs of a schedule that end at given values, with seeds 0, 1, 2, ..."""
    losses = losses or [1 - accuracy for accuracy in accuracies]
    return [
        RunResult(
            schedule=schedule, lr=lr, seed=seed, status=OK, train_loss=[2.3, loss], val_loss=[2.3, loss],
            val_accuracy=[0.1, accuracy], lr_used=[lr],
        )
        for seed, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True))
    ]  # fmt: skip


def written(results: Results, folder: Path) -> Any:
    """What ``results.json`` holds, read by a parser that refuses NaN and Infinity."""

    def refused(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    results.write(folder)
    return json.loads((folder / "results.json").read_text("ascii"), parse_constant=refused)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# The folder.


def test_what_is_written_reads_back_as_it_was(tmp_path: Path) -> None:
    results = fake(lrs=(0.1, 0.03))
    results.runs[0].test_accuracy = [0.1] * 7
    results.runs[1].averaged = {"val_loss": 0.1, "val_accuracy": 1 / 3}
    results.runs[2].momentum_used = [0.9] * 30
    folder = tmp_path / "un dossier é" / "deep"
    results.write(folder)
    assert Results.read(folder) == results
    assert sorted(os.listdir(folder)) == ["results.csv", "results.json"]
    before = (folder / "results.json").read_bytes()
    Results.read(folder).write(folder)
    assert (folder / "results.json").read_bytes() == before


def test_the_keys_come_in_the_order_of_the_contract(tmp_path: Path) -> None:
    found = written(fake(["cosine"], seeds=1), tmp_path)
    assert list(found) == [
        "version", "device", "train_seconds", "runs", "summary", "spec", "versions", "data", "notes"
    ]  # fmt: skip
    assert list(found["runs"][0]) == [
        "schedule", "lr", "seed", "status", "train_loss", "val_loss", "val_accuracy", "lr_used"
    ]  # fmt: skip
    assert list(found["summary"][0]) == ["schedule", "lr", "final_accuracy", "final_loss", "best_accuracy"]
    assert list(found["summary"][0]["final_loss"]) == ["mean", "sd", "min", "max", "n"]
    assert found["version"] == 1
    assert found["versions"] == {"torch": "2.13.0"}


def test_a_difference_between_two_files_is_a_line_a_run(tmp_path: Path) -> None:
    fake(["constant", "cosine"]).write(tmp_path)
    lines = (tmp_path / "results.json").read_text().splitlines()
    assert sum(line.startswith('{"schedule":') and '"lr_used"' in line for line in lines) == 6


def test_what_is_no_number_is_null_and_reads_back_as_nan(tmp_path: Path) -> None:
    run = fake_run(status=DIVERGED)
    run.val_loss[2] = math.inf  # type: ignore[index]
    results = of([run])
    results.spec = {"lr": math.nan, "folder": Path("a/b"), "lrs": (np.float64(0.5), np.inf), 3: {1, }}  # fmt: skip
    found = written(results, tmp_path)
    assert found["runs"][0]["val_loss"][2] is None
    assert found["runs"][0]["val_loss"][-1] is None
    assert found["spec"] == {"lr": None, "folder": "a/b", "lrs": [0.5, None], "3": [1]}
    back = Results.read(tmp_path).runs[0]
    assert math.isnan(back.val_loss[2])
    assert back.val_loss[1] == run.val_loss[1]


def test_numbers_keep_every_digit(tmp_path: Path) -> None:
    odd = [0.1 + 0.2, 1e-320, 2**0.5, 1.7976931348623157e308, 5e-324, -0.0, 1 / 3]
    run = fake_run()
    run.lr_used = odd
    written(of([run]), tmp_path)
    assert list(map(repr, Results.read(tmp_path).runs[0].lr_used)) == list(map(repr, odd))


def test_arrays_are_taken_for_lists(tmp_path: Path) -> None:
    run, same = fake_run(), fake_run()
    run.lr_used, run.val_loss = np.array(run.lr_used), np.array(run.val_loss)
    of([run]).write(tmp_path)
    assert Results.read(tmp_path).runs == [same]


def test_rates_that_seeds_share_are_all_written(tmp_path: Path) -> None:
    found = written(fake(["constant", "cosine"], lrs=(0.1, 0.2)), tmp_path)
    assert all(run["lr_used"] == fake_run(lr=run["lr"]).lr_used for run in found["runs"])


@given(st.lists(st.floats(), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_any_numbers_survive(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    folder = tmp_path_factory.mktemp("any")
    run = fake_run()
    run.train_loss = run.val_loss = run.lr_used = values
    run.val_accuracy = [0.5] * len(values)
    of([run]).write(folder)
    back = Results.read(folder).runs[0].val_loss
    assert [repr(v) for v in back] == [repr(v) if math.isfinite(v) else "nan" for v in values]


def test_a_folder_is_known_by_its_file(tmp_path: Path) -> None:
    assert not is_results(tmp_path)
    assert not is_results(tmp_path / "absent")
    assert not is_results(Path("a\0b"))
    fake(["cosine"], seeds=1).write(tmp_path)
    assert is_results(tmp_path)
    assert not is_results(tmp_path / "results.json")


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert message_of(fake().write, tmp_path / "file").startswith("cannot write ")
    assert message_of(fake().write, tmp_path / "file" / "under") == (
        f"cannot write {tmp_path / 'file' / 'under'}: Not a directory"
    )
    assert message_of(fake().write, Path("a\0b")).startswith("cannot write ")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    assert message_of(fake().write, folder) == f"cannot write {folder / 'results.csv'}: Permission denied"


def test_neither_torch_nor_what_draws_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.test_results import *\n"
        "fake().write(Path(sys.argv[1])); Results.read(Path(sys.argv[1])).summary()\n"
        "assert not {'torch', 'scipy', 'matplotlib', 'rich', 'sklearn', 'yaml', 'typer'} & (set(sys.modules) - before)"
    )
    start = "import sys, hypothesis, pytest; before = set(sys.modules)\n"
    subprocess.run(
        [sys.executable, "-c", start + code, str(tmp_path)], check=True, cwd=Path(__file__).parents[1], timeout=120
    )


# A file that is none.


def broken(tmp_path: Path, text: str | bytes) -> str:
    """What is said of a ``results.json`` with a text, without the path before it."""
    (tmp_path / "results.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    said = message_of(Results.read, tmp_path)
    assert said.startswith(str(tmp_path / "results.json"))
    return said.removeprefix(str(tmp_path / "results.json"))


def changed(**changes: Any) -> str:
    """The text of a good file with something else in its first run."""
    run = {
        "schedule": "a", "lr": 0.1, "seed": 0, "status": "ok", "train_loss": [1, 0.5], "val_loss": [1, 0.5],
        "val_accuracy": [0.1, 0.9], "lr_used": [0.1],
    }  # fmt: skip
    return json.dumps({"version": 1, "device": "cpu", "train_seconds": 1, "runs": [{**run, **changes}]})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1: is not JSON: Expecting value"),
        (changed()[:-9], ":1: is not JSON: Expecting value"),
        (b"\xff\xfe\xfa", ": is not text: it begins as UTF-16 does, but is not"),
        (b"\x80", ":1: is not text: byte 0x80 is not UTF-8"),
        ("[1]", ": is not the results of a training: it has no version"),
        ("3", ": is not the results of a training: it has no version"),
        ('{"version": 2, "runs": []}', ": version must be 1, the one that this lrsched reads, got 2"),
        ('{"version": "1", "runs": []}', ": version must be 1, the one that this lrsched reads, got '1'"),
        ('{"version": 1}', ": runs must be a list, got None"),
        ('{"version": 1, "runs": [3]}', ": runs[0] must be a mapping, got 3"),
        ('{"version": 1, "runs": []}', ": device must be text, got None"),
        ("[" * 100_000, ": is not the results of a training: it is nested too deeply"),
        ('{"version": 1, "device": "", "train_seconds": 1, "runs": [], "spec": ' + '{"a":' * 900 + "1" + "}" * 901,
         ": is not the results of a training: it is nested too deeply"),
        (changed(schedule=3), ": runs[0].schedule must be text, got 3"),
        (changed(lr="0.1"), ": runs[0].lr must be a number, got '0.1'"),
        (changed(lr=True), ": runs[0].lr must be a number, got True"),
        (changed(lr=None), ": runs[0].lr must be a finite number > 0, got None"),
        (changed(lr=0), ": runs[0].lr must be a finite number > 0, got 0"),
        (changed(lr=float("inf")), ": runs[0].lr must be a finite number > 0, got nan"),
        (changed(seed=0.5), ": runs[0].seed must be a whole number, got 0.5"),
        (changed(seed=False), ": runs[0].seed must be a whole number, got False"),
        (changed().replace('"seed": 0', '"seed": ' + "9" * 5000), ": runs[0].seed must be a whole number, got inf"),
        (changed(status="fine"), ": runs[0].status must be ok, DIVERGED or stopped, got 'fine'"),
        (changed(status=["ok"]), ": runs[0].status must be ok, DIVERGED or stopped, got ['ok']"),
        (changed(val_loss=3), ": runs[0].val_loss must be a list of numbers, got 3"),
        (changed(val_loss=[1, "x"]), ": runs[0].val_loss must be numbers throughout, got 'x'"),
        (changed(val_loss=[1, True]), ": runs[0].val_loss must be numbers throughout, got True"),
        (changed(lr_used={}), ": runs[0].lr_used must be a list of numbers, got {}"),
        (changed(val_accuracy=[1]), ": runs[0].val_accuracy must be as long as val_loss, 2, got 1"),
        (changed(val_accuracy=[0.1, 97.5]), ": runs[0].val_accuracy must be from 0 to 1, got 97.5"),
        (changed(test_accuracy=[1]), ": runs[0].test_accuracy must be as long as val_loss, 2, got 1"),
        (changed(averaged=[1]), ": runs[0].averaged must be a mapping, got [1]"),
        (changed(averaged={"val_loss": "x"}), ": runs[0].averaged.val_loss must be a number, got 'x'"),
        (changed()[:-1] + ', "spec": 3}', ": spec must be a mapping, got 3"),
        (changed()[:-1] + ', "notes": "x"}', ": notes must be a list of texts, got 'x'"),
        (changed()[:-1] + ', "data": []}', ": data must be a mapping, got []"),
        (json.dumps({**json.loads(changed()), "runs": json.loads(changed())["runs"] * 2}),
         ": runs[1] has the schedule, lr and seed of runs[0]"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_one_line(tmp_path: Path, text: str | bytes, said: str) -> None:
    assert broken(tmp_path, text) == said


def test_a_good_file_by_another_hand_is_read(tmp_path: Path) -> None:
    text = json.dumps(json.loads(changed(val_loss=[1, None], momentum_used=None, mood="good")), indent=2)
    (tmp_path / "results.json").write_text("\ufeff" + text.replace("0.5", "NaN"), encoding="utf-8")
    run = Results.read(tmp_path).runs[0]
    assert run.val_loss[0] == 1
    assert math.isnan(run.val_loss[1])
    assert math.isnan(run.train_loss[1])


def test_what_is_not_there_or_too_large_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert message_of(Results.read, tmp_path) == f"no such file: {tmp_path / 'results.json'}"
    assert message_of(Results.read, Path("a\0b")).startswith("no such file")
    (tmp_path / "results.json").mkdir()
    assert message_of(Results.read, tmp_path).endswith("is a directory")
    fake().write(tmp_path / "run")
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    assert "is larger than" in message_of(Results.read, tmp_path / "run")


@given(st.integers(0, 3000), st.integers(1, 40), st.binary(max_size=20))
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_never_gives_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, at: int, cut: int, put: bytes
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    fake(["cosine"], seeds=2, epochs=2).write(folder)
    path = folder / "results.json"
    good = path.read_bytes()
    path.write_bytes(good[:at] + put + good[at + cut :])
    said = ""
    try:
        Results.read(folder)
    except SpecError as error:
        said = str(error)
    assert "\n" not in said


# The table of epochs.


def test_the_csv_has_a_row_an_epoch_with_the_rate_of_its_last_update(tmp_path: Path) -> None:
    results = fake(["cosine"], seeds=2)
    results.write(tmp_path)
    found = rows(tmp_path)
    assert list(found[0]) == [
        "schedule", "lr", "seed", "epoch", "train_loss", "val_loss", "val_accuracy", "lr_used", "status"
    ]  # fmt: skip
    assert len(found) == 2 * 7
    run = results.runs[1]
    for epoch, row in enumerate(found[7:]):
        assert (row["schedule"], row["lr"], row["seed"], row["epoch"]) == ("cosine", "0.1", "1", str(epoch))
        assert float(row["val_loss"]) == run.val_loss[epoch]
        assert row["lr_used"] == ("" if epoch == 0 else repr(run.lr_used[epoch * STEPS - 1]))
        assert row["status"] == "ok"


def test_the_csv_of_a_run_that_diverged_within_an_epoch(tmp_path: Path) -> None:
    lost = fake_run("step", status=DIVERGED, epochs=2)
    lost.lr_used = lost.lr_used[:7]
    of([lost, fake_run()]).write(tmp_path)
    found = rows(tmp_path)[:3]
    assert [row["lr_used"] for row in found] == ["", repr(lost.lr_used[4]), repr(lost.lr_used[6])]
    assert [row["val_loss"] for row in found][2] == ""
    assert {row["status"] for row in found} == {"DIVERGED"}


def test_the_csv_has_test_accuracies_and_odd_names(tmp_path: Path) -> None:
    odd = 'é, "x"\n\udcff'
    of([fake_run(odd, test_accuracy=[0.5] * 7), fake_run("b", epochs=0)]).write(tmp_path)
    found = rows(tmp_path)
    assert found[0]["schedule"] == odd.replace("\udcff", "\\udcff")
    assert [row["test_accuracy"] for row in found] == ["0.5"] * 7 + [""]
    assert Results.read(tmp_path).runs[0].schedule == odd


def test_a_run_that_never_began_has_no_row(tmp_path: Path) -> None:
    run = RunResult(
        schedule="a", lr=0.1, seed=0, status=STOPPED, train_loss=[], val_loss=[], val_accuracy=[], lr_used=[]
    )
    of([run]).write(tmp_path)
    assert rows(tmp_path) == []
    assert Results.read(tmp_path).summary()[0] == {
        "schedule": "a", "lr": 0.1, "final_accuracy": {"mean": None, "sd": None, "min": None, "max": None, "n": 0},
        "final_loss": {"mean": None, "sd": None, "min": None, "max": None, "n": 0}, "stopped": 1,
    }  # fmt: skip


# The summary.


def test_the_summary_is_what_one_computes_by_hand() -> None:
    found = of(with_finals("a", [0.9, 0.95, 0.94], [0.3, 0.2, 0.4])).summary()
    accuracy, loss = found[0]["final_accuracy"], found[0]["final_loss"]
    assert accuracy["mean"] == pytest.approx(0.93)
    assert accuracy["sd"] == pytest.approx(math.sqrt((0.03**2 + 0.02**2 + 0.01**2) / 2))
    assert (accuracy["min"], accuracy["max"], accuracy["n"]) == (0.9, 0.95, 3)
    assert loss["mean"] == pytest.approx(0.3)
    assert loss["sd"] == pytest.approx(0.1)
    assert "diverged" not in found[0]


def test_one_seed_has_no_deviation_and_equal_values_none() -> None:
    assert of(with_finals("a", [0.9])).summary()[0]["final_accuracy"]["sd"] is None
    assert Spread.of([0.1] * 3) == Spread(0.1, 0.0, 0.1, 0.1, 3)
    assert Spread.of([math.nan, 1.0]).n == 1


def test_runs_that_diverged_are_counted_and_have_no_final_value() -> None:
    (record,) = fake(["cosine"], seeds=4, diverged=[("cosine", 0.1, 1), ("cosine", 0.1, 2)]).summary()
    finals = [fake_run(seed=seed).val_accuracy[-1] for seed in (0, 3)]
    assert record["final_accuracy"]["n"] == record["best_accuracy"]["n"] == 2
    assert record["final_accuracy"]["mean"] == pytest.approx(statistics.fmean(finals))
    assert record["diverged"] == 2


def test_an_interrupted_run_does_not_count_beside_one_that_ended() -> None:
    ended, stopped = fake_run(seed=0), fake_run(seed=1, epochs=2, status=STOPPED)
    (record,) = of([ended, stopped]).summary()
    assert record["final_loss"]["mean"] == ended.val_loss[-1]
    assert record["stopped"] == 1
    assert of([stopped]).summary()[0]["final_loss"]["mean"] == stopped.val_loss[-1]


def test_the_best_epoch_is_the_first_of_the_highest_validation_accuracy() -> None:
    runs = [fake_run(seed=0, epochs=4), fake_run(seed=1, epochs=4)]
    runs[0].val_accuracy, runs[0].test_accuracy = [0.1, 0.9, 0.8, 0.9, 0.7], [0.1, 0.6, 0.5, 0.4, 0.3]
    runs[1].val_accuracy, runs[1].test_accuracy = [0.1, 0.5, math.nan, 0.6, 0.5], [0.1, 0.2, 0.3, 0.8, 0.5]
    (record,) = of(runs).summary()
    assert record["best_accuracy"]["mean"] == pytest.approx((0.9 + 0.6) / 2)
    assert record["test_accuracy_at_best"]["mean"] == pytest.approx((0.6 + 0.8) / 2)
    assert record["final_test_accuracy"]["mean"] == pytest.approx((0.3 + 0.5) / 2)


def test_averaged_weights_have_figures_of_their_own() -> None:
    runs = [
        fake_run(seed=seed, averaged={"val_loss": loss, "val_accuracy": 0.9}) for seed, loss in enumerate((0.2, 0.4))
    ]
    (record,) = of(runs).summary()
    assert record["averaged_loss"]["mean"] == pytest.approx(0.3)
    assert record["averaged_accuracy"]["sd"] == 0
    assert "averaged_test_accuracy" not in record


def test_steps_an_epoch_are_told_or_counted() -> None:
    results = fake(["cosine"], seeds=1)
    assert results.steps_per_epoch == STEPS
    results.data["steps_per_epoch"] = 3
    assert results.steps_per_epoch == 3
    assert of([]).steps_per_epoch == 1
