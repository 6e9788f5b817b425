"""Which weights of a file a network is given: decided by its keys and shapes, said, or asked."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.cases import busy_network, refused
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from cgro.training.checkpoint import save_checkpoint
from cgro.training.weights import load_file, load_weights, read_weights

Weights = dict[str, Tensor]


class Net(nn.Module):
    """Its parts have names."""

    def __init__(self) -> None:
        super().__init__()
        self.features: nn.Module = nn.Sequential(*list(busy_network().children())[:3])
        self.fc = nn.Linear(256, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).flatten(1))


def network(seed: int) -> Net:
    torch.manual_seed(seed)
    model = Net()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model.eval()


TRUE, OTHER = network(1), network(2)
X = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def behind(prefix: str, weights: Weights) -> Weights:
    return {prefix + key: value for key, value in weights.items()}


def inside(model: Net) -> Weights:
    """A part of the network was wrapped before it was saved, as in PyTorch's own example of training on ImageNet."""
    wrapped = copy.deepcopy(model)
    wrapped.features = nn.DataParallel(wrapped.features)
    return wrapped.state_dict()


def state(model: nn.Module = TRUE) -> Weights:
    return model.state_dict()


FILES: dict[str, Callable[[], object]] = {
    "plain": state,
    "net": lambda: {"net": state(), "acc": 53.2, "epoch": 7},
    "deep": lambda: {"trainer": {"network": {"weights": state()}}, "lr": [0.1]},
    "DataParallel": lambda: nn.DataParallel(TRUE).state_dict(),
    "twice": lambda: behind("module._orig_mod.", state()),
    "compiled": lambda: torch.compile(TRUE).state_dict(),
    "part wrapped": lambda: {"state_dict": inside(TRUE)},
    "Lightning": lambda: {"state_dict": behind("model.", state()), "pytorch-lightning_version": "2.0"},
    "torch's average": lambda: AveragedModel(TRUE).state_dict(),
    "before 0.4.1": lambda: {k: v for k, v in state().items() if "num_batches" not in k},
    "profiled": lambda: {**state(), "total_ops": torch.zeros(1), "fc.total_params": torch.zeros(1)},
    "module twice": lambda: behind("module.module.", state()),
    "compiled in Lightning": lambda: {"state_dict": behind("model._orig_mod.", state())},
    "net. in Lightning": lambda: {"state_dict": behind("net.", state()), "hyper_parameters": {"lr": 0.1}, "loops": {}},
    "Madry's, without a normalizer": lambda: {
        "model": {**behind("module.model.", state()), **behind("module.attacker.model.", state())},
        "epoch": 3,
    },
    "an epoch among the weights": lambda: {**state(), "epoch": 7, "_extra_state": None},
    "with an optimizer": lambda: {"net": state(), "optimizer": torch.optim.Adam(TRUE.parameters()).state_dict()},
    "two networks": lambda: {"generator": nn.Linear(3, 3).state_dict(), "classifier": state()},
    "model/ before the keys": lambda: behind("model/", state()),
    "twice the same": lambda: {"model": state(), "ema": copy.deepcopy(state())},
}


