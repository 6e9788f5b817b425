"""Worker processes that begin as copies of one that has imported what they need: a fork server.

A small training takes about one second of CPU time and its imports (torch, torch._dynamo, SciPy) five: with eight seeds
those were most of a call. The server imports the module of a command once and then forks a process per call. It
computes nothing, so that no thread and no lock is lost in a fork.

Each worker has a keeper, a process that waits for its end and tells the exit code. With that work in the server itself,
the codes would be lost with the server, and it would need signals beside its requests.

Only where `can_fork`: CUDA does not survive a fork, nor do the system's libraries of macOS.
"""

import contextlib
import importlib
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from cgro._check import BadRequest
from cgro._interrupt import PARENT, SIGNALS
from cgro.jobs.execute import last_line
from cgro.jobs.plan import module_of

PROGRAM = (sys.executable, "-P", "-m", "cgro.jobs.fork_server")
IMPORTED_LATE = {
    "train": ("torch._dynamo", "lightning_fabric", "scipy.optimize"),
    "flatness": ("torch._dynamo", "lightning_fabric"),
    "memory": ("torch._dynamo", "lightning_fabric", "scipy.stats"),
    "dynamics": ("numba.core.registry", "scipy.optimize", "scipy.integrate"),
}
"""What commands import only when they are at work, as far as it takes long: torch's first optimizer, intervals."""
_LENGTH = 8
"""Bytes of the number in front of a request."""
DEV = Path("/dev")
"""Where the devices of Linux are."""
DEVICES = ("nvidiactl", "kfd", "dxg", "accel")
"""What stands there where there is an accelerator: NVIDIA, AMD, either under Windows, others."""


def can_fork() -> bool:
    """Whether workers may be forked: on Linux, without an accelerator. Asking torch would start CUDA.

    Returns:
        True or False.
    """
    return sys.platform == "linux" and not any((DEV / name).exists() for name in DEVICES)


class Forked:
    """A process that a fork server began, with the methods of `subprocess.Popen` that are needed here.

    Args:
        told: file descriptor from which the keeper's two lines are read: the number of the process, its exit code.

    Raises:
        EOFError: there is no process.
    """

    def __init__(self, told: int) -> None:
        self._told: io.BufferedReader = os.fdopen(told, "rb")
        line = self._told.readline()
        if not line:
            self._told.close()
            raise EOFError
        self.pid = int(line)

    def wait(self, timeout: float) -> int:
        """Wait for the end.

        Args:
            timeout: seconds.

        Returns:
            The exit code, negative for a signal.

        Raises:
            subprocess.TimeoutExpired: it runs.
        """
        waiting = select.poll()  # `select` takes no descriptor beyond 1023
        waiting.register(self._told, select.POLLIN)
        if not waiting.poll(1000 * timeout):
            raise subprocess.TimeoutExpired("cgro", timeout)
        line = self._told.readline()
        if not line:
            self.kill()  # its keeper was killed, so nobody would learn of its end
        self._told.close()
        return int(line or -signal.SIGKILL)

    def kill(self) -> None:
        """End it at once; nothing after its end was told, when another process may have its number."""
        if not self._told.closed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class ForkServer:
    """The server as its user sees it: begins processes, from any thread. Closed, it is gone; processes run on.

    Args:
        program: starts a server; it is given the file descriptor of its requests.
    """

    def __init__(self, program: tuple[str, ...] = PROGRAM) -> None:
        self._program = program
        self._lock = threading.Lock()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # as long as this object
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def begin(self, words: list[str], pipe: int, errors: int) -> Forked:
        """Begin a process; a server that was killed is replaced once.

        Args:
            words: of the command line, without `cgro`.
            pipe: file descriptor of `cgro._interrupt.PARENT`.
            errors: file descriptor to which it writes its errors.

        Returns:
            The process.

        Raises:
            BadRequest: the server does not start.
        """
        with self._lock:
            for _ in range(2):
                if self._requests is None:
                    self._start()
                with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
                    return self._begun(words, pipe, errors)
                self._end()
            self._errors.seek(0)
            said = last_line(self._errors.read().decode(errors="replace"))
        raise BadRequest(f"no worker process could be started: {said or 'its server ended'}")

    def _begun(self, words: list[str], pipe: int, errors: int) -> Forked:
        assert self._requests is not None
        request = json.dumps(words).encode()
        reading, writing = os.pipe()
        try:
            socket.send_fds(self._requests, [len(request).to_bytes(_LENGTH)], [pipe, errors, writing])
            self._requests.sendall(request)
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        return Forked(reading)

    def _start(self) -> None:
        self._requests, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*self._program, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )

    def _end(self) -> None:
        if self._requests is not None:
            self._requests.close()  # it reads the end, and ends
        if self._process is not None:
            self._process.wait()
        self._requests = None
        self._process = None

    def close(self) -> None:
        """Let the server end."""
        with self._lock:
            self._end()
            self._errors.close()


def serve(requests: socket.socket) -> list[str] | None:
    """Fork for each request, until the other end is closed.

    Args:
        requests: of a `ForkServer`.

    Returns:
        In a worker the words of its command line; in the server, when it is not needed any more, None.
    """
    while True:
        head, descriptors, _, _ = socket.recv_fds(requests, _LENGTH, 3)
        if not head:
            _reap(0)
            return None
        _reap(os.WNOHANG)
        words: list[str] = json.loads(_read(requests, int.from_bytes(head)))
        _import(words[0])
        keeper = os.fork()
        if keeper == 0:
            requests.close()
            _keep(*descriptors)
            return words
        for descriptor in descriptors:
            os.close(descriptor)


def _reap(options: int) -> None:
    """Wait for keepers that have ended, or for all: the time of their workers then counts as that of our user."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, options)[0]:
            pass


def _read(requests: socket.socket, n: int) -> bytes:
    data = b""
    while len(data) < n:
        more = requests.recv(n - len(data))
        if not more:
            raise EOFError("the request was cut off")
        data += more
    return data


def _import(command: str) -> None:
    """What a command needs, once: all processes that are forked from now on have it."""
    module_of(command, "a worker")
    for name in IMPORTED_LATE.get(command, ()):
        importlib.import_module(name)


def _keep(pipe: int, errors: int, told: int) -> None:
    """Fork once more, tell of the end of that process and end; returns in that process alone."""
    worker = os.fork()
    if worker == 0:
        os.close(told)
        os.setsid()
        os.dup2(errors, sys.stderr.fileno())
        os.close(errors)
        os.environ[PARENT] = str(pipe)
        return
    for number in SIGNALS:  # a request to stop is the worker's; its keeper ends after it
        signal.signal(number, signal.SIG_IGN)
    os.close(pipe)
    os.close(errors)
    with contextlib.suppress(BrokenPipeError):  # whoever asked may be gone
        os.write(told, f"{worker}\n".encode())
        _, status = os.waitpid(worker, 0)
        os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def main() -> int:
    """Serve; in a worker, carry the command out.

    Returns:
        The exit code.
    """
    words = serve(socket.socket(fileno=int(sys.argv[1])))
    if words is None:
        return 0
    sys.argv[1:] = words
    # By its name, as a worker that begins anew has it on its command line: it stands a floor above.
    return importlib.import_module("cgro.cli").main()


if __name__ == "__main__":
    sys.exit(main())
