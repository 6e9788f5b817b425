"""The grids of N hold the transition that they are to show, and every sweep is a valid request."""

import pytest

from cgro.commands._sweep import parse_sweep
from cgro.commands.dynamics import setting_of
from cgro.dynamics import sample_threshold
from cgro.experiments import threshold_sweeps as sweeps
from cgro.jobs.plan import SCALES, Job, Scale


def lines(scale: Scale) -> list[Job]:
    return [*sweeps.over_rho(scale), *sweeps.over_dim(scale), *sweeps.over_far_rho(scale), *sweeps.over_power(scale)]


def test_the_predicted_half_lies_inside_every_grid() -> None:
    for job in [*lines("cpu"), sweeps.theorem("cpu")]:
        threshold = sample_threshold(setting_of(job.config()))
        assert threshold is not None
        sizes = parse_sweep(str(job.settings["sweep"]))["n_train"]
        assert sizes[0] < 0.9 * threshold.half, job.name
        assert sizes[-1] > 2 * threshold.half, job.name


def test_alpha_and_the_length_of_noise_are_those_of_the_other_dimensions() -> None:
    first, *others = (setting_of(job.config()) for job in [sweeps.over_rho("cpu")[0], *sweeps.over_dim("cpu")])
    for setting in others:
        assert setting.strength == pytest.approx(first.strength)
        squared = [s.data.noise_std**2 * (s.data.patch_dim - 1) for s in (setting, first)]
        assert squared[0] == pytest.approx(squared[1])
        assert setting.init_std == pytest.approx(first.init_std)


def test_standard_training_has_no_attack_in_its_loss() -> None:
    for job in (sweeps.standard("cpu"), sweeps.noisy("cpu")):
        assert setting_of(job.config()).robust_weight == 0


@pytest.mark.parametrize("scale", SCALES)
def test_names_say_what_differs(scale: Scale) -> None:
    by_name: dict[str, Job] = {}
    for job in lines(scale):
        assert by_name.setdefault(job.name, job) == job
