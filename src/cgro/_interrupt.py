"""Requests to stop: Ctrl-C, and the signals by which schedulers, terminals and containers ask for the same.

A command turns all of them into one handler for as long as it runs; training takes over from it for as long as it
trains, so that a request is met after the step. Code that uses the library without the command line keeps its own
handlers: there only Ctrl-C is taken over, and only during training.
"""

import _thread
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Ctrl-C; docker, systemd, Slurm; a terminal that is closed; Slurm ahead of its time limit (`--signal=USR1@60`)."""
PARENT = "CGRO_PARENT_PIPE"
"""Environment variable of a worker: the file descriptor that reads end of file when its parent is gone."""
GRACE = 30.0
"""Seconds that a worker has for its last step and its checkpoint. A choice: what Slurm grants before it kills."""
PERIOD = 1.0
"""Seconds after which an interrupt counts as lost. A choice: longer than any clean-up but that of workers."""

Handler = Callable[[], None]


class _State:
    """Of this process: the handlers in force, innermost last; the signal that came last; the interrupt that is under way.

    No dataclass: their import takes longer than all else between the start of a command and its first handler.
    """

    def __init__(self) -> None:
        self.handlers: list[Handler] = []
        self.last: signal.Signals | None = None
        self.sent: object = None


_state = _State()


def interrupt() -> None:
    """The plain handler: interrupt at once, and again every `PERIOD` seconds until the interrupt has arrived.

    In finalizers and where C code calls Python (ctypes, numba, a test for an attribute) an exception has nowhere to go: it
    is dropped, and the command would go on to its end.

    Raises:
        KeyboardInterrupt: always.
    """
    if _state.handlers and _state.sent is None:
        _state.sent = object()
        _thread.start_new_thread(_insist, (_state.sent,))  # a Thread takes locks that the interrupted code may hold
    raise KeyboardInterrupt


def acknowledge() -> None:
    """Say, where an interrupt leads to work of more than `PERIOD` seconds, that it has arrived."""
    if _state.sent is not None:
        _state.sent = object()


def _insist(sent: object) -> None:
    main = threading.main_thread().ident
    assert main is not None
    while True:
        time.sleep(PERIOD)
        if _state.sent is not sent or not _state.handlers:
            return
        signal.pthread_kill(main, _state.last or signal.SIGINT)


def ignore() -> None:
    """The handler of those who are about to end anyway."""


def _received(number: int, _frame: object) -> None:
    _state.last = signal.Signals(number)
    (_state.handlers[-1] if _state.handlers else interrupt)()


@contextlib.contextmanager
def stop_requests(handler: Handler, signals: Sequence[signal.Signals] = (signal.SIGINT,)) -> Iterator[None]:
    """Within, a request to stop calls `handler`, in place of the handler of an outer call.

    A signal that was ignored stays ignored: SIGHUP under nohup, SIGINT of a shell's background job. Outside of the main
    thread, where Python delivers no signals, nothing is changed.

    Args:
        handler: called in the main thread, between two instructions of Python; it may raise.
        signals: those that are requests from now on, beside those that already are by an outer call.

    Example:
        >>> noted = []
        >>> with stop_requests(lambda: noted.append("stop"), [signal.SIGUSR1]):
        ...     signal.raise_signal(signal.SIGUSR1)
        >>> noted
        ['stop']
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if _state.handlers:
        with _in_force(handler, signals):
            yield
        return
    _state.last, kept = None, sys.unraisablehook
    _state.sent = None
    sys.unraisablehook = _hiding(kept)
    try:
        with _in_force(handler, signals):
            yield
    finally:
        _state.sent = None
        sys.unraisablehook = kept


@contextlib.contextmanager
def _in_force(handler: Handler, signals: Sequence[signal.Signals]) -> Iterator[None]:
    _state.handlers.append(handler)
    before = {s: signal.getsignal(s) for s in signals}
    taken = [s for s, kept in before.items() if kept not in (signal.SIG_IGN, None, _received)]
    try:
        for s in taken:
            signal.signal(s, _received)
        yield
    finally:
        try:
            for s in taken:
                signal.signal(s, before[s])
        finally:
            _state.handlers.pop()


def _hiding(hook: Callable[["sys.UnraisableHookArgs"], object]) -> Callable[["sys.UnraisableHookArgs"], None]:
    """A hook for exceptions that Python cannot raise, without interrupts: these come again."""

    def lost(found: "sys.UnraisableHookArgs") -> None:
        if not issubclass(found.exc_type, KeyboardInterrupt):
            hook(found)

    return lost


@contextlib.contextmanager
def deferred_requests() -> Iterator[None]:
    """Within, requests are only noted, and met on leaving: an import of torch that is interrupted aborts the process.

    Raises:
        KeyboardInterrupt: on leaving, if there was a request.
    """
    noted: list[bool] = []
    with stop_requests(lambda: noted.append(True)):
        yield
    if noted:
        interrupt()


def is_requested() -> bool:
    """Whether a request has come since the outermost `stop_requests` began, whatever became of it."""
    return _state.last is not None


def interrupted_by() -> str:
    """What stopped this process, to be told: "interrupted", and by which signal unless it was Ctrl-C.

    >>> with stop_requests(ignore, [signal.SIGTERM]):
    ...     signal.raise_signal(signal.SIGTERM)
    >>> interrupted_by()
    'interrupted by SIGTERM'
    """
    if _state.last is signal.SIGALRM:
        return "interrupted when its time was up"
    if _state.last in (None, signal.SIGINT):
        return "interrupted"
    return f"interrupted by {_state.last.name}"


def follow_parent() -> None:
    """In a worker: a request to stop as soon as the parent is gone, however it ended; in other processes, nothing.

    The parent alone holds the other end of a pipe, which the kernel closes with it, also after SIGKILL. To stop its
    workers a living parent closes it. A worker that has not stopped after `GRACE` seconds is ended.
    """
    descriptor = os.environ.pop(PARENT, "")  # popped: not for processes that this one starts
    if not descriptor.isdigit():
        return
    with contextlib.suppress(OSError):
        os.set_inheritable(int(descriptor), False)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:  # a word of the parent is not to be ignored
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_follow, args=(int(descriptor),), daemon=True).start()


def _follow(descriptor: int) -> None:
    try:
        os.read(descriptor, 1)
    except OSError:  # no pipe: the variable is not ours
        return
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGTERM)  # to that thread: wakes it if it sleeps or reads
    time.sleep(GRACE)
    os._exit(128 + signal.SIGINT)
