import sys
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from cgro.models import NETWORKS, Logits, build, fast_layout, n_parameters, wide_resnet
from cgro.models.resnet import CIFAR10_MEAN, CIFAR10_STD, PreActBlock


@pytest.mark.parametrize("name", [*NETWORKS, "wrn-10-1"])
@pytest.mark.parametrize("n_outputs", [1, 10])
def test_shapes_and_seeds(name: str, n_outputs: int) -> None:
    before = torch.get_rng_state()
    a, b, c = (build(name, (1, 28, 28), n_outputs, seed=s) for s in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert a(torch.rand(3, 1, 28, 28)).shape == ((3,) if n_outputs == 1 else (3, 10))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert any(not torch.equal(p, q) for p, q in zip(a.parameters(), c.parameters(), strict=True))


def in_channels_last(module: nn.Module) -> bool:
    return any(
        p.ndim == 4 and not p.is_contiguous() and p.is_contiguous(memory_format=torch.channels_last)
        for p in module.parameters()
    )


def test_the_layout_that_corrupts_memory_is_avoided() -> None:
    """oneDNN 6035; the condition is tested, as the fault itself takes the process down (or not, which is worse)."""

    def strided(n_inputs: int, size: int = 1, stride: int = 2) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, n_inputs, 3), nn.Conv2d(n_inputs, 32, size, stride=stride))

    for narrow in (1, 4, 8, 15):
        assert not in_channels_last(fast_layout(strided(narrow)))
    for safe in (strided(16), strided(4, stride=1), strided(4, size=3)):
        assert in_channels_last(fast_layout(safe))
    for width in (1, 2, 4, 16):
        assert in_channels_last(fast_layout(build("preactresnet", (3, 32, 32), 10, width=width)))


@pytest.mark.parametrize("training", [False, True])
def test_a_block_is_its_formula_with_a_strided_1x1_shortcut(training: bool) -> None:
    """Values and gradients, by input and by weights: what the block overwrites was not needed."""
    block = PreActBlock(5, 7, stride=2).train(training)
    assert block.shortcut is not None
    x = torch.randn(2, 5, 9, 9, requires_grad=True)
    wanted = [x, *block.parameters()]
    activated = torch.relu(block.bn1(x))
    kept = nn.functional.conv2d(activated, block.shortcut.weight, stride=2)
    expected = kept + block.conv2(torch.relu(block.bn2(block.conv1(activated))))
    weights = torch.randn_like(expected)
    gradients = torch.autograd.grad((weights * expected).sum(), wanted)
    own = block(x)
    assert torch.allclose(own, expected, atol=1e-6)
    for ours, theirs in zip(torch.autograd.grad((weights * own).sum(), wanted), gradients, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("w", [1, 4, 16])
def test_lenet_counts_by_hand(w: int) -> None:
    expected = (25 * 2 * w + 2 * w) + (25 * 2 * w * 4 * w + 4 * w) + (49 * 4 * w * 64 * w + 64 * w) + (64 * w * 10 + 10)
    assert n_parameters(build("lenet", (1, 28, 28), 10, width=w)) == expected


@pytest.mark.parametrize("name", ["lenet", "lenet5"])
def test_relu_behind_max_pooling_changes_no_bit(name: str) -> None:
    model = cast(nn.Sequential, build(name, (1, 28, 28), 10))
    order = [nn.ReLU() if isinstance(m, nn.MaxPool2d) else m for m in model]
    order = [nn.MaxPool2d(2) if isinstance(m, nn.ReLU) and isinstance(model[i - 1], nn.MaxPool2d) else m
             for i, m in enumerate(order)]  # fmt: skip
    textbook = nn.Sequential(*order)
    assert [type(m) for m in textbook[:3]] == [nn.Conv2d, nn.ReLU, nn.MaxPool2d]
    x = torch.rand(8, 1, 28, 28, requires_grad=True)
    wanted = [x, *model.parameters()]
    out, expected = model(x), textbook(x)
    assert torch.equal(out, expected)
    for ours, theirs in zip(
        torch.autograd.grad(out.logsumexp(1).sum(), wanted),
        torch.autograd.grad(expected.logsumexp(1).sum(), wanted),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


def test_lenet5_has_the_classic_count() -> None:
    assert n_parameters(build("lenet5", (1, 28, 28), 10)) == 61706


class Own(nn.Sequential):
    """A user's class called with (shape, n_outputs)."""

    def __init__(self, shape: tuple, n_outputs: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(shape[-1] ** 2, n_outputs))


def own_function() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def not_a_module() -> int:
    return 3


def of_seven() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))


