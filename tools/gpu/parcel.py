"""What a slice leaves in $OUT, rewritten as it goes, so that whatever ends it leaves what it had.

    slice.json              what was done, how fast, what is open and why
    results.zip             runs/JOB of finished jobs; beside/JOB, what goes with the weights of a training;
                            table/table.json
    weights-N.safetensors   networks in bfloat16; with the optimizer where a training was cut off
    checks/table.json       the checks of the machine

At most 8 files of at most 16 MiB.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct, field
from tools.gpu.pace import Pace
from tools.gpu.weights import EXAMPLES, SMALL, packed

from cgro.environment import Environment
from cgro.jobs.plan import Scale
from cgro.runs import Run, dump_json, write_atomic

RECORD = "slice.json"
RESULTS = "results.zip"
WEIGHTS = "weights-*.safetensors"
EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)
"""The date of all entries: equal results are equal files."""


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """What slice.json holds.

    Attributes:
        environment: versions, commit, machine, driver, flags.
        scale: of the jobs: gpu; smoke for a dry run.
        item: its name.
        words: what it is.
        minutes: that it was given.
        device: that it was given.
        end: why it ended; "under way" until then.
        pace: of the training; None where nothing was trained against an attack.
        epochs: that were chosen for it; None likewise.
        done: names of finished jobs.
        open: job -> why it is not finished.
        trainings: names of trainings whose weights lie beside.
        left_out: checkpoint -> why its weights do not.
        remarks: what else is to be known.
        seconds: part of the slice -> how long it took.
    """

    environment: Environment
    scale: Scale
    item: str
    words: str
    minutes: float
    device: str
    end: str = "under way"
    pace: Pace | None = None
    epochs: int | None = None
    done: list[str] = field(default_factory=list)
    open: dict[str, str] = field(default_factory=dict)
    trainings: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def write_record(out: Path, record: Record) -> None:
    """Write slice.json.

    Args:
        out: the folder.
        record: its content.
    """
    write_atomic(out / RECORD, dump_json(msgspec.to_builtins(record)))


def write_results(out: Path, store: Path, trainings: Sequence[Run], runs: Path) -> None:
    """Write results.zip.

    Args:
        out: the folder.
        store: with what is finished.
        trainings: those begun whose weights lie beside: of a finished one its examples, of another all to go on with.
        runs: the folder of runs that they lie in.
    """
    files: dict[str, bytes] = {}
    for path in sorted(store.rglob("*")):
        relative = path.relative_to(store)
        if path.is_file() and not relative.parts[0].startswith("."):
            files[relative.as_posix()] = path.read_bytes()
    for run in trainings:
        names = (EXAMPLES,) if run.finished else SMALL
        for name in names:
            if (run.path / name).exists():
                files[f"beside/{run.path.relative_to(runs).as_posix()}/{name}"] = (run.path / name).read_bytes()
    write_atomic(out / RESULTS, zipped(files))


def zipped(files: Mapping[str, bytes]) -> bytes:
    """An archive.

    Args:
        files: name -> content.

    Returns:
        The bytes of a zip file; the same for the same files.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH_OF_ZIP), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def write_weights(out: Path, runs: Path, jobs: Sequence[str]) -> dict[str, str]:
    """Write the files of weights in the place of earlier ones.

    Args:
        out: the folder.
        runs: the folder of runs.
        jobs: names of trainings.

    Returns:
        Checkpoint -> why it was left out.

    Raises:
        BadRequest: a checkpoint is damaged.
    """
    found = packed(runs, jobs)
    for name, content in found.files.items():
        write_atomic(out / name, content)
    for path in out.glob(WEIGHTS):
        if path.name not in found.files:
            path.unlink()
    return dict(found.left_out)
