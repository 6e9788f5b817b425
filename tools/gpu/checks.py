"""Checks of a machine before its numbers are believed: each returns what it found, and whether that is right."""

from collections.abc import Callable
from copy import deepcopy

import torch
from msgspec import Struct
from torch import Tensor, nn

from cgro.data import Dataset
from cgro.definitions import Attack
from cgro.definitions.attacks import evaluated_outputs, outputs_of
from cgro.definitions.attacks.captured import find_captured, searches_of
from cgro.definitions.graphs import CudaGraphs, capturing_by, waiting_is_an_error
from cgro.speed import captured_search, pure_search
from cgro.training import Adversarial, Recipe, fit, make_fabric
from cgro.training.engine import deterministic_kernels

FLOAT32 = 1e-5
"""Largest error of outputs in float32, over their norm. A choice: measured 4e-7 on an H100, 2.2e-4 in TF32."""


class Check(Struct, frozen=True):
    """What a check found.

    Attributes:
        name: of the check.
        passed: None where this device cannot show it.
        finding: in words, with numbers.
    """

    name: str
    passed: bool | None
    finding: str


def in_float32(model: nn.Module, x: Tensor) -> Check:
    """Outputs by which errors are decided equal those in float64 up to rounding, and flags stay as they were."""
    before = (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision())
    exact = deepcopy(model).double()(x.double()).detach()
    decided = _relative(evaluated_outputs(model, x), exact)
    plain = _relative(outputs_of(model, x), exact)
    kept = before == (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision())
    finding = f"error over the norm {decided:.2g}, as torch is set {plain:.2g}; flags {'kept' if kept else 'CHANGED'}"
    return Check("float32 is float32", decided < FLOAT32 and kept, finding)


def _relative(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())


def without_waiting(attack: Attack, model: nn.Module, x: Tensor, y: Tensor) -> Check:
    """A search never waits for the device. NOT YET RUN on CUDA."""
    name = "no wait inside a search"
    if x.device.type != "cuda":
        return Check(name, None, "only CUDA tells; on fake tensors tests hold the same")
    search = pure_search(attack, model, x, y)
    search()
    torch.cuda.synchronize(x.device)
    try:
        with waiting_is_an_error():
            search()
    except RuntimeError as error:
        return Check(name, False, str(error).splitlines()[0])
    return Check(name, True, f"{attack.name} under set_sync_debug_mode('error')")


def captured_is_eager(attack: Attack, model: nn.Module, x: Tensor, y: Tensor) -> Check:
    """A captured search gives the bits of the eager one; without CUDA the search that is captured those of a call."""
    name = "captured = eager"
    with deterministic_kernels():
        if x.device.type == "cuda":
            # NOT YET RUN.
            try:
                replay = captured_search(attack, model, x, y)
            except RuntimeError as error:
                return Check(name, False, f"not captured: {str(error).splitlines()[0]}")
            replay()
            found = replay().clone()
            what = "a replay"
        else:
            found = pure_search(attack, model, x, y)()
            what = "the function to capture"
        plain = attack.find(model, x, y, dropping="never").x
    n_different = int((found != plain).sum())
    return Check(name, n_different == 0, f"{what} differs from the call in {n_different} of {plain.numel()} values")


def captured_evaluation_is_eager(attack: Attack, model: nn.Module, x: Tensor, y: Tensor) -> Check:
    """Batches of an evaluation by replays have the bits of the same batches searched eagerly. NOT YET RUN on CUDA."""
    name = "captured evaluation = eager"
    if x.device.type != "cuda":
        return Check(name, None, "only CUDA has graphs; tests hold the same by a stand-in")
    n_different = 0
    with deterministic_kernels():
        for k in range(6):
            images = x.roll(k, -1)
            found = find_captured(attack, model, images, y, size=len(x))
            if found is None:
                return Check(name, False, "; ".join(search.reason for search in searches_of(model)))
            n_different += int((found.x != attack.find(model, images, y, dropping="never").x).sum())
    replays = sum(search.n_replays for search in searches_of(model))
    finding = f"{replays} replays, {n_different} values differ in 6 batches"
    return Check(name, n_different == 0 and replays > 0, finding)


class _Eager(CudaGraphs):
    """Refuses every capture: the steps that a graph would hold, taken by Python."""

    def capture(self, call: Callable[[], Tensor]) -> Callable[[], Tensor]:
        raise RuntimeError("none, to compare with")


def captured_training_is_eager(
    make: Callable[[], nn.Module], data: Dataset, attack: Attack, device: torch.device
) -> Check:
    """Training by replays of a captured step ends in the bits of the same steps taken eagerly. NOT YET RUN on CUDA."""
    name = "captured training = eager"
    if device.type != "cuda":
        return Check(name, None, "only CUDA has graphs; tests hold the same by a stand-in")
    recipe = Recipe(epochs=2, batch_size=max(1, len(data.train) // 6), optimizer="sgd", lr=0.05, augment="crop-flip")
    states: list[dict[str, Tensor]] = []
    notes: list[object] = []
    for backend in (CudaGraphs(device), _Eager(device)):
        model = make()
        with capturing_by(backend):
            found = fit(model, data, Adversarial(attack), recipe, fabric=make_fabric(str(device)))
        states.append(model.state_dict())
        notes.append(found.meta.get("step"))
    if notes[0] != "captured":
        return Check(name, False, str(notes[0]))
    names = [key for key, value in states[0].items() if not torch.equal(value, states[1][key])]
    return Check(name, not names, f"{len(names)} of {len(states[0])} tensors differ after 12 steps of fit")


def equal_repeats(make: Callable[[], nn.Module], data: Dataset, attack: Attack, device: str) -> Check:
    """Two equal trainings of a few steps end in the same bits."""
    states: list[dict[str, Tensor]] = []
    for _ in range(2):
        model = make()
        recipe = Recipe(epochs=1, batch_size=max(1, len(data.train) // 3), optimizer="sgd", lr=0.05)
        fit(model, data, Adversarial(attack), recipe, fabric=make_fabric(device))
        states.append(model.state_dict())
    names = [name for name, value in states[0].items() if not torch.equal(value, states[1][name])]
    finding = f"{len(names)} of {len(states[0])} tensors differ after 3 steps of fit"
    return Check("equal repeats", not names, finding)
