"""``keras_schedule`` in a real, compiled ``fit`` of Keras on two of its backends: every rate is the plan's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrsched_cli as lrs
from tests.support import message_of

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
pytestmark = pytest.mark.filterwarnings("ignore")

STEPS = 24
ENTRIES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"kind": "cosine", "warmup": 5, "lr": 0.1}, {"steps": STEPS}),
    ({"kind": "step", "step_size": 7, "gamma": 0.5, "lr": 0.1}, {"steps": STEPS}),
    ({"kind": "onecycle", "lr": 0.1}, {"steps": STEPS}),
    ({"kind": "exponential", "lr": 0.1}, {"epochs": 4, "steps_per_epoch": 6, "interval": "epoch"}),
]

#: Trains a weight whose gradient is 1 with SGD, so that it moves by the rate; saved in the middle, and loaded again.
SCRIPT = """
import json, sys
import numpy as np
import keras
import lrsched_cli as lrs

entries, folder = json.loads(sys.argv[1]), sys.argv[2]

class Weight(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.values = []
    def on_train_begin(self, logs=None):
        self.look()
    def on_train_batch_end(self, batch, logs=None):
        self.look()
    def look(self):
        self.values.append(float(self.model.get_weights()[0][0, 0]))

def moves(model, epochs):
    weight = Weight()
    data = np.ones((12, 1), "float32")
    model.fit(data, data, batch_size=2, epochs=epochs, shuffle=False, verbose=0, callbacks=[weight])
    return (-np.diff(weight.values)).tolist()

def identity(truth, guess):
    return keras.ops.mean(guess)

out = []
for number, (entry, run) in enumerate(entries):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    schedule = lrs.keras_schedule(entry, run)
    model.compile(keras.optimizers.SGD(schedule), loss=identity)
    moved = moves(model, 2)
    model.save(f"{folder}/{number}.keras")
    model = keras.models.load_model(f"{folder}/{number}.keras", custom_objects={"identity": identity})
    assert type(model.optimizer._learning_rate).__name__ == "PlannedSchedule"
    config = json.dumps(schedule.get_config())
    same = type(schedule).from_config(json.loads(config))
    out.append({
        "moved": moved + moves(model, 2),
        "asked": [float(schedule(tick)) for tick in range(30)],
        "again": [float(same(tick)) for tick in range(30)],
    })
print(json.dumps({"backend": keras.backend.backend(), "out": out}))
"""


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_every_update_uses_the_rate_of_the_plan(backend: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(ENTRIES), str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": backend}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["backend"] == backend
    for (entry, run), found in zip(ENTRIES, told["out"], strict=True):
        trace = lrs.simulate(entry, run)
        updates = run.get("steps_per_epoch", 1)
        rates = np.repeat(trace.lr, updates)
        # A weight is a float32 too, and so is the difference of two.
        np.testing.assert_allclose(found["moved"], rates, rtol=1e-5, atol=3e-7)
        later = np.repeat(trace.lr_after[-1], 6)
        np.testing.assert_allclose(found["asked"], [*rates, *later], rtol=1e-6, atol=1e-9)
        assert found["again"] == found["asked"]


def test_it_is_a_schedule_of_keras() -> None:
    schedule = lrs.keras_schedule("cosine", {"steps": 10, "lr": 0.2})
    assert isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule)
    assert schedule.get_config() == {
        "target": {"kind": "cosine"}, "run": {"steps": 10, "lr": 0.2}, "group": None, "ticks": None
    }  # fmt: skip
    optimizer = keras.optimizers.Adam(schedule)
    assert float(optimizer.learning_rate) == pytest.approx(0.2)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert float(again.learning_rate) == pytest.approx(0.2)
    assert float(schedule(np.int64(5))) == pytest.approx(0.1)


def test_a_files_entry_is_saved_with_all_that_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "run: {steps: 20}\nlr: 0.3\ndefaults: {eta_min: 1e-3}\nschedules: {main: {kind: cosine, warmup: {for: 10%}}}"
    (tmp_path / "plan.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    config = lrs.keras_schedule("plan.yaml:main").get_config()
    monkeypatch.chdir(tmp_path.parent)
    assert json.loads(json.dumps(config)) == {
        "target": {"kind": "cosine", "warmup": {"for": "10%"}, "eta_min": 0.001},
        "run": {"steps": 20, "lr": 0.3}, "group": None, "ticks": None,
    }  # fmt: skip
    again = type(lrs.keras_schedule("cosine", {"steps": 3})).from_config(config)
    assert float(again(2)) == pytest.approx(0.3)
    assert float(again(20)) == pytest.approx(0.001)


def test_a_schedule_built_in_python_cannot_be_saved() -> None:
    schedule = lrs.keras_schedule(lrs.simulate({"kind": "cosine"}, {"steps": 10}))
    assert float(schedule(5)) == pytest.approx(0.05)
    told = "cosine: was built in Python, and cannot be saved: give keras_schedule a mapping"
    assert message_of(schedule.get_config) == told


def test_what_cannot_be_a_schedule_is_refused() -> None:
    told = "plateau: reacts to a metric, and Keras's schedules see only the update's number"
    assert message_of(lrs.keras_schedule, "plateau") == told
    told = "cosine: is too long for Keras: a table of its rates holds 4000000 ticks at most, got 5000001"
    assert message_of(lrs.keras_schedule, "cosine", {"steps": 5_000_000}) == told
    told = "Keras counts updates, and cosine ticks by epoch: say steps in its run, or steps_per_epoch too"
    assert message_of(lrs.keras_schedule, "cosine") == told
