"""Fast layouts are chosen inside a search, and are nowhere to be seen after it."""

import pytest
import torch
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.definitions import APGD, PGD, ThreatModel
from cgro.definitions.attacks.layout import fast_weights, is_about_conversion

X, Y = torch.rand(4, 3, 8, 8), torch.arange(4) % 3


class Watched(nn.Module):
    """Notes the layout of its weights and inputs in each pass; its convolutions may share one weight."""

    def __init__(self, shared: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        if shared:
            self.second.weight = self.first.weight
        self.last = nn.Linear(192, 3)
        self.seen: list[tuple[bool, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        layout = torch.channels_last
        self.seen.append((x.is_contiguous(memory_format=layout), self.first.weight.is_contiguous(memory_format=layout)))
        assert (self.first.weight is self.second.weight) == (len(list(self.parameters())) == 5)
        return self.last(torch.relu(self.second(self.first(x))).flatten(1))


@pytest.mark.parametrize("shared", [False, True])
def test_convolutions_are_called_channels_last_and_are_the_callers_again_afterwards(shared: bool) -> None:
    model = Watched(shared).eval()
    before = {name: (parameter, parameter._version) for name, parameter in model.named_parameters()}
    values = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    found = PGD(ThreatModel("inf", 0.1), n_steps=2)(model, X, Y)
    assert set(model.seen) == {(True, True)}
    for name, parameter in model.named_parameters():
        assert parameter is before[name][0]
        assert parameter._version == before[name][1]
        assert parameter.is_contiguous()
        assert torch.equal(parameter, values[name])
    assert bool(ThreatModel("inf", 0.1).contains(found, X).all())


def test_also_when_the_network_raises() -> None:
    model = Watched().eval()
    weight = model.first.weight
    model.last = nn.Linear(7, 3)
    with pytest.raises(RuntimeError, match="shapes"):
        PGD(ThreatModel("inf", 0.1), n_steps=2)(model, X, Y)
    assert model.first.weight is weight


def test_what_is_left_as_it_is() -> None:
    net = nn.Conv2d(3, 4, 3)

    class Own(nn.Conv2d):
        """A convolution of the user's, which may read its weight in any way."""

    for model, x in (
        (net, torch.zeros(2, 3)),
        (lambda v: v, X),
        (Own(3, 4, 3), X),
        (net.to(memory_format=torch.channels_last), X),
        (torch.jit.script(nn.Conv2d(3, 4, 3)), X),
    ):
        with fast_weights(model, x, "float32") as converted:
            assert not converted


def test_which_errors_ask_for_the_plain_way() -> None:
    with pytest.raises(RuntimeError) as view:
        X.contiguous(memory_format=torch.channels_last).view(4, -1)
    assert is_about_conversion(view.value)
    with pytest.raises(RuntimeError) as types:
        torch.zeros(2, 2, dtype=torch.bfloat16) @ torch.zeros(2, 2)
    assert is_about_conversion(types.value)
    assert not is_about_conversion(RuntimeError("failed half-way"))


class Lacking(nn.Module):
    """As an LSTM on a processor without AVX-512."""

    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.first, self.last = first, nn.Linear(12, 3)
        self.n_refused = 0

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            self.n_refused += 1
            raise RuntimeError("could not create a primitive descriptor for the LSTM forward propagation primitive")
        return self.last(self.first(x).flatten(1))


@pytest.mark.parametrize("first", [nn.Identity(), nn.Conv2d(3, 3, 1)], ids=["layout kept", "layout chosen"])
@pytest.mark.parametrize("kind", [PGD, APGD])
def test_bfloat16_that_this_processor_does_not_run_is_refused_with_the_remedy(
    kind: type[PGD | APGD], first: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: a user who asked for it got oneDNN's words. Where it was not asked for the network is called plainly."""
    net, x, y = Lacking(first).eval(), torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 2, 0])
    threat = ThreatModel("inf", 0.1)
    with pytest.raises(
        BadRequest, match="precision: expected float32 or auto .*, got bfloat16: could not create a pri"
    ):
        kind(threat, n_steps=3, precision="bfloat16")(net, x, y)
    monkeypatch.setattr("cgro.definitions.attacks.precision.bfloat16_pays", lambda device: True)
    monkeypatch.setattr("cgro.definitions.attacks.precision._is_large", lambda model: True)
    net.n_refused = 0
    found = kind(threat, n_steps=3, precision="auto")(net, x, y)
    assert net.n_refused == 1
    assert torch.equal(found, kind(threat, n_steps=3, precision="float32")(net, x, y))
