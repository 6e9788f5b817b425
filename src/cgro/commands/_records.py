"""Per-example results of an evaluation on disk: plain arrays, from which a killed evaluation goes on.

A file is taken up if it is of these weights, this attack and these examples, and that is said: its numbers were found
earlier, maybe by another version, whose attack of the same name may search otherwise, maybe by others.
"""

import functools
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from cgro._check import bad, seconds_of
from cgro._progress import progress
from cgro.data import Split
from cgro.definitions import Attack, Record, margin, predict, survey
from cgro.definitions.attacks import evaluated_outputs
from cgro.definitions.evaluation import CLEAN
from cgro.definitions.inputs import in_full_precision
from cgro.definitions.rounds import alike
from cgro.environment import changes, environment, sentence
from cgro.ranks import ALONE, Ranks
from cgro.reading import attempt, parse_json, read_npz
from cgro.runs import say, write_arrays

SAVE_EVERY = 10.0
"""Seconds between two saves of an unfinished evaluation."""
BATCH = 256
"""Examples at a time."""
ROUNDING = 1e-3
"""Share of the largest output that machines may differ by; as between batches in the lint."""
OTHERS = 0.05
"""Share of the examples that may be answered otherwise all the same, where a network rounds. A choice."""


def budget(text: str | None) -> Callable[[], bool]:
    """Whether a time such as 90s, 10m or 2h, counted from now, is over; None never is.

    Args:
        text: of --budget.

    Returns:
        A question to ask again and again.

    Raises:
        BadRequest: another text.
    """
    if text is None:
        return lambda: False
    end = time.monotonic() + seconds_of(text, "--budget")
    return lambda: time.monotonic() > end


def recorded(
    model: torch.nn.Module,
    split: Split,
    attack: Attack,
    path: Path,
    checkpoint: Path,
    *,
    keep_examples: bool,
    stop: Callable[[], bool] | None = None,
    given: Sequence[torch.Tensor] = (),
    stages: int | None = None,
    ranks: Ranks = ALONE,
) -> Record:
    """The evaluation of a part, taken up where the file at `path` ends; a file of something else is replaced.

    Args:
        model: in eval mode, with the weights of the checkpoint.
        split: the examples.
        attack: an ensemble is taken apart.
        path: of the .npz.
        checkpoint: the weights, whose bytes identify the evaluation with attack and examples.
        keep_examples: whether the adversarial examples are stored too.
        stop: see `survey`.
        given: see `survey`.
        stages: see `survey`.
        ranks: the processes that evaluate together; the file is that of the first.

    Returns:
        The record, complete unless it was stopped.

    Raises:
        BadRequest: see `survey`.
        KeyboardInterrupt: a process was asked to stop; what is known is stored.
    """
    record = None
    with alike(ranks):
        identity = hashlib.sha256(checkpoint.read_bytes() + repr((attack, split.index.tolist())).encode()).hexdigest()
        examples = _digest(split)
        if ranks.writes:
            record = _load(path, identity, examples, split, keep_examples)
        made_in = _made_in()
        if record is not None:
            made_in = _written_by(path)  # kept: what was begun by another version stays partly of that
        if record is not None and stages is None:  # the stages of a series come back to their own files
            _say_known(path, record, made_in)
        if record is not None and not stages:
            _require_same_answers(path, model, split, record)
        key = {"identity": identity, "examples": examples, "made_in": made_in}
    fresh = record or Record.fresh(attack, split.x, split.index)
    # In every process alike, before the first one's is copied: a float64 network is attacked in float64.
    fresh.x_adv = in_full_precision(model, fresh.x_adv)[1]
    ranks.copy_first([fresh.tried, fresh.by, fresh.step, fresh.margin, fresh.x_adv])
    last = time.monotonic()

    def save(record: Record, *, force: bool = False) -> None:
        nonlocal last
        show(int((record.wrong | (record.tried >= len(record.attacks))).sum()), f"{record.so_far.value:.1%} wrong")
        if force or time.monotonic() - last > SAVE_EVERY:
            _store(path, record, key, split, keep_examples)
            last = time.monotonic()

    with progress(len(split), path.stem) as show:
        try:
            found = survey(
                model,
                split.x,
                split.y,
                attack,
                batch=BATCH,
                index=split.index,
                record=fresh,
                saved=save,
                given=given,
                stages=stages,
                stop=stop,
                ranks=ranks,
            )
        except BaseException:
            if ranks.writes:
                save(fresh, force=True)
            raise
        with alike(ranks):
            if ranks.writes:
                save(fresh, force=True)
    return found


