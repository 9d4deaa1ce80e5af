"""``lrsched train``: schedules on real training, many runs as one ensemble."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lrsched_cli.book import Entry, read_book
from lrsched_cli.cli.command import made
from lrsched_cli.cli.experiments import AllowCode, Device, Download, Workers, with_experiment
from lrsched_cli.cli.options import command_function
from lrsched_cli.cli.progress import Standing, follower
from lrsched_cli.cli.talk import has_colour, is_terminal, say
from lrsched_cli.errors import SpecError, must
from lrsched_cli.experiment import Experiment
from lrsched_cli.results import JSON_NAME, Results, is_results

if TYPE_CHECKING:
    from lrsched_cli.training.jobs import Job
    from lrsched_cli.training.worker import Message

#: What is compared where nothing is named and there is no schedules.yaml: MLMastery's five.
CLASSICS = ("step", "exponential", "cosine", "plateau", "cyclic")
DEFAULTS = {"data": "digits", "model": "mlp:64", "optimizer": "sgd", "seeds": "3", "momentum": "0", "dtype": "float32"}
FIGURE_NAME = "figure.png"


def command(args: list[str]) -> Any:
    """The command for one call with these arguments."""
    if any(arg == "--resume" or arg.startswith("--resume=") for arg in args):
        return made("train", resume)
    return made("train", command_function(with_experiment(train, DEFAULTS), args, CLASSICS))


def train(
    entries: list[Entry],
    experiment: Experiment,
    *,
    device: Device = "auto",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the results; lrsched-runs/TIME unless said."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="FOLDER", help="Go on with a training that was cut short.")
    ] = None,
    workers: Workers = None,
    download: Download = False,
    fail_on_divergence: Annotated[
        bool, typer.Option("--fail-on-divergence", help="Exit with code 3 if a run diverges.")
    ] = False,
    allow_code: AllowCode = False,
    assign: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME.PARAM=VALUE", help="Change an entry of the file.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing beside the results.")] = False,
) -> None:
    """Train with each schedule, from several seeds, and compare: is one better, or is it noise?"""
    del assign, resume  # the one is carried out where the targets are found, the other is a command of its own
    refuse_code(entries, allow_code)
    with needing_torch():
        session = Session(quiet, fail_on_divergence, workers)
        job = session.planned(entries, experiment, download)
        session.train(job, device, output)


def resume(
    folder: Annotated[Path, typer.Option("--resume", metavar="FOLDER", help="The training to go on with.")],
    device: Annotated[
        str | None, typer.Option("--device", metavar="DEVICE", help="Where to train; where it began, unless said.")
    ] = None,
    workers: Workers = None,
    fail_on_divergence: Annotated[
        bool, typer.Option("--fail-on-divergence", help="Exit with code 3 if a run diverges.")
    ] = False,
    allow_code: AllowCode = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing beside the results.")] = False,
) -> None:
    """Go on with a training that was cut short; its folder says everything else."""
    from lrsched_cli.training.trainer import PLAN_NAME

    if is_results(folder) and all(run.status != "stopped" for run in Results.read(folder).runs):
        raise SpecError(f"{folder} is finished: lrsched table {folder} shows it", parameter="--resume")
    if not (folder / PLAN_NAME).is_file():
        raise SpecError(f"{folder} holds no training: it has no {PLAN_NAME}", parameter="--resume")
    book = read_book(folder / PLAN_NAME)
    entries = list(book.entries.values())
    refuse_code(entries, allow_code)
    with needing_torch():
        session = Session(quiet, fail_on_divergence, workers)
        session.train(session.planned(entries, Experiment(), False), device, folder, resumed=True)


def refuse_code(entries: Sequence[Entry], allowed: bool) -> None:
    """Refuse to run code that a file names, unless the command line says that it may be run."""
    for entry in entries:
        for name in ("data", "model"):
            said = getattr(entry.experiment, name)
            if said is not None and said.startswith("python:") and not allowed:
                error = SpecError(f"is {said}, which is run: --allow-code permits that", parameter=name)
                raise error.locate(file=entry.place.file)


@contextmanager
def needing_torch() -> Iterator[None]:
    """Say what to install where PyTorch is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise SpecError("training needs PyTorch: pip install 'lrsched-cli[train]'") from None


