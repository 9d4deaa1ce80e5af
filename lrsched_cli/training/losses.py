"""The loss of every member of an ensemble, and its gradient by hand: mean cross-entropy over a batch."""

from __future__ import annotations

import torch
from torch import Tensor


def _softplus(x: Tensor) -> tuple[Tensor, Tensor]:
    """``log(1 + exp(x))`` and ``exp(-|x|)``, both without overflow.

    Of operations that give a number the same result wherever in a tensor it stands, as torch's own softplus does not.
    """
    small = x.abs().neg_().exp_()
    return torch.relu(x).add_(small.log1p()), small


def loss_of(logits: Tensor, y: Tensor) -> Tensor:
    """The mean loss of each member, shape ``(M,)``; autograd passes through it.

    ``logits`` is ``(M, B, C)`` and ``y`` the labels ``(M, B)``. With one logit it is the binary cross-entropy of
    ``torch.nn.BCEWithLogitsLoss``, with more ``torch.nn.CrossEntropyLoss``.
    """
    return sample_losses(logits, y).mean(1)


def sample_losses(logits: Tensor, y: Tensor) -> Tensor:
    """The loss of each sample, shape ``(M, B)``."""
    if logits.shape[-1] == 1:
        flat = logits.squeeze(-1)
        return _softplus(flat)[0] - flat * y
    picked = logits.gather(2, y.unsqueeze(-1)).squeeze(-1)
    return torch.logsumexp(logits, -1) - picked


def hits(logits: Tensor, y: Tensor) -> Tensor:
    """How many samples each member gets right, shape ``(M,)``."""
    said = logits.squeeze(-1) > 0 if logits.shape[-1] == 1 else logits.argmax(-1)
    return (said == y).sum(1)


def loss_and_gradient(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The mean loss of each member and its gradient by the logits, which it may overwrite."""
    batch = logits.shape[1]
    if logits.shape[-1] == 1:
        labels = y.unsqueeze(-1)
        positive, small = _softplus(logits)
        losses = positive.sub_(logits * labels).mean((1, 2))
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
