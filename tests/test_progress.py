"""The bar: on a terminal alone, on stderr, and no reason to fail."""

import io
import sys

import numpy as np
import pytest

from cgro._progress import BARS, WIDTH, progress, spark


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


def test_a_curve_is_thinned_from_its_last_value() -> None:
    assert spark([]) == ""
    assert spark([0.0, 0.124, 0.125, 0.99, 1.0]) == BARS[0] + BARS[0] + BARS[1] + BARS[7] + BARS[7]
    values = np.linspace(0, 1, 10 * WIDTH + 3)
    line = spark(list(values))
    assert len(line) <= WIDTH
    assert line[-1] == BARS[-1]
    assert list(line) == sorted(line)


def test_without_a_terminal_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for stream in (sys.stderr, None):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress(3, "epochs") as update:
            update(1)
            update(2, "a note", {"robust error": [0.5]})
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_the_bar_the_note_and_the_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress(4, "epochs") as update:
        update(1, "robust error 30%", {"robust error": [0.5, 0.3], "not yet": []})
    shown = stream.getvalue()
    for words in ("epochs", "1/4", "robust error 30%", spark([0.5, 0.3]), "30.0%"):
        assert words in shown
    assert "not yet" not in shown


def test_a_terminal_that_goes_away_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise OSError("gone")

    monkeypatch.setattr(sys, "stderr", Gone())
    done = []
    with progress(1, "epochs") as update:
        done.append(update)
    assert len(done) == 1
