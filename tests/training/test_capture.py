"""Captured training equals the same training without graphs, to the bit; what cannot be captured is found and said.

A tape stands in for CUDA graphs (`tests.training.tape`): it does operations again on the tensors of the capture and
runs no Python.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from tests.training.cases import ATTACK, interrupt, noisy, run_of, same_weights, small
from tests.training.tape import Tape
from torch import Tensor, nn

from cgro.data import Dataset, load
from cgro.definitions import FGSM, PGD, ThreatModel
from cgro.definitions.graphs import capturing_by
from cgro.training import EMA, KD, MART, TRADES, Adversarial, Extension, Recipe, Step, evaluated, fit
from cgro.training.checkpoint import LAST
from cgro.training.extensions import Extra
from cgro.training.objectives import Free, Objective
from cgro.training.registry import EXTENSIONS, extension_by_name
from cgro.training.weights.formats import read_safetensors
from cgro.trajectory import Trajectory

RECIPE = Recipe(epochs=2, batch_size=7, optimizer="sgd", lr=0.05, schedule="cosine", augment="crop1-flip")
N_WHOLE = 8
"""Whole batches in an epoch of 60 examples; a ninth has 4."""


class Refusing(Tape):
    """Captures nothing: the same steps, all taken by Python."""

    def capture(self, call: Callable[[], Tensor]) -> Callable[[], Tensor]:
        raise RuntimeError("no graphs here")


def convolutional(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Conv2d(1, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 10)]
        return nn.Sequential(*layers)


def trained(
    backend: Tape,
    data: Dataset,
    objective: Objective,
    recipe: Recipe = RECIPE,
    extensions: Sequence[Extension] = (),
    model: nn.Module | None = None,
) -> tuple[nn.Module, nn.Module, Trajectory]:
    """The network in training, that which is evaluated, and what was recorded."""
    model = model or convolutional()
    with capturing_by(backend):
        found = fit(model, data, objective, recipe, extensions=extensions)
    return model, evaluated(model, extensions), found


def assert_captured_is_eager(
    data: Dataset,
    objective: Objective,
    recipe: Recipe = RECIPE,
    extensions: Callable[[], Sequence[Extension]] = tuple,
    make: Callable[[], nn.Module] = convolutional,
    *,
    n_captures: int = 1,
) -> Trajectory:
    tape = Tape()
    model, network, found = trained(tape, data, objective, recipe, extensions(), make())
    other, plain, expected = trained(Refusing(), data, objective, recipe, extensions(), make())
    assert found.meta["step"] == "captured"
    assert tape.n_captures == n_captures
    assert expected.meta["step"] == "eager: no graphs here"
    assert same_weights(model, other)
    assert same_weights(network, plain)
    assert found["train_loss"].tolist() == expected["train_loss"].tolist()
    assert not same_weights(model, make())
    return found


OBJECTIVES = {
    "adversarial": Adversarial(ATTACK),
    "bfloat16": Adversarial(replace(ATTACK, precision="bfloat16")),
    "mixed": Adversarial(replace(ATTACK, precision="float32"), robust_weight=0.5),
    "standard": Adversarial(ATTACK, robust_weight=0.0),
    "l2": Adversarial(PGD(ThreatModel(2, 0.5), n_steps=2, n_restarts=2)),
    "fgsm": Adversarial(FGSM(ThreatModel("inf", 0.1))),
    "trades": TRADES(ATTACK),
    "mart": MART(ATTACK),
    "kd": KD(ATTACK, standard=small(1), robust=small(2)),
    "free": Free(ATTACK, replays=2),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective(digits: Dataset, name: str) -> None:
    found = assert_captured_is_eager(digits, OBJECTIVES[name])
    assert found["captured_steps"].tolist() == [N_WHOLE - 3, N_WHOLE]
    assert "attack_seconds" not in found.values


@pytest.mark.parametrize("name", EXTENSIONS)
def test_every_extension(digits: Dataset, name: str) -> None:
    text = {"dom": "dom:start=0", "awp": "awp:gamma=0.1"}.get(name, name)
    second = load("digits", n_train=40, n_test=10)

    def made() -> list[Extension]:
        if name == "extra":
            return [Extra(replace(second, train=replace(second.train, stored=1.0 - second.train.raw)))]
        return [extension_by_name(text)]

    assert_captured_is_eager(digits, OBJECTIVES["adversarial"], extensions=made)


@pytest.mark.parametrize("average", ["ema", "swa:start=1"])
def test_several_extensions_together(digits: Dataset, average: str) -> None:
    names = ("mixup", "label-smoothing:attack=true", "awp:batchnorm=unperturbed", "mlcat-ls", average)
    assert_captured_is_eager(digits, TRADES(ATTACK), extensions=lambda: [extension_by_name(name) for name in names])


@pytest.mark.parametrize(
    ("mode", "optimizer"), [("eval", "adam"), ("train", "sgd"), ("train", "adamw"), ("train_update_bn", "adam")]
)
def test_every_mode_and_optimizer(digits: Dataset, mode: str, optimizer: str) -> None:
    recipe = replace(RECIPE, craft_mode=mode, optimizer=optimizer, clip=0.3, weight_decay=0.01, augment="none", lr=0.01)
    assert_captured_is_eager(digits, OBJECTIVES["adversarial"], recipe)


def test_dropout_is_seeded_before_each_replay(digits: Dataset) -> None:
    assert_captured_is_eager(digits, OBJECTIVES["adversarial"], make=noisy)


@pytest.mark.parametrize(
    ("recipe", "names", "n_captures", "captured"),
    [
        (replace(RECIPE, radius_warmup=1.0), (), 1, [0, 5]),
        (RECIPE, ("awp:warmup=1",), 2, [5, 5]),
        (RECIPE, ("dom:start=0.25",), 2, [2, 8]),
        (replace(RECIPE, batch_size=100, epochs=6), (), 1, [0, 0, 0, 1, 1, 1]),
    ],
    ids=["radius", "awp", "dom", "one batch an epoch"],
)
def test_what_is_decided_by_the_time(
    digits: Dataset, recipe: Recipe, names: Sequence[str], n_captures: int, captured: list[int]
) -> None:
    """A step that would decide otherwise is taken as ever, and captured anew once that lasts."""
    found = assert_captured_is_eager(
        digits,
        OBJECTIVES["adversarial"],
        recipe,
        lambda: [extension_by_name(name) for name in names],
        n_captures=n_captures,
    )
    assert found["captured_steps"].tolist() == captured


class Stopping(Tape):
    """Ctrl-C at a replay."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at
        self.n_replays = 0

    def capture(self, call: Callable[[], Tensor]) -> Callable[[], Tensor]:
        replay = super().capture(call)

        def counted() -> Tensor:
            self.n_replays += 1
            if self.n_replays == self.at:
                interrupt()
            return replay()

        return counted


