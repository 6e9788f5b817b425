"""Exit codes, where they are written down a second time: before the first import, and for people."""

import cgro.__main__ as entry
from cgro import _exits, cli


def test_they_are_those_of_the_pages_and_of_the_entry() -> None:
    assert entry._INTERRUPTED == _exits.INTERRUPTED
    for code, words in (
        (_exits.DONE, "done"),
        (_exits.CHECK_FAILED, "a check that was asked for failed"),
        (_exits.BAD_REQUEST, "bad request"),
        (_exits.INTERRUPTED, "interrupted"),
    ):
        assert f"{code} {words}" in (cli.__doc__ or "")
