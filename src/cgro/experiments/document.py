"""docs/reproduction.md, written from what is stored.

python -m cgro.experiments.document results docs/reproduction.md     (make reproduction)
python -m cgro.experiments.document results docs/reproduction.md --judge [--runs DIR]

With --judge the stored findings are first judged and drawn by the code of today: for a change of a claim's words, of a
rule or of a figure. Nothing is computed; figures that commands drew in their runs are taken from DIR, a reproduction,
and stay as they are without it.
"""

import argparse
from pathlib import Path

from cgro.experiments.artifact import judge_again
from cgro.experiments.registry import ARTIFACTS, names
from cgro.jobs.store import Store
from cgro.jobs.workspace import Workspace
from cgro.report.reproduction import document
from cgro.runs import write_atomic


def judge(results: Path, runs: Path) -> None:
    """Judge and draw every stored artifact again.

    Args:
        results: a folder of results, one folder per scale.
        runs: a reproduction, whose runs may hold figures.
    """
    for artifact in ARTIFACTS:
        for summary in sorted(results.glob(f"*/{artifact.NAME}/summary.json")):
            store = Store(summary.parent.parent)
            judge_again(artifact, summary.parent, Workspace(runs, store=store))


def main(results: Path, page: Path) -> None:
    """Write the page.

    Args:
        results: a folder of results, one folder per scale.
        page: the file to write.
    """
    write_atomic(page, document(results, page, names()).encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("--judge", action="store_true", help="judge and draw the stored findings again")
    parser.add_argument("--runs", type=Path, default=Path("runs/reproduce-cpu"), help="a reproduction with figures")
    asked = parser.parse_args()
    if asked.judge:
        judge(asked.results, asked.runs)
    main(asked.results, asked.page)