@pytest.mark.parametrize("stop_at", [1, 8])
def test_stopped_and_resumed_ends_in_the_same_bits(digits: Dataset, tmp_path: Path, stop_at: int) -> None:
    """Resumed, steps are taken by Python until the next capture, and as by the graph."""
    recipe = replace(RECIPE, epochs=3, optimizer="adamw", lr=0.01, radius_warmup=0.5)
    files: list[dict[str, Tensor]] = []
    for name, backends in (("cut", (Stopping(stop_at), Tape())), ("whole", (Tape(),)), ("eager", (Refusing(),))):
        kinds: list[str] = []
        for backend in backends:
            model = convolutional()
            extensions = (EMA(0.9),)
            with capturing_by(backend):
                run = run_of(tmp_path / name)
                kinds.append(fit(model, digits, Adversarial(ATTACK), recipe, extensions=extensions, run=run).end.kind)
        assert kinds == ["interrupted", "completed"][-len(backends) :]
        tensors, state = read_safetensors(tmp_path / name / "checkpoints" / LAST)
        assert state["capture"] == {"eager": "eager: no graphs here"}.get(name, "captured")
        files.append(tensors)
    for other in files[1:]:
        assert files[0].keys() == other.keys()
        assert all(torch.equal(value, other[key]) for key, value in files[0].items())


def test_numbers_are_those_of_a_training_without_static_tensors(digits: Dataset) -> None:
    """Where nothing captures, the optimizer is torch's own: equal up to rounding."""
    for optimizer in ("sgd", "adamw"):
        recipe = replace(RECIPE, optimizer=optimizer, lr=0.01, weight_decay=0.01, epochs=2)
        model, _, found = trained(Tape(), digits, OBJECTIVES["standard"], recipe, model=small())
        plain = small()
        expected = fit(plain, digits, OBJECTIVES["standard"], recipe)
        assert "step" not in expected.meta
        assert "captured_steps" not in expected.values
        assert "attack_seconds" in expected.values
        torch.testing.assert_close(found["train_loss"], expected["train_loss"], rtol=1e-5, atol=0)
        torch.testing.assert_close(model.state_dict(), plain.state_dict(), rtol=1e-4, atol=1e-6)


class Declared(Extension):
    """Lies: every extension below says that it may be captured."""

    capturable: ClassVar[bool] = True


