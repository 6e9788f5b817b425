"""Evaluations of trained networks that artifacts read."""

import pytest

from cgro.experiments import evaluations, networks
from cgro.experiments.networks import configuration
from cgro.jobs.plan import SCALES, Scale


@pytest.mark.parametrize("scale", SCALES)
def test_the_checkpoint_after_the_drop_is_kept(scale: Scale) -> None:
    config = configuration(networks.widest(scale)[0])
    epoch = evaluations.after_drop(scale)
    assert epoch % config.keep_every == 0
    assert networks.drops(config)[0] < epoch <= config.epochs
    assert epoch - networks.drops(config)[0] <= config.keep_every
    job = evaluations.at_epoch(scale, networks.widest(scale)[0], epoch)
    assert f"epoch-{epoch:04d}.safetensors" in str(job.settings["target"])
    assert job.settings["n"] == config.final_n


def test_both_evaluations_of_a_network_are_on_the_same_images() -> None:
    pair = evaluations.evaluated_twice("cpu", networks.widest("cpu")[0])
    same = ("target", "n", "data", "seed", "radius")
    assert [pair.pgd.settings[key] for key in same] == [pair.ensemble.settings[key] for key in same]
    assert pair.ensemble.settings["attack"] == "ensemble"
