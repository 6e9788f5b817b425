"""Weights between two slices: rounded to bfloat16, split into files of a size that travels, and put back.

Matrices and filters are rounded, which halves them; vectors such as statistics of BatchNorm and counters are kept as
they are. What goes on from rounded weights, or is measured on them, is marked as such: see `mark`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from cgro._check import bad
from cgro.reading import read_json_object
from cgro.runs import Run, dump_json, write_atomic
from cgro.seal import entry
from cgro.training.checkpoint import EVALUATED, LAST, SELECTED
from cgro.training.weights.formats import MODEL, digest_of, read_safetensors

FILE_BYTES = 15 << 20
"""Of a file, at most: below the 16 MiB that can come back."""
N_FILES = 4
"""Files of weights, at most."""
BETWEEN = "::"
"""Between job, checkpoint and key in the name of a tensor."""
CONTINUED = "continued"
"""Entry of environment.json: epochs at which a training went on from rounded weights."""
EXAMPLES = "index_sets.json"
"""Which examples a training has learned from: who reads its network asks."""
SMALL = ("config.yaml", "environment.json", "metrics.jsonl", EXAMPLES)
"""Files of an unfinished run that a continuation needs beside its checkpoint."""


@dataclass(frozen=True)
class Packed:
    """Files of weights.

    Args:
        files: name -> content.
        left_out: checkpoint -> why it is in none.
    """

    files: Mapping[str, bytes]
    left_out: Mapping[str, str]


def rounded(tensor: Tensor) -> Tensor:
    """A tensor as it travels.

    Args:
        tensor: of a checkpoint.

    Returns:
        In bfloat16 if it is a matrix or more in float32, else as it is.
    """
    if tensor.dtype == torch.float32 and tensor.ndim >= 2:
        return tensor.bfloat16()
    return tensor


def packed(runs: Path, jobs: Sequence[str], *, limit: int = FILE_BYTES, n_files: int = N_FILES) -> Packed:
    """The checkpoints of trainings: of an unfinished one with the optimizer, to go on; of a finished one the networks.

    Args:
        runs: folder of runs.
        jobs: names of trainings, the most important first.
        limit: bytes of a file.
        n_files: files at most; checkpoints that do not fit any more are left out, the selected ones first.

    Returns:
        The files.

    Raises:
        BadRequest: a checkpoint is damaged.
    """
    taken: dict[str, Tensor] = {}
    states: dict[str, object] = {}
    left_out: dict[str, str] = {}
    n_bytes = 0
    for checkpoint in (LAST, EVALUATED, SELECTED):
        for job in jobs:
            run = Run(runs / job)
            path = run.path / "checkpoints" / checkpoint
            if not path.exists():
                continue
            tensors, state = read_safetensors(path)
            own: dict[str, Tensor] = {}
            for key, tensor in tensors.items():
                if key.startswith(MODEL) or not run.finished:
                    own[BETWEEN.join((job, checkpoint, key))] = rounded(tensor)
            size = sum(tensor.nbytes for tensor in own.values())
            # 0.9: files end where a tensor does.
            if n_bytes + size > 0.9 * limit * n_files:
                left_out[f"{job}/{checkpoint}"] = f"{size / 2**20:.0f} MiB more than fit"
                continue
            n_bytes += size
            taken |= own
            states[BETWEEN.join((job, checkpoint))] = state
    return Packed(_files(taken, states, limit), left_out)


def _files(tensors: Mapping[str, Tensor], states: Mapping[str, object], limit: int) -> dict[str, bytes]:
    parts: list[dict[str, Tensor]] = []
    room = 0
    for key, tensor in tensors.items():
        if not parts or tensor.nbytes > room:
            parts.append({})
            room = limit
        parts[-1][key] = tensor.contiguous()
        room -= tensor.nbytes
    files = {}
    for number, part in enumerate(parts, 1):
        state = json.dumps({"checkpoints": states, "part": number, "parts": len(parts)})
        text = json.dumps({**json.loads(state), "sha256": digest_of(part, state)})
        files[f"weights-{number}.safetensors"] = save(part, metadata={"state": text})
    return files


def restore(folder: Path, job: str, run: Path) -> None:
    """Put the checkpoints of a training back, in float32 again.

    Where the selected network did not travel, the training forgets that one was selected, and selects anew.

    Args:
        folder: with the files.
        job: name of the training.
        run: its directory.

    Raises:
        BadRequest: no files, one is missing or damaged, or they have nothing of this training.
    """
    paths = sorted(folder.glob("weights-*.safetensors"))
    checkpoints: dict[str, dict[str, Tensor]] = {}
    states: dict[str, object] = {}
    n_parts = len(paths)
    for path in paths:
        tensors, state = read_safetensors(path)
        n_parts = max(n_parts, int(state.get("parts", 0)))
        if states and states != entry(state, "checkpoints"):
            raise bad(str(path), expected="weights of one moment", got="files of two", remedy="that slice was killed")
        states = entry(state, "checkpoints")
        for name, tensor in tensors.items():
            whose, checkpoint, key = name.split(BETWEEN, 2)
            if whose == job:
                value = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
                checkpoints.setdefault(checkpoint, {})[key] = value
    if n_parts != len(paths) or LAST not in checkpoints:
        raise bad(str(folder), expected=f"all files of weights of {job}", got=f"{len(paths)} of {n_parts or 1}")
    for checkpoint, own in checkpoints.items():
        if checkpoint not in (LAST, EVALUATED, SELECTED):
            raise bad(str(folder), expected="checkpoints of a training", got=repr(checkpoint))
        known = entry(states, BETWEEN.join((job, checkpoint)))
        if checkpoint == LAST and SELECTED not in checkpoints:
            known = {**known, "selected": None}
        state = json.dumps(known)
        text = json.dumps({**json.loads(state), "sha256": digest_of(own, state)})
        write_atomic(run / "checkpoints" / checkpoint, save(own, metadata={"state": text}))


def epoch_of(run: Path) -> int:
    """Epochs that are over in a training's last checkpoint.

    Args:
        run: its directory.

    Returns:
        Their number.

    Raises:
        BadRequest: a damaged checkpoint.
    """
    _, state = read_safetensors(run / "checkpoints" / LAST)
    return int(state.get("epoch", 0))


def note_continuation(run: Path) -> None:
    """Write into environment.json that an unfinished training goes on from rounded weights.

    Args:
        run: its directory, with the checkpoint.

    Raises:
        BadRequest: a damaged file.
    """
    path = run / "environment.json"
    made_in = read_json_object(path, follow=False)
    earlier = made_in.get(CONTINUED, [])
    here: dict[str, object] = {"epoch": epoch_of(run), "weights": "bfloat16"}
    if not (run / "checkpoints" / SELECTED).exists():
        here["selected"] = "among later epochs"
    write_atomic(path, dump_json({**made_in, CONTINUED: [*_list(earlier), here]}))


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def mark(run: Run, readers_of: Mapping[Path, str]) -> None:
    """Say in the summary of a finished run that rounded weights are behind it, if they are.

    Args:
        run: finished.
        readers_of: directory of a run with restored weights -> words for what reads it.

    Raises:
        BadRequest: a damaged file.
    """
    made_in = read_json_object(run.path / "environment.json", follow=False)
    marks: list[str] = []
    for one in _list(made_in.get(CONTINUED)):
        epoch = one.get("epoch") if isinstance(one, dict) else None
        words = f"after epoch {epoch}"
        if isinstance(one, dict) and "selected" in one:
            words += ", the selected network is one of later epochs"
        marks.append(words)
    source = ""
    if marks:
        source = f"a continuation from bfloat16 weights ({'; '.join(marks)})"
    settings = json.dumps(run.config)
    for folder, words in readers_of.items():
        if str(folder) in settings:
            source = words
    if source:
        run.write_summary({**run.summary, "provenance": source})
