"""Networks of other libraries: outputs with logits, and timm, which is imitated."""

import sys
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from cgro.models import Logits, build


@dataclass
class Output:
    """What networks of transformers return."""

    logits: Tensor


class WithLogits(nn.Module):
    """A network whose output has logits, and an attribute `model` that the wrapper's own must not disturb."""

    def __init__(self, shape: tuple, n_outputs: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, n_outputs))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Output:
        return Output(self.model(x))


@pytest.mark.parametrize("n_outputs", [1, 10])
def test_outputs_with_logits_are_unwrapped_and_keys_stay_their_own(n_outputs: int) -> None:
    name = "tests.models.test_other:WithLogits"
    a, b, c = (build(name, (1, 8, 8), n_outputs, seed=s) for s in (0, 0, 1))
    assert isinstance(a, Logits)
    own, x = WithLogits((1, 8, 8), n_outputs), torch.rand(3, 1, 8, 8)
    assert list(a.state_dict()) == list(own.state_dict()) == ["calls", "model.2.weight", "model.2.bias"]
    own.load_state_dict(a.state_dict())
    c.load_state_dict(own.state_dict())
    by_hand = own.eval()(x).logits
    for model in (a, b, c):
        assert torch.equal(model.eval()(x), by_hand.squeeze(1) if n_outputs == 1 else by_hand)
    with pytest.raises(RuntimeError, match="model.2.weight"):
        c.load_state_dict({k: v for k, v in own.state_dict().items() if k != "model.2.weight"})
    wrapped = nn.Sequential(c)
    assert list(wrapped.state_dict()) == ["0.calls", "0.model.2.weight", "0.model.2.bias"]
    wrapped.load_state_dict(wrapped.state_dict())


class FakeTimm(ModuleType):
    """What `timm:NAME` uses of timm; the real one needs a torchvision that the pinned torch does not have."""

    def __init__(self, mean: tuple = (0.4, 0.5, 0.6), fixed: bool = False) -> None:
        super().__init__("timm")
        self.made: dict = {}
        constants = SimpleNamespace(mean=mean, std=(0.2,) * len(mean), fixed_input_size=fixed)
        self.models = ModuleType("timm.models")
        self.models.get_pretrained_cfg = lambda name: constants

    def is_model(self, name: str) -> bool:
        return name in self.list_models()

    def list_models(self) -> list[str]:
        return ["tiny18", "broken"]

    def create_model(self, name: str, **options: object) -> nn.Module:
        self.made = options
        if name == "broken":
            raise AssertionError("no such size")
        return nn.Sequential(nn.Conv2d(options["in_chans"], 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                             nn.Linear(4, options["num_classes"]))  # fmt: skip


def use(monkeypatch: pytest.MonkeyPatch, timm: FakeTimm) -> FakeTimm:
    monkeypatch.setitem(sys.modules, "timm", timm)
    monkeypatch.setitem(sys.modules, "timm.models", timm.models)
    return timm


def test_timm_networks_standardize_inside_and_keep_their_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = use(monkeypatch, FakeTimm())
    model, x = build("timm:tiny18", (3, 9, 9), 5).eval(), torch.rand(2, 3, 9, 9)
    assert timm.made == {"pretrained": False, "num_classes": 5, "in_chans": 3}
    assert list(model.state_dict()) == ["0.weight", "0.bias", "3.weight", "3.bias"]
    own = timm.create_model("tiny18", in_chans=3, num_classes=5)
    own.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(x), own((x - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / 0.2))
    again = build("timm:tiny18", (3, 9, 9), 5)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    grey = build("timm:tiny18", (1, 9, 9), 1)
    assert grey(torch.rand(2, 1, 9, 9)).shape == (2,)
    assert grey.standardize.mean.flatten().tolist() == [0.5]
    timm = use(monkeypatch, FakeTimm(fixed=True))
    build("timm:tiny18", (3, 9, 7), 5)
    assert timm.made["img_size"] == (9, 7)


def test_timm_refuses_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, FakeTimm())
    for name, words in (("timm:tiny81", "such as tiny18"), ("timm:broken", "timm:broken: expected.*no such size")):
        with pytest.raises(ValueError, match=words) as caught:
            build(name, (3, 9, 9), 5)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [(ModuleNotFoundError("No module named 'timm'", name="timm"), r"pip install 'cgro\[timm\]'"),
     (ModuleNotFoundError("No module named 'torchvision'", name="torchvision"), "expected a torchvision that fits torch"),
     (RuntimeError("operator torchvision::nms does not exist"), "expected a torchvision that fits torch"),
     (RuntimeError("something\nelse"), "got something else; install it again")],
)  # fmt: skip
def test_a_timm_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch, error: Exception, words: str) -> None:
    class Refusing:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "timm":
                raise error

    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Refusing(), *sys.meta_path])
    with pytest.raises(ValueError, match=words) as caught:
        build("timm:resnet18", (3, 32, 32), 10)
    assert "\n" not in str(caught.value)
