"""float32 is float32 where results are decided, whatever the process has set, and the process keeps what it has set."""

import threading
from collections.abc import Iterator

import pytest
import torch
from tests.cases import busy_network, images
from torch import Tensor, nn

from cgro.definitions import PGD, ThreatModel, robust_error
from cgro.definitions.attacks import evaluated_outputs
from cgro.definitions.attacks.float32 import full_float32

CPU = torch.device("cpu")
HAS_NEWER = hasattr(getattr(torch.backends.mkldnn, "conv", None), "fp32_precision")


def flags() -> dict[str, object]:
    """All that torch has of this kind; an older flag that cannot be read beside a newer one is left out."""
    found: dict[str, object] = {}
    try:
        found["products"] = torch.get_float32_matmul_precision()
        found["cudnn"] = torch.backends.cudnn.allow_tf32
    except RuntimeError:
        pass
    if HAS_NEWER:
        for name in ("mkldnn", "cudnn"):
            for operation in ("conv", "rnn"):
                found[f"{name}.{operation}"] = getattr(getattr(torch.backends, name), operation).fp32_precision
        found["mkldnn.matmul"] = torch.backends.mkldnn.matmul.fp32_precision
        found["cuda.matmul"] = torch.backends.cuda.matmul.fp32_precision
    return found


@pytest.fixture(autouse=True)
def given_back() -> Iterator[None]:
    yield
    if HAS_NEWER:
        torch.backends.fp32_precision = "none"
        torch.backends.mkldnn.conv.fp32_precision = "none"
    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("highest")


def as_it_is() -> None:
    """The flags of a new process: TF32 in the convolutions of GPUs."""


def medium() -> None:
    torch.set_float32_matmul_precision("medium")


def newer() -> None:
    torch.backends.mkldnn.conv.fp32_precision = "bf16"


def of_everything() -> None:
    torch.backends.fp32_precision = "tf32"


SETTINGS = [as_it_is, medium, *([newer, of_everything] if HAS_NEWER else [])]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_inside_nothing_is_rounded_and_outside_everything_is_as_before(setting, device: str) -> None:
    setting()
    before = flags()
    for fails in (False, True):
        try:
            with full_float32(torch.device(device)):
                inside = flags()
                if fails:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        assert flags() == before
    backend = {"cpu": "mkldnn", "cuda": "cudnn"}[device]
    for name, value in inside.items():
        if name.startswith(backend) or name == f"{device}.matmul":
            assert value in ("ieee", "none", False), (name, value)


@pytest.mark.skipif(not HAS_NEWER, reason="flags with parents came with torch 2.9")
def test_a_flag_that_followed_its_parent_follows_it_afterwards() -> None:
    torch.backends.fp32_precision = "bf16"
    with full_float32(CPU):
        pass
    torch.backends.fp32_precision = "ieee"
    assert torch.backends.mkldnn.conv.fp32_precision == "ieee"


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("set_meanwhile", [False, True])
def test_the_last_of_several_threads_puts_the_flags_back(setting, set_meanwhile: bool) -> None:
    """One that leaves early would have the others decide in TF32."""
    setting()
    before = flags()
    outer, inner = full_float32(CPU), full_float32(CPU)
    entered, leave = threading.Event(), threading.Event()
    seen: list[dict[str, object]] = []

    def beside() -> None:
        with inner:
            entered.set()
            assert leave.wait(60)
            seen.append(flags())

    other = threading.Thread(target=beside)
    with outer:
        other.start()
        assert entered.wait(60)
        inside = flags()
    if set_meanwhile:
        torch.set_float32_matmul_precision("high")
    between = flags()
    leave.set()
    other.join()
    assert seen == [between]
    if set_meanwhile:
        assert torch.get_float32_matmul_precision() == "high"
    else:
        assert between == inside
        assert flags() == before


def test_threads_that_attack_two_networks_leave_the_flags_as_they_were() -> None:
    medium()
    x = images()[0]
    attack = PGD(ThreatModel("inf", 0.1), n_steps=2)
    networks = [Sees().eval() for _ in range(3)]
    y = torch.zeros(len(x), dtype=torch.int64)

    def work(network: nn.Module) -> None:
        for _ in range(5):
            robust_error(network, x, y, attack)

    threads = [threading.Thread(target=work, args=(network,)) for network in networks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {mode for network in networks for mode in network.seen} <= {"highest", "bfloat16"}
    assert torch.get_float32_matmul_precision() == "medium"


class Sees(nn.Module):
    """Notes what its process has set in each pass, and under autocast that."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = busy_network().eval()
        self.seen: list[str] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append("bfloat16" if torch.is_autocast_enabled("cpu") else torch.get_float32_matmul_precision())
        return self.inner(x)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_pass_that_decides_is_in_full_precision(precision: str) -> None:
    x = images()[0]
    y = evaluated_outputs(busy_network().eval(), x).argmax(1)
    torch.set_float32_matmul_precision("medium")
    model = Sees().eval()
    attack = PGD(ThreatModel("inf", 0.1), n_steps=2, precision=precision)
    robust_error(model, x, y, attack)
    evaluated_outputs(model, x)
    assert set(model.seen) == {"highest", *(["bfloat16"] if precision == "bfloat16" else [])}
    assert torch.get_float32_matmul_precision() == "medium"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: TF32 is there alone")
def test_on_a_gpu_outputs_are_those_of_float64() -> None:
    model = busy_network().eval().cuda()
    x = images(64)[0].cuda()
    torch.backends.cudnn.allow_tf32 = True
    found = evaluated_outputs(model, x).double()
    with torch.no_grad():
        exact = model.double()(x.double())
    assert float((found - exact).norm() / exact.norm()) < 2e-6
