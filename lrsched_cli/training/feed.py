"""Batches for an ensemble: every member of a seed sees the same samples in the same order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lrsched_cli.training.data import Data, Part, shuffled

#: An epoch's samples are put in order at once where they are no more bytes than this, and batch by batch otherwise.
WHOLE = 4 << 20
#: Samples that are judged at a time: fixed, so that no result depends on how many members share a pass.
JUDGED = 512


@dataclass(frozen=True)
class Batching:
    """How an epoch is cut into updates.

    Attributes
    ----------
    size: samples of one update.
    used: samples of an epoch, those left over by ``drop_last`` not among them.
    """

    size: int
    used: int

    @property
    def sizes(self) -> list[int]:
        """The samples of each update of an epoch."""
        full, rest = divmod(self.used, self.size)
        return [self.size] * full + ([rest] if rest else [])


def order(seed: int, epoch: int, samples: int) -> npt.NDArray[np.int64]:
    """The order in which a seed sees the training samples in an epoch, counted from 0; the same on every machine."""
    return shuffled(seed, samples, (*b"epoch", epoch))


class Samples:
    """Labelled samples of some seeds on the device: ``x`` is ``(S, n, ...)``, or ``(1, n, ...)`` of all."""

    def __init__(self, parts: Sequence[Part], outputs: int, dtype: torch.dtype, device: torch.device) -> None:
        # A label beside one logit is a number, beside several an index.
        label = dtype if outputs == 1 else torch.int64
        self.x = _together([part.x for part in parts], dtype).to(device)
        self.y = _together([part.y for part in parts], label).to(device)
        self.count = self.x.shape[1]

    def chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All samples in order, a readable number at a time."""
        for start in range(0, self.count, JUDGED):
            yield self.x[:, start : start + JUDGED], self.y[:, start : start + JUDGED]


def _together(arrays: Sequence[np.ndarray], dtype: torch.dtype) -> Tensor:
    """Arrays of one shape as a tensor with one more dimension; the only one is not copied where it need not be."""
    tensors = [torch.from_numpy(np.require(array, requirements=["C", "W"])).to(dtype) for array in arrays]
    return tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(tensors)


class Feed:
    """The data of the seeds that one ensemble needs."""

    def __init__(
        self, data: Data, seeds: Sequence[int], batching: Batching, outputs: int,
        dtype: torch.dtype, device: torch.device,
    ) -> None:  # fmt: skip
        splits = [data.split(seed) for seed in (seeds if data.seeded else [0])]
        self.seeds = list(seeds)
        self.batching = batching
        self.train = Samples([split.train for split in splits], outputs, dtype, device)
        self.val = Samples([split.val for split in splits], outputs, dtype, device)
        tests = [split.test for split in splits if split.test is not None]
        self.test = Samples(tests, outputs, dtype, device) if tests else None
        shared = self.train.x.shape[0] == 1
        count = self.train.count
        self._start = torch.tensor([0 if shared else s * count for s in range(len(self.seeds))]).unsqueeze(1)
        self._x, self._y = self.train.x.flatten(0, 1), self.train.y.flatten()
        numbers = len(self.seeds) * count * self._x[0].numel()
        self.whole = numbers * self._x.element_size() <= WHOLE

    def indices(self, epoch: int) -> Tensor:
        """Which samples make up an epoch, in order: ``(S, used)``, into all seeds' samples one after the other."""
        orders = np.stack([order(seed, epoch, self.train.count) for seed in self.seeds])
        return torch.from_numpy(orders[:, : self.batching.used]) + self._start

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch: ``x`` of shape ``(S, B, ...)`` and ``y`` of shape ``(S, B)``."""
        indices = self.indices(epoch)
        cuts = torch.split(indices, self.batching.sizes, 1)
        if not self.whole:
            for cut in cuts:
                yield self.gather(cut.reshape(-1).to(self._x.device), cut.shape[1])
            return
        flat = torch.cat([cut.reshape(-1) for cut in cuts]).to(self._x.device)
        x, y = self._x.index_select(0, flat), self._y.index_select(0, flat)
        seeds = len(self.seeds)
        sizes = [seeds * size for size in self.batching.sizes]
        for xs, ys in zip(torch.split(x, sizes), torch.split(y, sizes), strict=True):
            yield xs.view(seeds, -1, *xs.shape[1:]), ys.view(seeds, -1)

    def gather(self, flat: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """The samples of one batch of all seeds."""
        seeds = len(self.seeds)
        x, y = self._x.index_select(0, flat), self._y.index_select(0, flat)
        return x.view(seeds, size, *x.shape[1:]), y.view(seeds, size)
