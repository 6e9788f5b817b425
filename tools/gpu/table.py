"""The table of speeds of one machine, in under four minutes and without network: see README.md beside this file.

  python tools/gpu/table.py --out FOLDER                      all rows, on CUDA
  python tools/gpu/table.py --out FOLDER --checks             the checks alone, under a minute
  python tools/gpu/table.py --out FOLDER --device cpu --tiny  a dry run in seconds; its numbers mean nothing

Images are random: their values do not decide the speed. Rows are measured in the order of their worth until the time is
over; what is left is listed as such. Milliseconds are medians with quartiles, the ways of a group take turns.
"""

import argparse
import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import torch
from lightning_fabric import Fabric
from msgspec import Struct
from tools.gpu.checks import (
    Check,
    captured_evaluation_is_eager,
    captured_is_eager,
    captured_training_is_eager,
    equal_repeats,
    in_float32,
    without_waiting,
)
from tools.gpu.steps import BareStep, bare_passes
from torch import Tensor, nn

from cgro._check import BadRequest, one_line
from cgro.data import Dataset, Split
from cgro.definitions import APGD, PGD, ThreatModel, robust_error
from cgro.definitions.attacks.captured import searches_of
from cgro.definitions.graphs import capturing_by
from cgro.environment import Environment, current_environment
from cgro.models import build, fast_layout
from cgro.results import Spread
from cgro.speed import (
    alternated,
    captured,
    captured_epoch,
    captured_search,
    common_epoch,
    torchattacks_peer,
    waiter,
)
from cgro.training import Adversarial, Recipe, fit, make_fabric
from cgro.writing import dump_json, write_atomic

N_EPOCH = 50_000
"""Examples in an epoch of CIFAR-10."""
RADIUS = 8 / 255


class Row(Struct, frozen=True):
    """One way of one group.

    Attributes:
        group: ways that took turns.
        way: what was called.
        batch: examples in a call or a step.
        first_seconds: of the call that does not count.
        ms: of a call.
        epoch_seconds: of 50,000 examples, where the call is a part of an epoch.
        operations: multiplications and additions a second, where they are known.
    """

    group: str
    way: str
    batch: int
    first_seconds: float
    ms: Spread
    epoch_seconds: float | None = None
    operations: float | None = None