class Counting(Declared):
    """A counter on the host, which a replay does not move."""

    capturable: ClassVar[bool] = True

    def begin(self, model: nn.Module) -> None:
        self.n = 0

    def after_step(self, model: nn.Module, k: int) -> None:
        self.n += 1

    def state(self) -> dict[str, int]:
        return {"n": self.n}

    def load(self, state) -> None:
        self.n = state["n"]


class Hidden(Declared):
    """A counter that stands in no state, and acts on the weights."""

    capturable: ClassVar[bool] = True

    def begin(self, model: nn.Module) -> None:
        self.n = 0

    @torch.no_grad()
    def after_step(self, model: nn.Module, k: int) -> None:
        self.n += 1
        for weight in model.parameters():
            weight.mul_(1 - 1e-4 * self.n)


class Rebinding(Declared):
    """Its state is another tensor after each step; loaded in place, so that only the second replay is wrong."""

    capturable: ClassVar[bool] = True

    def begin(self, model: nn.Module) -> None:
        self.sum = torch.zeros(())

    def after_step(self, model: nn.Module, k: int) -> None:
        self.sum = self.sum + next(model.parameters()).detach().norm()

    def state(self) -> dict[str, Tensor]:
        return {"sum": self.sum}

    def load(self, state) -> None:
        self.sum.copy_(state["sum"])


class Progress(Declared):
    """Reads a number that is another one in each step."""

    capturable: ClassVar[bool] = True

    def around(self, step: Step, compute: Callable[[], Tensor]) -> Tensor:
        loss = compute()
        for weight in step.network.parameters():
            weight.grad.mul_(1 + step.progress)
        return loss


class Late(Declared):
    """Does something else from the second epoch on, and asks nobody."""

    capturable: ClassVar[bool] = True

    @torch.no_grad()
    def after_step(self, model: nn.Module, k: int) -> None:
        for weight in model.parameters():
            weight.mul_(1.0 if k <= N_WHOLE + 1 else 0.999)


class Undeclared(EMA):
    pass


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Counting, "a replay differs from the step in extension counting: n"),
        (Rebinding, "a replay differs from the step in extension rebinding: sum"),
        (Late, "a replay differs from the step in 0.bias and 5 more"),
        (Progress, "the step reads progress, which is another number in every step"),
        (Undeclared, "the extension undeclared does not declare `capturable = True`"),
    ],
)
def test_an_extension_that_a_graph_would_miss_is_found(
    digits: Dataset, make: Callable[[], Extension], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the training is the same as without graphs."""
    model, _, found = trained(Tape(), digits, Adversarial(ATTACK), extensions=(make(),))
    assert found.meta["step"] == f"eager: {reason}"
    said = capsys.readouterr().err
    assert (reason in said) == (make is not Progress)
    assert len(said.splitlines()) <= 1
    other, _, expected = trained(Refusing(), digits, Adversarial(ATTACK), extensions=(make(),))
    assert same_weights(model, other)
    assert found["train_loss"].tolist() == expected["train_loss"].tolist()


def test_a_counter_that_acts_is_found(digits: Dataset) -> None:
    _, _, found = trained(Tape(), digits, Adversarial(ATTACK), extensions=(Hidden(),))
    assert str(found.meta["step"]).startswith("eager: two equal steps give other bits here")


@dataclass(frozen=True)
class HostRate(Recipe):
    """An optimizer that says its learning rate lies in a tensor, and takes it from the host."""

    def build_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        from cgro.training.optimizers import TensorSGD

        class Lying(TensorSGD):
            @torch.no_grad()
            def step(self, closure=None) -> None:
                for weight in self.param_groups[0]["params"]:
                    weight.sub_(weight.grad, alpha=self.param_groups[0]["lr"])

        return Lying(super().build_optimizer(model))


@dataclass(frozen=True)
class OwnOptimizer(Recipe):
    def build_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(model.parameters(), self.lr)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (HostRate, "eager: a replay differs from the step in 0.weight and 4 more"),
        (OwnOptimizer, "eager: RMSprop has its learning rate on the host"),
    ],
)
def test_a_learning_rate_on_the_host_is_found(digits: Dataset, kind: type[Recipe], reason: str) -> None:
    recipe = kind(epochs=2, batch_size=7, optimizer="sgd", lr=0.05, schedule="cosine")
    model, _, found = trained(Tape(), digits, Adversarial(ATTACK), recipe)
    assert found.meta["step"] == reason
    other, _, _ = trained(Refusing(), digits, Adversarial(ATTACK), recipe)
    assert same_weights(model, other)


class Faulty(nn.Module):
    """A network with a planted fault in its forward pass."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.inner = noisy() if fault == "dropout" else small()
        self.fault = fault
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.inner(x)
        if not self.training:
            return outputs
        if self.fault == "item":
            return outputs * (1.0 if outputs.sum().item() > 0 else 0.5)
        if self.fault == "mask":
            return outputs + outputs.detach()[outputs > 0].mean()
        if self.fault == "constant":
            return outputs + torch.tensor(0.5)
        if self.fault == "random":
            return outputs * random.choice([0.5, 1.0])
        if self.fault == "buffer":
            self.seen = self.seen + outputs.detach().mean()
            return outputs + self.seen
        return outputs


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("item", "aten._local_scalar_dense: operation not permitted when stream is capturing"),
        ("mask", "aten.index: operation not permitted when stream is capturing"),
        ("constant", "aten.lift_fresh: a copy from the host is not permitted when stream is capturing"),
        ("random", "the step draws random numbers on the host, which a graph would repeat"),
        ("buffer", "a step replaces tensors, such as seen"),
        ("dropout", "the network draws random numbers (dropout) in 2 passes of a step that are seeded alike"),
    ],
)
def test_a_network_that_a_graph_would_miss_is_found(digits: Dataset, fault: str, reason: str) -> None:
    names = ("awp",) if fault == "dropout" else ()
    ends: list[tuple[nn.Module, Trajectory]] = []
    for backend in (Tape(), Refusing()):
        random.seed(0)
        extensions = [extension_by_name(name) for name in names]
        model, _, found = trained(backend, digits, Adversarial(ATTACK), extensions=extensions, model=Faulty(fault))
        ends.append((model, found))
    (model, found), (other, expected) = ends
    assert found.meta["step"] == f"eager: {reason}"
    assert same_weights(model, other)
    assert found["train_loss"].tolist() == expected["train_loss"].tolist()


