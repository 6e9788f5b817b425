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
from collections.abc import Callable, Generator, Sequence
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Ctrl-C; docker, systemd, Slurm; a terminal that is closed; Slurm ahead of its time limit (`--signal=USR1@60`)."""
PARENT = "CGRO_PARENT_PIPE"
"""Environment variable of a worker: the file descriptor that reads end of file when its parent is gone."""
GRACE = 30.0
"""Seconds that a worker has for its last step and its checkpoint. A choice: what Slurm grants before it kills."""
PERIOD = 1.0
"""Seconds after which an interrupt counts as lost. A choice: longer than any clean-up but that of workers."""

Handler = Callable[[], None]
_Kept = Callable[[int, FrameType | None], object] | int | signal.Handlers | None
"""What Python says handles a signal."""


class _State:
    """Of this process.

    No dataclass: their import takes longer than all else between the start of a command and its first handler.

    Attributes:
        handlers: those in force, innermost last.
        last: the signal that came last.
        sent: stands for the interrupt that is under way; None while there is none.
    """

    def __init__(self) -> None:
        self.handlers: list[Handler] = []
        self.last: signal.Signals | None = None
        self.sent: object = None


_state = _State()


def interrupt() -> None:
    """The plain handler: interrupt at once, and again every `PERIOD` seconds until the interrupt has arrived.

    In finalizers and where C code calls Python (ctypes, numba, a test for an attribute) an exception has nowhere to go:
    it is dropped, and the command would go on to its end.

    Raises:
        KeyboardInterrupt: always.
    """
    if _state.handlers and _state.sent is None:
        _state.sent = object()
        # Not threading.Thread, which takes locks that the interrupted code may hold.
        _thread.start_new_thread(_insist, (_state.sent,))
    raise KeyboardInterrupt


def acknowledge() -> None:
    """Say, where an interrupt leads to work of more than `PERIOD` seconds, that it has arrived."""
    if _state.sent is not None:
        _state.sent = object()


def _insist(sent: object) -> None:
    """Send the signal again and again until the interrupt `sent` has arrived or the command has ended."""
    main = _main_thread()
    while True:
        time.sleep(PERIOD)
        if _state.sent is not sent or not _state.handlers:
            return
        signal.pthread_kill(main, _state.last or signal.SIGINT)


def _main_thread() -> int:
    main = threading.main_thread().ident
    assert main is not None  # it has been started
    return main


def ignore() -> None:
    """The handler of those who are about to end anyway."""


def _received(number: int, _frame: object) -> None:
    _state.last = signal.Signals(number)
    handler = _state.handlers[-1] if _state.handlers else interrupt
    handler()


@contextlib.contextmanager
def stop_requests(
    handler: Handler, signals: Sequence[signal.Signals] = (signal.SIGINT,)
) -> Generator[None, None, None]:
    """Within, a request to stop calls `handler`, in place of the handler of an outer call.

    A signal that was ignored stays ignored: SIGHUP under nohup, SIGINT of a shell's background job. Outside of the main
    thread, where Python delivers no signals, nothing is changed.

    Args:
        handler: called in the main thread, between two instructions of Python; it may raise.
        signals: those that are requests from now on, beside those that already are by an outer call.

    Yields:
        Nothing; the handler is in force inside the block.

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
    _state.last = None
    _state.sent = None
    kept = sys.unraisablehook
    sys.unraisablehook = _hiding(kept)
    try:
        with _in_force(handler, signals):
            yield
    finally:
        _state.sent = None
        sys.unraisablehook = kept


@contextlib.contextmanager
def _in_force(handler: Handler, signals: Sequence[signal.Signals]) -> Generator[None, None, None]:
    """Within, `handler` is the innermost one, and the signals that are not ignored and not ours already come to it."""
    _state.handlers.append(handler)
    before: dict[signal.Signals, _Kept] = {}
    for number in signals:
        kept = signal.getsignal(number)
        # None: installed by C code, which Python could not put back.
        if kept not in (signal.SIG_IGN, None, _received):
            before[number] = kept
    try:
        for number in before:
            signal.signal(number, _received)
        yield
    finally:
        try:
            for number, kept in before.items():
                signal.signal(number, kept)
        finally:
            _state.handlers.pop()


def _hiding(hook: Callable[["sys.UnraisableHookArgs"], object]) -> Callable[["sys.UnraisableHookArgs"], None]:
    """A hook for exceptions that Python cannot raise, without interrupts: these come again."""

    def lost(found: "sys.UnraisableHookArgs") -> None:
        if not issubclass(found.exc_type, KeyboardInterrupt):
            hook(found)

    return lost


@contextlib.contextmanager
def deferred_requests() -> Generator[None, None, None]:
    """Within, requests are only noted, and met on leaving: an import of torch that is interrupted aborts the process.

    Yields:
        Nothing.

    Raises:
        KeyboardInterrupt: on leaving, if there was a request.
    """
    noted: list[bool] = []
    with stop_requests(lambda: noted.append(True)):
        yield
    if noted:
        interrupt()


def is_requested() -> bool:
    """Whether a request has come since the outermost `stop_requests` began, whatever became of it.

    Returns:
        True from the first signal on.
    """
    return _state.last is not None


@contextlib.contextmanager
def stopping_after(seconds: float) -> Generator[None, None, None]:
    """A request to stop, as from the keyboard, when the time is up: every command saves and stops on it.

    Args:
        seconds: from now; 0 for never.

    Yields:
        Nothing.
    """
    if not seconds:
        yield
        return
    with stop_requests(interrupt, [signal.SIGALRM]):
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def interrupted_by() -> str:
    """What stopped this process, to be told.

    Returns:
        "interrupted", and by which signal unless it was Ctrl-C.

    Example:
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
    signal.pthread_kill(_main_thread(), signal.SIGTERM)  # to that thread: wakes it if it sleeps or reads
    time.sleep(GRACE)
    os._exit(128 + signal.SIGINT)