class Found(Struct, frozen=True):
    """What table.json holds.

    Attributes:
        environment: versions, commit, machine, driver, flags.
        tiny: whether it was a dry run.
        fit: what `fit` does with a step of each precision: "captured", or why not.
        checks: as found.
        rows: as measured.
        left_out: what was not, and why.
    """

    environment: Environment
    tiny: bool
    fit: Mapping[str, str]
    checks: Sequence[Check]
    rows: Sequence[Row]
    left_out: Mapping[str, str]


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Args:
        width: of the PreActResNet.
        wide: name of the wide network.
        batches: examples in an attack.
        n_steps: steps of a training that are timed.
        side: of the products of matrices.
        repeats: repetitions that count.
    """

    width: int = 64
    wide: str = "wrn-34-10"
    batches: tuple[int, ...] = (128, 512)
    n_steps: int = 12
    side: int = 8192
    repeats: int = 7


TINY = Scale(width=4, wide="preactresnet", batches=(4,), n_steps=2, side=64, repeats=1)


@dataclass
class Table:
    """What is measured so far.

    Args:
        device: where it is measured.
        scale: how large.
        deadline: on the monotonic clock; after it no group is begun.
        rows: as measured.
        left_out: what was not, and why.
        checks: as found.
        fit: what `fit` does with a step, by precision.
    """

    device: torch.device
    scale: Scale
    deadline: float
    rows: list[Row] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    fit: dict[str, str] = field(default_factory=dict)

    def network(self, name: str = "preactresnet") -> nn.Module:
        """A network with the channels last, in evaluation mode on the device."""
        width = self.scale.width if name == "preactresnet" else None
        return fast_layout(build(name, (3, 32, 32), 10, width=width, seed=0)).to(self.device).eval()

    def batch(self, n: int) -> tuple[Tensor, Tensor]:
        """Random images and labels."""
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(n, 3, 32, 32, generator=generator)
        return x.to(self.device), (torch.arange(n) % 10).to(self.device)

    def data(self, n: int) -> Dataset:
        """As a data set, the same for training and test."""
        x, y = self.batch(n)
        part = Split(x, y, torch.arange(n))
        return Dataset("random", "random images", part, part.head(0), part, tuple("0123456789"), 10, "")

    def measure(
        self,
        group: str,
        calls: Mapping[str, Callable[[], object]],
        batch: int,
        *,
        n_examples: int | None = None,
        operations: float | None = None,
    ) -> None:
        """Time the ways of a group in turns, and print their rows."""
        times = alternated(calls, self.scale.repeats, wait=waiter(self.device))
        for way, taken in times.items():
            seconds = Spread.over(taken.seconds)
            ms = Spread.over([1000 * value for value in taken.seconds])
            epoch = None
            if n_examples is not None:
                epoch = seconds.median * N_EPOCH / n_examples
            rate = None
            if operations is not None:
                rate = operations / seconds.median
            self.rows.append(Row(group, way, batch, taken.first, ms, epoch, rate))
            print(f"{group}, {way}, {batch}: {ms.median:.3g} ms [{ms.low:.3g}, {ms.high:.3g}]", _more(epoch, rate))

    def attempt(self, group: str, work: Callable[[], None]) -> None:
        """Do a group unless the time is over; one that fails is told, and the others go on."""
        if time.monotonic() > self.deadline:
            self.left_out[group] = "the time was over"
        else:
            try:
                work()
            except (RuntimeError, BadRequest) as error:
                self.left_out[group] = one_line(str(error), 300)
        if group in self.left_out:
            print(f"{group}: not measured, {self.left_out[group]}")


def _more(epoch: float | None, rate: float | None) -> str:
    text = ""
    if epoch is not None:
        text += f" {epoch:.3g} s an epoch"
    if rate is not None:
        text += f" {rate:.3g} operations/s"
    return text


def products(table: Table) -> None:
    """Products of square matrices: what the device gives at most."""
    side = table.scale.side
    for dtype in (torch.bfloat16, torch.float32):
        a = torch.ones(side, side, device=table.device, dtype=dtype)
        table.measure("product", {str(dtype): partial(torch.mm, a, a)}, side, operations=2.0 * side**3)


def searches(table: Table, n: int) -> None:
    """PGD-10 plainly, as commands call it, captured, by torchattacks; and its bare passes."""
    x, y = table.batch(n)
    fast = table.network()
    plain_model = copy.deepcopy(fast).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    attack = PGD(ThreatModel("inf", RADIUS), n_steps=10)
    laid_out = x.contiguous(memory_format=torch.channels_last)
    calls: dict[str, Callable[[], object]] = {
        "PGD, plain call": lambda: attack(plain_model, x, y),
        "PGD, as commands call it": lambda: attack(fast, x, y),
        "ten bare passes": lambda: bare_passes(fast, laid_out, y, 10),
    }
    peer = torchattacks_peer(plain_model, attack)
    if peer is None:
        table.left_out["torchattacks"] = "not installed"
    else:
        calls["torchattacks"] = lambda: peer(x, y)
    if table.device.type == "cuda":
        # NOT YET RUN.
        own = copy.deepcopy(fast)
        graphs: dict[str, Callable[[], Callable[[], Tensor]]] = {
            "PGD in one graph": lambda: captured_search(attack, own, x, y),
            "ten bare passes in one graph": lambda: captured(lambda: bare_passes(own, laid_out, y, 10), table.device),
        }
        for way, capture in graphs.items():
            try:
                calls[way] = capture()
            except RuntimeError as error:
                table.left_out[f"{way}, batch {n}"] = one_line(str(error), 300)
    table.measure("PGD-10", calls, n)


def _an_epoch(table: Table) -> tuple[int, Dataset, PGD, Recipe]:
    """Batch size, images, attack and loop of the rows on epochs."""
    n = table.scale.batches[0]
    recipe = Recipe(epochs=1, batch_size=n, optimizer="sgd", lr=0.0, augment="crop-flip")
    attack = PGD(ThreatModel("inf", RADIUS), n_steps=10, step_size=2 / 255)
    return n, table.data(n * table.scale.n_steps), attack, recipe


def epochs(table: Table, name: str = "preactresnet") -> None:
    """`fit` by step precision, eager and captured, and the loop that everyone writes."""
    n, data, attack, recipe = _an_epoch(table)
    calls: dict[str, Callable[[], object]] = {}
    for precision in ("float32", "bfloat16"):
        fabric = make_fabric(str(table.device), precision=precision)
        calls[f"fit, eager, {precision} step"] = partial(_eager_fit, table.network(name), data, attack, recipe, fabric)
        try:
            calls[f"fit, captured, {precision} step"] = captured_epoch(
                table.network(name), data, Adversarial(attack), recipe, fabric
            )
            table.fit[precision] = "captured"
        except (RuntimeError, BadRequest) as error:
            table.fit[precision] = one_line(str(error), 300)
        print(f"fit, {precision} step: {table.fit[precision]}")
    common = table.network(name)
    batches = [(x, y) for x, y in zip(data.train.x.split(n), data.train.y.split(n), strict=True)]
    calls["common float32 loop"] = partial(common_epoch, common, recipe.build_optimizer(common), batches, attack)
    table.measure(f"epoch, {name}", calls, n, n_examples=len(data.train))


def _eager_fit(model: nn.Module, data: Dataset, attack: PGD, recipe: Recipe, fabric: Fabric) -> None:
    with capturing_by(None):
        fit(model, data, Adversarial(attack), recipe, fabric=fabric)


def compiled_epochs(table: Table) -> None:
    """The steps of `fit` with the network compiled before the capture, by step precision. NOT YET RUN on CUDA."""
    n, data, attack, recipe = _an_epoch(table)
    calls: dict[str, Callable[[], object]] = {}
    for precision in ("float32", "bfloat16"):
        fabric = make_fabric(str(table.device), precision=precision)
        key = f"{precision}, compiled"
        started = time.monotonic()
        try:
            calls[f"fit, captured, compiled, {precision} step"] = captured_epoch(
                table.network(), data, Adversarial(attack), recipe, fabric, compiled=True
            )
            table.fit[key] = f"captured, compiled; the first steps took {time.monotonic() - started:.0f} s"
        except (RuntimeError, BadRequest) as error:
            table.fit[key] = one_line(str(error), 300)
        print(f"fit, {key}: {table.fit[key]}")
    if calls:
        table.measure("epoch, preactresnet", calls, n, n_examples=len(data.train))


def evaluations(table: Table) -> None:
    """The robust error by PGD-20 on six batches, eager and, on CUDA, captured. NOT YET RUN on CUDA.

    Labels are the network's own answers, so that every batch is full.
    """
    n = table.scale.batches[0]
    model = table.network()
    x, _ = table.batch(6 * n)
    with torch.no_grad():
        y = torch.cat([model(some).argmax(1) for some in x.split(n)])
    attack = PGD(ThreatModel("inf", RADIUS), n_steps=20)

    def eager() -> None:
        with capturing_by(None):
            robust_error(model, x, y, attack, batch=n)

    calls: dict[str, Callable[[], object]] = {"evaluation, eager": eager}
    if table.device.type == "cuda":
        robust_error(model, x, y, attack, batch=n)
        reasons = [search.reason for search in searches_of(model)]
        if any(reasons):
            table.left_out["evaluation, captured"] = reasons[0]
        else:
            calls["evaluation, captured"] = partial(robust_error, model, x, y, attack, batch=n)
    else:
        table.left_out["evaluation, captured"] = "only CUDA has graphs"
    table.measure("evaluation, PGD-20", calls, n)


def whole_steps(table: Table, name: str = "preactresnet", *, compiled: bool = False) -> None:
    """The whole step, bfloat16 passes and float32 weights; on CUDA as one graph."""
    n = table.scale.batches[0]
    x, y = table.batch(n)
    network = table.network(name).train()
    if compiled:
        faster = torch.compile(network, dynamic=False)
        assert isinstance(faster, nn.Module)
        network = faster
    step = BareStep(network, x.contiguous(memory_format=torch.channels_last), y, RADIUS)
    call: Callable[[], object] = step
    way = "bare step"
    if table.device.type == "cuda":
        # NOT YET RUN. At a learning rate of 0 the warm-up leaves the weights as they are.
        call = captured(step, table.device)
        way = "bare step in one graph"
    if compiled:
        way += ", compiled"
    table.measure(f"epoch, {name}", {way: call}, n, n_examples=n)


def launches(table: Table) -> None:
    """Kernel launches, copies and waits of one search, by the profiler. NOT YET RUN on CUDA."""
    x, y = table.batch(table.scale.batches[0])
    model = table.network()
    threat = ThreatModel("inf", RADIUS)
    for attack in (PGD(threat, n_steps=10), APGD(threat, n_steps=100)):
        attack(model, x, y)
        with torch.profiler.profile() as profile:
            attack(model, x, y)
            waiter(table.device)()
        counts = {"cudaLaunchKernel": 0, "cudaMemcpyAsync": 0, "cudaStreamSynchronize": 0}
        for event in profile.key_averages():
            for name in counts:
                if event.key.startswith(name):
                    counts[name] += event.count
        finding = ", ".join(f"{name} {n}" for name, n in counts.items())
        table.checks.append(Check(f"launches of {attack.name}", None, finding))
        print(f"launches of {attack.name}: {finding}")


def check(table: Table) -> None:
    """Every check, on the first batch size."""
    x, y = table.batch(table.scale.batches[0])
    model = table.network()
    attack = PGD(ThreatModel("inf", RADIUS), n_steps=10)
    data = table.data(3 * len(x))
    repeats = partial(equal_repeats, table.network, data, attack, str(table.device))
    training = partial(captured_training_is_eager, table.network, table.data(6 * len(x)), attack, table.device)
    for one in (
        partial(in_float32, model, x),
        partial(without_waiting, attack, model, x, y),
        partial(captured_is_eager, attack, copy.deepcopy(model), x, y),
        partial(captured_evaluation_is_eager, attack, copy.deepcopy(model), x, y),
        training,
        repeats,
    ):
        found = one()
        table.checks.append(found)
        word = {True: "pass", False: "FAIL", None: "not here"}[found.passed]
        print(f"{word}: {found.name}: {found.finding}")


def fill(table: Table, tiny: bool) -> None:
    """Every group, what matters most first."""
    for n in table.scale.batches:
        table.attempt(f"PGD-10, batch {n}", partial(searches, table, n))
    table.attempt("whole step", partial(whole_steps, table))
    table.attempt("epoch", partial(epochs, table))
    table.attempt("evaluation", partial(evaluations, table))
    table.attempt("product", partial(products, table))
    table.attempt("launches", partial(launches, table))
    table.attempt("epoch, compiled", partial(compiled_epochs, table))
    if not tiny:  # compiling takes half a minute
        table.attempt("whole step of the wide network", partial(whole_steps, table, table.scale.wide))
        table.attempt("whole step, compiled", partial(whole_steps, table, compiled=True))


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder that takes table.json")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--minutes", type=float, default=3.0, help="after which no group is begun")
    parser.add_argument("--checks", action="store_true", help="the checks alone")
    parser.add_argument("--tiny", action="store_true", help="a dry run with tiny networks")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Check, measure, write.

    Args:
        words: of the command line; None: those of this process.

    Returns:
        0; 1 if a check failed.
    """
    options = parsed(words)
    scale = TINY if options.tiny else Scale()
    device = make_fabric(options.device).device
    table = Table(device, scale, time.monotonic() + 60 * options.minutes)
    check(table)
    if not options.checks:
        fill(table, options.tiny)
    found = Found(current_environment(0), options.tiny, table.fit, table.checks, table.rows, table.left_out)
    write_atomic(options.out / "table.json", dump_json(msgspec.to_builtins(found)))
    return int(any(one.passed is False for one in table.checks))


if __name__ == "__main__":
    raise SystemExit(main())
