"""What callers hand in and networks hand out: odd tensors, labels, outputs, and misuse."""

import contextlib
import random
from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.cases import refused
from tests.definitions.loop_cases import (
    ATTACKS,
    BY_ATTACK,
    CALLS,
    INF,
    Body,
    X,
    Y,
    made,
    same_tensors,
    scripted,
)
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.definitions import (
    APGD,
    PGD,
    Square,
    ThreatModel,
    boundary_distance,
    clean_error,
    margin,
    predict,
    predicted_shares,
    robust_error,
    survey,
)
from cgro.definitions.inputs import as_examples, in_type_of
from cgro.definitions.random_state import random_states
from cgro.diagnosis.lint import lint
from cgro.flatness import flatness
from cgro.flatness.memory import attacked


def depth_of_graph(x: Tensor) -> int:
    depth, node = 0, x.grad_fn
    while node is not None:
        depth, node = depth + 1, next((n for n, _ in node.next_functions if n is not None), None)
    return depth


@pytest.mark.parametrize("name", ATTACKS)
def test_inputs_that_require_gradients_grow_no_graph(name: str) -> None:
    model = made("BatchNorm", train=False)
    plain = ATTACKS[name](model, X, Y)
    leaf = X.clone().requires_grad_()
    for x in (leaf, leaf * 1, nn.Parameter(X.clone())):
        found = ATTACKS[name](model, x, Y)
        assert not found.requires_grad
        assert depth_of_graph(found) == 0
        assert torch.equal(found, plain)
        assert x.requires_grad
    assert leaf.grad is None
    assert depth_of_graph(leaf * 1 * 1) > 1  # the measure itself


@pytest.mark.parametrize("name", CALLS)
def test_evaluations_take_inputs_that_require_gradients_and_any_integers(name: str) -> None:
    model = made("BatchNorm", train=False)
    plain = CALLS[name](model, X, Y)
    for x, y in ((X.clone().requires_grad_(), Y), (X, Y.to(torch.uint8)), (X, Y.to(torch.int16))):
        assert same_tensors(CALLS[name](model, x, y), plain)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.bool])
def test_labels_of_any_integer_type(dtype: torch.dtype) -> None:
    model = made("BatchNorm", train=False)
    labels = Y % 2 if dtype == torch.bool else Y
    for name, attack in ATTACKS.items():
        assert torch.equal(attack(model, X, labels.to(dtype)), attack(model, X, labels)), name


def test_integer_labels_of_scores() -> None:
    w = torch.linspace(-1, 1, 64)
    labels = 2 * (Y % 2) - 1
    for dtype in (torch.int8, torch.int16, torch.float32, torch.float64):
        for name in ("pgd", "apgd", "square", "apgd-t"):
            found = ATTACKS[name](lambda v: v.flatten(1) @ w, X, labels.to(dtype))
            assert torch.equal(found, ATTACKS[name](lambda v: v.flatten(1) @ w, X, labels)), (dtype, name)
    with pytest.raises(BadRequest, match="-1 or \\+1"):
        ATTACKS["pgd"](lambda v: v.flatten(1) @ w, X, labels > 0)


