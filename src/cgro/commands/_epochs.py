"""A strong attack on every kept checkpoint of a run: the curve of robust error by strong attack against the epoch."""

from collections.abc import Callable
from pathlib import Path

import torch

from cgro._check import bad
from cgro.commands import _records
from cgro.commands._settings import is_watched
from cgro.data import Split
from cgro.definitions import Attack, Record
from cgro.definitions.evaluation import series_visits
from cgro.definitions.rounds import alike
from cgro.ranks import ALONE, Ranks
from cgro.results import EpochRecord
from cgro.runs import Run, say
from cgro.training.checkpoint import kept_epochs, read_run_weights
from cgro.training.weights import load_weights


def curve(
    source: Run,
    model: torch.nn.Module,
    split: Split,
    attack: Attack,
    *,
    folder: Path,
    stop: Callable[[], bool],
    ranks: Ranks = ALONE,
) -> list[EpochRecord]:
    """Attack every kept checkpoint of a run.

    Every checkpoint goes through the first attack, then every one through the second, until time is up.

    The order of the checkpoints alternates, and each is first shown the lowest points of its two neighbors: networks
    of neighboring epochs share most of their adversarial examples, and a look costs one forward pass. Records are
    kept in `folder`, so a later call goes on.

    Args:
        source: the run.
        model: its network, in eval mode; gets the weights of every checkpoint.
        split: the examples.
        attack: an ensemble is taken apart.
        folder: of the records.
        stop: whether the time is up.
        ranks: the processes that evaluate together.

    Returns:
        One row per epoch: clean error, robust error so far (a lower bound), n, what broke how many, and if it is
        complete.

    Raises:
        BadRequest: the run kept no checkpoints.
    """
    with alike(ranks):
        kept = kept_epochs(source)
        if not kept:
            raise bad(
                str(source.path),
                expected="checkpoints kept by --keep-every",
                got="none",
                remedy="train with --keep-every 1",
            )
    epochs = sorted(kept)
    rows: dict[int, EpochRecord] = {}
    records: dict[int, Record] = {}
    for visit in series_visits(len(epochs), len(attack.parts)):
        epoch = epochs[visit.position]
        path = kept[epoch]
        with alike(ranks):
            loaded = load_weights(model, read_run_weights(source, path), path, inside=is_watched(source))
        if ranks.writes and not rows and loaded.sentence():
            say(loaded.sentence())
        records[visit.position] = _records.recorded(
            model,
            split,
            attack,
            folder / f"epoch-{epoch:04d}.npz",
            path,
            keep_examples=True,
            stages=visit.stage,
            given=[records[neighbor].x_adv for neighbor in visit.neighbors],
            stop=stop,
            ranks=ranks,
        )
        rows[epoch] = _row(epoch, records[visit.position])
    return [rows[epoch] for epoch in epochs]


def _row(epoch: int, record: Record) -> EpochRecord:
    broken = record.broken_by()
    error = record.so_far
    return EpochRecord(
        epoch=epoch,
        clean_error=broken["clean"] / len(record.by),
        wrong=error.wrong,
        n=error.n,
        bound=error.bound,
        value=error.value,
        interval=error.interval,
        attack=None,
        broken_by=broken,
        complete=record.complete,
    )
