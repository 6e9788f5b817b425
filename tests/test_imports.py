"""The layers of the design: imports point down only, folders on one floor never import one another."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "cgro"
FLOORS = {
    "__init__": 0, "_check": 0, "_exits": 0, "_interrupt": 0, "_progress": 0, "catalog": 0, "environment": 0, "folder": 0, "named": 0, "own_code": 0, "ranks": 0, "reading": 0, "remedy_names": 0, "resuming": 0, "results": 0, "rows": 0, "runs": 0, "seal": 0,
    "trajectory": 0, "trust": 0, "writing": 0,
    "definitions": 1, "bounds": 1, "data": 1, "models": 1, "report": 1,
    "representation": 2, "dynamics": 2, "training": 2, "flatness": 2,
    "diagnosis": 3, "speed": 3, "commands": 4, "integrations": 4, "jobs": 5, "comparison": 6, "experiments": 6, "cli": 7, "__main__": 8,
}  # fmt: skip
WITHOUT_TORCH = (
    "_check", "_exits", "_interrupt", "_progress", "catalog", "environment", "folder", "named", "own_code", "reading", "remedy_names", "resuming", "results", "rows", "runs", "seal", "trajectory", "trust", "writing",
    "report", "cli",
)  # fmt: skip
LAZY = ("cli", "__init__")
"""Front doors, which import when they are used; below is held that they load nothing before."""


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(text: str) -> set[str]:
    """Full names of the modules that a source file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def faults(where: str, text: str) -> list[str]:
    """What a file of room `where` imports against the rules."""
    found = []
    for name in imports(text):
        first, *rest = name.split(".")
        if first == "torch" and where in WITHOUT_TORCH:
            found.append(f"{where} imports torch")
        if first != "cgro" or not rest:
            continue
        target = rest[0] if rest[0] in FLOORS else "__init__"
        upward = FLOORS[target] > FLOORS[where]
        sideways = target != where and FLOORS[target] == FLOORS[where] > 0
        if (upward or sideways) and where not in LAZY:
            found.append(f"{where} imports {name}")
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    assert room(path) in FLOORS, f"give {room(path)} a floor"
    assert not faults(room(path), path.read_text())


@pytest.mark.parametrize(
    ("where", "text"),
    [("definitions", "from cgro.training import fit"), ("data", "import cgro.models.networks"),
     ("training", "def f():\n    from cgro.dynamics import simulate"), ("report", "import torch"),
     ("runs", "from torch import Tensor")],
)  # fmt: skip
def test_planted_imports_are_caught(where: str, text: str) -> None:
    assert faults(where, text)


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from cgro.cli import main; main(['--help']); print(sorted(m for m in sys.modules if m in ('torch', 'numpy', 'jsonargparse', 'matplotlib', 'yaml')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_what_does_not_train_loads_no_framework_for_training() -> None:
    """Lightning, and torch._dynamo with it, take as long to import as everything else."""
    reading = ("evaluate", "diagnose", "lint", "report", "flatness", "memory", "memorize", "separation", "dynamics")
    code = (
        f"import importlib, sys; [importlib.import_module('cgro.commands.' + name) for name in {reading}]; "
        "print([name for name in ('lightning_fabric', 'torch._dynamo', 'scipy.optimize') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_itself_loads_nothing_until_the_monitor_is_asked_for() -> None:
    code = (
        "import sys; before = set(sys.modules); import cgro; "
        "print(sorted(m for m in set(sys.modules) - before if m.partition('.')[0] in ('cgro', 'torch', 'numpy'))); "
        "from cgro import Monitor; print(Monitor.__module__, 'torch' in sys.modules, hasattr(cgro, 'Monitr'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['cgro']", "cgro.diagnosis.monitor.loop True False"]


def test_importing_everything_prints_nothing_and_changes_no_global_state() -> None:
    modules = [".".join(("cgro", *p.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
               for p in SOURCE.rglob("*.py") if p.name != "__main__.py"]  # fmt: skip
    code = (
        "import torch, importlib\n"
        "before = torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype()\n"
        f"[importlib.import_module(m) for m in {modules!r}]\n"
        "assert torch.equal(before[0], torch.get_rng_state())\n"
        "assert before[1:] == (torch.get_num_threads(), torch.get_default_dtype())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def hidden(package: Path, text: str) -> list[str]:
    """Names that a package exports from one of its modules and that another of its modules has.

    Which of the two `from package import name` gives would depend on which was imported last.
    """
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = alias.asname or alias.name
                is_module = (package / f"{name}.py").exists() or (package / name / "__init__.py").exists()
                if is_module and str(node.module).split(".")[-1] != name:
                    found.append(name)
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("__init__.py")), ids=lambda p: str(p.relative_to(SOURCE).parent))
def test_no_name_of_a_package_hides_another_module(path: Path) -> None:
    assert hidden(path.parent, path.read_text()) == []


def test_a_hidden_module_is_found() -> None:
    planted = "from cgro.diagnosis.model import lint, measure\nfrom cgro.diagnosis.lint import lint"
    assert hidden(SOURCE / "diagnosis", planted) == ["lint"]
