"""What a reader refuses."""

from collections.abc import Callable

from tests import cases


def refused(call: Callable[..., object], *arguments: object, **options: object) -> str:
    """The line that a reader refuses with."""
    return cases.refused(lambda: call(*arguments, **options))
