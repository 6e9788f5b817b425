"""What is read before a search and after it, and what is then refused."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.definitions import FGSM, PGD, Attack, Draws, FunctionAttack, Square, ThreatModel, robust_error
from cgro.definitions.attacks import Evaluator
from cgro.definitions.attacks.reads import LabelRange, Watch, read_batch
from cgro.definitions.losses import check_labels

THREAT = ThreatModel("inf", 0.1)
X = torch.tensor([[0.25], [0.75]])


@pytest.mark.parametrize("y", [[0, 2], [0, 3], [-1, 1], [1, 1], [0, 1], [-1, 0], [0.0, 1.0], [-1.0, 1.0]])
@pytest.mark.parametrize("shape", [(2, 3), (2, 1), (2,), (2, 3, 1)])
def test_the_range_of_labels_says_what_looking_at_each_says(y: list, shape: tuple[int, ...]) -> None:
    labels, outputs = torch.tensor(y), torch.zeros(shape)
    found = read_batch(THREAT, X, labels)
    expected = None
    try:
        check_labels(outputs, labels)
    except BadRequest as error:
        expected = str(error)
    if expected is None:
        found.check(outputs, labels)
        return
    with pytest.raises(BadRequest) as caught:
        found.check(outputs, labels)
    assert str(caught.value) == expected


@pytest.mark.parametrize("value", [-0.1, 1.1, torch.nan, torch.inf, 200.0])
def test_inputs_are_refused_as_by_the_threat_model(value: float) -> None:
    x = X.clone()
    x[0] = value
    with pytest.raises(BadRequest) as expected:
        THREAT.check_input(x)
    with pytest.raises(BadRequest) as caught:
        read_batch(THREAT, x, torch.tensor([0, 1]))
    assert str(caught.value) == str(expected.value)


def test_labels_of_another_number_and_none() -> None:
    assert read_batch(THREAT, X, torch.zeros(0, dtype=torch.long)) == LabelRange(0.0, 0.0, are_signs=False)
    with pytest.raises(BadRequest, match="shape"):
        FGSM(THREAT)(lambda v: torch.cat([v, v], 1), X, torch.tensor([0, 1, 1]))


def test_what_a_watch_saw() -> None:
    watch = Watch(outputs=[torch.tensor(True)])
    watch.see_gradient(torch.tensor([1.0, -3e38]))
    assert watch.flags().tolist() == [True, True, True, True]
    assert not watch.wrote_on_input()
    for value in (torch.nan, torch.inf, -torch.inf):
        bad = Watch(outputs=[torch.tensor(True)])
        bad.see_gradient(torch.tensor([0.0, value]))
        with pytest.raises(BadRequest, match="gradient"):
            bad.wrote_on_input()
    assert Watch(written=[torch.tensor(True)], outputs=[torch.tensor(False)]).wrote_on_input(), "so it means nothing"
    with pytest.raises(BadRequest, match="model output"):
        Watch(outputs=[torch.tensor(False)]).wrote_on_input()


class Hidden(nn.Module):
    """Doubles its input behind autograd's back, and answers for the doubled one."""

    def forward(self, x: Tensor) -> Tensor:
        x.data.mul_(2)
        return x[:, 0] - 0.6


def test_a_network_that_writes_past_autograd_is_searched_again_on_copies() -> None:
    x, y = torch.tensor([[0.31], [0.4]]), torch.tensor([1, 1])
    for attack in (PGD(ThreatModel("inf", 0.05), n_steps=4), FGSM(ThreatModel("inf", 0.05))):
        found = attack(Hidden(), x, y)
        torch.testing.assert_close(found, x - 0.05)
    assert x.tolist() == torch.tensor([[0.31], [0.4]]).tolist()


class Hole(nn.Module):
    """Right at the inputs, and NaN where a point is farther from 0.5 than they are."""

    def forward(self, x: Tensor) -> Tensor:
        scores = x[:, 0] + 1
        return torch.where((x[:, 0] - 0.5).abs() > 0.01, scores.detach() * torch.nan, scores)


@dataclass(frozen=True)
class Proposes(Attack):
    """Proposes a value beside the inputs."""

    value: float = 0.55

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        evaluator.update(torch.full_like(evaluator.x, self.value))


@pytest.mark.parametrize(
    "attack",
    [
        Square(ThreatModel("inf", 0.1), n_queries=20),
        Square(ThreatModel(2, 0.1), n_queries=20),
        FGSM(ThreatModel("inf", 0.1)),
        FunctionAttack(ThreatModel("inf", 0.1), lambda model, x, y: x + 0.1),
        Proposes(ThreatModel("inf", 0.1)),
        Proposes(ThreatModel("inf", 0.1), value=math.nan),
    ],
    ids=repr,
)
def test_outputs_that_are_not_finite_at_a_proposed_point_are_no_robustness(attack: Attack) -> None:
    """Planted: NaN is never lower than a margin, so that such points were passed over and all examples robust."""
    x, y = torch.full((4, 1), 0.5), torch.ones(4, dtype=torch.long)
    with pytest.raises(BadRequest, match="model output: expected finite values"):
        robust_error(Hole().eval(), x, y, attack)
    near = replace(attack, threat=attack.threat.at(0.005), **({"value": 0.501} if type(attack) is Proposes else {}))
    if not isinstance(attack, FunctionAttack):
        assert robust_error(Hole().eval(), x, y, near).wrong == 0


@dataclass(frozen=True)
class Relabels(Attack):
    """Writes on what it is given."""

    which: str = "y"

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        if self.which == "y":
            evaluator.y.neg_()
        if self.which == "x":
            evaluator.x.sub_(0.4)
        if self.which == "copies":
            evaluator.y.clone().neg_()
        evaluator.update(evaluator.x)


@pytest.mark.parametrize(("which", "fine"), [("y", False), ("x", False), ("copies", True), ("nothing", True)])
@pytest.mark.parametrize("dtype", [torch.long, torch.float32])
def test_labels_and_inputs_of_the_caller_are_not_an_attacks_to_write_on(
    which: str, fine: bool, dtype: torch.dtype
) -> None:
    """Planted: an attack that changed `evaluator.y` in place changed the labels of the caller, and all were wrong."""
    x, y = torch.full((4, 1), 0.5), torch.tensor([1, 1, -1, 1], dtype=dtype)
    before = x.clone(), y.clone()
    attack = Relabels(ThreatModel("inf", 0.1), which)
    if fine:
        assert robust_error(lambda v: v[:, 0], x, y, attack).wrong == 1
    else:
        with pytest.raises(BadRequest, match="labels left as they are"):
            robust_error(lambda v: v[:, 0], x, y, attack)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
