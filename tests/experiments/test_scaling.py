"""The model of time and memory, by hand, by torch's own counter, and beside what was published."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from cgro.definitions import PGD, ThreatModel
from cgro.definitions.draws import Draws
from cgro.experiments import scaling
from cgro.experiments.imagenet_networks import ViT, resnet
from cgro.experiments.scaling import Job, Machine, Work, estimate, memory_of, saved_bytes, work_of
from cgro.models import build
from cgro.training import Adversarial
from cgro.training.step import Step, descend

PAGE = Path(__file__).parents[2] / "docs" / "imagenet.md"


def small_vit() -> ViT:
    return ViT(side=32, patch=8, width=24, depth=2, n_heads=2)


def test_work_of_a_layer_by_hand() -> None:
    """A linear layer of 12 inputs and 5 outputs: 2 * 12 * 5 operations, its input and the ReLU's output are saved."""
    found = work_of(lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU()), (3, 2, 2), bfloat16=False)
    assert found == Work(forward=120, n_parameters=65, saved=4 * (12 + 5))


def test_attention_counts() -> None:
    """Of a block: 2 T (12 w^2) for the four products, and 4 T^2 w for attention, which the fused kernel would hide."""
    found = work_of(small_vit, (3, 32, 32))
    tokens, width = 17, 24
    blocks = 2 * (2 * tokens * 12 * width**2 + 4 * tokens**2 * width)
    assert found.forward == blocks + 2 * 16 * width * 3 * 64 + 2 * width * 1000


def test_operations_of_resnet_50_are_those_that_are_published() -> None:
    """4.09e9 multiplications with additions (torchvision's documentation of its weights)."""
    with torch.device("meta"):
        model = resnet().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 224, 224, device="meta"))
    assert counter.get_total_flops() / 2 == pytest.approx(4.09e9, rel=0.002)


class Counting(TorchDispatchMode):
    """What `FlopCounterMode` counts, without its hooks on modules, which refuse `autograd.grad`."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        counted = flop_registry.get(func._overloadpacket)
        if counted is not None:
            self.total += counted(*args, **(kwargs or {}), out_val=found)
        return found


@pytest.mark.parametrize("name", ["lenet", "preactresnet", "vit"])
@pytest.mark.parametrize("steps", [0, 2, 3])
def test_the_passes_of_a_step_are_what_torch_counts(name: str, steps: int) -> None:
    """c F, against a whole step; the first layer needs no gradient of its input in the update, so a little less."""
    shape = (3, 32, 32)
    model = small_vit() if name == "vit" else build(name, shape, 10, width=8)
    forward = work_of(lambda: small_vit() if name == "vit" else build(name, shape, 10, width=8), shape).forward
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    y = model.eval()(x).argmax(1)
    model.train()
    attack = PGD(ThreatModel("inf", 1e-9), n_steps=max(1, steps), precision="float32")
    objective = Adversarial(attack) if steps else Adversarial(attack, robust_weight=0.0)
    step = Step(model, x, y, model, lambda purpose: Draws.of(0, purpose, torch.arange(4)), attack)
    kernel = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with kernel, Counting() as counter:
        descend(step, objective, torch.optim.SGD(model.parameters(), lr=0.0))
    ratio = counter.total / (4 * forward * Job(steps).passes)
    assert 0.9 < ratio < 1.01


def test_each_bottleneck() -> None:
    work = Work(forward=10**9, n_parameters=10**8, saved=1)
    fast = Machine(rate=1e12, bandwidth=1e12, decoded=1e6)
    job = Job(steps=2, batch=10)
    assert job.passes == 9
    found = estimate(work, job, fast, 4)
    assert (found.compute, found.bottleneck) == (pytest.approx(0.09), "compute")
    slow_disk = estimate(work, job, Machine(1e12, 1e12, decoded=10.0), 4)
    assert (slow_disk.step, slow_disk.bottleneck) == (pytest.approx(1.0), "decoding")
    slow_net = estimate(work, job, Machine(1e12, 1e9, 1e6), 4)
    # 2 * 3/4 * 4e8 bytes at 1e9 a second, of which the last backward pass hides 2 * 0.01 s.
    assert slow_net.reduce == pytest.approx(0.6)
    assert (slow_net.step, slow_net.bottleneck) == (pytest.approx(0.09 + 0.6 - 0.02), "network")
    alone = estimate(work, job, Machine(1e12, 1.0, 1e6), 1)
    assert (alone.reduce, alone.hours) == (0.0, pytest.approx(alone.gpu_hours))


def test_memory_grows_with_the_batch_alone() -> None:
    work = Work(1, 1000, 50)
    assert memory_of(work, 0) == 12_000
    assert memory_of(work, 20) - memory_of(work, 10) == 10 * 50 * 1.5


def test_what_is_saved_grows_with_each_image() -> None:
    model = build("lenet", (1, 28, 28), 10, width=2)
    sizes = [saved_bytes(model, torch.zeros(n, 1, 28, 28), bfloat16=False) for n in (1, 2, 3)]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] > 0


def test_a_published_training_implies_a_rate_that_its_gpu_has() -> None:
    """ResNet-152, PGD-30, 110 epochs on 128 V100 in 52 hours: between a third of a V100's 15.7e12 and all of it."""
    with torch.device("meta"):
        model = resnet((3, 8, 36, 3)).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 224, 224, device="meta"))
    job = Job(steps=30, epochs=110, batch=32)
    rate = job.passes * counter.get_total_flops() * job.epochs * job.n_images / (128 * 52 * 3600)
    assert 1 / 3 < rate / 15.7e12 < 1
    assert f"{rate / 1e12:.1f}e12" in PAGE.read_text()


def test_the_page_has_the_table_that_is_printed() -> None:
    """From the counts that the page states, which the tests above hold."""
    text = PAGE.read_text()
    for name, work in (
        ("ResNet-50", Work(8_178_368_512, 25_557_032, 43_757_568)),
        ("ViT-B/16", Work(35_127_656_448, 86_567_656, 66_420_520)),
    ):
        assert f"{work.n_parameters:,}" in text
        for row in scaling.rows_of(name, work):
            assert row in text, row
