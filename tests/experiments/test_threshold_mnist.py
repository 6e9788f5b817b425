"""The robust gap against the number of images: where it closes, how sharply, and by what."""

import pytest
from msgspec.structs import replace
from tests.experiments.cases import Cases, Wrong, judged

from cgro.experiments import networks, threshold_mnist
from cgro.experiments.claims import NOT_REPRODUCED, REPRODUCED
from cgro.experiments.threshold_mnist import CLOSED, PAPER, Cell, Findings, Line

SIZES = (250, 500, 1000, 2000, 4000, 8000)
SHARP = {0.1: (40, 38, 4, 1, 1, 1), 0.2: (40, 39, 36, 5, 1, 1), 0.3: (40, 40, 39, 36, 6, 1)}
SMOOTH = {0.1: (26, 18, 12.5, 8.5, 6, 4), 0.2: (32, 24, 17, 12, 8.5, 6), 0.3: (40, 30, 22, 16, 11, 8)}


def line(radius: float, gaps: tuple[float, ...], *, lost: bool = False) -> Line:
    """Gaps that open on test images, or where training images are lost; seeds differ a little."""
    cells = []
    for n, gap in zip(SIZES, gaps, strict=True):
        seeds = [gap * (1 + shift) for shift in (-0.02, 0.0, 0.02)]
        train = [50.0 + one for one in seeds] if lost else [95.0] * 3
        cells.append(
            Cell(
                n=n,
                clean_train=[100.0] * 3,
                clean_test=[95.0] * 3,
                robust_train=train,
                robust_test=[high - one for high, one in zip(train, seeds, strict=True)],
            )
        )
    return Line(radius=radius, cells=cells)


RIGHT = Findings(
    scale="cpu", lines=[line(radius, gaps) for radius, gaps in SHARP.items()], n_test=2000, n_parameters=206_954
)
CASES = Cases(
    right=RIGHT,
    wrong=[
        Wrong(replace(PAPER, order=-1), "threshold-mnist/radius"),
        Wrong(replace(PAPER, span=1.1), "threshold-mnist/sharp"),
        Wrong(replace(PAPER, gained=1.5), "threshold-mnist/gained"),
    ],
    swapped=replace(RIGHT, lines=RIGHT.lines[::-1]),
    notices="threshold-mnist/radius",
    drawn=frozenset({"sizes"}),
)


def test_a_smooth_fall_is_no_threshold() -> None:
    found = replace(RIGHT, lines=[line(radius, gaps) for radius, gaps in SMOOTH.items()])
    claims = judged(threshold_mnist, found)
    assert claims["threshold-mnist/sharp"].verdict == NOT_REPRODUCED
    assert claims["threshold-mnist/radius"].verdict == REPRODUCED
    power = line(0.1, tuple(400 * n**-0.5 for n in SIZES))
    assert [power.slope(seed) for seed in range(3)] == pytest.approx([-0.5] * 3)


def test_a_gap_that_closes_as_training_images_are_lost_is_not_gained() -> None:
    lines = [line(radius, gaps, lost=True) for radius, gaps in SHARP.items()]
    assert judged(threshold_mnist, replace(RIGHT, lines=lines))["threshold-mnist/gained"].verdict == NOT_REPRODUCED


def test_a_gap_that_does_not_fall_is_noticed() -> None:
    lines = [line(radius, (20.0,) * 6) for radius in SHARP]
    claims = judged(threshold_mnist, replace(RIGHT, lines=lines))
    assert claims["threshold-mnist/falls"].verdict == NOT_REPRODUCED
    assert lines[0].gained(0) is None


def test_the_closing_size_is_between_two_sizes_and_bounded_where_it_is_not_shown() -> None:
    shown = line(0.1, (40, 20, 5, 1, 1, 1))
    assert shown.closing(1) == pytest.approx(500 * 2 ** (10 / 15))
    closed = line(0.1, (5, 4, 3, 2, 1, 1))
    assert (closed.closing(1), closed.bounded_closing(1)) == (None, 250.0)
    never = line(0.3, (40, 39, 38, 37, 36, CLOSED + 25))
    assert (never.closing(1), never.bounded_closing(1)) == (None, 8000.0)
    assert never.span(1) == 8000 / 250  # neither three quarters nor one quarter is reached
    assert shown.span(1) == pytest.approx(500 * 2 ** (10 / 15) / (250 * 2 ** (10 / 20)))


def test_networks_of_a_radius_differ_in_their_number_of_images_and_have_more_steps_for_more() -> None:
    steps = []
    for n in networks.SIZES["cpu"]:
        config = networks.configuration(networks.sized("cpu", "0.2", n)[0])
        assert (config.n_train, config.radius, config.optimizer, config.width) == (n, "0.2", "sgd", 4)
        assert config.step_size == "0.05"
        assert config.radius_warmup == config.epochs / 4
        steps.append(config.epochs * n // 50)
    assert steps == sorted(steps)
    assert steps[-1] / steps[0] == pytest.approx((8000 / 250) ** 0.5, rel=0.05)


def test_whole_seeds_are_made_first() -> None:
    seeds = [networks.configuration(job).seed for job in threshold_mnist.jobs("cpu")]
    assert len(seeds) == 54
    assert seeds == sorted(seeds)
