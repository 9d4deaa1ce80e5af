"""The models that ``train`` knows by name, as plain ``torch.nn`` modules; ``python:`` names one of the user's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from lrsched_cli.errors import SpecError, nearest, shown
from lrsched_cli.training.python_data import guarded

MODELS = {
    "linear": "One linear layer: softmax (or logistic) regression.",
    "mlp": "Hidden layers of the given widths with ReLU, as in mlp:64,32; mlp-bn:64,32 has batch norm too.",
    "lenet": "D2L's LeNet for images, with ReLU and max pooling.",
}
#: Hidden units and layers that a model may have at most.
WIDEST, DEEPEST = 65536, 64


@dataclass(frozen=True)
class Model:
    """A model as it was named.

    Attributes
    ----------
    name: one of ``MODELS``, or ``python``.
    hidden: widths of the hidden layers.
    batch_norm: whether there is batch norm: before each activation, or anywhere in the user's own module.
    outputs: logits, or None for one a class, and a single one for two classes.
    factory: what makes the user's own module.
    """

    name: str
    hidden: tuple[int, ...] = ()
    batch_norm: bool = False
    outputs: int | None = None
    factory: Callable[[], Any] | None = None

    def outputs_for(self, classes: int) -> int:
        if self.outputs is not None:
            if self.outputs < classes and not (self.outputs == 1 and classes == 2):
                raise SpecError(f"has {self.outputs} outputs for {classes} classes", parameter="--model")
            return self.outputs
        return 1 if classes == 2 else classes

    def measured(self, x: Any) -> Model:
        """A user's own model with what is known of it once samples ``x`` have passed through it.

        Raises ``SpecError`` in one line for all that the user's code raises, and for what it makes otherwise.
        """
        import torch

        assert self.factory is not None
        module = guarded("making the model", "--model", self.factory)
        if not isinstance(module, torch.nn.Module):
            raise SpecError(f"must make an nn.Module, got {shown(module)}", parameter="--model")
        if any(torch.nn.parameter.is_lazy(parameter) for parameter in module.parameters()):
            raise SpecError("must give every layer its sizes: lazy ones have no weights yet", parameter="--model")
        with torch.no_grad():
            logits = guarded("passing samples through it", "--model", module.float().eval(), torch.as_tensor(x).float())
        if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != len(x):
            told = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
            raise SpecError(f"must give (batch, classes), gave {told} for a batch of {len(x)}", parameter="--model")
        norms = [part for part in module.modules() if isinstance(part, torch.nn.modules.batchnorm._BatchNorm)]
        if any(norm.track_running_stats and norm.momentum is None for norm in norms):
            raise SpecError("must give its batch norm a momentum: train keeps no count of batches", parameter="--model")
        flat = any(isinstance(norm, torch.nn.BatchNorm1d) for norm in norms)
        return replace(self, outputs=logits.shape[1], batch_norm=flat)

    def make(self, shape: tuple[int, ...], classes: int) -> Any:
        """A freshly initialised ``nn.Module`` for samples of this shape, by torch's own default initialisation."""
        if self.factory is not None:
            return self.factory()
        outputs = self.outputs_for(classes)
        if self.name == "lenet":
            return _lenet(shape, outputs)
        return _perceptron(shape, self.hidden, self.batch_norm, outputs)


def parse_model(text: str) -> Model:
    """Read ``linear``, ``mlp:64,32``, ``mlp-bn:100,50,outputs=2`` or ``lenet``; raises ``SpecError``."""
    name, _, rest = text.partition(":")
    kind = "mlp" if name == "mlp-bn" else name
    if kind not in MODELS:
        known = [*MODELS, "mlp-bn", "python"]
        wanted = f"must be {', '.join(MODELS)} or python:MODULE:FUNCTION"
        raise SpecError(f"{wanted}, got {shown(text)}{nearest(name, known)}", parameter="--model")
    batch_norm, outputs, hidden = name == "mlp-bn", None, []
    for word in filter(None, (piece.strip() for piece in rest.split(","))):
        if kind == "mlp" and re.fullmatch(r"\d{1,6}", word) and 1 <= int(word) <= WIDEST:
            hidden.append(int(word))
        elif kind == "mlp" and word in ("bn", "batch-norm"):
            batch_norm = True
        elif match := re.fullmatch(r"outputs=(\d{1,6})", word):
            outputs = int(match[1])
        else:
            takes = f"widths from 1 to {WIDEST}, bn and outputs=N" if kind == "mlp" else "outputs=N"
            raise SpecError(f"{name} takes {takes} after its colon, got {shown(word)}", parameter="--model")
    if kind == "mlp" and not 1 <= len(hidden) <= DEEPEST:
        raise SpecError(
            f"mlp needs 1 to {DEEPEST} hidden widths, as in mlp:64,32; got {shown(text)}", parameter="--model"
        )
    if outputs == 0:
        raise SpecError("outputs must be >= 1, got 0", parameter="--model")
    return Model(kind, tuple(hidden), batch_norm, outputs)


def _perceptron(shape: tuple[int, ...], hidden: tuple[int, ...], batch_norm: bool, outputs: int) -> Any:
    from math import prod

    from torch import nn

    layers: list[Any] = [nn.Flatten()] if len(shape) > 1 else []
    width = prod(shape)
    for size in hidden:
        # Before batch norm a bias does nothing, and Adam would make full steps of the rounding of its gradient.
        layers.append(nn.Linear(width, size, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm1d(size))
        layers.append(nn.ReLU())
        width = size
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def _lenet(shape: tuple[int, ...], outputs: int) -> Any:
    """Dive into Deep Learning, section 12.11: LeCun et al. 1998 with ReLU and max pooling in place of the originals."""
    from torch import nn

    if len(shape) != 3 or min(shape[1:]) < 12:
        told = " x ".join(map(str, shape))
        raise SpecError(
            f"lenet takes images of 12 x 12 and more, such as mnist's, got samples of {told}", parameter="--model"
        )
    channels, height, width = shape
    flat = 16 * ((height // 2 - 4) // 2) * ((width // 2 - 4) // 2)
    return nn.Sequential(
        nn.Conv2d(channels, 6, kernel_size=5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, kernel_size=5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(flat, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, outputs),
    )  # fmt: skip
