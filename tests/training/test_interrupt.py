"""Ctrl-C is noted once; a second one does not wait for the step."""

import signal

import pytest

from cgro.training.interrupt import stop_after_step


def test_the_first_is_a_request_and_the_second_interrupts() -> None:
    before = signal.getsignal(signal.SIGINT)
    noted: list[bool] = []

    def press_twice() -> None:
        with stop_after_step() as stop:
            noted.append(stop.made)
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
                noted.append(stop.made)

    with pytest.raises(KeyboardInterrupt):
        press_twice()
    assert noted == [False, True]
    assert signal.getsignal(signal.SIGINT) is before
