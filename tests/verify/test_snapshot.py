"""Snapshots: every change of a rate is seen, at the right tick and of the right size, and nothing else is."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrsched_cli.book import Entry
from lrsched_cli.kinds import KINDS
from lrsched_cli.run import Run
from lrsched_cli.schedules import CANONICAL
from lrsched_cli.spec import Place, simulate
from lrsched_cli.targets import find_targets, permitted
from lrsched_cli.verify.findings import Finding
from lrsched_cli.verify.lrsnap import read
from lrsched_cli.verify.place import key_of
from lrsched_cli.verify.recording import recorded
from lrsched_cli.verify.snapshot import compare, write

SNAP = Path("schedules.lrsnap")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def plan(text: str, name: str = "schedules.yaml") -> list[Entry]:
    Path(name).write_text(text)
    return find_targets([name])


def entry(spec: Mapping[str, Any], **run: Any) -> list[Entry]:
    return [Entry("main", spec, Run.of(run), Place("main"))]


def after(old: Mapping[str, Any], new: Mapping[str, Any], **run: Any) -> list[Finding]:
    """What is found in a plan that was recorded as another one."""
    SNAP.unlink(missing_ok=True)
    write(entry(old, **run), SNAP)
    return compare(entry(new, **run), SNAP)


# One parameter, by a millionth.

PERTURBED: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    ({"kind": "cosine", "eta_min": 0.01}, "eta_min", {"epochs": 100}),
    ({"kind": "cosine", "eta_min": 0.01, "warmup": 5}, "eta_min", {"epochs": 100}),
    ({"kind": "cosine"}, "lr", {"epochs": 90}),
    ({"kind": "step", "step_size": 30}, "gamma", {"epochs": 90}),
    ({"kind": "multistep", "milestones": [50, 150]}, "gamma", {"epochs": 200}),
    ({"kind": "exponential", "gamma": 0.97}, "gamma", {"epochs": 100}),
    ({"kind": "polynomial", "power": 2.0}, "power", {"steps": 1000}),
    ({"kind": "onecycle", "div_factor": 25.0}, "div_factor", {"steps": 150}),
    ({"kind": "onecycle", "pct_start": 0.3}, "pct_start", {"steps": 150}),
    ({"kind": "cyclic", "base_lr": 0.01}, "base_lr", {"steps": 120}),
    ({"kind": "wsd", "eta_min": 0.01}, "eta_min", {"steps": 100}),
    ({"kind": "inverse-sqrt", "timescale": 10}, "lr", {"steps": 100}),
    ({"kind": "tanh"}, "lr", {"steps": 100}),
    ({"kind": "torch.CosineAnnealingLR", "T_max": 50, "eta_min": 0.02}, "eta_min", {"epochs": 60}),
    ({"kind": "torch.StepLR", "step_size": 7, "gamma": 0.5}, "gamma", {"epochs": 60}),
    ({"kind": "torch.OneCycleLR", "max_lr": 0.5, "total_steps": 60}, "max_lr", {"epochs": 60}),
    ({"kind": "transformers.cosine_with_min_lr", "num_warmup_steps": 10, "num_training_steps": 100, "min_lr": 0.01},
     "min_lr", {"steps": 100}),
    ({"kind": "plateau", "factor": 0.5, "patience": 3}, "factor", {"epochs": 100}),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "name", "run"), PERTURBED, ids=lambda v: v.get("kind") if isinstance(v, dict) else v)
def test_a_millionth_is_seen_where_it_begins(spec: dict[str, Any], name: str, run: dict[str, Any]) -> None:
    spec = {"lr": 0.1, **spec}
    value = spec.get(name, KINDS[spec["kind"]].__dataclass_fields__[name].default if name not in spec else None)
    changed = {**spec, name: value * (1 + 1e-6)}
    then, now = simulate(spec, run).lr, simulate(changed, run).lr
    differing = np.flatnonzero(np.abs(now - then) > 1e-9 * max(then.max(), now.max()))
    (found,) = after(spec, changed, **run)
    assert (found.code, found.severity, found.schedule) == ("snapshot", "error", "main")
    assert found.tick == differing[0]
    first = int(differing[0])
    rows = read(SNAP)["main"].recording.rows
    known = np.concatenate([np.arange(row.first, row.last + 1) for row in rows])
    assert len(known) == len(then) or "of those recorded" in found.message
    known = np.intersect1d(differing, known)
    with np.errstate(divide="ignore"):
        sizes = (now - then)[known] / np.abs(then[known])
    told = re.search(
        r"lr was (\S+) and is (\S+) at tick (\d+), largest relative change (\S+)% (?:at tick (\d+)|there)",
        found.message,
    )
    assert told is not None, found.message
    assert float(told[1]) == pytest.approx(then[first], rel=1e-5)
    assert float(told[2]) == pytest.approx(now[first], rel=1e-5)
    assert told[1] != told[2]
    assert int(told[3]) == first
    at = int(told[5] or told[3])
    assert at == known[np.flatnonzero(np.abs(sizes) >= np.abs(sizes).max() * (1 - 1e-6))[0]], (
        "the first, but for rounding"
    )
    assert float(told[4]) / 100 == pytest.approx(sizes[known == at][0], rel=1e-2)
    assert f"{name} was " in found.message.partition("largest")[2] or name == "lr", "said once where it says the same"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"lr": 0.001}, {"lr": 0.002}, "lr was 0.001 and is 0.002 at tick 0, largest relative change +100% there"),
        ({"warmup": 5}, {"warmup": {"for": 5, "first": 1}},
         "lr was 0 and is 0.02 at tick 0, largest relative change from 0 to 0.02 there"),
        ({"kind": "tanh", "lr": 0.1}, {"kind": "tanh", "lr": 0.05},
         "lr was 0.0999999 and is 0.05 at tick 0, largest relative change -50% there; base lr was 0.1 and is 0.05"),
        ({"eta_min": 1e-3}, {"eta_min": 1.000001e-3},
         "lr was 0.0896126731 and is 0.0896126732 at tick 21, largest relative change +0.0000976% at tick 99"),
    ],
)  # fmt: skip
def test_a_change_reads_well(old: dict[str, Any], new: dict[str, Any], told: str) -> None:
    (found,) = after({"kind": "cosine", **old}, {"kind": "cosine", **new}, epochs=100)
    assert found.message.startswith(f"differs from schedules.lrsnap: {told}")


@pytest.mark.parametrize("kind", CANONICAL)
def test_nothing_is_found_where_nothing_changed(kind: str) -> None:
    example = {"kind": kind, **CANONICAL[kind].example}
    for run in ({"epochs": 100}, {"steps": 5000}, {"steps": 3_000_000}):
        if kind == "greedy" and "epochs" not in run:
            continue
        assert after(example, example, **run) == []


@pytest.mark.parametrize("kind", ["cosine", "linear", "exponential", "onecycle", "cyclic", "cosine-restarts", "wsd"])
def test_a_last_bit_is_not_a_change(kind: str) -> None:
    """Of another processor's cosine the last bits differ: the file is compared, not hashed."""
    write(entry({"kind": kind}, steps=5000), SNAP)
    lines = SNAP.read_text().splitlines()

    def nudged(word: str) -> str:
        return repr(math.nextafter(float(word), 1)) if re.fullmatch(r"\d\.\d{3,}(e-\d+)?", word) else word

    text = "\n".join(line if line.startswith("|") else " ".join(map(nudged, line.split(" "))) for line in lines)
    assert text != "\n".join(lines)
    SNAP.write_text(text)
    assert compare(entry({"kind": kind}, steps=5000), SNAP) == []


