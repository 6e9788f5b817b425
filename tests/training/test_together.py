"""Several processes train as one does: the same examples and draws to the bit, the same weights up to rounding."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.ranks import run_ranks
from tests.training import together
from tests.training.together import CASES, Case
from torch import Tensor

from cgro.ranks import ALONE
from cgro.training.registry import EXTENSIONS, OBJECTIVES

SIZES = (2, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process, two and four made of all cases."""
    path = tmp_path_factory.mktemp("together")
    together.all_cases(ALONE, path)
    for size in SIZES:
        run_ranks(size, "tests.training.together:all_cases", path, timeout=500)
    return path


def read(folder: Path, case: Case, size: int, number: int = 0) -> dict[str, Tensor]:
    return load_file(folder / f"{case.name}-{size}-{number}.safetensors")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("size", SIZES)
def test_weights_and_curves_are_those_of_one_process(folder: Path, case: Case, size: int) -> None:
    """Up to rounding: sums are taken in another order; float32 has 1.2e-7, and six steps of a smooth network."""
    one, several = read(folder, case, 1), read(folder, case, size)
    assert one.keys() == several.keys()
    for name, value in one.items():
        torch.testing.assert_close(several[name], value, rtol=2e-4, atol=2e-5, msg=lambda text, name=name: f"{name}: {text}")
