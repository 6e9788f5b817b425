"""Folders of checkpoints: which number of a name is the epoch."""

import json
from pathlib import Path

import pytest
from tests.cases import refused

from cgro.training.weights import checkpoint_files, checkpoint_series

RUNS = {
    "accuracy behind": ("ckpt_epoch{e}_acc{a:.2f}.pth", "*"),
    "whole accuracy": ("ckpt_{e}_acc{w}.pth", "*"),
    "accuracy before": ("rob{w}_model_{e}.pt", "*"),
    "data set": ("epoch_{e}_cifar10.pth", "*"),
    "seed and depth": ("wrn-34-10_e{e:03d}_seed0.pt", "*"),
    "Lightning": ("epoch={e}-step={s}.ckpt", "*"),
    "steps alone": ("global_step_{s}.pth.tar", "*"),
    "date": ("2024-01-05_net_{e}.t7", "*"),
    "number first": ("{e}-7.pt", "*"),
    "only the number": ("{e}.safetensors", "*"),
    "told": ("x{w}_y{e}.pt", "x*_y{epoch}.pt"),
    "depth and epoch": ("wrn28_epoch{e}.pt", "*"),
    "learning rate": ("lr0.1_epoch{e}.pt", "*"),
    "learning rate with an exponent": ("lr1e-3_model_{e}.pt", "*"),
    "epochs in all": ("epochs200_model_{e}.pt", "*"),
    "one rank": ("epoch_{e}_rank0.pt", "*"),
    "date and time": ("20240101_101000_epoch_{e}.pt", "*"),
    "date with dashes": ("net_2024-01-05_10-10-00_{e}.pt", "*"),
    "times told": ("20240101_1010{e:02d}.pt", "20240101_1010{epoch}.pt"),
}


@pytest.mark.parametrize("what", RUNS)
def test_the_epoch_is_the_number_that_runs(tmp_path: Path, what: str) -> None:
    """The names are made from known epochs, with accuracies that fall, and come back in order."""
    form, pattern = RUNS[what]
    expected = []
    for e in range(1, 13):
        name = form.format(e=e, a=52.5 - 0.61 * e, w=90 - 3 * e, s=500 * e)
        (tmp_path / name).touch()
        expected.append((500 * e if "{e" not in form else e, tmp_path / name))
    for aside in ("resnet18_best.pth", "last.ckpt", "model_ema.pt", "opt-0001.pt", "log.txt"):
        (tmp_path / aside).touch()
    series = checkpoint_series(tmp_path, pattern)
    assert series.files == expected
    if pattern == "*":
        assert set(series.aside) == {"resnet18_best", "last", "model_ema"}
        assert "resnet18_best" in series.sentence()
        assert "{epoch}" in series.name


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["epoch-0002.pt", "epoch-0002 (copy).pt"], ["names of one form", "--pattern"]),
        (["a1.pt", "b1.pt", "c2.pt"], ["aN, bN, cN", "--pattern 'a*.*'"]),
        (["net_1_40.pt", "net_2_44.pt"], ["one whole number", "--pattern 'net_{epoch}_*"]),
        (["epoch_1.pt", "epoch_2.pt", "ema_epoch_1.pt", "ema_epoch_2.pt"], ["epoch_N, ema_epoch_N"]),
        (["epoch-2_a0.pt", "epoch-2_a1.pt", "epoch-3_a0.pt"], ["several checkpoints of epoch 2"]),
        (["a.pt", "b.pt"], ["numbers of epochs", "name one file"]),
        (["best.pt", "last.pt"], ["name one file"]),
        (["acc_50.pt", "acc_51.pt"], ["one whole number"]),
        (["resnet-18.pt", "resnet-34.pt", "resnet-50.pt"], ["one whole number"]),
        (["fold_0.pt", "fold_1.pt"], ["one whole number"]),
        (["width_8.pt", "width_16.pt"], ["one whole number"]),
        (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], ["model.safetensors.index.json"]),
        (["x.txt"], ["checkpoints"]),
        ([], ["nothing"]),
        (["epoch_10_rank0.pt", "epoch_10_rank1.pt"], ["several checkpoints of epoch 10", "'epoch_{epoch}_rank0*'"]),
        (["ep5_a0.pt", "ep5_a1.pt"], ["several checkpoints of epoch 5"]),
        (["e3_rank0.pt", "e3_rank1.pt", "e4_rank0.pt"], ["several checkpoints of epoch 3", "'e{epoch}_rank0*'"]),
        (["ckpt_rank0.pt", "ckpt_rank1.pt"], ["one whole number", "name one file"]),
        (["model_seed0.pt", "model_seed1.pt"], ["none in model_seed0", "name one file"]),
        (["eps_2.pt", "eps_8.pt"], ["none in eps_2", "name one file"]),
        (["20240101_101000.pt", "20240101_113000.pt"], ["none in 20240101_101000", "name one file"]),
        (["2024-01-05_10-10-00.pt", "2024-01-05_10-20-00.pt"], ["none in 2024-01-05_10-10-00"]),
    ],
    ids=range(22),
)
def test_names_that_do_not_say_which_are_refused(tmp_path: Path, names: list[str], words: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    refused(lambda: checkpoint_files(tmp_path), *words)


def test_the_pattern_that_is_proposed_is_taken(tmp_path: Path) -> None:
    for name in ("net_1_40.pt", "net_2_44.pt", "net_3_7.pt"):
        (tmp_path / name).touch()
    text = refused(lambda: checkpoint_files(tmp_path), "--pattern")
    assert [e for e, _ in checkpoint_files(tmp_path, text.split("'")[1])] == [1, 2, 3]
    assert [e for e, _ in checkpoint_files(tmp_path, "net_*_{epoch}*")] == [7, 40, 44]


def test_names_without_an_epoch_are_left_out(tmp_path: Path) -> None:
    for name in ("epoch-0001.pt", "epoch-final.pt", "epoch-\u00b2.pt", "epoch-0010.pt", "opt-0001.pt"):
        (tmp_path / name).touch()
    assert [e for e, _ in checkpoint_files(tmp_path)] == [1, 10]
    for pattern in ("", "/etc/*", "**x", "[\0", "{epoch}{epoch}", "no_{epoch}.pt"):
        refused(lambda pattern=pattern: checkpoint_files(tmp_path, pattern))


def test_averages_alone_are_a_series_and_so_is_the_one_chosen(tmp_path: Path) -> None:
    for e in (1, 2, 3):
        (tmp_path / f"ema_epoch_{e}.pt").touch()
    assert [e for e, _ in checkpoint_files(tmp_path)] == [1, 2, 3]
    for e in (4, 5):
        (tmp_path / f"epoch_{e}.pt").touch()
    assert [e for e, _ in checkpoint_files(tmp_path, "ema_*")] == [1, 2, 3]
    assert [e for e, _ in checkpoint_files(tmp_path, "epoch_*.*")] == [4, 5]


def test_one_file_is_no_series_and_needs_no_number(tmp_path: Path) -> None:
    (tmp_path / "resnet18_best.pth").touch()
    series = checkpoint_series(tmp_path)
    assert [path.name for _, path in series.files] == ["resnet18_best.pth"]
    assert "resnet18_best.pth" in series.sentence()


def test_folders_of_hugging_face_are_checkpoints(tmp_path: Path) -> None:
    for step in (500, 1000, 1500):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "model.safetensors").touch()
        (tmp_path / f"checkpoint-{step}" / "optimizer.pt").touch()
    (tmp_path / "logs").mkdir()
    found = checkpoint_files(tmp_path)
    assert found == [(step, tmp_path / f"checkpoint-{step}" / "model.safetensors") for step in (500, 1000, 1500)]