# Writing the same otherwise.

ONE_WAY = """\
run: {epochs: 100, steps_per_epoch: 10}
lr: 0.1
schedules:
  decay: {kind: step, step_size: 30ep, gamma: 0.1}
  wave:
    kind: cosine
    eta_min: 1e-5
    warmup: 5ep
    groups: {backbone: 0.1, head: 1}
"""
ANOTHER = """\
# The same, otherwise.
lr: 1e-1
run:
  steps_per_epoch: 10
  steps: 1000
schedules:
  decay:
    gamma: .1
    kind: step-decay  # by its other name
    step_size: 30%
  wave: {groups: {backbone: 1e-1, head: 1.0}, warmup: {for: 50, shape: linear}, eta_min: 0.00001, kind: cosine}
defaults: {optimizer: sgd}
"""


def test_another_way_to_write_the_same_is_no_change() -> None:
    write(plan(ONE_WAY), SNAP)
    before = SNAP.read_bytes()
    if "step-decay" not in CANONICAL["step"].aliases:
        pytest.fail("the alias is gone")
    assert compare(plan(ANOTHER), SNAP) == []
    written = write(plan(ANOTHER), SNAP)
    assert (written.new, written.changed, written.gone) == ([], {}, [])
    assert SNAP.read_bytes() == before, "not even the plan's hash differs"


def test_another_kind_with_the_same_rates_is_no_change() -> None:
    old, new = {"kind": "cosine", "T_max": 90}, {"kind": "torch.CosineAnnealingLR", "T_max": 90}
    assert after(old, new, epochs=90) == []
    assert after(old, new, epochs=90, steps_per_epoch=1000, interval="step") != []


