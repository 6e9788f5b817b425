"""A search is a function of tensors: nothing between its first and its last pass reads a value on the host.

Proved without a GPU. Fake tensors have no values, so whatever reads one fails: every attack of the registry runs whole
on them. `torch.compile(fullgraph=True)` takes each in one piece. What a step adds to the network's own operations is
counted. Reads are counted at the door of Python.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import torch
import torch._dynamo
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from cgro.definitions import (
    APGD,
    PGD,
    Attack,
    Draws,
    Ensemble,
    Evaluator,
    Square,
    TargetedAPGD,
    ThreatModel,
    robust_error,
)
from cgro.definitions.attacks import ATTACKS, SearchOptions, attack_by_name
from cgro.definitions.attacks.reads import LabelRange
from cgro.definitions.losses import cross_entropy_slope

THREATS = [ThreatModel("inf", 0.1), ThreatModel(2, 0.4), ThreatModel(1, 1.0)]
FOREIGN = {"autoattack": "code of others, which reads what it likes; `Attack.reads_on_host` says so"}
NAMES = [name.replace("K", "3").replace("R", "2") for name in ATTACKS if name not in FOREIGN]
LABELS = LabelRange(0, 2, are_signs=False)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(100, 3)
    )


def batch(n: int = 6) -> tuple[Tensor, Tensor]:
    return torch.rand(n, 1, 5, 5), torch.arange(n) % 3


def short(attack: Attack) -> Attack:
    """The same attack with fewer steps and queries, of which no branch depends on the number."""
    if isinstance(attack, Ensemble):
        return replace(attack, attacks=tuple(shortest(part) for part in attack.attacks))
    if isinstance(attack, TargetedAPGD):
        return replace(attack, n_steps=2)
    if isinstance(attack, APGD):
        return replace(attack, n_steps=11)
    if isinstance(attack, PGD) and attack.n_steps > 3:
        return replace(attack, n_steps=3)
    if isinstance(attack, Square):
        return replace(attack, n_queries=52)
    return attack


def shortest(attack: Attack) -> Attack:
    if isinstance(attack, Square):
        return replace(attack, n_queries=2)
    if isinstance(attack, APGD):
        return replace(attack, n_steps=2)
    return attack


def run(attack: Attack, model: nn.Module, x: Tensor, y: Tensor, keys: Tensor, *, until_wrong: bool) -> Evaluator:
    options = SearchOptions(until_wrong=until_wrong, labels=LABELS)
    return attack.search_batch(model, x, y, Draws(keys), options)


def run_on_fakes(attack: Attack, *, train: bool, until_wrong: bool) -> Evaluator:
    with FakeTensorMode():
        model = network().train(train)
        x, y = batch()
        return run(attack, model, x, y, torch.arange(6), until_wrong=until_wrong)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_every_attack_runs_whole_on_tensors_without_values(name: str, precision: str) -> None:
    """In evaluation, and in training with the network in either mode."""
    attack = short(attack_by_name(name, THREATS[0], precision=precision))
    for train, until_wrong in ((False, True), (True, False), (False, False)):
        found = run_on_fakes(attack, train=train, until_wrong=until_wrong)
        assert found.best.x.shape == (6, 1, 5, 5)
        assert found.watch.flags().shape == (4,)


@pytest.mark.parametrize("threat", THREATS[1:], ids=str)
@pytest.mark.parametrize("name", ["fgsm", "pgd3x2", "apgd", "square"])
def test_in_every_norm(name: str, threat: ThreatModel) -> None:
    run_on_fakes(short(attack_by_name(name, threat)), train=False, until_wrong=True)


@dataclass(frozen=True)
class Reads(Attack):
    """An attack with a planted read, which says that it has none."""

    how: str = ""
    capturable = True

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        margins = evaluator.margins(evaluator.x)
        if self.how == "item":
            margins[0].item()
        elif self.how == "bool" and (margins > 0).any():
            return
        elif self.how == "nonzero":
            torch.nonzero(margins > 0)
        elif self.how == "index":
            margins[margins > 0].sum()
        elif self.how == "correct":
            evaluator.correct()


@pytest.mark.parametrize("how", ["item", "bool", "nonzero", "index", "correct"])
def test_a_planted_read_is_caught(how: str) -> None:
    with pytest.raises(RuntimeError, match=r"_local_scalar_dense|nonzero|data-dependent|is_nonzero"):
        run_on_fakes(Reads(THREATS[0], how), train=False, until_wrong=True)
    run_on_fakes(Reads(THREATS[0]), train=False, until_wrong=True)


@pytest.fixture
def dynamo() -> Iterator[None]:
    if not hasattr(torch._dynamo.config, "trace_autograd_ops"):
        pytest.skip("this torch cannot take torch.autograd.grad into a graph")
    torch._dynamo.reset()
    with torch._dynamo.config.patch(trace_autograd_ops=True):
        yield
    torch._dynamo.reset()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ensemble"])
def test_every_attack_compiles_in_one_piece_to_the_same_points(name: str, dynamo: None) -> None:
    torch.manual_seed(0)
    model = network().eval()
    x, y = batch()
    attack = short(attack_by_name(name, THREATS[0], precision="float32"))
    if isinstance(attack, APGD):
        attack = replace(attack, n_steps=4)
    if isinstance(attack, Square):
        attack = replace(attack, n_queries=4)

    def search(x: Tensor, y: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = run(attack, model, x, y, keys, until_wrong=False)
        return found.best.x, found.best.margins, found.best.step

    keys = torch.arange(6) * 7919
    expected = search(x, y, keys)
    compiled = torch.compile(search, fullgraph=True, backend="eager")
    for found, wanted in zip(compiled(x, y, keys), expected, strict=True):
        assert torch.equal(found, wanted)


class Operations(TorchDispatchMode):
    """Counts what reaches the kernels. Not `detach`: it computes nothing, and torch 2.6 shows one as two."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._schema.name != "aten::detach":
            self.names.append(func._schema.name)
        return func(*args, **(kwargs or {}))


