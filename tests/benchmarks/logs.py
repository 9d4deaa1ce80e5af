"""Logs of a million rows: the time of an audit beside that of the module that reads the file."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lrsched_cli import simulate
from lrsched_cli.logs.detect import read_log
from lrsched_cli.verify.audit import audit
from tests.benchmarks.report import Row, Table, compared

TOTAL = 1_000_000
FLOOR = 1.5


def _csv(path: Path) -> Any:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def _json(path: Path) -> Any:
    with path.open() as file:
        return json.load(file)


def _jsonl(path: Path) -> Any:
    with path.open() as file:
        return [json.loads(line) for line in file]


def _texts(rates: list[float]) -> Iterator[tuple[str, Callable[[Path], Any], str]]:
    """Each kind of log with what else reads it: as its program writes it, a row an update."""
    rows = list(enumerate(rates))
    yield "step and lr.csv", _csv, "step,lr\n" + "".join(f"{t},{r!r}\n" for t, r in rows)
    head = "epoch,lr-Adam,step,train_loss\n"
    yield "metrics.csv of Lightning", _csv, head + "".join(f",{r!r},{t},\n{t // 1000},,{t},0.5\n" for t, r in rows[::2])
    head = '"Step","run - train/lr","run - train/lr__MIN","run - train/lr__MAX"\n'
    yield "export of wandb.csv", _csv, head + "".join(f'"{t}","{r!r}","{r!r}","{r!r}"\n' for t, r in rows)
    lines = (
        f'{{"epoch": 0.5, "grad_norm": 1.25, "learning_rate": {r!r}, "loss": 0.5, "step": {t + 1}}}' for t, r in rows
    )
    yield "trainer_state.json", _json, f'{{"global_step": {len(rows)}, "log_history": [{", ".join(lines)}]}}'
    yield "log.jsonl", _jsonl, "".join(f'{{"step": {t}, "loss": 0.5, "train": {{"lr": {r!r}}}}}\n' for t, r in rows)


def tables(quick: bool) -> Iterator[Table]:
    total = TOTAL // 10 if quick else TOTAL
    trace = simulate({"kind": "cosine", "lr": 0.1, "warmup": "1%"}, {"steps": total})
    fast = trace.schedule(4 * trace.tick)
    title = f"Audits of logs of {total:,} rows : csv.reader, json.load or json.loads reads them"
    table = Table(title, note="s, and the verdict")
    with tempfile.TemporaryDirectory() as folder:
        for verdict, rates in (("match", trace.lr), ("scaled", fast)):
            for what, module, text in _texts(rates.tolist()):
                path = Path(folder) / what.replace(" ", "-")
                path.write_text(text)
                found = audit(trace, read_log(path, path.name))
                assert found.verdict == verdict, (what, found.verdict)
                time, floor = compared(
                    lambda path=path: audit(trace, read_log(path, path.name)),  # type: ignore[misc]
                    lambda path=path, module=module: module(path),  # type: ignore[misc]
                    3,
                    at_most=FLOOR,
                )
                note = f"{time:.2f} : {floor:.2f}, {verdict}"
                table.rows.append(Row(what, time / floor, FLOOR, note=note))
    yield table
