"""Our attacks beside torchattacks, foolbox and pyautoattack: strength, speed, and truth where the answer is known.

Steps, each stored apart (benchmarks/results/attacks-*.json):
  python benchmarks/attacks.py pgd RUN --n 1000 --peers SITE          same start, and random starts over 5 seeds
  python benchmarks/attacks.py apgd RUN --n 1000                      APGD-CE and APGD-T against pyautoattack's
  python benchmarks/attacks.py ensemble RUN --n 1000                  the ensemble against AutoAttack standard
  python benchmarks/attacks.py fab RUN --n 300                        what FAB-T adds after APGD-CE and APGD-T
  python benchmarks/attacks.py speed --peers SITE                     PGD-10 examples/s, with the floor
  python benchmarks/attacks.py truth                                  attack error / exact error

RUN is a directory of `cgro train`; SITE is the site-packages of an environment with torchattacks and foolbox (both with
--no-deps): they never enter the project's own environment. --threads sets the CPU threads of the step.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cgro.commands import train
from cgro.definitions import (
    APGD,
    PGD,
    Attack,
    AutoAttack,
    Ensemble,
    Square,
    TargetedAPGD,
    ThreatModel,
    margin,
    standard_ensemble,
    survey,
)
from cgro.definitions.attacks import evaluated_outputs, loss_gradient
from cgro.definitions.losses import default_loss
from cgro.models import build, fast_layout
from cgro.runs import Run, dump_json, environment, write_atomic
from cgro.training.checkpoint import checkpoint_of, load_checkpoint

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "avx512_fp16")


def machine() -> dict[str, Any]:
    cpu = Path("/proc/cpuinfo")
    flags = set(cpu.read_text().split()) if cpu.exists() else set()
    load = Path("/proc/loadavg")
    return environment(0) | {
        "cpu_flags": [f for f in FLAGS if f in flags],
        "threads": torch.get_num_threads(),
        "load_average": load.read_text().split()[:3] if load.exists() else None,
    }


def store(name: str, value: Any) -> None:
    path = Path(__file__).parent / "results" / f"attacks-{name}.json"
    write_atomic(path, dump_json({"environment": machine(), **value}))
    print(dump_json(value).decode())


def network(path: str, n: int) -> tuple[train.Config, nn.Module, Tensor, Tensor]:
    source = Run.open(path)
    settings = source.config
    settings.pop("command")
    config = train.Config(**settings)
    data, model = train.prepare(config)
    load_checkpoint(checkpoint_of(source), model)
    return config, model.eval(), data.test.head(n).x, data.test.y[:n]


def about(config: train.Config, n: int) -> dict[str, Any]:
    return {"data": config.data, "model": config.model, "width": config.width, "radius": config.radius, "n": n}


def errs(model: nn.Module, x_adv: Tensor, y: Tensor) -> np.ndarray:
    return torch.cat(
        [~(margin(evaluated_outputs(model, a), b) > 0) for a, b in zip(x_adv.split(256), y.split(256))]
    ).numpy()


def compared(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Errors in percent and their paired difference; positive means ours finds more."""
    difference = 100 * (ours.astype(float) - theirs)
    return {
        "ours": 100 * ours.mean(),
        "theirs": 100 * theirs.mean(),
        "difference": difference.mean(),
        "paired_se": difference.std(ddof=1) / len(difference) ** 0.5,
    }


def peers_pgd(model: nn.Module, threat: ThreatModel, steps: int, step: float, start: bool) -> dict[str, Callable]:
    import foolbox
    import torchattacks

    theirs = torchattacks.PGD(model, eps=threat.radius, alpha=step, steps=steps, random_start=start)
    fool = foolbox.attacks.LinfPGD(abs_stepsize=step, steps=steps, random_start=start)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    return {"torchattacks": theirs, "foolbox": lambda x, y: fool(wrapped, x, y, epsilons=threat.radius)[1]}


