"""Trials: gradient passes against a network that counts them, epochs of equal compute, and checks before any work."""

from pathlib import Path

import pytest
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.commands import train
from cgro.comparison.plan_file import Plan
from cgro.comparison.trials import Evaluated, Trial, jobs_of, operations_of, seconds_per_operation, trials_of
from cgro.data import load
from cgro.training import fit, step_cost

BASE: dict[str, object] = {
    "data": "digits",
    "n_train": 60,
    "n_test": 30,
    "model": "mlp",
    "width": 4,
    "radius": "0.1",
    "attack": "pgd3",
    "eval_attack": "pgd2",
    "final_n": 20,
    "epochs": 10,
}
REMEDIES: dict[str, dict[str, object]] = {
    "plain": {},
    "trades": {"objective": "trades:beta=6"},
    "standard": {"attack": "none"},
    "fewer": {"n_train": 100},
    "own": {"epochs": 3},
}


def trials(**base: object) -> dict[str, Trial]:
    return {trial.name: trial for trial in trials_of(Plan({**BASE, **base}, REMEDIES, seeds=2))}


class Counting(nn.Module):
    """Counts examples that pass through it and whose gradient comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.n = 0

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer(x.flatten(1))
        if out.requires_grad:
            out.register_hook(self._count)
        return out

    def _count(self, gradient: Tensor) -> None:
        self.n += len(gradient)


@pytest.mark.parametrize("name", ["plain", "trades", "standard"])
def test_passes_are_those_that_a_network_counts(name: str) -> None:
    trial = trials()[name]
    config = trial.config
    model = Counting()
    data = load("digits", n_train=60, n_test=30, validation=config.validation)
    fit(model, data, config.build_objective(), config.recipe())
    assert model.n == trial.total


def test_epochs_bring_all_to_the_same_passes() -> None:
    found = trials()
    passes = {name: trial.total for name, trial in found.items()}
    assert passes["plain"] == 10 * 60 * 4  # three steps of the attack and the loss
    for name in ("trades", "standard", "fewer"):
        trial = found[name]
        assert abs(trial.total - passes["plain"]) <= 0.5 * trial.n_train * trial.passes
    assert {name: trial.config.epochs for name, trial in found.items()} == {
        "plain": 10,
        "trades": 8,
        "standard": 40,
        "fewer": 6,
        "own": 3,
    }


def test_drops_and_warm_up_move_with_the_epochs() -> None:
    base = {**BASE, "lr_drops": "5,8", "radius_warmup": 2.0}
    two = {name: REMEDIES[name] for name in ("plain", "trades")}
    found = {trial.name: trial for trial in trials_of(Plan(base, two, 1))}
    assert found["trades"].settings["lr_drops"] == "4,6"
    assert found["trades"].settings["radius_warmup"] == pytest.approx(1.6)
    assert found["plain"].settings["lr_drops"] == "5,8"


@pytest.mark.parametrize(("attack", "epochs", "expected"), [("pgd10", 4, "2,3"), ("pgd20", 2, "1"), ("pgd60", 1, "")])
def test_drops_stay_before_the_end(attack: str, epochs: int, expected: str) -> None:
    """The schedule of a remedy with few epochs is one that a recipe takes; the drop of the base is late."""
    base = {**BASE, "lr_drops": "5,9"}
    found = {trial.name: trial for trial in trials_of(Plan(base, {"plain": {}, "other": {"attack": attack}}, 1))}
    settings = found["other"].settings
    assert (settings["epochs"], settings["lr_drops"]) == (epochs, expected)
    assert found["other"].config.recipe().lr_drops == tuple(int(drop) for drop in expected.split(",") if drop)


def test_every_width_has_a_budget_of_its_own() -> None:
    base = {name: value for name, value in BASE.items() if name != "width"}
    found = trials_of(Plan(base, {"plain": {}, "ema": {"extension": ["ema"]}}, 1, (2, 4)))
    assert [trial.name for trial in found] == ["plain/width-2", "plain/width-4", "ema/width-2", "ema/width-4"]


def test_an_extension_adds_the_passes_that_it_says() -> None:
    remedies = {"plain": {}, "awp": {"extension": ["awp"]}, "ema": {"extension": ["ema"]}}
    found = {trial.name: trial for trial in trials_of(Plan(BASE, remedies, 1))}
    assert found["awp"].passes > found["plain"].passes == found["ema"].passes


def test_a_warm_up_without_the_extension_is_not_paid_for() -> None:
    """4 epochs of 4 passes and 5 of 5, where the network counts: 41 in place of plain training's 40."""
    remedies = {"plain": {}, "awp": {"extension": ["awp:warmup=4", "ema"]}}
    trial = {trial.name: trial for trial in trials_of(Plan(BASE, remedies, 1))}["awp"]
    config = trial.config
    assert (config.epochs, trial.total) == (9, 60 * 41)
    model = Counting()
    data = load("digits", n_train=60, n_test=30, validation=config.validation)
    fit(model, data, config.build_objective(), config.recipe(), extensions=config.build_extensions())
    assert model.n == trial.total
    assert trial.passes_in(3) == 60 * 12


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"objective": "trades:beta=-1"}, "remedy broken: .*beta"),
        ({"objective": "trades", "attack": "fgsm"}, "remedy broken: .*PGD"),
        ({"extension": ["ema:decay=2"]}, "remedy broken: .*decay"),
        ({"extension": ["ema", "ema:decay=0.5"]}, "remedy broken: .*ema"),
        ({"extension": ["no-such"]}, "remedy broken: .*one of"),
        ({"model": "no-such-network"}, "remedy broken: "),
        ({"lr": -1.0}, "remedy broken: .*lr"),
        ({"n_train": 10**6}, "remedy broken: "),
        ({"extension": ["awp:gamma=-0.1"]}, "remedy broken: .*awp: gamma"),
        (
            {"extension": ["swa:start=11"]},
            "remedy broken .10 epochs.*swa: start: expected at most the 10 epochs, got 11",
        ),
        ({"objective": "trades", "extension": ["swa:start=10"]}, "remedy broken .8 epochs.*swa: start"),
        ({"objective": "kd"}, "remedy broken: kd: expected a standard teacher, got none"),
        ({"extension": ["extra"]}, "remedy broken .*extra: expected a second data set"),
        ({"extension": ["extra:data=mnist5k"]}, "remedy broken .*extra: expected images of shape"),
        (
            {"objective": "mart", "extension": ["cutmix"]},
            "remedy broken .*cutmix: .*an objective that takes soft labels",
        ),
        ({"attack": "none", "extension": ["grad-align"]}, "remedy broken .*grad-align"),
    ],
)
def test_a_remedy_that_does_not_fit_is_refused_by_its_name(options: dict, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        trials_of(Plan(BASE, {"plain": {}, "broken": options}, 2))


@pytest.mark.parametrize("extension", [[], ["awp"], ["awp", "ema"], ["adr"]])
def test_the_time_of_an_operation_is_the_same_whatever_the_first_trial_has(
    extension: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def seconds_per_example(config: train.Config) -> float:
        return 1e-6 * step_cost(config.build_objective(), config.build_extensions()).operations

    monkeypatch.setattr(train, "seconds_per_example", seconds_per_example)
    found = trials_of(Plan(BASE, {"first": {"extension": extension}, "plain": {}}, 1))
    assert seconds_per_operation(found, device="cpu") == {None: pytest.approx(1e-6)}


def test_jobs_of_a_seed(tmp_path: Path) -> None:
    found = trials(validation=0.2)
    jobs = jobs_of(found["plain"], 3, Evaluated("pgd5", 500), seconds=1e-6)
    assert [job.command for job in jobs.all] == ["train", "evaluate", "evaluate", "flatness", "memory"]
    assert jobs.training.settings["seed"] == 3
    assert all(job.reads == {jobs.training.name} for job in jobs.all[1:])
    assert jobs.last.settings["n"] == 20
    assert all(job.seconds > 0 for job in jobs.all)
    assert jobs.training.seconds == pytest.approx(1e-6 * operations_of(found["plain"]))
    assert jobs_of(found["standard"], 0, Evaluated()).memory is None
    assert jobs_of(trials(validation=0.0)["plain"], 0, Evaluated()).selected is None
