"""A network is tried before it is trained: what would fail, or train otherwise in an ensemble, is told first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lrsched_cli.errors import SpecError
from lrsched_cli.training.stack import OneByOne, Stack, way_of

Make = Callable[[], nn.Module]


def way_for(make: Make, name: str, outputs: int | None, x: Tensor, y: Tensor) -> tuple[type[Stack], list[str]]:
    """How networks that ``make`` makes are trained together, and what to say of them; a ``SpecError`` if they cannot.

    ``x`` is a batch of samples and ``y`` its labels; ``outputs`` are the logits that it must give, if that is known.
    """
    try:
        one, other = _made(make, 0), _made(make, 1)
        _refuse_shape(name, one, outputs, x)
        way, why = way_of(make, x, y)
        if not _alike(one, other):
            way, why = OneByOne, "what it keeps beside its parameters differs from seed to seed"
        trial = way([_made(make, 0), _made(make, 1)], [0, 1], x.dtype, x.device)
        xs, ys = x.unsqueeze(0).expand(2, *x.shape), y.unsqueeze(0).expand(2, *y.shape)
        with trial.apart():
            trial.loss_and_grads(xs, ys)
            trial.logits(xs)
    except SpecError:
        raise
    except Exception as error:  # whatever a user's module does
        text = " ".join(str(error).split())
        text = text if len(text) <= 300 else text[:297] + "..."
        raise SpecError(f"{name} cannot be trained: {type(error).__name__}: {text}") from None
    notes = [f"the networks are trained {way.how}" + (f": {why}" if why else "")]
    if any(isinstance(part, nn.modules.dropout._DropoutNd) for part in one.modules()):
        notes.append("what dropout draws depends on how the runs are divided over processes")
    return way, notes


def _made(make: Make, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    module = make()
    if not isinstance(module, nn.Module):
        raise TypeError(f"made a {type(module).__name__}, not an nn.Module")
    return module


def _refuse_shape(name: str, module: nn.Module, outputs: int | None, x: Tensor) -> None:
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise SpecError(f"{name} has no parameters to train")
    module.to(dtype=x.dtype, device=x.device).train()
    before = {key: id(buffer) for key, buffer in module.named_buffers()}
    with torch.no_grad():
        said: Any = module(x)
    if not isinstance(said, Tensor) or said.ndim != 2 or len(said) != len(x) or outputs not in (None, said.shape[1]):
        gave = tuple(said.shape) if isinstance(said, Tensor) else f"a {type(said).__name__}"
        raise SpecError(f"{name} must give (batch, classes), gave {gave} for a batch of {len(x)}")
    for key, buffer in module.named_buffers():
        if before.get(key) != id(buffer):
            raise SpecError(f"{name} replaces its buffer {key} in training: change it in place, as by copy_")


def _alike(one: nn.Module, other: nn.Module) -> bool:
    """Whether all that two networks keep beside what is stacked is the same."""
    kept, beside = list(_kept(one)), list(_kept(other))
    return len(kept) == len(beside) and all(
        a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(kept, beside, strict=True)
    )


def _kept(module: nn.Module) -> Iterator[Tensor]:
    """Tensors that are neither parameters nor floating buffers."""
    yield from (buffer.cpu() for buffer in module.buffers() if not buffer.is_floating_point())
    for part in module.modules():
        yield from (value.detach().cpu() for value in vars(part).values() if isinstance(value, Tensor))