class Session:
    """One call of ``train``: from the plan to the last line it prints."""

    def __init__(self, quiet: bool, fail_on_divergence: bool, workers: int | None) -> None:
        if workers is not None and not 1 <= workers <= 1024:
            raise must("--workers", "from 1 to 1024", workers)
        from lrsched_cli.training.ranks import rank_and_world

        self.quiet, self.fail_on_divergence, self.workers = quiet, fail_on_divergence, workers
        self.rank, self.world = rank_and_world()
        self.leads = self.rank == 0
        if not self.leads:
            self.quiet = True

    def say(self, line: str) -> None:
        if not self.quiet:
            say(line)

    def planned(self, entries: Sequence[Entry], experiment: Experiment, download: bool) -> Job:
        """The job; the first words are out before torch is loaded."""
        names = ", ".join(entry.name for entry in entries[:6]) + (", ..." if len(entries) > 6 else "")
        self.say(f"training {names}")
        from lrsched_cli.training.jobs import plan

        return plan(entries, experiment, download=download)

    def train(self, job: Job, device_name: str | None, output: Path | None, resumed: bool = False) -> None:
        from lrsched_cli.training import devices, processes, ranks, trainer
        from lrsched_cli.training.jobs import grouped
        from lrsched_cli.training.worker import means_of

        if resumed:
            assert output is not None
            job, began_on = trainer.kept_job(job, output)
            device_name = device_name or began_on
        device = devices.device_of(device_name or "auto", ranks.local_rank())
        workers = self.world if self.world > 1 else self._workers(job, device.type)
        folder = output if resumed else (trainer.new_folder(output) if self.leads else output)
        means, how = means_of(job, device, folder, resumed)
        if not resumed:
            job = grouped(job, workers, one=device.type != "cpu" and self.world == 1)
            if self.leads:
                assert folder is not None
                trainer.keep(job, folder, device.type)
        self._tell(job, how, devices.named(device))
        stop = threading.Event()
        with interrupts(stop):
            if self.world > 1:
                messages: Iterator[Message] = ranks.train_ranks(job, means, stop)
            else:
                messages = processes.train_here(job, means, workers, stop)
            results = self._followed(job, messages, devices.named(device), [how] if how else [])
        if results is not None:
            assert folder is not None
            self._show(results, folder, stop.is_set())

    def _workers(self, job: Job, kind: str) -> int:
        from lrsched_cli.training.processes import can_fork, cores

        if kind != "cpu" or not can_fork():
            return 1
        return min(self.workers or cores(), max(len(job.runs) // 2, 1))

    def _tell(self, job: Job, how: str, device: str) -> None:
        """What is about to be trained, in numbers."""
        data, experiment = job.data, job.experiment
        seeds = len(experiment.seeds or ())
        rates = len({run.lr for run in job.runs})
        runs = f"{len(job.entries)} schedules" + (f" x {rates} rates" if experiment.lrs and rates > 1 else "")
        self.say(
            f"{len(job.runs)} runs: {runs} x {seeds} seeds, {experiment.model} by {experiment.optimizer} on {device}"
        )
        self.say(
            f"{data.name}: {data.train_size} samples to train on, {data.val_size} held out, "
            f"{job.per_epoch} updates an epoch of {job.batching.size} samples each"
        )
        for note in (*job.notes, how):
            if note:
                self.say(f"note: {note}")

    def _followed(self, job: Job, messages: Iterator[Message], device: str, notes: Sequence[str]) -> Results | None:
        from lrsched_cli.training import trainer
        from lrsched_cli.training.worker import Remark, Report

        if not self.leads:
            for _ in messages:
                pass
            return None
        standing = Standing([(run.schedule, run.lr) for run in job.runs], [run.course.epochs for run in job.runs])
        shown = follower(standing, self.quiet)
        remarks = list(notes)

        def told(message: Message) -> None:
            if isinstance(message, Report):
                standing.take(message)
            elif isinstance(message, Remark):
                remarks.append(message.text)
                if shown is not None:
                    shown.remark(message.text)
            if shown is not None:
                shown.refresh()

        if shown is None:
            return trainer.finish(job, messages, told, device, remarks)
        with shown:
            results = trainer.finish(job, messages, told, device, remarks)
        results.notes = list(dict.fromkeys([*results.notes, *remarks]))
        return results

    def _show(self, results: Results, folder: Path, stopped: bool) -> None:
        """Print the comparison, write everything down, and end with the right code."""
        show_results(results)
        results.write(folder)
        self._draw(results, folder)
        print(folder / JSON_NAME)  # noqa: T201
        sys.stdout.flush()
        if any(run.status == "stopped" for run in results.runs):
            self.say(f"interrupted: lrsched train --resume {folder} goes on")
            raise typer.Exit(130)
        if stopped:
            raise typer.Exit(130)
        drop_state(folder)
        self.say(f"{results.train_seconds:.1f} s of training; lrsched plot {folder} and table {folder} show it again")
        if self.fail_on_divergence and any(run.status == "DIVERGED" for run in results.runs):
            raise typer.Exit(3)

    def _draw(self, results: Results, folder: Path) -> None:
        from lrsched_cli.show.comparison import draw_results
        from lrsched_cli.show.figure import save

        save(draw_results(results), folder / FIGURE_NAME)


def show_results(results: Results, format: str = "table") -> None:
    """The comparison on stdout: a table for a terminal, plain text for a pipe."""
    from lrsched_cli.show.report import rich_report, write_summary

    if format == "table" and is_terminal(sys.stdout):
        from rich.console import Console

        console = Console(force_terminal=has_colour(sys.stdout), highlight=False)
        console.print(rich_report(results, console.width))
    else:
        write_summary(sys.stdout, results, format)


def drop_state(folder: Path) -> None:
    """Remove what was kept to go on from: the training is finished."""
    import shutil

    shutil.rmtree(folder / "state", ignore_errors=True)


@contextmanager
def interrupts(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C (or a polite kill) ends the training after the epoch; a second one ends it at once."""

    def handle(signum: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        say("stopping after this epoch; again to stop now")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Callable[..., Any] | int | None] = {
        number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
