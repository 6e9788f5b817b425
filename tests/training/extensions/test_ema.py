"""The moving average against its closed form, and what is done with it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from cgro.data import Dataset, load
from cgro.definitions import PGD, ThreatModel
from cgro.runs import Run
from cgro.training import EMA, SWA, Adversarial, Evaluation, Extension, Recipe, evaluated, fit
from cgro.training.checkpoint import EVALUATED, LAST, SELECTED, checkpoint_of, kept_epochs
from cgro.training.weights import read_weights

ATTACK = PGD(ThreatModel("inf", 0.1), n_steps=2)
EVALUATION = Evaluation(ATTACK, n=40, keep_every=1)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))


class Records(Extension):
    """The weights after every step."""

    def begin(self, model: nn.Module) -> None:
        self.states = [self.copy(model)]

    def after_step(self, model: nn.Module, k: int) -> None:
        self.states.append(self.copy(model))

    @staticmethod
    def copy(model: nn.Module) -> dict[str, torch.Tensor]:
        return {k: v.detach().clone() for k, v in model.state_dict().items()}


def test_the_average_in_closed_form(digits: Dataset) -> None:
    """avg_K = d^K theta_0 + (1 - d) sum_k d^(K - k) theta_k, of weights and running averages; counters are copied."""
    decay, ema, records, model = 0.8, EMA(0.8), Records(), network()
    fit(model, digits, Adversarial(ATTACK), Recipe(epochs=2, batch_size=20, lr=0.05), extensions=[ema, records])
    average, last = evaluated(model, [ema, records]).state_dict(), len(records.states) - 1
    assert last == 6
    for key, value in average.items():
        states = [state[key].double() for state in records.states]
        expected = decay**last * states[0]
        for k in range(1, last + 1):
            expected = expected + (1 - decay) * decay ** (last - k) * states[k]
        if not value.is_floating_point():
            expected = states[-1]
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
    assert any(not torch.equal(v, model.state_dict()[k]) for k, v in average.items())


def test_it_changes_no_weight_that_is_trained_and_decay_zero_nothing(digits: Dataset) -> None:
    plain, averaged, last = network(), network(), network()
    fit(plain, digits, Adversarial(ATTACK), Recipe(epochs=2), evaluation=replace(EVALUATION, keep_every=0))
    fit(
        averaged,
        digits,
        Adversarial(ATTACK),
        Recipe(epochs=2),
        evaluation=replace(EVALUATION, keep_every=0),
        extensions=[EMA(0.9)],
    )
    ema = EMA(0.0)
    fit(last, digits, Adversarial(ATTACK), Recipe(epochs=2), extensions=[ema])
    for a, b, c in zip(*(m.state_dict().values() for m in (plain, averaged, evaluated(last, [ema]))), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_the_average_is_evaluated_selected_and_saved(digits: Dataset, tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    with Run.start(tmp_path / "r", "train", {"seed": 0}) as run:
        ema, model = EMA(0.9), network()
        t = fit(
            model, digits, Adversarial(ATTACK), Recipe(epochs=3, lr=0.01), run=run, evaluation=EVALUATION,
            extensions=[ema], probes=[lambda s: seen.append(Records.copy(s.model)) or {}],
        )  # fmt: skip
    folder, epoch = tmp_path / "r" / "checkpoints", t.meta["selected"]["epoch"]
    stored = {name: read_weights(folder / name) for name in (LAST, EVALUATED, SELECTED)}
    raw, average = model.state_dict(), ema.evaluated_model(model).state_dict()
    for key in raw:
        assert torch.equal(stored[LAST][key], raw[key])
        assert torch.equal(stored[EVALUATED][key], average[key])
        assert torch.equal(stored[EVALUATED][key], seen[-1][key])
        assert torch.equal(stored[SELECTED][key], seen[epoch - 1][key])
        assert torch.equal(read_weights(kept_epochs(run)[2])[key], seen[1][key])
    assert checkpoint_of(run).name == EVALUATED
    assert any(not torch.equal(raw[k], average[k]) for k in raw)


def test_another_fit_starts_anew(digits: Dataset) -> None:
    ema, states = EMA(0.9), []
    for _ in range(2):
        model = network()
        fit(model, digits, Adversarial(ATTACK), Recipe(epochs=1), extensions=[ema])
        states.append(Records.copy(ema.evaluated_model(model)))
    assert all(torch.equal(states[0][k], v) for k, v in states[1].items())


def test_tied_weights_are_averaged_once() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    nn.init.zeros_(model[0].weight)
    ema = EMA(0.75)
    ema.begin(model)
    nn.init.constant_(model[0].weight, 8.0)
    ema.after_step(model, 1)
    assert (ema.evaluated_model(model)[1].weight == 2.0).all()


class Complex(nn.Module):
    """Weights and a buffer in the complex numbers, as in layers of Fourier coefficients."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((2,), complex(value, -value)))
        self.register_buffer("phase", torch.full((2,), complex(0.0, value)))
        self.register_buffer("steps", torch.tensor(int(value)))


@pytest.mark.parametrize("extension", [EMA(0.5), SWA(start=1, batchnorm="averaged")])
def test_complex_weights_are_averaged_and_counts_are_not(extension: Extension) -> None:
    model = Complex(0.0)
    extension.prepare(model, Recipe(epochs=2), load("digits", n_train=40, n_test=20))
    extension.begin(model)
    extension.after_epoch(model, 1)
    model.load_state_dict(Complex(8.0).state_dict())
    extension.after_step(model, 1)
    extension.after_epoch(model, 2)
    average = extension.evaluated_model(model)
    assert average.weight.tolist() == [complex(4.0, -4.0)] * 2
    assert average.phase.tolist() == [complex(0.0, 4.0)] * 2
    assert int(average.steps) == 8


def test_a_run_is_resumed_with_the_extensions_it_was_begun_with(digits: Dataset, tmp_path: Path) -> None:
    with Run.start(tmp_path / "r", "train", {"seed": 0}) as run:
        fit(network(), digits, Adversarial(ATTACK), Recipe(epochs=1), run=run, extensions=[EMA()])
        for extensions in ([], [EMA(), Records()]):
            with pytest.raises(ValueError, match="got ema"):
                fit(network(), digits, Adversarial(ATTACK), Recipe(epochs=2), run=run, extensions=extensions)


def test_bad_decays() -> None:
    for decay in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="decay"):
            EMA(decay)