class Pair(nn.Module):
    """A network that returns more than logits."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Failing(nn.Module):
    """A network whose error has no text."""

    def forward(self, x: Tensor) -> Tensor:
        raise KeyError


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


def test_networks_of_the_users_own() -> None:
    for name in ("tests.models.test_networks:Own", "tests.models.test_networks:own_function"):
        assert build(name, (1, 8, 8), 10)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "width", "words"),
    [("lennet", None, "lenet"), ("lenet5", 3, "no width"), ("tests.models.test_networks:Own", 2, "no width"),
     ("tests.models.test_networks:nothing", None, "importable"), ("no.such.module:x", None, "importable"),
     ("tests.models.test_networks:not_a_module", None, "Module"), ("torch.nn:Identity", None, "shape"),
     ("tests.models.test_networks:own_function", None, "expected"),
     ("tests.models.test_networks:of_seven", None, r"of_seven output: expected shape \(1, 10\), 10 logits for the 10"),
     ("tests.models.test_networks:Pair", None, "Pair output: expected a tensor of 10 logits.*got tuple"),
     ("tests.models.test_networks:Failing", None, "it failed with: KeyError"),
     ("wrn-33-10", None, "6n \\+ 4"), ("wrn-4-1", None, "6n \\+ 4"), ("wrn-16-0", None, "wrn-16-0: width"),
     ("wrn-34", None, "wrn-D-W"), ("wrn-10-1", 2, "no width for wrn-10-1"), ("timm:resnet18", 2, "no width")],
)  # fmt: skip
def test_bad_networks_are_refused_before_work(name: str, width: int | None, words: str) -> None:
    shape = (1, 9, 9) if name.endswith("own_function") else (1, 8, 8)
    with pytest.raises(ValueError, match=words) as caught:
        build(name, shape, 10, width=width)
    assert "\n" not in str(caught.value)


def test_preactresnet_has_the_standard_count_and_standardizes_inside() -> None:
    """11.17 million parameters at base width 64: PreActResNet-18 with a last BatchNorm."""
    assert n_parameters(build("preactresnet", (3, 32, 32), 10, width=64)) == 11172170
    small = build("preactresnet", (3, 32, 32), 10, width=2).eval()
    x = torch.rand(2, 3, 32, 32)
    by_hand = (x - torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)) / torch.tensor([0.2471, 0.2435, 0.2616]).view(
        3, 1, 1
    )
    torch.testing.assert_close(small[0](x), by_hand)
    assert all(not name.startswith("0.") for name in small.state_dict())
    with pytest.raises(ValueError, match="8x8"):
        build("preactresnet", (3, 4, 4), 10)


@pytest.mark.parametrize("n_outputs", [1, 10])
def test_outputs_with_logits_are_unwrapped_and_keys_stay_their_own(n_outputs: int) -> None:
    name = "tests.models.test_networks:WithLogits"
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


def by_formula(depth: int, k: int, classes: int = 10) -> int:
    """Weights of WRN-d-k counted from the paper's table: convolutions without bias, BatchNorm before each."""
    n, total, n_inputs = (depth - 4) // 6, 3 * 16 * 9, 16
    for width in (16 * k, 32 * k, 64 * k):
        for block in range(n):
            first = n_inputs if block == 0 else width
            total += 9 * first * width + 9 * width * width + 2 * first + 2 * width
            total += first * width if first != width else 0
        n_inputs = width
    return total + 2 * n_inputs + n_inputs * classes + classes


@pytest.mark.parametrize(
    ("name", "published"),
    [("wrn-34-10", 46160474), ("wrn-28-10", 36479194), ("wrn-34-5", None), ("wrn-34-1", None), ("wrn-16-4", None)],
)
def test_wide_networks_have_the_published_counts(name: str, published: int | None) -> None:
    """36.5 million for 28-10 (Zagoruyko and Komodakis, Table 4), 46.2 million for 34-10 (Madry's successors)."""
    depth, k = map(int, name.split("-")[1:])
    assert by_formula(depth, k) == (published or by_formula(depth, k))
    with torch.device("meta"):
        model = wide_resnet((3, 32, 32), 10, depth=depth, widen=k)
    assert n_parameters(model) == by_formula(depth, k)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(convolutions) == depth - 3  # and a linear layer; the two or three 1x1 of the table are not counted


def test_wide_networks_start_as_published() -> None:
    model = build("wrn-16-4", (3, 32, 32), 10)
    for layer in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
        fan_out = layer.out_channels * layer.kernel_size[0] ** 2
        assert float(layer.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.15)
    assert float(model[-1].bias.detach().abs().max()) == 0


def test_wide_block_by_hand() -> None:
    """WRN-10-1 in evaluation, written out as the paper's figure 1: pre-activation, 1x1 shortcut after BN and ReLU."""
    model, f = build("wrn-10-1", (3, 16, 16), 10).eval(), nn.functional
    s, x = model.state_dict(), torch.rand(2, 3, 16, 16)

    def bn(h: Tensor, key: str) -> Tensor:
        h = (h - s[f"{key}.running_mean"].view(-1, 1, 1)) / (s[f"{key}.running_var"].view(-1, 1, 1) + 1e-5).sqrt()
        return f.relu(h * s[f"{key}.weight"].view(-1, 1, 1) + s[f"{key}.bias"].view(-1, 1, 1))

    h = (x - torch.tensor(CIFAR10_MEAN).view(3, 1, 1)) / torch.tensor(CIFAR10_STD).view(3, 1, 1)
    h = f.conv2d(h, s["1.weight"], padding=1)
    for block, stride in ((2, 1), (3, 2), (4, 2)):
        a = bn(h, f"{block}.bn1")
        kept = f.conv2d(a, s[f"{block}.shortcut.weight"], stride=stride) if stride == 2 else h
        a = f.conv2d(a, s[f"{block}.conv1.weight"], stride=stride, padding=1)
        h = kept + f.conv2d(bn(a, f"{block}.bn2"), s[f"{block}.conv2.weight"], padding=1)
    by_hand = bn(h, "5").mean((2, 3)) @ s["9.weight"].T + s["9.bias"]
    torch.testing.assert_close(model(x), by_hand)


def test_resnet9_has_its_sources_count_and_scale() -> None:
    """Counted by hand: 9 (3*64 + 64*128 + 2*128^2 + 128*256 + 256*512 + 2*512^2) + 2*2240 + 5120."""
    by_hand = 9 * (3 * 64 + 64 * 128 + 2 * 128**2 + 128 * 256 + 256 * 512 + 2 * 512**2) + 2 * 2240 + 5120
    model = build("resnet9", (3, 32, 32), 10)
    assert n_parameters(model) == by_hand == 6573120
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    body = model[:-2]
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model.eval()(x), body.eval()(x) @ model[-2].weight.T / 8)
    assert n_parameters(build("resnet9", (3, 32, 32), 10, width=4)) < 30000


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
