"""Run directories: atomic, versioned, resumable, and refused in one line when they are not what they should be."""

import contextlib
import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from cgro import cli, folder, resuming, runs, writing
from cgro._check import BadRequest
from cgro.runs import SCHEMA, Run, dump_json, plain, write_atomic
from tests.cases import refused

CONFIG = {"seed": 3, "radius": "8/255", "parts": ("a", "b")}


def result(**more: object) -> dict:
    outcome = {"kind": "completed", "reason": ""}
    fixed = {"schema": SCHEMA, "command": "train", "seed": 3, "threat": None, "outcome": outcome, "verdict": None}
    return {**fixed, "metrics": {}, **more}


def started(path: Path, config: dict | None = None, **options: object) -> Run:
    """A run begun or taken up, and let go."""
    with Run.start(path, "train", CONFIG if config is None else config, **options) as run:
        return run


def finished(path: Path, rows: list[dict] | None = None, **more: object) -> Run:
    run = started(path)
    run.write_rows(rows or [{"epoch": 1, "robust_error/test": 0.5}])
    run.finish(result(**more))
    return run


def test_life_of_a_run(tmp_path: Path) -> None:
    run = started(tmp_path / "r")
    assert not run.finished
    assert run.config == {"command": "train", "seed": 3, "radius": "8/255", "parts": ["a", "b"]}
    run.write_rows([{"epoch": 1, "loss": np.float64(0.5)}, {"epoch": 2, "loss": float("nan")}])
    assert run.rows() == [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": None}]
    assert started(tmp_path / "r") == run  # taken up again
    run.finish(result())
    assert Run.open(tmp_path / "r").summary["schema"] == runs.SCHEMA
    refused(lambda: started(tmp_path / "r"), "--overwrite")
    assert not started(tmp_path / "r", overwrite=True).finished
    assert not list(tmp_path.glob(".r*"))


def test_refusals(tmp_path: Path) -> None:
    run = started(tmp_path / "r")
    refused(lambda: started(tmp_path / "r", {**CONFIG, "seed": 4}), "other settings", "seed 3 there, 4 here")
    refused(lambda: run.summary, "unfinished")
    refused(lambda: Run.open(tmp_path / "nothing"), "config.yaml")
    refused(lambda: Run.start("", "train", CONFIG).__enter__(), "--out")
    write_atomic(run.path / "environment.json", dump_json({"schema": 99}))
    refused(lambda: Run.open(run.path), "schema 1")
    (run.path / "environment.json").write_text("{")
    refused(lambda: Run.open(run.path), "damaged")
    (run.path / "environment.json").write_text("[]")
    refused(lambda: Run.open(run.path), "object")


@pytest.mark.parametrize(
    "config",
    [
        "trainer:\n  max_epochs: 50\n",
        "command: fit\n",
        "command: {desc: null, value: train}\n",
        "lr: !!python/name:os.system\n",
        "[1, 2]",
    ],
    ids=["LightningCLI", "another command", "Weights & Biases", "no plain YAML", "no mapping"],
)
def test_a_config_of_another_program_begins_no_run(tmp_path: Path, config: str) -> None:
    (tmp_path / "config.yaml").write_text(config)
    assert not Run(tmp_path).is_begun()
    refused(lambda: Run.open(tmp_path), "a run directory (with a config.yaml of cgro)")
    (tmp_path / "environment.json").write_text('{"python": "3.12"}')
    assert not Run(tmp_path).is_begun()


@pytest.mark.parametrize(
    ("file", "content"),
    [("config.yaml", ""), ("config.yaml", "lr: 1\n"), ("environment.json", "{"), ("environment.json", None)],
)
def test_a_damaged_run_is_still_one_and_refused(tmp_path: Path, file: str, content: str | None) -> None:
    run = started(tmp_path / "r")
    assert run.is_begun()
    (run.path / file).unlink()
    if content is not None:
        (run.path / file).write_text(content)
    assert run.is_begun()


def test_two_processes_on_one_run(tmp_path: Path) -> None:
    run = started(tmp_path / "r")
    with run.locked():
        refused(lambda: Run(run.path).locked().__enter__(), "another process")
        refused(lambda: started(tmp_path / "r"), "another process")
    with run.locked():
        pass


def test_two_commands_of_one_second_get_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda _: "now")
    paths = [started(None).path for _ in range(3)]
    assert [p.name for p in paths] == ["train-now", "train-now-2", "train-now-3"]


