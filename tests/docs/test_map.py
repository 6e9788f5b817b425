"""docs/map.md: every path, name and command on the page exists, and no theorem, table or figure is without a test."""

import ast
import re
from pathlib import Path

import pytest

from cgro import cli

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "map.md"
LINES = PAGE.read_text().splitlines()
ITEMS = ("Theorem", "Lemma", "Table", "Figure", "Def.", "Bound")
"""What of the paper must have code and a test."""


def rows() -> list[list[str]]:
    """Cells of the rows of all tables, without their headings."""
    found: list[list[str]] = []
    for line, after in zip(LINES, [*LINES[1:], ""], strict=True):
        if line.startswith("| ") and not line.startswith("| ---") and not after.startswith("| ---"):
            found.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return found


def references(cell: str) -> list[str]:
    """What stands in code type, such as `path.py: name`."""
    return re.findall(r"`([^`]+)`", cell)


def place_of(path: str) -> list[Path]:
    """The files that a path or pattern means: of code, of tests, or of the project."""
    tests = path.startswith("test_") or "/test_" in path
    if not path.endswith(".py") or path.startswith(("benchmarks/", "tools/")):
        return sorted(ROOT.glob(path))
    folder = ROOT / ("tests" if tests else "src/cgro")
    return sorted(folder.glob(path))


def defined(file: Path) -> set[str]:
    """Names at the top of a module, and Class.method."""
    names: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names.add(node.name)
            names |= {f"{node.name}.{f.name}" for f in node.body if isinstance(f, ast.FunctionDef)}
        elif isinstance(node, ast.Assign):
            names |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def missing(reference: str) -> list[str]:
    """What a reference promises and the project does not have."""
    if reference.startswith("cgro "):
        return [] if reference.removeprefix("cgro ") in cli.COMMANDS else [reference]
    path, _, names = reference.partition(": ")
    files = place_of(path)
    if not files:
        return [path]
    if not names:
        return []
    return [f"{path}: {name}" for name in names.split(", ") if name not in defined(files[0])]


PATHS = sorted(
    {r for row in rows() for cell in row for r in references(cell) if "/" in r or ".py" in r or "cgro " in r}
)


@pytest.mark.parametrize("reference", PATHS)
def test_every_path_and_name_exists(reference: str) -> None:
    assert missing(reference) == []


def test_a_planted_name_is_missed() -> None:
    assert missing("definitions/metrics.py: robust_error, no_such_name") == ["definitions/metrics.py: no_such_name"]
    assert missing("definitions/test_metrics.py: no_such_test") == ["definitions/test_metrics.py: no_such_test"]
    assert missing("definitions/no_such_file.py") == ["definitions/no_such_file.py"]
    assert missing("cgro no-such-command") == ["cgro no-such-command"]
    assert missing("results/cpu/no_such_artifact") == ["results/cpu/no_such_artifact"]


def test_every_item_of_the_paper_has_code_and_a_test() -> None:
    items = [row for row in rows() if row[0].startswith(ITEMS)]
    assert len(items) >= 20
    for name, _, code, test, _ in items:
        assert any(".py" in r for r in references(code)), name
        assert any("test_" in r for r in references(test)), name


def test_every_artifact_and_folder_of_the_package_is_on_the_page() -> None:
    text = PAGE.read_text()
    for artifact in (ROOT / "results" / "cpu").iterdir():
        if (artifact / "summary.json").exists():
            assert f"`results/cpu/{artifact.name}`" in text, artifact.name
    for folder in (ROOT / "src" / "cgro").iterdir():
        if (folder / "__init__.py").exists():
            assert f"`{folder.name}/" in text, folder.name


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]*)", PAGE.read_text()):
        assert (PAGE.parent / target).exists(), target


def test_what_a_contributor_copies_exists_and_the_registry_beside_it_names_it() -> None:
    """Planted: remedies were to be entered in training/registry.py, which has no names since they have a file."""
    rows = [row for row in (ROOT / "CONTRIBUTING.md").read_text().splitlines() if row.startswith("   | ")][2:]
    assert len(rows) >= 7
    n_named = 0
    for row in rows:
        copied, registry = (re.findall(r"`([a-z_/0-9]+\.py)`", cell) for cell in row.split("|")[2:4])
        for path in (*copied, *registry):
            assert (ROOT / "src" / "cgro" / path).exists(), path
        for path in registry:
            text = (ROOT / "src" / "cgro" / path).read_text()
            assert all(Path(one).stem in text for one in copied), row
            n_named += len(copied)
    assert n_named >= 4
