"""The call that a user writes, `PGD(threat, n_steps=10)(model, x, y)`, beside torchattacks and the bare passes.

  python benchmarks/plain_call.py --peers SITE                                 as this machine is
  ONEDNN_MAX_CPU_ISA=AVX512_CORE python benchmarks/plain_call.py --peers SITE  as without bfloat16 instructions

Ten networks as `build` returns them, in the layout and precision that a user has. In each repetition all ways take one
turn; ratios are within a repetition and of CPU time, so neighbors of the machine count for little. `passes` are ten
forward and input-gradient passes in float32 on the caller's own layout: what a loop without an attack costs. SITE is
the site-packages of an environment with torchattacks (see attacks.py); without it the passes are the only peer.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cgro.definitions import PGD, ThreatModel
from cgro.definitions.attacks import bfloat16_pays, loss_gradient
from cgro.definitions.losses import default_loss
from cgro.environment import environment
from cgro.models import build
from cgro.writing import dump_json, write_atomic

N_STEPS = 10


class SmallViT(nn.Module):
    """A vision transformer: 4x4 patches, 4 layers of width 64 with 4 heads."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 64, 4, 4)
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.last = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


@dataclass(frozen=True)
class Case:
    """A network, its images and the batches that it is attacked in."""

    name: str
    width: int
    shape: tuple[int, ...]
    batches: tuple[int, ...]

    def network(self) -> nn.Module:
        torch.manual_seed(0)
        if self.name == "vit":
            return SmallViT().eval()
        return build(self.name, self.shape, 10, width=self.width, seed=0).eval()


GRAY, COLOR, LARGE = (1, 28, 28), (3, 32, 32), (3, 64, 64)
CASES = (
    Case("mlp", 64, GRAY, (16, 128, 512)),
    Case("mlp", 1024, GRAY, (16, 128, 512)),
    Case("lenet", 1, GRAY, (16, 128, 512)),
    Case("lenet", 8, GRAY, (16, 256)),
    Case("preactresnet", 8, COLOR, (16, 64)),
    Case("preactresnet", 16, COLOR, (16, 64)),
    Case("preactresnet", 8, LARGE, (16,)),
    Case("resnet9", 16, COLOR, (16, 64)),
    Case("vit", 64, COLOR, (16, 64)),
    Case("preactresnet", 64, COLOR, (16,)),
)


def ways(model: nn.Module, x: Tensor, threat: ThreatModel) -> dict[str, Callable[[], object]]:
    y = model(x).argmax(1)
    plain = PGD(threat, n_steps=N_STEPS)
    full = PGD(threat, n_steps=N_STEPS, precision="float32")

    def passes() -> None:
        for _ in range(N_STEPS):
            loss_gradient(model, x, y, default_loss)

    found: dict[str, Callable[[], object]] = {
        "plain": lambda: plain(model, x, y),
        "float32": lambda: full(model, x, y),
        "passes": passes,
    }
    try:
        import torchattacks
    except ImportError:
        return found
    peer = torchattacks.PGD(model, eps=threat.radius, alpha=plain.step, steps=N_STEPS, random_start=True)
    found["torchattacks"] = lambda: peer(x, y)
    return found


def timed(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of CPU time; the first turn of each does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats + 1):
        for name, call in calls.items():
            started = time.process_time()
            call()
            if repeat:
                seconds[name].append(time.process_time() - started)
    return seconds


def ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    quartiles = statistics.quantiles([a / b for a, b in zip(above, below, strict=True)], n=4)
    return dict(zip(("q1", "median", "q3"), (round(q, 3) for q in quartiles), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="site-packages of the peers' environment")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="networks, separated by commas")
    options = parser.parse_args()
    if options.peers:
        sys.path.append(options.peers)
    torch.set_num_threads(options.threads)
    masked = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    rows: list[dict[str, object]] = []
    path = Path(__file__).parent / "results" / f"plain-call{'-' + masked.lower() if masked else ''}.json"
    for case in CASES:
        if options.only and case.name not in options.only.split(","):
            continue
        model = case.network()
        for batch in case.batches:
            x = torch.rand(batch, *case.shape, generator=torch.Generator().manual_seed(0))
            seconds = timed(ways(model, x, ThreatModel("inf", "8/255")), options.repeats)
            row: dict[str, object] = {"network": f"{case.name} x{case.width}", "pixels": case.shape[1], "batch": batch}
            row["seconds"] = {name: round(min(values), 5) for name, values in seconds.items()}
            for name in ("float32", "passes", "torchattacks"):
                if name in seconds:
                    row[f"{name} / plain"] = ratio(seconds[name], seconds["plain"])
            rows.append(row)
            print(row, flush=True)
            about = {"n_steps": N_STEPS, "repeats": options.repeats, "ONEDNN_MAX_CPU_ISA": masked or None}
            about["bfloat16_pays"] = bfloat16_pays(torch.device("cpu"))
            about["load_average"] = os.getloadavg()
            write_atomic(path, dump_json({"environment": environment(0), "about": about, "rows": rows}))


if __name__ == "__main__":
    main()
