"""The call that a user writes, `PGD(threat, n_steps=10)(model, x, y)`, beside torchattacks, foolbox and bare passes.

  python benchmarks/plain_call.py --peers SITE                    as this machine is
  python benchmarks/plain_call.py --peers SITE --isa AVX512_CORE  as without bfloat16 instructions; or --isa AVX2
  python benchmarks/plain_call.py --draw                          docs/figures/plain_call, of what is stored

Networks as `build` returns them, in the layout and precision that a user has. In each repetition all ways take one
turn; ratios are within a repetition and of CPU time, so neighbors of the machine count for little. `passes` are ten
forward and input-gradient passes in float32 on the caller's own layout: what a loop without an attack costs. `float32`
and `bfloat16` are the call with the precision said: which of them `auto` takes, and whether it takes the faster. SITE
is the site-packages of an environment with torchattacks and foolbox (see attacks.py); what is missing is left out.
With --isa, for whose sake the script starts itself anew, each network is measured at its first batch alone.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cgro.definitions import PGD, ThreatModel
from cgro.definitions.attacks import loss_gradient
from cgro.definitions.attacks.precision import bfloat16_pays, uses_bfloat16
from cgro.definitions.losses import default_loss
from cgro.environment import environment
from cgro.models import build
from cgro.report.style import MARK, figure, look_of
from cgro.results import Spread
from cgro.speed import alternated, torchattacks_peer
from cgro.writing import dump_json, write_atomic

N_STEPS = 10
ISA = "ONEDNN_MAX_CPU_ISA"
MASKS = ("AVX512_CORE", "AVX2")
PEERS = ("torchattacks", "foolbox")
RESULTS = Path(__file__).parent / "results"
WITHOUT_AMX = "no_amx"
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "plain_call"


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


def foolbox_peer(model: nn.Module, attack: PGD) -> Callable[[Tensor, Tensor], object] | None:
    """The same attack by foolbox; None where the package is not installed."""
    if importlib.util.find_spec("foolbox") is None:
        return None
    foolbox = importlib.import_module("foolbox")
    network = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    peer = foolbox.attacks.LinfPGD(steps=attack.n_steps, abs_stepsize=attack.step, random_start=True)
    return lambda x, y: peer(network, x, y, epsilons=attack.threat.radius)


def ways(model: nn.Module, x: Tensor, threat: ThreatModel) -> dict[str, Callable[[], object]]:
    y = model(x).argmax(1)
    plain = PGD(threat, n_steps=N_STEPS)
    full = PGD(threat, n_steps=N_STEPS, precision="float32")
    half = PGD(threat, n_steps=N_STEPS, precision="bfloat16")

    def passes() -> None:
        for _ in range(N_STEPS):
            loss_gradient(model, x, y, default_loss)

    found: dict[str, Callable[[], object]] = {
        "plain": lambda: plain(model, x, y),
        "float32": lambda: full(model, x, y),
        "bfloat16": lambda: half(model, x, y),
        "passes": passes,
    }
    for name, peer in (("torchattacks", torchattacks_peer(model, plain)), ("foolbox", foolbox_peer(model, plain))):
        if peer is not None:
            found[name] = lambda peer=peer: peer(x, y)
    return found


def timed(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, Sequence[float]]:
    """Seconds of CPU time; the first turn of each does not count."""
    times = alternated(calls, repeats, clock=time.process_time)
    return {name: taken.seconds for name, taken in times.items()}


def ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    found = Spread.of_ratio(above, below)
    return {"q1": round(found.low, 3), "median": round(found.median, 3), "q3": round(found.high, 3)}


def least(seconds: Mapping[str, Sequence[float]], names: Sequence[str]) -> list[float]:
    """Of each repetition the seconds of the fastest of some ways."""
    return [min(values) for values in zip(*(seconds[name] for name in names), strict=True)]


def row(case: Case, model: nn.Module, batch: int, repeats: int) -> dict[str, object]:
    x = torch.rand(batch, *case.shape, generator=torch.Generator().manual_seed(0))
    calls = ways(model, x, ThreatModel("inf", "8/255"))
    seconds = timed(calls, repeats)
    found: dict[str, object] = {"network": f"{case.name} x{case.width}", "pixels": case.shape[1], "batch": batch}
    found["auto"] = "bfloat16" if uses_bfloat16("auto", model, x) else "float32"
    found["seconds"] = {name: round(min(values), 5) for name, values in seconds.items()}
    for name in calls:
        if name != "plain":
            found[f"{name} / plain"] = ratio(seconds[name], seconds["plain"])
    peers = [name for name in PEERS if name in calls]
    if peers:
        found["faster peer / plain"] = ratio(least(seconds, peers), seconds["plain"])
    found["faster precision / plain"] = ratio(least(seconds, ["float32", "bfloat16"]), seconds["plain"])
    return found


def kind() -> str:
    """Of the processor as it is used: the mask, or whether bfloat16 is multiplied faster than float32."""
    mask = os.environ.get(ISA, "")
    if mask or bfloat16_pays(torch.device("cpu")):
        return mask
    return WITHOUT_AMX


def stored(kind: str) -> Path:
    return RESULTS / f"plain-call{'-' + kind.lower() if kind else ''}.json"


def measure(options: argparse.Namespace) -> None:
    mask = os.environ.get(ISA, "")
    rows: list[dict[str, object]] = []
    for case in CASES:
        if options.only and case.name not in options.only.split(","):
            continue
        model = case.network()
        for batch in case.batches[:1] if mask else case.batches:
            rows.append(row(case, model, batch, options.repeats))
            print(rows[-1], flush=True)
            about = {"n_steps": N_STEPS, "repeats": options.repeats, ISA: mask or None}
            about["bfloat16_pays"] = bfloat16_pays(torch.device("cpu"))
            about["load_average"] = os.getloadavg()
            write_atomic(stored(kind()), dump_json({"environment": environment(0), "about": about, "rows": rows}))


def draw() -> None:
    """The faster peer over ours of every network and batch, with and without the instructions."""
    named = {"": "with AMX", WITHOUT_AMX: "AVX-512, no AMX", "AVX512_CORE": "without bfloat16", "AVX2": "AVX2 alone"}
    whole = json.loads(stored("").read_text())["rows"]
    labels = [f"{r['network']}, {r['pixels']} px, batch {r['batch']}" for r in whole]
    with figure(FIGURE, 7.2, 5.6) as drawing:
        axes = drawing.subplots()
        for k, (mask, name) in enumerate(named.items()):
            look = look_of(k)
            if not stored(mask).exists():
                continue
            found = [r for r in json.loads(stored(mask).read_text())["rows"] if "torchattacks / plain" in r]
            if not found:  # measured without peers
                continue
            places = [labels.index(f"{r['network']}, {r['pixels']} px, batch {r['batch']}") for r in found]
            ratios = [r.get("faster peer / plain") or r["torchattacks / plain"] for r in found]
            middle = [r["median"] for r in ratios]
            spread = [[r["median"] - r["q1"] for r in ratios], [r["q3"] - r["median"] for r in ratios]]
            axes.errorbar(middle, places, xerr=spread, fmt=look.marker, color=look.color, markersize=4, label=name)
        axes.axvline(1.0, color=MARK, linestyle=":")
        axes.set_yticks(range(len(labels)), labels, fontsize=7)
        axes.invert_yaxis()
        axes.set(xscale="log", xlabel="CPU time of the faster peer / ours (PGD-10, plain call; median, quartiles)")
        axes.set_xticks([0.5, 1, 2, 3], ["0.5", "1", "2", "3"])
        axes.minorticks_off()
        axes.legend(fontsize=7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="site-packages of the peers' environment")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="networks, separated by commas")
    parser.add_argument("--isa", choices=MASKS, help="the instructions that oneDNN may use")
    parser.add_argument("--draw", action="store_true", help="draw what is stored, measure nothing")
    options = parser.parse_args()
    if options.draw:
        draw()
        return
    if options.isa and os.environ.get(ISA) != options.isa:
        # oneDNN reads the variable once, and torch has been imported.
        sys.exit(subprocess.call([sys.executable, *sys.argv], env={**os.environ, ISA: options.isa}))
    if options.peers:
        sys.path.append(options.peers)
    torch.set_num_threads(options.threads)
    measure(options)


if __name__ == "__main__":
    main()
