"""Data on the CPU under a process-wide default device that is another one.

Here it is `meta`, which holds no values: whatever is made there by mistake fails, as it would beside a GPU.
"""

from pathlib import Path

import pytest
import torch
from tests.cases import busy_network, images
from torch import Tensor, nn

from cgro import Monitor
from cgro.data import load
from cgro.definitions import PGD, Ensemble, Square, ThreatModel, robust_error, survey, survey_series
from cgro.diagnosis.lint import lint
from cgro.flatness import attacked, flatness, in_between, upper_bound
from cgro.training import Adversarial, Evaluation, Recipe, fit

THREAT = ThreatModel("inf", 0.05)
ATTACK = PGD(THREAT, n_steps=2)
Numbers = dict[str, object]


def adam_follows_the_default_device() -> bool:
    """Whether torch's Adam counts its steps in a tensor of the default device, whatever the weights' is: 2.6 does.

    On `meta` that fails in torch itself; on a GPU it is a wait in each step.
    """
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.ones(1)
    with torch.device("meta"):
        optimizer = torch.optim.Adam([weight])
        try:
            optimizer.step()
        except RuntimeError:
            return True
    return False


pytestmark = pytest.mark.skipif(adam_follows_the_default_device(), reason="Adam of this torch fails on meta by itself")


def evaluated(model: nn.Module, x: Tensor, y: Tensor) -> Numbers:
    ensemble = Ensemble(THREAT, (ATTACK, Square(THREAT, n_queries=3)))
    return {
        "error": robust_error(model, x, y, ATTACK),
        "survey": survey(model, x, y, ensemble).by.tolist(),
        "series": [record.by.tolist() for record in survey_series(lambda k: model, 2, x, y, ATTACK)],
        "flatness": flatness(model, x, y, [0.02]).rise.tolist(),
        "memory": attacked(model, x, y, ATTACK).margin.tolist(),
        "lint": [check.finding for check in lint(model, x, y, THREAT)],
        "between": in_between(x, y, torch.Generator())[0].tolist(),
    }


def monitored(model: nn.Module, x: Tensor, y: Tensor, folder: Path) -> Numbers:
    row = Monitor((x, y), (x, y), THREAT, attack="pgd2", out=folder)(model, 0)
    assert row is not None
    return {key: value for key, value in row.items() if "error" in key}


def test_the_default_device_changes_nothing(tmp_path: Path) -> None:
    model = busy_network().eval()
    x, y = images(8, seed=5)
    expected = evaluated(model, x, y) | monitored(model, x, y, tmp_path / "plain")
    with torch.device("meta"):
        assert evaluated(model, x, y) | monitored(model, x, y, tmp_path / "meta") == expected


@pytest.mark.filterwarnings("ignore")
def test_training_and_bounds_under_another_default_device() -> None:
    data = load("digits", n_train=40, n_test=20)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trained = [nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval() for _ in range(2)]
    trained[1].load_state_dict(trained[0].state_dict())
    bounds: list[Tensor] = []
    for device, model in zip(("cpu", "meta"), trained, strict=True):
        with torch.device(device):
            bounds.append(upper_bound(model, data.test.x, data.test.y, THREAT).gradient)
            fit(model, data, Adversarial(ATTACK), Recipe(epochs=1, batch_size=20), evaluation=Evaluation(ATTACK))
    assert torch.equal(*bounds)
    assert torch.equal(trained[0][1].weight, trained[1][1].weight)