def test_a_change_too_small_to_count_is_a_note() -> None:
    (found,) = after({"kind": "cosine", "eta_min": 1e-5}, {"kind": "cosine", "eta_min": 1.000001e-5}, epochs=100)
    assert found.severity == "note"
    assert "too little to count; eta_min was 1e-05 and is 1.000001e-05" in found.message


# Between the ticks that are recorded.


def test_a_change_at_any_tick_of_a_long_run_is_seen() -> None:
    """One rate of a hundred thousand, at no recorded tick: the sums show it."""
    base = "lr * (1 - t / total)"
    spec = {"kind": "expression", "expr": base}
    ticks = {row.first for row in recorded(simulate(spec, {"steps": 100_000}), "x").rows}
    hidden = next(tick for tick in range(40_001, 60_000) if tick not in ticks)
    changed = {"kind": "expression", "expr": f"{base} * (1 + 1e-6 * (t == {hidden}))"}
    (found,) = after(spec, changed, steps=100_000)
    assert found.severity == "error"
    bounds = re.search(r"between ticks (\d+) and (\d+)", found.message)
    assert bounds is not None, found.message
    assert int(bounds[1]) <= hidden <= int(bounds[2])
    assert found.tick == int(bounds[1])


def test_changes_that_cancel_in_a_sum_are_seen() -> None:
    spec = {"kind": "expression", "expr": "lr * (1 - t / total)"}
    swap = {"kind": "expression", "expr": "lr * (1 - t / total) + lr * 1e-4 * ((t == 50003) - (t == 50011))"}
    ticks = {row.first for row in recorded(simulate(spec, {"steps": 100_000}), "x").rows}
    assert not ticks & {50003, 50011}
    (found,) = after(spec, swap, steps=100_000)
    assert "between ticks 50000 and 56249" in found.message


def test_of_a_run_too_long_to_look_at_the_plan_tells() -> None:
    run = {"steps": 10**9}
    (found,) = after({"kind": "cosine", "eta_min": 0.01}, {"kind": "cosine", "eta_min": 0.0101}, **run)
    assert found.severity == "error"
    assert "agrees), largest relative change +1% " in found.message
    told = re.search(r"at tick (\d+) \(the first of those recorded; tick (\d+) agrees\)", found.message)
    assert told is not None
    then, now = (simulate({"kind": "cosine", "eta_min": e}, run).schedule for e in (0.01, 0.0101))
    assert abs(then(int(told[1])) - now(int(told[1]))) > 1e-10
    assert abs(then(int(told[2])) - now(int(told[2]))) < 1e-10
    same = {"kind": "torch.CosineAnnealingLR", "T_max": 10**9, "eta_min": 0.01}
    (found,) = after({"kind": "cosine", "eta_min": 0.01}, same, **run)
    assert found.severity == "warning"
    assert found.message.endswith("recorded ticks agree, but the run is too long to compare every tick")


@pytest.mark.parametrize("kind", CANONICAL)
def test_a_billion_steps_are_a_few_dozen_lines(kind: str) -> None:
    if CANONICAL[kind].cumulative or "metrics" in CANONICAL[kind].__dataclass_fields__:
        pytest.skip("its cost is its metric's")
    write(entry({"kind": kind, **CANONICAL[kind].example}, steps=10**9), SNAP)
    assert len(SNAP.read_text().splitlines()) < 180
    assert SNAP.stat().st_size < 16_000


# The run, the columns, the momentum.


def test_a_run_that_changed_is_told() -> None:
    spec = {"kind": "step", "step_size": 10}
    write(entry(spec, epochs=100), SNAP)
    (found,) = compare(entry(spec, epochs=120), SNAP)
    assert (found.severity, found.message) == (
        "error", "differs from schedules.lrsnap: its run was 100 epochs and is 120 epochs"
    )  # fmt: skip
    (found,) = compare(entry({"kind": "cosine"}, epochs=50), SNAP)
    assert found.tick == 1
    assert "its run was 100 epochs and is 50 epochs" in found.message
    (found,) = compare(entry(spec, steps=100), SNAP)
    assert "its run was 100 epochs and is 100 steps" in found.message


