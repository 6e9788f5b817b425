"""A store's folders are replaced whole: killed before any file operation, the old ones are there or the new one."""

import subprocess
import sys
from pathlib import Path

import pytest

from cgro.jobs.folders import STAGE, held, replace

OLD = {"net/summary.json": "old", "net/config.yaml": "old", "eval/of/summary.json": "of the old one"}
NEW = {"net/summary.json": "new", "net/figures/a.svg": "new"}
PROGRAM = """
import os, signal, sys
from pathlib import Path
from cgro.jobs.folders import held, replace

root, at, seen = Path(sys.argv[1]), int(sys.argv[2]), 0

def hook(event, args):
    global seen
    if event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "open") and str(root) in str(args[0]):
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)

def fill(folder):
    (folder / "figures").mkdir()
    (folder / "summary.json").write_text("new")
    (folder / "figures" / "a.svg").write_text("new")

sys.addaudithook(hook)
with held(root):
    replace(root, root / "net", fill, outdated=[root / "eval" / "of"])
"""


def contents(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}


def laid_out(root: Path) -> Path:
    for name, text in OLD.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_killed_before_any_operation_the_store_holds_the_old_or_the_new(tmp_path: Path) -> None:
    found, struck = [], 0
    for at in range(1, 100):
        root = laid_out(tmp_path / str(at))
        done = subprocess.run([sys.executable, "-c", PROGRAM, str(root), str(at)])
        kept = contents(root).values()
        assert {"old", "of the old one"} <= set(kept) or "new" in kept, "neither here nor beside"
        with held(root):
            found.append(contents(root))
        assert not (root / STAGE).exists()
        if done.returncode == 0:
            break
        struck += 1
    assert struck > 10
    first_new = found.index(NEW)
    assert found[:first_new] == [OLD] * first_new
    assert found[first_new:] == [NEW] * (len(found) - first_new)
    assert 0 < first_new < struck


def test_a_full_disk_leaves_the_old_folder_and_nothing_beside(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "summary.json").write_text("new")
        raise OSError("full")

    root = laid_out(tmp_path)
    with held(root), pytest.raises(OSError, match="full"):
        replace(root, root / "net", fill)
    assert contents(root) == OLD
    assert not (root / STAGE).exists()


def test_another_process_waits(tmp_path: Path) -> None:
    root = laid_out(tmp_path)
    with held(root):
        other = subprocess.Popen([sys.executable, "-c", PROGRAM, str(root), "0"])
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=1.0)
        assert contents(root) == OLD
    assert other.wait(timeout=60) == 0
    assert contents(root) == NEW
