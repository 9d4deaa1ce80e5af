"""Train the examples in full and print their accuracies beside the published ones, as Markdown for RESULTS.md.

``python -m tests.benchmarks.experiments [NAME...] --data-dir FOLDER`` trains through the command line, a process for
each table. Exit code 1 where a mean is out of its bounds. ``loop`` in a table is what a loop written by hand reached on
the same experiment, before lrsched trained anything: mean and standard deviation over its seeds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lrsched_cli.errors import SpecError
from lrsched_cli.results import DIVERGED, Results, RunResult, Spread
from lrsched_cli.training.mnist_data import load_mnist
from tests.benchmarks.report import chosen
from tests.training.test_idx import NAMES, write

#: What is read off a run, under the name that the table has for it.
Figure = Callable[[RunResult], float]


def final(run: RunResult) -> float:
    return run.final("val_accuracy")


def averaged(run: RunResult) -> float:
    return run.averaged["val_accuracy"] if run.averaged else float("nan")


def averaged_loss(run: RunResult) -> float:
    return run.averaged["val_loss"] if run.averaged else float("nan")


def final_loss(run: RunResult) -> float:
    return run.final("val_loss")


def last_test(run: RunResult) -> float:
    return run.final("test_accuracy")


def best_test(run: RunResult) -> float:
    """The test accuracy of the epoch with the best validation accuracy, as a checkpoint callback keeps it."""
    assert run.test_accuracy is not None
    return float(run.test_accuracy[1 + int(np.argmax(run.val_accuracy[1:]))])


#: The loss that belongs to a figure.
LOSSES: Mapping[Figure, Figure] = {final: final_loss, averaged: averaged_loss}


@dataclass(frozen=True)
class Line:
    """One call of ``lrsched train``, and what is known of it from elsewhere.

    Attributes
    ----------
    title: what it is.
    arguments: of ``train``, the example first.
    published, loop: by schedule, followed by its rate where several are tried, and by the figure where there are
        several.
    figures: what is told of each run.
    images: which data in IDX files it trains on; ``hours`` says that all of them take as long on a CPU.
    bounds: what a mean must be within, by schedule; under ``*`` that of all others.
    count: whether to tell how many samples were classified rightly.
    """

    title: str
    arguments: tuple[str, ...]
    published: Mapping[str, str] = field(default_factory=dict)
    loop: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=lambda: {"": final})
    images: str | None = None
    hours: bool = False
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    count: bool = False


NEAR_97, NEAR_98 = (0.965, 0.985), (0.975, 0.985)
#: What the breast-cancer page prints, and what no schedule may be far from.
PAGE = "0.9561 = 109/114"
SANE = {"*": (0.95, 0.99)}

EXPERIMENTS: dict[str, tuple[Line, ...]] = {
    "mlmastery-five": (
        Line(
            "MLMastery's five on 10,000 MNIST images, mlp:128, Adam, 20 epochs (no result is published)",
            ("mlmastery-five", "--lrs", "0.1,0.01,0.001"),
            loop={
                "step 0.1": "0.8852 +- 0.0230", "exponential 0.1": "0.8918 +- 0.0133", "cosine 0.1": "0.8766 +- 0.0279",
                "plateau 0.1": "0.8711 +- 0.0333", "cyclic 0.1": "0.8913 +- 0.0059",
                "step 0.01": "0.9607 +- 0.0014", "exponential 0.01": "0.9573 +- 0.0010",
                "cosine 0.01": "0.9614 +- 0.0004",
                "plateau 0.01": "0.9614 +- 0.0013", "cyclic 0.01": "0.9590 +- 0.0013",
                "step 0.001": "0.9320 +- 0.0003", "exponential 0.001": "0.9233 +- 0.0003",
                "cosine 0.001": "0.9376 +- 0.0001", "plateau 0.001": "0.9442 +- 0.0013",
                "cyclic 0.001": "0.9358 +- 0.0019",
            },
            images="mnist",
        ),
        Line(
            "A constant rate on the same",
            ("constant", "--limit", "10000", "--model", "mlp:128", "--optimizer", "adam", "--epochs", "20",
             "--batch-size", "128", "--lrs", "0.1,0.01,0.001", "--data", "mnist"),
            loop={
                "constant 0.1": "0.7952 +- 0.0680", "constant 0.01": "0.9532 +- 0.0096",
                "constant 0.001": "0.9442 +- 0.0013",
            },
            images="mnist",
        ),
    ),
    "geeksforgeeks": (
        Line(
            "GeeksforGeeks' breast cancer, Adam at 0.01, a split for each of ten seeds",
            ("geeksforgeeks",),
            dict.fromkeys(("constant", "step-0.5", "step-0.1"), PAGE),
            {"constant": "0.9675 +- 0.0149", "step-0.5": "0.9728 +- 0.0105", "step-0.1": "0.9728 +- 0.0113"},
            bounds=SANE, count=True,
        ),
        Line(
            "The same with SGD at 0.1, momentum 0.9",
            ("geeksforgeeks", "--optimizer", "sgd", "--momentum", "0.9", "--lr", "0.1"),
            dict.fromkeys(("constant", "step-0.5", "step-0.1"), PAGE),
            {"constant": "0.9684 +- 0.0132", "step-0.5": "0.9719 +- 0.0115", "step-0.1": "0.9711 +- 0.0102"},
            bounds=SANE, count=True,
        ),
    ),
    "deep-learning-wizard": (
        Line(
            "Deep Learning Wizard on MNIST, 5 epochs (plateaus 10)",
            ("deep-learning-wizard",),
            {
                "step-1": "97 %", "step-2": "97 %", "step-2-larger-gamma": "97 %",
                "plateau-0.1": "98.04 %", "plateau-0.5": "98.01 %",
            },
            {
                "step-1": "0.9719 +- 0.0016", "step-2": "0.9781 +- 0.0014", "step-2-larger-gamma": "0.9759 +- 0.0009",
                "plateau-0.1": "0.9793 +- 0.0004", "plateau-0.5": "0.9798 +- 0.0008",
            },
            images="mnist",
            bounds={"*": NEAR_97, "plateau-0.1": NEAR_98, "plateau-0.5": NEAR_98},
        ),
    ),
    "d2l": (
        Line(
            "D2L's schedules with LeNet",
            ("d2l",),
            {
                "constant": "0.877 to 0.898", "square-root": "0.877 to 0.886",
                "multi-factor": "0.864 to 0.899 (at a constant 0.125)", "cosine": "0.895 to 0.904",
                "warmup-cosine": "0.899 to 0.901",
            },
            images="fashion-mnist",
            hours=True,
        ),
    ),
    "rasbt": (
        Line(
            "Raschka's six on his synthetic data, 200 epochs: test accuracy",
            ("rasbt",),
            {
                "cosine-1 best": "0.88925", "cosine-1 last": "0.88525", "step best": "0.89875", "step last": "0.89325",
                "cosine-20 best": "0.89325", "cosine-20 last": "0.88550", "cosine-epoch best": "0.88975",
                "cosine-epoch last": "0.89225", "cosine-step best": "0.89525", "cosine-step last": "0.89675",
                "warmup-cosine best": "0.89100", "warmup-cosine last": "0.89075",
            },
            {
                "cosine-1 best": "0.8857", "cosine-1 last": "0.8823", "step best": "0.8910", "step last": "0.8912",
                "cosine-20 best": "0.8933", "cosine-20 last": "0.8828", "cosine-epoch best": "0.8884",
                "cosine-epoch last": "0.8898", "cosine-step best": "0.8912", "cosine-step last": "0.8903",
                "warmup-cosine best": "0.8916", "warmup-cosine last": "0.8912",
            },
            {"best": best_test, "last": last_test},
            bounds={"*": (0.87, 0.91)},
        ),
    ),
    "high-rate": (
        Line(
            "Digits at too high a rate, Adam at 0.1, ten seeds (the loop: five, its one-cycle by step)",
            ("high-rate",),
            loop={
                "constant": "0.9317 +- 0.0377", "step": "0.9567 +- 0.0302", "cosine": "0.9539 +- 0.0360",
                "warmup-cosine": "0.9733 +- 0.0064", "onecycle": "0.9728 +- 0.0036",
            },
        ),
    ),
    "weight-averaging": (
        Line(
            "Weight averaging on digits, Adam at 0.1",
            ("weight-averaging",),
            loop={
                "constant last": "0.9317 +- 0.0377", "constant-swa last": "0.9317 +- 0.0377",
                "constant-swa averaged": "0.9494 +- 0.0307", "cosine last": "0.9539 +- 0.0360",
            },
            figures={"last": final, "averaged": averaged},
        ),
        Line(
            "The same at 0.01",
            ("weight-averaging", "--lr", "0.01"),
            loop={
                "constant last": "0.9800 +- 0.0030", "constant-swa last": "0.9800 +- 0.0030",
                "constant-swa averaged": "0.9783 +- 0.0036", "cosine last": "0.9794 +- 0.0042",
            },
            figures={"last": final, "averaged": averaged},
        ),
    ),
}  # fmt: skip

#: What is trained on and held out of images that take hours, and the batches: enough updates to learn something.
FEW, BATCH_SIZE = (3000, 1000), 64


def trained(arguments: Sequence[str], device: str, folder: Path) -> Results:
    """What ``lrsched train`` leaves; what it says beside its results goes where ours does."""
    command = [sys.executable, "-m", "lrsched_cli", "train", *arguments, "--device", device, "-o", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode}: lrsched {' '.join(command[3:])}")
    return Results.read(folder)


def cells(line: Line, results: Results) -> Iterator[tuple[list[str], bool]]:
    """The rows of a line's table, each with whether its mean is out of bounds."""
    several = len(results.groups()) > len(results.schedules)
    for (schedule, lr), runs in results.groups().items():
        for name, figure in line.figures.items():
            spread = Spread.of(map(figure, runs))
            key = " ".join([schedule, *([f"{lr:g}"] if several else []), *([name] if name else [])])
            diverged = sum(run.status == DIVERGED for run in runs)
            if not spread.n and not diverged:
                continue
            low, high = line.bounds.get(schedule, line.bounds.get("*", (0.0, 1.0)))
            missed = not low <= spread.mean <= high
            row = [key, line.published.get(key, ""), line.loop.get(key, "")]
            row += [f"{spread.mean:.4f} +- {spread.sd:.4f}", f"{spread.min:.4f} to {spread.max:.4f}", str(spread.n)]
            row[3] += f" ({diverged} {DIVERGED})" if diverged else ""
            row[3] += f", OUT OF {low} to {high}" if missed else ""
            loss = LOSSES.get(figure)
            row.append(f"{Spread.of(map(loss, runs)).mean:.4g}" if loss else "")
            yield [*row, *([_counted(runs, results)] if line.count else [])], missed


