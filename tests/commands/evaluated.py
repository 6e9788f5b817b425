"""Commands that evaluate, for `tests.commands.test_together`: called in each of several processes, answers noted."""

import contextlib
import io
import json
import os
from pathlib import Path

import pytest

from cgro.cli import main
from cgro.ranks import ALONE, Ranks


def commands(ranks: Ranks | None, folder: Path) -> None:
    """Call all of them, and note exit code, stdout and stderr of this process."""
    ranks = ranks or ALONE
    size = ranks.size
    run = str(folder / f"run-{size}")
    point = ("--model", "mlp", "--width", "32", "--data", "digits", "--radius", "0.05")
    weights = ("diagnose", f"{run}/checkpoints", *point, "--n", "60", "--lint-n", "0", "--pattern", "epoch-{epoch}.*")
    calls = {
        "evaluate": ("evaluate", run, "--attack", "pgd3", "--n", "300", "--save-examples"),
        "evaluate again": ("evaluate", run, "--attack", "pgd3", "--n", "300", "--save-examples"),
        "stronger": ("evaluate", run, "--attack", "pgd5", "--n", "100", "--parts", "test"),
        "per epoch": ("evaluate", run, "--attack", "pgd3", "--n", "40", "--parts", "test", "--per-epoch"),
        "checkpoint": (
            "evaluate", f"{run}/checkpoints/last.safetensors", *point, "--attack", "pgd2", "--n", "260",
            "--out", str(folder / f"bare-{size}"),
        ),
        "flatness": ("flatness", run, "--n", "130", "--n-steps", "1", "--n-loss-steps", "1", "--radii", "0.05,0.1"),
        "flatness again": (
            "flatness", run, "--n", "130", "--n-steps", "1", "--n-loss-steps", "1", "--radii", "0.05,0.1", "-v"
        ),
        "memory": ("memory", run, "--n", "260", "--attack", "pgd2", "--out", str(folder / f"memory-{size}")),
        "influence": ("memory", run, "--influence", "2", "--n", "8", "--out", str(folder / "none")),
        "lint": ("lint", run, "--n", "8", "--strict", "--out", str(folder / f"lint-{size}")),
        "diagnose": ("diagnose", run, "--lint-n", "8", "--out", str(folder / f"diagnose-{size}")),
        "fails": ("diagnose", run, "--lint-n", "0", "--max", "robust_error/test=0", "--out", str(folder / f"fails-{size}")),
        "weights": (*weights, "--attack", "pgd2", "--out", str(folder / f"weights-{size}")),
        "nowhere": ("evaluate", str(folder / "nowhere")),
        "unknown": ("evaluate", run, "--attack", "nothing"),
        "option": ("evaluate", "--no-such-option"),
    }  # fmt: skip
    if ranks.shared:
        calls["data"] = ("data",)
    else:
        del calls["influence"]
    answers: dict[str, tuple[int, str, str]] = {}
    with pytest.MonkeyPatch.context() as patch:
        if ranks.shared:
            words = {"RANK": ranks.number, "LOCAL_RANK": ranks.number, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
            for name, value in {**words, "GROUP_RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}.items():
                patch.setenv(name, str(value))
        for name, call in calls.items():
            out, errors = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
                code = main(call)
            answers[name] = (code, out.getvalue(), errors.getvalue())
    (folder / f"told-{size}-{ranks.number}.json").write_text(json.dumps(answers))
    assert os.environ.get("WORLD_SIZE") is None
