"""What a log says of its own training in the settings that its program printed: words only, read as data."""

import re
from collections.abc import Mapping

from cgro._check import one_line
from cgro.diagnosis.curves import Curves

CLASSES: tuple[tuple[str, int], ...] = (
    (r"cifar[-_ ]?100", 100),
    (r"tiny[-_ ]?imagenet", 200),
    (r"cifar[-_ ]?10", 10),
    (r"svhn|mnist|stl[-_ ]?10|imagenette", 10),
    (r"imagenet(?:[-_]?1k)?", 1000),
)
"""Data sets as programs name them -> classes; the first that fits. EMNIST has several counts and is none of them."""
OF_DATA = (
    *("dataset", "data", "data_name", "dataset_name", "data_set"),
    *("data_dir", "data_path", "root", "fname", "out_dir", "model_dir"),
)
"""Settings that name the data set, the plainest first."""
MIXES = ("mixup", "cutout", "cutmix", "augmix")
"""Settings that replace or mix parts of the training images. Padding, crops and flips leave whole images."""
REGULARIZES = ("awp", "trades", "mart", "swa", "dropout", "label_smoothing")
"""Words of methods that keep the robust training error high on purpose, in values and names of settings."""
LONGEST = 200
"""Characters of a setting that are kept."""
WEIGHTS = {"adversarial": "robust_weight", "trades": "beta"}
"""Objective of `cgro train` -> the parameter at 0 of which it is standard training."""
OFF = ("", "0", "0.0", "false", "none", "no", "off")


def settings_of(curves: Curves) -> Mapping[str, str]:
    """The settings that a log printed.

    Args:
        curves: of one training.

    Returns:
        Name -> printable text; empty where the source has none.
    """
    found = curves.meta.get("settings")
    if not isinstance(found, Mapping):
        return {}
    return {one_line(str(name), LONGEST): one_line(str(value), LONGEST) for name, value in found.items()}


def classes_in(settings: Mapping[str, str]) -> tuple[int, str] | None:
    """The number of classes, where a setting names the data set.

    Args:
        settings: name -> text.

    Returns:
        The number, and the setting that says so; None where none does.

    Example:
        >>> classes_in({"data_dir": "../cifar-data", "fname": "cifar100_l2/run 3"})
        (100, 'fname=cifar100_l2/run 3')
        >>> classes_in({"dataset": "emnist"})
    """
    for name in OF_DATA:
        text = settings.get(name, "")
        for words, n in CLASSES:
            if re.search(rf"(?<![a-z])(?:{words})(?![a-z0-9])", text.lower()):
                return n, f"{name}={text[:60]}"
    return None


def classes_sentence(settings: Mapping[str, str], n_classes: int, meaning: str, *, known: bool) -> str:
    """Where the number of classes comes from, unless the caller or the run said it.

    Args:
        settings: name -> text.
        n_classes: that the rule takes.
        meaning: what follows from it, a clause.
        known: whether it was said.

    Returns:
        One sentence; empty where it was said.

    Example:
        >>> classes_sentence({"dataset": "svhn"}, 10, "errors below 45% count as learned", known=False)
        'Classes: 10, as the log says (dataset=svhn); errors below 45% count as learned.'
        >>> classes_sentence({}, 2, "errors below 25% count as learned", known=False)
        'Classes: 2 are assumed, the strictest (n_classes says others); errors below 25% count as learned.'
    """
    if known:
        return ""
    in_log = classes_in(settings)
    if in_log is not None:
        return f"Classes: {n_classes}, as the log says ({in_log[1]}); {meaning}."
    return f"Classes: {n_classes} are assumed, the strictest (n_classes says others); {meaning}."


def mixed_images(settings: Mapping[str, str]) -> str:
    """The setting by which training images are mixed or cut.

    Args:
        settings: name -> text.

    Returns:
        Such as "mixup=True"; empty where none is on.

    Example:
        >>> mixed_images({"mixup": "False", "mixup_alpha": "1.4", "cutout": "True"}), mixed_images({"mixup": "0"})
        ('cutout=True', '')
    """
    for name in MIXES:
        value = settings.get(name, "")
        if value.lower() not in OFF:
            return f"{name}={value[:60]}"
    return ""


def regularized(settings: Mapping[str, str]) -> bool:
    """Whether a setting names a method that keeps the robust training error high on purpose.

    Args:
        settings: name -> text.

    Returns:
        True for a name that is on, or a method, such as AWP or TRADES.

    Example:
        >>> regularized({"awp_gamma": "0.01"}), regularized({"awp_gamma": "0"}), regularized({"attack": "trades"})
        (True, False, True)
    """
    for name, value in settings.items():
        if value.lower() in OFF:
            continue
        words = set(re.split(r"[^a-z]+", f"{name} {value}".lower()))
        if words & set(REGULARIZES):
            return True
    return False


def attacks_nothing(config: Mapping[str, object]) -> bool:
    """Whether a training by `cgro train` is standard training, whichever of its options says so.

    Args:
        config: its options, as its run has them.

    Returns:
        True where no attack counts in the loss.

    Example:
        >>> attacks_nothing({"attack": "pgd10", "objective": "trades:beta=0"}), attacks_nothing({"attack": "pgd10"})
        (True, False)
    """
    if config.get("attack") == "none" or config.get("robust_weight") == 0:
        return True
    name, _, parameters = str(config.get("objective")).partition(":")
    for part in parameters.split(","):
        key, _, value = part.partition("=")
        if key == WEIGHTS.get(name) and re.fullmatch(r"[-+]?(0+\.?0*|\.0+)([eE][-+]?\d+)?", value.strip()):
            return True
    return False
