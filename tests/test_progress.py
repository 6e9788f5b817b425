"""The bar on a terminal, lines without one, on stderr, and no reason to fail."""

import io
import sys

import numpy as np
import pytest

from cgro._progress import BARS, SECONDS_BETWEEN_LINES, WIDTH, Loudness, loudness, progress, spark, told


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


def test_without_a_terminal_what_is_short_writes_nothing(
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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands still until a test moves it."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_without_a_terminal_there_is_a_line_every_ten_seconds_at_most(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress(1000, "training") as update:
        for second in range(101):
            clock[0] = float(second)
            update(second, "robust error 30%")
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "training: 10/1000, about 16 min left; robust error 30%"
    assert "\x1b" not in err


def test_the_time_left_is_that_of_this_process_where_a_run_is_resumed(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress(1000, "training") as update:
        update(900)
        clock[0] = 10.0
        update(910)
    assert capsys.readouterr().err == "training: 910/1000, about 90 s left\n"


def test_a_first_slow_step_tells_no_time_left(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    """One step of 50,000 that took 30 seconds, as it compiled, once said 400 hours."""
    with progress(50_000, "dynamics") as update:
        update(0)
        for second, done in ((30.0, 1), (45.0, 50)):
            clock[0] = second
            update(done)
    assert capsys.readouterr().err.splitlines() == ["dynamics: 1/50000", "dynamics: 50/50000, about 12.5 h left"]


@pytest.mark.parametrize("how", ["quiet", "normal", "verbose"])
def test_how_much_is_said(clock: list[float], capsys: pytest.CaptureFixture[str], how: Loudness) -> None:
    with told(how), progress(100, "steps") as update:
        for second in range(21):
            clock[0] = float(second)
            update(second)
    assert loudness() == "normal"
    seconds = SECONDS_BETWEEN_LINES.get(how)
    assert len(capsys.readouterr().err.splitlines()) == (20 / seconds if seconds else 0)


def test_quiet_holds_on_a_terminal_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with told("quiet"), progress(4, "epochs") as update:
        update(1)
    assert stream.getvalue() == ""


def test_lines_go_nowhere_where_stderr_is_closed(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress(4, "epochs") as update:
            clock[0] += 100
            update(1)
