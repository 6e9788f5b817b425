"""Which examples a step has, what is drawn for them, and that a step is not waited for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.cases import refused
from tests.training.cases import ATTACK, small
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from cgro.data import Dataset, Split
from cgro.definitions import NoAttack, default_loss
from cgro.models import build
from cgro.training import EMA, TRADES, Adversarial, Extension, Free, Recipe, Step, fit, make_fabric
from cgro.training.objectives import Objective
from cgro.training.registry import EXTENSIONS, extension_by_name
from cgro.training.steps import Steps


def test_what_happens_to_an_example_does_not_depend_on_its_batch(digits: Dataset) -> None:
    """Augmented inputs and random starts by example, from batches of 60 and of 7: the same in an epoch, others in the next."""
    seen: list[dict[int, list[torch.Tensor]]] = []
    for size in (60, 7):
        found: dict[int, list[torch.Tensor]] = {}

        def notes(step: Step, found: dict[int, list[torch.Tensor]] = found) -> torch.Tensor:
            starts = step.craft(replace(ATTACK, n_steps=1, step_size=0.0, keep="last"))
            assert not torch.equal(starts, step.craft(replace(ATTACK, n_steps=1, step_size=0.0, keep="last")))
            for key, x, start in zip(step.y.tolist(), step.x, starts, strict=True):
                found.setdefault(key, []).append(torch.stack([x, start]))
            return 0 * nn.functional.cross_entropy(step.model(step.x), torch.zeros_like(step.y), reduction="none")

        own = replace(digits, train=Split(digits.train.raw, torch.arange(60), digits.train.index))
        model = build("mlp", (1, 8, 8), 60, width=16)
        fit(model, own, notes, Recipe(epochs=2, batch_size=size, augment="crop1-flip-cutout2"))
        seen.append(found)
    for key in range(60):
        (first, second), others = seen[0][key], seen[1][key]
        assert torch.equal(first, others[0])
        assert torch.equal(second, others[1])
        assert not torch.equal(first[1], second[1])


def steps_of(data: Dataset, objective: Objective, recipe: Recipe, seed: int = 0) -> Steps:
    return Steps(small(), data.train, objective, recipe, (EMA(0.9),), seed, make_fabric("cpu"))


def test_every_epoch_has_all_examples_in_an_order_of_its_own(digits: Dataset) -> None:
    steps = steps_of(digits, Adversarial(ATTACK), Recipe(batch_size=7))
    first, second = steps.order(0), steps.order(1)
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(60))
    assert not torch.equal(first, second)
    assert not torch.equal(first, steps_of(digits, Adversarial(ATTACK), Recipe(), seed=1).order(0))
    assert steps.per_epoch == 9


def test_a_step_is_made_of_its_rows_and_its_time(digits: Dataset) -> None:
    steps = steps_of(digits, Adversarial(ATTACK), Recipe(epochs=4, batch_size=30, radius_warmup=2.0, lr_drops=(1,)))
    rows = torch.tensor([3, 1, 4])
    step = steps.make(1, 0, rows)
    assert torch.equal(step.x, digits.train.x[rows])
    assert torch.equal(step.y, digits.train.y[rows])
    assert (step.epoch, step.radius_share, step.attack) == (1, 0.75, ATTACK)
    assert steps.lr(0, 1) == pytest.approx(10 * steps.lr(1, 0))
    assert steps.radius(1.0) == pytest.approx(ATTACK.threat.radius / 2)
    assert steps_of(digits, Adversarial(NoAttack(), robust_weight=0.0), Recipe()).radius(1.0) == 0.0


class ReadsOnTheHost(TorchDispatchMode):
    """Counts the operations for which a GPU would be waited for: values of tensors, and shapes that depend on them."""

    WAIT = ("_local_scalar_dense", "nonzero", "equal", "masked_select", "unique", "is_nonzero")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in self.WAIT:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "objective",
    [Adversarial(ATTACK, robust_weight=0.0), TRADES(ATTACK, beta=0.0), Free(ATTACK)],
    ids=["standard", "trades", "free"],
)
def test_nothing_is_read_on_the_host_between_the_parts_of_a_step(digits: Dataset, objective: Objective) -> None:
    """Apart from attacks: Augmentation, forward and backward pass, clipping, SGD and the moving average."""
    recipe = Recipe(batch_size=20, optimizer="sgd", clip=0.1, augment="crop1-flip-cutout2")
    if isinstance(objective, Free):
        objective.memory.prepare(recipe.batch_size, digits.train)
    steps = steps_of(digits, objective, recipe)
    order = steps.order(0)
    with ReadsOnTheHost() as reads:
        loss = steps.take(steps.make(0, 0, order[:20]), 0, 0)
    assert reads.found == []
    with ReadsOnTheHost() as reads:
        float(loss)
    assert reads.found == ["_local_scalar_dense"]


@pytest.mark.parametrize("name", [name for name in EXTENSIONS if name != "extra"])  # has no data by its name alone
def test_no_extension_reads_on_the_host_within_a_step(digits: Dataset, name: str) -> None:
    """All but ADR, which must look at the clean inputs by another network, without an attack."""
    recipe = Recipe(batch_size=20, optimizer="sgd", augment="crop1-flip")
    extension = extension_by_name("dom:start=0" if name == "dom" else name)
    extension.prepare(small(), recipe, digits)
    objective = Adversarial(ATTACK, robust_weight=0.0)  # which is not called: the ball alone is there
    steps = Steps(small(), digits.train, objective, recipe, (extension,), 0, make_fabric("cpu"))
    order = steps.order(0)
    steps.take(steps.make(0, 0, order[:20]), 0, 0)
    with ReadsOnTheHost() as reads:
        steps.take(steps.make(0, 1, order[20:40]), 0, 1)
    assert reads.found == []


@pytest.mark.parametrize("clip", [0.0, 0.1])
def test_gradients_that_are_not_finite_end_in_the_outcome(digits: Dataset, clip: float) -> None:
    """The first loss is 0 and its gradient NaN, which no loss shows before the second step."""

    def singular(step: Step) -> torch.Tensor:
        return (step.model(step.x)[:, 0] * 0.0).abs().sqrt()

    outcome = fit(small(), digits, singular, Recipe(epochs=3, batch_size=30, clip=clip)).end
    assert outcome.kind == "non_finite"
    assert "epoch 1, step 2" in outcome.reason


OTHER, SCALE = small(1), torch.ones((), requires_grad=True)


@pytest.mark.parametrize(
    "objective",
    [
        lambda step: step.loss(step.model(step.craft(ATTACK)).detach().requires_grad_()),
        lambda step: step.loss(OTHER(step.x)),
        lambda step: step.loss(step.outputs().clone().requires_grad_()),
        lambda step: SCALE * step.loss(step.model(step.x).detach()),
    ],
    ids=["detached", "another network", "outputs", "a weight of its own"],
)
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_loss_that_reaches_no_weight_is_refused(digits: Dataset, objective: Objective, accumulate: int) -> None:
    """Planted: such a training ended as completed, with the weights that it had begun with."""

    def call() -> object:
        return fit(small(), digits, objective, Recipe(epochs=2, batch_size=30, accumulate=accumulate))

    refused(call, "objective: expected a loss that depends on the weights, got one that reaches none of them")


def test_a_loss_that_reaches_some_weights_or_has_no_slope_is_taken(digits: Dataset) -> None:
    def last_layer(step: Step) -> torch.Tensor:
        return step.loss(step.network[-1](step.network[:-1](step.x).detach()))

    for objective in (last_layer, lambda step: step.loss(step.model(step.x)).clamp(max=0.0)):
        assert fit(small(), digits, objective, Recipe(epochs=1, batch_size=30)).end.kind == "completed"


@pytest.mark.parametrize("given", [None, torch.zeros(2)])
def test_an_extension_that_loses_the_loss_is_refused_by_its_name(digits: Dataset, given: object) -> None:
    class Loses(Extension):
        name = "loses"

        def around(self, step: Step, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
            compute()
            return given  # type: ignore[return-value]  # the fault

    def call() -> object:
        return fit(small(), digits, Adversarial(ATTACK), Recipe(epochs=1, batch_size=30), extensions=(Loses(),))

    refused(call, "extension loses: expected the loss from `around`", "return what compute() gave")


class Own(Extension):
    """Does what it is given."""

    name = "own"

    def __init__(self, around: Callable[[Step, Callable[[], torch.Tensor]], torch.Tensor]) -> None:
        self.does = around

    def around(self, step: Step, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        return self.does(step, compute)


def trained(data: Dataset, extension: Extension, objective: Objective | None = None) -> object:
    objective = objective or Adversarial(ATTACK)
    return fit(small(), data, objective, Recipe(epochs=1, batch_size=30), extensions=(extension,))


def test_an_extension_that_does_not_compute_is_refused(digits: Dataset) -> None:
    """The optimizer would have taken the gradients of the step before once more."""
    steps: list[int] = []

    def every_second(step: Step, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        steps.append(0)
        return compute() if len(steps) % 2 else torch.tensor(1.0)

    never = Own(lambda step, compute: torch.tensor(1.0))
    for extension in (never, Own(every_second)):
        refused(
            lambda e=extension: trained(digits, e), "extension own: expected a call of compute()", "return compute()"
        )
    trained(digits, Own(lambda step, compute: (compute(), compute())[1]))


def test_own_soft_labels_that_the_objective_passes_over_are_refused(digits: Dataset) -> None:
    def smooth(step: Step, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        step.targets = 0.9 * torch.eye(10)[step.y] + 0.01
        return compute()

    def deaf(step: Step) -> torch.Tensor:
        return default_loss(step.model(step.x), step.y)

    refused(lambda: trained(digits, Own(smooth), deaf), "extension own: expected an objective that takes soft labels")
    trained(digits, Own(smooth), lambda step: step.loss(step.model(step.x)))


def test_an_extension_without_a_network_to_evaluate_is_refused(digits: Dataset) -> None:
    class Forgets(Extension):
        name = "forgets"

        def evaluated_model(self, model: nn.Module) -> nn.Module:
            return None  # type: ignore[return-value]  # the fault

    refused(lambda: trained(digits, Forgets()), "extension forgets: expected a network from `evaluated_model`", "None")


def test_what_cannot_be_trained_is_refused_before_any_work(digits: Dataset) -> None:
    with torch.inference_mode():
        of_inference = small()
    for model, words in (
        (lambda x: x, "expected a torch.nn.Module, got a value of type function"),
        (small().to("meta"), "on the meta device; give it values"),
        (of_inference, "of inference mode; make the network outside of torch.inference_mode()"),
    ):
        refused(lambda m=model: fit(m, digits, Adversarial(ATTACK), Recipe(epochs=1)), "model: ", words)
