"""Which back end carries a setting, by name."""

from collections.abc import Sequence
from typing import Literal

from cgro._check import bad, one_of
from cgro.dynamics.batch import Batch
from cgro.dynamics.full_ball import full_ball
from cgro.dynamics.setting import Setting
from cgro.dynamics.spaces import SPACES, cheapest

Backend = Literal["auto", "direct", "gram", "law"]


def place(setting: Setting, seeds: Sequence[int], backend: Backend) -> tuple[Batch, str]:
    """The batch of seeds in the space that was asked for, before the first step.

    Args:
        setting: what is trained.
        seeds: S of them.
        backend: a key of `spaces.SPACES`, or "auto" for the cheapest exact one.

    Returns:
        The batch, and the name of its space.

    Raises:
        BadRequest: an unknown back end, or one that cannot carry the adversary or the number of noise patches; no
            seeds.
    """
    one_of(backend, "backend", ("auto", *SPACES))
    if setting.full_ball:
        if backend not in ("auto", "direct"):
            raise bad("backend", expected="auto or direct with a full-ball adversary", got=backend)
        return full_ball(setting, seeds), "direct"
    chosen = backend
    if backend == "auto":
        chosen = cheapest(setting)
    return SPACES[chosen](setting, seeds), chosen
