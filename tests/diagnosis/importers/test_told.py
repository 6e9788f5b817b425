"""What `--map` says: columns with units, patterns, and typing errors."""

import pytest

from cgro._check import BadRequest
from cgro.diagnosis.importers import parse_map


def test_bad_maps() -> None:
    for text in ("epoch", "robust=x", "epoch="):
        with pytest.raises(BadRequest, match="--map"):
            parse_map(text)