def test_shards_with_their_index_are_one_checkpoint(tmp_path: Path) -> None:
    for k in (1, 2):
        (tmp_path / f"model-0000{k}-of-00002.safetensors").touch()
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {}}))
    assert [path.name for _, path in checkpoint_files(tmp_path)] == ["model.safetensors.index.json"]


@pytest.mark.parametrize("form", ["epoch_{e}", "ckpt-{e}", "run_1/e{e}"])
def test_a_folder_of_an_epoch_is_its_only_file_of_weights(tmp_path: Path, form: str) -> None:
    expected = []
    for e in (1, 2, 10):
        inside = tmp_path / form.format(e=e)
        inside.mkdir(parents=True)
        for name in ("model.pt", "optimizer.pt", "args.json"):
            (inside / name).touch()
        expected.append((e, inside / "model.pt"))
    folder = expected[0][1].parent.parent
    assert checkpoint_files(folder) == expected
    assert checkpoint_files(folder, form.rpartition("/")[2].format(e="*") + "/model.pt") == expected
    assert checkpoint_files(folder, form.rpartition("/")[2].format(e="{epoch}") + "/model.pt") == expected


def test_folders_of_seeds_or_of_several_files_are_no_epochs(tmp_path: Path) -> None:
    for name in ("seed0/a.pt", "seed1/a.pt", "epoch_1/a.pt", "epoch_1/b.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    refused(lambda: checkpoint_files(tmp_path), "expected checkpoints", "epoch_1, seed0, seed1")


@pytest.mark.parametrize(
    ("form", "stored", "said"),
    [
        ("ckpt_{k}.pt", [100, 100, 100], "epoch 100 in ckpt_1.pt, epoch 100 in ckpt_2.pt"),
        ("ckpt_{k}.pt", [30, 20, 10], "epoch 30 in ckpt_1.pt, epoch 20 in ckpt_2.pt"),
        ("model_{k}_x.pt", [1, None, 0], "--pattern 'model_{epoch}*'"),
        ("epoch_{k}.pt", [0, 1, 2], None),
        ("epoch_{k}.pt", [None, None, 3], None),
        ("step_{k}.pt", [0, 0, 0], None),
        ("ckpt_{k}.pt", [0, 0, 1], None),
    ],
)
def test_stored_epochs_that_contradict_the_names_are_refused(
    tmp_path: Path, form: str, stored: list[int | None], said: str | None
) -> None:
    for k in (1, 2, 3):
        (tmp_path / form.format(k=k)).touch()
    series = checkpoint_series(tmp_path)
    if said is None:
        series.require_order(stored)
        return
    refused(lambda: series.require_order(stored), "in the order of the epochs that the files store", said)
    checkpoint_series(tmp_path, form.format(k="{epoch}")).require_order(stored)
