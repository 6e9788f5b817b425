"""What a pass is made of: convolutions alone, BatchNorm beside them, and what folding, bfloat16 and compiling bring.

  python benchmarks/floor.py              one thread, CPU time, about a minute
  python benchmarks/floor.py --compile    also the network compiled by inductor, with the seconds that it takes

PreActResNet of base width 16, batches of 64 images of 32 pixels, the passes of the recipe `small-cifar10`. All ways take
one turn in each repetition; ratios are of the common way, float32 on the caller's own layout, within a repetition.
`convolutions` is the network without its BatchNorms: no attack's pass can be faster than that.
"""

import argparse
import copy
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from cgro.definitions.attacks import bfloat16_pays, loss_gradient
from cgro.definitions.attacks.folding import folded
from cgro.definitions.losses import default_loss
from cgro.environment import environment
from cgro.models import build, fast_layout
from cgro.models.resnet import PreActBlock
from cgro.results import Spread
from cgro.speed import alternated
from cgro.writing import dump_json, write_atomic

RESULTS = Path(__file__).parent / "results"
BATCH, WIDTH, SHAPE = 64, 16, (3, 32, 32)


def without_norms(model: nn.Module) -> nn.Module:
    found = copy.deepcopy(model)
    for module in found.modules():
        if isinstance(module, PreActBlock):
            module.add_module("bn1", nn.Identity())
            module.add_module("bn2", nn.Identity())
    return found


def gradient(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, *, bfloat16: bool) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        for _ in range(2):  # two, so that casting the weights counts half, as it hardly counts in an attack
            loss_gradient(model, x, y, default_loss)


def forward(model: Callable[[Tensor], Tensor], x: Tensor, *, bfloat16: bool) -> None:
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        for _ in range(2):
            model(x)


def update(model: nn.Module, x: Tensor, y: Tensor, *, bfloat16: bool) -> None:
    for _ in range(2):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            loss = default_loss(model(x), y).mean()
        loss.backward()
        model.zero_grad(set_to_none=True)


def calls() -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    x, y = torch.rand(BATCH, *SHAPE), torch.arange(BATCH) % 10
    laid_out = x.contiguous(memory_format=torch.channels_last)
    common = build("preactresnet", SHAPE, 10, width=WIDTH, seed=0).eval()
    fast = fast_layout(copy.deepcopy(common))
    bare = without_norms(fast)
    trained, trained_fast = copy.deepcopy(common).train(), copy.deepcopy(fast).train()
    proposer = folded(fast)
    return {
        "gradient, common": lambda: gradient(common, x, y, bfloat16=False),
        "gradient, channels last": lambda: gradient(fast, laid_out, y, bfloat16=False),
        "gradient, folded, float32": lambda: gradient(proposer, laid_out, y, bfloat16=False),
        "gradient, convolutions, float32": lambda: gradient(bare, laid_out, y, bfloat16=False),
        "gradient, bfloat16": lambda: gradient(fast, laid_out, y, bfloat16=True),
        "gradient, folded": lambda: gradient(proposer, laid_out, y, bfloat16=True),
        "gradient, convolutions": lambda: gradient(bare, laid_out, y, bfloat16=True),
        "forward, channels last": lambda: forward(fast, laid_out, bfloat16=False),
        "forward, folded": lambda: forward(proposer, laid_out, bfloat16=True),
        "update, common": lambda: update(trained, x, y, bfloat16=False),
        "update, channels last": lambda: update(trained_fast, laid_out, y, bfloat16=False),
        "update, bfloat16": lambda: update(trained_fast, laid_out, y, bfloat16=True),
    }


def compiled() -> tuple[Callable[[], object], float]:
    """The folded network by inductor, and the seconds of its first two passes.

    Its weights cannot be frozen: inductor does that without gradients alone, and an attack needs them.
    """
    x, y = torch.rand(BATCH, *SHAPE).contiguous(memory_format=torch.channels_last), torch.arange(BATCH) % 10
    network = torch.compile(folded(fast_layout(build("preactresnet", SHAPE, 10, width=WIDTH, seed=0).eval())))
    started = time.perf_counter()
    gradient(network, x, y, bfloat16=True)
    return lambda: gradient(network, x, y, bfloat16=True), time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    ways = calls()
    about: dict[str, object] = {"repeats": options.repeats, "batch": BATCH, "width": WIDTH}
    if options.compile:
        ways["gradient, compiled"], about["seconds_to_compile"] = compiled()
    times = alternated(ways, options.repeats, clock=time.process_time)
    base = times["gradient, common"].seconds
    found: dict[str, object] = {}
    for name, taken in times.items():
        ratio = Spread.of_ratio(base, taken.seconds)
        milliseconds = 500 * Spread.over(taken.seconds).median
        found[name] = {"ms": round(milliseconds, 2), "q1": ratio.low, "median": ratio.median, "q3": ratio.high}
        print(f"{name:26s} {milliseconds:8.1f} ms  common gradient / it {ratio.median:.2f}")
    kind = "" if bfloat16_pays(torch.device("cpu")) else "-no_amx"
    content = {"environment": environment(0), "about": about, "common_gradient_over": found}
    write_atomic(RESULTS / f"floor{kind}.json", dump_json(content))


if __name__ == "__main__":
    main()
