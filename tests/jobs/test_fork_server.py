"""Forked workers: what is told of their end, and that nobody's death loses or leaves anything."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.jobs.runs import make, training, workspace
from tests.jobs.test_workers import make_two_at_once
from tests.test_interrupt import wait_for

from cgro._check import BadRequest
from cgro._interrupt import SIGNALS
from cgro.jobs import fork_server, workers
from cgro.jobs.fork_server import Forked, ForkServer, can_fork
from cgro.jobs.workers import Workers, worker_processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")

SERVER = """
import socket, sys
from cgro.jobs.fork_server import serve
words = serve(socket.socket(fileno=int(sys.argv[1])))
if words is not None:
    exec(words[1])
"""
"""A server whose workers execute their second word."""


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    server = ForkServer((sys.executable, "-P", "-c", SERVER))
    yield server
    server.close()


@pytest.fixture
def pipe() -> int:
    reading, _ = os.pipe()
    return reading


def ended(server: ForkServer, text: str, pipe: int) -> tuple[int, str]:
    """The exit code of a worker that executes a text, and what it said."""
    with tempfile.TemporaryFile() as errors:
        code = server.begin(["data", text], pipe, errors.fileno()).wait(60)
        errors.seek(0)
        return code, errors.read().decode()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("pass", 0),
        ("sys.exit(7)", 7),
        ("import os; os.kill(os.getpid(), 9)", -9),
        ("import os; os.kill(os.getpid(), 15)", -15),
        ("raise ValueError('x')", 1),
    ],
)
def test_the_exit_code_is_that_of_the_process(text: str, code: int, server: ForkServer, pipe: int) -> None:
    assert ended(server, text, pipe)[0] == code


def test_a_worker_begins_as_a_new_process_does(server: ForkServer, pipe: int) -> None:
    """A session and handlers of its own, its errors in its own file, nothing of the server's but its modules."""
    text = (
        "import os, json, signal; print(json.dumps({"
        "'leads': os.getsid(0) == os.getpid(), 'parent': os.environ['CGRO_PARENT_PIPE'], 'out': os.readlink('/proc/self/fd/1'), "
        f"'handlers': [str(signal.getsignal(n)) for n in {[int(n) for n in (*SIGNALS, signal.SIGCHLD)]}], "
        "'open': sorted(os.readlink('/proc/self/fd/' + n)[:6] for n in os.listdir('/proc/self/fd') "
        "if int(n) > 2 and os.path.exists('/proc/self/fd/' + n))}), file=sys.stderr)"
    )
    code, said = ended(server, text, pipe)
    found = json.loads(said)
    assert code == 0
    assert found["leads"]
    assert found["parent"].isdigit()
    assert found["out"] == os.devnull
    anew = (
        "import signal; " + f"print([str(signal.getsignal(n)) for n in {[int(n) for n in (*SIGNALS, signal.SIGCHLD)]}])"
    )
    assert str(found["handlers"]) == subprocess.check_output([sys.executable, "-c", anew], text=True).strip()
    assert [where for where in found["open"] if where != "/proc/"] == ["pipe:["]  # the pipe that it follows


def test_wait_has_its_time_and_kill_its_end(server: ForkServer, pipe: int) -> None:
    with tempfile.TemporaryFile() as errors:
        process = server.begin(["data", "import time; time.sleep(600)"], pipe, errors.fileno())
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.kill()
        assert process.wait(60) == -9
        process.kill()  # it has ended: nothing


