"""Measurements of Section 4, stored as JSON under benchmarks/results. Parts are run one by one:

  python benchmarks/representation.py results     5 seeds, 3 against 8 and even/odd, p = 1, 2, inf
  python benchmarks/representation.py mnist_inf   N = 60,000, ten classes: separation, certificate, bracket, memory
  python benchmarks/representation.py mnist_2     the same for p = 2
  python benchmarks/representation.py speed       active set, full structured pass, scikit-learn brute force
  python benchmarks/representation.py certificate   pairs within reach with and without bits, and all of MNIST, p = inf
  python benchmarks/representation.py law         non-zeros against the formula, random data and mnist5k
  python benchmarks/representation.py support     f_S against N, radius and norm (when S covers the support)
  python benchmarks/representation.py margin      small-margin memorizing: mu N D

Each file says machine, versions, commit, n and spread. Timings are those of this machine while it ran.
"""

import argparse
import json
import math
import resource
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cgro.data import Dataset, load
from cgro.definitions import ThreatModel, clean_error
from cgro.models import build
from cgro.representation import (
    HardMemorizer,
    RobustMemorizer,
    bracket_robust_error,
    certify,
    separation,
    small_margin_points,
)
from cgro.representation.neighbors import Neighbors
from cgro.representation.separation import Separation
from cgro.runs import dump_json, environment, write_atomic
from cgro.training import train_clean_model

RESULTS = Path(__file__).parent / "results"
RADII = {"3,8": {"inf": 0.1, "2": 1.0, "1": 8.0}, "even,odd": {"inf": 0.1, "2": 1.0, "1": 7.0}}


def store(name: str, rows: list[dict[str, Any]], **more: Any) -> None:
    content = {"part": name, "environment": environment(), **more, "rows": rows}
    write_atomic(RESULTS / f"representation_{name}.json", dump_json(content))


def clean_model(data: Dataset, seed: int, threat: ThreatModel | None = None, epochs: int = 15) -> torch.nn.Module:
    model = build("mlp", data.shape, data.n_outputs, seed=seed)
    return train_clean_model(model, data.train.x, data.train.y, seed=seed, threat=threat, epochs=epochs)


def one_result(task: str, p: str, seed: int, n_eval: int = 400) -> dict[str, Any]:
    start = time.perf_counter()
    data = load("mnist5k", classes=task, seed=seed)
    threat = ThreatModel(p, RADII[task][p])
    model = clean_model(data, seed)
    memorizer = RobustMemorizer(model, data.train.raw, data.train.y, threat)
    certificate = certify(memorizer, exact=True)
    part = data.test.head(n_eval)
    found = bracket_robust_error(memorizer, part.x, part.y, generator=torch.Generator().manual_seed(seed))
    count = memorizer.parameters_of(measure=False)
    assert found.upper is not None
    return {
        "task": task, "p": p, "radius": threat.radius, "seed": seed, "n_train": len(data.train), "n_eval": len(part),
        "certified_robust_train": float((certificate.margin > 0).double().mean()),
        "min_margin": certificate.min_margin, "method": certificate.method,
        "clean_error": clean_error(memorizer, data.test.x, data.test.y).value,
        "clean_error_clean_model": clean_error(model, data.test.x, data.test.y).value,
        "robust_lower": found.lower.value, "robust_upper": found.upper.value, "naive_pgd": found.naive.value,
        "transfer": found.transfer.value, "parameters": count.formula, "memorizer": count.memorizer,
        "generic": count.generic, "separation": memorizer.separation.value, "seconds": time.perf_counter() - start,
    }  # fmt: skip


def results(seeds: int = 5) -> None:
    rows = []
    for task in RADII:
        for p in ("inf", "2", "1"):
            for seed in range(seeds):
                rows.append(one_result(task, p, seed))
                print(json.dumps(rows[-1]), flush=True)
                store("results", rows)


def mnist(p: str, radius: float) -> None:
    data = load("mnist")
    model = clean_model(data, 0, epochs=4)
    start = time.perf_counter()
    found = separation(data.train.raw, data.train.y, p)
    seconds = time.perf_counter() - start
    print(p, found.value, found.pair, seconds, flush=True)
    row = one_mnist(data, model, ThreatModel(p, radius), found, seconds)
    print(json.dumps(row), flush=True)
    store(f"mnist_{p}", [row])


