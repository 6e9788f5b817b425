"""Execute the tutorials and store what they print and draw, as the pages of the site.

A tutorial is a plain Python file, docs/tutorials/NN_name.py, in cells: `# %% [markdown]` begins text (comment lines),
`# %%` begins code. It runs as it is: `python docs/tutorials/01_phenomenon.py`. Its page, NN_name.md beside it, has the
text, the code, what each cell printed, the value of a cell's last expression, and its figures.

    python tools/tutorials.py                  # execute all, write their pages
    python tools/tutorials.py 01 05            # these
    python tools/tutorials.py --check          # execute all; exit 1 if a page has other text, code or figures

A number that depends on the processor may differ between two executions; text, code and figures may not.
"""

import argparse
import ast
import contextlib
import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "tutorials"
MARK = re.compile(r"^# %%(.*)$")
PICTURES = (".svg", ".png")
RUNS = re.compile(r"0x[0-9a-f]{6,}")
"""Addresses in the text of an object, which no two processes share."""


@dataclass(frozen=True)
class Cell:
    """A part of a tutorial.

    Args:
        text: Markdown, or code.
        code: which of the two.
    """

    text: str
    code: bool


@dataclass(frozen=True)
class Output:
    """What a cell of code left.

    Args:
        text: printed, and the value of its last expression.
        figures: pictures, in order.
    """

    text: str = ""
    figures: tuple[Path, ...] = ()


def cells(source: str) -> list[Cell]:
    """Cut a tutorial into its cells.

    Args:
        source: of the file.

    Returns:
        The cells with something in them.

    Raises:
        ValueError: a line of text that is no comment, or something above the first mark.

    Example:
        >>> cells("# %% [markdown]\\n# # Title\\n# %%\\nprint(1)")
        [Cell(text='# Title', code=False), Cell(text='print(1)', code=True)]
    """
    found: list[tuple[str, list[str]]] = []
    for line in source.splitlines():
        if mark := MARK.match(line):
            found.append((mark[1].strip(), []))
        elif found:
            found[-1][1].append(line)
        elif line.strip():
            raise ValueError(f"expected '# %%' above everything else, got {line!r}")
    parts: list[Cell] = []
    for kind, lines in found:
        if kind == "[markdown]":
            lines = [_uncommented(line) for line in lines]
        text = "\n".join(lines).strip("\n")
        if text:
            parts.append(Cell(text, kind != "[markdown]"))
    return parts


def _uncommented(line: str) -> str:
    if line.strip() and not line.startswith("#"):
        raise ValueError(f"expected a comment in a cell of text, got {line!r}")
    return line.removeprefix("#").removeprefix(" ")


def _value(code: str, names: dict[str, object]) -> object:
    """Run a cell, and return the value of its last line if that is an expression."""
    tree = ast.parse(code)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
    exec(compile(tree, "<tutorial>", "exec"), names)
    if last is None:
        return None
    return eval(compile(last, "<tutorial>", "eval"), names)


def _drawn(folder: Path, stem: str) -> list[Path]:
    """Save and close the figures that are open."""
    from matplotlib import pyplot

    saved: list[Path] = []
    for number in pyplot.get_fignums():
        path = folder / f"{stem}_{len(saved) + 1}.svg"
        with matplotlib.rc_context({"svg.hashsalt": stem}):
            pyplot.figure(number).savefig(path, metadata={"Date": None}, bbox_inches="tight")
        pyplot.close(number)
        saved.append(path)
    return saved


