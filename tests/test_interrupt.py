"""Requests to stop: four signals, one meaning, in every command; what was ignored stays ignored; imports are not torn."""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cgro import _interrupt
from cgro._interrupt import acknowledge, deferred_requests, interrupt, interrupted_by, stop_requests, stopping_after
from cgro.cli import main
from cgro.runs import Run

TRAINING = ["--data", "digits", "--n-train", "300", "--n-test", "100", "--model", "mlp", "--width", "16", "--epochs", "60",
            "--attack", "pgd3", "--eval-attack", "pgd3", "--eval-n", "50", "--device", "cpu", "--threads", "1"]  # fmt: skip
DYNAMICS = ["--seeds", "2", "--n-steps", "3000", "--n-test", "200", "--threads", "1"]


def wait_for(condition: Callable[[], object], process: subprocess.Popen | None = None, seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, f"ended too early with {process.returncode}"
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)


def started(*arguments: object, ignoring: tuple[signal.Signals, ...] = ()) -> subprocess.Popen:
    """A command in a process of its own, with the signals of a fresh terminal but for those that it ignores."""

    def dispositions() -> None:
        for s in _interrupt.SIGNALS:
            signal.signal(s, signal.SIG_IGN if s in ignoring else signal.SIG_DFL)

    command = [sys.executable, "-m", "cgro", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=dispositions
    )


def stopped(process: subprocess.Popen, number: signal.Signals) -> str:
    """Send it and return the one line that is said."""
    process.send_signal(number)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 130, text
    assert text.count("\n") == 1, text
    return text


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    assert main(["train", *TRAINING, "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("number", _interrupt.SIGNALS, ids=lambda s: s.name)
def test_training_saves_on_each_signal_and_resumes_to_the_same_bits(
    number: signal.Signals, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = started("train", *TRAINING, "--out", out)
    wait_for((out / "checkpoints" / "last.safetensors").exists, process)
    text = stopped(process, number)
    assert ("interrupted;" if number is signal.SIGINT else f"interrupted by {number.name};") in text
    assert f"cgro train --resume {out}" in text
    assert not (out / "summary.json").exists()
    assert main(["train", "--resume", str(out)]) == 0
    for name in ("last.safetensors", "best_validation.safetensors"):
        assert (out / "checkpoints" / name).read_bytes() == (whole / "checkpoints" / name).read_bytes()
    assert Run(out).summary["metrics"] == Run(whole).summary["metrics"]


def test_dynamics_is_taken_up_where_a_closed_terminal_left_it(tmp_path: Path) -> None:
    cut, undisturbed = tmp_path / "cut", tmp_path / "undisturbed"
    process = started("dynamics", *DYNAMICS, "--out", cut)
    wait_for((cut / "config.yaml").exists, process)
    assert "interrupted by SIGHUP; the same command with the same --out resumes it" in stopped(process, signal.SIGHUP)
    for out in (cut, undisturbed):
        assert main(["dynamics", *DYNAMICS, "--out", str(out)]) == 0
    summaries = [json.loads((out / "summary.json").read_text()) for out in (cut, undisturbed)]
    assert summaries[0]["metrics"] == summaries[1]["metrics"]


def test_an_interrupted_evaluation_leaves_the_run_as_it_was(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    before = (out / "summary.json").read_bytes()
    (out / ".lock").unlink()
    process = started("evaluate", out, "--attack", "pgd200000", "--parts", "test", "--threads", "1")
    wait_for((out / ".lock").exists, process)
    assert "interrupted by SIGTERM" in stopped(process, signal.SIGTERM)
    assert (out / "summary.json").read_bytes() == before
    assert main(["evaluate", str(out), "--attack", "pgd2", "--parts", "test"]) == 0


def test_what_was_ignored_stays_ignored_and_sigterm_still_stops(tmp_path: Path) -> None:
    out = tmp_path / "run"
    endless = ["100000" if word == "60" else word for word in TRAINING]
    process = started("train", *endless, "--out", out, ignoring=(signal.SIGHUP, signal.SIGINT))
    rows = out / "metrics.jsonl"
    wait_for(rows.exists, process)
    for number in (signal.SIGHUP, signal.SIGINT):
        process.send_signal(number)
        n = rows.stat().st_size
        wait_for(lambda n=n: rows.stat().st_size > n, process)
    assert "interrupted by SIGTERM" in stopped(process, signal.SIGTERM)


def test_an_interrupt_during_the_import_of_torch_waits_for_its_end(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name in ('torch', 'torch._C', 'numpy'): os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from cgro.cli import main\n"
        f"code = main(['train', '--data', 'digits', '--out', {str(tmp_path / 'run')!r}])\n"
        "assert hasattr(sys.modules['torch'], 'nn')\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "cgro train: interrupted; the same command with the same --out resumes it\n"
    assert not (tmp_path / "run").exists()


def test_handlers_are_restored_and_the_innermost_one_is_called() -> None:
    numbers = (signal.SIGUSR1, signal.SIGHUP)
    before = [signal.getsignal(s) for s in numbers]
    noted: list[str] = []
    with stop_requests(lambda: noted.append("outer"), numbers):
        with stop_requests(lambda: noted.append("inner")):
            signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGHUP)
    assert noted == ["inner", "outer"]
    assert [signal.getsignal(s) for s in numbers] == before
    assert interrupted_by() == "interrupted by SIGHUP"


def test_signals_that_the_caller_handles_stay_theirs_without_the_command_line() -> None:
    theirs: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: theirs.append(number))
    try:
        with stop_requests(interrupt):
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert theirs == [signal.SIGUSR1]


def test_outside_of_the_main_thread_nothing_is_changed() -> None:
    found: list[object] = []

    def within() -> None:
        with stop_requests(interrupt, [signal.SIGUSR2]):
            found.append(signal.getsignal(signal.SIGUSR2))

    thread = threading.Thread(target=within)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGUSR2)]


def test_deferred_requests_are_met_on_leaving() -> None:
    reached = []

    def work() -> None:
        with deferred_requests():
            signal.raise_signal(signal.SIGUSR1)
            reached.append("the end")

    with stop_requests(interrupt, [signal.SIGUSR1]), pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["the end"]


def in_a_callback() -> None:
    ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGUSR1))()


