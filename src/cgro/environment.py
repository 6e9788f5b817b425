"""What a result was computed with: versions, commit, machine, threads. Read, never changed. No torch is imported here."""

import contextlib
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from cgro import __version__
from cgro._check import one_line

SCHEMA = 1
"""Version of the files of a run."""
PACKAGES = (
    "cgro", "torch", "numpy", "lightning-fabric", "safetensors", "mlxtend", "scikit-learn", "pillow", "timm",
    "huggingface_hub",
)  # fmt: skip
DECISIVE = {
    "cgro": ("cgro",),
    "torch": ("versions", "torch"),
    "numpy": ("versions", "numpy"),
    "commit": ("commit",),
    "threads": ("threads",),
    "processor": ("machine", "processor"),
    "instructions": ("machine", "instructions"),
    "GPU": ("machine", "gpu"),
}
"""Entries that decide the last bits of a training, by the name a message gives them."""


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
        "commit": source_commit(),
        "machine": _machine(torch),
        "threads": torch.get_num_threads() if torch else None,
        "seed": seed,
    }


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Entries of `DECISIVE` in which two environments differ; what one of them does not know is left out.

    >>> changes({"threads": 1, "cgro": "0.1.0"}, {"threads": 2, "cgro": "0.1.0"})
    {'threads': (1, 2)}
    """
    found = {}
    for name, path in DECISIVE.items():
        old, new = _entry(before, path), _entry(now, path)
        if old is not None and new is not None and old != new:
            found[name] = (old, new)
    return found


def sentence(differences: Mapping[str, tuple[Any, Any]]) -> str:
    """The differences for a person.

    >>> sentence({"threads": (1, 2), "torch": ("2.6.0", "2.13.0")})
    'threads 2 (1 before), torch 2.13.0 (2.6.0 before)'
    """
    return ", ".join(f"{name} {one_line(str(new), 80)} ({one_line(str(old), 80)} before)"
                     for name, (old, new) in differences.items())  # fmt: skip


def _entry(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _machine(torch: Any | None) -> dict[str, Any]:
    """With the widest vector instructions, which decide whether `auto` searches run in bfloat16, and the GPU if there is one."""
    machine = {"system": platform.system(), "processor": _processor(), "cores": os.cpu_count()}
    if torch:
        machine["instructions"] = torch.backends.cpu.get_cpu_capability()
        if torch.cuda.is_available():
            machine["gpu"] = torch.cuda.get_device_name()
    return machine


def source_commit() -> str | None:
    """The commit of the source tree this package runs from, "-dirty" when changed; None for an installed wheel.

    A wheel in PROJECT/.venv lies inside somebody's repository, whose commit says nothing of this package: only a
    repository that holds it as src/cgro counts. Variables such as GIT_DIR, which hooks set, point elsewhere and are left out;
    so is core.fsmonitor, a program that `git status` would run.
    """
    here = Path(__file__).resolve().parent
    top = _git(here, "rev-parse", "--show-toplevel")
    if top is None or Path(top) / "src" / "cgro" != here:
        return None
    head, state = _git(here, "rev-parse", "HEAD"), _git(here, "status", "--porcelain", "--", str(here))
    if head is None:
        return None
    return f"{head}-dirty" if state else head


def _git(folder: Path, *words: str) -> str | None:
    """What a git command prints; None where it fails or there is no git."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, env=own)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return None if done.returncode else done.stdout.strip()


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
