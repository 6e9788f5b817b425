"""The choice between memory and disk."""

import pytest
from tests.cases import refused

from cgro.data import load
from cgro.data.storage import Storage
from cgro.reading import memory_left


def test_auto_streams_what_takes_more_than_half_of_the_memory() -> None:
    left = memory_left()
    assert Storage().streams(left)
    assert not Storage().streams(left // 4)
    assert "more than 50%" in Storage().remark("a", 2, 3_000_000)
    assert Storage("yes").remark("a", 2_000, 3_000_000).startswith("a: 2,000 images are read from the disk")
    assert "take 3 MB" in Storage("yes").remark("a", 2, 3_000_000)


def test_other_choices_are_refused() -> None:
    refused(lambda: Storage("maybe"), "stream", "auto, yes, no")  # type: ignore[arg-type]
    refused(lambda: Storage(image_size=0), "image_size")


@pytest.mark.parametrize("name", ["digits", "tests.data.test_storage:arrays"])
def test_arrays_are_neither_streamed_nor_scaled(name: str) -> None:
    refused(lambda: load(name, stream="yes"), "--stream", "auto or no")
    refused(lambda: load(name, image_size=4), "--image-size", "none")


def arrays() -> dict[str, object]:
    raise AssertionError("asked before it is called")
