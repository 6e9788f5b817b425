"""Memorization values of a lookup table and of a rule; the subsets behind them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.cases import refused
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.definitions import PGD, ThreatModel
from cgro.flatness import memorization_values, random_subsets


def test_memorization_values_are_one_for_a_lookup_table_and_zero_for_a_rule() -> None:
    x, y = torch.linspace(0.05, 0.95, 10)[:, None], torch.tensor([-1, 1] * 5)
    attack = PGD(ThreatModel("inf", 0.001), n_steps=2)

    def lookup(rows: Tensor, k: int):
        known, labels = x[rows], y[rows]
        return lambda v: ((((v - known.T).abs() < 0.02) * labels).sum(1) - 0.5).float() + 0 * v[:, 0]

    g = torch.Generator().manual_seed(0)
    found = memorization_values(lookup, x, y, attack, random_subsets(10, 30, g))
    assert bool((found[y == 1] == 1).all())
    assert bool((found[y == -1] == 0).all())
    rule = memorization_values(lambda rows, k: lambda v: v[:, 0] - 2, x, y, attack, random_subsets(10, 5, g))
    assert bool((rule.nan_to_num() == 0).all())


def test_an_example_that_was_never_left_out_has_no_value() -> None:
    """Three examples of which two are evaluated: the first is in every subset, the second in one of two."""
    x, y = torch.tensor([[0.2], [0.8]]), torch.tensor([1, 1])
    seen: list[int] = []

    def fit(rows: Tensor, k: int):
        seen.append(k)
        right = 1.0 if 1 in rows.tolist() else -1.0
        return lambda v: right + 0 * v[:, 0]

    subsets = [torch.tensor([0, 1]), torch.tensor([2, 0])]
    found = memorization_values(fit, x, y, PGD(ThreatModel("inf", 0.01), n_steps=1), subsets)
    assert seen == [0, 1]
    assert found[0].isnan()
    assert found[1] == 1


def test_the_attack_is_made_in_batches_with_the_same_random_numbers() -> None:
    """All examples were once one batch, whose memory grew with their number."""
    x = torch.rand(23, 4, generator=torch.Generator().manual_seed(0))
    y = torch.where(x[:, 0] > 0.5, 1, -1)
    sizes: list[int] = []

    def score(v: Tensor) -> Tensor:
        sizes.append(len(v))
        return (v[:, 0] - 0.5) + 0.1 * (40 * v[:, 1]).sin()

    attack = PGD(ThreatModel("inf", 0.05), n_steps=1, step_size=0.001)
    subsets = random_subsets(23, 4, torch.Generator().manual_seed(1))
    whole = memorization_values(lambda rows, k: score, x, y, attack, subsets, batch=100)
    assert max(sizes) == 23
    sizes.clear()
    parts = memorization_values(lambda rows, k: score, x, y, attack, subsets, batch=5)
    assert max(sizes) == 5
    assert torch.equal(whole.nan_to_num(9.0), parts.nan_to_num(9.0))


def test_subsets_are_without_repetition_and_cover_all_examples() -> None:
    subsets = random_subsets(20, 50, torch.Generator().manual_seed(3), share=0.3)
    assert all(len(set(rows.tolist())) == 6 for rows in subsets)
    counts = torch.bincount(torch.cat(subsets), minlength=20)
    assert len(counts) == 20
    assert abs(float(counts.double().mean()) - 15) < 1e-9
    assert int(counts.min()) > 3  # 15 on average, standard deviation 3.2
    again = random_subsets(20, 50, torch.Generator().manual_seed(3), share=0.3)
    assert all(torch.equal(a, b) for a, b in zip(subsets, again, strict=True))


def test_bad_subsets() -> None:
    for n_models, share in ((1, 0.7), (5, 1.0), (5, 0.0)):
        with pytest.raises(BadRequest):
            random_subsets(10, n_models, torch.Generator(), share=share)


def test_what_is_taken_for_an_integer_is_one() -> None:
    expected = random_subsets(10, 3, torch.Generator().manual_seed(0), share=0.5)
    found = random_subsets(10.0, 3.0, torch.Generator().manual_seed(0), share="1/2")  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


X = torch.rand(12, 4, generator=torch.Generator().manual_seed(0))
Y = torch.where(X[:, 0] > 0.5, 1, 0)
ATTACK = PGD(ThreatModel("inf", 0.05), n_steps=2)
SUBSETS = random_subsets(12, 3, torch.Generator().manual_seed(1))


def network(k: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(k)
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 2)).eval()


def trained(rows: Tensor, k: int) -> nn.Module:
    """As if on these rows."""
    return network(k)


def test_a_network_in_train_mode_is_refused_and_left_as_it_came() -> None:
    """Planted: the values were those of batch statistics, and the attack's passes moved the running averages."""
    made: list[nn.Module] = []

    def fit(rows: Tensor, k: int) -> nn.Module:
        made.append(network(k).train())
        return made[-1]

    refused(lambda: memorization_values(fit, X, Y, ATTACK, SUBSETS), "expected eval mode, got train mode")
    part = network(0)
    part[1].train()
    refused(lambda: memorization_values(lambda rows, k: part, X, Y, ATTACK, SUBSETS), "expected eval mode")
    for k, model in enumerate(made):
        assert all(torch.equal(a, b) for a, b in zip(model.buffers(), network(k).buffers(), strict=True))


