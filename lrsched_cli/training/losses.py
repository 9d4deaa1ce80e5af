"""The loss of every member of an ensemble, and its gradient by hand: mean cross-entropy over a batch."""

from __future__ import annotations

import torch
from torch import Tensor

binary_cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits


def loss_of(logits: Tensor, y: Tensor) -> Tensor:
    """The mean loss of each member, shape ``(M,)``; autograd passes through it.

    ``logits`` is ``(M, B, C)`` and ``y`` the labels ``(M, B)``. With one logit it is the binary cross-entropy of
    ``torch.nn.BCEWithLogitsLoss``, with more ``torch.nn.CrossEntropyLoss``.
    """
    return sample_losses(logits, y).mean(1)


def sample_losses(logits: Tensor, y: Tensor) -> Tensor:
    """The loss of each sample, shape ``(M, B)``."""
    if logits.shape[-1] == 1:
        return binary_cross_entropy(logits.squeeze(-1), y, reduction="none")
    # Shifted as log_softmax shifts them, or a small loss would drown in the rounding of large logits.
    shifted = logits - logits.amax(-1, keepdim=True).detach()
    picked = shifted.gather(2, y.unsqueeze(-1)).squeeze(-1)
    return shifted.exp().sum(-1).log() - picked


def hits(logits: Tensor, y: Tensor) -> Tensor:
    """How many samples each member gets right, shape ``(M,)``."""
    said = logits.squeeze(-1) > 0 if logits.shape[-1] == 1 else logits.argmax(-1)
    return (said == y).sum(1)


def loss_and_gradient(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The mean loss of each member and its gradient by the logits, which it may overwrite."""
    batch = logits.shape[1]
    if logits.shape[-1] == 1:
        labels = y.unsqueeze(-1)
        losses = binary_cross_entropy(logits, labels, reduction="none").mean((1, 2))
        # Not by torch's sigmoid, which rounds a number by where in a tensor it stands.
        small = logits.abs().neg_().exp_()
        likely = (small + 1).reciprocal_()
        return losses, torch.where(logits >= 0, likely, small.mul_(likely)).sub_(labels).div_(batch)
    # With the classes in the middle every pass over them is over whole vectors of samples.
    labels = y.unsqueeze(1)
    logits = logits.transpose(1, 2).contiguous()
    logits.sub_(logits.amax(1, keepdim=True))
    picked = logits.gather(1, labels)
    total = logits.exp_().sum(1, keepdim=True)
    losses = total.log().sub_(picked).mean((1, 2))
    one = logits.new_full((1, 1, 1), -1.0).expand(labels.shape)
    return losses, logits.div_(total).scatter_add_(1, labels, one).div_(batch).transpose(1, 2)