@pytest.mark.parametrize("p", [1, 2, "inf"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_attacks_stay_in_the_dtype_of_the_input(p: float | str, dtype: torch.dtype) -> None:
    model, threat = made("BatchNorm", train=False).to(dtype), ThreatModel(p, 0.5)
    for attack in (Square(threat, n_queries=12), PGD(threat, n_steps=2), APGD(threat, n_steps=4)):
        found = attack(model, X.to(dtype), Y)
        assert found.dtype == dtype
        assert bool(torch.isfinite(found).all())
        before, after = (margin(model(v).detach().double(), Y) for v in (X.to(dtype), found))
        assert bool((after <= before).all())


def test_the_default_dtype_changes_nothing() -> None:
    model, plain = made("BatchNorm", train=False), {}
    for default in (torch.float32, torch.float64):
        torch.set_default_dtype(default)
        try:
            for name, attack in ATTACKS.items():
                found = attack(model, X, Y)
                assert torch.equal(found, plain.setdefault(name, found)), name
                record = survey(model, X, Y, attack)
                seen = plain.setdefault(f"survey {name}", record)
                for field in ("by", "step", "margin", "x_adv"):
                    assert torch.equal(getattr(record, field), getattr(seen, field)), (name, field)
                assert robust_error(model, X, Y, attack) == record.error()
        finally:
            torch.set_default_dtype(torch.float32)


LOW = [torch.float16, torch.bfloat16]


class Rounds(nn.Module):
    """A network of low precision for float32 inputs."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.to(self.dtype)).float()


@pytest.mark.parametrize("dtype", LOW)
@pytest.mark.parametrize("p", [1, 2, "inf"])
def test_networks_of_low_precision_are_attacked_in_float32(dtype: torch.dtype, p: float | str) -> None:
    """The error of v -> net(round(v)), which a module for float32 inputs writes down directly.

    A module, not a function: its weights are laid out for the search as those of the other, and the layout decides the
    last bits of float16.
    """
    model = made("BatchNorm", train=False).to(dtype)
    attack = PGD(ThreatModel(p, {1: 3.0, 2: 0.6, "inf": 0.06}[p]), n_steps=5)
    direct = Rounds(model, dtype).eval()
    x = X.to(dtype).float()
    assert robust_error(model, X.to(dtype), Y, attack) == robust_error(direct, x, Y, attack)
    found = survey(model, X.to(dtype), Y, attack)
    assert same_tensors(found.margin, survey(direct, x, Y, attack).margin)
    assert bool(attack.threat.contains(found.x_adv, x).all())
    assert predicted_shares(model, X.to(dtype)) == predicted_shares(direct, x)


ARRAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "float32": lambda a: a,
    "float64": lambda a: a.astype(np.float64),
    "read only": lambda a: np.broadcast_to(a, a.shape),
    "big endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "not contiguous": lambda a: np.asfortranarray(a),
}


@pytest.mark.parametrize("how", ARRAYS)
def test_arrays_are_taken_as_tensors(how: str) -> None:
    model = made("BatchNorm", train=False)
    x, before = ARRAYS[how](X.numpy()), X.clone()
    calls = CALLS | {"pgd": BY_ATTACK["pgd"], "square": BY_ATTACK["square"]}
    calls.pop("survey of given points")  # it computes with x itself
    labels = Y.numpy().astype({"float32": "int32", "float64": "uint8"}.get(how, ">i8"))
    for name, call in calls.items():
        assert same_tensors(call(model, x, labels), call(model, X, Y)), name
    assert torch.equal(X, before)
    checks = lint(model, x, Y.numpy(), INF, n_queries=10)
    assert [c.status for c in checks] == [c.status for c in lint(model, X, Y, INF, n_queries=10)]


class Pair:
    """As the splits of `cgro.data`."""

    x, y = X, Y


@pytest.mark.parametrize(
    "part",
    [
        (X, Y),
        [X.numpy(), Y.numpy().astype("int16")],
        {"x": X, "y": Y},
        {"pixel_values": X.double().numpy(), "label": Y.to(torch.int32), "id": 3},
        {"image": X, "targets": Y.numpy()},
        Pair(),
        (X.double().float(), Y),
    ],
    ids=range(7),
)
def test_examples_in_any_usual_form(part: object) -> None:
    x, y = as_examples(part)
    assert torch.equal(x, X)
    assert torch.equal(y, Y)


@pytest.mark.parametrize(
    "part", [X, (X,), (X, Y, Y), {"x": X}, {"x": X, "image": X, "y": Y}, {"a": X, "b": Y}, None], ids=range(7)
)
def test_examples_that_do_not_say_which_is_which(part: object) -> None:
    with pytest.raises(BadRequest, match="examples: expected"):
        as_examples(part)


def test_a_network_that_takes_bytes_is_evaluated_behind_a_function() -> None:
    """The remedy of the message for images in 0..255, and what it does not touch."""
    body = made("BatchNorm", train=False)
    takes_bytes = lambda v: body(v / 255)  # noqa: E731
    assert clean_error(lambda v: takes_bytes(255 * v), X, Y) == clean_error(body, X, Y)
    clean_error(body, X - 0.5, Y)
    clean_error(lambda v: v[:, 0] - 90, torch.tensor([[100.0], [80.0]]), torch.tensor([1, -1]))


class Recurrent(nn.Module):
    """Keeps a second list of its weights, as all of torch's RNNs do."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.last = nn.LSTM(8, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.cell(x[:, 0])[0][:, -1])


def runs_in_bfloat16(model: nn.Module) -> bool:
    """An LSTM does not on a processor without AVX-512."""
    try:
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            model(X)
    except RuntimeError:
        return False
    return True


class Twice(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 3)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.relu(self.b(torch.relu(self.a(x.flatten(1))))))


@pytest.mark.parametrize(
    "make", [lambda: Body(nn.BatchNorm2d(4)), Recurrent, Twice, lambda: scripted(nn.BatchNorm2d(4))]
)
def test_weights_and_inputs_made_in_inference_mode(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(2)
    plain = make().eval()
    torch.manual_seed(2)
    with torch.inference_mode():
        frozen = make().eval()
        x, y = X.clone(), Y.clone()
    held = list(frozen.parameters()) + list(frozen.buffers())
    for name, attack in ATTACKS.items():
        if "bfloat16" in name and not runs_in_bfloat16(plain):
            continue
        expected = attack(plain, X, Y)
        assert torch.equal(attack(frozen, X, Y), expected), name
        assert torch.equal(attack(plain, x, y), expected), name
        with torch.inference_mode():
            found = attack(frozen, x, y)
        assert torch.equal(found, expected), name
        assert not found.is_inference()
    if isinstance(frozen, Recurrent):
        assert frozen.cell._flat_weights[0] is frozen.cell.weight_ih_l0
    assert all(a is b for a, b in zip(held, list(frozen.parameters()) + list(frozen.buffers()), strict=True))
    for name in ("robust_error", "survey", "predicted_shares", "boundary_distance", "flatness"):
        call = CALLS[name]
        with torch.inference_mode():
            found = call(frozen, x, y)
        assert same_tensors(found, call(plain, X, Y)), name


class WithLogits(nn.Module):
    """As the models of transformers: an ordered dictionary with attributes."""

    class Output(OrderedDict):
        """Its first value is not the logits."""

        @property
        def logits(self) -> Tensor:
            return self["logits"]

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> OrderedDict:
        return self.Output(hidden=x, logits=self.body(x))


@pytest.mark.parametrize("name", CALLS | BY_ATTACK)
def test_outputs_with_logits_are_taken_for_them(name: str) -> None:
    body, call = made("BatchNorm", train=False), (CALLS | BY_ATTACK)[name]
    assert same_tensors(call(WithLogits(body).eval(), X, Y), call(body, X, Y))


def test_a_refused_output_says_the_remedy() -> None:
    """A module, which every function takes: a function has no mode, and a monitor or `fit` cannot watch it."""
    body = made("plain", train=False)
    for change, part in (
        (lambda z: (z, z), "[0]"),
        (lambda z: {"logits": z}, '["logits"]'),
        (lambda z: {"out": z, "aux": z}, "the keys 'out', 'aux'"),
        (lambda z: SimpleNamespace(logits=(z,)), "[0]"),
    ):
        for call in (PGD(INF, n_steps=1), lambda m, x, y: clean_error(m, x, y)):
            with pytest.raises(BadRequest, match="wrap it in an nn.Module whose forward returns the logits") as caught:
                call(lambda v, change=change: change(body(v)), X, Y)
            assert part in str(caught.value)


class Several(nn.Module):
    """A network with two outputs, and what the remedy makes of it."""

    def __init__(self, key: object) -> None:
        super().__init__()
        self.model, self.key = made("plain", train=False), key

    def forward(self, x: Tensor) -> Tensor:
        z = self.model(x)
        return {0: (z, z), "logits": {"logits": z}}[self.key][self.key]  # type: ignore[index]


@pytest.mark.parametrize("key", [0, "logits"])
@pytest.mark.parametrize("name", CALLS | BY_ATTACK)
def test_the_module_that_the_remedy_names_works_everywhere(name: str, key: object) -> None:
    call = (CALLS | BY_ATTACK)[name]
    assert same_tensors(call(Several(key).eval(), X, Y), call(made("plain", train=False), X, Y))


OUTPUTS: dict[str, tuple[Callable[[Tensor], object], str]] = {
    "tuple": (lambda z: (z, z), "torch tensor"),
    "dict": (lambda z: {"logits": z}, "torch tensor"),
    "None": (lambda z: None, "got None"),
    "integers": (lambda z: z.round().long(), "floating point"),
    "booleans": (lambda z: z > 0, "floating point"),
    "complex": (lambda z: z.to(torch.complex64), "floating point"),
    "array": (lambda z: z.detach().float().numpy(), "ndarray"),
    "three axes": (lambda z: z[..., None], "logits"),
}


@pytest.mark.parametrize("what", OUTPUTS)
def test_outputs_that_are_none_are_refused_in_one_line(what: str) -> None:
    body, (change, words) = made("plain", train=False), OUTPUTS[what]
    for name, call in (CALLS | BY_ATTACK).items():
        if (name, what) == ("predicted_shares", "three axes"):
            continue  # it has no labels to compare with
        with pytest.raises(BadRequest, match=words) as caught:
            call(lambda v: change(body(v)), X, Y)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)


MODEL = made("BatchNorm", train=False)


MISUSES: dict[str, tuple[Callable[[], object], str]] = {
    "x words": (lambda: PGD(INF, n_steps=1)(MODEL, np.array(["a"]), Y), "inputs: expected numbers"),  # type: ignore[arg-type]
    "x list": (lambda: robust_error(MODEL, X.tolist(), Y, ATTACKS["pgd"]), "inputs: .*list"),
    "x None": (lambda: predicted_shares(MODEL, None), "inputs: .*None"),  # type: ignore[arg-type]
    "x meta": (lambda: clean_error(MODEL, X.to("meta"), Y), "meta"),
    "x complex": (lambda: clean_error(MODEL, X.to(torch.complex64), Y), "floating"),
    "bytes in float": (lambda: clean_error(MODEL, 255 * X, Y), "0..255"),
    "bytes": (lambda: clean_error(MODEL, (255 * X).numpy().astype("uint8"), Y), "divide images in 0..255 by 255"),  # type: ignore[arg-type]
    "a rounding above 1": (
        lambda: robust_error(MODEL, X.where(X.max() > X, 1 + 2.4e-7), Y, ATTACKS["pgd"]),
        "1.00000024.*x.clamp",
    ),
    "x masked": (lambda: clean_error(MODEL, np.ma.masked_array(X.numpy(), X.numpy() > 0.5), Y), "inputs: .* masked"),
    "y masked": (lambda: clean_error(MODEL, X, np.ma.masked_array(Y.numpy(), Y.numpy() > 0)), "labels: .* masked"),  # type: ignore[arg-type]
    "y of one": (lambda: robust_error(MODEL, X[:1], Y[0], ATTACKS["pgd"]), "single number; use y.reshape"),
    "y of one for an attack": (lambda: ATTACKS["pgd"](MODEL, X[:1], Y[0]), "labels: .*single number"),
    "y of one as an array": (lambda: clean_error(MODEL, X, Y[0].numpy()), "labels: .*single number"),  # type: ignore[arg-type]
    "y list": (lambda: survey(MODEL, X, Y.tolist(), ATTACKS["pgd"]), "labels: .*list"),
    "y None": (lambda: flatness(MODEL, X, None, [0.1]), "labels: .*None"),  # type: ignore[arg-type]
    "y meta": (lambda: ATTACKS["pgd"](MODEL, X, Y.to("meta")), "labels: .*meta"),
    "y complex": (lambda: ATTACKS["pgd"](MODEL, X, Y.to(torch.complex64)), "integers"),
    "y float": (lambda: ATTACKS["square"](MODEL, X, Y.float()), "integers"),
    "lint of lists": (lambda: lint(MODEL, X.tolist(), Y, INF), "inputs: .*list"),
    "attack by name": (lambda: robust_error(MODEL, X, Y, "pgd10"), "attack_by_name"),  # type: ignore[arg-type]
    "attack class": (lambda: survey(MODEL, X, Y, PGD), "the class PGD"),  # type: ignore[arg-type]
    "attack function": (lambda: boundary_distance(MODEL, X, Y, lambda *a: X), "attack: .*FunctionAttack"),  # type: ignore[arg-type]
    "attack threat": (lambda: attacked(MODEL, X, Y, INF), "ThreatModel"),  # type: ignore[arg-type]
    "seed for generator": (lambda: ATTACKS["pgd"](MODEL, X, Y, generator=5), "generator: "),  # type: ignore[arg-type]
    "index too short": (lambda: survey(MODEL, X, Y, ATTACKS["pgd"], index=torch.arange(3)), "index: .*6 positions"),
    "batch None": (lambda: robust_error(MODEL, X, Y, ATTACKS["pgd"], batch=None), "batch: "),  # type: ignore[arg-type]
    "batch inf": (lambda: clean_error(MODEL, X, Y, batch=float("inf")), "batch: "),  # type: ignore[arg-type]
    "batch nan": (lambda: predicted_shares(MODEL, X, batch=float("nan")), "batch: "),  # type: ignore[arg-type]
    "batch word": (lambda: clean_error(MODEL, X, Y, batch="all"), "batch: "),  # type: ignore[arg-type]
    "steps word": (lambda: PGD(INF, n_steps="5"), "n_steps: "),  # type: ignore[arg-type]
    "step NaN": (lambda: PGD(INF, n_steps=1, step_size=float("nan")), "step_size: "),
    "radius True": (lambda: ThreatModel("inf", True), "radius: .*True"),
    "radius False": (lambda: ThreatModel(2, False), "radius: .*False"),
    "box of three": (lambda: ThreatModel("inf", 0.1, (0, 1, 2)), "box: "),  # type: ignore[arg-type]
    "box of None": (lambda: ThreatModel("inf", 0.1, (0, None)), "box: "),  # type: ignore[arg-type]
    "NaN": (lambda: clean_error(MODEL, torch.full_like(X, torch.nan), Y), "finite"),
    "no outputs": (lambda: predict(torch.zeros(3, 0)), "logits"),
    "network elsewhere": (lambda: clean_error(Body().eval().to("meta"), X, Y), "device of the network, meta"),
}


@pytest.mark.parametrize("what", MISUSES)
def test_misuse_is_refused_in_one_line(what: str) -> None:
    call, words = MISUSES[what]
    with pytest.raises(BadRequest, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("p", ["inf", 2, 1])
def test_points_in_low_precision_stay_in_the_ball(dtype: torch.dtype, p: str | int) -> None:
    """Planted: the nearest float16 of a point of the ball lies up to 2^-12 beyond it, also from a float32 network."""
    threat = ThreatModel(p, 0.1)
    x = torch.rand(200, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    x[:20] *= 0.01  # near the edge of the box, and of the numbers
    network = nn.Linear(6, 3)
    found = PGD(threat, n_steps=3)(network, x, torch.zeros(200, dtype=torch.long))
    assert found.dtype == dtype
    distance = (found.double() - x.double()).norm(float(p), dim=1)
    assert distance.max() <= 0.1 + 1e-7
    assert distance.mean() > 0.09
    assert found.min() >= 0
    assert found.max() <= 1
    same = PGD(threat, n_steps=3)(network, x.float(), torch.zeros(200, dtype=torch.long))
    assert torch.equal(in_type_of(x.float(), same, rounds=False), same)
    assert torch.equal(in_type_of(x, same, rounds=True), same.to(dtype))


@pytest.mark.parametrize("draw", [random.random, np.random.rand, lambda: torch.rand(1)])
@pytest.mark.parametrize("fails", [False, True])
def test_an_attack_gives_all_generators_back(draw: Callable[[], object], fails: bool) -> None:
    """Planted: those of Python and NumPy went on, where a network draws from them, and the caller's data changed."""

    def network(x: Tensor) -> Tensor:
        draw()
        if fails:
            raise RuntimeError("half-way")
        return x

    before = random_states(torch.device("cpu"))
    with pytest.raises(RuntimeError, match="half-way") if fails else contextlib.nullcontext():
        PGD(ThreatModel("inf", 0.1), n_steps=2)(network, torch.full((3, 2), 0.5), torch.tensor([0, 1, 0]))
    assert random_states(torch.device("cpu")) == before


BYTES = torch.randint(0, 256, (4, 1, 6, 6), generator=torch.Generator().manual_seed(0))
BYTES.view(-1)[:2] = torch.tensor([0, 255])


@pytest.mark.parametrize(("x", "advice", "mended"), [
    (BYTES.to(torch.uint8), "divide images in 0..255 by 255", lambda x: x / 255),
    (BYTES.int(), "divide images in 0..255 by 255", lambda x: x / 255),
    ((BYTES * 257).to(torch.uint16), "divide images in 0..65535 by 65535; fewer bits", lambda x: x / 65535),
    ((BYTES * 257).int(), "divide images in 0..65535 by 65535; fewer bits", lambda x: x / 65535),
    ((BYTES - 128).to(torch.int8), "((x.double() - -128) / 255).float()", lambda x: ((x.double() + 128) / 255).float()),
    (BYTES > 127, "use x.float() if 1 stands for white", lambda x: x.float()),
    (BYTES * 2**20, "divide by the value of white", None),
], ids=range(7))  # fmt: skip
def test_the_advice_on_a_type_fits_the_range(x: torch.Tensor, advice: str, mended: Callable | None) -> None:
    """Planted: images of 16 bits were to be divided by 255, and then by 255 again, which made them too bright."""
    text = refused(lambda: INF.check_input(x), "inputs: expected floating point")
    assert advice in text
    if mended is not None:
        INF.check_input(mended(x))
        assert float(mended(x).max()) == 1


def test_the_advice_on_a_range_beyond_8_bits() -> None:
    for largest in (257.0, 4095.0, 65535.0):
        x = torch.tensor([[0.0, largest]])
        text = refused(
            lambda x=x: INF.check_input(x), "divide by the value of white and by nothing else: 65535 of 16 bits"
        )
        assert "255;" not in text


@pytest.mark.parametrize(("make", "said"), [
    (lambda x: x.to_sparse(), "expected a dense tensor, got torch.sparse_coo; use x.to_dense()"),
    (lambda x: x.to_mkldnn(), "expected a dense tensor, got torch._mkldnn; use x.to_dense()"),
    (lambda x: torch.nested.nested_tensor([x[0], x[1]]), "expected a dense tensor, got a nested one"),
    (lambda x: torch.quantize_per_tensor(x, 0.01, 0, torch.quint8), "got torch.quint8; use x.dequantize()"),
    (lambda x: x.to(torch.float8_e4m3fn), "got torch.float8_e4m3fn; use x.float()"),
    (lambda x: x.mean(), "expected one per example, shape (N, ...), got a single number"),
], ids=["sparse", "mkldnn", "nested", "quantized", "8 bits", "a number"])  # fmt: skip
@pytest.mark.filterwarnings("ignore")  # torch's own, of prototypes
def test_other_kinds_of_tensors_are_refused_in_one_line(make, said: str) -> None:
    given = make(X)
    refused(lambda: ATTACKS["pgd"](made("plain", train=False), given, Y), "inputs", said)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_of_no_examples_the_type_stays(dtype: torch.dtype) -> None:
    for name in ("pgd", "square", "ensemble"):
        assert ATTACKS[name](made("plain", train=False), X[:0].to(dtype), Y[:0]).dtype == dtype
