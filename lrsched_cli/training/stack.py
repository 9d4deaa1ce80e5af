"""Many networks of one architecture as one: every parameter stacked, one pass forth and one back for all members.

Three ways, chosen by what the module is made of: layers with a backward pass by hand, any module that ``torch.func``
can map over its parameters, and member after member for the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from lrsched_cli.errors import SpecError
from lrsched_cli.training.flat import Flat
from lrsched_cli.training.layers import LAYERS, BatchNorm, Flatten, Layer, Linear
from lrsched_cli.training.losses import loss_and_gradient, loss_of

Make = Callable[[], nn.Module]


class Stack(ABC):
    """``M`` networks that are trained together.

    Attributes
    ----------
    params, grads: their parameters and gradients, as :class:`Flat`.
    buffers: what else they keep, such as the running statistics of batch norm.
    how: how they are trained together, in words.
    """

    how = ""
    #: Under what nothing is recorded for autograd: the lightest that leaves what the way back needs.
    apart: Callable[[], AbstractContextManager[Any]] = torch.no_grad

    def __init__(
        self, modules: Sequence[nn.Module], owners: Sequence[int], dtype: torch.dtype, device: torch.device
    ) -> None:
        """``modules`` are freshly made networks, one a seed, and ``owners[m]`` says whose weights member ``m`` has."""
        self.members = len(owners)
        values = [self.values(module) for module in modules]
        template_params, template_buffers = values[0]
        shapes = [[tensor.shape for part in value for tensor in part] for value in values]
        if any(other != shapes[0] for other in shapes[1:]):
            raise SpecError("the model has other shapes for other seeds: they cannot be compared")
        self.params = Flat(self.members, [v.shape for v in template_params], dtype, device)
        self.grads = self.params.like()
        self.buffers = Flat(self.members, [v.shape for v in template_buffers], dtype, device)
        with torch.no_grad():
            for member, owner in enumerate(owners):
                params, buffers = values[owner]
                for mine, value in zip(
                    (*self.params.row(member), *self.buffers.row(member)), (*params, *buffers), strict=True
                ):
                    mine.copy_(value)

    @abstractmethod
    def values(self, module: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        """A network's parameters and buffers, in the shapes in which they are stacked."""

    @abstractmethod
    def loss_and_grads(self, x: Tensor, y: Tensor) -> Tensor:
        """The mean loss of each member over its batch, shape ``(M,)``, after filling the gradients.

        ``x`` is ``(M, B, ...)`` and ``y`` is ``(M, B)``.
        """

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """What each member says of its samples outside training, shape ``(M, B, C)``."""

    @abstractmethod
    def observe(self, x: Tensor, share: float) -> None:
        """A forward pass in training mode, of whose statistics this share goes into the running ones."""


