"""When the methods of extensions are called, in which order, and what is refused."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.cases import ATTACK, Calls, interrupt, noisy, run_of, same_weights, small, train
from torch import nn
from torch.optim.swa_utils import AveragedModel

from cgro._check import BadRequest
from cgro.data import Dataset
from cgro.training import (
    ADR,
    AWP,
    DOM,
    EMA,
    MLCATLS,
    MLCATWP,
    SWA,
    Adversarial,
    Cost,
    Extension,
    Extra,
    LabelSmoothing,
    Recipe,
    Step,
    evaluated,
    fit,
    step_cost,
)
from cgro.training.checkpoint import EVALUATED, LAST, load_checkpoint
from cgro.training.extensions.base import require_extensions
from cgro.training.registry import EXTENSIONS, extension_by_name


def test_gradients_that_are_computed_twice_are_the_same(digits: Dataset) -> None:
    losses: list[torch.Tensor] = []

    class Twice(Extension):
        def around(self, step: Step, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
            losses.extend([compute(), compute()])
            return losses[-1]

    model, twin = (nn.Sequential(small(), nn.Dropout(0.2)) for _ in range(2))
    fit(model, digits, Adversarial(ATTACK, 0.5), Recipe(epochs=2), extensions=[Twice()])
    fit(twin, digits, Adversarial(ATTACK, 0.5), Recipe(epochs=2))
    assert torch.equal(torch.stack(losses[::2]), torch.stack(losses[1::2]))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), twin.parameters(), strict=True))


def test_the_first_extension_is_the_outermost(digits: Dataset) -> None:
    seen: list[str] = []

    class Outer(Extension):
        def around(self, step: Step, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
            seen.append(f"{self.name} begins")
            loss = compute()
            seen.append(f"{self.name} ends")
            return loss

        def after_step(self, model: nn.Module, k: int) -> None:
            seen.append(f"{self.name} {k}")

    class Inner(Outer):
        pass

    train(small(), digits, Recipe(epochs=1, batch_size=60), extensions=[Outer(), Inner()])
    assert seen == ["outer begins", "inner begins", "inner ends", "outer ends", "outer 1", "inner 1"]


class Journal(Extension):
    """Notes what is called, with its number; what it noted belongs to the state."""

    def begin(self, model: nn.Module) -> None:
        self.notes = "begin"

    def around(self, step: Step, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        self.notes += f" around:{step.epoch}"
        return compute()

    def after_step(self, model: nn.Module, k: int) -> None:
        self.notes += f" step:{k}"

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        self.notes += f" epoch:{epoch}"

    def state(self) -> dict:
        return {"notes": self.notes}

    def load(self, state: dict) -> None:
        self.notes = state["notes"]


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_each_method_is_called_once_also_when_resumed(digits: Dataset, tmp_path: Path, stop_after: int) -> None:
    """Two steps an epoch; stopped in the middle of an epoch or at its end."""
    recipe = Recipe(epochs=2, batch_size=30)
    whole, cut, resumed = Journal(), Journal(), Journal()
    train(small(), digits, recipe, extensions=[whole])
    expected = "begin around:0 step:1 around:0 step:2 epoch:1 around:1 step:3 around:1 step:4 epoch:2"
    assert whole.notes == expected
    stop = Calls(stop_after, interrupt)
    train(small(), digits, recipe, run=run_of(tmp_path / "r"), extensions=[cut, stop])
    assert cut.notes != expected
    train(small(), digits, recipe, run=run_of(tmp_path / "r"), extensions=[resumed, Calls()])
    assert resumed.notes == expected


def test_the_protocol_changes_nothing(digits: Dataset) -> None:
    plain, extended = small(), small()
    train(plain, digits, Recipe(epochs=2))
    train(extended, digits, Recipe(epochs=2), extensions=[Extension()])
    assert same_weights(plain, extended)
    assert evaluated(extended, [Extension()]) is extended


def test_the_first_extension_is_given_the_network_of_the_others() -> None:
    class Wraps(Extension):
        def evaluated_model(self, model: nn.Module) -> nn.Module:
            return nn.Sequential(model, nn.Identity())

    model, ema = nn.Linear(1, 1), EMA(0.5)
    ema.begin(model)
    network = evaluated(model, [Wraps(), ema])
    assert isinstance(network, nn.Sequential)
    assert network[0] is ema.evaluated_model(model)


def test_what_is_no_extension_is_refused(digits: Dataset) -> None:
    class Slashed(Extension):
        name = "a/b"

    for extensions in ([Extension], [Calls(), Calls()], [Slashed()]):
        with pytest.raises(ValueError, match="extension"):
            train(small(), digits, Recipe(epochs=1), extensions=extensions)


def test_extensions_of_which_one_would_undo_the_other_are_refused(digits: Dataset) -> None:
    """Planted: of two averages the second was never evaluated; DOM kept and dropped images that others had replaced."""

    class Own(EMA):
        name = "own average"

    for extensions, words in (
        ([EMA(), SWA(1)], "ema and swa"),
        ([SWA(1), EMA()], "swa and ema"),
        ([EMA(), Own()], "ema and own average"),
        ([DOM(), Extra(digits)], "extra before dom"),
    ):
        with pytest.raises(BadRequest, match=words):
            require_extensions(extensions)
    require_extensions([Extra(digits), DOM(), EMA(), ADR()])  # ADR's own average is a teacher


@pytest.mark.parametrize(
    "make", [lambda: EMA(1.0), lambda: ADR(decay=1.0), lambda: LabelSmoothing(1.0), lambda: DOM(start=1)]
)
def test_a_share_of_everything_leaves_nothing(make: Callable[[], object]) -> None:
    """Planted: 1 was taken where [0, 1) stands, and the initial network was evaluated for ever."""
    with pytest.raises(BadRequest, match=r"in \[0, 1\)"):
        make()


@pytest.mark.parametrize("stop_after", [2, 7])
@pytest.mark.parametrize("name", [name for name in EXTENSIONS if name != "extra"])  # has no data by its name alone
def test_every_extension_is_resumed_to_the_same_bits(
    digits: Dataset, tmp_path: Path, name: str, stop_after: int
) -> None:
    """Stopped in the middle of an epoch, before and after what begins late; all checkpoints have the same bytes."""
    recipe = Recipe(epochs=3, batch_size=16, optimizer="sgd", lr=0.05, augment="crop1-flip")

    def run(folder: str, at: int = 0) -> str:
        extensions = [extension_by_name(name), Calls(at, interrupt)]
        return train(noisy(), digits, recipe, run=run_of(tmp_path / folder), extensions=extensions).end.kind

    assert run("whole") == "completed"
    assert run("cut", stop_after) == "interrupted"
    assert run("cut") == "completed"
    names = {path.name for path in (tmp_path / "whole" / "checkpoints").iterdir()}
    assert LAST in names
    for file in names:
        cut, undisturbed = ((tmp_path / d / "checkpoints" / file).read_bytes() for d in ("cut", "whole"))
        assert cut == undisturbed


def test_costs_add_up_from_the_innermost_to_the_outermost() -> None:
    """Each doubles or adds to what stands behind it."""

    class Forward(Extension):
        def cost(self, step: Cost) -> Cost:
            return step + Cost(n_updates=3)

    objective = Adversarial(ATTACK)
    assert step_cost(objective, ()) == objective.cost
    assert step_cost(objective, [AWP(), Forward()]).n_updates == 2 * (1 + 3)
    assert step_cost(objective, [Forward(), AWP()]).n_updates == 2 + 3


@pytest.mark.parametrize("detach", [False, True])
def test_where_one_leaves_no_gradient_another_does_nothing(detach: bool) -> None:
    """Planted: MLCAT-WP beside MLCAT-LS trained to the bits of MLCAT-LS alone, at ten times the passes."""
    for l_min, looks, fine in ((1.5, 1.5, False), (2.0, 1.5, False), (1.5, 1.6, True), (0.0, 1.5, True)):
        scaled, moved = MLCATLS(l_min, detach=detach), MLCATWP(l_min=looks)
        for extensions in ([scaled, moved], [moved, EMA(), scaled]):
            if fine or detach:
                require_extensions(extensions)
                continue
            with pytest.raises(BadRequest, match="mlcat-ls leaves no gradient below it, mlcat-wp would do nothing"):
                require_extensions(extensions)
    require_extensions([MLCATWP(l_min=0.0), EMA()])


def test_two_networks_of_others_are_not_both_evaluated() -> None:
    """Planted: an average as in docs/extending.md, whose class says nothing, left EMA without effect in silence."""

    class Average(Extension):
        def evaluated_model(self, model: nn.Module) -> nn.Module:
            return nn.Linear(1, 1)

    class Scaled(Average):
        evaluates_its_own = False

    class Plain(Extension):
        pass

    for extensions in ([Average(), EMA()], [SWA(1), Average()]):
        with pytest.raises(BadRequest, match="one that has its own network evaluated"):
            require_extensions(extensions)
    for extensions in ([Scaled(), EMA()], [Plain(), EMA()], [Average(), Plain()], [Average(), Scaled()]):
        require_extensions(extensions)


class Misspelt(Extension):
    def after_steps(self, model: nn.Module, k: int) -> None: ...


class Other(Extension):
    def on_epoch_end(self) -> None: ...


class Both(Calls):
    def after_epochs(self, model: nn.Module, epoch: int) -> None: ...


class Short(Extension):
    def after_epoch(self, model: nn.Module) -> None: ...  # type: ignore[override]


class Keyword(Extension):
    def around(self, step: Step, *, compute: Callable[[], torch.Tensor]) -> torch.Tensor:  # type: ignore[override]
        return compute()


class Forgets(Extension):
    def begin(self, model: nn.Module) -> None:
        self.n = 1

    def state(self) -> dict[str, int]:
        return {"n": self.n}


@pytest.mark.parametrize(
    ("extension", "words"),
    [
        (Misspelt(), "misspelt: expected after_step, got after_steps, which nothing calls; is it misspelt"),
        (Other(), "other: expected around, after_step, .* got on_epoch_end, which nothing calls"),
        (Both(), "both: expected after_epoch, got after_epochs, which nothing calls"),
        (Short(), r"short: expected after_epoch\(self, model.*, epoch.*\).* got another signature"),
        (Keyword(), r"keyword: expected around\(self, step"),
        (Forgets(), r"forgets: expected load\(self, state\), .* got state alone"),
    ],
)
def test_methods_that_would_not_be_called_or_not_be_resumed_are_refused(
    extension: Extension, words: str, digits: Dataset
) -> None:
    """A misspelt one did nothing, one of another signature failed after an epoch, a state alone resumed to other bits."""
    with pytest.raises(BadRequest, match=words):
        train(small(), digits, Recipe(epochs=1), extensions=[extension])


class Keeps(Extension):
    """Has a value as its state, from some step on."""

    def __init__(self, value: object, start: int = 0) -> None:
        self.value, self.start, self.k = value, start, 0

    def after_step(self, model: nn.Module, k: int) -> None:
        self.k = k

    def state(self) -> Any:
        return self.value if self.k >= self.start else {}

    def load(self, state: object) -> None: ...


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1], r"got a value of type list; return \{"),
        (None, "got None"),
        (torch.zeros(2), "got a value of type Tensor"),
        ({3: 1.0}, "got the name 3; names are text"),
        ({"n": {1, 2}}, "set is not JSON"),
        ({"n": np.ones(2)}, "ndarray is not JSON"),
    ],
)
def test_a_state_that_no_checkpoint_holds_is_refused_before_work_and_when_it_is_saved(
    digits: Dataset, tmp_path: Path, value: object, words: str, start: int
) -> None:
    """Planted: a list ended in an AttributeError after the first epoch."""
    steps = Calls()
    expected = f"extension keeps: expected a state of tensors, numbers and text by name, .*{words}"
    with pytest.raises(BadRequest, match=expected):
        train(small(), digits, Recipe(epochs=2), extensions=[Keeps(value, start), steps], run=run_of(tmp_path / "r"))
    assert bool(steps.steps) == bool(start)


@pytest.mark.parametrize("value", [{}, {"n": 1, "of": [1, 2], "weight": torch.zeros(2), "none": None}])
def test_a_state_of_plain_values_and_tensors_is_saved(digits: Dataset, tmp_path: Path, value: object) -> None:
    run = run_of(tmp_path / "r")
    assert train(small(), digits, Recipe(epochs=1), extensions=[Keeps(value)], run=run).end.kind == "completed"


class Further(Extension):
    def after_epoch(self, model: nn.Module, epoch: int, verbose: bool = False) -> None: ...


class Any_(Extension):
    def around(self, *given: Any) -> Any:
        return given[1]()


@pytest.mark.parametrize("extension", [Further(), Any_()])
def test_signatures_that_take_what_is_given_are_taken(extension: Extension, digits: Dataset) -> None:
    assert train(small(), digits, Recipe(epochs=1), extensions=[extension]).end.kind == "completed"


class Rounds(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.m = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.m(x.round())


class Evaluates(Extension):
    """Has what a function makes of the network evaluated, from some epoch on."""

    evaluates_its_own = True

    def __init__(self, make: Callable[[nn.Module], nn.Module], start: int = 0) -> None:
        self.make, self.start, self.epoch = make, start, 0

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        self.epoch = epoch

    def evaluated_model(self, model: nn.Module) -> nn.Module:
        return self.make(model) if self.epoch >= self.start else model


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Rounds, "got a Rounds as the whole; its weights alone are saved"),
        (lambda model: nn.Sequential(nn.Hardtanh(), *model), "got a Hardtanh as 0"),
        (lambda model: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), r"got 1.weight of shape \(10, 64\)"),
    ],
)
def test_a_network_that_its_saved_weights_do_not_give_back_is_refused(
    digits: Dataset, make: Callable[[nn.Module], nn.Module], words: str, start: int
) -> None:
    """Planted: `evaluate` measured the bare network where the run had evaluated one that rounds its input."""
    steps = Calls()
    with pytest.raises(BadRequest, match=f"extension evaluates: expected from `evaluated_model` .* {words}"):
        train(small(), digits, Recipe(epochs=3), extensions=[Evaluates(make, start), steps])
    assert bool(steps.steps) == bool(start)


@pytest.mark.parametrize("make", [copy.deepcopy, AveragedModel, nn.DataParallel])
def test_a_network_in_a_wrapper_of_torch_is_saved_and_loaded(
    digits: Dataset, tmp_path: Path, make: Callable[[nn.Module], nn.Module]
) -> None:
    extension, model = Evaluates(make), small()
    train(model, digits, Recipe(epochs=1), extensions=[extension], run=run_of(tmp_path / "r"))
    twin = small(1)
    load_checkpoint(tmp_path / "r" / "checkpoints" / EVALUATED, twin)
    assert same_weights(twin, model)
