"""MNIST and Fashion-MNIST from the IDX files in a user's folder; torchvision fetches them where it is asked to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lrsched_cli.errors import SpecError
from lrsched_cli.training.idx import read_idx

#: Where the files are looked for if no folder is named, after the environment's LRSCHED_DATA.
DEFAULT_DIR = Path("data")
CLASSES = 10

#: The images ``(n, 28, 28)`` of a part as bytes, and their labels ``(n,)``.
Images = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]

_FILES = ("train-images", "train-labels", "t10k-images", "t10k-labels")
_COUNTS = (60_000, 60_000, 10_000, 10_000)
#: What torchvision calls each data set: its class and its folder.
_TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
#: The MD5 of each file's decompressed content: gzip data that was packed anew is as good as what was published.
_MD5 = {
    "mnist": (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    "fashion-mnist": (
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
}


@dataclass(frozen=True)
class _File:
    path: Path
    values: npt.NDArray[np.uint8]

    def refused(self, message: str) -> SpecError:
        return SpecError(message, file=str(self.path))


def load_mnist(name: str, data_dir: Path | None, download: bool) -> tuple[list[Images], list[str]]:
    """The training and the test part of ``mnist`` or ``fashion-mnist``, and remarks for the user.

    Raises ``SpecError`` where a file is missing or is not what was published. A well-formed file with another number
    of images is accepted with a remark: it is a subset of the user's own.
    """
    base = data_dir or Path(os.environ.get("LRSCHED_DATA") or DEFAULT_DIR)
    paths = _find(name, base)
    if len(paths) < len(_FILES) and download:
        _download(name, base)
        paths = _find(name, base)
    if len(paths) < len(_FILES):
        raise _missing(name, base, paths)
    notes: list[str] = []
    files = [_read(name, index, path, notes) for index, path in enumerate(paths)]
    return [_part(*files[:2]), _part(*files[2:])], notes


def _places(name: str, base: Path) -> list[Path]:
    """Where the files may be; torchvision's own folder first, as both data sets' files have the same names."""
    return [base / _TORCHVISION[name] / "raw", base / "raw", base]


def _find(name: str, base: Path) -> list[Path]:
    """The four files of the first place that has them all, else those of the place that has the most of them."""
    found: list[Path] = []
    for place in _places(name, base):
        paths = [path for file in _FILES if (path := _file(place, file)) is not None]
        if len(paths) > len(found):
            found = paths
    return found


def _file(place: Path, file: str) -> Path | None:
    kind = "idx3" if file.endswith("images") else "idx1"
    names = [f"{file}{mark}{kind}-ubyte{ending}" for ending in ("", ".gz") for mark in "-."]
    return next((place / name for name in names if os.path.isfile(place / name)), None)


def _missing(name: str, base: Path, paths: list[Path]) -> SpecError:
    remedy = "--data-dir FOLDER (or LRSCHED_DATA) says where they are, --download fetches them with torchvision"
    if paths:
        absent = [file for file in _FILES if not any(path.name.startswith(file) for path in paths)]
        return SpecError(f"{name} has no {' and no '.join(absent)} in {paths[0].parent}: {remedy}")
    places = [str(place) for place in _places(name, base)]
    return SpecError(f"{name} has no IDX files in {', '.join(places[:-1])} or {places[-1]}: {remedy}")


def _read(name: str, index: int, path: Path, notes: list[str]) -> _File:
    images = index % 2 == 0
    values, md5 = read_idx(path, str(path), 3 if images else 1)
    file = _File(path, values)
    if images and values.shape[1:] != (28, 28):
        raise file.refused(f"must hold images of 28 x 28 pixels, got {values.shape[1]} x {values.shape[2]}")
    expected = _MD5[name][index]
    if md5 == expected:
        return file
    if len(values) == _COUNTS[index]:
        raise file.refused(f"must be the published {name} (MD5 {expected}), got MD5 {md5}")
    if images:
        notes.append(f"{path.name} is not the published file: it has {len(values)} images instead of {_COUNTS[index]}")
    return file


def _part(images: _File, labels: _File) -> Images:
    x, y = images.values, labels.values
    if not len(x):
        raise images.refused("must hold at least one image")
    if len(x) != len(y):
        raise labels.refused(f"must have a label for each of the {len(x)} images in {images.path.name}, got {len(y)}")
    if y.max() >= CLASSES:
        raise labels.refused(f"must hold labels from 0 to {CLASSES - 1}, got {y.max()}")
    return x, y.astype(np.int64)


def _download(name: str, base: Path) -> None:
    try:
        datasets = import_module("torchvision.datasets")
    except ImportError:
        raise SpecError("needs torchvision: pip install torchvision", parameter="--download") from None
    try:
        # Either part brings all four files, and keeps those that are there.
        getattr(datasets, _TORCHVISION[name])(str(base), train=True, download=True)
    except Exception as error:  # whatever the network, the disk and torchvision's mirrors may answer
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SpecError(f"could not fetch {name} to {base}: {reason}", parameter="--download") from error
