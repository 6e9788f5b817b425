"""What names of columns mean, and percent or fraction."""

import time

from cgro.diagnosis.columns import meaning_of

LONG = 200_000


def test_no_name_of_a_column_takes_long() -> None:
    start = time.process_time()
    for name in ("aA" * LONG, "test acc " * LONG, "A" * LONG):
        assert meaning_of(name) is None
    assert time.process_time() - start < 5
