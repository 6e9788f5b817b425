"""Epochs without the word: `Ep 3`, `[E003]`, `[3/30]`; batches, radii and clocks that look alike are none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.cases import refused

from cgro.diagnosis import Curves, read_curves
from cgro.diagnosis.importers.printed.counters import with_epochs

N = 12
VALUES = "train clean acc {a} train robust acc {b} | test clean acc {c} test robust acc {d}"


def line(e: int) -> str:
    return VALUES.format(a=60 + e, b=50 + e, c=55 + e / 2, d=40 + e / 4)


def read(file: Callable[[str], Path], write: Callable[[int], str]) -> Curves:
    (found,) = read_curves(file("".join(f"{write(e)}\n" for e in range(N))))
    return found


@pytest.mark.parametrize(
    "write",
    [
        lambda e: f"Ep {e} | {line(e)}",
        lambda e: f"ep={e} {line(e)}",
        lambda e: f"[ep {e}/11] {line(e)}",
        lambda e: f"[E{e:03d}] {line(e)}",
        lambda e: f"[{e}/11] {line(e)}",
        lambda e: f"[{e:2d} / 11] - {line(e)}",
        lambda e: f"({e}/11) {line(e)}",
        lambda e: f"{e:3d}/11  {line(e)}",
        lambda e: f"E{e} {line(e)}",
        lambda e: f"2026-01-02 10:00:{e:02d} INFO [{e}/11] {line(e)}",
        lambda e: f"[{e}/11] {line(e).partition(' | ')[0]}\n[{e}/11] {line(e).partition(' | ')[2]}",
    ],
)
def test_a_counter_at_the_beginning_of_lines_is_the_epoch(write: Callable[[int], str], file) -> None:
    found = read(file, write)
    assert found.epoch.tolist() == list(range(N))
    assert np.allclose(found["robust_error/test"], 0.6 - np.arange(N) / 400)
    assert np.allclose(found["clean_error/train"], 0.4 - np.arange(N) / 100)
    assert any("are taken for epochs" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    "write",
    [
        lambda e: f"[{100 * e}/1200] {line(e)}",  # steps
        lambda e: f"[{e % 4 + 1}/4] {line(e)}",  # batches of three epochs
        lambda e: f"[{e + 1}/11] {line(e)}",  # beyond its total
        lambda e: f"[{e}/{11 + e}] {line(e)}",  # totals that change
        lambda e: f"[{e}/11] {line(e).partition(' | ')[2]}",  # batches of an evaluation
        lambda e: f"eps {e} {line(e)}",
        lambda e: f"[{e}] {line(e)}",
        lambda e: f"{e}/11/2026 {line(e)}",  # a date
        lambda e: f"E{e}.5 {line(e)}",
    ],
)
def test_what_may_count_something_else_is_refused(write: Callable[[int], str], file) -> None:
    refused(lambda: read(file, write), "expected a cgro run, a CSV")


def test_a_text_that_names_epochs_has_no_other_counter(file) -> None:
    """[1/3] counts the parts of each epoch here."""
    lines = [f"Epoch {e}\n[0/1] train acc 0.{50 + e}\n[1/1] test acc 0.6 test pgd acc 0.{40 + e}" for e in range(N)]
    assert with_epochs("\n".join(lines).splitlines())[1] == ""
    (found,) = read_curves(file("\n".join(lines)))
    assert np.allclose(found["robust_error/test"], 0.6 - np.arange(N) / 100)
