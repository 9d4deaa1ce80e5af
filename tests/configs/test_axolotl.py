"""axolotl's YAML."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.configs.support import entry, refusal, traced
from tests.support import agree

LR = 0.01


def config(text: str = "", **options: Any) -> str:
    """A small axolotl file with lines added; those with a name that is there already replace it."""
    lines = {
        "base_model": "example/base",
        "micro_batch_size": 2,
        "gradient_accumulation_steps": 4,
        "num_epochs": 2,
        "lr_scheduler": "cosine",
        "learning_rate": LR,
        "warmup_steps": 5,
        **options,
    }
    return "ax.yml\n" + "".join(f"{key}: {value}\n" for key, value in lines.items() if value is not None) + text


def up(t: int, warmup: int = 5) -> float:
    return LR * t / warmup


def wave(t: int, total: int, warmup: int = 5) -> float:
    return max(0.0, 0.5 * (1 + math.cos(math.pi * (t - warmup) / max(1, total - warmup))))


def test_its_own_count_of_steps_rounds_once() -> None:
    """1,001 samples for 3 epochs in batches of 2 * 4 * 3: 126 updates, where a Trainer would count 3 * 42."""
    found = entry("axolotl.yml", {"dataset_size": 1001, "world_size": 3})
    total = math.ceil(1001 * 3 / 24)
    assert found.run.steps == total == 126
    warmup = int(0.1 * total)
    assert warmup == 12
    assert found.notes == ("warmup_ratio 0.1: 12 steps of warm-up, rounded down as axolotl does",)
    rates = [2e-4 * t / 12 if t < 12 else 2e-4 * wave(t, total, 12) for t in range(total)]
    agree(found.trace().lr, rates)


def test_max_steps_and_options() -> None:
    assert entry(config(max_steps=30)).run.steps == 30
    assert entry(config(max_steps=30), {"steps": 12}).run.steps == 12
    assert entry(config(max_steps=30), {"epochs": 3, "steps_per_epoch": 9}).run.steps == 27
    assert entry(config(num_epochs=1.5), {"steps_per_epoch": 9}).run.steps == 14
    assert entry(config(), None, num_training_steps=17).run.steps == 17
    free = entry(config(num_epochs=None, lr_scheduler=None, sequence_len=9, adapter="lora"), {"steps_per_epoch": 9})
    assert free.run.steps == 9
    assert free.notes == ("not in the file, so as axolotl has it: lr_scheduler cosine, num_epochs 1.0",)


def test_warm_up_without_a_word_is_3_percent() -> None:
    found = entry(config(warmup_steps=None), {"steps": 200})
    assert found.spec["num_warmup_steps"] == 6
    assert found.notes == ("no warm-up is given, so axolotl warms up for 6 steps: 3% and 100 at most",)
    zero = entry(config(warmup_steps=0), {"steps": 10_000})
    assert zero.spec["num_warmup_steps"] == 100
    assert zero.notes == ("warmup_steps 0 counts as none given, so axolotl warms up for 100 steps: 3% and 100 at most",)


def test_a_warm_up_of_1_is_2() -> None:
    found = entry(config(warmup_steps=1), {"steps": 20})
    assert found.spec["num_warmup_steps"] == 2
    assert found.notes == ("axolotl makes 2 steps of a warm-up of 1",)


def test_a_floor_is_transformers_cosine_with_min_lr() -> None:
    found = entry(config(cosine_min_lr_ratio=0.1), {"steps": 40})
    assert found.spec["kind"] == "transformers.cosine_with_min_lr"
    agree(found.trace().lr, [up(t) if t < 5 else LR * (0.1 + 0.9 * wave(t, 40)) for t in range(40)])
    # 0 is false in the code that asks for it.
    assert entry(config(cosine_min_lr_ratio=0), {"steps": 40}).spec["kind"] == "transformers.cosine"


def test_a_floor_that_is_reached_early() -> None:
    """cosine_constant_lr_ratio: down until int(41 * 0.6) = 24, then flat."""
    rates = traced(config(cosine_min_lr_ratio=0.1, cosine_constant_lr_ratio=0.6), {"steps": 41}).lr
    agree(rates, [up(t) if t < 5 else LR * (0.9 * wave(min(t, 24), 24) + 0.1) for t in range(41)])
    alone = entry(config(cosine_constant_lr_ratio=0.6), {"steps": 41})
    assert alone.notes == ("axolotl ignores cosine_constant_lr_ratio without cosine_min_lr_ratio",)


def test_a_quadratic_warm_up() -> None:
    found = entry(config(lr_quadratic_warmup="true", cosine_min_lr_ratio=0.1), {"steps": 30})
    agree(found.trace().lr, [LR * (t / 5) ** 2 if t < 5 else LR * wave(t, 30) for t in range(30)])
    assert found.notes == ("axolotl ignores cosine_min_lr_ratio with lr_quadratic_warmup",)


def test_one_cycle_is_torchs() -> None:
    """pct_start is the share of the warm-up; the rest is torch's default."""
    found = entry(config(lr_scheduler="one_cycle"), {"steps": 50})
    assert found.spec["kind"] == "torch.OneCycleLR"
    assert {name: found.spec[name] for name in ("max_lr", "total_steps", "pct_start")} == {
        "max_lr": LR,
        "total_steps": 50,
        "pct_start": 0.1,
    }
    low, end = LR / 25, LR / 25 / 1e4

    def phase(start: float, stop: float, x: float) -> float:
        return stop + (start - stop) / 2 * (1 + math.cos(math.pi * x))

    rates = [phase(low, LR, t / 4) if t <= 4 else phase(LR, end, (t - 4) / 45) for t in range(50)]
    agree(found.trace().lr, rates)
    own = entry(config("lr_scheduler_kwargs: {pct_start: 0.5}\n", lr_scheduler="one_cycle"), {"steps": 50})
    assert own.spec["pct_start"] == 0.5


