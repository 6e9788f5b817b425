"""The folder of a run: one process at a time, no link that leads out, nothing deleted but what a run wrote."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cgro._check import BadRequest
from cgro.folder import (
    DRAFT,
    LOCK,
    check_links,
    clean,
    delete,
    entries,
    fresh,
    held,
    is_new,
    remove_set_aside,
    seed_folders,
    strangers,
)
from tests.test_writing import a_dead_process


def run_folder(root: Path, *files: str) -> Path:
    """A folder with these files, empty."""
    for name in ("config.yaml", "environment.json", LOCK, *files):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return root


def test_another_process_is_refused_while_a_folder_is_held(tmp_path: Path) -> None:
    """A lock belongs to an open file, so another one in this process is refused like that of another process."""
    with held(tmp_path):
        with pytest.raises(BadRequest, match="another process is working in it"), held(tmp_path):
            pass
        code = f"from pathlib import Path; from cgro.folder import held; held(Path({str(tmp_path)!r})).__enter__()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "another process is working in it" in done.stderr
    with held(tmp_path):
        pass


def test_a_folder_that_was_moved_is_told_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(BadRequest, match="moved or deleted"), held(folder):
        folder.rename(tmp_path / "elsewhere")


def test_an_error_inside_is_not_hidden_by_the_lock(tmp_path: Path) -> None:
    def lose_the_lock_and_fail() -> None:
        (tmp_path / LOCK).unlink()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), held(tmp_path):
        lose_the_lock_and_fail()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe"])
def test_a_lock_that_is_no_file_is_not_written_through(tmp_path: Path, kind: str) -> None:
    lock = tmp_path / "run" / LOCK
    lock.parent.mkdir()
    (tmp_path / "theirs").write_text("theirs")
    if kind == "folder":
        lock.mkdir()
    elif kind == "pipe":
        os.mkfifo(lock)
    else:
        lock.symlink_to(tmp_path / ("theirs" if kind == "link" else "none"))
    with pytest.raises(BadRequest, match="expected a regular file"), held(lock.parent):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "theirs"]


def test_entries_stop_at_runs_with_a_lock_of_their_own(tmp_path: Path) -> None:
    run_folder(tmp_path, "figures/a.png", f"seed-0/{LOCK}", "seed-0/figures/b.png", "checkpoints/deep/c.json")
    (tmp_path / "figures" / "link").symlink_to(tmp_path)
    found = {path.relative_to(tmp_path).as_posix() for path in entries(tmp_path)}
    assert {"figures", "figures/a.png", "figures/link", "seed-0", "checkpoints/deep/c.json"} <= found
    assert not any(name.startswith("seed-0/") for name in found)


def test_links_may_stay_inside_or_belong_to_trackers(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", "figures/a.png", "wandb/log.json")
    (folder / "figures" / "same.png").symlink_to("a.png")
    (folder / "wandb" / "latest").symlink_to("/tmp")
    check_links(folder)
    for place, target in (("figures/out.png", tmp_path), ("figures/none", "nowhere"), ("tensorboard", tmp_path)):
        link = folder / place
        link.symlink_to(target)
        with pytest.raises(BadRequest, match="expected no link out of the run"):
            check_links(folder)
        link.unlink()


@pytest.mark.parametrize(
    ("locked", "link"),
    [
        ("evaluations", "evaluations/pgd10"),
        ("checkpoints", "checkpoints/last.safetensors"),
        ("flatness", "flatness/last/deep"),
        ("seed-0", "seed-0/figures/a.png"),
        ("evaluations/pgd10", "evaluations/pgd10/test"),
        ("figures", "wandb"),
    ],
)
def test_a_lock_of_its_own_hides_no_link(tmp_path: Path, locked: str, link: str) -> None:
    """Planted: a lock makes a run of a folder, and runs in a run were passed over: with one in `evaluations`, an
    evaluation of a run of others wrote outside of it."""
    folder = run_folder(tmp_path / "run", f"{locked}/{LOCK}", "figures/b.png")
    (folder / link).parent.mkdir(parents=True, exist_ok=True)
    (folder / link).symlink_to(tmp_path)
    with pytest.raises(BadRequest, match="expected no link out of the run"):
        check_links(folder)
    (folder / link).unlink()
    (folder / link).symlink_to(folder / "figures")
    check_links(folder)


def test_links_of_trackers_are_left_alone_in_the_runs_of_a_run_too(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", f"seed-0/{LOCK}", "seed-0/wandb/log.json", "figures/wandb/log.json")
    (folder / "seed-0" / "wandb" / "latest").symlink_to("/tmp")
    check_links(folder)
    (folder / "figures" / "wandb" / "latest").symlink_to("/tmp")
    with pytest.raises(BadRequest, match="expected no link out of the run"):
        check_links(folder)


def test_seeds_are_folders_named_by_a_number_in_its_order(tmp_path: Path) -> None:
    """Planted: every folder whose name begins so was a seed, a copy of one and a link to another run among them."""
    run = tmp_path / "run"
    for name in ("seed-10", "seed-2", "seed-0", "seed-0-backup", "seed-x", "seed-1.old"):
        run_folder(run / name)
    (run / "seed-3").symlink_to(run_folder(tmp_path / "other"))
    (run / "seed-4").write_text("a file")
    assert [path.name for path in seed_folders(run)] == ["seed-0", "seed-2", "seed-10"]
    assert seed_folders(run / "seed-0") == []


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    dead = a_dead_process()
    folder = run_folder(tmp_path, DRAFT, f".summary.json.{dead}.tmp", f"figures/.a.png.{dead}.tmp", "figures/a.png")
    clean(folder)
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert left == {"config.yaml", "environment.json", LOCK, "figures/a.png"}


def test_a_new_folder_has_at_most_the_first_files(tmp_path: Path) -> None:
    assert is_new(tmp_path)
    for name in (LOCK, "environment.json", ".config.yaml.123.tmp"):
        (tmp_path / name).write_text("")
        assert is_new(tmp_path)
    (tmp_path / "config.yaml").write_text("")
    assert not is_new(tmp_path)


def test_strangers_are_what_no_run_writes(tmp_path: Path) -> None:
    run_folder(tmp_path, "metrics.jsonl", "figures/a.png", "seed-12/summary.json", "wandb/anything.py", "table1/x.csv")
    assert strangers(tmp_path, ("table1",)) == []
    assert strangers(tmp_path) == [tmp_path / "table1"]
    for name in ("notes.txt", "figures/thesis.tex", "seed-x/summary.json", "my/a.json"):
        run_folder(tmp_path, name)
    (tmp_path / "figures" / "link.png").symlink_to("a.png")
    (tmp_path / "summary.json").symlink_to("metrics.jsonl")
    found = {path.relative_to(tmp_path).as_posix() for path in strangers(tmp_path, ("table1",))}
    assert found == {"notes.txt", "figures/thesis.tex", "seed-x", "my", "figures/link.png", "summary.json"}


def test_only_a_whole_run_is_deleted(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", "notes.txt")
    with pytest.raises(BadRequest, match=r"got notes.txt; nothing was deleted"):
        delete(folder)
    (folder / "notes.txt").unlink()
    link = tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(BadRequest, match="a link to one"):
        delete(link)
    with held(folder), pytest.raises(BadRequest, match="another process"):
        delete(folder)
    assert (folder / "config.yaml").exists()
    delete(folder)
    assert list(tmp_path.iterdir()) == [link]


def test_what_a_killed_process_was_deleting_is_deleted(tmp_path: Path) -> None:
    dead = a_dead_process()
    kept = [f".run.{os.getppid()}.old", f".other.{dead}.old", ".run.old"]
    for name in (f".run.{dead}.old", *kept):
        run_folder(tmp_path / name)
    (tmp_path / f".run.{dead}1.old").symlink_to(tmp_path / kept[0])
    remove_set_aside(tmp_path / "run")
    assert {path.name for path in tmp_path.iterdir()} == {*kept, f".run.{dead}1.old"}
    remove_set_aside(tmp_path / "no" / "such" / "run")


def test_a_fresh_folder_is_always_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = [fresh("train") for _ in range(3)]
    assert len(set(found)) == 3
    for path in found:
        assert path.parent == Path("runs")
        assert path.name.startswith("train-")
        assert list(path.iterdir()) == []
