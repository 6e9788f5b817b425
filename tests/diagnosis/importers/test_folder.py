"""A folder with a log in it: which file is read, and when one is asked."""

from pathlib import Path

import numpy as np
import pytest
from tests.cases import refused
from tests.diagnosis.formats import ACC, CTE, RTE, N, lightning, plain, record, scalar, tensorboard
from tests.diagnosis.importers.test_run import CONFIG, ROWS, write_run

from cgro.diagnosis import read_curves


def events(path: Path, epochs: range, tags: dict[str, str]) -> None:
    """An event file with the accuracies of some epochs, each under a tag."""
    content = record(b"\x1a\x0dbrain.Event:2")
    for epoch in epochs:
        for tag, curve in tags.items():
            content += scalar(epoch, tag, float(ACC[curve][epoch % N]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


BOTH = {"test/acc": CTE, "test/robust_acc": RTE}
FIRST, SECOND = "events.out.tfevents.1700000000.host.1.0", "events.out.tfevents.1700000900.host.2.0"


def test_the_only_file_with_curves_is_read(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(lightning())
    (tmp_path / "hparams.yaml").write_text("lr: 0.1\n")
    (tmp_path / "notes.txt").write_text("nothing here\n")
    (tmp_path / "checkpoints").mkdir()
    (found,) = read_curves(tmp_path)
    assert np.allclose(found["robust_error/validation"], 1 - ACC[RTE], atol=1e-6)


@pytest.mark.parametrize("config", ["trainer:\n  max_epochs: 50\n", "defaults: [a]\n", "wandb_version: 1\n"])
def test_the_config_of_another_program_makes_no_run_of_a_folder(tmp_path: Path, config: str) -> None:
    (tmp_path / "config.yaml").write_text(config)
    refused(lambda: read_curves(tmp_path), "expected a run directory (with a config.yaml of cgro)")
    (tmp_path / "metrics.csv").write_text(lightning())
    (found,) = read_curves(tmp_path)
    assert found.has("robust_error/validation")


def test_a_damaged_run_is_not_read_as_the_log_in_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", CONFIG, ROWS)
    (run / "environment.json").unlink()
    refused(lambda: read_curves(run), "environment.json: expected a file, got none")
    (run / "environment.json").write_text('{"schema": 1, "cgro": "1.0"}')
    (run / "config.yaml").write_text("")
    refused(lambda: read_curves(run), "config.yaml: expected a YAML mapping")


def test_two_files_are_asked_for_by_name(tmp_path: Path) -> None:
    for name in ("a.csv", "b.log"):
        (tmp_path / name).write_text(plain())
    refused(lambda: read_curves(tmp_path), "a.csv", "b.log", "name one")


def test_more_files_than_are_tried_are_not_called_without_curves(tmp_path: Path) -> None:
    """Planted: the first 30 were tried, and the log among them was said to be the only one."""
    for k in range(35):
        (tmp_path / f"b{k:02d}.txt").write_text("nothing here\n")
    (tmp_path / "a_old.log").write_text(plain())
    (tmp_path / "z_train.log").write_text(plain())
    refused(lambda: read_curves(tmp_path), "at most 30 files that may be logs, got 37", "name the log")
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "z.log").write_text(plain())
    for k in range(29):
        (tmp_path / "only" / f"b{k:02d}.txt").write_text("nothing here\n")
    assert read_curves(tmp_path / "only")


def test_a_log_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing\n")
    (tmp_path / "metrics.csv").write_text("epoch,loss\n1,2\n")
    refused(lambda: read_curves(tmp_path), "metrics.csv", "no column could be mapped to an error or accuracy")


def test_a_folder_without_any_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("nothing\n")
    refused(lambda: read_curves(tmp_path), "expected a run directory")


@pytest.mark.parametrize("again", [0, 1, 5], ids=["goes on", "last epoch again", "from a checkpoint"])
def test_event_files_of_one_folder_are_one_log(tmp_path: Path, again: int) -> None:
    pytest.importorskip("tensorboard")
    events(tmp_path / SECOND, range(N // 2 - again, N), BOTH)
    events(tmp_path / FIRST, range(N // 2), BOTH)
    (found,) = read_curves(tmp_path)
    assert np.allclose(found["robust_error/test"], 1 - ACC[RTE], atol=1e-6)
    assert f"2 event files are read together, in the order of their names: {FIRST}, {SECOND}" in found.remarks


def test_the_first_file_of_a_resumed_training_was_cut_and_one_holds_no_scalar(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    events(tmp_path / FIRST, range(N // 2), BOTH)
    (tmp_path / FIRST).write_bytes((tmp_path / FIRST).read_bytes()[:-5])
    events(tmp_path / SECOND, range(N // 2 - 1, N), BOTH)
    events(tmp_path / "events.out.tfevents.1700000950.host.3.0", range(0), BOTH)
    (found,) = read_curves(tmp_path)
    assert np.allclose(found["robust_error/test"], 1 - ACC[RTE], atol=1e-6)
    assert any("cut off" in remark and FIRST in remark for remark in found.remarks)


def test_event_files_of_several_trainings_are_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    events(tmp_path / FIRST, range(N), BOTH)
    events(tmp_path / SECOND, range(N), {"test/acc": RTE, "test/robust_acc": RTE})
    refused(lambda: read_curves(tmp_path), "2 trainings that begin at epoch 0", "to read one alone name it", FIRST)
    events(tmp_path / SECOND, range(N // 3), {"test/acc": RTE, "test/robust_acc": RTE})
    refused(lambda: read_curves(tmp_path), "2 trainings that begin at epoch 0")


@pytest.mark.parametrize(
    ("folders", "curve"),
    [
        ({"train": {"acc": CTE, "adv_acc": RTE}, "val": {"acc": CTE, "adv_acc": RTE}}, "robust_error/validation"),
        ({"acc_test": {"acc": CTE}, "acc_test_adv": {"acc": RTE}, ".": {}}, "robust_error/test"),
        ({"robust_acc_test": {"robust/acc": RTE}, "robust_acc_train": {"robust/acc": RTE}}, "robust_error/test"),
    ],
    ids=["Keras", "add_scalars", "add_scalars with a slash"],
)
def test_folders_of_event_files_are_parts(tmp_path: Path, folders: dict[str, dict[str, str]], curve: str) -> None:
    pytest.importorskip("tensorboard")
    for name, tags in folders.items():
        events(tmp_path / name / FIRST, range(N), tags)
    (found,) = read_curves(tmp_path)
    assert np.allclose(found[curve], 1 - ACC[RTE], atol=1e-6)


def test_folders_of_event_files_that_are_no_parts_are_runs(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for seed in ("seed0", "seed1"):
        events(tmp_path / seed / FIRST, range(N // 2), BOTH)
        events(tmp_path / seed / SECOND, range(N // 2, N), BOTH)
    found = read_curves(tmp_path)
    assert [one.meta["group"] for one in found] == ["run seed0", "run seed1"]
    assert [len(one) for one in found] == [N, N]
    assert "the folders seed0, seed1 are taken for runs" in found[0].remarks


def test_event_files_below_a_readable_log_are_no_part_of_it(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / FIRST).write_bytes(tensorboard())
    events(tmp_path / "earlier" / SECOND, range(N, 2 * N), BOTH)
    (found,) = read_curves(tmp_path)
    assert len(found) == N


@pytest.mark.parametrize(
    ("logs", "named"),
    [
        (["run/log.csv"], "run/log.csv"),
        (["seed0/log.csv", "seed1/log.csv"], "seed0/log.csv, seed1/log.csv"),
        (["files/output.log", "files/media/table.json"], "files/output.log, files/media/table.json"),
        (["lightning_logs/version_0/metrics.csv"], "lightning_logs/version_0/metrics.csv"),
    ],
)
def test_logs_further_down_are_named(tmp_path: Path, logs: list[str], named: str) -> None:
    for log in logs:
        (tmp_path / log).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / log).write_text(plain())
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "debug.log").write_text("started\n")
    (tmp_path / "args.json").write_text("{}")
    refused(lambda: read_curves(tmp_path), f"below it {named}; name one, as {tmp_path}/{named.partition(', ')[0]}")


def test_event_files_further_down_are_named_by_their_folder(tmp_path: Path) -> None:
    """Planted: either half of a training was named, and judged as a whole."""
    pytest.importorskip("tensorboard")
    events(tmp_path / "logs" / "tb" / FIRST, range(N // 2), BOTH)
    events(tmp_path / "logs" / "tb" / SECOND, range(N // 2, N), BOTH)
    refused(lambda: read_curves(tmp_path), f"below it logs/tb; name one, as {tmp_path}/logs/tb")


def test_links_to_logs_and_logs_too_deep_are_not_named(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "log.csv").write_text(plain())
    run = tmp_path / "run"
    (run / "a" / "b" / "c").mkdir(parents=True)
    (run / "linked").symlink_to(tmp_path / "elsewhere")
    (run / "a" / "log.csv").symlink_to(tmp_path / "elsewhere" / "log.csv")
    (run / "a" / "b" / "c" / "log.csv").write_text(plain())
    refused(lambda: read_curves(run), "expected a run directory")
