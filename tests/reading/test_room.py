"""What the memory holds."""

import resource

import pytest

from cgro._check import BadRequest
from cgro.reading import ALWAYS_ROOM, memory_left, require_room
from cgro.reading.room import EXPANSION


def test_room_is_what_the_process_may_still_take(monkeypatch) -> None:
    require_room(1, 1, "file")
    left = memory_left()
    assert left > 0
    with pytest.raises(BadRequest, match="memory that are left"):
        require_room(left + (1 << 40), left + (1 << 40), "file")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1 << 20, 1 << 20))
    assert memory_left() == 0  # the limit lies below what is in use


def test_what_expands_like_a_bomb_is_refused_and_what_is_small_is_not() -> None:
    require_room(ALWAYS_ROOM, 1, "file")
    with pytest.raises(BadRequest, match="200 times the 1 bytes"):
        require_room(ALWAYS_ROOM + 1, 1, "file")
    stored = ALWAYS_ROOM // EXPANSION + 1  # from this size on the factor decides
    require_room(EXPANSION * stored, stored, "file")
    with pytest.raises(BadRequest, match="200 times"):
        require_room(EXPANSION * stored + 1, stored, "file")
