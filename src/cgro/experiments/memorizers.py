"""Memorizers of Theorem 4.4: which are built, and what their runs say."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from cgro.commands import memorize
from cgro.experiments.findings import Part
from cgro.experiments.metrics import errors, n_examples
from cgro.folder import seed_folders
from cgro.jobs.plan import Job, Scale
from cgro.results import MemorizeSummary
from cgro.results.keys import CERTIFIED_TEST, CERTIFIED_TRAIN, CLEAN_TEST, ROBUST_TEST
from cgro.runs import Run

Norm = Literal["inf", "2", "1"]
RADII: dict[Norm, str] = {"inf": "0.1", "2": "1.0", "1": "8.0"}
DIGITS_RADII: dict[Norm, str] = {"inf": "0.05", "2": "0.2", "1": "0.3"}
MNIST_RADII: dict[str, str] = {"inf": "0.1", "2": "0.7"}
MNIST_SECONDS = {"inf": 1150, "2": 450}
SIZES: dict[Scale, tuple[int, ...]] = {
    "smoke": (30, 60),
    "cpu": (50, 100, 200, 400),
    "gpu": (50, 100, 200, 400),
    "paper": (50, 100, 200, 400),
}
DIMS = {"digits": 64, "mnist5k": 784}
SEEDS: dict[Scale, int] = {"smoke": 1, "cpu": 5, "gpu": 5, "paper": 5}
REGIONS = "memorize-3-8-inf"
CLEAN_MODEL = "clean_error/test@clean_model"
NAIVE = "robust_error/test@naive-pgd"


class Task(Part, frozen=True, kw_only=True):
    """A certified network on one task; lists have one entry per seed, errors are in percent.

    Attributes:
        data: the data set.
        classes: of the task, in words.
        p: norm of the balls.
        radius: of the balls.
        n_train: training points.
        separation: distance between classes.
        holds: whether the certificate does.
        method: of the certificate.
        least_margin: over training balls.
        certified_error: robust training error.
        clean_error: on test images.
        clean_model_error: of f_clean on test images.
        robust_low: robust test error that an attack found.
        robust_high: robust test error that is not excluded by the certificate.
        robust_low_end: lower end of the 95% interval of `robust_low`.
        naive_pgd: robust test error that PGD finds, misled by the clip of f_clean.
        parameters: of the network.
        n_test: test images of the bracket.
        agree: whether interval propagation agrees with the certificate.
    """

    data: str
    classes: str
    p: str
    radius: str
    n_train: int
    separation: float
    holds: list[bool]
    method: str
    least_margin: list[float]
    certified_error: list[float]
    clean_error: list[float]
    clean_model_error: list[float]
    robust_low: list[float]
    robust_high: list[float]
    robust_low_end: list[float]
    naive_pgd: list[float]
    parameters: int
    n_test: int
    agree: list[bool]

    @property
    def is_whole(self) -> bool:
        """Whether it is all of MNIST, which has a claim of its own."""
        return self.data == "mnist"


class Size(Part, frozen=True, kw_only=True):
    """A memory of N points in D dimensions.

    Attributes:
        p: norm.
        data: the data set.
        n: points.
        dim: dimensions.
        n_times_dim: their product.
        generic: parameters for data in general position.
        measured: non-zeros that were counted.
        formula: what the closed formula says they are.
        holds: whether the certificate does.
    """

    p: Norm
    data: str
    n: int
    dim: int
    n_times_dim: int
    generic: int
    measured: int
    formula: int
    holds: bool


def tasks(scale: Scale) -> list[Job]:
    """Real data: mnist5k in three norms, even against odd, and all of MNIST.

    Args:
        scale: of the reproduction.

    Returns:
        Constructions.
    """
    small: dict[str, object] = {}
    if scale == "smoke":
        small = {"n_train": 100, "n_test": 60, "clean_epochs": 5}
    found = []
    for p, radius in RADII.items():
        task = {"data": "mnist5k", "classes": "3,8", "p": p, "radius": radius, "seeds": SEEDS[scale]}
        found.append(Job(f"memorize-3-8-{p}", "memorize", {**task, **small}, 15 * SEEDS[scale]))
    if scale != "smoke":
        even = {"data": "mnist5k", "classes": "even,odd", "p": "inf", "radius": "0.1", "seeds": 3}
        found += [Job("memorize-even-odd-inf", "memorize", even, 180), mnist("inf"), mnist("2")]
    return found


def mnist(p: str) -> Job:
    """All 60,000 images, ten classes: separation and exact certificate take most of its time.

    Args:
        p: norm, inf or 2.

    Returns:
        A construction.
    """
    settings = {"data": "mnist", "p": p, "radius": MNIST_RADII[p], "eval_n": 200, "clean_epochs": 4}
    return Job(f"memorize-mnist-{p}", "memorize", settings, MNIST_SECONDS[p])


def law(scale: Scale) -> list[Job]:
    """Sizes N at two dimensions D = 64 and 784 in three norms; the clean model hardly matters here.

    Args:
        scale: of the reproduction.

    Returns:
        Constructions.
    """
    found = []
    for data, radii in (("digits", DIGITS_RADII), ("mnist5k", RADII)):
        for p, radius in radii.items():
            for n in SIZES[scale]:
                settings = {
                    "data": data,
                    "p": p,
                    "radius": radius,
                    "n_train": n,
                    "classes": "even,odd",
                    "clean_epochs": 1,
                    "eval_n": 10,
                    "n_test": 20,
                }
                found.append(Job(f"law-{data}-{p}-{n}", "memorize", settings, 5))
    return found


def power(sizes: Sequence[Size]) -> float:
    """The power of N D in what points beyond the first N cost: poly(D), which does not depend on N, is taken off.

    Args:
        sizes: at least three N at each D, in one norm.

    Returns:
        The slope of a straight line through the logarithms, by least squares.
    """
    x, y = [], []
    for dim in sorted({size.dim for size in sizes}):
        first, *more = sorted((size for size in sizes if size.dim == dim), key=lambda size: size.n)
        for size in more:
            x.append((size.n - first.n) * dim)
            y.append(size.generic - first.generic)
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def read_task(done: Run, job: Job) -> Task:
    """The network of a task, over its seeds.

    Args:
        done: the finished run.
        job: that asked for it.

    Returns:
        Certificates and errors.
    """
    config: memorize.Config = job.config()
    parts = [Run(path) for path in seed_folders(done.path)] or [done]
    results = [part.read(MemorizeSummary) for part in parts]
    with_clean_model = [result for result in results if CLEAN_MODEL in result.metrics]
    first = results[0]
    return Task(
        data=config.data,
        classes=config.classes or "ten classes",
        p=config.p,
        radius=config.radius,
        n_train=first.certificate.n,
        separation=first.separation,
        holds=[result.certificate.holds for result in results],
        method=first.certificate.method,
        least_margin=[result.certificate.min_margin for result in results],
        certified_error=errors(results, CERTIFIED_TRAIN),
        clean_error=errors(results, CLEAN_TEST),
        clean_model_error=errors(with_clean_model, CLEAN_MODEL),
        robust_low=errors(results, ROBUST_TEST),
        robust_high=errors(results, CERTIFIED_TEST),
        robust_low_end=[_low_end(result) for result in results],
        naive_pgd=errors(results, NAIVE),
        parameters=first.parameters.total or first.parameters.formula or 0,
        n_test=n_examples(first, ROBUST_TEST),
        agree=[_agrees(result) for result in results],
    )


def _low_end(result: MemorizeSummary) -> float:
    error = result.metrics[ROBUST_TEST].error
    assert error is not None, "robust test errors are counted"
    return 100 * error.interval[0]


def _agrees(result: MemorizeSummary) -> bool:
    """Whether interval propagation agrees with the certificate, where it was run."""
    check = result.checks.interval
    return not check or check.agrees


def read_size(result: MemorizeSummary, job: Job) -> Size:
    """The size of one memory.

    Args:
        result: of its run.
        job: that asked for it.

    Returns:
        Parameters beside N and D.
    """
    config: memorize.Config = job.config()
    parameters = result.parameters
    assert parameters.formula is not None, "the law is on networks whose formula is known"
    assert parameters.total is not None, "and which are small enough to be counted"
    n = result.certificate.n
    dim = DIMS[config.data]
    norm: Norm = next(p for p in RADII if p == config.p)
    return Size(
        p=norm,
        data=config.data,
        n=n,
        dim=dim,
        n_times_dim=n * dim,
        generic=parameters.generic,
        measured=parameters.total,
        formula=parameters.formula,
        holds=result.certificate.holds,
    )
