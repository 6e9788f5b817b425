"""A run: one directory that holds all of a result and from which it can be made again. No torch here.

    config.yaml        complete and re-runnable: `cgro COMMAND --config DIR/config.yaml`
    environment.json   versions, git commit, machine, threads, seed
    metrics.jsonl      one row per epoch or recorded step
    summary.json       the result; written last, so a directory that has it is finished
    checkpoints/       plain data (safetensors with a JSON header), nothing that executes when loaded
    figures/           PNG and SVG

Every file is written beside its place and renamed into it: at any moment a reader, or the next process after a
kill or a full disk, sees the old file or the new one, never a part.
"""

import contextlib
import errno
import fcntl
import io
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cgro import __version__
from cgro._check import BadRequest, bad

SCHEMA = 1
DRAFT = ".summary.draft.json"
SUMMARY_KEYS = ("schema", "command", "seed", "threat", "outcome", "verdict", "metrics")
PACKAGES = (
    "cgro", "torch", "numpy", "lightning-fabric", "safetensors", "mlxtend", "scikit-learn", "pillow", "timm",
    "huggingface_hub",
)  # fmt: skip


def write_atomic(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`, whole or not at all.

    Raises:
        BadRequest: the disk is full or not writable; the old file is intact and nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _disk(error, path) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Replace the .npz file at `path`, whole or not at all; as `write_atomic`."""
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    write_atomic(path, content.getvalue())


def _disk(error: OSError, path: Path) -> BadRequest:
    why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else (error.strerror or str(error))
    return BadRequest(f"cannot write {path}: {why}; free space or choose another --out, then run it again to resume")


def plain(value: Any) -> Any:
    """Strict JSON: arrays to lists, NaN to null, infinities to "inf" / "-inf", tuples to lists.

    >>> plain({"p": float("inf"), "gap": float("nan"), "u": (1, 2)})
    {'p': 'inf', 'gap': None, 'u': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, Path):
        return str(value)
    return value


def dump_json(value: Any) -> bytes:
    """UTF-8 JSON with two spaces of indentation and a final newline."""
    return (json.dumps(plain(value), indent=2, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> Any:
    """Read a JSON file; a damaged one is one clear line."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise BadRequest(f"{path}: expected a file, found none; is this a run directory?") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path}: expected JSON, got a damaged file ({error}); restore it or run again") from None


def environment(seed: int | None = None) -> dict[str, Any]:
    """Versions, commit, machine and threads of this process."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    torch = sys.modules.get("torch")
    return {
        "schema": SCHEMA,
        "cgro": __version__,
        "python": platform.python_version(),
        "versions": versions,
        "commit": _commit(),
        "machine": _machine(torch),
        "threads": torch.get_num_threads() if torch else None,
        "seed": seed,
    }


def _machine(torch: Any | None) -> dict[str, Any]:
    """With the widest vector instructions, which decide whether `auto` searches run in bfloat16, and the GPU if there is one."""
    machine = {"system": platform.system(), "processor": _processor(), "cores": os.cpu_count()}
    if torch:
        machine["instructions"] = torch.backends.cpu.get_cpu_capability()
        if torch.cuda.is_available():
            machine["gpu"] = torch.cuda.get_device_name()
    return machine


def _commit() -> str | None:
    """The commit of the source tree this package runs from, "-dirty" when changed; None for an installed wheel."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
        state = subprocess.run(
            [*git, "status", "--porcelain", "--", str(here)], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if head.returncode:
        return None
    return head.stdout.strip() + ("-dirty" if state.stdout.strip() else "")


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def summary(
    command: str,
    *,
    seed: int,
    threat: Mapping[str, Any] | None,
    outcome: Mapping[str, Any],
    verdict: Mapping[str, Any] | None,
    metrics: Mapping[str, Any],
    **more: Any,
) -> dict[str, Any]:
    """The contents of `summary.json`: the fixed keys first, then what the command adds."""
    return {
        "schema": SCHEMA,
        "command": command,
        "seed": seed,
        "threat": threat,
        "outcome": outcome,
        "verdict": verdict,
        "metrics": metrics,
        **more,
    }


def over_seeds(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """Metrics over seeds: key -> {mean, sd, per_seed}, for the keys that every seed has.

    >>> over_seeds([{"metrics": {"e": {"value": 0.1}}}, {"metrics": {"e": {"value": 0.3}}}])["e"]["mean"]
    0.2
    """
    keys = set.intersection(*(set(s["metrics"]) for s in summaries))
    result = {}
    for key in sorted(keys):
        values = [s["metrics"][key]["value"] for s in summaries]
        known = [v for v in values if v is not None]
        result[key] = {
            "mean": float(np.mean(known)) if known else None,
            "sd": float(np.std(known, ddof=1)) if len(known) > 1 else None,
            "per_seed": values,
        }
    return result


@dataclass(frozen=True)
class Run:
    """One run directory. Create it with `Run.start`, read it with `Run.open`."""

    path: Path

    @classmethod
    def start(
        cls, path: str | Path | None, command: str, config: Mapping[str, Any], *, overwrite: bool = False
    ) -> "Run":
        """Begin a run, or take up the unfinished one that is already in `path`.

        Args:
            path: the directory; None means `runs/<command>-<time>`.
            command: the command's name.
            config: all of its settings, plain values.
            overwrite: delete what is there.

        Raises:
            BadRequest: `path` holds a finished run, a run with another configuration or of another version, or
                something that is no run.
        """
        path = Path(path) if path is not None else Path("runs") / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}"
        run = cls(path)
        if overwrite and path.exists():
            if any(path.iterdir()) and not (path / "config.yaml").exists():
                raise bad("--overwrite", expected="a run directory", got=path, remedy="it is no run: not deleted")
            shutil.rmtree(path)
        text = yaml.safe_dump(plain({"command": command, **config}), sort_keys=False)
        if (path / "config.yaml").exists():
            run.check_version()
            if run.finished:
                raise BadRequest(f"{path}: holds a finished run; choose another --out or add --overwrite")
            if (path / "config.yaml").read_text() != text:
                raise BadRequest(f"{path}: holds an unfinished run with other settings; use these, or add --overwrite")
            return run
        if path.exists() and any(p for p in path.iterdir() if p.name != ".lock"):
            raise bad("--out", expected="a new or empty directory", got=path, remedy="choose another")
        write_atomic(path / "environment.json", dump_json(environment(config.get("seed"))))
        write_atomic(path / "config.yaml", text.encode())
        return run

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """Open an existing run for reading.

        Raises:
            BadRequest: there is none at `path`, or it is of another version.
        """
        run = cls(Path(path))
        if not (run.path / "config.yaml").exists():
            raise bad("RUN", expected="a run directory (with config.yaml)", got=path)
        run.check_version()
        return run

    def check_version(self) -> None:
        """Refuse a run directory of another schema."""
        schema = read_json(self.path / "environment.json").get("schema")
        if schema != SCHEMA:
            raise bad(str(self.path), expected=f"run schema {SCHEMA}", got=schema, remedy="use the cgro that wrote it")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run against other processes.

        Raises:
            BadRequest: another process works in this directory.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.path / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BadRequest(
                    f"{self.path}: another process is working in it; wait, or choose another --out"
                ) from None
            yield

    @property
    def finished(self) -> bool:
        """Whether the summary has been written."""
        return (self.path / "summary.json").exists()

    @property
    def config(self) -> dict[str, Any]:
        """The settings, as in `config.yaml`."""
        try:
            value = yaml.safe_load((self.path / "config.yaml").read_text())
        except yaml.YAMLError as error:
            raise BadRequest(f"{self.path / 'config.yaml'}: not YAML ({error})".replace("\n", " ")) from None
        return dict(value)

    @property
    def summary(self) -> dict[str, Any]:
        """The result.

        Raises:
            BadRequest: the run is unfinished.
        """
        if not self.finished:
            raise BadRequest(f"{self.path}: unfinished; run its command again with --out {self.path} to resume it")
        return read_json(self.path / "summary.json")

    @property
    def result(self) -> dict[str, Any]:
        """The summary for those who draw it: also that of a run which is about to be finished."""
        draft = self.path / DRAFT
        return read_json(draft) if not self.finished and draft.exists() else self.summary

    def rows(self) -> list[dict[str, Any]]:
        """The rows of `metrics.jsonl`; a last line cut short by a kill is left out."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        rows, lines = [], path.read_text().splitlines()
        for n, line in enumerate(lines, 1):
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                if n < len(lines):
                    raise BadRequest(f"{path}: line {n} is damaged; restore it or run again") from None
        return rows

    def write_rows(self, rows: list[dict[str, Any]]) -> None:
        """Replace all rows at once. Loops call this per epoch, so a resumed run never repeats or loses one."""
        lines = (json.dumps(plain(row), allow_nan=False) for row in rows)
        write_atomic(self.path / "metrics.jsonl", "".join(line + "\n" for line in lines).encode())

    def finish(self, result: Mapping[str, Any], draw: Callable[[Path], object] | None = None) -> None:
        """Write `summary.json`, which marks the run as finished. Missing schema keys are an error of ours.

        Args:
            draw: makes the figures, called with the directory before the summary is in place: a finished run has all of
                its figures, whenever it is killed. It finds the summary under `Run.result`.
        """
        assert set(SUMMARY_KEYS) <= set(result), set(SUMMARY_KEYS) - set(result)
        if draw is not None:
            write_atomic(self.path / DRAFT, dump_json(result))
            draw(self.path)
        self.write_summary(result)
        (self.path / DRAFT).unlink(missing_ok=True)

    def write_summary(self, result: Mapping[str, Any]) -> None:
        """Replace the summary, for commands that add results to a finished run."""
        write_atomic(self.path / "summary.json", dump_json(result))

    def part(self, name: str) -> Path:
        """The directory of a part or of one seed."""
        return self.path / name

    def file(self, *parts: str) -> Path:
        """A path inside the run, its folder made."""
        path = self.path.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True)
class Unsaved:
    """The answer of a command that was asked to look, not to keep: a summary without a directory."""

    summary: dict[str, Any]
    path: None = None
