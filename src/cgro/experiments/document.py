"""docs/reproduction.md, written from what is stored.

python -m cgro.experiments.document results docs/reproduction.md     (make reproduction)
"""

import sys
from pathlib import Path

from cgro.experiments.registry import names
from cgro.report.reproduction import document
from cgro.runs import write_atomic


def main(results: Path, page: Path) -> None:
    """Write the page.

    Args:
        results: a folder of results, one folder per scale.
        page: the file to write.
    """
    write_atomic(page, document(results, page, names()).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
