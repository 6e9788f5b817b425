"""Checkpoints: written and read back, kept, and what is refused."""

import copy
from pathlib import Path

import pytest
import torch
from tests.training.cases import ATTACK, noisy, run_of, small, train

from cgro._check import BadRequest
from cgro.data import Dataset
from cgro.models import build, lenet
from cgro.training import Evaluation, Extension, Recipe
from cgro.training.checkpoint import epoch_file, kept_epochs, load_checkpoint, save_checkpoint
from cgro.training.weights import read_weights


def test_checkpoints_refuse_damage_and_strangers(tmp_path: Path) -> None:
    path, model = tmp_path / "c.safetensors", small()
    save_checkpoint(path, model, torch.optim.Adam(model.parameters()), {"epoch": 4})
    assert load_checkpoint(path, small(1))["epoch"] == 4
    for stranger, words in ((lenet((1, 8, 8), 10), "missing"), (build("mlp", (1, 8, 8), 10, width=32), "other shape")):
        with pytest.raises(ValueError, match=words):
            load_checkpoint(path, stranger)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match="truncated"):
        load_checkpoint(path, model)


def test_a_state_that_cannot_be_written_is_refused_by_its_extension(tmp_path: Path) -> None:
    class Own(Extension):
        name = "own"

        def state(self) -> dict[str, object]:
            return {"a": object()}

    path = tmp_path / "c.safetensors"
    with pytest.raises(BadRequest, match="extension own: expected a state of tensors, numbers and text"):
        save_checkpoint(path, small(), None, {}, [Own()])
    assert not path.exists()


class Evil:
    """A pickle that would run code when loaded."""

    def __reduce__(self) -> tuple:
        return print, ("executed",)


def test_foreign_checkpoints_are_tensors_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = small()
    torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "good.pt")
    assert set(read_weights(tmp_path / "good.pt")) == {f"module.{key}" for key in model.state_dict()}
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="refused"):
        read_weights(tmp_path / "evil.pt")
    assert "executed" not in capsys.readouterr().out
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="state dict"):
        read_weights(tmp_path / "list.pt")
    with pytest.raises(ValueError, match="found none"):
        read_weights(tmp_path / "absent.pt")


def test_checkpoints_are_kept_every_k_epochs(digits: Dataset, tmp_path: Path) -> None:
    run, models = run_of(tmp_path / "r"), []
    probe = lambda s: models.append(copy.deepcopy(s.model)) or {}  # noqa: E731
    train(noisy(), digits, Recipe(epochs=5), run=run, evaluation=Evaluation(ATTACK, 20, keep_every=2), probes=[probe])
    kept = kept_epochs(run)
    assert list(kept) == [2, 4]
    for epoch, path in kept.items():
        twin = noisy()
        assert load_checkpoint(path, twin)["epoch"] == epoch
        state = models[epoch - 1].state_dict()
        assert all(torch.equal(v, state[k]) for k, v in twin.state_dict().items())


def test_the_optimizer_goes_on_as_if_it_had_not_been_saved(tmp_path: Path) -> None:
    """Two steps of Adam, saved and loaded into a new one; the third step is the same to the bit."""
    models = small(), small(1)
    optimizers = [torch.optim.Adam(model.parameters(), lr=0.1) for model in models]
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def step(k: int) -> None:
        optimizers[k].zero_grad()
        models[k](x).square().sum().backward()
        optimizers[k].step()

    step(0)
    step(0)
    save_checkpoint(tmp_path / "c.safetensors", models[0], optimizers[0], {})
    load_checkpoint(tmp_path / "c.safetensors", models[1], optimizers[1])
    step(0)
    step(1)
    assert all(torch.equal(p, q) for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True))
    save_checkpoint(tmp_path / "weights.safetensors", models[0], None, {})
    with pytest.raises(ValueError, match="optimizer state does not fit"):
        load_checkpoint(tmp_path / "weights.safetensors", models[1], optimizers[1])


def test_one_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, small(), None, {"epoch": 1})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not those that were written"):
        read_weights(path)


def test_files_of_other_names_are_no_epochs(tmp_path: Path) -> None:
    run = run_of(tmp_path / "r")
    for name in (epoch_file(12), epoch_file(3), "epoch-best.safetensors", "epoch-7.safetensors"):
        save_checkpoint(run.file("checkpoints", name), small(), None, {})
    assert list(kept_epochs(run)) == [3, 12]


def test_sparse_tensors_are_refused_before_a_file_is_there(tmp_path: Path) -> None:
    model, path = small(), tmp_path / "c.safetensors"
    model.register_buffer("graph", torch.eye(3).to_sparse())
    with pytest.raises(
        BadRequest, match=r"weights model/graph: expected dense tensors, got torch.sparse_coo.*persistent"
    ):
        save_checkpoint(path, model, None, {})
    assert not path.exists()
    model.register_buffer("graph", torch.eye(3).to_sparse(), persistent=False)
    save_checkpoint(path, model, None, {})
    assert path.exists()
