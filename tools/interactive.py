"""Writes docs/interactive/ziggurat.js: the tables by which numpy turns integers into normal numbers.

    python tools/interactive.py

numpy keeps them in its C code only; numba has the same tables in Python, for the generators that compiled loops take.
The simulator in the browser needs them to draw the unseen examples and the fresh noise of Python. Everything else on
the interactive pages is computed there.
"""

from pathlib import Path

import numpy as np
from numba.np.random import _constants as numbas

TARGET = Path(__file__).resolve().parents[1] / "docs" / "interactive" / "ziggurat.js"
HEAD = """/* The ziggurat of numpy's standard normal numbers; written by tools/interactive.py, do not edit.
   below   a draw of this layer below it lies inside the density    width   of a layer, over 2^52
   height  of the density at the edge of a layer                    edge    of the lowest layer */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

cgro.ziggurat = {
"""
LINE = 112


def lines_of(values: np.ndarray) -> str:
    """The numbers as text, exactly, in lines of a readable length."""
    lines = [""]
    for value in values.tolist():
        word = f"{value!r},"
        if len(lines[-1]) + len(word) > LINE:
            lines.append("")
        lines[-1] += word
    return "\n".join(f"    {line}" for line in lines)


def text() -> str:
    """The script."""
    parts = [HEAD]
    tables = {"below": numbas.ki_double, "width": numbas.wi_double, "height": numbas.fi_double}
    for name, values in tables.items():
        parts.append(f"  {name}: new Float64Array([\n{lines_of(values)}\n  ]),\n")
    parts.append(f"  edge: {float(numbas.ziggurat_nor_r)!r},\n}};\n")
    return "".join(parts)


if __name__ == "__main__":
    TARGET.write_text(text())
