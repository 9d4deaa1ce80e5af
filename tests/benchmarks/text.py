"""Long tables: the time of a row beside the least that Python needs to write its numbers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lrsched_cli import simulate
from lrsched_cli.show import formats
from lrsched_cli.show.rows import Selection, chosen
from tests.benchmarks.report import Row, Table, compared

TOTAL = 1_000_000
FLOOR = 2.0


class Nowhere(io.TextIOBase):
    """Takes text and keeps none of it."""

    def write(self, text: str) -> int:
        return len(text)


def _pairs(total: int) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Each format written by us, and the numbers alone written by a line of Python."""
    trace = simulate({"kind": "cosine"}, {"steps": total})
    rates = np.asarray(trace.lr)

    def ticks() -> Any:
        return chosen([trace], Selection())

    return {
        "csv": (
            lambda: formats.write_csv(Nowhere(), [trace], ticks(), None),
            lambda: "".join([f"{t},,{lr!r}\n" for t, lr in enumerate(rates.tolist())]),
        ),
        "json (t, lr and lr_after)": (
            lambda: formats.write_json(Nowhere(), [trace], lambda _: ticks(), {}),
            lambda: json.dumps([list(range(total)), rates.tolist(), rates.tolist()]),
        ),
        "jsonl": (
            lambda: formats.write_jsonl(Nowhere(), [trace], ticks(), None),
            lambda: "".join([f'{{"t": {t}, "epoch": null, "cosine": {r!r}}}\n' for t, r in enumerate(rates.tolist())]),
        ),
        "plain table (used and after)": (
            lambda: formats.write_plain(Nowhere(), [trace], ticks(), None),
            lambda: "".join([f"{t:8d}  {r:12.6g}  {r:12.6g}\n" for t, r in enumerate(rates.tolist())]),
        ),
        "markdown (used and after)": (
            lambda: formats.write_markdown(Nowhere(), [trace], ticks(), None),
            lambda: "".join([f"| {t} | {r:.6g} | {r:.6g} |\n" for t, r in enumerate(rates.tolist())]),
        ),
    }


def tables(quick: bool) -> Iterator[Table]:
    total = TOTAL // 10 if quick else TOTAL
    table = Table(f"Tables of {total:,} rows : the same numbers in one list comprehension", note="ns a row")
    for what, (ours, least) in _pairs(total).items():
        time, floor = compared(ours, least, 3, at_most=FLOOR)
        note = f"{1e9 * time / total:,.0f} : {1e9 * floor / total:,.0f}"
        table.rows.append(Row(what, time / floor, FLOOR, note=note))
    yield table