class Counting(nn.Module):
    """Writes on a buffer in every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network(0)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.inner(x)


def test_buffers_that_a_network_writes_in_eval_mode_are_given_back() -> None:
    model = Counting().eval()
    memorization_values(lambda rows, k: model, X, Y, ATTACK, SUBSETS)
    assert float(model.calls) == 0


@pytest.mark.parametrize(
    "given",
    [
        {"x": X.numpy()},
        {"y": Y.numpy()},
        {"y": Y.to(torch.uint8)},
        {"subsets": [rows.tolist() for rows in SUBSETS]},
        {"subsets": [rows.numpy() for rows in SUBSETS]},
        {"subsets": [rows.to(torch.uint8) for rows in SUBSETS]},
        {"subsets": tuple(SUBSETS)},
        {"subsets": torch.stack(SUBSETS)},
    ],
    ids=lambda given: next(iter(given)),
)
def test_arrays_lists_and_labels_of_any_width_are_the_tensors_they_stand_for(given: dict[str, Any]) -> None:
    expected = memorization_values(trained, X, Y, ATTACK, SUBSETS)
    seen: list[Tensor] = []

    def fit(rows: Tensor, k: int) -> nn.Module:
        seen.append(rows)
        return trained(rows, k)

    found = memorization_values(fit, **{"x": X, "y": Y, "attack": ATTACK, "subsets": SUBSETS, **given})
    assert torch.equal(found.nan_to_num(9.0), expected.nan_to_num(9.0))
    assert all(torch.equal(rows, same) for rows, same in zip(seen, SUBSETS, strict=True))


def test_a_network_of_low_precision_is_taken_as_elsewhere() -> None:
    def low(rows: Tensor, k: int) -> nn.Module:
        return network(k).bfloat16()

    assert memorization_values(low, X, Y, ATTACK, SUBSETS).abs().nan_to_num().max() <= 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"x": X.tolist()}, "inputs: expected a torch tensor"),
        ({"x": X[:0], "y": Y[:0]}, "examples: expected at least one"),
        ({"x": 255 * X}, "inputs: expected values in [0, 1]"),
        ({"y": Y[1:]}, "labels: expected 12, one per example, got 11"),
        ({"y": Y.tolist()}, "labels: expected a torch tensor"),
        ({"attack": "pgd10"}, "attack"),
        ({"batch": 0}, "batch"),
        ({"subsets": []}, "subsets: expected at least two, got 0; use random_subsets"),
        ({"subsets": SUBSETS[:1]}, "subsets: expected at least two, got 1"),
        ({"subsets": 3}, "subsets: expected positions of examples"),
        ({"subsets": [[0, 1], []]}, "subsets: expected positions"),
        ({"subsets": [torch.ones(12, dtype=torch.bool)] * 2}, "got torch.bool of shape (12,)"),
        ({"subsets": [[0.5], [1.5]]}, "got torch.float64 of shape (1,)"),
        ({"subsets": [[0, 1], [2, -1]]}, "integers >= 0 of shape (n,), got -1"),
        ({"subsets": ["ab", "cd"]}, "subsets: expected positions"),
        ({"subsets": [[[0, 1]], [[2, 3]]]}, "of shape (1, 2)"),
    ],
)
def test_what_is_wrong_is_refused_before_the_first_training(given: dict[str, Any], words: str) -> None:
    def never(rows: Tensor, k: int) -> nn.Module:
        raise AssertionError("trained")

    settings = {"x": X, "y": Y, "attack": ATTACK, "subsets": SUBSETS, **given}
    refused(lambda: memorization_values(never, **settings), words)


def test_labels_that_no_output_has_and_outputs_that_are_not_finite_are_refused() -> None:
    refused(lambda: memorization_values(trained, X, Y + 5, ATTACK, SUBSETS), "labels")

    def broken(rows: Tensor, k: int) -> Callable[[Tensor], Tensor]:
        return lambda v: network(k)(v) * torch.nan

    refused(lambda: memorization_values(broken, X, Y, ATTACK, SUBSETS), "NaN or inf")
