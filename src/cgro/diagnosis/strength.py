"""Did a stronger attack on some of the examples show that a robust error is too low?"""

from collections.abc import Mapping

from cgro.results import ErrorRate, Metric

BESIDE = "@beside:"
"""Stands in the key of a weaker attack's error on the examples of a stronger one: robust_error/test@pgd20@beside:apgd.
"""
SLACK = 0.02
"""Share of the examples by which two attacks may differ before it counts; as in the lint."""
PARTS = {"train": "training", "test": "test"}


LARGE_FACTOR = 1.5
"""Below it points say more than a factor: of large errors 86.0% and 89.5% are a factor of "about 1.0"."""


def too_low(metrics: Mapping[str, Metric]) -> list[str]:
    """What stronger attacks on fewer examples say of the robust errors of a run.

    A robust error is a lower bound on its own examples, so one that was found on fewer of them cannot replace it; that
    it is larger there says all the same that the other is too low.

    Args:
        metrics: of a summary: errors under their own keys, and under those of each attack.

    Returns:
        Clauses for a headline; none where no attack found clearly more.

    Example:
        >>> pgd, strong = ErrorRate(6, 400, "lower"), ErrorRate(8, 100, "lower")
        >>> found = {"robust_error/test": Metric.of_error(pgd), "robust_error/test@apgd": Metric.of_error(strong)}
        >>> too_low(found)
        ['apgd finds 8.0% on 100 of these test images: a robust test error of 1.5% (n = 400) is too low']
        >>> found["robust_error/test@pgd20@beside:apgd"] = Metric.of_error(ErrorRate(4, 100, "lower"))
        >>> too_low(found)[0].partition("test images")[2]
        ', pgd20 4.0% on the same: a robust test error of 1.5% (n = 400) is too low by a factor of about 2.0'
    """
    clauses: list[str] = []
    for part, word in PARTS.items():
        key = f"robust_error/{part}"
        if key not in metrics or metrics[key].error is None:
            continue
        for name in metrics:
            attack = name.removeprefix(f"{key}@")
            if attack != name and "@" not in attack:
                clauses += _clause(metrics, key, attack, word)
    return clauses


def name_of_attack(metrics: Mapping[str, Metric], key: str) -> str:
    """The name of the attack that found a robust error.

    Args:
        metrics: of a summary.
        key: of the error, such as robust_error/test.

    Returns:
        Its name on the command line; empty where it is not known.
    """
    plain = metrics.get(key)
    if plain is None:
        return ""
    for name, metric in metrics.items():
        attack = name.removeprefix(f"{key}@")
        if attack != name and "@" not in attack and (metric.attack, metric.n) == (plain.attack, plain.n):
            return attack
    return ""


def _clause(metrics: Mapping[str, Metric], key: str, attack: str, part: str) -> list[str]:
    """The clause about one attack; none where it does not say that the error is too low."""
    plain = metrics[key].error
    found = metrics[f"{key}@{attack}"].error
    if plain is None or found is None or found.n >= plain.n:
        return []
    text = f"{attack} finds {found.value:.1%} on {found.n} of these {part} images"
    claim = f"a robust {part} error of {plain.value:.1%} (n = {plain.n}) is too low"
    weaker = _beside(metrics, key, attack)
    if weaker is None:
        if found.interval[0] <= plain.value:
            return []
        return [f"{text}: {claim}"]
    name, error = weaker
    if found.wrong - error.wrong <= max(1.0, SLACK * found.n):
        return []
    text = f"{text}, {name} {error.value:.1%} on the same: {claim}"
    if error.wrong and found.wrong / error.wrong < LARGE_FACTOR:
        return [f"{text} by about {100 * (found.value - error.value):.1f} points"]
    if error.wrong:
        text += f" by a factor of about {found.wrong / error.wrong:.1f}"
    return [text]


def _beside(metrics: Mapping[str, Metric], key: str, attack: str) -> tuple[str, ErrorRate] | None:
    """The weaker attack's name and error on the same examples, where it was measured there."""
    plain = metrics[f"{key}@{attack}"]
    for name, metric in metrics.items():
        if name.startswith(f"{key}@") and name.endswith(f"{BESIDE}{attack}"):
            error = metric.error
            if error is not None and error.n == plain.n:
                return name.removeprefix(f"{key}@").removesuffix(f"{BESIDE}{attack}"), error
    return None