def _counted(runs: Sequence[RunResult], results: Results) -> str:
    """How many held-out samples each run classified rightly, and how often that was what the page prints."""
    size = results.val_size or 0
    right = [round(final(run) * size) for run in runs]
    return f"{min(right)} to {max(right)} of {size}; 109 in {right.count(109)} of {len(right)}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, its columns lined up."""
    table = [list(header), *map(list, rows)]
    widths = [max(len(row[at]) for row in table) for at in range(len(header))]
    table.insert(1, ["-" * width for width in widths])
    lines = (
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table
    )
    return "\n".join(lines)


def told(line: Line, device: str, data_dir: Path | None, full: bool) -> int:
    """Train a line and print its table; the means that are out of bounds."""
    print(f"\n### {line.title}\n", flush=True)
    arguments = list(line.arguments)
    with tempfile.TemporaryDirectory() as scratch:
        if line.images is not None:
            if data_dir is None:
                print(f"Left out: needs --data-dir with the files of {line.images}.")
                return 0
            short = line.hours and device == "cpu" and not full
            more, text = images_of(line.images, data_dir, Path(scratch, "images") if short else None)
            print(text, end="")
            arguments += more
        results = trained(arguments, device, Path(scratch, "results"))
    header = ["schedule", "published", "loop", "mean +- sd", "min to max", "n", "val loss"]
    rows = list(cells(line, results))
    print(markdown([*header, *(["classified rightly"] if line.count else [])], [row for row, _ in rows]))
    said = " ".join("FOLDER" if "/" in argument else argument for argument in arguments)
    print(f"\n`lrsched train {said}`: {results.train_seconds:.0f} s on {results.device}.", flush=True)
    return sum(missed for _, missed in rows)