def test_momentum_and_groups_are_recorded() -> None:
    cycle = {"kind": "torch.OneCycleLR", "max_lr": 0.1, "total_steps": 50}
    (found,) = after(cycle, {**cycle, "max_momentum": 0.9500001}, epochs=50)
    assert found.tick == 0
    assert "momentum was 0.95 and is 0.9500001 at tick 0" in found.message
    grouped = {"kind": "cosine", "groups": {"a": 1, "b b": 0.1}}
    (found,) = after(grouped, {"kind": "cosine", "groups": {"a": 1, "b b": 0.2}}, epochs=50)
    assert "lr.b b was 0.01 and is 0.02 at tick 0" in found.message
    (found,) = after(grouped, {"kind": "cosine"}, epochs=50)
    assert found.message.endswith("it had lr.a, lr.b b and has lr")
    (found,) = after(cycle, {**cycle, "cycle_momentum": False}, epochs=50)
    assert "it had lr, momentum and has lr" in found.message


def test_what_fails_now_is_told() -> None:
    write(entry({"kind": "torch.OneCycleLR", "max_lr": 0.1, "total_steps": 50}, epochs=50), SNAP)
    (found,) = compare(entry({"kind": "torch.OneCycleLR", "max_lr": 0.1, "total_steps": 40}, epochs=50), SNAP)
    assert found.severity == "error"
    assert "fails now" in found.message


# Entries that come and go.

TWO = "schedules:\n  a: {kind: step}\n  b: {kind: cosine}\n"


def test_entries_that_come_and_go_are_found() -> None:
    write(plan(TWO), SNAP)
    findings = compare(plan("schedules:\n  b: {kind: cosine}\n  c c: {kind: linear}\n"), SNAP)
    assert [(f.severity, f.schedule, f.message, f.file) for f in findings] == [
        ("error", "c c", "is not in schedules.lrsnap", "schedules.yaml"),
        ("error", "schedules.yaml:a", "is in schedules.lrsnap, and not there any more", "schedules.lrsnap"),
    ]
    assert findings[0].line == 3
    written = write(find_targets(["schedules.yaml"]), SNAP)
    assert (written.new, written.gone, written.count) == (["schedules.yaml:c c"], ["schedules.yaml:a"], 2)
    assert compare(find_targets(["schedules.yaml"]), SNAP) == []


def test_one_entry_of_a_file_leaves_the_others_alone() -> None:
    entries = plan(TWO)
    write(entries, SNAP)
    assert compare(entries[:1], SNAP) == []
    text = SNAP.read_text()
    entries = plan(TWO.replace("step", "linear"))
    written = write(entries[:1], SNAP)
    assert list(written.changed) == ["schedules.yaml:a"]
    section = "schedule schedules.yaml:b"
    assert SNAP.read_text().partition(section)[2] == text.partition(section)[2] != ""


def test_other_files_are_kept_and_deleted_ones_told() -> None:
    write(plan(TWO), SNAP)
    write(plan("schedules: {x: {kind: step}}", "other.yaml"), SNAP)
    assert list(read(SNAP)) == ["schedules.yaml:a", "schedules.yaml:b", "other.yaml:x"]
    assert compare(find_targets(["schedules.yaml"]), SNAP) == []
    write(plan(TWO.replace("b:", "z: {kind: rex}\n  b:")), SNAP)
    assert list(read(SNAP))[2:] == ["schedules.yaml:z", "other.yaml:x"]
    Path("other.yaml").unlink()
    (found,) = compare(find_targets(["schedules.yaml"]), SNAP)
    assert found.schedule == "other.yaml:x"
    # A file of which nothing is recorded is worth a note, and a kind of the command line none.
    (found,) = compare(plan("schedules: {x: {kind: step}}", "third.yaml"), SNAP)[:1]
    assert (found.severity, found.schedule) == ("note", "x")
    Path("other.yaml").touch()
    assert compare(find_targets(["cosine"]), SNAP) == []


def test_a_file_is_the_same_however_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("conf/deep").mkdir(parents=True)
    entries = plan(TWO, "conf/s.yaml")
    assert key_of(entries[0], SNAP) == "conf/s.yaml:a"
    write(entries, SNAP)
    assert compare(find_targets([str(Path("conf/s.yaml").absolute())]), SNAP) == []
    assert compare(find_targets(["conf/deep/../s.yaml:b"]), SNAP) == []
    monkeypatch.chdir("conf/deep")
    assert compare(find_targets(["../s.yaml"]), Path("../../schedules.lrsnap")) == []


def test_writing_again_changes_no_byte() -> None:
    entries = plan(ONE_WAY)
    write(entries, SNAP)
    before = SNAP.read_bytes(), SNAP.stat().st_mtime_ns
    write(entries, SNAP)
    assert (SNAP.read_bytes(), SNAP.stat().st_mtime_ns) == before


# The regressions of others, made again: what a snapshot of a team's own scheduler would have shown.

