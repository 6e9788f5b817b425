"""What a result was computed with: versions, commit, machine, threads. Read, never changed. No torch is imported."""

import contextlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType

import msgspec
from msgspec import Struct

from cgro import __version__
from cgro._check import one_line
from cgro.reading import read_json
from cgro.results import read_value

SCHEMA = 1
"""Version of the files of a run."""
PACKAGES = (
    "cgro",
    "torch",
    "numpy",
    "lightning-fabric",
    "safetensors",
    "mlxtend",
    "scikit-learn",
    "pillow",
    "timm",
    "huggingface_hub",
)
"""Packages whose versions are recorded, as the package index calls them."""
DECISIVE = {
    "cgro": ("cgro",),
    "torch": ("versions", "torch"),
    "numpy": ("versions", "numpy"),
    "commit": ("commit",),
    "threads": ("threads",),
    "processor": ("machine", "processor"),
    "instructions": ("machine", "instructions"),
    "GPU": ("machine", "gpu"),
    "driver": ("machine", "accelerator", "driver"),
    "cuDNN": ("machine", "accelerator", "cudnn"),
}
"""Where the entries are that decide the last bits of a training, by the name a message gives them."""
DRIVER = Path("/proc/driver/nvidia/version")
"""Where the driver of NVIDIA says its version."""
ARCHIVED = "commit.txt"
"""Into which `git archive` writes its commit, as .gitattributes says."""
COMMIT = "CGRO_COMMIT"
"""Environment variable: the commit of a source tree that was copied without its repository."""
GIT_SECONDS = 5
"""After which git counts as failed. A choice: a repository on a slow network disk."""


class Accelerator(Struct, frozen=True, kw_only=True):
    """What beside the model of a GPU decides its bits and its speed, as the process had it set.

    Commands change some of it while they compute: `fit` takes deterministic convolutions, and errors are evaluated
    without TF32, whatever is set here.

    Attributes:
        driver: version of the driver; None where the system does not say.
        cuda: version of CUDA that torch was built for; None for other kinds of GPU.
        cudnn: version of cuDNN; None without it.
        tf32_convolutions: whether convolutions of float32 may be computed in TF32; None where torch does not say.
        float32_products: how products of float32 are computed: highest, high (TF32) or medium (bfloat16); None where
            torch does not say.
        deterministic: whether cuDNN may take deterministic kernels alone.
        benchmark: whether cuDNN tries its kernels out on each new size.
    """

    driver: str | None
    cuda: str | None
    cudnn: int | None
    tf32_convolutions: bool | None
    float32_products: str | None
    deterministic: bool
    benchmark: bool


