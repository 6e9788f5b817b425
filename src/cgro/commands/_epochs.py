"""A strong attack on every kept checkpoint of a run: the curve of robust error by strong attack against the epoch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cgro._check import bad
from cgro.commands import _records
from cgro.data import Split
from cgro.definitions import Attack, Record
from cgro.runs import Run
from cgro.training.checkpoint import kept_epochs, load_weights, read_run_weights


def curve(
    source: Run, model: torch.nn.Module, split: Split, attack: Attack, folder: Path, stop: Callable[[], bool]
) -> list[dict[str, Any]]:
    """Every checkpoint goes through the first attack, then every one through the second, until time is up.

    The order of the checkpoints alternates, and each is first shown the points that broke the one before it: networks of
    neighboring epochs share most of their adversarial examples, and a look costs one forward pass. Records are
    kept in `folder`, so a later call goes on.

    Returns:
        One row per epoch: clean error, robust error so far (a lower bound), n, what broke how many, and if it is complete.

    Raises:
        BadRequest: the run kept no checkpoints.
    """
    kept = kept_epochs(source)
    if not kept:
        raise bad(str(source.path), expected="checkpoints kept by --keep-every", got="none",
                  remedy="train with --keep-every 1")  # fmt: skip
    rows: dict[int, dict[str, Any]] = {}
    for stage in range(len(attack.parts) + 1):
        neighbour: Record | None = None
        for epoch, path in sorted(kept.items(), reverse=stage % 2 == 1):
            load_weights(model, read_run_weights(source, path), path)
            neighbour = _records.recorded(
                model, split, attack, folder / f"epoch-{epoch:04d}.npz", path, keep_examples=True, stages=stage,
                given=() if neighbour is None else [neighbour.x_adv], stop=stop,
            )  # fmt: skip
            rows[epoch] = _row(epoch, neighbour)
    return [rows[epoch] for epoch in sorted(rows)]


def _row(epoch: int, record: Record) -> dict[str, Any]:
    broken = record.broken_by()
    return {
        "epoch": epoch, "clean_error": broken["clean"] / len(record.by), **record.so_far.to_dict(), "broken_by": broken,
        "complete": record.complete,
    }  # fmt: skip
