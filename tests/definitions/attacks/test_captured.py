"""A captured search equals the search to the bit; what cannot be captured is found, and searched as ever.

A tape stands in for CUDA graphs (`tests.training.tape`).
"""

import gc
import random
import re
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from tests.definitions.attack_cases import attacks
from tests.training.tape import Tape
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.definitions import APGD, FGSM, PGD, Attack, Draws, NoAttack, Square, ThreatModel, robust_error
from cgro.definitions.attacks import Best, attack_by_name, preserve_state
from cgro.definitions.attacks.captured import MOST_GRAPHS, N_WARM_UPS, Search, find_captured, searches_of
from cgro.definitions.attacks.names import ATTACKS
from cgro.definitions.evaluation import survey
from cgro.definitions.graphs import capturing_by
from cgro.definitions.metrics import wrong_examples

THREAT = ThreatModel("inf", 0.05)
ATTACK = PGD(THREAT, n_steps=3, precision="float32")
SIZE = 6


class Refusing(Tape):
    """Captures nothing."""

    def capture(self, call: Callable[[], Tensor]) -> Callable[[], Tensor]:
        raise RuntimeError("no graphs here")


def convolutional(n_outputs: int = 3) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, n_outputs)]
        model = nn.Sequential(*layers)
        model(torch.rand(20, 1, 4, 4))
    return model.eval()


def batch(k: int, n: int = SIZE) -> tuple[Tensor, Tensor, Draws]:
    """The k-th batch: other images, labels and streams each time."""
    generator = torch.Generator().manual_seed(k)
    x = torch.rand(n, 1, 4, 4, generator=generator)
    return x, (torch.arange(n) + k) % 3, Draws.of(7, "attack", 100 * k + torch.arange(n))


def as_ever(attack: Attack, model: nn.Module, k: int, *, until_wrong: bool = True, n: int = SIZE) -> Best:
    x, y, draws = batch(k, n)
    return attack.find(model, x, y, generator=draws, until_wrong=until_wrong, dropping="never")


