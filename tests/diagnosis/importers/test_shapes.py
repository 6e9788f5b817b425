"""The shapes of published logs, written from curves of ours: numbers only. Each gives the numbers that it was written
from, alone or with the `--map` that its refusal names."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.cases import refused
from tests.diagnosis.writers import columns_of, four, table_of

from cgro.diagnosis import read_curves
from cgro.diagnosis.importers import parse_map

N = 40
ERRORS = four(N)
TRAIN, ADV_TRAIN, TEST, ADV_TEST = (
    1 - ERRORS[key] for key in ("clean_error/train", "robust_error/train", "clean_error/test", "robust_error/test")
)


def lightning() -> str:
    """Training and validation in rows of their own, a loss twice."""
    lines = ["epoch,lr-SGD,step,train_adv_acc,train_loss_epoch,train_loss_step,val_acc,val_adv_acc"]
    for e in range(N):
        lines.append(f"{e},,{100 * e},,,,{TEST[e]:.6f},{ADV_TEST[e]:.6f}")
        lines.append(f"{e},,{100 * e},{ADV_TRAIN[e]:.6f},1.0,1.1,,")
        lines.append(f",0.1,{100 * e},,,,,")
    return "\n".join(lines)


def keras() -> str:
    """CSVLogger: the training without a part."""
    names = {"accuracy": "clean_error/train", "adv_accuracy": "robust_error/train",
             "val_accuracy": "clean_error/test", "val_adv_accuracy": "robust_error/test"}  # fmt: skip
    return table_of(columns_of(ERRORS, names))


def wandb_export() -> str:
    """A chart: three columns per metric, behind the name of the run."""
    columns: dict[str, np.ndarray] = {"Step": np.arange(N)}
    for name, values in (("test_acc", TEST), ("test_robust_acc", ADV_TEST)):
        for end in ("", "__MIN", "__MAX"):
            columns[f"pgd_at_seed0 - {name}{end}"] = values
    return table_of(columns)


def noilin() -> str:
    """Tabs, one at the end of every row; the robust accuracy without a part."""
    lines = ["Epoch\tNatural Test Acc\tPGD10 Acc\tNoise_rate\tValid_acc"]
    return "\n".join([*lines, *(f"{e}\t{TEST[e]:.6f}\t{ADV_TEST[e]:.6f}\t0.1\t0.5\t" for e in range(N))])


def mair() -> str:
    """Twelve columns of fixed width whose header is not the usual one, in percent."""
    head = [
        "Epoch",
        "lr",
        "Clean(Tr) Acc",
        "PGD(Tr) Acc",
        "Clean(Test) Acc",
        "PGD(Test) Acc",
        "s/it",
        "a",
        "b",
        "c",
        "d",
        "e",
    ]
    lines = ["   ".join(f"{name:<16}" for name in head)]
    for e in range(N):
        values = [e, 0.1, *(round(100 * v[e], 4) for v in (TRAIN, ADV_TRAIN, TEST, ADV_TEST)), 0.3, 1, 2, 3, 4, 5]
        lines.append("   ".join(f"{value:<16}" for value in values))
    return "\n".join(lines)


def every_fifth() -> str:
    """A table of evaluations without a part."""
    return "epoch,clean_acc,robust_acc\n" + "".join(f"{e},{TEST[e]:.6f},{ADV_TEST[e]:.6f}\n" for e in range(0, N, 5))


def trades_awp() -> str:
    """The logger of bearpaw: tabs, no epoch, percent."""
    lines = ["Learning Rate\tAdv Train Acc.\tNat Train Acc.\tNat Val Acc.\tNat Test Acc.\tAdv Test Acc.\t"]
    for e in range(N):
        lines.append(
            "\t".join(f"{v:.4f}" for v in (0.1, *(100 * c[e] for c in (ADV_TRAIN, TRAIN, TEST, TEST, ADV_TEST)))) + "\t"
        )
    return "\n".join(lines)


def commas() -> str:
    """Lines of a logger with commas between them."""
    return "Epoch, Time, Test ACC, Test Robust ACC\n" + "".join(
        f"{e}, 9.5, {TEST[e]:.6f}, {ADV_TEST[e]:.6f}\n" for e in range(N)
    )


def deit() -> str:
    """JSON lines with the number of attack steps in the name."""
    rows = [{"epoch": e, "train_loss": 1.0, "test_0_loss": 1.0, "test_0_acc1": 100 * TEST[e], "test_0_acc5": 99.0,
             "test_5_loss": 2.0, "test_5_acc1": 100 * ADV_TEST[e], "test_5_acc5": 95.0} for e in range(N)]  # fmt: skip
    return "\n".join(map(json.dumps, rows))


def gradalign() -> str:
    """One line per epoch with percent signs."""
    return "".join(
        f"{e}-391: [test] acc_clean {100 * TEST[e]:.4f}%, acc_pgd-50-10 {100 * ADV_TEST[e]:.4f}%\n" for e in range(N)
    )


TEST_MAP = "clean_accuracy/test={},robust_accuracy/test={}"


@pytest.mark.parametrize(
    ("write", "said", "columns"),
    [
        (lightning, "", ""),
        (keras, "", ""),
        (mair, "", ""),
        (trades_awp, "", ""),
        (commas, "", ""),
        (wandb_export, "epoch=Step", "epoch=Step"),
        (noilin, "robust_accuracy/test=PGD10 Acc", "robust_accuracy/test=PGD10 Acc"),
        (every_fifth, "robust_accuracy/test=robust_acc", TEST_MAP.format("clean_acc", "robust_acc")),
        (deit, "which of several 'test 0' says", TEST_MAP.format("test_0_acc1", "test_5_acc1")),
        (
            gradalign,
            "--map",
            "epoch=/^([0-9]+)-/," + TEST_MAP.format("/acc_clean ([0-9.]+)/", "/acc_pgd-50-10 ([0-9.]+)/"),
        ),
    ],
)
def test_the_numbers_come_back(file: Callable[[str], Path], write: Callable[[], str], said: str, columns: str) -> None:
    path = file(write())
    if said:
        refused(lambda: read_curves(path), said)
    (found,) = read_curves(path, parse_map(columns))
    part = "test"
    if not found.has("robust_error/test"):
        part = "validation"
    for key in ("clean_error", "robust_error"):
        epochs, values = found.measured(f"{key}/{part}")
        assert np.allclose(
            values, ERRORS[f"{key}/test"][np.round(epochs).astype(int) - (write is trades_awp)], atol=2e-6
        ), key