def place(folder: Path, part: str, n: int) -> Path:
    """The file of an evaluation; one of more examples of the part keeps its own.

    Args:
        folder: of the attack.
        part: such as test.
        n: examples, from the front of the part.

    Returns:
        PART.npz, or PART-first-N.npz beside one that is larger.
    """
    path = folder / f"{part}.npz"
    index = (attempt(lambda: read_npz(path, follow=False)) or {}).get("index")
    if index is not None and index.size > n:
        return folder / f"{part}-first-{n}.npz"
    return path


def _digest(split: Split) -> str:
    """Of the pixels and labels: the positions in `index` are the same in data of which only the contents changed."""
    pixels = np.ascontiguousarray(split.raw.cpu().numpy())
    return hashlib.sha256(pixels.data if pixels.size else b"").hexdigest()


@functools.cache
def _made_in() -> str:
    """What decides how an attack searches, in JSON, as an environment has it."""
    now = environment()
    return json.dumps({name: now[name] for name in ("cgro", "commit", "versions")})


def _written_by(path: Path) -> str:
    """As `_made_in`, of a file that was begun earlier; "" where an older version wrote it."""
    arrays = attempt(lambda: read_npz(path, follow=False)) or {}
    return str(arrays.get("made_in", ""))


def _require_same_answers(path: Path, model: torch.nn.Module, split: Split, record: Record) -> None:
    """Refuse a record whose network has changed beside its weights: its code is in no digest, but what it answers is.

    The first batch of `survey`, whole, as a network may mix its batch; passed twice, as it may be random.
    """
    n = min(len(split), BATCH)
    x, y = split.batch(torch.arange(n, device=split.y.device))
    network, x = in_full_precision(model, x)
    outputs = evaluated_outputs(network, x)
    again = evaluated_outputs(network, x)
    slack = 2 * (ROUNDING * float(outputs.abs().max()) + float((outputs - again).abs().max()))
    now = margin(outputs, y).cpu().float()
    by, tried, lowest = record.by[:n], record.tried[:n], record.margin[:n]
    # A margin on record is the one of the clean input, or a lower one that an attack found.
    of_clean = (by == CLEAN) | (tried == 0)
    other = torch.where(of_clean, (lowest - now).abs() > slack, (lowest - now > slack) | (now < -slack))
    n_other, n_seen = int((other & (tried >= 0)).sum()), int((tried >= 0).sum())
    if n_other > OTHERS * n_seen:
        expected = "the answers of the network that was evaluated earlier"
        remedy = "its code has changed since: put it back, or delete the file, and what the summary says of it"
        raise bad(str(path), expected=expected, got=f"others on {n_other} of {n_seen} clean inputs", remedy=remedy)


def _say_known(path: Path, record: Record, made_in: str) -> None:
    """Say that the numbers of a file are used, and what found them if that was another version."""
    known = int((record.wrong | (record.tried >= len(record.attacks))).sum())
    if not known:
        return
    before = attempt(lambda: parse_json(made_in, str(path)))
    by = " by an older version, whose attack may search otherwise"
    if isinstance(before, dict):
        others = sentence(changes(before, json.loads(_made_in())))
        by = f" by another version, whose attack may search otherwise: {others}" if others else ""
    say(
        f"remark: {path}: {known} of {len(record.by)} examples were evaluated earlier{by}; they are not evaluated "
        "again; delete the file to begin anew"
    )


