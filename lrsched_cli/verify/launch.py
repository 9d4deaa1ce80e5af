"""What to do about a launch that calls ``step()`` otherwise than the plan has it."""

from __future__ import annotations

from lrsched_cli.book import Entry
from lrsched_cli.run import read_stepper
from lrsched_cli.trace import Trace
from lrsched_cli.verify.rules_parts import CYCLES, ENDS, STAIRS
from lrsched_cli.verify.rules_plan import Plan


def advice_on(entry: Entry, meant: Trace) -> str:
    """How to make a launch follow a plan: when to step, or the lengths to give it instead."""
    run = entry.run
    assert run.stepper is not None
    name, _ = read_stepper(run.stepper)
    by_epoch, per_epoch = meant.clock.interval == "epoch", meant.clock.steps_per_epoch or 1
    if name == "amp-skip":
        return "step the scheduler at every update, skipped or not"
    if name == "epoch":
        return f"step the scheduler once an update, or divide {_lengths(entry, meant)} by {per_epoch:,}"
    if name == "accelerate":
        once, factor = "keep the scheduler out of accelerator.prepare()", run.world_size or 1
    else:
        once = f"step the scheduler once an {'epoch' if by_epoch else 'update'}"
        batches = run.grad_accumulation or 1 if name == "micro-batch" else 1
        factor = batches * (per_epoch if by_epoch else 1)
    return f"{once}, or multiply {_lengths(entry, meant)} by {factor:,}"


def _lengths(entry: Entry, meant: Trace) -> str:
    """The parameters of a plan that are lengths, as far as it says any."""
    plan = Plan(entry, meant)
    keys = [key for part in plan.parts for key, _ in part.named((*ENDS, *CYCLES, *STAIRS))]
    keys += [drops[0] for part in plan.parts if (drops := part.drops()) is not None]
    keys += [rise.key for rise in plan.anatomy.rises if rise.key is not None]
    said = [key for key in dict.fromkeys(keys) if plan.said(key)]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said) or "its length"
