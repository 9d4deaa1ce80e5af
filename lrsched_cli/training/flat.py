"""The parameters of many networks in one buffer, so that an optimizer passes over all of them at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Flat:
    """Stacked tensors that lie one after the other in a single one-dimensional buffer.

    Attributes
    ----------
    buffer: all numbers, shape ``(sum of sizes,)``.
    views: the stacked tensors, each of shape ``(members, *shape)`` and contiguous: batched matrix products are as fast
        on them as on tensors of their own.
    """

    def __init__(self, members: int, shapes: Sequence[Sequence[int]], dtype: torch.dtype, device: torch.device) -> None:
        self.members = members
        self.shapes = [tuple(shape) for shape in shapes]
        sizes = [members * torch.Size(shape).numel() for shape in self.shapes]
        self.buffer = torch.zeros(sum(sizes), dtype=dtype, device=device)
        self.views = [
            part.view(members, *shape) for part, shape in zip(torch.split(self.buffer, sizes), self.shapes, strict=True)
        ]

    def like(self) -> Flat:
        """Another one of the same shapes, all zeros."""
        return Flat(self.members, self.shapes, self.buffer.dtype, self.buffer.device)

    @property
    def member_size(self) -> int:
        """Numbers of one member."""
        return self.buffer.numel() // max(self.members, 1)

    def row(self, member: int) -> list[Tensor]:
        """One member's tensors."""
        return [view[member] for view in self.views]