def n_operations(attack: Attack, model: nn.Module) -> int:
    x, y = batch()
    with Operations() as seen:
        run(attack, model, x, y, torch.arange(6), until_wrong=False)
    return len(seen.names)


def n_of_a_pass(model: nn.Module) -> int:
    """A bare pass: forward, the slope of the loss, and backward to the input."""
    x, y = batch()
    x.requires_grad_(True)
    with Operations() as seen:
        outputs = model(x)
        torch.autograd.grad(outputs, x, cross_entropy_slope(outputs.detach(), y))
    return len(seen.names)


APGD_BOUND = 60 if torch.__version__.startswith("2.6.") else 58
"""torch 2.6 takes two operations more."""


@pytest.mark.parametrize(
    ("attack", "bound"),
    [
        (lambda n: PGD(THREATS[0], n_steps=n, precision="float32"), 12.25),
        (lambda n: PGD(THREATS[0], n_steps=n, precision="float32", keep="last"), 8),
        (lambda n: APGD(THREATS[0], n_steps=n, precision="float32"), APGD_BOUND),
    ],
    ids=["pgd", "pgd-last", "apgd"],
)
def test_what_a_step_adds_to_the_passes_of_the_network(attack, bound: int) -> None:
    """Between two lengths, so that start and end do not count; whole chunks of iterates, with their comparison."""
    model = network().eval()
    extra = (n_operations(attack(48), model) - n_operations(attack(16), model)) / 32 - n_of_a_pass(model)
    assert 3 < extra <= bound, extra


READING = (
    torch.Tensor.item,
    torch.Tensor.tolist,
    torch.Tensor.numpy,
    torch.Tensor.cpu,
    torch.Tensor.__bool__,
    torch.Tensor.__float__,
    torch.Tensor.__int__,
    torch.Tensor.__index__,
    torch.nonzero,
    torch.Tensor.nonzero,
    torch.equal,
    torch.Tensor.equal,
    torch.masked_select,
)


class ReadsOfPython(TorchFunctionMode):
    """Notes each call by which Python gets a value, or a shape that depends on one, from a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in READING:
            self.found.append(func.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_call_reads_once_before_and_once_after(precision: str) -> None:
    """As on a GPU: on a CPU a read costs nothing, and bfloat16 looks again only at the examples in question."""
    model = network().eval()
    x, y = batch()
    attack = PGD(THREATS[0], n_steps=3, precision=precision)
    with ReadsOfPython() as reads:
        attack.find(model, x, y, dropping="never")
    assert reads.found == ["tolist", "tolist"]


def test_the_counter_counts() -> None:
    values = torch.arange(3)
    with ReadsOfPython() as reads:
        values.sum().item()
        bool((values > 1).any())
        float(values[0])
        torch.nonzero(values)
    assert reads.found == ["item", "__bool__", "__float__", "nonzero"]


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("name", ["pgd3x2", "apgd", "square", "ensemble"])
def test_masks_find_what_leaving_examples_out_finds(name: str, threat: ThreatModel) -> None:
    """The same robust error whichever way wrong examples are dropped, from the same random numbers."""
    torch.manual_seed(1)
    model = network().eval()
    x = torch.rand(40, 1, 5, 5)
    with torch.no_grad():
        y = model(x).argmax(1)
    radius = 0.3 * threat.radius
    attack = short(attack_by_name(name, threat.at(radius), precision="float32"))
    wrong = []
    for dropping in ("exact", "padded", "never"):
        for until_wrong in (False, True):
            found = attack.find(model, x, y, until_wrong=until_wrong, dropping=dropping)
            wrong.append(int((~(found.margins > 0)).sum()))
            assert bool(attack.threat.contains(found.x, x).all())
            torch.testing.assert_close(robust_error(model, found.x, y, attack.at(0.0)).wrong, wrong[-1])
    assert max(wrong) - min(wrong) <= 1, wrong
    assert 0 < min(wrong) < 40, "neither none nor all, or nothing is shown"