class Machine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The machine that a result was computed on.

    Attributes:
        system: such as Linux.
        processor: its model.
        cores: number of logical processors; None where the system does not say.
        instructions: the widest vector instructions that torch uses, which decide whether `auto` searches run in
            bfloat16; None, and not written, where torch was not loaded.
        gpu: its model; None, and not written, where there is none.
        accelerator: more of it; None, and not written, where there is none, and in records before it was noted.
    """

    system: str
    processor: str
    cores: int | None
    instructions: str | None = None
    gpu: str | None = None
    accelerator: Accelerator | None = None

    @property
    def text(self) -> str:
        """One phrase."""
        parts = [self.processor]
        if self.cores is not None:
            parts.append(f"{self.cores} cores")
        return ", ".join([*parts, *filter(None, (self.instructions, self.gpu))])


class Environment(Struct, frozen=True, kw_only=True):
    """What `environment.json` begins with; runs add their settings, and what changed when they were resumed.

    Attributes:
        schema: version of the files of a run.
        cgro: version of this program.
        python: version of Python.
        versions: of the packages that are installed, by name.
        commit: of the source tree; None for an installed wheel.
        machine: hardware.
        threads: of torch; None where torch was not loaded.
        seed: that was asked for; None if the command has none.
    """

    schema: int
    cgro: str
    python: str
    versions: Mapping[str, str]
    commit: str | None
    machine: Machine
    threads: int | None
    seed: int | None


def current_environment(seed: int | None = None) -> Environment:
    """Versions, commit, machine and threads of this process.

    Args:
        seed: of the command that asks.

    Returns:
        The environment; of torch only what is known without importing it.
    """
    versions: dict[str, str] = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    torch = sys.modules.get("torch")
    return Environment(
        schema=SCHEMA,
        cgro=__version__,
        python=platform.python_version(),
        versions=versions,
        commit=source_commit(),
        machine=_machine(torch),
        threads=None if torch is None else torch.get_num_threads(),
        seed=seed,
    )


def environment(seed: int | None = None) -> dict[str, object]:
    """`current_environment` as plain values, to be written.

    Args:
        seed: of the command that asks.

    Returns:
        Name -> value.
    """
    return msgspec.to_builtins(current_environment(seed))


def read_environment(path: Path) -> Environment:
    """The environment in an `environment.json`; a link is not followed.

    Args:
        path: of the file, of a run or of an artifact. Further entries, such as a run's settings, are left out.

    Returns:
        The environment that the file says.

    Raises:
        BadRequest: missing, damaged, or values of other types (says which).
    """
    return read_value(read_json(path, follow=False), str(path), Environment)


def changes(before: Mapping[str, object], now: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    """Entries of `DECISIVE` in which two environments differ; what one of them does not know is left out.

    Args:
        before: plain values as in `environment.json`, which may be damaged.
        now: likewise.

    Returns:
        The old and the new value by the name of the entry.

    Example:
        >>> changes({"threads": 1, "cgro": "0.1.0"}, {"threads": 2, "cgro": "0.1.0"})
        {'threads': (1, 2)}
    """
    found: dict[str, tuple[object, object]] = {}
    for name, path in DECISIVE.items():
        old = _entry(before, path)
        new = _entry(now, path)
        if old is not None and new is not None and old != new:
            found[name] = (old, new)
    return found


def sentence(differences: Mapping[str, tuple[object, object]]) -> str:
    """The differences for a person.

    Args:
        differences: as from `changes`.

    Returns:
        A list in words.

    Example:
        >>> sentence({"threads": (1, 2), "torch": ("2.6.0", "2.13.0")})
        'threads 2 (1 before), torch 2.13.0 (2.6.0 before)'
    """
    parts: list[str] = []
    for name, (old, new) in differences.items():
        parts.append(f"{name} {one_line(str(new), 80)} ({one_line(str(old), 80)} before)")
    return ", ".join(parts)


def _entry(value: object, path: tuple[str, ...]) -> object:
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _machine(torch: ModuleType | None) -> Machine:
    instructions = None
    gpu = None
    accelerator = None
    if torch is not None:
        instructions = torch.backends.cpu.get_cpu_capability()
        if torch.cuda.is_available():
            gpu = torch.cuda.get_device_name()
            accelerator = accelerator_of(torch, DRIVER)
    return Machine(
        system=platform.system(),
        processor=_processor(),
        cores=os.cpu_count(),
        instructions=instructions,
        gpu=gpu,
        accelerator=accelerator,
    )


def accelerator_of(torch: ModuleType, driver: Path) -> Accelerator:
    """What is set of a GPU, and what runs it.

    Args:
        torch: the module; it is not imported here.
        driver: the file in which the driver says its version.

    Returns:
        As the process has it at this moment.
    """
    version = None
    with contextlib.suppress(OSError):
        found = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)\s", driver.read_text(errors="replace"))
        if found is not None:
            version = found.group(1)
    cudnn = torch.backends.cudnn
    # Torch refuses to say where older and newer flags were both used.
    tf32_convolutions = None
    float32_products = None
    with contextlib.suppress(RuntimeError):
        tf32_convolutions = cudnn.allow_tf32
    with contextlib.suppress(RuntimeError):
        float32_products = torch.get_float32_matmul_precision()
    return Accelerator(
        driver=version,
        cuda=torch.version.cuda,
        cudnn=cudnn.version(),
        tf32_convolutions=tf32_convolutions,
        float32_products=float32_products,
        deterministic=cudnn.deterministic,
        benchmark=cudnn.benchmark,
    )


def source_commit() -> str | None:
    """The commit of the source tree this package runs from.

    A wheel in PROJECT/.venv lies inside somebody's repository, whose commit says nothing of this package: only a
    repository that holds it as src/cgro counts. Variables such as GIT_DIR, which hooks set, point elsewhere and are
    left out; so is core.fsmonitor, a program that `git status` would run.

    A tree that travels without its repository is that of the commit which `git archive` wrote into it, else of the one
    in the variable `COMMIT`, if its sender set it. Whether files were changed since, nobody can say there.

    Returns:
        The commit, with "-dirty" behind it if files were changed, "-unchecked" if that is not known; None for an
        installed wheel, and where nobody says.
    """
    here = Path(__file__).resolve().parent
    top = _git(here, "rev-parse", "--show-toplevel")
    if top is None or Path(top) / "src" / "cgro" != here:
        return _told_commit(here)
    head = _git(here, "rev-parse", "HEAD")
    if head is None:
        return _told_commit(here)
    if _git(here, "status", "--porcelain", "--", str(here)):
        return f"{head}-dirty"
    return head


def _told_commit(here: Path) -> str | None:
    """The commit of a source tree without a repository, by who packed it."""
    if here.parent.name != "src":
        return None
    texts = [os.environ.get(COMMIT, "")]
    with contextlib.suppress(OSError):
        texts.insert(0, (here / ARCHIVED).read_text(errors="replace"))
    for text in texts:
        if re.fullmatch(r"[0-9a-f]{40}", text.strip()):
            return f"{text.strip()}-unchecked"
    return None


def _git(folder: Path, *words: str) -> str | None:
    """What a git command prints; None where it fails or there is no git."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # No optional locks: killed, or on a full disk, `git status` would leave index.lock in the user's repository.
    command = ["git", "--no-optional-locks", "-C", str(folder), "-c", "core.fsmonitor=false", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, env=own)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    if done.returncode:
        return None
    return done.stdout.strip()


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.startswith("model name"):
                return value.strip()
    return platform.processor() or platform.machine()