def execute(path: Path, folder: Path) -> list[tuple[Cell, Output]]:
    """Run a tutorial in a folder of its own.

    Args:
        path: of the tutorial.
        folder: the current one while it runs; its figures are saved there.

    Returns:
        Its cells with what they left.

    Raises:
        Exception: whatever a cell raises.
    """
    matplotlib.use("Agg")
    names: dict[str, object] = {"__name__": "__main__"}
    done: list[tuple[Cell, Output]] = []
    with contextlib.chdir(folder), _importable(folder):
        for k, cell in enumerate(cells(path.read_text())):
            if not cell.code:
                done.append((cell, Output()))
                continue
            said = io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
                value = _value(cell.text, names)
            figures = _drawn(folder, f"{path.stem}_{k}")
            if isinstance(value, Path) and value.suffix in PICTURES:
                figures.append(value.resolve())
            elif value is not None and not figures:  # of a cell that draws, the value is a part of the drawing
                said.write(f"{value!r}\n")
            done.append((cell, Output(RUNS.sub("0x...", said.getvalue()).rstrip(), tuple(figures))))
    return done


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Modules that the tutorial writes are found, and forgotten afterwards, like figures of a cell that raised."""
    from matplotlib import pyplot

    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        pyplot.close("all")
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]


def page(path: Path, done: list[tuple[Cell, Output]]) -> tuple[str, dict[str, Path]]:
    """Write the page of a tutorial.

    Args:
        path: of the tutorial.
        done: its cells, executed.

    Returns:
        Markdown, and name below figures/ -> picture.
    """
    parts = [f"<!-- Written by `make tutorials` from {path.name}. -->"]
    pictures: dict[str, Path] = {}
    for cell, output in done:
        if not cell.code:
            parts.append(cell.text)
            continue
        parts.append(f"```python\n{cell.text}\n```")
        if output.text:
            parts.append(f"```text\n{output.text}\n```")
        for figure in output.figures:
            name = f"{path.stem}_{len(pictures) + 1}{figure.suffix}"
            pictures[name] = figure
            parts.append(f"![{_caption(cell.text)}](figures/{name})")
    parts.append(f"The file behind this page: [{path.name}]({path.name}).")
    return "\n\n".join(parts) + "\n", pictures


def _caption(code: str) -> str:
    """What a picture shows: the comment that begins its cell."""
    first = code.splitlines()[0]
    if not first.startswith("# "):
        raise ValueError(f"expected a comment that describes the picture above {first!r}")
    return first.removeprefix("# ")


def frame(markdown: str) -> str:
    """What two executions must share: all but the printed text, whose lines are counted.

    Args:
        markdown: a page.

    Returns:
        The page without what cells printed.
    """
    return re.sub(r"^```text\n.*?^```$", "```text\n```", markdown, flags=re.DOTALL | re.MULTILINE)


def tutorials(chosen: list[str]) -> list[Path]:
    """The files of some tutorials.

    Args:
        chosen: starts of their names; none for all.

    Returns:
        Their paths, in order.
    """
    files = sorted(FOLDER.glob("[0-9]*.py"))
    return [file for file in files if not chosen or file.name.startswith(tuple(chosen))]


def write(path: Path, folder: Path) -> bool:
    """Execute a tutorial and store its page.

    Args:
        path: of the tutorial.
        folder: to run in.

    Returns:
        Whether text, code or figures of the page changed.
    """
    markdown, pictures = page(path, execute(path, folder))
    target = path.with_suffix(".md")
    before = target.read_text() if target.exists() else ""
    target.write_text(markdown)
    for old in (FOLDER / "figures").glob(f"{path.stem}_*"):
        old.unlink()
    for name, picture in pictures.items():
        shutil.copyfile(picture, FOLDER / "figures" / name)
    return frame(before) != frame(markdown)


def main(words: list[str] | None = None) -> int:
    """Execute tutorials.

    Args:
        words: of the command line.

    Returns:
        Its exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(words)
    changed: list[str] = []
    for path in tutorials(options.names):
        with tempfile.TemporaryDirectory() as folder:
            if options.check:
                markdown, _ = page(path, execute(path, Path(folder)))
                other = frame(path.with_suffix(".md").read_text()) != frame(markdown)
            else:
                other = write(path, Path(folder))
        print(f"{path.name}: {'changed' if other else 'as it was'}")
        if other:
            changed.append(path.name)
    return int(options.check and bool(changed))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    sys.exit(main())
