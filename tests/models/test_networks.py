"""Networks by name, and those of the user's own."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.models import NETWORKS, Network, build


@pytest.mark.parametrize("name", [*NETWORKS, "wrn-10-1"])
@pytest.mark.parametrize("n_outputs", [1, 10])
def test_shapes_and_seeds(name: str, n_outputs: int) -> None:
    before = torch.get_rng_state()
    a, b, c = (build(name, (1, 28, 28), n_outputs, seed=s) for s in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert a(torch.rand(3, 1, 28, 28)).shape == ((3,) if n_outputs == 1 else (3, 10))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert any(not torch.equal(p, q) for p, q in zip(a.parameters(), c.parameters(), strict=True))


def test_a_seed_that_torch_does_not_take_is_one_line() -> None:
    build("mlp", (1, 8, 8), 2, width=2, seed=2**63 - 1)
    for seed in (2**63, 2**64, -(2**64), 0.5):
        with pytest.raises(BadRequest, match="seed: expected an integer in"):
            build("mlp", (1, 8, 8), 2, width=2, seed=seed)


class Own(nn.Sequential):
    """A user's class called with (shape, n_outputs)."""

    def __init__(self, shape: tuple, n_outputs: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(shape[-1] ** 2, n_outputs))


def own_function() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def not_a_module() -> int:
    return 3


def of_seven() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))


class Pair(nn.Module):
    """A network that returns more than logits."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Failing(nn.Module):
    """A network whose error has no text."""

    def forward(self, x: Tensor) -> Tensor:
        raise KeyError


def doubled() -> nn.Module:
    return own_function().double()


def halved() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 10)).half()


@pytest.mark.parametrize(("name", "dtype"), [("doubled", "float64"), ("halved", "float16")])
def test_weights_that_take_no_float32_images_are_told_with_a_remedy(name: str, dtype: str) -> None:
    words = f"its weights are torch.{dtype}: make it in float32, to which weights of a file are converted"
    with pytest.raises(BadRequest, match=words):
        build(f"tests.models.test_networks:{name}", (1, 8, 8), 10)


def test_networks_of_the_users_own() -> None:
    for name in ("tests.models.test_networks:Own", "tests.models.test_networks:own_function"):
        assert build(name, (1, 8, 8), 10)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "width", "words"),
    [("lennet", None, "lenet"), ("lenet5", 3, "no width"), ("tests.models.test_networks:Own", 2, "no width"),
     ("tests.models.test_networks:nothing", None, "importable"), ("no.such.module:x", None, "importable"),
     ("tests.models.test_networks:not_a_module", None, "Module"), ("torch.nn:Identity", None, "shape"),
     ("tests.models.test_networks:own_function", None, "expected"),
     ("tests.models.test_networks:of_seven", None, r"of_seven output: expected shape \(1, 10\), 10 logits for the 10"),
     ("tests.models.test_networks:Pair", None, "Pair output: expected a tensor of 10 logits.*got tuple"),
     ("tests.models.test_networks:Failing", None, "it failed with: KeyError"),
     ("wrn-33-10", None, "6n \\+ 4"), ("wrn-4-1", None, "6n \\+ 4"), ("wrn-16-0", None, "wrn-16-0: width"),
     ("wrn-34", None, "wrn-D-W"), ("wrn-10-1", 2, "no width for wrn-10-1"), ("timm:resnet18", 2, "no width")],
)  # fmt: skip
def test_bad_networks_are_refused_before_work(name: str, width: int | None, words: str) -> None:
    shape = (1, 9, 9) if name.endswith("own_function") else (1, 8, 8)
    with pytest.raises(ValueError, match=words) as caught:
        build(name, shape, 10, width=width)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "n_outputs"), [("mlp", 0), ("lenet", -1), ("tests.models.test_networks:Pair", 0)])
def test_a_network_without_outputs_is_refused(name: str, n_outputs: int) -> None:
    with pytest.raises(BadRequest, match=f"n_outputs: expected an integer >= 1, got {n_outputs}"):
        build(name, (1, 8, 8), n_outputs)


def test_an_entry_is_all_that_a_named_network_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    def flat(shape: tuple[int, ...], n_outputs: int, *, width: int = 2) -> nn.Module:
        n_inputs = torch.Size(shape).numel()
        return nn.Sequential(nn.Flatten(), nn.Linear(n_inputs, width), nn.Linear(width, n_outputs))

    monkeypatch.setitem(NETWORKS, "flat", Network(flat))
    assert [p.shape[0] for p in build("flat", (1, 4, 4), 3, width=5).parameters()] == [5, 5, 3, 3]
    monkeypatch.setitem(NETWORKS, "flat", Network(flat, has_width=False))
    with pytest.raises(ValueError, match="no width for flat"):
        build("flat", (1, 4, 4), 3, width=5)


@pytest.mark.parametrize(
    ("name", "width"), [("lenet", 10_000), ("mlp", 20_000), ("resnet9", 10_000), ("wrn-16-10000", None)]
)
def test_a_network_is_refused_that_needs_far_more_than_its_checkpoint(name: str, width: int | None) -> None:
    with pytest.raises(ValueError, match="memory") as caught:
        build(name, (1, 28, 28), 10, width=width, stored=1000)
    assert "\n" not in str(caught.value)


FACTORIES = """
from torch import nn


