"""An evaluation leaves the loop as it was, over everything that a training loop has; planted faults are caught."""

import contextlib
import copy
import random
from collections.abc import Iterator
from pathlib import Path
from types import MethodType

import numpy as np
import pytest
import torch
from tests.cases import RaisesAt, busy_network, refused
from tests.definitions.attack_cases import prepared, same
from tests.diagnosis.monitor.cases import TEST, THREAT, TRAIN, is_left_alone, loop, monitor_in
from torch import Tensor, nn

from cgro.definitions import FOUR, PGD, clean_error, survey
from cgro.diagnosis.monitor import measure, surroundings
from cgro.diagnosis.monitor.surroundings import Normalized, is_distributed, undisturbed, unwrap
from cgro.runs import Run


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
def test_network_and_process_stay_as_they_are(tmp_path: Path, train: bool) -> None:
    monitor = monitor_in(tmp_path / "run", strong=("square", 1), n=20)
    model = prepared(busy_network(), train)
    assert is_left_alone(model, lambda: monitor(model, 1))


@pytest.mark.parametrize("k", [1, 2, 5])
def test_also_when_the_network_raises_and_the_exception_is_the_users(tmp_path: Path, k: int) -> None:
    monitor = monitor_in(tmp_path / "run")
    model = prepared(RaisesAt(k), True)
    model.k, model.calls = k, 0
    assert is_left_alone(model.inner, lambda: monitor(model, 1))
    model.calls = 0
    with pytest.raises(RuntimeError, match="half-way"):
        monitor(model, 1)
    assert model.training
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize("around", [
    torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16), contextlib.nullcontext,
], ids=["no_grad", "inference_mode", "autocast", "nothing"])  # fmt: skip
def test_the_numbers_do_not_depend_on_the_callers_context(tmp_path: Path, around) -> None:
    model = busy_network()
    plain = monitor_in(tmp_path / "plain")(model, 1)
    monitor = monitor_in(tmp_path / "run")
    with around():
        assert is_left_alone(model, lambda: monitor(model, 1))
    (row,) = Run.open(tmp_path / "run").rows()
    assert {k: row[k] for k in plain if "error" in k} == {k: plain[k] for k in plain if "error" in k}


@pytest.mark.parametrize("amp", [False, True])
def test_a_watched_training_has_the_bits_of_an_unwatched_one(tmp_path: Path, amp: bool) -> None:
    """Dropout, BatchNorm, momentum and a gradient scaler, whose scale grows every other step."""

    def trained(monitor) -> tuple[dict, dict, Tensor]:
        torch.manual_seed(0)
        model = busy_network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        scaler = torch.amp.GradScaler("cpu", enabled=amp, growth_interval=2)
        for epoch in range(3):
            for rows in torch.randperm(60).split(20):
                optimizer.zero_grad()
                with torch.autocast("cpu", torch.bfloat16, enabled=amp):
                    value = nn.functional.cross_entropy(model(TRAIN[0][rows]), TRAIN[1][rows])
                scaler.scale(value).backward()
                if monitor is not None and epoch:
                    monitor(model, epoch)  # between backward pass and step: gradients must be there after it
                scaler.step(optimizer)
                scaler.update()
        return model.state_dict(), scaler.state_dict(), torch.rand(3)

    watched = monitor_in(tmp_path / "run", n=10)
    calls = []

    def once(model: nn.Module, epoch: int) -> None:
        calls.append(watched(model, 10 * epoch + len(calls)))

    alone, seen = trained(None), trained(once)
    assert len(calls) == 6
    assert same(dict(alone[0]), dict(seen[0]))
    assert alone[1] == seen[1]
    assert torch.equal(alone[2], seen[2])


class OwnForward(nn.Module):
    """torch compiles no frame of its own in place."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = busy_network()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


@pytest.mark.parametrize("in_place", [False, True])
def test_compiled_code_is_passed_by_and_not_compiled_anew(tmp_path: Path, in_place: bool) -> None:
    """A backend that counts: nothing is compiled for the evaluation, and the training needs no other graph after it."""
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(len(inputs))
        return graph.forward

    inner = OwnForward()
    model: nn.Module = inner
    if in_place:
        inner.compile(backend=backend)
    else:
        model = torch.compile(inner, backend=backend)
    model(TRAIN[0][:8]).sum().backward()
    assert len(graphs) == 1
    monitor = monitor_in(tmp_path / "run", n=10)
    assert is_left_alone(inner, lambda: monitor(model, 1))
    model(TRAIN[0][:8])
    assert len(graphs) == 1
    model.eval()(TRAIN[0][:8])  # the backend does count: another mode is another graph
    assert len(graphs) == 2
    torch._dynamo.reset()


def test_without_the_eager_stance_it_would_be_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: a network that was compiled in place is compiled for the evaluation's mode and batch."""
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(len(inputs))
        return graph.forward

    model = OwnForward()
    model.compile(backend=backend)
    model(TRAIN[0][:8]).sum().backward()
    monkeypatch.setattr(torch.compiler, "set_stance", lambda stance: contextlib.nullcontext())
    monitor_in(tmp_path / "run", n=10)(model, 1)
    assert len(graphs) > 1
    torch._dynamo.reset()