# ---------------------------------------------------------------- --overwrite


@pytest.mark.parametrize(
    "make",
    [
        lambda p: (p / "thesis.tex").write_text("years of work"),
        lambda p: [(p / "config.yaml").write_text("logging: info\n"), (p / "thesis.tex").write_text("years of work")],
        lambda p: [(p / "config.yaml").write_text("command: train\n"), (p / "environment.json").write_text('{"schema": 1}')],
        lambda p: [(p / "config.yaml").write_text("command: build\n"), (p / "environment.json").write_text('{"schema": 1, "cgro": ""}')],
        lambda p: [(p / "config.yaml").write_bytes(b"\xff"), (p / "environment.json").write_text("{}")],
    ],
)  # fmt: skip
def test_what_is_no_run_is_never_deleted(tmp_path: Path, make) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    make(folder)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    for overwrite in (False, True):
        with pytest.raises(BadRequest):
            started(folder, overwrite=overwrite)
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.name != ".lock"} == before


@pytest.mark.parametrize(
    "stranger", ["thesis.tex", "figures/talk.pptx", "seed-0/notes.txt", "src/main.py", "checkpoints/link"]
)
def test_a_run_with_something_of_the_users_in_it_is_not_deleted(tmp_path: Path, stranger: str) -> None:
    run = finished(tmp_path / "r")
    path = run.path / stranger
    path.parent.mkdir(exist_ok=True)
    if path.name == "link":
        path.symlink_to(tmp_path)
    else:
        path.write_text("mine")
    refused(lambda: started(run.path, overwrite=True), "nothing was deleted", stranger.split("/")[0])
    assert run.summary
    path.unlink()
    if not any(path.parent.iterdir()):
        path.parent.rmdir()
    assert not started(run.path, overwrite=True).finished


def test_a_run_that_is_being_written_is_not_deleted(tmp_path: Path) -> None:
    run = finished(tmp_path / "r")
    with run.locked():
        refused(lambda: started(run.path, overwrite=True), "another process")
    assert run.summary


def test_a_link_a_file_and_the_current_folder_are_not_deleted(tmp_path: Path) -> None:
    run = finished(tmp_path / "r")
    link = tmp_path / "link"
    link.symlink_to(run.path)
    refused(lambda: started(link, overwrite=True), "link")
    file = tmp_path / "file"
    file.write_text("text")
    refused(lambda: started(file, overwrite=True), "a file")
    assert run.summary


@pytest.mark.parametrize("name", ["file", "file/below", "broken"])
def test_what_is_in_the_way_of_a_directory_is_named(name: str, tmp_path: Path) -> None:
    """It said "free space or change --out"."""
    (tmp_path / "file").write_text("text")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    words = f"expected a directory, got {tmp_path / name}, where a file or a broken link is in the way"
    refused(lambda: started(tmp_path / name), words)


