"""How networks are stacked: which of the three ways is taken and why, and each way against torch's own modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.optim.swa_utils import update_bn  # noqa: E402

from lrsched_cli.training.stack import Layered, Mapped, OneByOne, Stack, way_of  # noqa: E402
from tests.training.support import Branching, conv_norm, loss_between, norm_gelu  # noqa: E402

CPU = torch.device("cpu")
WAYS = [Layered, Mapped, OneByOne]


def way(make: Callable[[], nn.Module], shape: tuple[int, ...], outputs: int = 3) -> tuple[type[Stack], str]:
    torch.manual_seed(0)
    x = torch.randn(4, *shape, dtype=torch.float64)
    y = torch.randint(max(outputs, 2), (4,))
    return way_of(lambda: make().double(), x, y.double() if outputs == 1 else y)


# Which way.


class Wrapped(nn.Sequential):
    """May do more than its layers: a subclass is never taken apart."""


def shared_layer() -> nn.Module:
    layer = nn.Linear(5, 5)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(5, 3))


def shared_weights() -> nn.Module:
    made = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3))
    made[2].weight = made[0].weight
    return made


def frozen() -> nn.Module:
    made = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3))
    made[0].requires_grad_(False)
    return made


def hooked() -> nn.Module:
    made = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3))
    made[1].register_forward_hook(lambda module, args, output: 2 * output)
    return made


@pytest.mark.parametrize(
    ("make", "shape", "expected"),
    [
        (lambda: nn.Sequential(nn.Linear(5, 3)), (5,), Layered),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 3)), (1, 2, 3), Layered),
        (lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 3)), (5,), Layered),
        (lambda: nn.Linear(5, 3), (5,), Mapped),
        (lambda: Wrapped(nn.Linear(5, 3)), (5,), Mapped),
        # In place, an activation would overwrite the samples, or what the one before it needs on the way back.
        (lambda: nn.Sequential(nn.ReLU(), nn.Linear(5, 3)), (5,), Mapped),
        (lambda: nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.ReLU(), nn.Linear(4, 3)), (5,), Mapped),
        (lambda: nn.Sequential(nn.Linear(5, 3), nn.Tanh()), (5,), Mapped),
        # Linear works on the last of many dimensions.
        (lambda: nn.Sequential(nn.Linear(3, 1), nn.Flatten(), nn.Linear(2, 3)), (2, 3), Mapped),
        (lambda: nn.Sequential(nn.Flatten(2), nn.Flatten(), nn.Linear(12, 3)), (3, 2, 2), Mapped),
        (lambda: nn.Sequential(nn.BatchNorm1d(5, affine=False), nn.Linear(5, 3)), (5,), Mapped),
        (lambda: nn.Sequential(nn.BatchNorm1d(5, track_running_stats=False), nn.Linear(5, 3)), (5,), Mapped),
        (shared_layer, (5,), Mapped),
        (shared_weights, (5,), Mapped),
        (frozen, (5,), Mapped),
        (hooked, (5,), Mapped),
        (norm_gelu, (5,), Mapped),
        (conv_norm, (1, 12, 12), OneByOne),
        (Branching, (5,), OneByOne),
    ],
)
def test_the_way_that_suits_a_module(
    make: Callable[[], nn.Module], shape: tuple[int, ...], expected: type[Stack]
) -> None:
    found, why = way(make, shape)
    assert found is expected
    assert bool(why) == (expected is OneByOne)
    assert "\n" not in why
    for taken in {found, OneByOne, OneByOne if make is Branching else Mapped}:
        agrees(make, shape, taken)


def test_why_nothing_can_map_over_a_module() -> None:
    _, why = way(Branching, (5,))
    assert why.startswith(
        "torch.func cannot map over it (vmap: It looks like you're attempting to use a Tensor in some"
    )
    assert len(why) < 140


def test_convolutions_are_not_mapped_on_a_cpu() -> None:
    """One of many groups takes longer there than that many; on an accelerator it does not."""
    assert way(conv_norm, (1, 12, 12)) == (OneByOne, "convolutions are faster so on a CPU")


def test_a_failure_without_words_is_named_by_its_type() -> None:
    class Wordless(nn.Linear):
        def forward(self, x: Any) -> Any:
            if torch._C._functorch.is_batchedtensor(x):
                raise NotImplementedError
            return super().forward(x)

    assert way(lambda: Wordless(5, 3), (5,)) == (OneByOne, "torch.func cannot map over it (NotImplementedError)")


def test_finding_the_way_draws_nothing() -> None:
    """What a network draws after it is what it draws without."""
    module = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3)).double()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    way_of(lambda: module, torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator()), torch.zeros(4).long())
    assert torch.equal(torch.rand(4), expected)


def test_ways_have_words() -> None:
    assert [taken.how for taken in WAYS] == ["stacked", "mapped by torch.func", "one after the other"]


# Each way.


def modules_of(make: Callable[[], nn.Module]) -> list[nn.Module]:
    torch.manual_seed(5)
    return [make().double() for _ in range(2)]


def agrees(make: Callable[[], nn.Module], shape: tuple[int, ...], taken: type[Stack], outputs: int = 3) -> None:
    """Assert that members of two networks get autograd's losses, gradients, buffers and logits."""
    owners = [0, 1, 0]
    stack = taken(modules_of(make), owners, torch.float64, CPU)
    made = torch.Generator().manual_seed(6)
    x = torch.randn(3, 8, *shape, dtype=torch.float64, generator=made)
    y = torch.randint(max(outputs, 2), (3, 8), generator=made)
    losses = stack.loss_and_grads(x.clone(), y.double() if outputs == 1 else y)
    grads = [[g.clone() for g in stack.grads.row(m)] for m in range(3)]
    kept = [[b.clone() for b in stack.buffers.row(m)] for m in range(3)]
    logits = stack.logits(x.clone())
    for member, owner in enumerate(owners):
        module = modules_of(make)[owner].train()
        loss = loss_between(module(x[member]), y[member])
        loss.backward()
        torch.testing.assert_close(losses[member], loss.detach(), rtol=1e-12, atol=0)
        # Hand-made layers stack a weight transposed, which sums do not see; theirs are compared in test_layers.
        made_of = sum(float(p.grad.abs().sum()) for p in module.parameters() if p.grad is not None)
        assert sum(float(g.abs().sum()) for g in grads[member]) == pytest.approx(made_of, rel=1e-12)
        if taken is not Layered:
            trained = [p for p in module.parameters() if p.requires_grad]
            for ours, parameter in zip(grads[member], trained, strict=True):
                torch.testing.assert_close(ours, parameter.grad, rtol=1e-11, atol=1e-15)
        others = [*(p for p in module.parameters() if not p.requires_grad), *module.buffers()]
        expected = sum(float(b.sum()) for b in others if b.is_floating_point())
        assert sum(float(b.sum()) for b in kept[member]) == pytest.approx(expected, rel=1e-12, abs=1e-15)
        with torch.no_grad():
            torch.testing.assert_close(logits[member], module.eval()(x[member]), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("taken", WAYS)
@pytest.mark.parametrize("outputs", [1, 3])
def test_every_way_of_one_network(taken: type[Stack], outputs: int) -> None:
    agrees(
        lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, outputs)),
        (5,), taken, outputs,
    )  # fmt: skip