def same(found: Best | None, expected: Best) -> bool:
    assert found is not None
    pairs = zip((found.x, found.margins, found.step), (expected.x, expected.margins, expected.step), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def captured(attack: Attack, model: nn.Module, k: int, *, until_wrong: bool = True, n: int = SIZE) -> Best | None:
    x, y, draws = batch(k, n)
    return find_captured(attack, model, x, y, size=SIZE, generator=draws, until_wrong=until_wrong)


def the_search(model: nn.Module) -> Search:
    (search,) = searches_of(model)
    return search


NOT_HERE = ("square", "ensemble", "autoattack", "apgd-t")
NAMED = [name.replace("K", "3").replace("R", "2") for name in ATTACKS if name not in NOT_HERE]


def every() -> list[Attack]:
    found = [attack_by_name(name, THREAT) for name in NAMED]
    for threat in (THREAT, ThreatModel(2, 0.5)):
        found += attacks(threat)
    return found


def name_without_addresses(attack: Attack) -> str:
    """Of a test; two processes that share the tests must find equal names."""
    return re.sub(" at 0x[0-9a-f]+", "", repr(attack))


@pytest.mark.parametrize("attack", every(), ids=name_without_addresses)
def test_every_attack(attack: Attack) -> None:
    assert_captured_is_the_search(attack, until_wrong=True)


@pytest.mark.parametrize("attack", attacks(ThreatModel(1, 1.0)), ids=name_without_addresses)
def test_where_a_wrong_example_is_searched_on(attack: Attack) -> None:
    assert_captured_is_the_search(attack, until_wrong=False)


def assert_captured_is_the_search(attack: Attack, *, until_wrong: bool) -> None:
    model, tape = convolutional(), Tape()
    with capturing_by(tape):
        for k in range(N_WARM_UPS + 4):
            found = captured(attack, model, k, until_wrong=until_wrong)
            assert same(found, as_ever(attack, model, k, until_wrong=until_wrong)), k
    assert the_search(model).reason == ""
    assert the_search(model).n_replays == 4
    assert tape.n_captures == 1


@pytest.mark.parametrize("name", ["square", "ensemble"])
def test_searches_that_are_too_long_for_a_graph(name: str) -> None:
    model = convolutional()
    with capturing_by(Tape()):
        assert captured(attack_by_name(name, THREAT), model, 0) is None
    assert "passes, more than 1000" in the_search(model).reason
    assert attack_by_name("apgd-t", THREAT).n_gradients <= 1000


def test_weights_and_buffers_that_change_in_place_are_those_of_the_replay() -> None:
    model = convolutional()
    before: list[Best] = []
    with capturing_by(Tape()):
        for k in range(8):
            found = captured(ATTACK, model, k)
            assert same(found, as_ever(ATTACK, model, k)), k
            before.append(as_ever(ATTACK, model, k))
            with torch.no_grad():
                for value in (*model.parameters(), model[1].running_mean):  # type: ignore[misc]
                    value.mul_(1.1)
    assert the_search(model).n_replays == 6
    assert not same(before[0], as_ever(ATTACK, model, 0))


def test_buffers_that_are_replaced_between_evaluations() -> None:
    """As every evaluation does, which sets those of the caller aside."""
    model, tape = convolutional(), Tape()
    with capturing_by(tape):
        for k in range(8):
            model[1].running_var = model[1].running_var * 1.2  # type: ignore[union-attr]
            assert same(captured(ATTACK, model, k), as_ever(ATTACK, model, k))
            assert not torch.equal(model[1].running_var, convolutional()[1].running_var)  # type: ignore[union-attr]
    assert tape.n_captures == 1


class Centered(nn.Module):
    """The mean of the data is a plain attribute, as in much code."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.mean = convolutional(), torch.full((1, 1, 1), 0.1)
        self.same = self.mean

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x - self.mean) + self.same.sum()


def test_tensors_that_are_plain_attributes_are_those_of_the_replay() -> None:
    """Planted: a graph kept those of the evaluation that captured it, which are gone by the next one."""
    model, tape = Centered().eval(), Tape()
    with capturing_by(tape):
        for k in range(8):
            if k % 2:
                model.mean = model.same = model.mean + 0.05
            else:
                model.mean.add_(0.05)
            mean = model.mean
            with preserve_state(model, torch.device("cpu")):
                assert same(captured(ATTACK, model, k), as_ever(ATTACK, model, k)), k
            assert model.mean is mean
            assert model.same is mean
    assert tape.n_captures == 1
    assert the_search(model).n_replays == 6


def test_weights_that_move_are_captured_anew() -> None:
    model, tape = convolutional(), Tape()
    with capturing_by(tape):
        for k in range(9):
            if k == 5:
                model[4].weight = nn.Parameter(2.0 * model[4].weight.detach())  # type: ignore[union-attr]
            assert same(captured(ATTACK, model, k), as_ever(ATTACK, model, k))
    assert tape.n_captures == 2


def test_batches_that_are_not_full() -> None:
    """At least half full: filled up, and equal to the same examples in a whole batch. Else left to the caller."""
    model = convolutional()
    with capturing_by(Tape()):
        for k in range(5):
            captured(ATTACK, model, k)
        found = captured(ATTACK, model, 9, n=4)
        x, y, draws = batch(9, 4)
        rows = torch.arange(SIZE) % 4
        whole = ATTACK.find(model, x[rows], y[rows], generator=draws.rows(rows), until_wrong=True, dropping="never")
        assert found is not None
        assert torch.equal(found.x, whole.x[:4])
        assert captured(ATTACK, model, 9, n=2) is None
    assert captured(ATTACK, model, 9) is None


def test_labels_are_checked_before_each_replay() -> None:
    model = convolutional()
    x, y, draws = batch(0)
    with capturing_by(Tape()):
        for k in range(5):
            captured(ATTACK, model, k)
        with pytest.raises(BadRequest, match="label"):
            find_captured(ATTACK, model, x, y + 1, size=SIZE, generator=draws)
        with pytest.raises(BadRequest, match="inputs"):
            find_captured(ATTACK, model, x + 1, y, size=SIZE, generator=draws)
        assert same(captured(ATTACK, model, 5), as_ever(ATTACK, model, 5))


def test_scores_with_signs() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 1), nn.Flatten(0)).eval()
    with capturing_by(Tape()):
        for k in range(6):
            x, y, draws = batch(k)
            signs = 2 * (y % 2) - 1
            found = find_captured(ATTACK, model, x, signs, size=SIZE, generator=draws)
            assert same(found, ATTACK.find(model, x, signs, generator=draws, dropping="never"))
    assert the_search(model).n_replays == 4


def test_outputs_that_are_not_finite_are_refused_in_a_replay() -> None:
    model = convolutional()
    with capturing_by(Tape()):
        for k in range(5):
            captured(ATTACK, model, k)
        with torch.no_grad():
            model[4].bias.fill_(torch.nan)  # type: ignore[union-attr]
        with pytest.raises(BadRequest, match="model output: expected finite values"):
            captured(ATTACK, model, 5)


class Plain(nn.Module):
    """A network with something in its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.net = convolutional()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.net(x)


class Reading(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1.0 if float(x.detach().sum()) > 0 else 2.0)


class Dice(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1.0 + 0.01 * random.random())


class Noise(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0.01 * torch.rand(3)


class Counter(Plain):
    """Of which the tape knows one number only."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1.0 + 0.01 * self.calls)


class Late(Plain):
    """Changes after its 31st pass, the last one of the check of the fourth replay: that of the eighth finds it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1.0 if self.calls <= 31 else 2.0)


class Writing(Plain):
    def forward(self, x: Tensor) -> Tensor:
        x.data.mul_(0.9)
        return super().forward(x)


FAULTS: dict[str, tuple[type[Plain], str]] = {
    "reads": (Reading, "_local_scalar_dense"),
    "draws in Python": (Dice, "the network draws random numbers"),
    "draws": (Noise, "the network draws random numbers"),
    "counts": (Counter, "two equal searches give other bits here"),
    "changes late": (Late, "a replay differs from the search in its"),
    "writes": (Writing, "the network writes on its input"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_network_that_a_graph_would_miss_is_found(fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    kind, reason = FAULTS[fault]
    model = kind()
    with capturing_by(Tape()):
        for k in range(12):
            captured(ATTACK, model, k)
    assert reason in the_search(model).reason
    told = capsys.readouterr().err
    assert reason in told
    assert told.count("evaluation: pgd3 is not captured as a CUDA graph: ") == 1
    with capturing_by(Tape()):
        assert captured(ATTACK, model, 0) is None


def test_hooks_are_called() -> None:
    model = convolutional()
    seen: list[int] = []
    model[2].register_forward_hook(lambda module, given, outputs: seen.append(1))
    with capturing_by(Tape()):
        assert captured(ATTACK, model, 0) is None
    assert the_search(model).reason == "the network has hooks, which a graph would not call"


def test_what_fails_in_the_capture_is_searched_as_ever() -> None:
    model = convolutional()
    with capturing_by(Refusing()):
        for k in range(4):
            found = captured(ATTACK, model, k)
            if found is None:
                continue
            expected = as_ever(ATTACK, model, k)
            if the_search(model).reason:
                # Called as without capture, which on a CPU drops what is wrong: the last bit of a margin may depend on
                # the size of the batch.
                x, y, draws = batch(k)
                expected = ATTACK.find(model, x, y, generator=draws, until_wrong=True)
            assert same(found, expected)
    assert the_search(model).reason == "no graphs here"


@dataclass(frozen=True)
class Own(PGD):
    """Code of others, which says nothing of itself."""


def test_attacks_of_others_are_not_captured_unless_they_say_so() -> None:
    model = convolutional()
    with capturing_by(Tape()):
        assert captured(Own(THREAT, n_steps=2), model, 0) is None
    assert the_search(model).reason == "the attack pgd2 does not declare `capturable = True`"


def test_evaluations_use_it_and_need_no_option() -> None:
    """Against the same evaluation where everything is searched by Python in the same batches."""
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(60, 1, 4, 4, generator=generator)
    y = convolutional()(x).argmax(1)
    y[::7] = (y[::7] + 1) % 3
    attack = PGD(ThreatModel("inf", 0.02), n_steps=3, precision="float32")
    found = []
    for backend in (Tape(), None):
        model = convolutional()
        with capturing_by(backend):
            wrong = wrong_examples(model, x, y, attack, batch=SIZE)
            record = survey(model, x, y, attack, batch=SIZE)
            again = robust_error(model, x, y, attack, batch=SIZE)
        assert again.wrong == int(wrong.robust.sum())
        found.append((wrong, record))
        if backend is not None:
            assert sum(search.n_replays for search in searches_of(model)) > 10
    assert torch.equal(found[0][0].robust, found[1][0].robust)
    assert torch.equal(found[0][0].clean, found[1][0].clean)
    assert torch.equal(found[0][1].by, found[1][1].by)
    assert torch.allclose(found[0][1].margin, found[1][1].margin, atol=1e-5)
    assert 0 < int(found[0][0].robust.sum()) < 60


def test_a_network_is_forgotten_with_its_graphs() -> None:
    model = convolutional()
    with capturing_by(Tape()):
        for k in range(4):
            captured(ATTACK, model, k)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_no_more_graphs_than_memory_holds() -> None:
    model = convolutional()
    with capturing_by(Tape()):
        for n_steps in range(1, MOST_GRAPHS + 3):
            captured(PGD(THREAT, n_steps=n_steps), model, 0)
    assert len(searches_of(model)) == MOST_GRAPHS


def test_functions_are_searched_as_ever() -> None:
    x, y, draws = batch(0)
    with capturing_by(Tape()):
        assert find_captured(ATTACK, lambda v: convolutional()(v), x, y, size=SIZE, generator=draws) is None


@pytest.mark.parametrize("attack", [FGSM(THREAT), APGD(THREAT, n_steps=4), Square(THREAT, n_queries=5), NoAttack()])
def test_nothing_of_the_network_or_the_random_numbers_is_left_changed(attack: Attack) -> None:
    model = convolutional()
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    before = {name: (value, value.clone()) for name, value in (*model.named_parameters(), *model.named_buffers())}
    with capturing_by(Tape()):
        for k in range(5):
            captured(attack, model, k)
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        assert value is before[name][0]
        assert torch.equal(value, before[name][1])
    assert torch.equal(torch.rand(3), expected)