def _store(path: Path, record: Record, key: dict[str, str], split: Split, keep_examples: bool) -> None:
    arrays = {"attacks": np.array(record.attacks), "y": split.y.cpu().numpy()}
    for name, text in key.items():
        arrays[name] = np.array(text)
    names = ["index", "tried", "by", "step", "margin", "wrong"]
    if keep_examples:
        names.append("x_adv")
    for name in names:
        arrays[name] = getattr(record, name).numpy()
    write_arrays(path, arrays)


def _load(path: Path, identity: str, examples: str, split: Split, keep_examples: bool) -> Record | None:
    """What is stored of this very evaluation, or None. Older versions stored labels, and no digest of the pixels."""
    arrays = attempt(lambda: read_npz(path, follow=False)) or {}
    if str(arrays.get("identity")) != identity or not _fits(arrays, split, keep_examples):
        return None
    labels = split.y.cpu().numpy()
    if str(arrays.get("examples", examples)) != examples or not np.array_equal(arrays.get("y", ()), labels):
        return None
    index, tried, by, step = (torch.from_numpy(arrays[name]) for name in _INTEGERS)
    lowest = torch.from_numpy(arrays["margin"])
    x_adv = torch.from_numpy(arrays["x_adv"]) if keep_examples else split.x.cpu().clone()
    return Record(tuple(str(name) for name in arrays["attacks"]), index, tried, by, step, lowest, x_adv)


_INTEGERS = ("index", "tried", "by", "step")


def _fits(arrays: dict[str, np.ndarray], split: Split, keep_examples: bool) -> bool:
    """Whether they are what `_store` writes for this part: names, types, shapes, and numbers of attacks there are."""
    n = len(split)
    kinds: dict[str, tuple[np.dtype, tuple[int, ...]]] = {k: (np.dtype(np.int64), (n,)) for k in _INTEGERS}
    kinds["margin"] = np.dtype(np.float32), (n,)
    if keep_examples:
        points = arrays.get("x_adv")
        kept = np.float64 if points is not None and points.dtype == np.float64 else np.float32
        kinds["x_adv"] = np.dtype(kept), (n, *split.shape[1:])
    if not all(k in arrays and (arrays[k].dtype, arrays[k].shape) == kind for k, kind in kinds.items()):
        return False
    attacks = arrays.get("attacks")
    if attacks is None or attacks.ndim != 1 or attacks.dtype.kind != "U" or not n:
        return False
    reached, by = arrays["tried"], arrays["by"]
    return bool(reached.min() >= -1 and reached.max() <= len(attacks) and by.min() >= -2 and by.max() <= len(attacks))


def rounded(model: torch.nn.Module, split: Split, attack: Attack, record: Record, batch: int = BATCH) -> dict[str, int]:
    """What becomes of the examples that an attack broke when they are stored with 8 bits per channel.

    Rounding moves a pixel by up to 1/510, which can leave the ball, or make the answer right again.

    Args:
        model: in eval mode.
        split: the examples.
        attack: its ball is asked for.
        record: with the adversarial examples.
        batch: examples at a time.

    Returns:
        How many were broken, are wrong after rounding, and lie in the ball after it.
    """
    broken = torch.nonzero(record.by > 0).squeeze(1)
    n_wrong, n_inside = 0, 0
    for rows in broken.split(batch):
        x, y = split.batch(rows.to(split.y.device))
        x_adv = (record.x_adv[rows] * 255).round().div(255).to(x)
        n_wrong += int((predict(evaluated_outputs(model, x_adv)) != y).sum())
        n_inside += int(attack.threat.contains(x_adv, x).sum())
    return {"broken": len(broken), "wrong_after_rounding": n_wrong, "in_ball_after_rounding": n_inside}
