"""Which colors of a figure, or of the module that draws it, are not of the palette in `cgro.report.style`."""

import ast
import re
from collections.abc import Iterator

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, is_color_like, to_hex
from matplotlib.figure import Figure

from cgro.report import style

MEANINGS = (style.CLEAN, style.ROBUST, style.GAP, style.MEMORY, style.FLATNESS, style.SIGNAL, style.MARK)
SCALES = (style.ERROR_SCALE, style.SIGNED_SCALE, style.PIXEL_SCALE)
NEUTRAL = {"#b0b0b0", "#cccccc"}
"""Of matplotlib: the grid, and the frame of a legend, which the tutorials draw."""
MOST_SHADES = 10
_FIXED = {color.lower() for color in (*MEANINGS, *style.COMPARED, style.INK, style.PAPER, style.TEXT_MARK)} | NEUTRAL
_SHADES = {shade for color in MEANINGS for n in range(2, MOST_SHADES + 1) for shade in style.shades(color, n)}
# The other two scales color images, which an SVG holds as pixels.
_ERRORS = {to_hex(color) for color in matplotlib.colormaps[style.ERROR_SCALE](np.arange(256))}
ALLOWED = _FIXED | _SHADES | _ERRORS


def foreign(svg: str) -> set[str]:
    """Colors of lines and areas of an SVG that are not of the palette."""
    found = {color.lower() for color in re.findall(r"(?<![\w-])(?:stroke|fill): (#[0-9a-fA-F]{6})", svg)}
    return found - ALLOWED


def foreign_scales(drawing: Figure) -> set[str]:
    """Names of the scales in a figure that are not of the palette, nor made of its colors."""
    found = set()
    for artist in drawing.findobj(lambda one: isinstance(one, ScalarMappable)):
        assert isinstance(artist, ScalarMappable)
        scale = artist.get_cmap()
        if artist.get_array() is None or scale.name in SCALES:
            continue
        of_palette = isinstance(scale, ListedColormap) and {to_hex(color) for color in scale.colors} <= _FIXED
        if not of_palette:
            found.add(scale.name)
    return found


COLORED = re.compile(r"(^|_)(c|e?colors?|cmap)$|(face|edge)colors?$")
"""Keywords of matplotlib that take a color or a scale."""


def own_colors(source: str) -> set[str]:
    """Colors and scales that a module writes itself, rather than taking them from `style` by their meaning."""
    tree = ast.parse(source)
    found = {text for text in _texts(tree) if re.fullmatch(r"#[0-9a-fA-F]{6}", text)}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg and COLORED.search(node.arg):
            found |= {text for text in _texts(node.value) if is_color_like(text) or text in matplotlib.colormaps}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.name for alias in node.names} & {"colormaps", "get_cmap"}
        elif isinstance(node, ast.Attribute):
            found |= {node.attr} & {"colormaps", "get_cmap"}
    return found - {"none"}


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
