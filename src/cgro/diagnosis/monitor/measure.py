"""The errors of one epoch: as `cgro evaluate` measures them on the same examples, whatever surrounds the network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from cgro.definitions import Attack, ErrorRate, predicted_shares, survey
from cgro.definitions.evaluation import CLEAN
from cgro.definitions.examples import Sample
from cgro.diagnosis.monitor.parts import TEST
from cgro.diagnosis.monitor.ranks import Ranks
from cgro.diagnosis.monitor.settings import Statistics
from cgro.diagnosis.monitor.surroundings import Normalized, device_of, undisturbed


@dataclass(frozen=True)
class Measurement:
    """What was counted after an epoch.

    Attributes:
        errors: clean_error/PART and robust_error/PART by the cheap attack; robust_error/PART@NAME by others.
        shares: of the predictions on the test part that each class takes.
        n_parameters: of the network.
        attacks: that were made.
    """

    errors: Mapping[str, ErrorRate]
    shares: Sequence[float]
    n_parameters: int
    attacks: Sequence[Attack]


def measure(
    network: nn.Module,
    samples: Mapping[str, Sample],
    attacks: Mapping[str, Attack],
    ranks: Ranks,
    normalize: Statistics | None = None,
) -> Measurement:
    """Count the wrong examples of each part; the network, its surroundings and all random numbers stay as they are.

    Args:
        network: as `unwrap` gives it.
        samples: name of a part -> examples.
        attacks: what stands behind robust_error/PART -> attack: "" for the one of every epoch, "@NAME" for others.
        ranks: that share the work.
        normalize: mean and standard deviation, where the loop normalizes outside of the network.

    Returns:
        The counts of all processes together.

    Raises:
        BadRequest: see `cgro.definitions.survey`. What the network raises comes through.
    """
    counts: list[int] = []
    failure: Exception | None = None
    with undisturbed(network):
        ranks.same_buffers(network)
        seen: nn.Module = network
        if normalize is not None:
            seen = Normalized(network, *normalize)
        try:
            for sample in samples.values():
                counts += _wrong(seen, ranks.share(sample), attacks)
            n_classes, predicted = _predictions(seen, ranks.share(samples[TEST]))
        except Exception as error:
            failure = error
            # As many numbers as the others send: the exchange must not fail as well.
            counts = [0] * len(samples) * (1 + len(attacks))
            n_classes, predicted = 0, []
        predicted += [0] * (ranks.largest(n_classes) - len(predicted))
        counts = ranks.total([*counts, *predicted], failure)
    errors, rest = _errors(counts, samples, attacks)
    n_test = len(samples[TEST])
    shares = [value / n_test for value in rest]
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    return Measurement(errors, shares, n_parameters, list(attacks.values()))


def _wrong(network: nn.Module, sample: Sample, attacks: Mapping[str, Attack]) -> list[int]:
    """Wrong examples, clean and under each attack."""
    if not len(sample):
        return [0] * (1 + len(attacks))
    device = device_of(network)
    x, y = sample.x.to(device), sample.y.to(device)
    found: list[int] = []
    for attack in attacks.values():
        record = survey(network, x, y, attack, index=sample.index)
        if not found:
            found.append(int((record.by == CLEAN).sum()))
        found.append(record.error().wrong)
    return found


def _predictions(network: nn.Module, sample: Sample) -> tuple[int, list[int]]:
    """Number of classes, and how often each is predicted."""
    if not len(sample):
        return 0, []
    shares = predicted_shares(network, sample.x.to(device_of(network)))
    return len(shares), [round(share * len(sample)) for share in shares]


def _errors(
    counts: Sequence[int], samples: Mapping[str, Sample], attacks: Mapping[str, Attack]
) -> tuple[dict[str, ErrorRate], Sequence[int]]:
    """The counts of each part by name, and what is left of them."""
    errors: dict[str, ErrorRate] = {}
    position = 0
    for part, sample in samples.items():
        errors[f"clean_error/{part}"] = ErrorRate(counts[position], len(sample), "exact")
        position += 1
        for suffix, attack in attacks.items():
            bound = "exact" if attack.exact else "lower"
            errors[f"robust_error/{part}{suffix}"] = ErrorRate(counts[position], len(sample), bound)
            position += 1
    return errors, counts[position:]


def wait_for(network: nn.Module) -> None:
    """Let a device finish the work of the training, so that its time is not counted as that of the evaluation.

    Args:
        network: says which device.
    """
    device = device_of(network)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
