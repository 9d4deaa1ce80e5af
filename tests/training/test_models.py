"""The models that ``train`` knows by name, as they are written and as modules; and a user's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from lrsched_cli.training.jobs import model_of  # noqa: E402
from lrsched_cli.training.models import DEEPEST, MODELS, WIDEST, Model, parse_model  # noqa: E402
from tests.support import message_of  # noqa: E402
from tests.training import support  # noqa: E402
from tests.training.support import HERE  # noqa: E402

# As they are written.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linear", Model("linear")),
        ("linear:", Model("linear")),
        ("linear:outputs=2", Model("linear", outputs=2)),
        ("mlp:64", Model("mlp", (64,))),
        ("mlp:64,32", Model("mlp", (64, 32))),
        ("mlp: 64 , 32", Model("mlp", (64, 32))),
        ("mlp:64,bn", Model("mlp", (64,), batch_norm=True)),
        ("mlp:batch-norm,64", Model("mlp", (64,), batch_norm=True)),
        ("mlp-bn:100,50,outputs=2", Model("mlp", (100, 50), batch_norm=True, outputs=2)),
        ("mlp:1", Model("mlp", (1,))),
        (f"mlp:{WIDEST}", Model("mlp", (WIDEST,))),
        ("mlp:" + ",".join(["2"] * DEEPEST), Model("mlp", (2,) * DEEPEST)),
        ("lenet", Model("lenet")),
        ("lenet:outputs=12", Model("lenet", outputs=12)),
    ],
)
def test_what_a_name_means(text: str, expected: Model) -> None:
    assert parse_model(text) == expected == model_of(text)


KNOWN = "--model must be linear, mlp, lenet or python:MODULE:FUNCTION, got"
MLP = "takes widths from 1 to 65536, bn and outputs=N after its colon, got"
HIDDEN = "--model mlp needs 1 to 64 hidden widths, as in mlp:64,32; got"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"{KNOWN} ''"),
        ("vgg", f"{KNOWN} 'vgg'"),
        ("MLP:64", f"{KNOWN} 'MLP:64' (did you mean mlp?)"),
        ("le-net", f"{KNOWN} 'le-net' (did you mean lenet?)"),
        ("pyton:a:b", f"{KNOWN} 'pyton:a:b' (did you mean python?)"),
        ("mlp", f"{HIDDEN} 'mlp'"),
        ("mlp:", f"{HIDDEN} 'mlp:'"),
        ("mlp-bn:outputs=3", f"{HIDDEN} 'mlp-bn:outputs=3'"),
        ("mlp:" + "2," * (DEEPEST + 1), f"{HIDDEN} {('mlp:' + '2,' * (DEEPEST + 1)).__repr__()[:57]}..."),
        ("mlp:0", f"--model mlp {MLP} '0'"),
        ("mlp:-4", f"--model mlp {MLP} '-4'"),
        ("mlp:6.5", f"--model mlp {MLP} '6.5'"),
        ("mlp:64;32", f"--model mlp {MLP} '64;32'"),
        (f"mlp:{WIDEST + 1}", f"--model mlp {MLP} '65537'"),
        ("mlp:9999999", f"--model mlp {MLP} '9999999'"),
        ("mlp:64,relu", f"--model mlp {MLP} 'relu'"),
        ("mlp:64,outputs=-1", f"--model mlp {MLP} 'outputs=-1'"),
        ("linear:64", "--model linear takes outputs=N after its colon, got '64'"),
        ("lenet:bn", "--model lenet takes outputs=N after its colon, got 'bn'"),
        ("linear:outputs=0", "--model outputs must be >= 1, got 0"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    assert message_of(parse_model, text) == message


@pytest.mark.parametrize(
    ("outputs", "classes", "expected"), [(None, 2, 1), (None, 3, 3), (None, 10, 10), (2, 2, 2), (1, 2, 1), (12, 10, 12)]
)
def test_how_many_logits(outputs: int | None, classes: int, expected: int) -> None:
    assert Model("linear", outputs=outputs).outputs_for(classes) == expected


@pytest.mark.parametrize(("outputs", "classes"), [(1, 3), (9, 10), (2, 3)])
def test_too_few_logits(outputs: int, classes: int) -> None:
    said = message_of(Model("linear", outputs=outputs).outputs_for, classes)
    assert said == f"--model has {outputs} outputs for {classes} classes"


# As modules.


def layers(text: str, shape: tuple[int, ...], classes: int) -> list[str]:
    return [str(layer) for layer in parse_model(text).make(shape, classes)]


def test_a_perceptron_is_made_of_torchs_layers() -> None:
    assert layers("mlp-bn:64,32", (30,), 2) == [
        "Linear(in_features=30, out_features=64, bias=False)",
        str(nn.BatchNorm1d(64)),
        "ReLU()",
        "Linear(in_features=64, out_features=32, bias=False)",
        str(nn.BatchNorm1d(32)),
        "ReLU()",
        "Linear(in_features=32, out_features=1, bias=True)",
    ]
    assert layers("mlp:8", (1, 4, 4), 10) == [
        "Flatten(start_dim=1, end_dim=-1)",
        "Linear(in_features=16, out_features=8, bias=True)",
        "ReLU()",
        "Linear(in_features=8, out_features=10, bias=True)",
    ]
    assert layers("linear", (5,), 3) == ["Linear(in_features=5, out_features=3, bias=True)"]


@pytest.mark.parametrize(("text", "shape", "classes"), [("mlp-bn:7,6", (5,), 3), ("lenet", (1, 28, 28), 10)])
def test_weights_begin_as_torch_begins_them(text: str, shape: tuple[int, ...], classes: int) -> None:
    """By each layer's own default, drawn from torch's global seed: a user's own Sequential has the same ones."""
    torch.manual_seed(3)
    made = parse_model(text).make(shape, classes)
    torch.manual_seed(3)
    for layer in made:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    again = [p.clone() for p in made.parameters()]
    torch.manual_seed(3)
    fresh = parse_model(text).make(shape, classes)
    for ours, theirs in zip(fresh.parameters(), again, strict=True):
        assert torch.equal(ours, theirs)