def pgd(a: argparse.Namespace) -> None:
    config, model, x, y = network(a.run, a.n)
    threat, results = config.threat(), {}
    step = 2.5 * threat.radius / a.steps

    def attacked(call: Callable, seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        return errs(model, torch.cat([call(u, v) for u, v in zip(x.split(250), y.split(250))]), y)

    for start, seeds in ((False, [0]), (True, range(5))):
        mine = PGD(threat, n_steps=a.steps, step_size=step, random_start=start)
        found = {"ours": [survey(model, x, y, mine, seed=s).wrong.numpy() for s in seeds]}
        for name, call in peers_pgd(model, threat, a.steps, step, start).items():
            found[name] = [attacked(call, s) for s in seeds]
        row: dict[str, Any] = {"percent": {k: [100 * w.mean() for w in v] for k, v in found.items()}}
        for name in ("torchattacks", "foolbox"):
            gaps = [compared(o, t)["difference"] for o, t in zip(found["ours"], found[name])]
            se = statistics.stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else None
            row[f"ours_minus_{name}"] = {"mean": statistics.mean(gaps), "paired_se_over_seeds": se, "per_seed": gaps}
        results["random starts" if start else "start at the input"] = row
    store(f"pgd-{config.data}", {"about": about(config, len(x)), "steps": a.steps, "results": results})


def timed(call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> tuple[Any, float]:
    started = clock()
    return call(), clock() - started


def against(
    a: argparse.Namespace, pairs: dict[str, tuple[Attack, Attack]], config: Any, m: Any, x: Any, y: Any
) -> None:
    """Ours and the reference on the same examples, stored after each pair. CPU time: neighbors do not count."""
    results = {}
    for name, (ours, theirs) in pairs.items():
        mine, seconds = timed(lambda ours=ours: survey(m, x, y, ours, batch=a.batch), time.process_time)
        print(name, "ours", int(mine.wrong.sum()), mine.broken_by(), round(seconds, 1), flush=True)
        reference, theirs_seconds = timed(
            lambda theirs=theirs: survey(m, x, y, theirs, batch=len(x)), time.process_time
        )
        results[name] = compared(mine.wrong.numpy(), reference.wrong.numpy()) | {
            "broken_by": mine.broken_by(), "cpu_seconds": {"ours": seconds, "theirs": theirs_seconds},
            "precision": a.precision, "time_ratio": theirs_seconds / seconds,
        }  # fmt: skip
        store(f"{a.step}-{config.data}-{a.precision}-n{len(x)}", {"about": about(config, len(x)), "results": results})


def apgd(a: argparse.Namespace) -> None:
    config, model, x, y = network(a.run, a.n)
    t, version = config.threat(), lambda name: AutoAttack(config.threat(), version=name)
    pairs: dict[str, tuple[Attack, Attack]] = {
        "apgd-ce": (APGD(t, precision=a.precision), version("apgd-ce")),
        "apgd-t": (TargetedAPGD(t, precision=a.precision), version("apgd-t")),
    }
    against(a, pairs, config, model, x, y)


def ensemble(a: argparse.Namespace) -> None:
    config, model, x, y = network(a.run, a.n)
    threat = config.threat()
    pairs = {"standard": (standard_ensemble(threat, precision=a.precision), AutoAttack(threat))}
    against(a, pairs, config, model, x, y)


def fab(a: argparse.Namespace) -> None:
    """FAB-T by pyautoattack, and the attack in its place, each on what APGD-CE and APGD-T left standing."""
    config, model, x, y = network(a.run, a.n)
    ours = standard_ensemble(config.threat(), precision=a.precision)
    first = Ensemble(config.threat(), ours.attacks[:2])
    left = ~survey(model, x, y, first, batch=a.batch).wrong
    results: dict[str, Any] = {"left standing": int(left.sum())}
    for attack in (ours.attacks[2], AutoAttack(config.threat(), version="fab-t")):
        record, seconds = timed(lambda attack=attack: survey(model, x[left], y[left], attack, batch=a.batch))
        results[attack.name] = {"adds": int(record.wrong.sum()), "seconds": seconds}
    store(f"fab-{config.data}", {"about": about(config, len(x)), "results": results})


def floor(model: nn.Module, x: Tensor, y: Tensor, steps: int, low: bool) -> None:
    """The passes that PGD cannot do without: forward and input gradient, and one judgment in float32."""
    x = x.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
        for _ in range(steps):
            loss_gradient(model, x, y, default_loss)
    evaluated_outputs(model, x)


def speed(a: argparse.Namespace) -> None:
    results = {}
    for name, shape, width, batch in (("lenet", (1, 28, 28), 8, 256), ("preactresnet", (3, 32, 32), 16, 64)):
        model = build(name, shape, 10, width=width).eval()
        fast = fast_layout(build(name, shape, 10, width=width).eval())
        x = torch.rand(batch, *shape, generator=torch.Generator().manual_seed(0))
        y = model(x).argmax(1)
        threat = ThreatModel("inf", 0.1 if name == "lenet" else "8/255")
        step, steps = 2.5 * threat.radius / 10, 10
        calls: dict[str, Callable[[], Any]] = {}
        for precision in ("float32", "bfloat16"):
            attack = PGD(threat, n_steps=steps, precision=precision)
            calls[f"ours {precision}"] = lambda attack=attack, fast=fast, x=x, y=y: attack(fast, x, y)
            low = precision == "bfloat16"
            calls[f"floor {precision}"] = lambda low=low, fast=fast, x=x, y=y: floor(fast, x, y, 10, low)
        for peer, call in peers_pgd(model, threat, steps, step, True).items():
            calls[peer] = lambda call=call, x=x, y=y: call(x, y)
        seconds: dict[str, list[float]] = {k: [] for k in calls}
        for repeat in range(a.repeats + 1):
            for key, call in calls.items():
                taken = timed(call)[1]
                if repeat:
                    seconds[key].append(taken)
        results[f"{name} x{width}, batch {batch}"] = rates(seconds, batch)
    store("speed", {"steps": 10, "repeats": a.repeats, "results": results})


def rates(seconds: dict[str, list[float]], batch: int) -> dict[str, Any]:
    """Examples a second, and ratios within each repetition: the neighbors of the machine slow all alike."""
    arrays = {k: np.array(v) for k, v in seconds.items()}
    peer = np.minimum(arrays["torchattacks"], arrays["foolbox"])

    def spread(v: np.ndarray) -> dict[str, float]:
        low, middle, high = np.quantile(v, [0.25, 0.5, 0.75])
        return {"median": middle, "quartiles": [low, high], "best": v.max()}

    result: dict[str, Any] = {"examples_per_second": {k: spread(batch / v) for k, v in arrays.items()}}
    for p in ("float32", "bfloat16"):
        result[f"faster_peer_over_ours_{p}"] = spread(peer / arrays[f"ours {p}"])
        result[f"ours_over_floor_{p}"] = spread(arrays[f"ours {p}"] / arrays[f"floor {p}"])
    return result


def every_attack(threat: ThreatModel) -> list[Attack]:
    return [PGD(threat, n_steps=20), PGD(threat, n_steps=50, n_restarts=10), APGD(threat), APGD(threat, loss="dlr"),
            TargetedAPGD(threat), Square(threat), standard_ensemble(threat)]  # fmt: skip


def called(attack: Attack) -> str:
    return "ensemble" if len(attack.parts) > 1 else attack.name


def against_exact(model: nn.Module, x: Tensor, y: Tensor, exact: np.ndarray, threat: ThreatModel) -> dict[str, Any]:
    rows = {}
    for attack in every_attack(threat):
        wrong = survey(model, x, y, attack).wrong.numpy()
        assert not (wrong & ~exact).any(), "an attack broke what cannot be broken: the oracle is wrong"
        rows[called(attack)] = {"attack": wrong.mean(), "ratio": wrong.sum() / exact.sum()}
    return {"exact": exact.mean(), "attacks": rows}


def truth(a: argparse.Namespace) -> None:
    """Error of each attack over the exact error: a linear model in closed form, one hidden layer (6 units) with every
    activation pattern solved; and the memorizer of Theorem 4.4, exact on its training points, bracketed on others."""
    from tests import oracles
    from tests.cases import LinearScore, hidden_scores, points

    results: dict[str, Any] = {}
    for p, radius in ((float("inf"), 0.12), (2.0, 0.25), (1.0, 0.4)):
        threat, (x, y) = ThreatModel(p, radius), points(a.n)
        linear, hidden = LinearScore().eval(), hidden_scores()
        y = torch.where(linear(x) > 0, 1, -1)
        gradients = (-y[:, None] * linear.w).detach().double().numpy()
        reach = [oracles.linear_worst_case(g, u.double().numpy(), p, radius, (0.0, 1.0)) for g, u in zip(gradients, x)]
        exact = (y * linear(x)).detach().double().numpy() <= np.array(reach)
        results[f"linear, p={p:g}"] = against_exact(linear, x, y, exact, threat)
        y = torch.where(hidden(x) > 0, 1, -1)
        exact = np.array(
            [oracles.hidden_layer_worst_case(hidden, u, int(v), p, radius, (0.0, 1.0)) <= 0 for u, v in zip(x, y)]
        )
        results[f"one hidden layer, p={p:g}"] = against_exact(hidden, x, y, exact, threat)
    store("truth", {"n": a.n, "results": results | {"memorizer, p=inf, radius 0.1": memorizer()}})


def built_memorizer() -> tuple[Any, Any, ThreatModel]:
    """The memorizer of Theorem 4.4 for 300 digits, certified, with its data and threat model."""
    from cgro.data import load
    from cgro.representation import RobustMemorizer, certify
    from cgro.training import train_clean_model

    data, threat = load("mnist5k", classes="3,8", n_train=300), ThreatModel("inf", 0.1)
    clean = train_clean_model(build("mlp", data.shape, data.n_outputs), data.train.x, data.train.y, seed=0)
    built = RobustMemorizer(clean, data.train.raw, data.train.y, threat)
    assert certify(built, exact=True).holds
    return built, data, threat


def memorizer(n: int = 100) -> dict[str, Any]:
    """Training points are certified, so every attack must find nothing there; test points lie in a bracket."""
    from cgro.representation import bracket_robust_error

    built, data, threat = built_memorizer()
    part = data.test.head(n)
    edges = bracket_robust_error(built, part.x, part.y)
    rows = {
        called(attack): {
            "training points": survey(built, data.train.x[:n], data.train.y[:n], attack).error().value,
            "test points": survey(built, part.x, part.y, attack).error().value,
        }
        for attack in every_attack(threat)
    }
    exact = {"training points": 0.0, "test points": [edges.lower.value, edges.upper.value if edges.upper else None]}
    return {"n": n, "exact": exact, "attacks": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["pgd", "apgd", "ensemble", "fab", "speed", "truth"])
    parser.add_argument("run", nargs="?")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--peers", help="site-packages of the peers' environment")
    a = parser.parse_args()
    if a.peers:
        sys.path.append(a.peers)
    torch.set_num_threads(a.threads)
    globals()[a.step](a)


if __name__ == "__main__":
    main()