def test_killed_while_it_deletes_a_run_is_whole_or_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished(tmp_path / "r")

    def dies(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(folder.shutil, "rmtree", dies)
        with pytest.raises(KeyboardInterrupt):
            started(run.path, overwrite=True)
    assert not run.path.exists()
    (aside,) = tmp_path.glob(".r.*.old")
    assert not started(run.path, overwrite=True).finished
    assert not aside.exists()


def test_what_another_process_deletes_is_left_to_it(tmp_path: Path) -> None:
    started(tmp_path / "r")
    alive, other = tmp_path / f".r.{os.getppid()}.old", tmp_path / ".rest.999999999.old"
    for path in (alive, other):
        path.mkdir()
    started(tmp_path / "r")
    assert alive.exists()
    assert other.exists()


def test_every_command_that_writes_a_run_is_known() -> None:
    assert set(runs.COMMANDS) - {"monitor"} == set(cli.COMMANDS) - {"report", "runs"}


# ---------------------------------------------------------------- links, pipes, vanished folders


@pytest.mark.parametrize("name", [".lock", "figures", "evaluations", "checkpoints/networks"])
@pytest.mark.parametrize("target", ["folder", "file", "nothing", "/etc"])
def test_nothing_is_written_through_a_link_that_leads_out(tmp_path: Path, name: str, target: str) -> None:
    run = finished(tmp_path / "r")
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("precious")
    places = {"folder": victim, "file": victim / "file", "nothing": tmp_path / "none", "/etc": Path("/etc")}
    path = run.path / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(places[target])
    refused(lambda: run.locked().__enter__(), path.name)
    assert (victim / "file").read_text() == "precious"
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "name", ["figures", "checkpoints", "seed-1", "figures/a.png", "evaluations/deep/more", "seed-0/examples.npz"]
)
def test_nothing_is_read_through_a_link_that_leads_out(tmp_path: Path, name: str) -> None:
    """Planted: only writing was guarded, and `cgro report` put the pictures behind a link into the page to be sent."""
    run = finished(tmp_path / "run")
    private = tmp_path / "private"
    private.mkdir()
    link = run.path / name
    link.parent.mkdir(parents=True, exist_ok=True)
    if name.startswith("seed-0"):
        (link.parent / folder.LOCK).touch()
    link.symlink_to(private)
    refused(lambda: Run.open(run.path), str(link), "no link out of the run")
    link.unlink()
    link.symlink_to(link.parent)
    assert Run.open(run.path).finished
    (tmp_path / "named").symlink_to(run.path)  # by the reader, who knows where it leads
    assert Run.open(tmp_path / "named").finished


def test_links_inside_a_run_and_those_of_trackers_are_left_alone(tmp_path: Path) -> None:
    run = finished(tmp_path / "r")
    run.file("wandb", "files", "x.json").write_text("{}")
    (run.path / "wandb" / "latest").symlink_to(tmp_path)
    (run.path / "best").symlink_to(run.path / "summary.json")
    with run.locked():
        pass
    (run.path / "wandb" / "latest").unlink()
    (run.path / "tensorboard").symlink_to(tmp_path)
    refused(lambda: run.locked().__enter__(), "tensorboard")


def test_a_pipe_for_a_lock_is_refused_at_once(tmp_path: Path) -> None:
    run = finished(tmp_path / "r")
    (run.path / ".lock").unlink()
    os.mkfifo(run.path / ".lock")
    refused(lambda: run.locked().__enter__(), "named pipe")


@pytest.mark.parametrize("name", ["config.yaml", "environment.json", "metrics.jsonl", "summary.json"])
@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_files_of_a_run_are_regular_files(tmp_path: Path, name: str, kind: str) -> None:
    run = finished(tmp_path / "r")
    path = run.path / name
    path.rename(tmp_path / "old")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(tmp_path / "old")
    else:
        path.mkdir()
    refused(lambda: Run.open(run.path).rows(), name)


@pytest.mark.parametrize("how", ["moved", "deleted", "replaced"])
def test_a_folder_that_goes_away_is_an_error_and_is_not_made_anew(tmp_path: Path, how: str) -> None:
    run = started(tmp_path / "r")

    def work() -> None:
        with run.locked():
            run.write_rows([{"epoch": 1}])
            run.path.rename(tmp_path / "elsewhere")
            if how == "deleted":
                runs.folder.shutil.rmtree(tmp_path / "elsewhere")
            if how == "replaced":
                started(run.path)
                return
            run.write_rows([{"epoch": 2}])

    refused(work, "moved or deleted")
    assert run.path.exists() == (how == "replaced")


# ---------------------------------------------------------------- every moment can be resumed