@pytest.mark.parametrize("taken", [Mapped, OneByOne])
def test_a_parameter_that_the_loss_does_not_need(taken: type[Stack]) -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(5, 3), nn.Linear(2, 2)

        def forward(self, x: Any) -> Any:
            return self.used(x)

    stack = taken([Idle().double()], [0, 0], torch.float64, CPU)
    stack.grads.buffer.fill_(7)
    stack.loss_and_grads(torch.randn(2, 4, 5, dtype=torch.float64), torch.zeros(2, 4, dtype=torch.int64))
    for gradient in stack.grads.row(1)[2:]:
        assert not gradient.any()


@pytest.mark.parametrize("taken", [Mapped, OneByOne])
def test_dropout_is_each_members_own(taken: type[Stack]) -> None:
    """In training each member draws for itself, and outside it nothing is dropped."""
    module = nn.Sequential(nn.Linear(5, 64), nn.Dropout(0.5), nn.Linear(64, 3)).double()
    stack = taken([module], [0, 0], torch.float64, CPU)
    x = torch.randn(1, 6, 5, dtype=torch.float64).expand(2, 6, 5)
    y = torch.zeros(2, 6, dtype=torch.int64)
    losses = stack.loss_and_grads(x, y)
    assert losses[0] != losses[1]
    logits = stack.logits(x)
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(logits[0], module.eval()(x[0]).detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("taken", WAYS)
def test_what_batch_norm_observes(taken: type[Stack]) -> None:
    """Shares of 1, 1/2, 1/3, ... are the plain mean over the batches, as torch's update_bn takes it."""

    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, momentum=0.3), nn.ReLU(), nn.Linear(4, 3))

    stack = taken(modules_of(make), [0, 1], torch.float64, CPU)
    made = torch.Generator().manual_seed(1)
    batches = [torch.randn(2, size, 5, dtype=torch.float64, generator=made) for size in (8, 8, 3)]
    stack.loss_and_grads(batches[2], torch.zeros(2, 3, dtype=torch.int64))  # what was there before does not count
    for i, batch in enumerate(batches):
        stack.observe(batch, 1 / (i + 1))
    for member, module in enumerate(modules_of(make)):
        update_bn([batch[member] for batch in batches], module)
        norm: Any = module[1]  # type: ignore[index]
        mean, var = (tensor.flatten() for tensor in stack.buffers.row(member))
        torch.testing.assert_close(mean, norm.running_mean, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(var, norm.running_var, rtol=1e-12, atol=1e-14)
    # And training goes on with the module's own momentum.
    before = [tensor.clone() for tensor in stack.buffers.row(0)]
    stack.loss_and_grads(batches[0], torch.zeros(2, 8, dtype=torch.int64))
    with torch.no_grad():
        hidden = modules_of(make)[0][0](batches[0][0])  # type: ignore[index]
    expected = 0.7 * before[0].flatten() + 0.3 * hidden.mean(0)
    torch.testing.assert_close(stack.buffers.row(0)[0].flatten(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("taken", WAYS)
def test_members_of_a_seed_start_alike(taken: type[Stack]) -> None:
    stack = taken(modules_of(lambda: nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))), [1, 0, 1], torch.float64, CPU)
    first, other, last = (stack.params.row(member) for member in range(3))
    assert all(torch.equal(a, b) for a, b in zip(first, last, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
