"""What adversarial training on ImageNet costs on many GPUs: python -m cgro.experiments.scaling.

For a network of F operations a forward pass and P parameters, a step of b images a GPU on n GPUs takes

    T = max(c F b / R, b / D) + max(0, 2 (n - 1) / n * 4 P / B - 2 F b / R).

c is the cost of the objective in forward passes (`cgro.training.step_cost`; adversarial training with PGD of K steps:
2 K + 5), R the operations a second that a GPU does, D the images a second that are decoded for it, B the bytes a second
that a ring of all GPUs passes on through each. Gradients are reduced once a step: the passes of the attack need none,
and the last backward pass, 2 F b / R, hides as much of it as it lasts. Left out: evaluations, the optimizer, start-up.

Memory of a GPU: weights, gradients and momentum in float32, what one forward pass saves for its backward pass, and
`ALLOWANCE` times that for temporary tensors and the allocator.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cgro.definitions import PGD, ThreatModel
from cgro.experiments.cost import HOUR
from cgro.experiments.imagenet_networks import ViT, resnet
from cgro.training import Adversarial, step_cost
from cgro.training.compiling import CAPTURED

GIB = 2**30
IMAGENET = 1_281_167
"""Training images of ILSVRC 2012: published."""
FLOAT32 = 4
ALLOWANCE = 0.5
"""Share of what a pass saves that temporary tensors, workspaces and fragments take on top. Assumed for GPUs;
benchmarks/scaling.py measures it on a CPU."""
Bottleneck = Literal["compute", "decoding", "network"]


@dataclass(frozen=True)
class Work:
    """What a network asks, counted.

    Args:
        forward: floating point operations of one image in a forward pass; a multiplication and an addition are two.
        n_parameters: of the network.
        saved: bytes per image that a forward pass saves for the backward pass.
    """

    forward: int
    n_parameters: int
    saved: int


@dataclass(frozen=True)
class Machine:
    """One GPU of many and what feeds it.

    Args:
        rate: operations per second in training.
        bandwidth: bytes per second that an all-reduce passes on through each GPU.
        decoded: images per second that its share of the processors decodes.
    """

    rate: float
    bandwidth: float
    decoded: float


@dataclass(frozen=True)
class Job:
    """A training.

    Args:
        steps: of PGD; 0 for standard training.
        epochs: over the data.
        batch: images a GPU and step.
        n_images: of the training set.
    """

    steps: int
    epochs: int = 100
    batch: int = 128
    n_images: int = IMAGENET

    @property
    def passes(self) -> int:
        """c: operations of a step per image, in forward passes."""
        if self.steps == 0:
            return 3
        return step_cost(Adversarial(PGD(ThreatModel("inf", 1 / 255), n_steps=self.steps)), ()).operations


@dataclass(frozen=True)
class Estimate:
    """What a job costs.

    Args:
        step: seconds of a step.
        compute: seconds of it that the GPU computes.
        decode: seconds in which its images are decoded, meanwhile.
        reduce: seconds of the all-reduce, hidden or not.
        hours: of the whole training.
        gpu_hours: the same times the GPUs.
        memory: bytes on a GPU.
        bottleneck: what would have to be faster.
    """

    step: float
    compute: float
    decode: float
    reduce: float
    hours: float
    gpu_hours: float
    memory: float
    bottleneck: Bottleneck


def work_of(make: Callable[[], nn.Module], shape: tuple[int, ...], *, bfloat16: bool = True) -> Work:
    """Count, without computing anything.

    Args:
        make: the network.
        shape: (C, H, W) of an image.
        bfloat16: whether products are computed in bfloat16.

    Returns:
        Its work.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = make()
        counter = FlopCounterMode(display=False)
        # As products that the counter knows: the fused kernel of attention on CPUs is none of them.
        with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            model.eval()(torch.zeros(1, *shape))
        model.train()
        few, more = (saved_bytes(model, torch.zeros(n, *shape), bfloat16=bfloat16) for n in (2, 4))
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    return Work(counter.get_total_flops(), n_parameters, (more - few) // 2)


def saved_bytes(model: nn.Module, x: Tensor, *, bfloat16: bool) -> int:
    """Bytes that a forward pass saves for the backward pass, parameters not among them.

    Args:
        model: in training mode.
        x: (B, *S).
        bfloat16: whether products are computed in bfloat16, as in training.

    Returns:
        Their sum; a tensor that is saved twice counts once.
    """
    own = {id(parameter.untyped_storage()) for parameter in model.parameters()}
    seen: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if id(storage) not in own:
            seen[storage._cdata] = storage
        return tensor

    saving = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with saving, torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16, cache_enabled=False):
        kept_alive = model(x)
    del kept_alive
    return sum(storage.nbytes() for storage in seen.values())