def test_a_counter_in_a_network_is_found(digits: Dataset) -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.n = small(), 0

        def forward(self, x: Tensor) -> Tensor:
            self.n += self.training
            return self.inner(x) * (1 + 0.01 * self.n)

    _, _, found = trained(Tape(), digits, Adversarial(ATTACK), model=Counts())
    assert "two equal steps give other bits here" in str(found.meta["step"])


def test_foreign_code_is_not_captured_unless_it_says_so(digits: Dataset) -> None:
    def objective(step: Step) -> Tensor:
        return step.loss(step.model(step.craft(ATTACK)))

    def loss(outputs: Tensor, y: Tensor) -> Tensor:
        return -outputs.gather(1, y[:, None])[:, 0]

    attacked = Adversarial(replace(ATTACK, loss=loss))
    _, _, found = trained(Tape(), digits, objective)
    assert found.meta["step"] == "eager: the objective objective does not declare `capturable = True`"
    _, _, found = trained(Tape(), digits, attacked)
    assert found.meta["step"] == "eager: the loss loss of the attack pgd2 does not declare `capturable = True`"
    objective.capturable = True
    loss.capturable = True
    assert_captured_is_eager(digits, objective)
    assert_captured_is_eager(digits, attacked)


def test_hooks_are_called(digits: Dataset) -> None:
    n_calls: list[int] = []
    for backend in (Tape(), Refusing()):
        seen: list[int] = []
        model = small()
        model.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        _, _, found = trained(backend, digits, Adversarial(ATTACK), model=model)
        assert found.meta["step"] == "eager: the network has hooks, which a graph would not call"
        n_calls.append(len(seen))
    assert n_calls[0] == n_calls[1] > 0


def test_tensors_that_moved_between_two_epochs_are_found(digits: Dataset) -> None:
    """A probe that gives the network new weights of the same values: the graph would train the old ones."""

    def move(snapshot) -> dict[str, float]:
        for weight in snapshot.model.parameters():
            weight.data = weight.data.clone()
        return {}

    ends: list[nn.Module] = []
    for backend in (Tape(), Refusing()):
        model = convolutional()
        with capturing_by(backend):
            found = fit(model, digits, Adversarial(ATTACK), RECIPE, probes=(move,))
        ends.append(model)
        if isinstance(backend, Tape) and not isinstance(backend, Refusing):
            assert backend.n_captures == 2
            assert found["captured_steps"].tolist() == [5, 5]
    assert same_weights(*ends)


def test_nothing_changes_within_the_block_that_captures_nothing(digits: Dataset) -> None:
    model, _, found = trained(None, digits, Adversarial(ATTACK))  # type: ignore[arg-type]
    plain = convolutional()
    fit(plain, digits, Adversarial(ATTACK), RECIPE)
    assert "step" not in found.meta
    assert same_weights(model, plain)
