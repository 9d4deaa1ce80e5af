"""Rules about the shape of the curve: where it jumps, climbs again, stops or ends."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lrsched_cli.verify.rules import rule
from lrsched_cli.verify.rules_parts import Join, Part, formula_of
from lrsched_cli.verify.rules_plan import SAME, Fault, Plan, number, percent
from lrsched_cli.verify.rules_ramp import TIMES, VISIBLE, Leap, leap_of

#: What a launch may miss of the peak because it steps over it.
STEPPED_OVER = 0.001
#: A smaller rise, or a peak missed by less, is only noted.
SLIGHT = 0.01
#: A decay has ended well where less than this part of it is left.
LEFT = 0.1
#: A rate that is held for this part of the run was left to its own.
DEAD = 0.25
#: Kinds that hold a rate because that is what they are for.
HOLDING = ("swa", "torch.SWALR", "range-test", "deepspeed.LRRangeTest")


@rule(
    "peak-never-reached",
    "warning",
    "the highest rate used stays below the one that was asked for",
    covers=("ends-mid-cycle",),
)
def peak_never_reached(plan: Plan) -> Iterator[Fault]:
    """No update uses the rate that the plan names as its peak.

    timm's schedulers run during their own warm-up unless warmup_prefix is set: the warm-up leads to the full rate, and
    the curve that takes over has already left it (a peak of 0.796 for a warm-up of 3 in 10). OneCycleLR puts its peak
    between two updates where pct_start * total_steps is no whole number. A miss of less than 1% is only noted.

    Seen in microsoft/Swin-Transformer#277, huggingface/pytorch-image-models#1242, pytorch/torchtitan#1284 ("max
    learning rate is not reaching 1"), axolotl-ai-cloud/axolotl#1170.

    Set warmup_prefix, or make pct_start * total_steps a whole number.
    """
    found = max(((asked, key) for part in plan.parts for asked, key in _asked(plan, part)), default=None)
    if found is None or plan.end < plan.total:
        return
    asked, key = found
    missed = 1 - plan.peak / asked if asked > 0 else 0.0
    if missed > (1e-6 if plan.advice is None else STEPPED_OVER):
        yield Fault(
            f"the highest rate used is {number(plan.peak)}, {percent(plan.peak / asked)} "
            f"of the {number(asked)} that is asked for",
            _towards_peak(plan),
            plan.peak_tick,
            key,
            None if missed > SLIGHT else "note",
        )


def _asked(plan: Plan, part: Part) -> Iterator[tuple[float, str | None]]:
    """The rate that a part names as its peak, if it names one."""
    if part.start >= plan.end:
        return
    for name in ("max_lr", "cycle_max_lr", "peak_value", "peak_lr", "warmup_max_lr", "warmup_target"):
        peak = part.number(name)
        if peak is not None and getattr(part.schedule, "mode", "") != "exp_range" and not _climbs_freely(part):
            yield peak, name
            return
    warm = any(rise.end > 0 for rise in plan.anatomy.rises)
    alone = part.kind == "torch.ConstantLR" and len(plan.parts) == 1
    if (warm and not part.stepped) or alone or part.kind == "torch.LinearLR":
        if part.kind == "torch.LinearLR" and part.schedule.end_factor < 1:  # type: ignore[attr-defined]
            return
        if part.kind in ("linear", "factor", "inverse-sqrt", "piecewise", "product") or part.cyclic:
            return
        base = part.number("lr")
        if base is not None:
            yield base, next((rise.key for rise in plan.anatomy.rises), None)


def _climbs_freely(part: Part) -> bool:
    """Whether its largest rate is a bound, and not the rate that it is meant to reach."""
    return part.name in ("greedy",) or part.kind.startswith("megatron")


def _towards_peak(plan: Plan) -> str:
    for part in plan.parts:
        if part.number("warmup_t") and getattr(part.schedule, "warmup_prefix", True) is False:
            return "set warmup_prefix: true, so that the schedule starts after its warm-up"
        if part.number("pct_start") is not None:
            return "choose a pct_start for which pct_start * total_steps is a whole number"
    return "let the schedule's clock start after its warm-up, or make the run longer"


@rule("rate-jumps", "warning", "a jump where one part hands over to the next, that no step-like kind asked for")
def rate_jumps(plan: Plan) -> Iterator[Fault]:
    """Where a warm-up or a part of a sequence ends, the rate jumps to where the next one begins.

    Drops of step, multistep, restarts, cycles and levels one after the other are asked for. This is about joins that
    were meant to be smooth: a warm-up to another rate than the schedule begins with, a schedule that has been running
    during its warm-up, a part with a base rate of its own. In a formula or in code it is the end of a rise, as of a
    warm-up over 10 ticks that is divided by 100.

    Seen in huggingface/pytorch-image-models#1242, huggingface/pytorch-image-models#2312, FAIR-Chem/fairchem#1967,
    deepseek-ai/DeepSpec#32, PaddlePaddle/PaddleDetection#4611, salesforce/LAVIS#72, pytorch/pytorch#196243.

    Let both sides have the same rate there: end_factor of the warm-up, lr: current of the next part, warmup_prefix.
    """
    told: set[int] = set()
    for join in sorted(plan.anatomy.joins, key=lambda join: join.tick):
        at = join.tick
        if at in told or join.asked or not 2 <= at < plan.end:
            continue
        told.add(at)
        ticks = np.arange(at - 2, min(at + 2, plan.end))
        rates = plan.schedule(ticks)
        changes = np.abs(np.diff(rates))
        beside = max(changes[0], changes[2] if len(changes) > 2 else 0.0)
        if changes[1] > TIMES * beside + SAME * plan.peak and changes[1] > VISIBLE * plan.peak:
            yield _jump(plan, join, float(rates[1]), float(rates[2]))
    for part in plan.parts:
        formula = formula_of(part)
        leap = leap_of(plan, part) if formula is not None else None
        if leap is not None and leap.tick not in told:
            told.add(leap.tick)
            yield _leap(leap, formula)


def _leap(leap: Leap, formula: str | None) -> Fault:
    times = f", {number(leap.after / leap.before)} times" if leap.before > 0 else ""
    return Fault(
        f"the rate jumps up from {number(leap.before)} to {number(leap.after)}{times}, "
        f"at the end of a rise by {number(leap.step)} a tick",
        f"divide a warm-up by its own length, so that it reaches {number(leap.after)} at tick {leap.tick:,}",
        leap.tick,
        formula,
    )


def _jump(plan: Plan, join: Join, before: float, after: float) -> Fault:
    times = f", {number(max(before, after) / min(before, after))} times" if min(before, after) > 0 else ""
    way = "up" if after > before else "down"
    left = "the warm-up" if join.before is None else join.before.kind
    return Fault(
        f"the rate jumps {way} from {number(before)} to {number(after)}{times}, "
        f"where {left} hands over to {join.after.kind}",
        f"let the first end where the second begins{', or give the second lr: current' if plan.ours else ''}",
        join.tick,
        "sequence" if "sequence" in plan.spec else "milestones" if "milestones" in plan.spec else "warmup",
    )


@rule("rebounds", "warning", "the rate climbs again after the schedule's own end", covers=("zero-rate",))
def rebounds(plan: Plan) -> Iterator[Fault]:
    """The run goes on past the length that the schedule was given, and the rate rises again.

    A cosine is a wave: torch's CosineAnnealingLR past T_max and transformers' cosine past num_training_steps climb
    back to the full rate, and undo what the decay was for. OneCycleLR, stepped once more, bounces up.

    Seen in Tencent-Hunyuan/UniRL#223, CodefyUI/CodefyUI#205, RuiningLi/particulate#22, pytorch/pytorch#91765,
    Nerogar/OneTrainer#1604. A rise of less than 1% of the peak is only noted.

    Make the length that of the run; to stay at the end instead, use a kind that holds it (cosine).
    """
    for part, over in plan.ends():
        stop = int(min(part.stop, plan.end))
        asked = int(min(part.stop, plan.total))
        span = "the run" if asked == plan.total else "its turn"
        if over != part.over or over + 1 >= stop:
            continue
        floor = plan.at(over)
        top, tick = plan.highest(over, stop)
        falls = plan.highest(part.start, over + 1)[0] > floor
        if not falls or top - floor <= SAME * plan.peak:
            continue
        yield Fault(
            f"{part.kind} is over at tick {over:,} and {span} goes on to {asked - 1:,}: "
            f"the rate climbs from {number(floor)} back to {number(top)} at tick {tick:,}",
            f"make {part.key or 'it'} as long as {span}, {plan.ticks(asked - part.start)}, "
            "or use a kind that holds its end",
            over + 1,
            part.key,
            None if top - floor > SLIGHT * plan.peak else "note",
        )


@rule("not-a-restart", "warning", "a T_max far shorter than the run: CosineAnnealingLR does not restart",
      covers=("ends-mid-cycle",))  # fmt: skip
def not_a_restart(plan: Plan) -> Iterator[Fault]:
    """CosineAnnealingLR with a T_max far shorter than the run goes down and up again, as slowly up as down.

    Its documentation has the formula of SGDR, and it is often taken for it. There are no restarts: half of every wave
    is a warm-up that nobody asked for, and with an even number of half waves the run ends at the full rate.

    Seen in rasbt/machine-learning-notes (learning-rates/scheduler-comparison: "cosine with restarts"),
    pytorch/pytorch#95122, pytorch/pytorch#62640, ivadomed/ivadomed#57.

    For restarts use CosineAnnealingWarmRestarts with T_0; for one decay make T_max the length of the run.
    """
    for part in plan.parts:
        if part.kind != "torch.CosineAnnealingLR" or part.length is None or part.repeated:
            continue
        span = int(min(part.stop, plan.end)) - part.start
        if span > 1.5 * part.length:
            yield Fault(
                f"T_max {part.length:,} does not restart the cosine: from tick {part.start + part.length:,} on it "
                f"climbs as slowly as it fell, {span / part.length:.3g} half waves in {plan.ticks(span)}, "
                f"and the last rate is {number(plan.at(part.start + span - 1))}",
                f"for restarts use CosineAnnealingWarmRestarts with T_0 {part.length:,}; for one decay, T_max {span:,}",
                part.start + part.length,
                "T_max",
            )


@rule("not-annealed", "warning", "the run ends well before the schedule does")
def not_annealed(plan: Plan) -> Iterator[Fault]:
    """The schedule is longer than the run: when training stops the rate is still far above its end.

    Most of what a decay is worth comes at its end. It happens where a run is cut short and the schedule is not, where
    total steps ignore the number of processes, or where a plan for more epochs is tried on fewer.

    Seen in wandb/senpai#1065, wandb/senpai#965, m2lines/Samudra#340, NVIDIA-NeMo/Megatron-Bridge#4796,
    huggingface/transformers#27749.

    Give the length as the rest of the run (leave it out), or cut it to the run. Less than a tenth left is fine.
    """
    for part in plan.parts:
        length = part.length or _first_cycle(part)
        if length is None or part.start >= plan.end or part.stop < plan.total:
            continue
        ends = min(part.on_run(length), part.stop)
        if ends == np.inf:
            continue
        over = int(ends)
        last, final = plan.at(plan.total - 1), plan.at(over)
        # Where a cycle begins again at its end, the tick before it has the floor.
        final = final if part.length else plan.at(over - 1)
        if over <= plan.total or not last - final > LEFT * (plan.peak - final):
            continue
        yield Fault(
            f"the run ends at tick {plan.total - 1:,} at {number(last)}, {percent(last / plan.peak)} of the peak: "
            f"{part.kind} goes on to tick {over:,}, where it is at {number(final)}",
            f"make {part.key or 'it'} as long as the run, {plan.ticks(plan.total - part.start)}",
            plan.total - 1,
            part.key,
        )
        return


def _first_cycle(part: Part) -> int | None:
    """The length of the first cycle of a kind that restarts from the top."""
    names = ("T_0", "first_cycle_steps", "first_decay_steps")
    return next((int(value) for _, value in part.named(names)), None)


@rule("ends-mid-cycle", "warning", "restarts or cycles that end near their peak", covers=("not-annealed",))
def ends_mid_cycle(plan: Plan) -> Iterator[Fault]:
    """The run ends in the middle of a cycle, with the rate nearer to its peak than to its floor.

    The last weights are then those of a high rate, and worse than those at the end of the last whole cycle.
    CosineAnnealingWarmRestarts(4, 2) over 14 steps ends at 0.99 of its peak.

    Seen in pytorch/pytorch#95122, pytorch/pytorch#62640, pytorch/pytorch#47561, huggingface/diffusers#3954.

    Choose a cycle that divides the run (with T_mult 2, a run of 1, 3, 7, 15 times T_0), or keep the weights from the
    end of the last whole one.
    """
    part = next((part for part in reversed(plan.parts) if part.start < plan.end), None)
    if part is None or not part.cyclic or plan.end < plan.total:
        return
    last, swing = plan.at(plan.end - 1), plan.peak - plan.low
    if swing <= SAME * plan.peak or last - plan.low <= (0.5 + SAME) * swing:
        return
    _, low_tick = plan.lowest(part.start, plan.end)
    yield Fault(
        f"the run ends at tick {plan.end - 1:,} at {number(last)}, {percent(last / plan.peak)} of the peak "
        f"{number(plan.peak)}: "
        f"in the middle of a cycle (its lowest rate is {number(plan.low)}, at tick {low_tick:,})",
        "choose a cycle that divides the run, or end the run with a cycle",
        plan.end - 1,
        part.key,
    )


@rule("goes-dead", "warning", "constant for the rest of the run after the schedule's own end", covers=("zero-rate",))
def goes_dead(plan: Plan) -> Iterator[Fault]:
    """The schedule is over early, and for a quarter of the run or more the rate stays where it was left.

    At 0 those updates train nothing: PolynomialLR's total_iters is 5 unless it is given, which leaves 15 of 20 epochs
    dead. At a floor they crawl.

    Seen in InternLM/xtuner#386 (frozen after epoch 1), InternLM/xtuner#211, Lightricks/LTX-Video-Trainer#67,
    tier4/Diffusion-Planner#293.

    Make the schedule as long as the run. A floor held for less than a quarter of the run, as in GPT-3, is fine.
    """
    for part, over in plan.ends():
        followed = any(part.stop <= other.start < plan.end for other in plan.parts)
        if part.kind in HOLDING or followed:
            continue
        tail = plan.end - over
        if tail < max(DEAD * plan.total, 2) or plan.end < plan.total:
            continue
        top, low = plan.highest(over, plan.end)[0], plan.lowest(over, plan.end)[0]
        if top - low > SAME * plan.peak or top >= plan.peak * (1 - SLIGHT):
            continue
        default = "" if part.key is None or plan.said(part.key) else f" (its {part.key} is {part.length} unless given)"
        yield Fault(
            f"{part.kind} is over at tick {over:,}{default}: the rate stays at {number(top)} "
            f"for the last {plan.ticks(tail)} of {plan.total:,}",
            f"make {part.key or 'it'} as long as the run, {plan.ticks(plan.total - part.start)}",
            over,
            part.key,
        )
        return
