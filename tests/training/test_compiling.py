"""A training whose network is compiled: never seen outside of a step, checked, kept when it is resumed.

Most tests have a compiler of their own, which only calls the network or does something else: torch's takes seconds.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from tests.training.cases import ATTACK, Calls, interrupt, noisy, run_of, same_weights, small
from tests.training.tape import Tape
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.data import Dataset, load
from cgro.definitions.graphs import capturing_by
from cgro.training import AWP, EMA, TRADES, Adversarial, Extension, Recipe, evaluated, fit
from cgro.training.capture import decision_of
from cgro.training.checkpoint import LAST, load_checkpoint
from cgro.training.compiling import (
    COMPILED_CALL,
    CompiledNetwork,
    Decision,
    compiling_by,
    decided,
    forward_operations,
    is_compiled,
    seconds_saved,
    words,
)
from cgro.training.extensions import Extra
from cgro.training.registry import EXTENSIONS, extension_by_name
from cgro.training.steps import Steps
from cgro.training.weights.formats import read_safetensors
from cgro.trajectory import Trajectory

RECIPE = Recipe(epochs=2, batch_size=7, optimizer="sgd", lr=0.05, augment="crop1-flip")
OBJECTIVE = Adversarial(replace(ATTACK, precision="float32"))
CPU = torch.device("cpu")


class Counting:
    """A compiler that compiles nothing, and notes what it was asked for.

    Args:
        scale: factor on outputs: 1 for the same bits, 1 + 1e-6 for another rounding.
    """

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.passes: list[tuple[int, bool, bool]] = []

    def __call__(self, network: nn.Module) -> Callable[[Tensor], object]:
        def call(x: Tensor) -> object:
            by_weights = any(weight.requires_grad for weight in network.parameters())
            self.passes.append((len(x), network.training, by_weights and torch.is_grad_enabled()))
            outputs = network._call_impl(x)
            return outputs * self.scale if self.scale != 1.0 else outputs

        return call


def convolutional() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 10)]
        return nn.Sequential(*layers)


def trained(
    data: Dataset,
    compiler: Callable[[nn.Module], Callable[[Tensor], object]],
    extensions: Sequence[Extension] = (),
    model: nn.Module | None = None,
    *,
    option: str = "yes",
    **more: object,
) -> tuple[nn.Module, Trajectory]:
    model = convolutional() if model is None else model
    with compiling_by(compiler):
        found = fit(model, data, OBJECTIVE, RECIPE, extensions=extensions, compiling=option, **more)
    assert COMPILED_CALL not in vars(model)
    return model, found


def test_passes_of_whole_batches_are_compiled_and_no_others(digits: Dataset) -> None:
    compiler = Counting()
    model, found = trained(digits, compiler)
    plain, expected = trained(digits, compiler, option="no")
    assert found.meta["compile"] == "yes"
    assert "compile" not in expected.meta
    assert same_weights(model, plain)
    assert {n for n, _, _ in compiler.passes} == {7}
    # Of the weights' gradients in training mode alone, so that an attack does not compute them in vain.
    assert {(training, by_weights) for _, training, by_weights in compiler.passes} == {(True, True), (False, False)}
    assert len(compiler.passes) > 16 * 4


@pytest.mark.parametrize("name", EXTENSIONS)
def test_every_extension_trains_as_ever(digits: Dataset, name: str) -> None:
    text = {"dom": "dom:start=0", "awp": "awp:gamma=0.1"}.get(name, name)
    compiler = Counting()

    def made() -> list[Extension]:
        if name == "extra":
            second = load("digits", n_train=40, n_test=10)
            return [Extra(replace(second, train=replace(second.train, stored=1.0 - second.train.raw)))]
        return [extension_by_name(text)]

    extensions, others = made(), made()
    model, _ = trained(digits, compiler, extensions)
    plain, _ = trained(digits, compiler, others, option="no")
    assert compiler.passes
    assert same_weights(model, plain)
    assert same_weights(evaluated(model, extensions), evaluated(plain, others))


@pytest.mark.parametrize("mode", ["eval", "train", "train_update_bn"])
def test_every_mode_of_the_attack(digits: Dataset, mode: str) -> None:
    models = []
    for option in ("yes", "no"):
        model = convolutional()
        with compiling_by(Counting()):
            fit(model, digits, TRADES(OBJECTIVE.attack), replace(RECIPE, craft_mode=mode), compiling=option)
        models.append(model)
    assert same_weights(*models)


def test_dropout_and_the_random_state_stay(digits: Dataset) -> None:
    models = []
    for option in ("yes", "no"):
        torch.manual_seed(5)
        models.append(trained(digits, Counting(), model=noisy(), option=option)[0])
        assert torch.initial_seed() == 5
        models.append(nn.Parameter(torch.rand(3)))
    assert same_weights(models[0], models[2])
    assert torch.equal(models[1], models[3])


def test_a_captured_step_is_that_of_the_compiled_network(digits: Dataset) -> None:
    """The tape stands in for CUDA graphs; another rounding shows that it was compiled."""
    found = []
    for tape in (Tape(), None):
        with capturing_by(tape):
            found.append(trained(digits, Counting(1 + 1e-6)))
    assert found[0][1].meta["step"] == "captured"
    plain, _ = trained(digits, Counting(), option="no")
    with capturing_by(Tape()):
        uncaptured, told = trained(digits, Counting(1 + 1e-6), model=convolutional())
    assert same_weights(found[0][0], uncaptured)
    assert told.meta["compile"] == "yes"
    assert not same_weights(found[0][0], plain)
    for a, b in zip(found[0][0].state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-2)


def test_checkpoints_have_the_keys_of_the_network(digits: Dataset, tmp_path: Path) -> None:
    extensions = (EMA(0.9), AWP(0.01))
    run = run_of(tmp_path / "a")
    model, _ = trained(digits, Counting(), extensions, run=run)
    other = run_of(tmp_path / "b")
    plain, _ = trained(digits, Counting(), (EMA(0.9), AWP(0.01)), run=other, option="no")
    found, state = read_safetensors(run.path / "checkpoints" / LAST)
    expected, others = read_safetensors(other.path / "checkpoints" / LAST)
    assert sorted(found) == sorted(expected)
    assert not any("_orig_mod" in key for key in found)
    assert state["compile"] == "yes"
    assert "compile" not in others
    fresh = convolutional()
    load_checkpoint(run.path / "checkpoints" / LAST, fresh)
    assert same_weights(fresh, model)
    assert same_weights(model, plain)


@pytest.mark.parametrize("stop_at", [3, 9, 11])
@pytest.mark.parametrize("now", ["no", "auto", "yes"])
def test_a_resumed_training_goes_on_compiled_to_the_same_bits(
    digits: Dataset, tmp_path: Path, stop_at: int, now: str
) -> None:
    compiler = Counting(1 + 1e-6)
    whole, _ = trained(digits, compiler)
    run = run_of(tmp_path)
    trained(digits, compiler, (Calls(stop_at, interrupt),), run=run)
    resumed, found = trained(digits, compiler, (Calls(),), run=run, option=now)
    assert same_weights(resumed, whole)
    assert found.meta["compile"] == "yes"
    plain, _ = trained(digits, compiler, option="no")
    assert not same_weights(resumed, plain)


def test_a_training_that_was_begun_without_goes_on_without(
    digits: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compiler = Counting(1 + 1e-6)
    run = run_of(tmp_path)
    trained(digits, compiler, (Calls(3, interrupt),), run=run, option="no")
    resumed, found = trained(digits, compiler, (Calls(),), run=run)
    plain, _ = trained(digits, compiler, option="no")
    assert same_weights(resumed, plain)
    assert found.meta["compile"] == "no: the run was begun without"
    assert "the network is not compiled: the run was begun without" in capsys.readouterr().err


def failing(network: nn.Module) -> Callable[[Tensor], object]:
    def call(x: Tensor) -> object:
        raise RuntimeError("no compiler here\nsecond line")

    return call


def test_a_run_that_cannot_be_compiled_where_it_is_resumed_says_so(
    digits: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(tmp_path)
    trained(digits, Counting(1 + 1e-6), (Calls(3, interrupt),), run=run)
    _, found = trained(digits, failing, (Calls(),), run=run)
    assert found.end.kind == "completed"
    assert found.meta["compile"] == "no: no compiler here"
    told = capsys.readouterr().err
    assert "no compiler here; the run was begun compiled, and does not go on to the same bits" in told
    assert told.count("is not compiled") == 1
    _, state = read_safetensors(run.path / "checkpoints" / LAST)
    assert state["compile"] == "no: no compiler here"


def failing_at_once(network: nn.Module) -> Callable[[Tensor], object]:
    raise RuntimeError("no such option")


def shifted(network: nn.Module) -> Callable[[Tensor], object]:
    return lambda x: network._call_impl(x) + 0.01


def scaled_where_trained(network: nn.Module) -> Callable[[Tensor], object]:
    """Wrong in training mode alone."""
    return lambda x: network._call_impl(x) * (1.01 if network.training else 1.0)


def wrong_gradient(network: nn.Module) -> Callable[[Tensor], object]:
    """Right outputs, another gradient by the weights."""

    def call(x: Tensor) -> object:
        outputs = network._call_impl(x)
        return outputs + 0.1 * (outputs - outputs.detach())

    return call


def twice(network: nn.Module) -> Callable[[Tensor], object]:
    """Right outputs and gradients, but the running averages move twice."""

    def call(x: Tensor) -> object:
        if network.training:
            with torch.no_grad():
                network._call_impl(x)
        return network._call_impl(x)

    return call


def without_noise(network: nn.Module) -> Callable[[Tensor], object]:
    """Leaves dropout out."""

    def call(x: Tensor) -> object:
        noise = [module for module in network.modules() if isinstance(module, nn.Dropout)]
        before = [module.p for module in noise]
        for module in noise:
            module.p = 0.0
        outputs = network._call_impl(x)
        for module, p in zip(noise, before, strict=True):
            module.p = p
        return outputs

    return call


def not_finite(network: nn.Module) -> Callable[[Tensor], object]:
    return lambda x: network._call_impl(x) / 0.0


def late(network: nn.Module) -> Callable[[Tensor], object]:
    """Right where it is checked; fails in the fourth step."""
    n_passes = [0]

    def call(x: Tensor) -> object:
        n_passes[0] += network.training
        if n_passes[0] == 8:
            raise RuntimeError("a guard failed")
        return network._call_impl(x)

    return call


FAULTS = {
    "outputs": (shifted, "outputs of the compiled network are off by"),
    "training mode": (scaled_where_trained, "outputs of the compiled network are off by 0.01 of their norm"),
    "gradients": (wrong_gradient, "gradients of the compiled network are off by 0.1 of their norm"),
    "buffers": (twice, "buffers of the compiled network are off by"),
    "NaN": (not_finite, "outputs of the compiled network are off by inf"),
    "failure": (failing, "no compiler here"),
    "failure at once": (failing_at_once, "no such option"),
    "late failure": (late, "a guard failed"),
}


@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_compiler_that_is_wrong_is_refused(
    digits: Dataset, fault: str, graphs: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    compiler, reason = FAULTS[fault]
    backend = Tape() if graphs else None
    with capturing_by(backend):
        model, found = trained(digits, compiler)
        plain, _ = trained(digits, compiler, option="no")
    assert str(found.meta["compile"]).startswith("no: ")
    assert reason in str(found.meta["compile"])
    assert f"training: the network is not compiled: {str(found.meta['compile'])[4:]}\n" in capsys.readouterr().err
    # No wrong pass was used: the training is that of the network as it is.
    assert same_weights(model, plain)


def test_dropout_that_is_left_out_is_refused(digits: Dataset) -> None:
    _, found = trained(digits, without_noise, model=noisy())
    assert "outputs of the compiled network are off by" in str(found.meta["compile"])


def test_a_slow_rounding_is_not_refused_and_bfloat16_is_measured_by_its_own_error(digits: Dataset) -> None:
    """In bfloat16 what counts is the error against float32: half of it more is believed, ten times of it is not."""
    x = digits.train.x[:7]
    for scale, believed in ((1.0 + 1e-3, True), (1.2, False)):
        with compiling_by(Counting(scale)):
            compiled = CompiledNetwork(convolutional().eval(), 7)
        with compiled.in_step(), torch.autocast("cpu", dtype=torch.bfloat16):
            compiled.network(x)
        assert (compiled.reason == "") is believed


def test_a_network_that_fails_itself_raises_its_own_error(digits: Dataset) -> None:
    class Broken(nn.Flatten):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        trained(digits, Counting(), model=nn.Sequential(Broken(), nn.Linear(64, 10)))


def test_a_copy_made_within_a_step_is_not_compiled() -> None:
    with compiling_by(Counting()):
        compiled = CompiledNetwork(small(), 4)
    with compiled.in_step():
        assert is_compiled(compiled.network)
        assert not is_compiled(copy.deepcopy(compiled.network))
    assert not is_compiled(compiled.network)


def test_other_calls_than_those_of_a_batch_are_plain() -> None:
    class Two(nn.Linear):
        def forward(self, x: Tensor, factor: float = 1.0) -> Tensor:
            return factor * super().forward(x)

    compiler = Counting()
    with compiling_by(compiler):
        compiled = CompiledNetwork(Two(3, 2), 4)
    x = torch.rand(4, 3)
    with compiled.in_step():
        assert torch.equal(compiled.network(x, factor=2.0), 2.0 * compiled.network(x))
        compiled.network(x[:3])
        compiled.network(x[:0])
    assert [n for n, _, _ in compiler.passes] == [4, 4]  # once checked, once taken


def test_nothing_is_compiled_that_a_capture_would_meet_first() -> None:
    with compiling_by(Counting()):
        compiled = CompiledNetwork(small(), 4)
    compiled.capturing = True
    with compiled.in_step(), pytest.raises(RuntimeError, match="a kind of pass that the steps before it did not"):
        compiled.network(torch.rand(4, 1, 8, 8))


def test_the_rule() -> None:
    """By hand: an epoch of 50,000 of 23 passes of 2 * 3e5 operations, 0.18 s at 116e12 and 0.12 s at 166e12."""
    network = nn.Linear(1000, 300)
    assert forward_operations(network, (1000,)) == 2 * 300_000
    assert seconds_saved(166e12 * 116e12) == pytest.approx(50e12)
    cuda = torch.device("cuda")
    work = 34.0 * 2.0 / (1 / 116e12 - 1 / 166e12) / (2 * 300_000)
    assert decided("auto", network, (1000,), operations=1.001 * work, device=cuda) == Decision(True)
    short = decided("auto", network, (1000,), operations=0.5 * work, device=cuda)
    assert short.text == "no: compiling takes 34 s and more, and would save about 34 s of this training"
    assert not decided("auto", network, (1000,), operations=1.001 * work, device=CPU).compiles
    assert decided("yes", network, (1000,), operations=0.0, device=CPU).compiles
    assert decided("no", network, (1000,), operations=0.0, device=CPU).text == "no: asked for"
    taken = copy.deepcopy(network)
    taken.compile()
    assert decided("yes", taken, (1000,), operations=0.0, device=CPU).reason == "the network is compiled already"
    with pytest.raises(BadRequest, match="compiling: expected"):
        decided("maybe", network, (1000,), operations=0.0, device=CPU)
    assert network.training


@pytest.mark.parametrize("decision", [Decision(True), Decision(False, "a: b\nc")])
def test_a_decision_is_read_as_it_was_written(decision: Decision) -> None:
    read = Decision.of_text(decision.text)
    assert read.compiles == decision.compiles
    assert "\n" not in read.reason


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "backend='inductor' raised:\nCppCompileError: C++ compile error\n\nCommand:\ng++",
            "backend='inductor' raised: CppCompileError: C++ compile error",
        ),
        (
            "\nbackend='eager' raised: \n\n  KeyError: 3\nSet TORCHDYNAMO_VERBOSE=1",
            "backend='eager' raised: KeyError: 3",
        ),
        ("Unsupported:", "Unsupported:"),
        ("Graph break\n  Explanation: a read", "Graph break"),
        (" \n", "RuntimeError"),
    ],
)
def test_a_reason_is_more_than_its_heading(text: str, wanted: str) -> None:
    """torch 2.6 names the compiler in the first line, and what it said in the next."""
    assert words(RuntimeError(text)) == wanted


def test_torch_itself(digits: Dataset, tmp_path: Path) -> None:
    """By inductor on the CPU: as eager within rounding; stopped and resumed to the bits of an undisturbed training."""
    recipe = replace(RECIPE, epochs=1, batch_size=20)

    def run_to(stop_at: int, folder: Path | None, option: str = "yes") -> tuple[nn.Module, Trajectory]:
        model = noisy()
        run = None if folder is None else run_of(folder)
        stops = (Calls(stop_at, interrupt),)
        return model, fit(model, digits, OBJECTIVE, recipe, extensions=stops, run=run, compiling=option)

    whole, found = run_to(0, None)
    assert found.meta["compile"] == "yes"
    eager, _ = run_to(0, None, "no")
    for key, value in whole.state_dict().items():
        assert torch.allclose(value, eager.state_dict()[key], atol=1e-4), key
    run_to(1, tmp_path)
    resumed, told = run_to(0, tmp_path, "auto")
    assert told.meta["compile"] == "yes"
    assert same_weights(resumed, whole)


def test_torch_says_where_it_cannot_follow(digits: Dataset) -> None:
    class Reading(nn.Flatten):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * (1.0 if float(x.detach().sum()) > -1.0 else 2.0)

    def made() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nn.Sequential(Reading(), nn.Linear(64, 10))

    recipe = replace(RECIPE, epochs=1)
    model, plain = made(), made()
    found = fit(model, digits, OBJECTIVE, recipe, compiling="yes")
    fit(plain, digits, OBJECTIVE, recipe, compiling="no")
    assert str(found.meta["compile"]).startswith("no: ")
    assert same_weights(model, plain)


@pytest.mark.parametrize("option", ["yes", "no", "auto"])
def test_several_processes_do_not_compile_and_say_why(option: str) -> None:
    """Parts of a batch have other sizes than what is compiled; the run once said that it was."""
    together = cast(Steps, SimpleNamespace(ranks=SimpleNamespace(shared=True), fabric=SimpleNamespace(device=CPU)))
    assert decision_of(together, option) == Decision(False, "several processes train together")
    with pytest.raises(BadRequest, match="compiling"):
        decision_of(together, "perhaps")
