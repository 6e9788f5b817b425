"""What a log says of its own training: the settings that programs print first, as `Namespace(attack='pgd', ...)`."""

import itertools
import re
from collections.abc import Mapping

from cgro._check import one_line

MOST_SETTINGS = 1_000
"""Settings of one head that are read. A choice; programs of this field have thirty."""
_BEFORE = 100
"""Characters in which it begins: some programs print a word before it. A choice."""
# A word is entered at its beginning only, and digits in one way: a line of 100 kB would take a minute otherwise.
_SETTING = re.compile(r"(?<!\w)(\w+)=('[^']*'|\"[^\"]*\"|[^,()]+)")
_SHOWN = {
    "attack": ("attack", "attack_type", "train_attack"),
    "norm": ("norm", "attack_norm", "threat_model"),
    "radius": ("epsilon", "eps", "radius", "test_epsilon"),
    "attack steps": ("attack_iters", "num_steps", "attack_steps", "perturb_steps", "minibatch_replays"),
    "start": ("delta_init",),
    "objective": ("loss", "loss_type", "beta"),
    "network": ("model", "arch", "net", "network", "model_name"),
    "data": ("dataset", "data", "data_set", "data_dir", "dataset_name"),
    "epochs": ("epochs", "n_epochs", "num_epochs"),
    "seed": ("seed",),
}
"""What is shown -> names of the setting; the first that is there."""


def settings_in(body: str) -> dict[str, str]:
    """The settings in a line, where it is a Namespace.

    Args:
        body: of a line, without what logging puts before it.

    Returns:
        Name -> value as text; empty where the line is something else.

    Example:
        >>> settings_in("Namespace(attack='pgd', epsilon=8, lr_max=0.1)")
        {'attack': 'pgd', 'epsilon': '8', 'lr_max': '0.1'}
        >>> settings_in("Epoch 1")
        {}
    """
    place = body[:_BEFORE].find("Namespace(")
    if place < 0:
        return {}
    found = itertools.islice(_SETTING.finditer(body[place + 10 :]), MOST_SETTINGS)
    settings: dict[str, str] = {}
    for match in found:
        settings[match[1]] = match[2].strip("'\" ")
    return settings


def said_of_itself(settings: Mapping[str, str]) -> list[str]:
    """What the head of a log says about threat, network and data. It is shown, and no number rests on it.

    Args:
        settings: see `settings_in`.

    Returns:
        One sentence, or none.

    Example:
        >>> said_of_itself({"attack": "pgd", "epsilon": "8", "model": "PreActResNet18", "data_dir": "../cifar-data"})
        ['the log says of itself: attack pgd, radius 8, network PreActResNet18, data ../cifar-data']
    """
    parts: list[str] = []
    for what, names in _SHOWN.items():
        values = list(filter(None, map(settings.get, names)))
        if values:
            parts.append(f"{what} {one_line(values[0], 60)}")
    if not parts:
        return []
    return [f"the log says of itself: {', '.join(parts)}"]


def about_of(settings: Mapping[str, str], name: str) -> dict[str, object]:
    """What `Curves.meta` keeps of a log with a head.

    Args:
        settings: see `settings_in`.
        name: of the format.

    Returns:
        The format, the settings, and the attack where they name it. The number of classes is left to the verdict, which
        says where it has it from.

    Example:
        >>> about_of({"attack": "none", "seed": "0"}, "text log")["attack"]
        'none'
    """
    about: dict[str, object] = {"format": name, "settings": settings}
    if "attack" in settings:
        about |= {"attack": settings.get("attack")}
    return about
