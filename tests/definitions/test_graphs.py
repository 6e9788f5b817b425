"""Graphs: who captures where, and what `CudaGraphs` asks of CUDA, by a stand-in that notes the calls."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from cgro._check import BadRequest
from cgro.definitions.graphs import CudaGraphs, backend_on, capturing_by, is_capturing, waiting_is_an_error

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


class Nothing:
    """A backend that is only passed on."""

    def warm_up(self, call: Callable[[], Tensor], *, strict: bool = False) -> Tensor:
        return call()

    def capture(self, call: Callable[[], Tensor]) -> Callable[[], Tensor]:
        return call


def test_only_cuda_has_graphs() -> None:
    with pytest.raises(BadRequest, match="expected CUDA, got cpu"):
        CudaGraphs(CPU)
    assert backend_on(CPU) is None
    assert not is_capturing(CPU)


def test_a_block_says_what_captures() -> None:
    mine = Nothing()
    with capturing_by(mine):
        assert backend_on(CPU) is backend_on(CUDA) is mine
        with capturing_by(None):
            assert backend_on(CUDA) is None
        assert backend_on(CPU) is mine
    with contextlib.suppress(KeyError), capturing_by(mine):
        raise KeyError
    assert backend_on(CPU) is None


class FakeCuda:
    """Takes the place of `torch.cuda`'s functions and notes what is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, fails: bool = False) -> None:
        self.said: list[str] = []
        self.mode = 0
        self.current = "main"
        said = self.said

        class Stream:
            def __init__(self, device: torch.device) -> None:
                self.name = "side"

            def wait_stream(self, other: object) -> None:
                said.append(f"{self.name} waits")

        class Main(Stream):
            def __init__(self) -> None:
                self.name = "main"

        class Graph:
            def replay(self) -> None:
                said.append("replay")

        class Generator:
            def graphsafe_set_state(self, state: object) -> None:
                said.append("generator renewed")

        @contextlib.contextmanager
        def on_stream(stream: Stream) -> Iterator[None]:
            said.append(f"on {stream.name}")
            yield
            said.append(f"off {stream.name}")

        @contextlib.contextmanager
        def graph(graph: Graph, stream: Stream) -> Iterator[None]:
            said.append(f"capture on {stream.name}")
            yield
            if fails:
                raise RuntimeError("operation failed due to a previous error during capture")
            said.append("captured")

        class Fresh:
            def __init__(self, device: torch.device) -> None:
                pass

            def graphsafe_get_state(self) -> None:
                return None

        names = {
            "Stream": Stream,
            "CUDAGraph": Graph,
            "stream": on_stream,
            "graph": graph,
            "current_stream": lambda device: Main(),
            "set_stream": lambda stream: said.append(f"back on {stream.name}"),
            "default_generators": (Generator(),),
            "get_sync_debug_mode": lambda: self.mode,
            "set_sync_debug_mode": self.set_mode,
        }
        for name, value in names.items():
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr(torch, "Generator", Fresh)

    def set_mode(self, mode: int | str) -> None:
        self.mode = 2 if mode == "error" else int(mode)
        self.said.append(f"mode {self.mode}")


def test_a_warm_up_waits_for_what_came_before_and_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda(monkeypatch)
    found = torch.ones(2)
    assert CudaGraphs(CUDA).warm_up(lambda: found) is found
    assert cuda.said == ["side waits", "on side", "off side", "main waits"]


def test_a_strict_warm_up_refuses_to_wait_and_gives_the_mode_back(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda(monkeypatch)
    modes: list[int] = []

    def call() -> Tensor:
        modes.append(cuda.mode)
        raise RuntimeError("called a synchronizing CUDA operation")

    with pytest.raises(RuntimeError, match="synchronizing"):
        CudaGraphs(CUDA).warm_up(call, strict=True)
    assert (modes, cuda.mode) == ([2], 0)
    assert cuda.said[-1] == "main waits"
    with waiting_is_an_error(on=False):
        assert cuda.mode == 0


def test_a_capture_is_replayed_into_the_tensor_that_it_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda(monkeypatch)
    found = torch.ones(2)
    replay = CudaGraphs(CUDA).capture(lambda: found)
    assert cuda.said == ["capture on side", "captured"]
    assert replay() is replay() is found
    assert cuda.said[2:] == ["replay", "replay"]


@pytest.mark.parametrize("where", ["call", "end"])
def test_a_capture_that_fails_leaves_stream_and_generator_usable(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """The end of a failed capture raises in torch before it gives the stream back."""
    cuda = FakeCuda(monkeypatch, fails=where == "end")

    def call() -> Tensor:
        if where == "call":
            raise RuntimeError("operation not permitted when stream is capturing")
        return torch.ones(1)

    with pytest.raises(RuntimeError, match="captur"):
        CudaGraphs(CUDA).capture(call)
    assert cuda.said[-2:] == ["back on main", "generator renewed"]
