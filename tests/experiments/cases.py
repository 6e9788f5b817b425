"""What the test module of an artifact gives beside its tests: findings in which the paper is right, and wrong ones."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cgro.experiments.artifact import Artifact, claims_of
from cgro.experiments.claims import NOT_REPRODUCED, Claim, Ruling
from cgro.experiments.findings import Findings


class Wrong(NamedTuple):
    """A value that the paper does not have, the claim that must fail for it, its verdict, and how the reason begins.

    The verdict is `partly` where the claim has further checks that the value does not concern; they are counted.
    """

    paper: Any
    claim: str
    verdict: Ruling = NOT_REPRODUCED
    reason: str = ""


@dataclass(frozen=True)
class Cases:
    """Of one artifact.

    Attributes:
        right: findings in which the paper's claims are true, small and made by hand.
        wrong: values that the paper does not have.
        swapped: findings with two of their columns exchanged.
        notices: the claim that must fail for these.
        expected: claims that are not `reproduced` although the paper is right, with their verdicts.
        drawn: figures that the artifact draws itself; the others are copied from its commands.
    """

    right: Findings
    wrong: Sequence[Wrong]
    swapped: Findings
    notices: str
    expected: Mapping[str, Ruling] = field(default_factory=dict)
    drawn: frozenset[str] = frozenset()


def cases_of(artifact: Artifact) -> Cases:
    return importlib.import_module(f"tests.experiments.test_{artifact.NAME.replace('-', '_')}").CASES


def judged(artifact: Artifact, findings: Findings, paper: Any = None) -> dict[str, Claim]:
    return {claim.name: claim for claim in claims_of(artifact, findings, paper)}


def spread(mean: float, width: float = 0.4) -> list[float]:
    """Three seeds."""
    return [mean - width, mean, mean + width]
