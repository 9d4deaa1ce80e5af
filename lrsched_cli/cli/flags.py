"""How options are spelled, and what is said of one that is not known."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from lrsched_cli.errors import SpecError
from lrsched_cli.schedules import CANONICAL
from lrsched_cli.schedules.base import Schedule
from lrsched_cli.schedules.parameters import params_of

#: What other libraries call the floor of a decay.
FLOOR_WORDS = dict.fromkeys(("--min-lr", "--lr-min", "--end-lr", "--lr-end", "--final-lr"), "--eta-min")


def off(flag: str) -> str:
    """The option that says no to a switch."""
    return f"--no-{flag[2:]}"


def flag_of(name: str) -> str:
    """A parameter's option: ``T_max`` is ``--t-max``."""
    return "--" + name.lower().replace("_", "-")


def refuse_unknown(
    args: Sequence[str], known: Collection[str], of_kinds: Collection[str], targets: Sequence[str], verb: str
) -> None:
    """Refuse an option that is not known, naming the nearest that is, or who has it.

    Parameters
    ----------
    known: all options of this call.
    of_kinds: those of them that are the targets' own; one that is like none of these is told as the verb's.
    targets: the names of the targets.
    """
    for arg in args:
        if arg == "--":
            return
        flag = arg.partition("=")[0]
        if not flag.startswith("--") or flag in known:
            continue
        # The dashes are alike in all of them, and would make any short word near.
        match = get_close_matches(flag[2:], sorted(name[2:] for name in known if name[:2] == "--"), n=1, cutoff=0.7)
        having = [name for name, kind in CANONICAL.items() if flag in _flags_of(kind)]
        if having:
            others = f"; {', '.join(having)} {'has' if len(having) == 1 else 'have'} it"
        else:
            others = f" (did you mean --{match[0]}?)" if match else ""
        if flag in FLOOR_WORDS and FLOOR_WORDS[flag] in known:
            others = f" (did you mean {FLOOR_WORDS[flag]}?){others}"
        of_kind = having or (match and f"--{match[0]}" in of_kinds)
        raise SpecError(f"{(of_kind and ', '.join(dict.fromkeys(targets))) or verb} has no option {flag}{others}")


def _flags_of(kind: type[Schedule]) -> list[str]:
    """The options that are a kind's parameters."""
    return [flag_of(name) for name, param in params_of(kind).items() if param.option]
