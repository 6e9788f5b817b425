"""Has anything become slower? Ratios of a run are compared with those of an earlier one, absolute times never."""

from collections.abc import Mapping

from msgspec import UNSET

from cgro._check import bad
from cgro.results import BenchSummary, Spread

FALL = 0.15
"""Share by which a ratio may fall before it is told. A choice: neighbors of a machine move medians by up to 10%."""
SHARE = "share of the floor"
"""How messages call the ratio that every way of ours has."""
SETTINGS = ("attack", "eval_attack", "batch_size", "device", "threads", "flags")
"""Attributes of a summary that must be equal: the ratios of another setting say nothing."""


def require_comparable(now: BenchSummary, before: BenchSummary, what: str) -> None:
    """Refuse a baseline of other settings.

    Args:
        now: what was measured.
        before: the baseline.
        what: how messages call it.

    Raises:
        BadRequest: another network, data set, attack, batch, device, number of threads or flag (says which).
    """
    remedy = "measure with the same settings, or store a new baseline"
    if (now.model, now.data.name) != (before.model, before.data.name):
        got = f"{before.model.name} on {before.data.name}"
        raise bad(what, expected=f"{now.model.name} on {now.data.name}", got=got, remedy=remedy)
    for name in SETTINGS:
        new = getattr(now, name)
        old = getattr(before, name)
        if new != old:
            raise bad(what, expected=f"{name} {new}", got=str(old), remedy=remedy)


def falls(now: BenchSummary, before: BenchSummary) -> list[str]:
    """Ratios that fell by more than `FALL`: shares of the floor, and our speed over that of each peer.

    Args:
        now: what was measured.
        before: the baseline; ways and peers that it lacks are left out.

    Returns:
        A sentence per ratio. One that the baseline has and that cannot be had any more is a fall, such as a search that
        can no longer be captured; a peer that is not installed here is none.
    """
    found: list[str] = []
    new = _ratios(now)
    for name, ratio in _ratios(before).items():
        if name in new and new[name] < (1 - FALL) * ratio:
            found.append(f"{name}: {new[name]:.3g}, was {ratio:.3g}")
        elif name not in new and name.endswith(SHARE):
            found.append(f"{name}: not measured, was {ratio:.3g}")
    return found


def _ratios(summary: BenchSummary) -> dict[str, float]:
    """Name -> median of a ratio that is higher where we are faster."""
    ratios: dict[str, float] = {}
    for row in summary.rows:
        if not row.ours:
            continue
        ratios[f"{row.work}, {row.way}, {SHARE}"] = 1 / row.over_floor.median
        peers: Mapping[str, Spread] = {}
        if row.faster_than is not UNSET:
            peers = row.faster_than
        for peer, spread in peers.items():
            ratios[f"{row.work}, {row.way}, over {peer}"] = spread.median
    return ratios
