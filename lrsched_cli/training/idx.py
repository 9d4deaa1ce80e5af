"""IDX files: the format of MNIST and of the data sets that followed it.

The format is described at http://yann.lecun.com/exdb/mnist/ ("The IDX file format"): two zero bytes, a byte for the
type of the values, a byte for the number of dimensions, each dimension as a big-endian 32-bit integer, the values.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from lrsched_cli.errors import SpecError
from lrsched_cli.metrics import read_file

#: The most bytes of a file, and of what is in it: twenty times the training images of MNIST.
MAX_BYTES = 1 << 30

_GZIP = b"\x1f\x8b"
_UNSIGNED_BYTE = 8


def read_idx(path: Path, name: str, dimensions: int) -> tuple[npt.NDArray[np.uint8], str]:
    """The array of unsigned bytes in an IDX file, plain or gzipped, and the MD5 of the decompressed content.

    ``name`` is the path as its user knows it, for errors. The file must hold an array of so many dimensions: 3 for
    images ``(n, height, width)``, 1 for labels ``(n,)``. The array is read-only.

    Raises ``SpecError`` where the file cannot be read, is no such file, or holds more or less than its header
    promises; never more than the header promises is decompressed.
    """
    data = read_file(path, name, MAX_BYTES)
    try:
        # What the content says counts, not the ending: browsers unpack a .gz without taking its ending away.
        if not data.startswith(_GZIP):
            return _parse(io.BytesIO(data), dimensions)
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            return _parse(stream, dimensions)
    except SpecError as error:
        raise error.locate(file=name) from None
    except EOFError:
        raise SpecError("is truncated: the gzip data ends too early", file=name) from None
    except (OSError, zlib.error) as error:  # gzip's own errors are OSErrors
        raise SpecError(f"is not a sound gzip file: {error}", file=name) from None


def _parse(stream: BinaryIO | gzip.GzipFile, dimensions: int) -> tuple[npt.NDArray[np.uint8], str]:
    length = 4 + 4 * dimensions
    header = stream.read(length)
    if not header:
        raise SpecError("is empty")
    if len(header) < 4 or header[:2] != b"\0\0":
        raise SpecError(f"is not an IDX file: it begins with {header[:4].hex(' ')}")
    if header[2] != _UNSIGNED_BYTE:
        raise SpecError(f"must hold unsigned bytes (IDX type 0x08), got type 0x{header[2]:02x}")
    if header[3] != dimensions:
        raise SpecError(f"must have {dimensions} IDX dimension{'s' * (dimensions > 1)}, got {header[3]}")
    if len(header) < length:
        raise SpecError("is truncated: it ends within its header")
    shape = struct.unpack(f">{dimensions}I", header[4:])
    promised = math.prod(shape)
    size = " x ".join(map(str, shape))
    if promised > MAX_BYTES:
        raise SpecError(f"is larger than {MAX_BYTES >> 20} MB: its header promises {size} bytes")
    values = stream.read(promised)
    if len(values) < promised:
        raise SpecError(f"is truncated: its header promises {size} bytes, it holds {len(values)}")
    if stream.read(1):
        raise SpecError(f"holds more than the {size} bytes that its header promises")
    md5 = hashlib.md5(header, usedforsecurity=False)
    md5.update(values)
    return np.frombuffer(values, np.uint8).reshape(shape), md5.hexdigest()
