import pytest
import torch
from torch import nn

from cgro.models import NETWORKS, build, n_parameters


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("n_outputs", [1, 10])
def test_shapes_and_seeds(name: str, n_outputs: int) -> None:
    before = torch.get_rng_state()
    a, b, c = (build(name, (1, 28, 28), n_outputs, seed=s) for s in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert a(torch.rand(3, 1, 28, 28)).shape == ((3,) if n_outputs == 1 else (3, 10))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert any(not torch.equal(p, q) for p, q in zip(a.parameters(), c.parameters(), strict=True))


@pytest.mark.parametrize("w", [1, 4, 16])
def test_lenet_counts_by_hand(w: int) -> None:
    expected = (25 * 2 * w + 2 * w) + (25 * 2 * w * 4 * w + 4 * w) + (49 * 4 * w * 64 * w + 64 * w) + (64 * w * 10 + 10)
    assert n_parameters(build("lenet", (1, 28, 28), 10, width=w)) == expected


def test_lenet5_has_the_classic_count() -> None:
    assert n_parameters(build("lenet5", (1, 28, 28), 10)) == 61706


class Own(nn.Sequential):
    """A user's class called with (shape, n_outputs)."""

    def __init__(self, shape: tuple, n_outputs: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(shape[-1] ** 2, n_outputs))


def own_function() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def not_a_module() -> int:
    return 3


def test_networks_of_the_users_own() -> None:
    for name in ("tests.models.test_networks:Own", "tests.models.test_networks:own_function"):
        assert build(name, (1, 8, 8), 10)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "width", "words"),
    [("lennet", None, "lenet"), ("lenet5", 3, "no width"), ("tests.models.test_networks:Own", 2, "no width"),
     ("tests.models.test_networks:nothing", None, "importable"), ("no.such.module:x", None, "importable"),
     ("tests.models.test_networks:not_a_module", None, "Module"), ("torch.nn:Identity", None, "shape"),
     ("tests.models.test_networks:own_function", None, "expected")],
)  # fmt: skip
def test_bad_networks_are_refused_before_work(name: str, width: int | None, words: str) -> None:
    shape = (1, 9, 9) if name.endswith("own_function") else (1, 8, 8)
    with pytest.raises(ValueError, match=words) as caught:
        build(name, shape, 10, width=width)
    assert "\n" not in str(caught.value)
