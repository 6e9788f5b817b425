"""The extension of griffe that gives mkdocstrings our docstrings as Markdown."""

import sys
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.site.prose import markdown  # griffe loads this file by its path


class Prose(griffe.Extension):
    """Rewrites every docstring as it is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one.

        Args:
            obj: a module, class, function or attribute.
        """
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)
