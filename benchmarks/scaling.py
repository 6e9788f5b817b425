"""The model of cgro.experiments.scaling against what a CPU can measure: operations, time, memory of a step.

  python benchmarks/scaling.py     # writes benchmarks/results/scaling.json

Time: a forward pass is timed alone, and c times it predicts an adversarial step (PGD-2), on one and on two threads, in
alternation, by processor time of the process. Memory: what a forward and backward pass of a larger batch adds to the peak
of a process of its own, against what is counted as saved. Predicted before: operations within 10%, time within 30%,
memory between 1 and 1.6 times what is counted (`1 + ALLOWANCE` and fragments).
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from cgro.definitions import PGD, ThreatModel
from cgro.definitions.draws import Draws
from cgro.environment import environment
from cgro.experiments.imagenet_networks import ViT, resnet
from cgro.experiments.scaling import Job, saved_bytes, work_of
from cgro.models import build
from cgro.training import Adversarial
from cgro.training.step import Step, descend

RESULT = Path(__file__).parent / "results" / "scaling.json"
NETWORKS = {
    "preactresnet, width 16, 32 pixels": (
        lambda: build("preactresnet", (3, 32, 32), 10, width=16),
        (3, 32, 32),
        32,
        64,
    ),
    "ResNet-50, 64 pixels": (resnet, (3, 64, 64), 8, 16),
    "ViT of 6 blocks, width 384, 64 pixels": (lambda: ViT(64, 8, 384, 6, 6), (3, 64, 64), 8, 16),
}
REPEATS = 3


def peak() -> int:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10


def batch_of(model: torch.nn.Module, shape: tuple[int, ...], n: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))
    return x, model.eval()(x).argmax(1).detach()


def memory(name: str) -> None:
    """In a process of its own: the growth of the peak from a small to a large batch."""
    torch.set_num_threads(1)
    make, shape, few, many = NETWORKS[name]
    model = make()
    peaks = []
    for n in (few, many):
        x, y = batch_of(model, shape, n)
        model.train()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        peaks.append(peak())
    counted = saved_bytes(model, torch.zeros(many, *shape), bfloat16=False) - saved_bytes(
        model, torch.zeros(few, *shape), bfloat16=False
    )
    print(json.dumps({"measured": peaks[1] - peaks[0], "counted": counted, "ratio": (peaks[1] - peaks[0]) / counted}))


def seconds(name: str, threads: int) -> dict[str, float]:
    torch.set_num_threads(threads)
    make, shape, few, _ = NETWORKS[name]
    model = make()
    x, y = batch_of(model, shape, few)
    attack = PGD(ThreatModel("inf", 1e-9), n_steps=2, precision="float32")
    step = Step(model, x, y, model, lambda purpose: Draws.of(0, purpose, torch.arange(few)), attack)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    ratios, forwards = [], []
    for k in range(REPEATS + 1):
        model.eval()
        started = time.process_time()
        with torch.no_grad():
            model(x)
        forward = time.process_time() - started
        model.train()
        started = time.process_time()
        step.crafted.clear()
        descend(step, Adversarial(attack), optimizer)
        if k:
            forwards.append(forward)
            ratios.append((time.process_time() - started) / (Job(2).passes * forward))
    return {
        "forward_cpu_seconds": statistics.median(forwards),
        "step_over_prediction": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def main() -> None:
    found = {}
    for name, (make, shape, _, _) in NETWORKS.items():
        done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=True)
        work = work_of(make, shape, bfloat16=False)
        found[name] = {
            "forward": work.forward, "saved_per_image": work.saved,
            "memory": json.loads(done.stdout), "one thread": seconds(name, 1), "two threads": seconds(name, 2),
        }  # fmt: skip
        print(name, json.dumps(found[name]), flush=True)
    RESULT.write_text(
        json.dumps(
            {"about": __doc__.splitlines()[0], "networks": found, "environment": environment()}, indent=1, default=str
        )
        + "\n"
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        memory(sys.argv[1])
    else:
        main()