class Layered(Stack):
    """A ``Sequential`` of known layers, each with its backward pass by hand."""

    how = "stacked"
    apart = torch.inference_mode

    def __init__(
        self, modules: Sequence[nn.Module], owners: Sequence[int], dtype: torch.dtype, device: torch.device
    ) -> None:
        template = modules[0]
        assert isinstance(template, nn.Sequential)
        self.layers: list[Layer] = [LAYERS[type(module)](module) for module in template]
        super().__init__(modules, owners, dtype, device)
        params, grads, buffers = iter(self.params.views), iter(self.grads.views), iter(self.buffers.views)
        for layer in self.layers:
            layer.bind(params, grads, buffers)
        self.first = next(i for i, layer in enumerate(self.layers) if layer.shapes)
        self._way_back = [(layer, i > self.first) for i, layer in enumerate(self.layers)][self.first :][::-1]

    def values(self, module: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        assert isinstance(module, nn.Sequential)
        params, buffers = [], []
        for layer, own in zip(self.layers, module, strict=True):
            mine = layer.values(own)
            params += mine[0]
            buffers += mine[1]
        return params, buffers

    def loss_and_grads(self, x: Tensor, y: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer.forward(x)
        losses, g = loss_and_gradient(x, y)
        for layer, need_input in self._way_back:
            g = layer.backward(g, need_input)
        return losses

    def logits(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer.infer(x)
        return x

    def observe(self, x: Tensor, share: float) -> None:
        norms = [layer for layer in self.layers if isinstance(layer, BatchNorm)]
        for norm in norms:
            norm.share.fill_(share)
        for layer in self.layers:
            x = layer.forward(x)
        for norm in norms:
            norm.share.fill_(norm.momentum)


def is_layered(module: nn.Module, dims: int) -> bool:
    """Whether a network is made of known layers in an order in which none overwrites what another still needs.

    ``dims`` are those of a batch of samples: with more than two, the first layer must flatten them.
    """
    if type(module) is not nn.Sequential or not all(type(layer) in LAYERS for layer in module):
        return False
    layers = list(module)
    if sum(1 for layer in layers for _ in layer.parameters()) > sum(1 for _ in module.parameters()):
        return False  # layers that share weights
    if len(set(map(id, layers))) < len(layers) or not all(p.requires_grad for p in module.parameters()):
        return False
    if not layers or (dims > 2 and type(layers[0]) is not nn.Flatten):
        return False
    if any(module._forward_hooks or module._forward_pre_hooks for module in module.modules()):
        return False
    for layer in layers:
        if type(layer) is nn.BatchNorm1d and not (
            layer.affine and layer.track_running_stats and layer.momentum is not None
        ):
            return False
        if type(layer) is nn.Flatten and (layer.start_dim, layer.end_dim) != (1, -1):
            return False
    made = [LAYERS[type(layer)](layer) for layer in layers]
    solid = [layer for layer in made if not isinstance(layer, Flatten)]
    if not solid or not isinstance(solid[-1], Linear) or not isinstance(solid[0], (Linear, BatchNorm)):
        return False
    return all(isinstance(before, (Linear, BatchNorm)) or bool(layer.shapes) for before, layer in pairwise(solid))


class _Whole(Stack):
    """Stacked as the module itself has them."""

    def __init__(
        self, modules: Sequence[nn.Module], owners: Sequence[int], dtype: torch.dtype, device: torch.device
    ) -> None:
        self.module = modules[0].to(device=device, dtype=dtype)
        self.names = [name for name, p in self.module.named_parameters() if p.requires_grad]
        self.buffer_names = [name for name, _ in self._others(self.module)]
        #: The mode that the networks were put in; None before that, and where somebody else may have changed it.
        self._training: bool | None = None
        super().__init__(modules, owners, dtype, device)

    def _set_mode(self, modules: Iterable[nn.Module], training: bool) -> None:
        """Put networks in a mode, which walks over all their parts: not for every batch."""
        if self._training is not training:
            self._training = training
            for module in modules:
                module.train(training)

    @staticmethod
    def _others(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
        """Buffers, and parameters that are not trained; counters of batches are of no use and left out."""
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                yield name, parameter
        for name, buffer in module.named_buffers():
            if buffer.is_floating_point():
                yield name, buffer

    def values(self, module: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        own = dict(module.named_parameters())
        return [own[name].detach() for name in self.names], [buffer.detach() for _, buffer in self._others(module)]


class Mapped(_Whole):
    """Any module that ``torch.func.vmap`` can map over its parameters, with autograd for the way back."""

    how = "mapped by torch.func"

    def __init__(
        self, modules: Sequence[nn.Module], owners: Sequence[int], dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__(modules, owners, dtype, device)
        self.tensors = dict(zip(self.names, self.params.views, strict=True))
        self.others = dict(zip(self.buffer_names, self.buffers.views, strict=True))
        self._mapped = torch.func.vmap(self._one, in_dims=(0, 0, 0), randomness="different")

    def _one(self, params: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(self.module, (params, buffers), (x,))  # type: ignore[no-any-return]

    def _forward(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        return self._mapped(params, self.others, x)  # type: ignore[no-any-return]

    def loss_and_grads(self, x: Tensor, y: Tensor) -> Tensor:
        self._set_mode([self.module], True)
        with torch.enable_grad():
            leaves = {name: view.detach().requires_grad_() for name, view in self.tensors.items()}
            losses = loss_of(self._forward(leaves, x), y)
            found = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True)
        for view, grad in zip(self.grads.views, found, strict=True):
            view.zero_() if grad is None else view.copy_(grad)
        return losses.detach()

    def logits(self, x: Tensor) -> Tensor:
        self._set_mode([self.module], False)
        return self._forward(self.tensors, x)

    def observe(self, x: Tensor, share: float) -> None:
        self._training = None
        with _momentum(self.module, share):
            self._forward(self.tensors, x)


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class OneByOne(_Whole):
    """Member after member, for modules that nothing can map over."""

    how = "one after the other"

    def __init__(
        self, modules: Sequence[nn.Module], owners: Sequence[int], dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__(modules, owners, dtype, device)
        self.own = [modules[owner].to(device=device, dtype=dtype) for owner in owners]
        self.rows = [
            dict(zip((*self.names, *self.buffer_names), (*self.params.row(m), *self.buffers.row(m)), strict=True))
            for m in range(self.members)
        ]

    def _forward(self, member: int, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        own = self.rows[member]
        leaves = {name: own[name].detach().requires_grad_() for name in self.names}
        rest = {name: own[name] for name in self.buffer_names}
        return torch.func.functional_call(self.own[member], (leaves, rest), (x,)), list(leaves.values())

    def loss_and_grads(self, x: Tensor, y: Tensor) -> Tensor:
        self._set_mode(set(self.own), True)
        losses = []
        for member in range(self.members):
            with torch.enable_grad():
                logits, leaves = self._forward(member, x[member])
                loss = loss_of(logits.unsqueeze(0), y[member].unsqueeze(0))
                found = torch.autograd.grad(loss.sum(), leaves, allow_unused=True)
            for view, grad in zip(self.grads.row(member), found, strict=True):
                view.zero_() if grad is None else view.copy_(grad)
            losses.append(loss.detach())
        return torch.cat(losses)

    def logits(self, x: Tensor) -> Tensor:
        self._set_mode(set(self.own), False)
        return torch.stack([self._forward(member, x[member])[0].detach() for member in range(self.members)])

    def observe(self, x: Tensor, share: float) -> None:
        self._training = None
        for member in range(self.members):
            with _momentum(self.own[member], share):
                self._forward(member, x[member])


@contextmanager
def _momentum(module: nn.Module, share: float) -> Iterator[None]:
    """A module in training mode whose batch norms take so much of each batch into their running statistics."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    usual = [part.momentum for part in norms]
    module.train()
    for part in norms:
        part.momentum = share
    try:
        yield
    finally:
        for part, momentum in zip(norms, usual, strict=True):
            part.momentum = momentum


def way_of(make: Make, sample: Tensor, labels: Tensor) -> tuple[type[Stack], str]:
    """How networks of this architecture can be trained together, found by trying; and why not better, if so.

    ``sample`` is ``(B, ...)`` with ``labels`` ``(B,)``.
    """
    module = make()
    if is_layered(module, sample.dim()):
        return Layered, ""
    if sample.device.type == "cpu" and any(isinstance(part, CONVOLUTIONS) for part in module.modules()):
        # One convolution of many groups takes half as long again as that many convolutions (LeNet, batches of 64).
        return OneByOne, "convolutions are faster so on a CPU"
    x, y = sample.unsqueeze(0).expand(2, *sample.shape), labels.unsqueeze(0).expand(2, *labels.shape)
    state = torch.random.get_rng_state()
    try:
        mapped = Mapped([module], [0, 0], sample.dtype, sample.device)
        mapped.loss_and_grads(x, y)
        mapped.logits(x)
    except Exception as error:  # whatever a user's module does under vmap
        return OneByOne, f"torch.func cannot map over it ({_first_line(error)})"
    finally:
        torch.random.set_rng_state(state)
    return Mapped, ""


def _first_line(error: Any) -> str:
    text = str(error).strip() or type(error).__name__
    line = text.splitlines()[0]
    return line if len(line) <= 100 else line[:97] + "..."