PARLAI = """
# facebookresearch/ParlAI#4384: since #4242 the warm-up lasts while the last rate is below 1, which is for ever.
import torch
class Warm:
    def __init__(self, optimizer):
        self.n, self.optimizer = 0, optimizer
        self.warm = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min(1.0, 0.01 + n / 10))
        self.decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: max(0.0, 1 - n / 40))
        self.warm._initial_step()
    def warming(self):
        return {rule}
    def step(self):
        self.n += 1
        (self.warm if self.warming() else self.decay).step()
def make(optimizer):
    return Warm(optimizer)
"""
COQUI = """
# idiap/coqui-ai-Trainer#23: since #20 the scheduler is not stepped any more.
import torch
class Trainer:
    def __init__(self, optimizer):
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        self.scheduler_after_epoch = {rule}
    def step(self):
        if self.scheduler_after_epoch:
            self.scheduler.step()
def make(optimizer):
    return Trainer(optimizer)
"""
TORCH_11 = """
# pytorch/pytorch#22107: in 1.1 get_lr() gives the rate of one decay more at each milestone.
class Step:
    def __init__(self, optimizer):
        self.optimizer, self.n, self.rate = optimizer, 0, 0.1
    def step(self):
        self.n += 1
        if self.n % 3 == 0:
            self.rate *= 0.1
        extra = {rule}
        self.optimizer.param_groups[0]["lr"] = self.rate * extra
def make(optimizer):
    return Step(optimizer)
"""
TORCH_11_AGAIN = """
# pytorch/pytorch#20527, #21623: in 1.1 a step to the epoch that it is at multiplies the rate once more.
class Step:
    def __init__(self, optimizer):
        self.optimizer, self.batches, self.lr = optimizer, 0, 0.1
    def step(self):
        self.batches += 1
        self.to(self.batches // 2)
    def to(self, epoch):
        group = self.optimizer.param_groups[0]
        group["lr"] = {rule}
def make(optimizer):
    return Step(optimizer)
"""
REGRESSIONS = {
    "ParlAI": (PARLAI, "self.n < 10", "self.warm.get_last_lr()[0] < 1", 10),
    "coqui": (COQUI, "True", "False", 1),
    "torch 1.1 get_lr": (TORCH_11, "1", "0.1 if self.n % 3 == 0 else 1", 3),
    "torch 1.1 step(epoch)": (
        TORCH_11_AGAIN, "self.lr * 0.1 ** (epoch // 2)",
        "group['lr'] * 0.1 if epoch and epoch % 2 == 0 else group['lr']", 5,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REGRESSIONS)
def test_a_regression_of_a_teams_own_scheduler_is_seen(name: str) -> None:
    pytest.importorskip("torch")
    text, good, bad, tick = REGRESSIONS[name]
    code = Path("sched.py")
    code.write_text(text.replace("{rule}", good))
    word = "python:sched.py:make"
    plan(f"run: {{epochs: 30}}\nschedules: {{ours: {{kind: '{word}'}}}}")
    targets = [*find_targets([word]), *permitted(find_targets(["schedules.yaml"]), True)]
    targets[0] = targets[0].overlaid({}, Run(epochs=30))
    write(targets, SNAP)
    assert compare(targets, SNAP) == []
    code.write_text(text.replace("{rule}", bad))
    findings = compare(targets, SNAP)
    assert [(f.schedule, f.severity, f.tick) for f in findings] == [(word, "error", tick), ("ours", "error", tick)]


def test_the_published_rates_of_torch_1_1() -> None:
    """pytorch/pytorch#22107 prints them."""
    pytest.importorskip("torch")
    text, _, bad, _ = REGRESSIONS["torch 1.1 get_lr"]
    Path("sched.py").write_text(text.replace("{rule}", bad))
    lr = find_targets(["python:sched.py:make"])[0].overlaid({}, Run(epochs=10)).trace().lr
    published = [0.1, 0.1, 0.1, 0.001, 0.01, 0.01, 0.0001, 0.001, 0.001, 1e-5]
    np.testing.assert_allclose(lr, published, rtol=1e-12)


def test_every_tick_of_ones_own_code_is_recorded() -> None:
    Path("sched.py").write_text("def rate(step):\n    return 0.1 * 0.999**step + (1e-7 if step == 1234 else 0)\n")
    target = [entry.overlaid({}, Run(steps=1900)) for entry in find_targets(["python:sched.py:rate"])]
    write(target, SNAP)
    Path("sched.py").write_text("def rate(step):\n    return 0.1 * 0.999**step\n")
    (found,) = compare(target, SNAP)
    assert found.tick == 1234