def test_aot_eager_goes_on(tmp_path: Path) -> None:
    torch._dynamo.reset()
    monitor = monitor_in(tmp_path / "run", n=10)
    inner = busy_network()
    model = torch.compile(inner, backend="aot_eager")
    model(TRAIN[0][:8]).sum().backward()
    assert is_left_alone(inner, lambda: monitor(model, 1))
    model(TRAIN[0][:8]).sum().backward()
    torch._dynamo.reset()


class Merging(nn.Module):
    """Like a layer with low-rank adapters that merges them into its weights in eval()."""

    def __init__(self) -> None:
        super().__init__()
        self.flat, self.layer, self.added = nn.Flatten(), nn.Linear(64, 3), nn.Parameter(torch.ones(3, 64))

    def train(self, mode: bool = True) -> "Merging":
        if self.training and not mode:
            self.layer.weight.data += self.added.data
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.flat(x))


class Unmerging(Merging):
    """The same, which takes them out of the weights again in train(), and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.merged, self.n_calls = False, 0

    def train(self, mode: bool = True) -> "Unmerging":
        self.n_calls += 1
        if self.merged and mode:
            self.layer.weight.data -= self.added.data
        super().train(mode)
        self.merged = not mode
        return self


class Noisy(nn.Module):
    """Noise in training alone, by a flag of its own that lies in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.noise = busy_network(), [True]

    def train(self, mode: bool = True) -> "Noisy":
        self.noise[0] = mode
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.net(x)
        if self.noise[0]:
            scores = scores + 9 * torch.randn_like(scores)
        return scores