@pytest.mark.parametrize("content", ["", "{", '{"schema": 1}', "x" * 100])
def test_a_folder_with_only_an_environment_however_cut_can_be_used(tmp_path: Path, content: str) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "environment.json").write_text(content)
    (tmp_path / "r" / ".environment.json.999999999.tmp").write_text(content)
    run = started(tmp_path / "r")
    assert run.config["seed"] == 3
    assert {p.name for p in run.path.iterdir()} == {".lock", "config.yaml", "environment.json"}


def test_what_killed_processes_left_is_removed_and_what_living_ones_write_is_not(tmp_path: Path) -> None:
    run = started(tmp_path / "r")
    dead = [run.file("checkpoints", ".last.safetensors.999999999.tmp"), run.file(".summary.draft.json")]
    alive = run.file(f".metrics.jsonl.{os.getppid()}.tmp")
    part = Run.start(run.path / "seed-0", "train", CONFIG)
    with part as seed:
        inside = seed.file(".x.999999999.tmp")
        for path in (*dead, alive, inside):
            path.write_text("half")
        with run.locked():
            pass
    assert not any(path.exists() for path in dead)
    assert alive.exists()
    assert inside.exists()  # that is for the one who holds the part


def test_a_run_of_an_older_version_is_taken_up_and_one_of_a_later_is_said(tmp_path: Path) -> None:
    new = {**CONFIG, "track": "none"}
    started(tmp_path / "old")
    assert started(tmp_path / "old", new, defaults={"track": "none"}).config["seed"] == 3
    refused(
        lambda: started(tmp_path / "old", {**CONFIG, "track": "wandb"}, defaults={"track": "none"}), "track none there"
    )
    refused(lambda: started(tmp_path / "old", new), "track")
    started(tmp_path / "later", {**new, "new_option": 1})
    text = refused(lambda: started(tmp_path / "later", new), "new_option", "cgro")
    assert "overwrite" not in text
    assert "delete" not in text


def test_other_software_and_threads_at_resumption_are_said_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(tmp_path / "r")
    started(tmp_path / "r")
    assert not capsys.readouterr().err
    made_in = json.loads((run.path / "environment.json").read_text())
    now = {**made_in, "threads": 64, "machine": {**made_in["machine"], "instructions": "AVX9"}}
    monkeypatch.setattr(resuming, "environment", lambda seed=None: now)
    for n in (1, 0):  # said once, not again by the next call on the same machine
        started(tmp_path / "r")
        told = capsys.readouterr().err
        assert told.count("\n") == n
    (entry,) = json.loads((run.path / "environment.json").read_text())["resumed"]
    assert entry["changed"]["threads"][1] == 64


PROCESS = """
import sys, time
from pathlib import Path
from cgro.runs import Run
Path(f"ready-{sys.argv[1]}").touch()
while not Path("go").exists():
    time.sleep(0.001)
with Run.start(None, "train", {"seed": int(sys.argv[1])}) as run:
    print(run.path, run.config["seed"])
"""


def test_processes_that_choose_the_default_folder_at_once_get_one_each(tmp_path: Path) -> None:
    n = 8
    processes = []
    for k in range(n):
        command = [sys.executable, "-c", PROCESS, str(k)]
        processes.append(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True))
    while len(list(tmp_path.glob("ready-*"))) < n:
        assert all(process.poll() is None for process in processes)
    (tmp_path / "go").touch()
    folders = set()
    for k, process in enumerate(processes):
        out, _ = process.communicate()
        assert process.returncode == 0
        place, seed = out.split()
        assert int(seed) == k, "its own settings"
        folders.add(place)
    assert folders == {f"runs/{path.name}" for path in (tmp_path / "runs").iterdir()}
    assert len(folders) == n


# ---------------------------------------------------------------- damage is noticed


