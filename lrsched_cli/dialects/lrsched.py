"""The lrsched dialect: the functions of the package ``lrsched`` on PyPI, another project than this one.

Read in lrsched 0.5.0. Each makes a function of the step from keyword arguments, every one of which must be given; it
asks for Python's own whole numbers, and raises where Python's arithmetic does.
"""

from __future__ import annotations

from lrsched_cli.dialects import lrsched_compose, lrsched_cycle, lrsched_decay

#: The kinds by their names in the library.
KINDS = {**lrsched_decay.KINDS, **lrsched_cycle.KINDS, **lrsched_compose.KINDS}
