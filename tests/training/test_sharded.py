"""FSDP2: a loop of one's own trains sharded weights as one process trains whole ones; `fit` refuses them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.ranks import run_ranks
from tests.training import sharded

from cgro.ranks import ALONE


@pytest.mark.skipif(not hasattr(torch.cpu.Stream, "record_event"), reason="FSDP2 of this torch needs a GPU")
def test_two_processes_with_half_of_the_weights_train_as_one_with_all(tmp_path: Path) -> None:
    sharded.cases(ALONE, tmp_path)
    run_ranks(2, "tests.training.sharded:cases", tmp_path)
    one = load_file(tmp_path / "one.safetensors")
    start = sharded.network().state_dict()
    for number in range(2):
        whole, cut = (load_file(tmp_path / f"{name}-{number}.safetensors") for name in ("whole", "cut"))
        for name, value in one.items():
            # Float32, sums in another order: 1.2e-7 of numbers up to 1, six steps with momentum.
            torch.testing.assert_close(
                whole[name], value, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
            )
            assert (value - start[name]).abs().max() > 1e-2
            assert torch.equal(cut[name], whole[name]), name