def one_mnist(
    data: Dataset, model: torch.nn.Module, threat: ThreatModel, found: Separation, t_separation: float
) -> dict[str, Any]:
    start = time.perf_counter()
    memorizer = RobustMemorizer(model, data.train.raw, data.train.y, threat, separation=found)
    t_build, start = time.perf_counter() - start, time.perf_counter()
    certificate = certify(memorizer, exact=True)
    t_certificate, start = time.perf_counter() - start, time.perf_counter()
    part = data.test.head(200)
    edges = bracket_robust_error(memorizer, part.x, part.y, n_restarts=1, n_steps=10)
    assert edges.upper is not None
    t_bracket = time.perf_counter() - start
    return {
        "p": threat.p, "radius": threat.radius, "n": len(data.train), "separation": found.value,
        "max_radius": found.max_radius, "pair": list(found.pair), "seconds_separation": t_separation,
        "seconds_build": t_build, "seconds_certificate": t_certificate, "seconds_bracket": t_bracket,
        "certificate": certificate.to_dict(), "generic": certificate.generic_parameters,
        "parameters": certificate.n_parameters, "n_eval": len(part), "robust_lower": edges.lower.value,
        "robust_upper": edges.upper.value, "naive_pgd": edges.naive.value,
        "clean_error": clean_error(memorizer, data.test.x[:1000], data.test.y[:1000]).value,
        "clean_error_clean_model": clean_error(model, data.test.x[:1000], data.test.y[:1000]).value,
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }  # fmt: skip


def law() -> None:
    rows: list[dict[str, Any]] = []
    rng = np.random.default_rng(0)
    cases = [("inf", "box"), ("inf", "compact"), ("1", "lean"), ("2", "shared")]
    for p, variant in cases:
        for _ in range(40):
            n, dim = int(np.exp(rng.uniform(1, 5.5))), int(np.exp(rng.uniform(0.7, 5)))
            x = torch.from_numpy(rng.uniform(0.001, 1, (max(n, 4), dim)))
            y = torch.arange(len(x)) % 2 * 2 - 1
            found = separation(x, y, p)
            memorizer = RobustMemorizer(
                build("mlp", (dim,), 1).eval(), x, y, ThreatModel(p, 0.3 * found.value), variant=variant,
                separation=found,
            )  # fmt: skip
            rows.append(law_row("random", memorizer))
        data = load("mnist5k", classes="3,8")
        for n in (50, 100, 200, 400, 766):
            x, y = data.train.raw[:n], data.train.y[:n]
            memorizer = RobustMemorizer(
                build("mlp", data.shape, 1).eval(), x, y, ThreatModel(p, RADII["3,8"][p]), variant=variant
            )  # fmt: skip
            rows.append(law_row("mnist5k", memorizer))
        print(variant, len(rows), flush=True)
    fits = {}
    for _, variant in cases:
        own = [r for r in rows if r["variant"] == variant and r["data"] == "random"]
        nd = np.array([[r["n"] * r["dim"], r["n"], r["dim"] * max(1, r["depth"]), r["dim"]] for r in own], dtype=float)
        fits[variant] = np.linalg.lstsq(nd, np.array([r["generic"] for r in own], dtype=float), rcond=None)[0].tolist()
    equal = sum(r["total"] == r["formula"] for r in rows)
    store("law", rows, n_equal=equal, n_cases=len(rows), fit_ND_N_mD_D=fits)
    from cgro.report.representation import parameter_law

    parameter_law(Path("docs/figures/parameter_law"), rows)
    print(equal, len(rows), fits)


def law_row(name: str, memorizer: RobustMemorizer) -> dict[str, Any]:
    count = memorizer.parameters_of()
    assert count.total is not None
    assert count.formula is not None
    tail = count.memorizer - _branch(memorizer)
    return {
        "data": name, "variant": memorizer.variant, "n": memorizer.n_memorized, "dim": memorizer.dim,
        "depth": memorizer.supports.depth, "total": count.total, "formula": count.formula, "generic": count.generic,
        "measured": count.total - count.clean - tail,
    }  # fmt: skip


def _branch(memorizer: RobustMemorizer) -> int:
    from cgro.representation.indicators import LAYERS

    return sum(layer.n_nonzero for layer in LAYERS[memorizer.variant](memorizer.supports.balls()))


def speed() -> None:
    from sklearn.neighbors import NearestNeighbors

    rows = []
    for name, task, sizes in (("mnist", None, (5000, 60000)),):
        data = load(name, classes=task)
        model = clean_model(load(name, n_train=5000), 0, epochs=2)
        queries = data.test.x[:200]
        for n in sizes:
            x, y = data.train.raw[:n], data.train.y[:n]
            for p, radius in (("inf", 0.1), ("2", 0.7), ("1", 4.0)):
                # Any ramp does for a timing; the widest that certificate A could allow makes the active set largest.
                fake = Separation(ThreatModel(p, 1.0, None).p, 10.0 * radius, (0, 1), np.full(n, 10.0 * radius), None)
                memorizer = RobustMemorizer(model, x, y, ThreatModel(p, radius), separation=fake)
                memorizer(queries[:8])
                active = best_of(lambda m=memorizer, q=queries: m.memory(q), 3) / len(queries)
                few = queries[:2]
                full = best_of(lambda m=memorizer, few=few: m.indicators(few), 1) / len(few)
                flat = data.train.x[:n].flatten(1).numpy()
                metric = {"inf": "chebyshev", "2": "euclidean", "1": "manhattan"}[p]
                brute = NearestNeighbors(n_neighbors=1, algorithm="brute", metric=metric).fit(flat)
                n_brute = 200 if p == "2" else 20
                flat_queries = queries[:n_brute].flatten(1).numpy()
                peer = best_of(lambda b=brute, q=flat_queries: b.kneighbors(q), 2) / n_brute
                rows.append({
                    "n": n, "p": p, "radius": radius, "ms_active": 1e3 * active, "ms_full": 1e3 * full,
                    "ms_sklearn_brute": 1e3 * peer, "speedup_over_full": full / active,
                    "speedup_over_sklearn": peer / active, "threads": torch.get_num_threads(),
                    "n_queries": len(queries),
                    "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
                })  # fmt: skip
                print(json.dumps(rows[-1]), flush=True)
                store("speed", rows)


