"""Numbers and lines of messages, whatever is given: the checks under every reader."""

import time

from tests.cases import refused

from cgro._check import count, number, one_line


def test_numbers() -> None:
    odd = ("x", "9" * 5_000, "1/0", "1/2/3", "\x1b[31m", "x" * 9_000)
    for value in (None, [], {}, 10**400, 10**5_000, float("nan"), float("inf"), *odd):
        refused(lambda value=value: number(value, "x"))
        refused(lambda value=value: count(value, "x", high=10))


def test_the_line_of_a_line_is_the_same_line() -> None:
    text = "words of text with spaces " * 99
    assert all(one_line(one_line(text, n), n) == one_line(text, n) for n in range(20, 120))
    start = time.process_time()
    assert len(one_line("a \x1b" * 20_000_000, 200)) <= 200
    assert time.process_time() - start < 5
