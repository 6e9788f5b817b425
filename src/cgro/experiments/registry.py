"""The artifacts of the paper, in its order, then what it does not have: the order of page, messages and `--help`.

A new one is a module of this folder, a test module of its name with findings in which the paper is right, and a line
here.
"""

from collections.abc import Sequence

from cgro._check import one_of
from cgro.experiments import (
    alpha_law,
    bound,
    figure1,
    figure2ab,
    figure2c,
    figure3,
    figure4,
    full_ball,
    hierarchy,
    memory,
    remedies,
    table1,
    table2,
    theorem44,
    theorem47,
    threshold,
    threshold_mnist,
)
from cgro.experiments.artifact import Artifact

ARTIFACTS: tuple[Artifact, ...] = (
    table1,
    table2,
    figure1,
    figure2ab,
    figure2c,
    figure3,
    figure4,
    bound,
    memory,
    theorem44,
    theorem47,
    hierarchy,
    full_ball,
    threshold,
    threshold_mnist,
    alpha_law,
    remedies,
)
GROUPS = ("all", "theory", "trained", "figure2")


def names(artifacts: Sequence[Artifact] = ARTIFACTS) -> list[str]:
    """The names of artifacts.

    Args:
        artifacts: in the order of the page.

    Returns:
        Their names in that order.
    """
    return [artifact.NAME for artifact in artifacts]


def is_in(artifact: Artifact, group: str) -> bool:
    """Whether an artifact belongs to a group.

    Args:
        artifact: any.
        group: all, theory (no training of images), trained, or the beginning of names, such as figure2.

    Returns:
        Whether it does.
    """
    if group == "all":
        return True
    if group == "theory":
        return not artifact.NEEDS_TRAINING
    if group == "trained":
        return artifact.NEEDS_TRAINING
    return artifact.NAME.startswith(group)


def chosen(words: str, artifacts: Sequence[Artifact] = ARTIFACTS) -> list[Artifact]:
    """The artifacts that a command line names, each once; of a group those without training first, as they are cheap.

    Args:
        words: names and groups, joined by commas.
        artifacts: in the order of the page.

    Returns:
        Them, in the order in which they are made.

    Raises:
        BadRequest: a word is neither a name nor a group.

    Example:
        >>> names(chosen("figure2,figure2c"))
        ['figure2c', 'figure2ab']
    """
    by_name = {artifact.NAME: artifact for artifact in artifacts}
    cheap_first = sorted(artifacts, key=lambda artifact: artifact.NEEDS_TRAINING)
    found: dict[str, Artifact] = {}
    for word in str(words).split(","):
        name = one_of(word.strip(), "NAME", [*by_name, *GROUPS])
        if name in by_name:
            found[name] = by_name[name]
        else:
            found.update({artifact.NAME: artifact for artifact in cheap_first if is_in(artifact, name)})
    return list(found.values())
