"""The networks of a finished `cgro compare` once more by the ensemble on more images: is a gain masked gradients?

  python benchmarks/compare_ensemble.py DIR --n 500      about two CPU minutes a network; goes on where it was stopped

Every training of DIR/runs/training is evaluated at its last epoch by `cgro evaluate --attack ensemble`, which stores its
result in the run. Robust test error in percent with the paired difference to plain training over seeds, Student's 95%
interval. Stored in benchmarks/results/ensemble-NAME.json.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from cgro.environment import environment
from cgro.results.measured import Measured
from cgro.writing import dump_json, write_atomic

KEY = "robust_error/test@ensemble"


def error_of(run: Path, n: int, threads: int) -> float:
    """Robust test error in percent."""
    command = [sys.executable, "-m", "cgro", "evaluate", str(run), "--attack", "ensemble", "--parts", "test"]
    command += ["--n", str(n), "--threads", str(threads), "-q"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": str(threads)})
    found = json.loads((run / "summary.json").read_bytes())["metrics"][KEY]
    assert found["n"] == n
    return 100 * found["value"]


def spread(values: list[float]) -> dict[str, object]:
    measured = Measured.of(values)
    return {"values": values, "mean": measured.mean, "sd": measured.sd, "interval": list(measured.interval)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--reference", default="plain")
    parser.add_argument("--name", default="", help="of the result; default: that of the folder")
    a = parser.parse_args()
    errors: dict[str, list[float]] = {}
    for remedy in sorted((a.folder / "runs" / "training").iterdir()):
        seeds = sorted(remedy.glob("seed-*"))
        errors[remedy.name] = [error_of(seed, a.n, a.threads) for seed in seeds]
        print(remedy.name, errors[remedy.name], flush=True)
    plain = errors[a.reference]
    rows: dict[str, object] = {}
    for remedy, values in errors.items():
        rows[remedy] = {"robust test error": spread(values)}
        if remedy != a.reference:
            minus = [ours - theirs for ours, theirs in zip(values, plain, strict=True)]
            rows[remedy] = {"robust test error": spread(values), f"minus {a.reference}": spread(minus)}
    about = {"n": a.n, "attack": "ensemble", "reference": a.reference}
    path = Path(__file__).parent / "results" / f"ensemble-{a.name or a.folder.name}.json"
    write_atomic(path, dump_json({"environment": environment(0), "about": about, "rows": rows}))
    print(dump_json(rows).decode())


if __name__ == "__main__":
    main()
