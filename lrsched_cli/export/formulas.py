"""How each form and each fall is written: the formulas of exported code."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lrsched_cli.export.arithmetic import base, divided, exact, floating, number, over, simplified, tidy, times
from lrsched_cli.export.code import FEW, SHORT, Writer
from lrsched_cli.export.lower import Counted, Rescaled, Stretched, UnknownFormError
from lrsched_cli.schedules import falls, forms

#: A geometric schedule of growing cycles is written out as the ticks at which they begin, so many at most.
MOST_CYCLES = 64
#: An exponential fall by a factor of e.
BY_E = falls.Shrink(math.exp(-1))


def _level(w: Writer, form: forms.Level, t: str) -> str:
    return floating(form.value)


def _transition(w: Writer, form: forms.Transition, t: str) -> str:
    start, end = number(form.start), number(form.end)
    if form.start == form.end:
        return floating(form.start)
    if isinstance(form.fall, falls.Line):
        x = w.part(t, form.ticks)
        if form.end == 0:
            return times(start, f"1 - {x}")
        return times(end, x) if form.start == 0 else f"{start} + {times(f'{end} - {start}', x)}"
    if form.start < form.end and (rise := risen(w, form, t)) is not None:
        return times(end, rise) if form.start == 0 else f"{start} + {times(f'{end} - {start}', rise)}"
    left = fallen(w, form.fall, t, form.ticks)
    return times(start, left) if form.end == 0 else f"{end} + {times(f'{start} - {end}', left)}"


def _geometric(w: Writer, form: forms.Geometric, t: str) -> str:
    return times(number(form.start), f"{base(form.factor)} ** ({w.part(t, form.every)})")


def _law(w: Writer, form: forms.Law, t: str) -> str:
    if form.shift == form.scale:
        ratio = f"1 + {w.part(t, form.scale)}"
    else:
        ratio = over(simplified(f"({t}) + {exact(form.shift)}"), exact(form.scale))
    if form.power == -0.5:
        return over(number(form.start), w.call("sqrt", ratio))
    if form.power == -1:
        return over(number(form.start), simplified(ratio))
    return times(number(form.start), f"({ratio}) ** {exact(form.power)}")


def _table(w: Writer, form: forms.Table, t: str) -> str:
    ticks, values = [exact(tick) for tick in form.ticks], [floating(value) for value in form.values]
    if not ticks:
        return values[0]
    if len(ticks) <= FEW and len(set(ticks)) == len(ticks):
        return w.where([f"{t} < {tick}" for tick in ticks], values[:-1], values[-1])
    known = f"[{', '.join(ticks)}]"
    if w.backend is None:
        passed = f"bisect.bisect({w.named('ticks', known) if len(known) > SHORT else known}, {t})"
    else:
        passed = f"{w.backend.module}.searchsorted({w.backend.array}({known}), {t}, side='right')"
    factor = common_factor(form)
    if factor is not None:
        return times(values[0], f"{base(factor)} ** {passed}")
    listed = f"[{', '.join(values)}]"
    if w.backend is None:
        return f"{w.named('rates', listed) if len(listed) > SHORT else listed}[{passed}]"
    return w.backend.call("take", f"{w.backend.array}({listed})", passed)


def common_factor(form: forms.Table) -> float | None:
    """The factor by which each value of a table follows from the one before it, if it is the same for all."""
    if not form.values[0]:
        return None
    ratio = form.values[1] / form.values[0]
    if not math.isfinite(ratio):
        return None
    factor = tidy(ratio)
    expected = float(form.values[0])
    for value in form.values[1:]:
        expected *= factor
        if not math.isclose(value, expected, rel_tol=1e-12):
            return None
    return factor


def _written(w: Writer, form: forms.Written, t: str) -> str:
    return divided(w.expression(form.expression, t), 1 / form.scale) if form.scale else "0.0"


def _phases(w: Writer, form: forms.Phases, t: str) -> str:
    values = [w.value(part, t) for part in form.forms]
    return w.where([f"{t} < {exact(start)}" for start in form.starts], values[:-1], values[-1])


def _stairs(w: Writer, form: forms.Stairs, t: str) -> str:
    inner, every = form.form, exact(form.every)
    if isinstance(inner, forms.Geometric) and inner.every == form.every:
        return times(number(inner.start), f"{base(inner.factor)} ** (({t}) // {every})")
    return w.value(inner, times(f"({t}) // {every}", every))


def _counted(w: Writer, form: Counted, t: str) -> str:
    return w.value(form.form, f"({t}) // {exact(form.every)}")


def _wrapped(w: Writer, form: forms.Wrapped, t: str) -> str:
    x = w.named("x", f"{times(exact(form.cycles), f'({w.part(t, form.ticks)})')} % 1.0")
    return times(number(form.top), fallen(w, form.fall, x, 1.0))


def _scaled(w: Writer, form: forms.Scaled, t: str) -> str:
    scale = math.prod(part.value for part in form.forms if isinstance(part, forms.Level))
    others = [part for part in form.forms if not isinstance(part, forms.Level)]
    factors = [w.operand("factor", "A factor of the rate at `t`.", part, t) for part in others]
    return times(number(scale), *factors) if factors else floating(scale)


def _raised(w: Writer, form: forms.Raised, t: str) -> str:
    inner = w.operand("above", f"What the rate at `t` is above {number(form.by)}.", form.form, t)
    return f"({inner}) + {number(form.by)}" if form.by < 0 else f"{number(form.by)} + {inner}"


def _bounded(w: Writer, form: forms.Bounded, t: str) -> str:
    value = w.operand("unbounded", "The rate at `t`, without its bounds.", form.form, t)
    if form.high < math.inf:
        value = w.call("min", value, floating(form.high))
    return w.call("max", value, floating(form.low)) if form.low > -math.inf else value


def _repeated(w: Writer, form: forms.Repeated, t: str) -> str:
    return w.operand("one_cycle", "The rate at `t` of a cycle.", form.form, w.named("t", w.around(form, t)))


def _cycles(w: Writer, form: forms.Cycles, t: str) -> str:
    if form.growth == 1:
        cycle, local, length = f"({t}) // {exact(form.first)}", f"({t}) % {exact(form.first)}", exact(form.first)
    elif w.backend is None:
        cycle, local, length = _looped(w, form, t)
    else:
        cycle, local, length = _listed(w, form, t)
    top, foot = number(form.top), number(form.foot)
    moving = form.foot_mult != 1 and form.foot
    if form.top_mult != 1 or moving:
        cycle = w.named("cycle", cycle)
    if form.top_mult != 1:
        top = times(top, f"{base(form.top_mult)} ** {cycle}")
    if moving:
        foot = w.named("foot", times(foot, f"{base(form.foot_mult)} ** {cycle}"))
    left = _waned(w, form, local, length)
    return times(top, left) if form.foot == 0 else f"{foot} + {times(f'{top} - {foot}', left)}"


def _waned(w: Writer, form: forms.Cycles, local: str, length: str) -> str:
    """What is left of a cycle."""
    if isinstance(form.fall, Rescaled):
        clock = local if form.growth == 1 else f"{local} * ({exact(form.first)} / {length})"
        return fallen(w, form.fall, w.named("t", clock), form.first)
    if isinstance(form.fall, falls.Triangle) and form.growth == 1:
        return fallen(w, form.fall, w.named("t", local), form.first)
    if isinstance(form.fall, falls.Line):
        return f"1 - {over(local, length)}"
    return fallen(w, form.fall, w.named("x", over(local, length)), 1.0)


def _looped(w: Writer, form: forms.Cycles, t: str) -> tuple[str, str, str]:
    """Cycles that grow, in plain Python: a loop through them."""
    if form.number is not None and any(form._begins[i] > math.ceil(s) for i, s in enumerate(_known(form, w.total))):
        raise UnknownFormError("has cycles whose first ticks the library rounds away")
    start, length, cycle = (w.fresh(name, w.local) for name in ("start", "length", "cycle"))
    longer = f"{length} * {exact(form.growth)}"
    counted = form.top_mult != 1 or (form.foot_mult != 1 and form.foot)
    more = (f", {cycle}", ", 0") if counted else ("", "")
    w.lines += [
        f"{start}, {length}{more[0]} = 0, {exact(form.first)}{more[1]}",
        f"while {simplified(t)} >= {start} + {length}:",
        f"    {start}, {length} = {start} + {length}, {f'int({longer})' if form.whole else longer}",
        *([f"    {cycle} += 1"] if counted else []),
    ]
    return cycle, f"(({t}) - {start})", length


def _known(form: forms.Cycles, total: int) -> list[float]:
    form._know(float(total))
    return form._starts


def _listed(w: Writer, form: forms.Cycles, t: str) -> tuple[str, str, str]:
    """Cycles that grow, for arrays: where they begin, written out as far as the run goes."""
    assert w.backend is not None
    count = sum(start <= w.total for start in _known(form, w.total))
    if count > MOST_CYCLES:
        raise UnknownFormError(f"has {count} cycles of growing length")
    begins, starts = (list(map(exact, column[:count])) for column in (form._begins, form._starts))
    known, lengths = w.fresh("starts", w.local), w.fresh("lengths", w.local)
    w.lines.append(f"{known} = {w.backend.array}([{', '.join(starts)}])")
    w.lines.append(f"{lengths} = {w.backend.array}([{', '.join(map(exact, form._lengths[:count]))}])")
    # A cycle that begins between two ticks is first seen at the later one.
    seen = known if begins == starts else f"{w.backend.array}([{', '.join(begins)}])"
    cycle = w.named("cycle", f"{w.backend.module}.searchsorted({seen}, {t}, side='right') - 1")
    take = w.backend.call
    return cycle, f"(({t}) - {take('take', known, cycle)})", take("take", lengths, cycle)


WRITERS: dict[type, Callable[[Writer, Any, str], str]] = {
    forms.Level: _level,
    forms.Transition: _transition,
    forms.Geometric: _geometric,
    forms.Law: _law,
    forms.Table: _table,
    forms.Written: _written,
    forms.Phases: _phases,
    forms.Stairs: _stairs,
    Counted: _counted,
    forms.Wrapped: _wrapped,
    forms.Scaled: _scaled,
    forms.Raised: _raised,
    forms.Bounded: _bounded,
    forms.Repeated: _repeated,
    forms.Cycles: _cycles,
    Stretched: _cycles,
}


# What is left of a fall, or has come of a rise, at a tick out of so many.


def fallen(w: Writer, fall: falls.Fall, t: str, ticks: float) -> str:
    """What is left of a fall at a tick: 1 at its start, 0 at its end."""
    if isinstance(fall, Rescaled):
        inner = w.operand("one_cycle", f"The rate at `t` of a cycle of {exact(fall.period)} ticks.", fall.form, t)
        return over(simplified(f"({inner}) - {number(fall.foot)}"), number(fall.top - fall.foot))
    if isinstance(fall, falls.Triangle):
        up, down = fall.rise * ticks, ticks - fall.rise * ticks
        up, down = (round(side) if abs(side - round(side)) < 1e-9 * ticks else side for side in (up, down))
        sides = over(t, exact(up)), over(f"{exact(ticks)} - ({t})", exact(down))
        return w.call("min", *map(simplified, sides)) if up and down else sides[0 if up else 1]
    if isinstance(fall, falls.Logarithm):
        passed = f"({t}) + 1" if ticks == fall.ticks else f"{times(w.part(t, ticks), exact(fall.ticks))} + 1"
        return f"1 - {over(w.call('log', simplified(passed)), w.constant('log', exact(fall.ticks)))}"
    if isinstance(fall, falls.Fade):
        return w.call("exp", f"-({w.part(t, ticks)})")
    write = FALLS.get(type(fall))
    if write is None:
        from lrsched_cli.export.foreign import plain_fall

        found = plain_fall(fall)
        if found is not None:
            return fallen(w, found, t, ticks)
        raise UnknownFormError("has a shape for which no formula is known")
    return write(w, fall, w.named("x", w.part(t, ticks)))


def risen(w: Writer, form: forms.Transition, t: str) -> str | None:
    """What has come of a rise at a tick: 0 at its start, 1 at its end; None for a shape that is said as a fall."""
    fall = form.fall
    if isinstance(fall, falls.Logarithm):
        return fallen(w, fall, t, form.ticks).removeprefix("1 - ")
    if fall == falls.Wave():
        x = w.named("x", w.part(t, form.ticks))
        return f"(1 - {w.call('cos', f'{w.pi} * {x}')}) / 2"
    if isinstance(fall, falls.Power) and fall.power == 0.5 and fall.k == 1:
        return f"1 - {w.call('sqrt', f'1 - {w.part(t, form.ticks)}')}"
    if fall == BY_E:
        one = w.constant("exp", "-1")
        return over(f"1 - {w.call('exp', simplified(f'-({w.part(t, form.ticks)})'))}", f"1 - {one}")
    return None


def _wave(w: Writer, fall: falls.Wave, x: str) -> str:
    clock = x if fall.k == 1 else f"({x}) ** {exact(fall.k)}"
    turns = "" if fall.waves == 0.5 else f"{exact(2 * fall.waves)} * "
    wave = f"(1 + {w.call('cos', f'{turns}{w.pi} * {clock}')}) / 2"
    return wave if fall.exponent == 1 else f"({wave}) ** {exact(fall.exponent)}"


def _power(w: Writer, fall: falls.Power, x: str) -> str:
    clock = x if fall.k == 1 else f"({x}) ** {exact(fall.k)}"
    if fall.power == 1:
        return f"1 - {clock}"
    return w.call("sqrt", f"1 - {clock}") if fall.power == 0.5 else f"(1 - {clock}) ** {exact(fall.power)}"


def _shrink(w: Writer, fall: falls.Shrink, x: str) -> str:
    if fall == BY_E:
        one = w.constant("exp", "-1")
        return over(f"{w.call('exp', f'-({x})')} - {one}", f"1 - {one}")
    ratio = base(fall.ratio)
    return over(f"{ratio} ** ({x}) - {ratio}", exact(1 - fall.ratio))


FALLS: dict[type, Callable[[Writer, Any, str], str]] = {
    falls.Line: lambda w, fall, x: f"1 - ({x})",
    falls.Wave: _wave,
    falls.Power: _power,
    falls.Root: lambda w, fall, x: f"1 - {w.call('sqrt', x)}",
    falls.Shrink: _shrink,
    falls.Tangent: lambda w, fall, x: (
        f"(1 - {w.call('tanh', f'{number(fall.lb)} + {number(fall.ub - fall.lb)} * ({x})')}) / 2"
    ),
    falls.Reflected: lambda w, fall, x: f"(1 - {x}) / (1 - ({x}) / 2)",
    falls.Formula: lambda w, fall, x: w.expression(fall.expression, x),
}
