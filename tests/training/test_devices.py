"""Where to train: the device that was asked for, or one line that names what there is."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from lrsched_cli.training.devices import available, device_of, named  # noqa: E402
from tests.support import message_of  # noqa: E402


def machine(monkeypatch: pytest.MonkeyPatch, gpus: int = 0, *, mps: bool = False, built: str | None = "13.0") -> None:
    """A machine with so many GPUs, and a torch that was built with or without CUDA."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(torch.version, "cuda", built)


@pytest.mark.parametrize(
    ("gpus", "mps", "there"),
    [(0, False, ["cpu"]), (2, False, ["cpu", "cuda:0", "cuda:1"]), (0, True, ["cpu", "mps"])],
)
def test_what_there_is(monkeypatch: pytest.MonkeyPatch, gpus: int, mps: bool, there: list[str]) -> None:
    machine(monkeypatch, gpus, mps=mps)
    assert available() == there


@pytest.mark.parametrize(
    ("text", "gpus", "mps", "rank", "expected"),
    [
        ("cpu", 0, False, 0, "cpu"),
        ("cpu", 4, False, 3, "cpu"),
        ("auto", 0, False, 0, "cpu"),
        ("auto", 0, True, 0, "mps"),
        ("auto", 2, False, 0, "cuda:0"),
        ("auto", 2, False, 1, "cuda:1"),
        ("auto", 1, True, 0, "cuda:0"),
        ("cuda", 2, False, 0, "cuda:0"),
        ("cuda", 2, False, 1, "cuda:1"),
        ("cuda:1", 2, False, 0, "cuda:1"),
        ("mps", 0, True, 0, "mps"),
    ],
)
def test_which_device_is_meant(
    monkeypatch: pytest.MonkeyPatch, text: str, gpus: int, mps: bool, rank: int, expected: str
) -> None:
    """``cuda`` is the GPU of the process's rank, ``auto`` an accelerator if there is one."""
    machine(monkeypatch, gpus, mps=mps)
    assert device_of(text, rank) == torch.device(expected)


@pytest.mark.parametrize(
    ("text", "gpus", "rank", "built", "message"),
    [
        ("cuda", 0, 0, None, "cuda:0 is not available here: there is cpu (this torch is built without CUDA)"),
        ("cuda", 0, 0, "13.0", "cuda:0 is not available here: there is cpu"),
        ("cuda:2", 2, 0, "13.0", "cuda:2 is not available here: there is cpu, cuda:0, cuda:1"),
        ("cuda", 2, 2, "13.0", "cuda:2 is not available here: there is cpu, cuda:0, cuda:1"),
        ("mps", 1, 0, "13.0", "mps is not available here: there is cpu, cuda:0"),
    ],
)
def test_a_device_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, text: str, gpus: int, rank: int, built: str | None, message: str
) -> None:
    machine(monkeypatch, gpus, built=built)
    assert message_of(device_of, text, rank) == f"--device {message}"


@pytest.mark.parametrize(
    "text", ["", "gpu", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cuda:0:0", "cuda:9999", "cpu ", "tpu"]
)
def test_a_name_that_is_no_device(text: str) -> None:
    assert message_of(device_of, text) == f"--device must be cpu, cuda, cuda:N, mps or auto, got {text!r}"


def test_without_a_gpu_one_line_names_what_there_is() -> None:
    """On this very machine."""
    if torch.cuda.is_available():
        assert device_of("cuda").type == "cuda"
    else:
        assert message_of(device_of, "cuda").startswith("--device cuda:0 is not available here: there is cpu")


def test_how_results_name_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    assert named(torch.device("cpu")) == "cpu"
    assert named(torch.device("cuda:1")) == "cuda:1 (GPU 1)"