@pytest.mark.parametrize("what", FILES)
def test_the_weights_that_fit_are_found(tmp_path: Path, what: str) -> None:
    """The network gives the outputs of the one that was saved, whatever it was saved in."""
    torch.save(FILES[what](), tmp_path / "x.pt")
    model = network(3)
    said = load_file(model, tmp_path / "x.pt").sentence()
    assert torch.equal(model(X), TRUE(X))
    quiet = ("plain", "before 0.4.1", "profiled", "an epoch among the weights")
    assert bool(said) == (what not in quiet), said


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_precision_is_rounded_and_no_more(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "x.pt"
    torch.save({key: value.to(dtype) if value.is_floating_point() else value for key, value in state().items()}, path)
    model = network(3)
    load_file(model, path)
    for key, value in model.state_dict().items():
        true = state()[key]
        assert value.dtype == true.dtype
        assert torch.equal(value, true.to(dtype).to(true.dtype) if true.is_floating_point() else true), key


@pytest.mark.parametrize("dtype", [torch.int32, torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_numbers_of_another_kind_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    """Quantized weights without their scale would make a network that answers something."""
    weights = {**TRUE.state_dict(), "fc.weight": TRUE.fc.weight.detach().to(dtype)}
    model = copy.deepcopy(OTHER)
    refused(lambda: load_weights(model, weights, tmp_path / "w.pt"), "w.pt: fc.weight", str(dtype), "quantized")
    assert torch.equal(model.fc.weight, OTHER.fc.weight)
    counted = {key: value.float() if "num_batches" in key else value for key, value in TRUE.state_dict().items()}
    load_weights(model, counted, tmp_path / "w.pt")


def test_what_was_used_is_said(tmp_path: Path) -> None:
    torch.save(FILES["Lightning"](), tmp_path / "x.pt")
    said = load_file(network(3), tmp_path / "x.pt").sentence()
    assert "under state_dict" in said
    assert "model.features.0.weight is taken for features.0.weight" in said


def test_a_wrapped_network_takes_both_its_own_keys_and_plain_ones(tmp_path: Path) -> None:
    for weights in (state(), nn.DataParallel(TRUE).state_dict()):
        save_file(weights, tmp_path / "x.safetensors")
        model = nn.DataParallel(network(3)).eval()
        load_file(model, tmp_path / "x.safetensors")
        assert torch.equal(model(X), TRUE(X))


ASKED: dict[str, tuple[Callable[[], object], str, str]] = {
    "timm": (lambda: {"state_dict": state(OTHER), "state_dict_ema": state()}, "state_dict_ema", "state_dict"),
    "nested": (lambda: {"model": state(OTHER), "ema": {"decay": 0.9, "shadow": state()}}, "ema.shadow", "model"),
    "in one dictionary": (lambda: {**behind("model.", state(OTHER)), **behind("model_ema.", state())}, "model_ema.", "model."),
    "beside plain keys": (lambda: {**state(OTHER), **behind("ema.", state())}, "ema.", "plain"),
    "both": (lambda: {"state_dict": {**behind("student.", state(OTHER)), **behind("teacher.", state())}}, "state_dict:teacher.", "student"),
    "swa": (lambda: {"state_dict": state(OTHER), "swa_state_dict": behind("module.", state()), "swa_n": 5}, "swa_state_dict:module.", "state_dict"),
    "best and last": (lambda: {"best": state(), "last": state(OTHER)}, "best", "last"),
}  # fmt: skip


@pytest.mark.parametrize("what", ASKED)
def test_two_that_fit_are_asked_and_named(tmp_path: Path, what: str) -> None:
    content, name, other = ASKED[what]
    path = tmp_path / "x.pt"
    torch.save(content(), path)
    text = refused(lambda: load_file(network(3), path), "--weights")
    assert name in text
    for entry, source in ((name, TRUE), (other, OTHER)):
        model = network(3)
        assert load_file(model, path, entry=entry).sentence()
        assert torch.equal(model(X), source(X)), entry
    refused(lambda: load_file(network(3), path, entry="averaged"), "averaged", name)


def test_an_average_in_a_checkpoint_of_ours_is_asked_for_too(tmp_path: Path) -> None:
    class Average:
        name = "ema"

        def state(self) -> Weights:
            return state()

    path = tmp_path / "last.safetensors"
    save_checkpoint(path, OTHER, torch.optim.SGD(OTHER.parameters(), 0.1), {"epoch": 1}, [Average()])  # type: ignore[list-item]
    refused(lambda: load_file(network(3), path), "model, extension/ema")
    for entry, source in (("model", OTHER), ("extension/ema", TRUE)):
        model = network(3)
        load_file(model, path, entry=entry)
        assert torch.equal(model(X), source(X))
    assert torch.equal(read_weights(path)["fc.bias"], OTHER.fc.bias)


def test_keys_that_are_left_over_are_no_small_matter(tmp_path: Path) -> None:
    """A normalization that the network does not have would change every number."""
    path = tmp_path / "x.pt"
    torch.save({**behind("net.", state()), "normalize.mean": torch.zeros(3)}, path)
    refused(lambda: load_file(network(3), path), "another network", "normalize.mean", "--weights net.")
    model = network(3)
    assert "normalize.mean" in load_file(model, path, entry="net.").sentence()
    assert torch.equal(model(X), TRUE(X))


def test_a_normalizer_that_the_network_lacks_is_called_one(tmp_path: Path) -> None:
    """Madry's checkpoint holds the network twice, and the statistics of the images; other authors have mu and sigma."""
    path = tmp_path / "x.pt"
    twice = {**behind("module.model.", state()), **behind("module.attacker.model.", state())}
    torch.save({"model": {**twice, "module.normalizer.new_mean": torch.zeros(3)}}, path)
    text = refused(lambda: load_file(network(3), path), "normalizes its inputs", "module.normalizer.new_mean")
    assert "differ" not in text
    name = text.partition("--weights ")[2].split()[0]
    model = network(3)
    assert "new_mean" in load_file(model, path, entry=name).sentence()
    assert torch.equal(model(X), TRUE(X))
    torch.save({**state(), "mu": torch.zeros(3), "sigma": torch.ones(3)}, path)
    refused(lambda: load_file(network(3), path), "normalizes its inputs", "mu, sigma")
    changed = {**twice, "module.attacker.model.fc.bias": torch.ones(3)}  # not the same network any more
    torch.save({"model": changed}, path)
    refused(lambda: load_file(network(3), path), "2 that differ")


def test_weights_that_are_nan_with_keys_that_are_left_over_are_refused_too(tmp_path: Path) -> None:
    weights = {**state(), "extra": torch.zeros(1)}
    weights["fc.bias"] = torch.full((3,), torch.nan)
    torch.save(weights, tmp_path / "x.pt")
    refused(lambda: load_file(network(3), tmp_path / "x.pt"), "unknown extra")


def test_what_does_not_fit_is_named_where_most_of_it_does(tmp_path: Path) -> None:
    path, weights = tmp_path / "x.pt", behind("model.", state())
    del weights["model.fc.bias"]
    torch.save({"args": {"a": torch.zeros(1)}, "state_dict": weights}, path)
    refused(lambda: load_file(network(3), path), "under state_dict", "behind the prefix model.", "missing fc.bias")
    torch.save({**state(), "fc.weight": torch.zeros(10, 256)}, path)
    refused(lambda: load_file(network(3), path), "other shape: fc.weight")
    with pytest.raises(ValueError, match="unknown extra"):
        load_weights(network(3), {**state(), "extra": torch.zeros(1)}, path)


@pytest.mark.parametrize("prefix", ["m.", "0.", "model.net.", "module.m."])
def test_a_state_dict_of_the_network_has_its_keys_unless_it_may_be_inside_of_another(
    tmp_path: Path, prefix: str
) -> None:
    """Planted: of a run whose network rounded its input the bare one was loaded, without a word."""
    weights = behind(prefix, state())
    refused(lambda: load_weights(network(3), weights, tmp_path / "w.pt"), "another network; missing f")
    model = network(3)
    said = load_weights(model, weights, tmp_path / "w.pt", inside=True).sentence()
    assert f"its {prefix}fe" in said
    assert torch.equal(model(X), TRUE(X))
    weights = {"module._orig_mod." + key: value for key, value in state().items()}
    load_weights(network(3), weights, tmp_path / "w.pt")


def test_without_a_network_the_only_state_dict_is_read_or_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"a": {"w": torch.zeros(1)}, "b": {"w": torch.ones(1)}}, path)
    refused(lambda: read_weights(path), "a, b")
    refused(lambda: read_weights(path, entry="c"), "'c'")
    assert read_weights(path, entry="b")["w"].item() == 1


def test_the_docs_list_every_way_of_saving() -> None:
    text = (Path(__file__).parents[3] / "docs" / "importing.md").read_text().partition("## Checkpoints")[2]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    listed = {name.strip() for row in rows for name in row.split(", ")}
    listed.add(next(row.strip() for row in rows if "Madry" in row))  # a name with a comma
    assert (FILES.keys() | ASKED.keys()) <= listed
