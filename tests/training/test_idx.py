"""IDX files and the two data sets that come in them: the format, the checksums, where the files are looked for."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import sys
import tracemalloc
import types
from pathlib import Path

import numpy as np
import pytest

from lrsched_cli.training import idx
from lrsched_cli.training.data import load_data
from lrsched_cli.training.idx import read_idx
from lrsched_cli.training.mnist_data import load_mnist
from tests.support import message_of

REAL = Path(__file__).parents[2] / "../shared/mnist"
HERE = Path()
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
RANDOM = np.random.default_rng(0)


def idx_bytes(array: np.ndarray) -> bytes:
    """The format by hand: magic number, dimensions, values."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def small(train: int = 20, test: int = 10) -> dict[str, np.ndarray]:
    """A data set of a few images, every class among the labels."""
    arrays = {}
    for part, count in (("train", train), ("t10k", test)):
        arrays[f"{part}-images-idx3-ubyte"] = RANDOM.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{part}-labels-idx1-ubyte"] = (np.arange(count) % 10).astype(np.uint8)
    return arrays


def write(folder: Path, arrays: dict[str, np.ndarray], zipped: bool = False, dots: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        stem = name.replace("-idx", ".idx") if dots else name
        data = idx_bytes(array)
        (folder / (stem + ".gz" * zipped)).write_bytes(gzip.compress(data) if zipped else data)
    return folder


@pytest.fixture
def refusal(tmp_path):
    """What is said about a file of these bytes that should hold labels."""

    def refusal(data: bytes, dimensions: int = 1) -> str:
        path = tmp_path / "labels été"
        path.write_bytes(data)
        return message_of(read_idx, path, path.name, dimensions).removeprefix("labels été: ")

    return refusal


# The format.


@pytest.mark.parametrize("zipped", [False, True])
def test_values_come_back(tmp_path: Path, zipped: bool) -> None:
    images = RANDOM.integers(0, 256, (5, 3, 4), dtype=np.uint8)
    data = idx_bytes(images)
    (tmp_path / "f").write_bytes(gzip.compress(data) if zipped else data)
    values, md5 = read_idx(tmp_path / "f", "f", 3)
    np.testing.assert_array_equal(values, images)
    assert values.dtype == np.uint8
    assert md5 == hashlib.md5(data).hexdigest()


def test_an_ending_does_not_decide(tmp_path: Path) -> None:
    """A browser may unpack a .gz and keep its name, or save one without its ending."""
    (tmp_path / "a.gz").write_bytes(idx_bytes(np.arange(4, dtype=np.uint8)))
    (tmp_path / "b").write_bytes(gzip.compress(idx_bytes(np.arange(4, dtype=np.uint8))))
    assert (
        read_idx(tmp_path / "a.gz", "a", 1)[0].tolist() == read_idx(tmp_path / "b", "b", 1)[0].tolist() == [0, 1, 2, 3]
    )


def test_files_that_are_no_idx(refusal) -> None:
    sound = idx_bytes(np.arange(6, dtype=np.uint8))
    assert refusal(b"") == "is empty"
    assert refusal(gzip.compress(b"")) == "is empty"
    assert refusal(b"\0\0\x08") == "is not an IDX file: it begins with 00 00 08"
    assert refusal(b"<html>404") == "is not an IDX file: it begins with 3c 68 74 6d"
    assert refusal(b"\0\0\x0d\x01" + sound[4:]) == "must hold unsigned bytes (IDX type 0x08), got type 0x0d"
    assert refusal(sound, 3) == "must have 3 IDX dimensions, got 1"
    assert refusal(idx_bytes(np.zeros((1, 2, 2), np.uint8))) == "must have 1 IDX dimension, got 3"


def test_truncated_files(refusal) -> None:
    sound = idx_bytes(np.arange(6, dtype=np.uint8))
    assert refusal(sound[:6]) == "is truncated: it ends within its header"
    assert refusal(sound[:-1]) == "is truncated: its header promises 6 bytes, it holds 5"
    images = idx_bytes(np.zeros((2, 28, 28), np.uint8))
    assert refusal(images[:100], 3) == "is truncated: its header promises 2 x 28 x 28 bytes, it holds 84"
    packed = gzip.compress(
        RANDOM.integers(0, 256, 5000, dtype=np.uint8).tobytes().join([sound[:4] + b"\0\0\x13\x88", b""])
    )
    for end in (5, 12, len(packed) // 2, len(packed) - 4):
        assert refusal(packed[:end]) == "is truncated: the gzip data ends too early"


def test_gzip_data_that_is_damaged(refusal) -> None:
    packed = bytearray(gzip.compress(idx_bytes(np.arange(6, dtype=np.uint8))))
    packed[-5] ^= 1
    assert refusal(bytes(packed)).startswith("is not a sound gzip file: CRC check failed")
    assert refusal(b"\x1f\x8b" + b"junk" * 9).startswith("is not a sound gzip file: ")
    packed[10] ^= 0xFF
    assert refusal(bytes(packed)).startswith("is not a sound gzip file: ")


def test_no_more_is_unpacked_than_promised(refusal, monkeypatch) -> None:
    """Two hundred megabytes of zeros in one of gzip, behind a header that promises 4 bytes."""
    monkeypatch.setattr(idx, "MAX_BYTES", 4 << 20)  # reading a file sets aside as much
    bomb = gzip.compress(idx_bytes(np.zeros(4, np.uint8)) + bytes(200 << 20), 1)
    tracemalloc.start()
    try:
        assert refusal(bomb) == "holds more than the 4 bytes that its header promises"
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_a_promise_beyond_memory(refusal) -> None:
    header = struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 28, 28)
    promise = "is larger than 1024 MB: its header promises 4294967295 x 28 x 28 bytes"
    assert refusal(header, 3) == refusal(gzip.compress(header), 3) == promise
    assert refusal(struct.pack(">HBBI", 0, 8, 1, 1 << 30)).startswith("is truncated: ")


def test_only_files_are_read(tmp_path: Path, monkeypatch) -> None:
    assert message_of(read_idx, tmp_path / "none", "none", 1) == "no such file: none"
    assert message_of(read_idx, tmp_path, "folder", 1) == "folder: is a directory"
    os.mkfifo(tmp_path / "pipe")
    assert message_of(read_idx, tmp_path / "pipe", "pipe", 1) == "pipe: is not a regular file"
    (tmp_path / "large").write_bytes(bytes(99))
    monkeypatch.setattr(idx, "MAX_BYTES", 98)
    assert message_of(read_idx, tmp_path / "large", "large", 1) == "large: is larger than 0 MB"


# The data sets.


@pytest.mark.parametrize(
    ("place", "zipped", "dots"),
    [(".", False, False), (".", True, False), ("MNIST/raw", False, False), ("raw", True, False), ("raw", False, True)],
)
def test_the_places_and_names_of_the_files(tmp_path: Path, place: str, zipped: bool, dots: bool) -> None:
    base = tmp_path / "mes données"
    arrays = small()
    write(base / place, arrays, zipped, dots)
    data = load_data("mnist", data_dir=base)
    split = data.split(0)
    assert (data.name, data.shape, data.classes, data.seeded) == ("mnist", (1, 28, 28), 10, False)
    assert (data.train_size, data.val_size) == (20, 10)
    assert split.test is None
    np.testing.assert_array_equal(split.train.y, np.arange(20) % 10)
    assert split.val.y.dtype == np.int64
    assert len(data.notes) == 2
    assert "has 20 images instead of 60000" in data.notes[0]


def test_pixels_are_scaled_as_torch_does(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    arrays = small()
    arrays[NAMES[0]][0].flat[:256] = np.arange(256)
    train = load_data("mnist", data_dir=write(tmp_path, arrays)).split(0).train
    scaled = torch.from_numpy(arrays[NAMES[0]]).unsqueeze(1).to(torch.float32).div(255)  # torchvision's ToTensor
    np.testing.assert_array_equal(train.x, scaled.numpy())
    assert train.x.dtype == np.float32
    assert train.x.max() == 1


def test_the_folder_of_a_data_set_comes_first(tmp_path: Path) -> None:
    """Both have files of the same names, and may lie in one folder as torchvision leaves them."""
    one, two, three = small(), small(11), small(12)
    write(tmp_path, one)
    write(tmp_path / "FashionMNIST/raw", two)
    write(tmp_path / "MNIST/raw", three)
    assert load_data("fashion-mnist", data_dir=tmp_path).train_size == 11
    assert load_data("mnist", data_dir=tmp_path).train_size == 12


def test_where_no_folder_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LRSCHED_DATA", raising=False)
    write(tmp_path / "data", small(11))
    write(tmp_path / "elsewhere", small(12))
    write(tmp_path / "named", small(13))
    write(tmp_path / "plans/named", small(14))
    assert load_data("mnist").train_size == 11
    monkeypatch.setenv("LRSCHED_DATA", "elsewhere")
    assert load_data("mnist").train_size == 12
    assert load_data("mnist", data_dir=Path("named")).train_size == 13
    assert load_data("mnist", data_dir=Path("named"), folder=Path("plans")).train_size == 14
    assert load_data("mnist", data_dir=tmp_path / "named", folder=Path("plans")).train_size == 13


def test_missing_files(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LRSCHED_DATA", raising=False)
    remedy = "--data-dir FOLDER (or LRSCHED_DATA) says where they are, --download fetches them with torchvision"
    assert message_of(load_data, "mnist") == f"mnist has no IDX files in data/MNIST/raw, data/raw or data: {remedy}"
    assert message_of(load_data, "fashion-mnist", data_dir=Path("a b")) == (
        f"fashion-mnist has no IDX files in a b/FashionMNIST/raw, a b/raw or a b: {remedy}"
    )
    arrays = small()
    del arrays[NAMES[3]]
    write(tmp_path / "data", arrays)
    assert message_of(load_data, "mnist") == f"mnist has no t10k-labels in data: {remedy}"


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    def said(**changed: np.ndarray) -> str:
        arrays = {**small(), **{NAMES[int(key[1:])]: value for key, value in changed.items()}}
        return message_of(load_data, "mnist", data_dir=write(tmp_path, arrays)).removeprefix(f"{tmp_path}/")

    labels = np.zeros(20, np.uint8)
    assert said(f1=labels[:19]) == (
        "train-labels-idx1-ubyte: must have a label for each of the 20 images in train-images-idx3-ubyte, got 19"
    )
    assert said(f1=labels + 10) == "train-labels-idx1-ubyte: must hold labels from 0 to 9, got 10"
    assert said(f2=np.zeros((10, 8, 8), np.uint8)) == (
        "t10k-images-idx3-ubyte: must hold images of 28 x 28 pixels, got 8 x 8"
    )
    assert said(f0=np.zeros((0, 28, 28), np.uint8), f1=labels[:0]) == (
        "train-images-idx3-ubyte: must hold at least one image"
    )


def test_a_file_of_the_published_size_must_be_the_published_one(tmp_path: Path) -> None:
    arrays = small(test=10_000)
    arrays[NAMES[0]], arrays[NAMES[1]] = np.zeros((60_000, 28, 28), np.uint8), np.zeros(60_000, np.uint8)
    write(tmp_path, arrays, zipped=True)
    got = hashlib.md5(idx_bytes(arrays[NAMES[0]])).hexdigest()
    expected = {"mnist": "6bbc9ace898e44ae57da46a324031adb", "fashion-mnist": "f4a8712d7a061bf5bd6d2ca38dc4d50a"}
    for name, md5 in expected.items():
        assert message_of(load_data, name, data_dir=tmp_path) == (
            f"{tmp_path}/train-images-idx3-ubyte.gz: must be the published {name} (MD5 {md5}), got MD5 {got}"
        )


def test_a_limit_keeps_the_first_images(tmp_path: Path) -> None:
    arrays = small()
    write(tmp_path, arrays)
    data = load_data("mnist", data_dir=tmp_path, limit=7)
    split = data.split(3)
    assert (data.train_size, data.val_size) == (7, 10)
    np.testing.assert_array_equal(np.rint(split.train.x[:, 0] * 255), arrays[NAMES[0]][:7])
    np.testing.assert_array_equal(split.train.y, np.arange(7))
    assert data.digest == load_data("mnist", data_dir=tmp_path).digest
    over = load_data("mnist", data_dir=tmp_path, limit=21)
    assert over.train_size == 20
    assert "--limit 21 limits nothing: there are 20 training samples" in over.notes


def test_every_seed_shares_the_split(tmp_path: Path) -> None:
    data = load_data("mnist", data_dir=write(tmp_path, small()))
    assert data.split(0).train.x is data.split(1).train.x


# Downloading.


@pytest.fixture
def torchvision(monkeypatch):
    """A stand-in for torchvision whose data sets call a function instead of the network."""

    def torchvision(fetch):
        module = types.ModuleType("torchvision.datasets")
        module.MNIST = module.FashionMNIST = fetch
        monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
        monkeypatch.setitem(sys.modules, "torchvision.datasets", module)

    return torchvision


def test_torchvision_fetches_only_when_asked(tmp_path: Path, torchvision) -> None:
    calls = []

    def fetch(root: str, train: bool, download: bool) -> None:
        calls.append(root)
        assert download
        write(Path(root) / "MNIST/raw", small(11))

    torchvision(fetch)
    assert "has no IDX files" in message_of(load_data, "mnist", data_dir=tmp_path)
    assert calls == []
    assert load_data("mnist", data_dir=tmp_path, download=True).train_size == 11
    assert load_data("mnist", data_dir=tmp_path, download=True).train_size == 11
    assert calls == [str(tmp_path)], "what is there is not fetched again"


def test_a_download_that_fails(tmp_path: Path, torchvision, monkeypatch) -> None:
    def fetch(root: str, train: bool, download: bool) -> None:
        raise RuntimeError("Error downloading\n train-images-idx3-ubyte.gz:\nno route")

    torchvision(fetch)
    said = message_of(load_data, "fashion-mnist", data_dir=tmp_path, download=True)
    assert said == (
        f"--download could not fetch fashion-mnist to {tmp_path}: "
        "Error downloading train-images-idx3-ubyte.gz: no route"
    )
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    assert message_of(load_data, "mnist", data_dir=tmp_path, download=True) == (
        "--download needs torchvision: pip install torchvision"
    )


# The real thing.

real = pytest.mark.skipif(not REAL.is_dir(), reason="MNIST is not here")


@real
def test_the_published_mnist_passes_its_checksums() -> None:
    """Counts of the classes as published: yann.lecun.com/exdb/mnist; mean and deviation as in torchvision's example."""
    (train, test), notes = load_mnist("mnist", REAL, download=False)
    assert notes == []
    assert np.bincount(train[1]).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test[1]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train[1][:5].tolist() == [5, 0, 4, 1, 9]
    pixels = train[0] / 255
    assert round(pixels.mean(), 4) == 0.1307
    assert round(pixels.std(), 4) == 0.3081


@real
def test_mnist_passed_off_as_fashion_mnist() -> None:
    assert "must be the published fashion-mnist (MD5 f4a8712d" in message_of(load_mnist, "fashion-mnist", REAL, False)


@real
def test_one_byte_of_the_real_files_changed(tmp_path: Path) -> None:
    for path in REAL.iterdir():
        (tmp_path / path.name).symlink_to(path.resolve())
    damaged = tmp_path / "t10k-labels-idx1-ubyte.gz"
    data = bytearray(gzip.decompress(damaged.read_bytes()))
    data[100] ^= 1
    damaged.unlink()
    damaged.write_bytes(gzip.compress(data))
    said = message_of(load_mnist, "mnist", tmp_path, False)
    assert said.startswith(f"{damaged}: must be the published mnist (MD5 27ae3e4e09519cfbb04c329615203637), got MD5 ")