def net(n_in, n_out):
    return nn.Sequential(nn.Flatten(), nn.Linear(n_in, n_out))


def swapped(num_classes, in_channels=3, depth=7):
    assert depth == 7
    return net(in_channels * 16, num_classes)


def positional(n_outputs, shape, /):
    return net(shape[0] * 16, n_outputs)


def rest(*args, **kwargs):
    shape, n_outputs = args
    return net(shape[0] * 16, n_outputs)


def options(num_classes=10, **kwargs):
    assert not kwargs
    return net(16, num_classes)


def sizes(depth, widen):
    raise RuntimeError("called")


def constant(width=32):
    assert width == 32
    return net(16, 4)


def short(shape, n):
    return net(shape[0] * 16, n)


def sized(image_size, num_labels, n=3):
    assert n == 3
    return net(image_size**2, num_labels)


def deep(n, num_classes):
    raise RuntimeError("called")


def two(shape, n):
    return net(16, 2)


def one_column(shape, n):
    return net(16, 1)


class Net(nn.Linear):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(4, num_classes)

    def forward(self, x):
        return super().forward(x.flatten(2)[:, 0, :4])
"""


def test_factories_are_called_by_the_names_of_their_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of these would work by position; what is not understood is refused before it is called."""
    (tmp_path / "their_factories.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    for name in ("swapped", "positional", "rest", "options", "constant", "Net", "short", "sized"):
        model = build(f"their_factories:{name}", (1, 4, 4), 4)
        assert model(torch.zeros(2, 1, 4, 4)).shape == (2, 4), name
    with pytest.raises(
        BadRequest, match=r"depth, widen without a default; write def net\(shape, n_outputs\)"
    ) as caught:
        build("their_factories:sizes", (1, 4, 4), 4)
    assert "called" not in str(caught.value).split("got")[1].split(";")[0]
    with pytest.raises(BadRequest, match="got n without a default"):  # a depth, where something else is the classes
        build("their_factories:deep", (1, 4, 4), 4)
    sys.modules.pop("their_factories")


def test_two_logits_are_a_score_of_a_binary_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Score z1 - z0: its logistic loss is the cross-entropy of z. Keys stay the network's own; three are refused."""
    (tmp_path / "their_factories.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    model = build("their_factories:two", (1, 4, 4), 1)
    x = torch.rand(6, 1, 4, 4)
    z = model.get_submodule("model")(x)
    score = model(x)
    assert torch.equal(score, z[:, 1] - z[:, 0])
    for label in (0, 1):
        target = torch.full((6,), label)
        by_score = nn.functional.softplus(-score * (2 * label - 1))
        assert torch.allclose(by_score, nn.functional.cross_entropy(z, target, reduction="none"), atol=1e-6)
    assert list(model.state_dict()) == ["1.weight", "1.bias"]
    assert build("their_factories:one_column", (1, 4, 4), 1)(x).shape == (6,)
    with pytest.raises(BadRequest, match="z1 - z0"):
        build("their_factories:constant", (1, 4, 4), 1)
    sys.modules.pop("their_factories")