def test_damage_to_the_files_of_a_finished_run_is_noticed(tmp_path: Path) -> None:
    """Every byte of every file that a reader believes: a digit, a bit, a cut, a line less."""
    run = finished(tmp_path / "r", [{"epoch": k, "robust_error/test": k / 10} for k in range(1, 6)])
    run.file("index_sets.json").write_text('{"train": [1, 2]}')
    run.write_summary(run.summary)
    Run.open(run.path).rows()
    for path in sorted(p for p in run.path.iterdir() if p.name not in (".lock", "config.yaml")):
        data = path.read_bytes()
        lines = data.splitlines(keepends=True)
        flipped = [data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :] for i in range(0, len(data), 7)]
        for bad in (*flipped, data[: len(data) // 2], b"", b"".join(lines[1:]), b"".join(lines[:-1])):
            path.write_bytes(bad)
            with pytest.raises(BadRequest):
                Run.open(run.path).rows()
        path.write_bytes(data)
    Run.open(run.path).rows()


def test_damage_to_the_configuration_of_a_run_changes_no_setting(tmp_path: Path) -> None:
    run = finished(tmp_path / "r")
    path, before = run.path / "config.yaml", run.config
    data = path.read_bytes()
    for i in range(len(data)):
        for bad in (data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :], data[:i]):
            path.write_bytes(bad)
            with contextlib.suppress(BadRequest):
                found = Run.open(run.path).config
                assert {k: found[k] for k in before} == before


def test_names_may_be_changed_by_hand_and_that_is_known(tmp_path: Path) -> None:
    run = started(tmp_path / "r", {"model": "old.nets:Net", "width": 8})
    assert not run.renamed
    (run.path / "config.yaml").write_text("command: train\nmodel: new.nets:Net\nwidth: null\n")
    assert run.config["model"] == "new.nets:Net"
    assert run.renamed == "model new.nets:Net (old.nets:Net when it ran), width None (8 when it ran)"


def test_a_damaged_configuration_of_an_unfinished_run_is_noticed_or_mended(tmp_path: Path) -> None:
    run = started(tmp_path / "r")
    text = (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").write_text(text.replace("seed: 3", "seed: 4"))
    refused(lambda: started(tmp_path / "r", {**CONFIG, "seed": 4}), "seed 4")
    (run.path / "config.yaml").write_text("command: train\n")  # cut at a line's end
    assert started(tmp_path / "r").config == {"command": "train", **plain(CONFIG)}


def test_a_run_without_digests_is_read_and_known_to_be_unchecked(tmp_path: Path) -> None:
    run = finished(tmp_path / "r")
    assert not run.unchecked
    found = json.loads((run.path / "summary.json").read_text())
    found["metrics"]["by_hand"] = {"value": 1}
    (run.path / "summary.json").write_text(json.dumps({**found, "provenance": None}))  # edited, and says so
    assert Run.open(run.path).unchecked
    del found["provenance"]
    (run.path / "summary.json").write_text(json.dumps(found))
    refused(lambda: Run.open(run.path), "summary.json")  # the version that wrote it knew digests
    made_in = json.loads((run.path / "environment.json").read_text())
    del made_in["settings"]
    (run.path / "environment.json").write_text(json.dumps(made_in))
    assert Run.open(run.path).unchecked  # of an older version


@pytest.mark.parametrize("value", [9.37, -0.01, "0.5", True, float("inf"), [0.1, 2.0]])
def test_errors_outside_the_unit_interval_are_refused(tmp_path: Path, value: object) -> None:
    run = started(tmp_path / "r")
    run.write_rows([{"epoch": 1, "robust_error/test": value}])
    refused(run.rows, "robust_error/test", "[0, 1]")
    run.write_rows([{"epoch": 1, "robust_error/test": 0.5, "clean_error/train": None, "rise/robust_error/test": 9.0}])
    assert len(run.rows()) == 1
    run.finish({**result(), "metrics": {"clean_error/test@pgd10": {"value": value}}})
    refused(lambda: run.summary, "clean_error/test@pgd10")


@pytest.mark.parametrize(
    "change", [lambda s: [], lambda s: {**s, "metrics": []}, lambda s: {**s, "outcome": None}, lambda s: {"schema": 1, "provenance": None},
               lambda s: {**s, "metrics": {"a": 1}}],
)  # fmt: skip
def test_a_summary_of_another_shape_is_one_line(tmp_path: Path, change) -> None:
    run = finished(tmp_path / "r")
    found = json.loads((run.path / "summary.json").read_text())
    found["provenance"] = None
    (run.path / "summary.json").write_text(json.dumps(change(found)))
    refused(lambda: Run.open(run.path), "summary.json")


@pytest.mark.parametrize("schema", [2, 0, "1", None])
def test_a_summary_of_another_schema_is_refused(tmp_path: Path, schema: object) -> None:
    """Planted: only the schema of environment.json was asked for, and the keys of a summary may mean something else."""
    run = finished(tmp_path / "r")
    found = json.loads((run.path / "summary.json").read_text())
    (run.path / "summary.json").write_text(json.dumps({**found, "provenance": None, "schema": schema}))
    refused(lambda: Run.open(run.path), "summary.json", "schema 1", "use the cgro that wrote it")


def test_a_full_disk_keeps_the_old_file_and_leaves_no_debris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_atomic(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writing.os, "fsync", full)
    with pytest.raises(ValueError, match="the disk is full") as caught:
        write_atomic(path, b"new")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_rows_cut_short_by_a_kill_are_recognized(tmp_path: Path) -> None:
    run = started(tmp_path / "r")
    (run.path / "metrics.jsonl").write_text('{"epoch": 1}\n{"epo')
    assert run.rows() == [{"epoch": 1}]
    (run.path / "metrics.jsonl").write_text('{"epo\n{"epoch": 1}\n')
    with pytest.raises(ValueError, match="line 1"):
        run.rows()


def test_json_is_strict() -> None:
    text = dump_json({"p": np.inf, "gap": np.nan, "u": np.array([1.0, -np.inf]), "n": np.int64(3)})
    assert json.loads(text, parse_constant=lambda c: pytest.fail(c)) == {
        "p": "inf",
        "gap": None,
        "u": [1.0, "-inf"],
        "n": 3,
    }
    assert plain(Path("a") / "b") == "a/b"


def test_a_finished_run_has_its_figures_whenever_it_is_killed(tmp_path: Path) -> None:
    """Killed while it draws a run is unfinished; the figures see the summary that is to come."""
    run, seen = started(tmp_path / "r", {"seed": 0}), []
    to_come = result(seed=0, outcome={})

    def dies(path: Path) -> None:
        seen.append(Run(path).result)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.finish(to_come, dies)
    assert not run.finished
    with pytest.raises(BadRequest, match="unfinished"):
        _ = run.summary
    run.finish(to_come, lambda path: seen.append(Run(path).finished))
    assert seen == [to_come, False]
    assert run.finished
    assert not list(run.path.glob(".summary*"))


def test_the_environment_names_the_instructions_and_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = runs.environment()["machine"]
    assert machine["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert ("gpu" in machine) == torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 92000)  # a CUDA build of torch asks a driver for it
    assert runs.environment()["machine"]["gpu"] == "a GPU"


def test_a_name_that_no_folder_can_have_is_one_line(tmp_path: Path) -> None:
    """A file of --config can say it."""
    for name in (f"{tmp_path}/x\0y", "\0"):
        with pytest.raises(BadRequest, match="--out: expected a directory"), Run.start(name, "data", {}):
            pass
    assert not list(tmp_path.iterdir())


def test_typed_rows_name_the_place_of_a_value_of_another_type(tmp_path: Path) -> None:
    with Run.start(tmp_path / "r", "bench", {}) as run:
        run.write_rows([{"a": 1.0}, {"a": 2.0}])
        assert run.rows_as(dict[str, float]) == [{"a": 1.0}, {"a": 2.0}]
        run.write_rows([{"a": 1.0}, {"a": "x"}])
        with pytest.raises(BadRequest, match=r"metrics\.jsonl: expected `float` at \[1\]\[...\], got `str`"):
            run.rows_as(dict[str, float])