class Frozen(nn.Module):
    """BatchNorm that stays in eval mode, and dropout that stays on, whatever the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.net = busy_network()

    def train(self, mode: bool = True) -> "Frozen":
        super().train(mode)
        self.net[1].eval()
        self.net[3].train()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def plain_attributes(model: nn.Module) -> list[dict]:
    plain = (bool, int, list)
    return [{n: copy.copy(v) for n, v in vars(m).items() if isinstance(v, plain)} for m in model.modules()]


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("kind", [Merging, Unmerging, Noisy, Frozen])
def test_networks_with_modes_of_their_own_are_evaluated_as_after_eval(tmp_path: Path, kind: type, inside: bool) -> None:
    """Planted: by the flags alone, the noisy network was evaluated with its noise, and adapters unmerged."""
    torch.manual_seed(0)
    model = nn.Sequential(kind()) if inside else kind()
    evaluated = copy.deepcopy(model).eval()
    evaluated.apply(lambda module: setattr(module, "training", False))  # dropout that stays on has no error
    model.train()
    attributes = plain_attributes(model)
    rows = []
    assert is_left_alone(model, lambda: rows.append(monitor_in(tmp_path / "run")(model, 1)))
    assert plain_attributes(model) == attributes
    assert rows[0]["clean_error/train"] == clean_error(evaluated, *TRAIN).value
    assert rows[0]["robust_error/test"] == survey(evaluated, *TEST, PGD(THREAT, n_steps=2)).error().value


def test_a_part_in_another_mode_of_its_own_stays_in_it(tmp_path: Path) -> None:
    model = nn.Sequential(Noisy(), nn.Identity()).train()
    model[0].eval()
    assert is_left_alone(model, lambda: monitor_in(tmp_path / "run", n=10)(model, 1))
    assert model[0].noise == [False]


@contextlib.contextmanager
def forgets_to_restore_the_mode(network: nn.Module) -> Iterator[None]:
    network.eval()
    yield


@contextlib.contextmanager
def never_leaves_train_mode(network: nn.Module) -> Iterator[None]:
    yield


def faulty(fault: str):
    @contextlib.contextmanager
    def disturbs(network: nn.Module) -> Iterator[None]:
        with undisturbed(network):
            yield
        if fault == "numpy":
            np.random.rand()  # noqa: NPY002
        elif fault == "python":
            random.random()
        elif fault == "torch":
            torch.rand(1)
        elif fault == "gradients":
            network(TEST[0][:2]).sum().backward()
        elif fault == "a batch through BatchNorm":
            with torch.no_grad():
                network(TEST[0][:8])
        elif fault == "a buffer of its own":
            network.register_buffer("seen", torch.zeros(1))

    return disturbs


FAULTS = ("numpy", "python", "torch", "gradients", "a batch through BatchNorm", "a buffer of its own")


@pytest.mark.parametrize("fault", [forgets_to_restore_the_mode, *map(faulty, FAULTS)], ids=["mode", *FAULTS])
def test_planted_faults_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault) -> None:
    monitor = monitor_in(tmp_path / "run", n=10)
    monkeypatch.setattr(measure, "undisturbed", fault)
    model = prepared(busy_network(), True)
    if fault is forgets_to_restore_the_mode:
        assert not is_left_alone(model, lambda: monitor(model, 1))
        return
    model = busy_network()
    assert not is_left_alone(model, lambda: monitor(model, 1))


def test_a_monitor_that_forgets_eval_mode_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = monitor_in(tmp_path / "run", n=10)
    monkeypatch.setattr(measure, "undisturbed", never_leaves_train_mode)
    refused(lambda: monitor(busy_network(), 1), "expected eval mode")


def test_wrappers_are_taken_off_in_any_order() -> None:
    net = busy_network()
    for wrapped in (
        net,
        torch.compile(net, backend="eager"),
        nn.DataParallel(net),
        torch.compile(nn.DataParallel(net), backend="eager"),
        nn.DataParallel(torch.compile(net, backend="eager")),
    ):
        assert unwrap(wrapped) is net
        assert not is_distributed(wrapped)
    refused(lambda: unwrap(lambda x: x), "model: expected a torch.nn.Module")


def test_the_wrapper_of_fabric_is_taken_off() -> None:
    from lightning_fabric import Fabric

    net = busy_network()
    assert unwrap(Fabric(accelerator="cpu", devices=1).setup(net)) is net


def test_a_wrapper_of_the_users_own_stays() -> None:
    """It may normalize, whatever its part is called."""

    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = busy_network()

        def forward(self, x: Tensor) -> Tensor:
            return self.module((x - 0.5) / 0.25)

    wrapper = Wrapper()
    assert unwrap(wrapper) is wrapper


def test_sharded_weights_are_refused() -> None:
    sharded = type("FullyShardedDataParallel", (nn.Sequential,), {})(nn.Linear(2, 1))
    refused(lambda: unwrap(sharded), "sharded", "DistributedDataParallel")


def test_weights_without_values_are_refused_and_those_of_inference_mode_are_measured(tmp_path: Path) -> None:
    refused(lambda: monitor_in(tmp_path / "meta")(busy_network().to("meta"), 1), "weights on the meta device")
    with torch.inference_mode():
        model = busy_network()
    plain = monitor_in(tmp_path / "plain")(busy_network(), 1)
    found = monitor_in(tmp_path / "inference")(model, 1)
    assert plain is not None
    assert found is not None
    assert {key: found[key] for key in FOUR} == {key: plain[key] for key in FOUR}


def accelerated(net: nn.Module, *, method: bool) -> nn.Module:
    """Patched as `Accelerator.prepare` does it for bfloat16, by a function or by a method."""
    net._original_forward = net.forward
    inner = net._original_forward

    def forward(*args: Tensor) -> Tensor:
        return inner(args[-1]).bfloat16()

    forward.__module__ = "accelerate.utils.operations"
    net.forward = MethodType(forward, net) if method else forward
    return net


@pytest.mark.parametrize("method", [False, True])
def test_the_forward_method_of_accelerate_is_set_aside(method: bool) -> None:
    """It computes in bfloat16; the evaluation is in float32, and the loop finds it again."""
    net = accelerated(nn.Linear(2, 1), method=method)
    patched = net.forward
    with surroundings.undisturbed(net):
        assert net(torch.zeros(1, 2)).dtype == torch.float32
    assert net.forward is patched
    assert net(torch.zeros(1, 2)).dtype == torch.bfloat16


def normalizing(net: nn.Module) -> nn.Module:
    own = net._original_forward = net.forward
    net.forward = lambda x: own((x - 0.5) / 0.25)
    return net


def flipping(net: nn.Module) -> nn.Module:
    net._original_forward = net.forward

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        return self._original_forward(x.flip(3))

    net.forward = MethodType(forward, net)
    return net


@pytest.mark.parametrize("patch", [
    normalizing, flipping, lambda net: accelerated(normalizing(net), method=False),
], ids=["function", "method", "and Accelerate over it"])  # fmt: skip
def test_a_forward_method_that_the_user_patched_is_part_of_the_network(tmp_path: Path, patch) -> None:
    """Planted: it was taken off by the name of what it keeps, and another function was evaluated."""

    def robust_errors(net: nn.Module) -> list[float]:
        return [survey(net.eval(), x, y, PGD(THREAT, n_steps=2)).error().value for x, y in (TRAIN, TEST)]

    found = monitor_in(tmp_path / "run")(patch(loop(None, 2)), 1)
    by_hand = flipping if patch is flipping else normalizing
    measured = [found["robust_error/train"], found["robust_error/test"]]
    assert measured == robust_errors(by_hand(loop(None, 2)))
    assert measured != robust_errors(loop(None, 2))


def test_normalization_by_hand() -> None:
    x = torch.rand(4, 3, 2, 2)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
    by_hand = torch.stack([(x[:, k] - mean[k]) / std[k] for k in range(3)], 1)
    torch.testing.assert_close(Normalized(nn.Identity(), mean, std)(x), by_hand)
    refused(lambda: Normalized(nn.Identity(), (0.5, 0.5), (1.0, 1.0))(x), "3 numbers")


def test_the_loop_of_these_tests_learns() -> None:
    model = loop(None, 4).eval()
    assert float((model(TEST[0]).argmax(1) == TEST[1]).double().mean()) > 0.8