def test_lenet_is_dive_into_deep_learnings() -> None:
    """Section 12.11's net_fn, by its printed layers; LeNet's 61,706 weights are an often quoted number."""
    book = nn.Sequential(
        nn.Conv2d(1, 6, kernel_size=5, padding=2), nn.ReLU(), nn.MaxPool2d(kernel_size=2, stride=2),
        nn.Conv2d(6, 16, kernel_size=5), nn.ReLU(), nn.MaxPool2d(kernel_size=2, stride=2),
        nn.Flatten(), nn.Linear(16 * 5 * 5, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    made = parse_model("lenet").make((1, 28, 28), 10)
    assert str(made) == str(book)
    assert sum(p.numel() for p in made.parameters()) == 61_706


@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 13, 17), (1, 28, 28), (3, 32, 32)])
def test_lenet_takes_images_of_any_size(shape: tuple[int, ...]) -> None:
    assert parse_model("lenet").make(shape, 3)(torch.zeros(2, *shape)).shape == (2, 3)


@pytest.mark.parametrize("shape", [(64,), (8, 8), (1, 8, 8), (1, 11, 28), (1, 2, 28, 28)])
def test_lenet_refuses_what_is_no_image(shape: tuple[int, ...]) -> None:
    told = " x ".join(map(str, shape))
    said = message_of(parse_model("lenet").make, shape, 10)
    assert said == f"--model lenet takes images of 12 x 12 and more, such as mnist's, got samples of {told}"


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_has_a_line_of_help(name: str) -> None:
    assert "\n" not in MODELS[name]
    text = f"{name}:4" if name == "mlp" else name
    for classes in (2, 3):
        logits = parse_model(text).make((1, 12, 12), classes)(torch.zeros(2, 1, 12, 12)) if name == "lenet" else None
        logits = parse_model(text).make((5,), classes)(torch.zeros(2, 5)) if logits is None else logits
        assert logits.shape == (2, 1 if classes == 2 else 3)


# A user's own.

X = np.zeros((2, 5))


@pytest.mark.parametrize(
    ("name", "outputs", "batch_norm"), [("norm_gelu", 3, False), ("one_logit", 1, False), ("bn", 3, True)]
)
def test_a_users_own_is_measured(name: str, outputs: int, batch_norm: bool) -> None:
    """How many logits it gives is its own affair: two for two classes are two."""
    model = model_of(f"{HERE}:{name}").measured(X)
    assert (model.name, model.outputs, model.batch_norm) == ("python", outputs, batch_norm)
    assert model.outputs_for(2) == outputs
    assert isinstance(model.make((5,), 3), nn.Module)


class Broken(nn.Module):
    def forward(self, x: Any) -> Any:
        raise RuntimeError("mat1 and mat2\nshapes cannot be multiplied")


def shaped(*shape: int) -> Any:
    class Shaped(nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.zeros(shape)

    return Shaped


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda: None, "--model must make an nn.Module, got None"),
        (lambda: nn.Linear, "--model must make an nn.Module, got <class 'torch.nn.modules.linear.Linear'>"),
        (lambda: 1 / 0, "--model failed making the model: ZeroDivisionError: division by zero"),
        (lambda size: None, "--model failed making the model: TypeError: "),
        (Broken, "--model failed passing samples through it: RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        (lambda: nn.Linear(6, 3), "--model failed passing samples through it: RuntimeError: mat1 and mat2 shapes"),
        (shaped(2), "--model must give (batch, classes), gave (2,) for a batch of 2"),
        (shaped(3, 4), "--model must give (batch, classes), gave (3, 4) for a batch of 2"),
        (shaped(2, 3, 4), "--model must give (batch, classes), gave (2, 3, 4) for a batch of 2"),
        (lambda: nn.LSTM(5, 3), "--model must give (batch, classes), gave tuple for a batch of 2"),
        (
            lambda: nn.Sequential(nn.LazyLinear(3)),
            "--model must give every layer its sizes: lazy ones have no weights yet",
        ),
        (
            lambda: nn.Sequential(nn.BatchNorm1d(5, momentum=None), nn.Linear(5, 3)),
            "--model must give its batch norm a momentum: train keeps no count of batches",
        ),
    ],
)
def test_what_a_users_own_must_be(factory: Any, message: str) -> None:
    """One line, whatever the user's code does."""
    assert message_of(Model("python", factory=factory).measured, X).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("python:", "--model must be python:MODULE:FUNCTION, got 'python:'"),
        ("python:os", "--model must be python:MODULE:FUNCTION, got 'python:os'"),
        (f"{HERE}:no_such", f"--model has no no_such in the module {support.__name__}"),
        (
            "python:no_such_module_anywhere:make",
            "--model failed importing no_such_module_anywhere: ModuleNotFoundError",
        ),
    ],
)
def test_a_users_own_must_be_there(text: str, message: str) -> None:
    assert message_of(model_of, text).startswith(message)
