"""The networks of a finished `cgro compare` once more by the ensemble on more images: is a gain masked gradients?

  python benchmarks/compare_ensemble.py DIR --n 500      about two CPU minutes a network; goes on where it was stopped
  python benchmarks/compare_ensemble.py --page cifar10   the table of docs/what_now.md, of what is stored under this name

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
RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "what_now.md"
BEGIN, END = "<!-- table: python benchmarks/compare_ensemble.py --page cifar10 -->", "<!-- end of table -->"


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


def result_named(name: str) -> Path:
    return RESULTS / f"ensemble-{name}.json"


def table_of(result: Path) -> str:
    """The largest fall first, as Markdown; in percent, and differences in points."""
    stored = json.loads(result.read_text())
    reference, rows = stored["about"]["reference"], stored["rows"]
    lines = [
        f"| remedy | robust test error, {stored['about']['n']} images | sd over seeds | against {reference} |",
        "| --- | --- | --- | --- |",
    ]
    for remedy, row in sorted(rows.items(), key=lambda item: item[1]["robust test error"]["mean"]):
        error, minus = row["robust test error"], row.get(f"minus {reference}")
        said = "" if minus is None else "{:+.1f} points [{:+.1f}, {:+.1f}]".format(minus["mean"], *minus["interval"])
        lines.append(f"| {remedy} | {error['mean']:.1f}% | {error['sd']:.1f} | {said} |")
    return "\n".join(lines)


def filled(page: str, table: str) -> str:
    """The page with another table between the marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.split(END, 1)[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--page", metavar="NAME", help="write the table of a stored result into the page, and stop")
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--reference", default="plain")
    parser.add_argument("--name", default="", help="of the result; default: that of the folder")
    a = parser.parse_args()
    if a.page:
        write_atomic(PAGE, filled(PAGE.read_text(), table_of(result_named(a.page))).encode())
        return
    if a.folder is None:
        parser.error("expected a folder of cgro compare, or --page NAME")
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
    write_atomic(
        result_named(a.name or a.folder.name), dump_json({"environment": environment(0), "about": about, "rows": rows})
    )
    print(dump_json(rows).decode())


if __name__ == "__main__":
    main()
