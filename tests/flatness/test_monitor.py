"""The monitor inside training: it records what the search finds, and changes nothing."""

import numpy as np
import pytest
import torch

from cgro._check import BadRequest
from cgro.data import load
from cgro.definitions import PGD, ThreatModel
from cgro.flatness import FlatnessMonitor, Search, flatness
from cgro.training import Adversarial, Evaluation, Recipe, Snapshot, fit

THREAT = ThreatModel("inf", 0.1)


def test_the_monitor_runs_inside_training_and_changes_nothing() -> None:
    data = load("digits", classes="3,8", n_train=60, n_test=30)
    monitor = FlatnessMonitor(("0.05", "0.1"), n=20, every=2, search=Search(2, 2))

    def train(probes: tuple):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1), torch.nn.Flatten(0))
        evaluation = Evaluation(PGD(THREAT, n_steps=1), n=20)
        trajectory = fit(
            model, data, Adversarial(PGD(THREAT, n_steps=1)), Recipe(epochs=2), evaluation=evaluation, probes=probes
        )
        return model, trajectory

    (seen, watched), (alone, _) = train((monitor,)), train(())
    assert all(torch.equal(a, b) for a, b in zip(seen.parameters(), alone.parameters(), strict=True))
    values = watched["flatness/gradient/test@0.1"]
    assert np.isnan(values[0])
    assert values[1] > 0
    assert monitor(Snapshot(seen, data, 3)) == {}
    assert set(monitor(Snapshot(seen, data, 4))) == {*monitor.keys("train"), *monitor.keys("test")}
    for wrong in ({"n": 0}, {"every": 0}):
        with pytest.raises(BadRequest):
            FlatnessMonitor(("0.1",), **wrong)


def test_what_is_recorded_is_the_mean_of_the_search() -> None:
    data = load("digits", classes="3,8", n_train=60, n_test=30)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1), torch.nn.Flatten(0)).eval()
    monitor = FlatnessMonitor(("0.05", 0.1), p=2, n=20, search=Search(2, 2))
    row = monitor(Snapshot(model, data, 1))
    assert list(row) == [*monitor.keys("train"), *monitor.keys("test")]
    found = flatness(model, data.test.x[:20], data.test.y[:20], [0.05, 0.1], p=2, search=Search(2, 2))
    assert row["flatness/gradient/test@0.1"] == found.gradient[:, 1].mean().item()
    assert row["flatness/loss/test@0.05"] == found.rise[:, 0].mean().item()