def images_of(name: str, data_dir: Path, few: Path | None) -> tuple[list[str], str]:
    """The arguments that say which images there are, and what to tell of them; ``few`` is a folder for a part."""
    found, text = name, ""
    try:
        parts, _ = load_mnist(name, data_dir, download=False)
    except SpecError:
        if name == "mnist":
            raise
        found = "mnist"
        parts, _ = load_mnist(found, data_dir, download=False)
        text = f"On MNIST, as there is no {name} here: the published figures are of {name}, which is harder.\n\n"
    arguments = ["--data", found] if found != name else []
    if few is None:
        return [*arguments, "--data-dir", str(data_dir)], text
    arrays = [array[:count].astype(np.uint8) for part, count in zip(parts, FEW, strict=True) for array in part]
    folder = write(few, dict(zip(NAMES, arrays, strict=True)))
    text += f"Shortened: the first {FEW[0]} images, {FEW[1]} held out, batches of {BATCH_SIZE}. --full takes all.\n\n"
    return [*arguments, "--data-dir", str(folder), "--batch-size", str(BATCH_SIZE)], text


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.experiments", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(EXPERIMENTS)}; all by default")
    parser.add_argument("--data-dir", type=Path, help="folder with the IDX files of MNIST and Fashion-MNIST")
    parser.add_argument("--device", default="cpu", help="where to train")
    parser.add_argument("--full", action="store_true", help="train on all images on a CPU too: hours")
    options = parser.parse_args()
    missed = 0
    for name in chosen(parser, options.names, EXPERIMENTS, "experiment"):
        for line in EXPERIMENTS[name]:
            missed += told(line, options.device, options.data_dir, options.full)
    print(f"\nMeans out of bounds: {missed or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
