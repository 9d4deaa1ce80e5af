"""Each rule finds what it is for, in a plan made from a cited issue, and nothing in the same plan repaired."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from lrsched_cli.book import read_book
from lrsched_cli.verify.check import check
from lrsched_cli.verify.findings import Finding
from lrsched_cli.verify.rules import rules


class Case(NamedTuple):
    """A rule, the issue that a plan is made from, the plan, the same repaired, and what the message must say."""

    code: str
    issue: str
    broken: str
    repaired: str
    says: str


CASES = [
    Case(
        "warmup-too-long",
        "axolotl-ai-cloud/axolotl#2897",
        "run: {steps: 10}\nlr: 1.0\n"
        "schedules: {a: {kind: transformers.linear, num_warmup_steps: 15, num_training_steps: 10}}",
        "run: {steps: 10}\nlr: 1.0\n"
        "schedules: {a: {kind: transformers.linear, num_warmup_steps: 1, num_training_steps: 10}}",
        "it ends at 0.6, 60% of the full rate",  # [run] in transformers: peaks at 0.6 of the rate
    ),
    Case(
        "horizon-exceeded",
        "A4Bio/PiFold#6",
        "run: {steps: 100002}\nschedules: {a: {kind: torch.OneCycleLR, max_lr: 0.001, total_steps: 100000}}",
        "run: {steps: 100000}\nschedules: {a: {kind: torch.OneCycleLR, max_lr: 0.001, total_steps: 100000}}",
        "at tick 100,001 of 100,002",
    ),
    Case(
        "never-fires",
        "open-mmlab/mmdetection#351",
        "run: {epochs: 12}\nschedules: {a: {kind: torch.MultiStepLR, milestones: [16, 22]}}",
        "run: {epochs: 12}\nschedules: {a: {kind: torch.MultiStepLR, milestones: [8, 11]}}",
        "16, 22 are not reached; the last tick is 11, and 0 of 2 drops happen",
    ),
    Case(
        "unit-mismatch",
        "ScrollPrize/villa#1495",
        "run: {epochs: 280, steps_per_epoch: 500}\nschedules: {a: {kind: torch.CosineAnnealingLR, T_max: 280}}",
        "run: {epochs: 280, steps_per_epoch: 500}\nschedules: {a: {kind: torch.CosineAnnealingLR, T_max: 280ep}}",
        "T_max 280 counts steps here, 0.20% of 140,000, 56% of an epoch",
    ),
    Case(
        "unit-mismatch",
        "pytorch/pytorch#65417",
        "run: {epochs: 100}\nschedules: {a: {kind: torch.OneCycleLR, max_lr: 0.1, epochs: 100, steps_per_epoch: 391}}",
        "run: {epochs: 100, steps_per_epoch: 391}\n"
        "schedules: {a: {kind: torch.OneCycleLR, max_lr: 0.1, epochs: 100, steps_per_epoch: 391}}",
        "391 times the run's 100",
    ),
    Case(
        "steps-dont-divide",
        "Lightning-AI/pytorch-lightning#21808",
        "run: {epochs: 3, dataset_size: 100, batch_size: 8, grad_accumulation: 4}\nschedules: {a: {kind: cosine}}",
        "run: {epochs: 3, dataset_size: 128, batch_size: 8, grad_accumulation: 4}\nschedules: {a: {kind: cosine}}",
        "13 batches an epoch are 4 updates of 4, the last of 1",
    ),
    Case(
        "peak-never-reached",
        "microsoft/Swin-Transformer#277",
        "run: {epochs: 10}\nlr: 1.0\n"
        "schedules: {a: {kind: timm.CosineLRScheduler, t_initial: 10, warmup_t: 3, lr_min: 0.01}}",
        "run: {epochs: 13}\nlr: 1.0\n"
        "schedules: {a: {kind: timm.CosineLRScheduler, t_initial: 10, warmup_t: 3, lr_min: 0.01, "
        "warmup_prefix: true}}",
        "the highest rate used is 0.796, 79.6% of the 1 that is asked for",  # the table of PAINS.md: .796
    ),
    Case(
        "peak-never-reached",
        "pytorch/torchtitan#1284",
        "run: {steps: 10}\nschedules: {a: {kind: torch.OneCycleLR, max_lr: 1.0, total_steps: 10, pct_start: 0.25}}",
        "run: {steps: 10}\nschedules: {a: {kind: torch.OneCycleLR, max_lr: 1.0, total_steps: 10, pct_start: 0.2}}",
        "of the 1 that is asked for",
    ),
    Case(
        "rate-jumps",
        "huggingface/pytorch-image-models#1242",
        "run: {epochs: 100}\nschedules:\n  a:\n    sequence:\n"
        "      - {kind: linear, start_factor: 0.01, lr: 0.05, for: 10}\n      - {kind: cosine, lr: 0.1}\n",
        "run: {epochs: 100}\nschedules:\n  a:\n    sequence:\n"
        "      - {kind: linear, start_factor: 0.01, lr: 0.1, for: 10}\n      - {kind: cosine, lr: 0.1}\n",
        "the rate jumps up from 0.04505 to 0.1, 2.22 times, where linear hands over to cosine",
    ),
    Case(
        "rebounds",
        "RuiningLi/particulate#22",
        "run: {steps: 150}\nschedules: {a: {kind: transformers.cosine, num_warmup_steps: 1, num_training_steps: 100}}",
        "run: {steps: 100}\nschedules: {a: {kind: transformers.cosine, num_warmup_steps: 1, num_training_steps: 100}}",
        "is over at tick 100 and the run goes on to 149: the rate climbs from 0 back to 0.0",
    ),
    Case(
        "not-a-restart",
        "ivadomed/ivadomed#57",
        "run: {epochs: 200}\nschedules: {a: {kind: torch.CosineAnnealingLR, T_max: 20, eta_min: 0.001}}",
        "run: {epochs: 200}\nschedules: {a: {kind: torch.CosineAnnealingWarmRestarts, T_0: 20, eta_min: 0.001}}",
        "10 half waves in 200 epochs",
    ),
    Case(
        "not-annealed",
        "wandb/senpai#1065",
        "run: {epochs: 50}\nschedules: {a: {kind: cosine, T_max: 100}}",
        "run: {epochs: 50}\nschedules: {a: {kind: cosine}}",
        "the run ends at tick 49 at 0.05157, 51.6% of the peak",
    ),
    Case(
        "ends-mid-cycle",
        "pytorch/pytorch#95122",
        "run: {steps: 14}\nschedules: {a: {kind: torch.CosineAnnealingWarmRestarts, T_0: 4, T_mult: 2}}",
        "run: {steps: 12}\nschedules: {a: {kind: torch.CosineAnnealingWarmRestarts, T_0: 4, T_mult: 2}}",
        "the run ends at tick 13 at 0.09904, 99% of the peak",  # [run]: 0.99 of peak
    ),
    Case(
        "goes-dead",
        "InternLM/xtuner#386",
        "run: {epochs: 20}\nschedules: {a: {kind: torch.PolynomialLR}}",
        "run: {epochs: 20}\nschedules: {a: {kind: torch.PolynomialLR, total_iters: 20}}",
        "(its total_iters is 5 unless given): the rate stays at 0 for the last 15 epochs of 20",
    ),
    Case(
        "not-positive",
        "pytorch/torchtitan#1010",
        "run: {steps: 120}\n"
        "schedules: {a: {kind: torchtitan.LRSchedulersContainer, warmup_steps: 1, total_steps: 100}}",
        "run: {steps: 100}\n"
        "schedules: {a: {kind: torchtitan.LRSchedulersContainer, warmup_steps: 1, total_steps: 100}}",
        "at tick 101, and falls to -0.019",
    ),
    Case(
        "zero-rate",
        "LINCellularNeuroscience/VAME#26",
        "run: {epochs: 110}\nschedules: {a: {kind: expression, expr: lr if t < 100 else 0}}",
        "run: {epochs: 110}\nschedules: {a: {kind: expression, expr: lr if t < 100 else lr / 10}}",
        "the rate is 0 from tick 100 on: the last 10 epochs train nothing",
    ),
    Case(
        "first-update-zero",
        "huggingface/transformers#34754",
        "run: {steps: 100}\nschedules: {a: {kind: linear, warmup: 10}}",
        "run: {steps: 100}\nschedules: {a: {kind: linear, warmup: {for: 10, first: 1}}}",
        "the first update has a rate of 0",
    ),
    Case(
        "rate-overwritten",
        "deepspeedai/DeepSpeed#7303",
        "run: {steps: 100}\nschedules: {a: {kind: torch.OneCycleLR, lr: 5e-7, max_lr: 0.001, total_steps: 100}}",
        "run: {steps: 100}\nschedules: {a: {kind: torch.OneCycleLR, max_lr: 0.001, total_steps: 100}}",
        "lr 5e-07 is not used",
    ),
    Case(
        "groups-collapsed",
        "katsura-jp/pytorch-cosine-annealing-with-warmup#14",
        "run: {steps: 100}\n"
        "schedules: {a: {kind: torch.OneCycleLR, max_lr: 0.1, total_steps: 100, groups: {backbone: 0.1, head: 1}}}",
        "run: {steps: 100}\nschedules: {a: {kind: onecycle, groups: {backbone: 0.1, head: 1}}}",
        "groups backbone and head have the same rate throughout, at most 0.1",
    ),
    Case(
        "momentum-out-of-range",
        "deepspeedai/DeepSpeed#8589",
        "run: {steps: 4000}\nschedules: {a: {kind: deepspeed.OneCycle, cycle_min_lr: 0.001, cycle_max_lr: 0.1, "
        "cycle_first_step_size: 1000, decay_step_size: 1000, decay_lr_rate: 1, decay_mom_rate: 0.2, "
        "optimizer: adam}}",
        "run: {steps: 4000}\nschedules: {a: {kind: deepspeed.OneCycle, cycle_min_lr: 0.001, cycle_max_lr: 0.1, "
        "cycle_first_step_size: 1000, decay_step_size: 1000, decay_lr_rate: 1, optimizer: adam}}",
        "it must be >= 0 and < 1",
    ),
    Case(
        "warmup-ignored",
        "y0ast/Glow-PyTorch#3",
        "run: {steps: 100}\nschedules: {a: {kind: transformers.constant, num_warmup_steps: 10}}",
        "run: {steps: 100}\nschedules: {a: {kind: transformers.constant_with_warmup, num_warmup_steps: 10}}",
        "num_warmup_steps 10 does nothing: the first rate is already 0.1",
    ),
    Case(
        "floor-above-rate",
        "facebookresearch/fairseq#2916",
        "run: {epochs: 100}\nschedules: {a: {kind: torch.CosineAnnealingLR, lr: 0.001, T_max: 100, eta_min: 0.1}}",
        "run: {epochs: 100}\nschedules: {a: {kind: torch.CosineAnnealingLR, lr: 0.1, T_max: 100, eta_min: 0.001}}",
        "eta_min 0.1 is above the rate 0.001",
    ),
    Case(
        "rate-jumps",
        "salesforce/LAVIS#72",
        "run: {steps: 1000}\nschedules: {a: {kind: torch.LambdaLR, "
        "lr_lambda: 'lambda t: t / 100 if t < 10 else 1 - (t - 10) / 1000'}}",
        "run: {steps: 1000}\nschedules: {a: {kind: torch.LambdaLR, "
        "lr_lambda: 'lambda t: t / 10 if t < 10 else 1 - (t - 10) / 1000'}}",
        "jumps up from 0.009 to 0.1, 11.11 times, at the end of a rise by 0.001 a tick",
    ),
    Case(
        "unused-ignore",
        "ruff's RUF100",
        "run: {epochs: 100}\nschedules: {a: {kind: cosine, ignore: {goes-dead: it is held}}}",
        "run: {epochs: 100}\nschedules: {a: {kind: cosine, T_max: 50, ignore: {goes-dead: it is held}}}",
        "ignore names goes-dead, which finds nothing here",
    ),
]
#: What else is truly to be said of a broken plan: it follows from the fault, and is not told by it.
BESIDE = {"not-a-restart": {"rebounds"}, "groups-collapsed": {"rate-overwritten"}}


def found(tmp_path: Path, plan: str) -> list[Finding]:
    path = tmp_path / "plan.yaml"
    path.write_text(plan)
    return check(list(read_book(path).entries.values()))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code} {case.issue}")
def test_a_rule_finds_the_fault_of_an_issue(tmp_path: Path, case: Case) -> None:
    findings = found(tmp_path, case.broken)
    (mine,) = [finding for finding in findings if finding.code == case.code]
    assert case.says in mine.message
    worse = {finding.code for finding in findings if finding.severity != "note"} - BESIDE.get(case.code, set())
    assert worse <= {case.code}, findings
    assert mine.line is not None
    assert mine.advice[0].isupper()
    assert mine.advice.endswith(".")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code} {case.issue}")
def test_the_repaired_plan_is_clean(tmp_path: Path, case: Case) -> None:
    findings = found(tmp_path, case.repaired)
    assert [finding for finding in findings if finding.severity != "note" or finding.code == case.code] == []


def test_every_rule_has_a_fixture() -> None:
    assert {case.code for case in CASES} == set(rules()) - {"snapshot"}


def test_every_rule_explains_itself() -> None:
    for rule in rules().values():
        assert rule.summary[0].islower()
        assert len(rule.explanation.split("\n\n")) >= 3 or rule.code == "snapshot", rule.code
        assert "#" in rule.explanation or rule.code == "unused-ignore", f"{rule.code} cites nothing"
        assert set(rule.covers) <= set(rules())
    for case in CASES:
        assert case.code in rules()
