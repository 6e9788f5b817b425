"""What a log says of its own training."""

import time

from cgro.diagnosis.importers.heads import said_of_itself, settings_in


def test_settings_of_a_namespace() -> None:
    found = settings_in("Namespace(attack='pgd', fname='a(b)_c', lr=0.1, note='x, y', resume=None)")
    assert found == {"attack": "pgd", "fname": "a(b)_c", "lr": "0.1", "note": "x, y", "resume": "None"}


def test_what_is_said_is_one_printable_line() -> None:
    (text,) = said_of_itself({"attack": "\x1b[31mpgd", "model": "x" * 10_000})
    assert text.isprintable()
    assert len(text) < 300
    assert said_of_itself({"lr": "0.1"}) == []


def test_a_head_of_any_length_takes_no_time() -> None:
    start = time.process_time()
    for text in ("a=" * 100_000, "a='" * 100_000, "(" * 100_000, "a" * 100_000):
        settings_in(f"Namespace({text}")
    assert time.process_time() - start < 2
