"""What Square loses by giving walks up: on networks that mask gradients, where it is the attack that finds something.

  python benchmarks/masking.py --threads 1               the masked networks; trained here, a minute each
  python benchmarks/masking.py --runs DIR --only l2,fgsm  networks of benchmarks/evaluation.py too

Each network meets the three gradient attacks of the ensemble. On what stands Square asks all of its queries, in bfloat16
and in float32, and once more as the ensemble asks it. Stored in benchmarks/results/masking.json: what it breaks, what is
lost, CPU seconds.
"""

import argparse
import copy
import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from attacks import built_memorizer, machine, network
from torch import Tensor, nn

from cgro.data import load
from cgro.definitions import PGD, ThreatModel, standard_ensemble, survey
from cgro.definitions.attacks import square
from cgro.definitions.evaluation import Record
from cgro.definitions.losses import Model
from cgro.runs import dump_json, write_atomic

STORED = Path(__file__).parent / "results" / "masking.json"
N_GRADIENT_ATTACKS = 3
MEMORIZER = "memorizer of Theorem 4.4"


class Ripple(nn.Module):
    """x plus a fast wave: the gradient is that of the wave, whose sign says nothing (shattered gradients)."""

    def __init__(self, length: float) -> None:
        super().__init__()
        self.length = length

    def forward(self, x: Tensor) -> Tensor:
        return x + self.length * torch.sin(2 * math.pi * x / self.length)


class Staircase(nn.Module):
    """Inputs of a few levels, with a faint slope in the gradient alone."""

    def forward(self, x: Tensor) -> Tensor:
        return (torch.round(x * 8) / 8 - 1e-3 * x).detach() + 1e-3 * x


class Steep(nn.Module):
    """A step that is steep in the middle and flat elsewhere (vanishing gradients)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(30 * (x - 0.5))


class WinnersTakeAll(nn.Module):
    """The largest tenth of a layer, zero elsewhere (Xiao et al., ICLR 2020): the gradient jumps from step to step."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        least = flat.topk(max(1, flat.shape[1] // 10), 1).values[:, -1:]
        return (flat * (flat >= least)).view_as(x)


def lenet(front: nn.Module | None = None, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    first = [nn.Conv2d(1, 8, 5, padding=2), nn.MaxPool2d(2), activation()]
    second = [nn.Conv2d(8, 16, 5, padding=2), nn.MaxPool2d(2), activation(), nn.Flatten()]
    head = [nn.Linear(784, 64), activation(), nn.Linear(64, 10)]
    return nn.Sequential(front or nn.Identity(), *first, *second, *head)


MASKED: dict[str, tuple[Callable[[], nn.Module], float, str]] = {
    "wave 0.02 by FGSM": (lambda: lenet(Ripple(0.02)), 0.1, "fgsm"),
    "wave 0.05 by FGSM": (lambda: lenet(Ripple(0.05)), 0.1, "fgsm"),
    "wave 0.02": (lambda: lenet(Ripple(0.02)), 0.05, "clean"),
    "winners take all by FGSM": (lambda: lenet(activation=WinnersTakeAll), 0.1, "fgsm"),
    "winners take all by PGD-5": (lambda: lenet(activation=WinnersTakeAll), 0.1, "pgd5"),
    "winners take all": (lambda: lenet(activation=WinnersTakeAll), 0.03, "clean"),
    "staircase by FGSM": (lambda: lenet(Staircase()), 0.1, "fgsm"),
    "steep step by FGSM": (lambda: lenet(Steep()), 0.1, "fgsm"),
}
"""Network, radius in l_inf, and how it is trained for four epochs on mnist5k."""
STEPS = {"fgsm": 1, "pgd5": 5}


def trained(build: Callable[[], nn.Module], threat: ThreatModel, how: str) -> nn.Module:
    torch.manual_seed(0)
    data, model = load("mnist5k"), build()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    attack = None
    if how in STEPS:
        n_steps = STEPS[how]
        attack = PGD(threat, n_steps=n_steps, step_size=threat.radius * (1 if n_steps == 1 else 1 / 3))
    for _ in range(4):
        for rows in torch.randperm(len(data.train)).split(64):
            x, y = data.train.batch(rows)
            if attack is not None:
                x = attack(model.eval(), x, y)
            loss = nn.functional.cross_entropy(model.train()(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def row(model: Model, x: Tensor, y: Tensor, threat: ThreatModel) -> dict[str, Any]:
    """Square with all of its queries, and giving walks up, from the same record of the gradient attacks."""
    attack = standard_ensemble(threat)
    before = survey(model, x, y, attack, batch=500, stages=N_GRADIENT_ATTACKS)
    found: dict[str, Record] = {}
    seconds: dict[str, float] = {}
    first_look = square.FIRST_LOOK
    for name, precision, look in (
        ("all queries, bfloat16", "bfloat16", 10**9),
        ("all queries", "float32", 10**9),
        ("giving up", "float32", first_look),
    ):
        square.FIRST_LOOK = look
        *gradients, queries = attack.attacks
        attacks = (*gradients, dataclasses.replace(queries, precision=precision))
        started = time.process_time()
        found[name] = survey(
            model, x, y, dataclasses.replace(attack, attacks=attacks), batch=500, record=copy.deepcopy(before)
        )
        seconds[name] = time.process_time() - started
    square.FIRST_LOOK = first_look
    whole, short = found["all queries"], found["giving up"]
    return {
        "n": len(x),
        "radius": threat.radius,
        "p": str(threat.p),
        "standing before Square": int((~before.wrong).sum()),
        "broken by Square": int((whole.wrong & ~before.wrong).sum()),
        "broken by Square in bfloat16": int((found["all queries, bfloat16"].wrong & ~before.wrong).sum()),
        "lost by giving up": int((whole.wrong & ~short.wrong).sum()),
        "broken by": short.broken_by(),
        "cpu_seconds of Square": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, help="folder of the runs of benchmarks/evaluation.py")
    parser.add_argument("--only", default="", help="names of such runs, or of masked networks; default: all of these")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    rows: dict[str, Any] = {}
    if STORED.exists():
        rows = json.loads(STORED.read_bytes())["results"]
    for name in a.only.split(",") if a.only else (*MASKED, MEMORIZER):
        if name in MASKED:
            build, radius, how = MASKED[name]
            threat = ThreatModel("inf", radius)
            model = trained(build, threat, how)
            test = load("mnist5k").test.head(a.n)
            x, y = test.x, test.y
        elif name == MEMORIZER:
            model, data, threat = built_memorizer()
            test = data.test.head(a.n)
            x, y = test.x, test.y
        else:
            config, model, x, y = network(str(a.runs / name), a.n)
            threat = config.threat()
        rows[name] = {**row(model, x, y, threat), "environment": machine()}
        print(name, dump_json({k: v for k, v in rows[name].items() if k != "environment"}).decode(), flush=True)
        write_atomic(STORED, dump_json({"results": rows}))


if __name__ == "__main__":
    main()
