"""Time that passes only where work says so."""


class FakeClock:
    """Seconds that calls add themselves.

    Example:
        >>> clock = FakeClock()
        >>> clock.work(2.0)()
        >>> clock()
        2.0
    """

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, *seconds: float):
        """A call that takes so long, its k-th time the k-th, and from then on the last."""
        left = list(seconds)

        def call() -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call
