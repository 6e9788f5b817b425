"""Settings: what is stored, and what an example costs at most."""

import pytest
import torch
from tests.cases import LinearScore, points
from torch import Tensor

from cgro.commands._training import Config
from cgro.definitions import APGD, PGD, Attack, TargetedAPGD, ThreatModel, standard_ensemble, survey
from cgro.diagnosis.monitor.settings import Budget, Settings, name_of, named_strong

THREAT = ThreatModel("inf", 0.02)


class Counting(LinearScore):
    """Counts forward passes of examples; a gradient comes from one and counts for another."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def forward(self, x: Tensor) -> Tensor:
        self.n += len(x) * (2 if x.requires_grad else 1)
        return super().forward(x)


@pytest.mark.parametrize("attack", ["none", "fgsm", "pgd1", "pgd5", "square"])
def test_no_example_costs_more_than_is_said(attack: str) -> None:
    """Examples that no attack breaks: the bound is reached by PGD."""
    settings = Settings(ThreatModel("inf", 1e-6), attack=attack)
    model = Counting().eval()
    x, y = points(40)
    y = torch.sign(model(x)).long()
    model.n = 0
    record = survey(model, x, y, settings.cheap)
    assert not record.wrong.any()
    n_passes = model.n / 40
    assert n_passes <= settings.passes(settings.cheap)
    if attack.startswith(("pgd", "fgsm")):
        assert n_passes >= settings.passes(settings.cheap) - 1


@pytest.mark.parametrize(("attack", "name"), [
    (PGD(THREAT, n_steps=7), "pgd7"), (PGD(THREAT, n_steps=5, n_restarts=2), "pgd5x2"), (APGD(THREAT), "apgd"),
    (TargetedAPGD(THREAT), "apgd-t"), (standard_ensemble(THREAT), "ensemble"), ("pgd3", "pgd3"),
])  # fmt: skip
def test_an_attack_is_recorded_by_the_name_that_makes_it(attack: Attack | str, name: str) -> None:
    assert name_of(attack, THREAT) == name
    assert named_strong((attack, 5), THREAT) == (name, 5)


@pytest.mark.parametrize(("text", "limit"), [
    ("90s", Budget(90, "seconds")), ("1.5m", Budget(90, "seconds")), ("2h", Budget(7200, "seconds")),
    (50_000, Budget(50_000, "passes")), (None, None),
])  # fmt: skip
def test_budgets(text: str | int | None, limit: Budget | None) -> None:
    assert Settings(THREAT, budget=text).limit == limit


@pytest.mark.parametrize("p", [1, 2, "inf"])
def test_what_is_stored_describes_the_same_threat_to_the_command_line(p) -> None:
    threat = ThreatModel(p, "8/255")
    stored = Settings(threat).stored(("unknown", "unknown"))
    known = {name: value for name, value in stored.items() if name in ("data", "model", "p", "radius", "eval_attack")}
    assert Config(**known).threat() == threat


@pytest.mark.parametrize("given", [((0.5,), (0.25,)), ([0.5], torch.tensor([0.25])), (0.5, 0.25)])
def test_channel_statistics_in_any_form(given) -> None:
    assert Settings(THREAT, normalize=given).normalize == ((0.5,), (0.25,))


def test_another_box_is_refused() -> None:
    with pytest.raises(ValueError, match=r"normalize=\(mean, std\)"):
        Settings(ThreatModel("inf", 0.1, (-1.0, 1.0)))


def test_what_bfloat16_cannot_tell_is_counted_twice() -> None:
    """Each gradient of the second search is two passes."""
    threat = ThreatModel("inf", 0.1)
    settings = Settings(threat)
    low, full = (TargetedAPGD(threat, n_steps=5, precision=precision) for precision in ("bfloat16", "float32"))
    assert settings.passes(low) - settings.passes(full) == 2 * 9 * 6