def parent_of(process: Forked) -> int:
    return int(Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_a_server_that_is_killed_is_replaced_and_its_workers_run_on(pipe: int, tmp_path: Path) -> None:
    server = ForkServer((sys.executable, "-P", "-c", SERVER))
    go = tmp_path / "go"
    with tempfile.TemporaryFile() as errors:
        text = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\nsys.exit(7)"
        first = server.begin(["data", text], pipe, errors.fileno())
        assert server._process is not None
        server._process.kill()
        server._process.wait()
        assert ended(server, "sys.exit(5)", pipe)[0] == 5
        go.touch()
        assert first.wait(60) == 7
    server.close()


def test_a_worker_whose_keeper_is_killed_is_ended(server: ForkServer, pipe: int) -> None:
    """Its end would be told to nobody, and a second one would be begun beside it."""
    with tempfile.TemporaryFile() as errors:
        process = server.begin(["data", "import time; time.sleep(600)"], pipe, errors.fileno())
        keeper = parent_of(process)
        for number in SIGNALS:  # requests to stop are not for the keeper
            os.kill(keeper, number)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
        os.kill(keeper, signal.SIGKILL)
        assert process.wait(60) == -9
        wait_for(lambda: not Path(f"/proc/{process.pid}").exists())


def test_a_server_that_does_not_start_is_told(pipe: int) -> None:
    server = ForkServer((sys.executable, "-c", "import sys; sys.exit('no torch here')"))
    with pytest.raises(BadRequest, match="no worker process could be started: no torch here"):
        server.begin(["data"], pipe, 2)
    server.close()


def test_the_time_of_workers_counts_as_that_of_the_user() -> None:
    """As `time cgro train --workers 2` tells it."""
    text = (
        "import os, resource, sys, tempfile; from cgro.jobs.fork_server import ForkServer; "
        f"server = ForkServer((sys.executable, '-P', '-c', {SERVER!r})); "
        "busy = 'import time\\nwhile time.process_time() < 1: pass'; "
        "[server.begin(['data', busy], os.pipe()[0], 2).wait(60) for _ in range(3)]; server.close(); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime)"
    )
    assert float(subprocess.check_output([sys.executable, "-c", text], text=True)) > 2.5


def test_a_long_request_arrives_whole(server: ForkServer, pipe: int) -> None:
    text = "sys.exit(words[2] != 'x' * 3_000_000)"
    with tempfile.TemporaryFile() as errors:
        assert server.begin(["data", text, "x" * 3_000_000], pipe, errors.fileno()).wait(60) == 0


def test_the_server_ends_with_its_user(pipe: int) -> None:
    text = (
        "import os, sys, tempfile; from cgro.jobs.fork_server import ForkServer; "
        f"server = ForkServer((sys.executable, '-P', '-c', {SERVER!r})); "
        "server.begin(['data', 'pass'], os.pipe()[0], 2).wait(60); print(server._process.pid, flush=True); "
        "os.kill(os.getpid(), 9)"
    )
    process = subprocess.run([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True, check=False)
    assert process.returncode == -9
    wait_for(lambda: not Path(f"/proc/{int(process.stdout)}").exists())


def test_forked_anew_or_here_the_results_are_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    forked = ForkServer.begin
    anew = workers.begin_anew
    monkeypatch.setattr(ForkServer, "begin", lambda *given: begun.append("forked") or forked(*given))
    monkeypatch.setattr(workers, "begin_anew", lambda *given: begun.append("anew") or anew(*given))
    job = training(0)
    weights: list[bytes] = []
    for forks in (True, False):
        monkeypatch.setattr(workers, "can_fork", lambda forks=forks: forks)
        home = workspace(tmp_path / str(forks), [job])
        make_two_at_once(home, job)
        weights.append((home.folder(job) / "checkpoints/last.safetensors").read_bytes())
    assert begun == ["forked", "anew"]
    home = workspace(tmp_path / "here", [job])
    make(home, job)
    assert weights == [(home.folder(job) / "checkpoints/last.safetensors").read_bytes()] * 2


@pytest.mark.parametrize("device", ["nvidiactl", "kfd", "dxg"])
def test_where_there_is_an_accelerator_nothing_is_forked(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fork_server, "DEV", tmp_path)
    assert can_fork()
    (tmp_path / device).touch()
    assert not can_fork()
    with worker_processes(2) as (_, carry):
        assert isinstance(carry, Workers)
        assert carry.begin is workers.begin_anew


def test_what_the_server_imports_survives_a_fork() -> None:
    """Who asks for CUDA's devices starts its driver, which no fork can use; a fork loses all threads but its own.

    Native threads are those of OpenBLAS, which ends and begins them around a fork by itself.
    """
    text = (
        "import threading, torch; asked = []; "
        "torch.cuda.is_available = torch.cuda.device_count = lambda: asked.append(1) or 0; "
        "from cgro.jobs.fork_server import _import; from cgro.cli import COMMANDS, ELSEWHERE; "
        "[_import(name) for name in COMMANDS if name not in ELSEWHERE]; "
        "assert not asked; assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", text], check=True)


def test_calls_are_told_from_one_another(pipe: int, server: ForkServer) -> None:
    """Begun from several threads, each has its own end."""
    with worker_processes(4) as (executor, _):
        codes = list(
            executor.map(lambda k: ended(server, f"import time; time.sleep(0.1); sys.exit({k})", pipe)[0], range(12))
        )
    assert codes == list(range(12))