def estimate(work: Work, job: Job, machine: Machine, n_gpus: int) -> Estimate:
    """The cost of a training; the equations stand at the head of this module.

    Args:
        work: of the network.
        job: the training.
        machine: each GPU.
        n_gpus: how many.

    Returns:
        Time and memory.

    Example:
        >>> machine = Machine(rate=100.0, bandwidth=8.0, decoded=1e9)
        >>> found = estimate(Work(1, 1, 0), Job(steps=0, epochs=1, batch=100, n_images=1000), machine, 2)
        >>> found.compute, found.reduce, found.step, found.bottleneck  # 3 passes of 100 images; 4 bytes, 2 s hide it
        (3.0, 0.5, 3.0, 'compute')
        >>> round(found.hours * 3600)  # five steps
        15
    """
    forward = work.forward * job.batch / machine.rate
    compute = job.passes * forward
    decode = job.batch / machine.decoded
    reduce = 2 * (n_gpus - 1) / n_gpus * FLOAT32 * work.n_parameters / machine.bandwidth
    exposed = max(0.0, reduce - 2 * forward)
    step = max(compute, decode) + exposed
    n_steps = job.epochs * job.n_images / (job.batch * n_gpus)
    hours = step * n_steps / HOUR
    bottleneck: Bottleneck = "compute"
    if decode > compute:
        bottleneck = "decoding"
    if exposed > max(compute, decode):
        bottleneck = "network"
    memory = memory_of(work, job.batch)
    return Estimate(step, compute, decode, reduce, hours, n_gpus * hours, memory, bottleneck)


def memory_of(work: Work, batch: int) -> float:
    """Bytes on a GPU.

    Args:
        work: of the network.
        batch: images a step.

    Returns:
        Weights, gradients and momentum, and what a pass saves with `ALLOWANCE`.

    Example:
        >>> memory_of(Work(1, 10, 100), 2)
        420.0
    """
    return 3 * FLOAT32 * work.n_parameters + (1 + ALLOWANCE) * work.saved * batch


H100 = Machine(rate=CAPTURED, bandwidth=40e9, decoded=1500.0)
"""An H100 and its share of a node. Its rate was measured on PreActResNet-18 at 32 pixels (`CAPTURED`); that it is the
same at 224 pixels is assumed. Assumed as well: 40e9 bytes a second of all-reduce, 80% of a 400 Gbit/s link a GPU
(NVLink within a node is several times as fast), and 12 cores a GPU that decode 125 images a second each."""
SLOW = Machine(rate=CAPTURED / 2, bandwidth=10e9, decoded=750.0)
"""Half of it, assumed, on a quarter of the network: a bad day."""
NETWORKS: tuple[tuple[str, Callable[[], nn.Module]], ...] = (("ResNet-50", resnet), ("ViT-B/16", ViT))
PLANS = ((8, 128), (64, 64), (1000, 16))
"""GPUs, and images a GPU and step: 1,024, 4,096 and 16,000 in all, as accuracy falls with larger batches."""
ATTACK_STEPS = (2, 3)


def rows_of(name: str, work: Work) -> list[str]:
    """The rows of a network in the table of docs/imagenet.md.

    Args:
        name: of the network.
        work: of it.

    Returns:
        One line of Markdown per attack and number of GPUs.
    """
    rows: list[str] = []
    for steps in ATTACK_STEPS:
        for n_gpus, batch in PLANS:
            job = Job(steps, batch=batch)
            cells = [f"{name}, PGD-{steps}", f"{n_gpus:,}", str(batch)]
            for machine in (H100, SLOW):
                found = estimate(work, job, machine, n_gpus)
                times = (found.compute, found.decode, found.reduce, found.step)
                cells.append(" / ".join(f"{1e3 * seconds:.0f}" for seconds in times))
                cells.append(f"{found.hours:,.2f} h, {found.gpu_hours:,.0f}")
                cells.append(found.bottleneck)
            cells.append(f"{memory_of(work, batch) / GIB:.1f}")
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def main() -> None:
    """Print the table of docs/imagenet.md."""
    for name, make in NETWORKS:
        work = work_of(make, (3, 224, 224))
        print(
            f"{name}: {work.forward:.4g} operations, {work.n_parameters:,} parameters, {work.saved / 1e6:.1f} MB saved"
        )
        print("\n".join(rows_of(name, work)))


if __name__ == "__main__":
    main()