def test_rex_begins_past_its_warm_up() -> None:
    """RexLR counts from 0 - warmup_steps, modulo the rest, before its first step: 12 % 28 of 28 are left there."""
    found = entry(config(lr_scheduler="rex", warmup_steps=12, cosine_min_lr_ratio=0.2), {"steps": 40})

    def rex(z: float) -> float:
        return LR * (0.2 + 0.8 * z / (0.1 + 0.9 * z))

    rates = [rex(12 / 28), *(LR * t / 12 for t in range(1, 13)), *(rex((28 - (t - 12)) / 28) for t in range(13, 40))]
    agree(found.trace().lr, rates)
    assert found.notes == (f"axolotl's RexLR uses {rates[0]:g} for update 0, before a warm-up that starts near 0",)


def test_rex_is_the_class_itself() -> None:
    """The same rule, written as the class is, over many lengths."""
    for total, warmup, floor in [(40, 12, 0.0), (40, 20, 0.1), (9, 2, 0.0), (10, 10, 0.3), (200, 6, 0.0), (7, 5, 0.5)]:
        rates = []
        for step in range(total):
            after, rest = step - warmup, total - warmup
            if 1 <= step <= warmup:
                rates.append(LR * step / warmup)
            elif after >= rest or after == -1 or rest <= 0:
                rates.append(LR * floor)
            else:
                z = (rest - after % rest) / rest
                rates.append(LR * (floor + (1 - floor) * z / (0.1 + 0.9 * z)))
        text = config(lr_scheduler="rex", warmup_steps=warmup, cosine_min_lr_ratio=floor)
        agree(traced(text, {"steps": total}).lr, rates)
    assert refusal(config(lr_scheduler="rex", warmup_steps=12), {"steps": 10}) == (
        "ax.yml:7: warmup_steps is 12, and RexLR refuses more than the 10 steps of training"
    )


def test_what_is_ignored_is_told() -> None:
    found = entry(config("lr_scheduler_kwargs: {num_cycles: 2}\n", cosine_min_lr_ratio=0.1), {"steps": 30})
    assert found.notes == ("axolotl ignores lr_scheduler_kwargs with cosine_min_lr_ratio",)
    linear = entry(config(lr_scheduler="linear", cosine_min_lr_ratio=0.1), {"steps": 30})
    assert linear.notes == ("axolotl ignores cosine_min_lr_ratio with linear",)
    several = entry(config(embedding_lr=0.1, deepspeed="zero2.json"), {"steps": 30})
    assert several.notes == (
        "embedding_lr gives some parameters other rates than these",
        "if zero2.json has a scheduler of its own, that takes the place of this one: lrsched plot zero2.json",
    )


def test_a_rate_in_text_is_a_number_to_axolotl() -> None:
    assert entry(config(learning_rate="'2e-5'"), {"steps": 9}).spec["lr"] == 2e-5


def test_a_plateau_ticks_with_its_metric() -> None:
    found = entry(config(lr_scheduler="reduce_lr_on_plateau"), None, metrics=[1.0, 2.0])
    assert found.notes[0].startswith("a tick is an evaluation here")
    agree(found.trace().lr, [LR, LR])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr_scheduler": "log_sweep"}, "ax.yml:5: lr_scheduler is no scheduler that is known here: 'log_sweep'"),
        (
            {"lr_scheduler": "one-cycle"},
            ("ax.yml:5: lr_scheduler is no scheduler that is known here: 'one-cycle' (did you mean one_cycle?)"),
        ),
        ({"learning_rate": None}, "ax.yml: learning_rate must be a number, and axolotl requires one, got None"),
        ({"learning_rate": "fast"}, "ax.yml:6: learning_rate must be a number, and axolotl requires one, got 'fast'"),
        ({"warmup_ratio": 0.1}, "ax.yml:8: warmup_ratio stands beside warmup_steps, and axolotl refuses both"),
        ({"warmup_steps": 0.1}, "ax.yml:7: warmup_steps must be a whole number >= 0, got 0.1"),
        ({"warmup_steps": None, "warmup_ratio": 3}, "ax.yml:7: warmup_ratio must be from 0 to 1, got 3"),
        ({"cosine_min_lr_ratio": 3}, "ax.yml:8: cosine_min_lr_ratio must be from 0 to 1, got 3"),
        ({"relora": "true"}, "ax.yml:8: relora restarts the schedule while it trains, which is not read"),
        ({"num_epochs": 0}, "ax.yml:4: num_epochs must be > 0, got 0"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    run = None if "num_epochs" in options else {"steps": 20}
    assert refusal(config(**options), run) == message


def test_what_the_command_line_must_add_is_named() -> None:
    told = "ax.yml: does not say how many "
    assert refusal(config()) == told + "steps training has: add --steps, or --steps-per-epoch, or --dataset-size"
    assert refusal(config(), {"dataset_size": 10}) == told + "processes share the data: add --world-size"
    packed = refusal(config(sample_packing="true"), {"dataset_size": 10, "world_size": 1})
    assert packed == (
        told + "steps training has, as sample_packing makes them depend on more than its size: add --steps: axolotl "
        "prints total_num_steps"
    )
