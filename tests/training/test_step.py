"""A step: its attack under schedule and mode, its loss, and one descent by hand."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from cgro.definitions import FGSM, PGD, Square, ThreatModel, negative_margin
from cgro.definitions.draws import Draws
from cgro.training import Adversarial, Step
from cgro.training.step import derive_seed, descend

ATTACK = PGD(ThreatModel("inf", 0.1), n_steps=2)


def step_of(model: nn.Module, n: int = 6, **more: object) -> Step:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, 4, generator=generator)
    y = torch.randint(3, (n,), generator=generator)
    return Step(model, x, y, model, lambda purpose: Draws.of(0, purpose, torch.arange(n)), **more)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def test_craft_is_the_attack_at_the_radius_of_the_schedule() -> None:
    model = network()
    step = step_of(model, attack=ATTACK, radius_share=0.5)
    expected = ATTACK.at(0.05)(model.eval(), step.x, step.y, generator=step.streams("attack"))
    model.train()
    assert torch.equal(step.craft(), expected)
    assert float((step.craft() - step.x).abs().max()) <= 0.05 + 1e-6
    assert model.training
    assert step.attack_seconds > 0


def test_another_attack_or_loss_may_be_named() -> None:
    step = step_of(network(), attack=ATTACK)
    other = replace(ATTACK, n_steps=3)
    assert torch.equal(step.craft(other), step_of(step.network, attack=other).craft())
    by_margin = step_of(step.network, attack=replace(ATTACK, loss=negative_margin)).craft()
    assert torch.equal(step_of(step.network, attack=ATTACK).craft(loss="margin"), by_margin)
    for attack, loss, said in ((None, None, "got none"), (Square(ATTACK.threat, n_queries=2), "margin", "gradient")):
        with pytest.raises(ValueError, match=said):
            step_of(step.network).craft(attack, loss=loss)


def test_each_attack_of_a_step_has_starts_of_its_own() -> None:
    start = replace(ATTACK, n_steps=1, step_size=0.0, keep="last")
    step = step_of(network())
    first = step.craft(start)
    assert not torch.equal(first, step.craft(start))
    assert torch.equal(first, step_of(step.network).craft(start))


def test_a_loss_that_is_asked_again_is_that_of_the_same_examples() -> None:
    """As adversarial weight perturbation needs it: searched once, at the weights of the first time."""
    model = network()
    step = step_of(model, attack=ATTACK)
    seen: list[Tensor] = []

    def objective(step: Step) -> Tensor:
        seen.extend([step.craft(), step.craft()])
        return step.model(step.x).sum(1)

    def weights_moved() -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.neg_()

    step.mean_loss(objective)
    weights_moved()
    other = step.craft()  # an extension's own attack is neither kept nor replaced
    step.mean_loss(objective)
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not any(torch.equal(other, x_adv) for x_adv in seen)
    step.crafted.clear()
    step.mean_loss(objective)
    assert not torch.equal(seen[4], seen[0])


@pytest.mark.parametrize(("mode", "updates"), [("eval", 0), ("train", 0), ("train_update_bn", 3)])
def test_the_mode_of_the_attack(mode: str, updates: int) -> None:
    """FGSM passes thrice: clean, for the gradient, and at the end. Its passes update averages only where that is asked."""
    model = network()
    modes: list[bool] = []
    model[1].register_forward_pre_hook(lambda layer, inputs: modes.append(layer.training))
    step_of(model, attack=FGSM(ATTACK.threat, precision="float32"), craft_mode=mode).craft()
    assert modes == [mode != "eval"] * 3
    assert int(model[1].num_batches_tracked) == updates


def test_outputs_are_those_an_attack_sees() -> None:
    model = network()
    step = step_of(model)
    outputs = step.outputs()
    assert not outputs.requires_grad
    assert model.training
    assert torch.equal(outputs, model.eval()(step.x))
    assert int(model[1].num_batches_tracked) == 0


def test_the_mean_of_what_is_no_loss_per_example_is_refused() -> None:
    step = step_of(network())
    for objective, said in (
        (lambda s: s.model(s.x).sum(), r"shape \(6,\), got \(\); leave the mean"),
        (lambda s: s.model(s.x), r"got \(6, 3\)"),
        (lambda s: None, "got None"),
    ):
        with pytest.raises(ValueError, match=said):
            step.mean_loss(objective)


@pytest.mark.parametrize("objective", [
    lambda s: s.loss(s.model(s.x)).detach(), lambda s: s.loss(s.outputs()), lambda s: torch.ones(6),
    lambda s: s.loss(s.network.requires_grad_(False)(s.x)),
], ids=["detached", "outputs", "constant", "frozen"])  # fmt: skip
def test_a_loss_that_does_not_depend_on_the_weights_is_refused(objective) -> None:
    with pytest.raises(ValueError, match="objective: expected a loss that depends on the weights"):
        step_of(network()).mean_loss(objective)


def test_a_loss_that_reaches_some_weights_or_is_only_looked_at_is_none_of_these() -> None:
    step = step_of(network())
    step.network[0].requires_grad_(False)
    assert step.mean_loss(lambda s: s.loss(s.model(s.x)).clamp(max=0.0)).requires_grad
    with torch.no_grad():
        assert not step.mean_loss(lambda s: s.loss(s.model(s.x))).requires_grad


def test_one_descent_by_hand() -> None:
    """Cross-entropy of a linear classifier: the gradient is the mean of (p - e_y) x^T."""
    model = nn.Linear(4, 3, bias=False)
    before = model.weight.detach().clone()
    step = step_of(model, attack=ATTACK)
    p = (step.x @ before.T).softmax(1)
    gradient = (p - torch.eye(3)[step.y]).T @ step.x / 6
    model.weight.grad = torch.ones_like(before)  # of somebody before: not added to
    loss = descend(step, Adversarial(ATTACK, robust_weight=0.0), torch.optim.SGD(model.parameters(), lr=0.5))
    torch.testing.assert_close(loss, -p[torch.arange(6), step.y].log().mean())
    torch.testing.assert_close(model.weight.detach(), before - 0.5 * gradient)


def test_a_descent_along_a_loss_that_reaches_no_weight_is_refused() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with pytest.raises(ValueError, match="objective: expected a loss that depends on the weights, got one that reach"):
        descend(step_of(model), lambda s: s.loss(s.outputs().requires_grad_()), optimizer)


def test_seeds_depend_on_every_part_of_their_purpose() -> None:
    seeds = {derive_seed(0, "a", 1), derive_seed(0, "a", 2), derive_seed(0, "b", 1), derive_seed(1, "a", 1)}
    seeds |= {derive_seed(0, "a"), derive_seed(0, "a", 1, 1)}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)