def in_a_test_for_an_attribute() -> None:
    with contextlib.suppress(BaseException):
        signal.raise_signal(signal.SIGUSR1)


@pytest.mark.parametrize("swallow", [in_a_callback, in_a_test_for_an_attribute])
def test_an_interrupt_that_is_lost_comes_again(swallow: Callable[[], None], capsys: pytest.CaptureFixture) -> None:
    """Where C code calls Python the exception has nowhere to go."""
    before = sys.unraisablehook

    def work() -> None:
        swallow()
        wait_for(lambda: False, seconds=60)

    with pytest.raises(KeyboardInterrupt), stop_requests(interrupt, [signal.SIGUSR1]):
        work()
    assert interrupted_by() == "interrupted by SIGUSR1"
    assert sys.unraisablehook is before
    assert capsys.readouterr().err == ""


def test_an_interrupt_that_has_arrived_does_not_come_again() -> None:
    cleaned = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGUSR1)
        finally:
            acknowledge()
            time.sleep(1.5 * _interrupt.PERIOD)
            cleaned.append("all")

    with pytest.raises(KeyboardInterrupt), stop_requests(interrupt, [signal.SIGUSR1]):
        work()
    assert cleaned == ["all"]


def test_an_interrupt_that_c_code_turned_into_another_error_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """As pybind11 does in the middle of a figure of matplotlib."""

    def run(config: object) -> None:
        try:
            signal.raise_signal(signal.SIGUSR1)
        except KeyboardInterrupt:
            raise TypeError("incompatible function arguments") from None

    monkeypatch.setattr("cgro.commands.data.run", run)
    assert main(["data"]) == 130
    line = "cgro data: interrupted by SIGUSR1; the same command with the same --out resumes it\n"
    assert capsys.readouterr().err == line


def test_a_worker_stops_when_its_parent_closes_the_pipe_also_where_sigterm_is_ignored() -> None:
    program = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "from cgro import _interrupt, cli\n"
        "from cgro.commands import data\n"
        "def run(config):\n"
        "    assert _interrupt.PARENT not in os.environ\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(100)\n"
        "data.run = run\n"
        "sys.exit(cli.main(['data']))\n"
    )
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[reading],
        env={**os.environ, _interrupt.PARENT: str(reading)},
    )
    os.close(reading)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    assert process.poll() is None
    os.close(writing)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 130
    assert text.startswith(b"cgro data: interrupted by SIGTERM")


def test_a_time_that_is_over_is_a_request_to_stop_and_one_that_is_not_leaves_nothing_behind() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with stop_requests(interrupt), pytest.raises(KeyboardInterrupt), stopping_after(0.01):
        signal.pause()
    assert interrupted_by() == "interrupted when its time was up"
    with stopping_after(60.0):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    with stopping_after(0.0):
        assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getsignal(signal.SIGALRM) is before