def best_of(work: Any, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def certificate(n: int = 6000) -> None:
    """CPU seconds: the pairs of the first n images with and without bits in turns, then the certificate of all images.

    The separation of all images is taken as 188/255, which `mnist_inf` found; the certificate does not rest on it.
    """
    data = load("mnist")
    points = data.train.raw[:n].flatten(1) / 255
    reach = np.full(n, 0.3)
    ratios, times = [], {True: [], False: []}
    for repeat in range(4):
        for bits in times:
            neighbors = Neighbors(points, math.inf, bits=bits)
            start = time.process_time()
            found = neighbors.within(points, reach)
            times[bits].append(time.process_time() - start)
        if repeat:  # the first compiles
            ratios.append(times[False][-1] / times[True][-1])
    model = build("mlp", data.shape, data.n_outputs, seed=0).eval()
    every = len(data.train)
    known = Separation(math.inf, 188 / 255, (45314, 46877), np.full(every, 188 / 255), None)
    memorizer = RobustMemorizer(model, data.train.raw, data.train.y, ThreatModel("inf", 0.1), separation=known)
    start = time.process_time()
    result = certify(memorizer, exact=True)
    rows = [{
        "n_pairs_of": n, "pairs": len(found[0]), "seconds_bits": times[True][1:], "seconds_chunks": times[False][1:],
        "times_faster": ratios, "certificate": result.to_dict(), "seconds_certificate": time.process_time() - start,
        "threads": torch.get_num_threads(),
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }]  # fmt: skip
    print(json.dumps(rows[0]), flush=True)
    store("certificate", rows)


def support() -> None:
    """f_S on mnist5k, 3 against 8: the bracket against N, radius and norm."""
    rows = []
    base = load("mnist5k", classes="3,8")
    model = clean_model(base, 0)
    for p, radii in (("inf", (0.02, 0.05, 0.1, 0.2, 0.3)), ("2", (0.25, 0.5, 1.0, 2.0)), ("1", (2.0, 4.0, 8.0, 16.0))):
        for radius in radii:
            for n in (100, 400, 766):
                x, y = base.train.raw[:n], base.train.y[:n]
                memorizer = RobustMemorizer(model, x, y, ThreatModel(p, radius))
                part = base.test.head(150)
                found = bracket_robust_error(memorizer, part.x, part.y, n_restarts=1)
                assert found.upper is not None
                hard = HardMemorizer(memorizer)
                rows.append({
                    "p": p, "radius": radius, "n": n, "n_eval": len(part), "robust_lower": found.lower.value,
                    "robust_upper": found.upper.value, "naive_pgd": found.naive.value,
                    "transfer": found.transfer.value, "clean_error_f_S": clean_error(hard, part.x, part.y).value,
                })  # fmt: skip
                print(json.dumps(rows[-1]), flush=True)
        store("support", rows)


def margin() -> None:
    rows = []
    for seed in range(3):
        for radius in (0.02, 0.05, 0.1):
            data = load("mnist5k", classes="3,8", seed=seed)
            threat = ThreatModel(math.inf, radius)
            model = clean_model(data, seed, threat, epochs=15)
            whole = RobustMemorizer(model, data.train.raw, data.train.y, threat)
            few = RobustMemorizer(
                model, data.train.raw, data.train.y, threat, memorize=small_margin_points(whole),
                separation=whole.separation,
            )  # fmt: skip
            certificate = certify(few, exact=True)
            rows.append({
                "seed": seed, "radius": radius, "n": len(data.train), "n_memorized": few.n_memorized,
                "certificate": certificate.to_dict(), "parameters": certificate.n_parameters,
                "generic": certificate.generic_parameters, "generic_all": 6 * len(data.train) * 784 + len(data.train),
                "clean_error": clean_error(few, data.test.x, data.test.y).value,
            })  # fmt: skip
            print(json.dumps(rows[-1]), flush=True)
            store("margin", rows)


PARTS = {
    "results": results, "mnist_inf": partial(mnist, "inf", 0.1), "mnist_2": partial(mnist, "2", 0.7), "law": law,
    "certificate": certificate, "speed": speed, "support": support, "margin": margin,
}  # fmt: skip

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--threads", type=int, default=None)
    chosen = parser.parse_args(sys.argv[1:])
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    PARTS[chosen.part]()
