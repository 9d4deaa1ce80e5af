"""Start-up: how much longer a verb takes than the least program that could do its work."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.processes import in_turn, lrsched, script, written
from tests.benchmarks.report import Row, Table

HELLO = """
import typer

app = typer.Typer()


@app.command()
def hello(name: str = "world") -> None:
    "Say hello."
    print(name)


def main() -> None:
    app()
"""
TEN_ROWS = """
import numpy
import typer
from rich.console import Console
from rich.table import Table


def main() -> None:
    table = Table("t", "rate")
    for t, rate in enumerate(numpy.linspace(0.1, 0, 10).tolist()):
        table.add_row(str(t), f"{rate:.6g}")
    Console().print(table)
"""
ONE_LINE = """
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def main() -> None:
    figure = Figure(figsize=(7.5, 4.5), dpi=160)
    FigureCanvasAgg(figure)
    figure.subplots().plot(range(100))
    figure.savefig("line.png")
"""

DS_CONFIG = """{
  "train_micro_batch_size_per_gpu": 8,
  "optimizer": {"type": "AdamW", "params": {"lr": 3e-4}},
  "scheduler": {"type": "WarmupDecayLR", "params": {"warmup_num_steps": 10, "total_num_steps": 100}}
}"""
HF = ("table", "transformers.linear", "--num-warmup-steps", "10", "--num-training-steps", "100")

#: A verb, the least program, and how much longer it may take.
PAIRS = [
    ("lrsched --help : hello-world Typer --help", lrsched("--help"), script(HELLO, "--help"), 1.15),
    ("lrsched table step : typer, numpy, rich, ten rows", lrsched("table", "step"), script(TEN_ROWS), 1.25),
    ("lrsched table transformers.linear : the same", lrsched(*HF), script(TEN_ROWS), 1.25),
    (
        "lrsched table ds_config.json : the same",
        lrsched("table", written("ds_config.json", DS_CONFIG), "--steps", "100"),
        script(TEN_ROWS),
        1.25,
    ),
    ("lrsched plot cosine : matplotlib Figure, one line", lrsched("plot", "cosine"), script(ONE_LINE), 1.35),
]


def tables(quick: bool) -> Iterator[Table]:
    table = Table("Start-up of a process", note="milliseconds, lrsched : least program")
    for what, verb, least, floor in PAIRS:
        rounds = 5 if quick else 21
        costs = in_turn({"verb": verb, "least": least}, rounds)
        for quantity in ("wall", "cpu"):
            for name in ("least", "median"):
                ours, theirs = (getattr(costs[key], name)(quantity) for key in ("verb", "least"))
                label = {"least": "minimum", "median": "median"}[name]
                note = f"{1000 * ours:.0f} : {1000 * theirs:.0f}"
                table.rows.append(Row(f"{what}, {quantity}, {label} of {rounds}", ours / theirs, floor, note=note))
    yield table
