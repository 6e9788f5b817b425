"""bfloat16 proposes, float32 decides."""

from functools import partial

import numpy as np
import pytest
import torch
from tests.cases import busy_network, images, refused
from torch import Tensor, nn

from cgro.definitions import APGD, FGSM, PGD, Evaluator, Square, ThreatModel, margin, robust_error
from cgro.definitions.attacks import Best, SearchOptions, require_finite

X = torch.linspace(0.1, 0.9, 8)[:, None]
Y = torch.ones(8, dtype=torch.long)


class TwoFaces(nn.Module):
    """The score x - 0.45, and under autocast the same plus an error; counts its passes in each precision."""

    def __init__(self, error: float = 0.0) -> None:
        super().__init__()
        self.error = error
        self.rows: dict[bool, list[int]] = {False: [], True: []}

    def forward(self, x: Tensor) -> Tensor:
        low = torch.is_autocast_enabled("cpu")
        self.rows[low].append(len(x))
        return x[:, 0] - 0.45 + (self.error if low else 0.0)


def begun(model: nn.Module, *, until_wrong: bool = False, **how: object) -> Evaluator:
    options = SearchOptions(until_wrong=until_wrong, dropping="exact")
    return Evaluator.begin(model, X, Y, options=options, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("certain", [False, True])
def test_a_quick_first_look_changes_no_result_within_its_bound(error: float, certain: bool) -> None:
    """Clean inputs are looked at again in float32 unless the search found something that is surely stronger."""
    model = TwoFaces(error * 2**-8)
    evaluator = begun(model, precision="bfloat16", certain=certain)
    assert evaluator.bfloat16
    with evaluator.searching():
        evaluator.update(X - torch.tensor([[0.3], [0.0]] * 4))
    evaluator.finish()
    expected = torch.minimum(X[:, 0], X[:, 0] - torch.tensor([0.3, 0.0] * 4)) - 0.45
    assert torch.equal(evaluator.best.margins, expected)
    if not certain:
        assert model.rows[True] == [8]
        assert model.rows[False][-1] < 8, "only the inputs in doubt"


def test_in_float32_proposals_are_certain_and_cost_no_pass() -> None:
    model = TwoFaces()
    evaluator = begun(model, precision="float32")
    points = X - 0.3
    outputs, gradient = evaluator.gradient(points)
    passes = len(model.rows[False])
    evaluator.propose(points, outputs, 3)
    assert len(model.rows[False]) == passes
    assert torch.equal(evaluator.best.margins, points[:, 0] - 0.45)
    assert (evaluator.best.step == 3).tolist() == ((X[:, 0] > 0.45) & (points[:, 0] <= 0.45)).tolist()
    assert gradient.shape == X.shape


@pytest.mark.parametrize("until_wrong", [False, True])
def test_in_bfloat16_proposals_decide_nothing(until_wrong: bool) -> None:
    """A network that is wrong under autocast alone: in evaluation float32 looks and disagrees, in training later."""
    model = TwoFaces(error=-9.0)
    evaluator = begun(model, precision="bfloat16", until_wrong=until_wrong)
    before = evaluator.best.margins.clone()
    with evaluator.searching():
        outputs = evaluator.outputs(X + 0.05)
    assert bool((outputs < 0).all())
    n = len(model.rows[False])
    evaluator.propose(X + 0.05, outputs, 1)
    assert model.rows[False][n:] == ([int((before > 0).sum())] if until_wrong else [])
    assert torch.equal(evaluator.best.margins, before)
    candidates = Best.nothing(X)
    candidates.update(X + 0.05, margin(outputs, Y), step=1)
    evaluator.settle(candidates, 2)
    assert torch.equal(evaluator.best.margins, before)


def test_settling_looks_only_where_a_candidate_may_be_lower() -> None:
    model = TwoFaces()
    evaluator = begun(model, precision="bfloat16")
    candidates = Best.nothing(X)
    candidates.update(X - 0.2, X[:, 0] - 0.65, step=1)
    below = torch.where(torch.arange(8) < 3, 1.0, -1.0)
    evaluator.settle(candidates, 5, below=below)
    assert model.rows[False][-1] == 3
    assert torch.equal(evaluator.best.margins, torch.where(below > 0, X[:, 0] - 0.2 - 0.45, X[:, 0] - 0.45))


def test_what_only_float32_sees_wrong_has_a_step() -> None:
    """bfloat16 saw the candidate right, so it never was first wrong: the step is that of the evaluation."""
    evaluator = begun(TwoFaces(error=1.0), precision="bfloat16")
    candidates = Best.nothing(X)
    candidates.update(X - 0.4, X[:, 0] + 0.15, step=1)
    evaluator.settle(candidates, 5)
    broken = (X[:, 0] > 0.45) & (X[:, 0] - 0.4 <= 0.45)
    assert bool(broken.any())
    assert bool((evaluator.best.step[broken] == 5).all())


@pytest.mark.parametrize("error", [-1.0, 0.0, 1.0])
def test_without_reads_one_pass_looks_again_at_candidates_and_clean_inputs(error: float) -> None:
    """An earlier iterate where only that may be lower than the last, the clean input where that may be."""
    model = TwoFaces(error * 2**-8)
    evaluator = Evaluator.begin(model, X, Y, precision="bfloat16", certain=False)
    last = X + torch.tensor([[-0.1], [0.0], [0.1], [0.0]] * 2)
    earlier = X + torch.tensor([[-0.3], [-0.2], [0.2], [0.0]] * 2)
    evaluator.best.update(last, evaluator.margins(last), step=9)
    candidates = Best.nothing(X)
    with evaluator.searching():
        candidates.update(earlier, margin(evaluator.outputs(earlier), Y), step=4)
    n = len(model.rows[False])
    evaluator.settle(candidates, 9, below=last[:, 0] - 0.45)
    evaluator.finish()
    assert model.rows[False][n:] == [8], "one pass"
    moved = torch.tensor([-0.3, -0.2, 0.0, 0.0] * 2)
    doubtful = torch.tensor([False, True, True, True] * 2)
    torch.testing.assert_close(evaluator.best.margins, torch.where(doubtful, X[:, 0], X[:, 0] + moved) - 0.45)
    assert bool((evaluator.best.margins <= X[:, 0] - 0.45).all()), "never weaker than the clean input"


def test_parts_write_where_they_belong() -> None:
    evaluator = begun(TwoFaces())
    part = evaluator.part(torch.tensor([1, 4, 6])).part(torch.tensor([0, 2]))
    part.update(part.x - 0.05, 2)
    moved = torch.isin(torch.arange(8), torch.tensor([1, 6]))
    assert torch.equal(evaluator.best.x != X, moved[:, None])
    assert evaluator.part(torch.arange(8)) is evaluator
    alone, rows = evaluator.apart("bfloat16")
    assert rows is not None
    assert rows.tolist() == evaluator.best.correct().tolist()
    alone.update(alone.x - 0.9)
    assert alone.bfloat16
    assert not evaluator.bfloat16
    assert bool((evaluator.best.margins[6] > 0).all())


@pytest.mark.parametrize(("points", "got"), [
    (None, "got None"), (X[:2], "got shape (2, 1)"), (X[:, 0], "got shape (8,)"), (X.tolist(), "type list"),
])  # fmt: skip
def test_what_is_no_point_for_each_example_is_refused(points: object, got: str) -> None:
    expected = "evaluator.update: expected a point for each example, shape (8, 1)"
    refused(lambda: begun(TwoFaces()).update(points), expected, got)  # type: ignore[arg-type]


@pytest.mark.parametrize("attack", [FGSM, partial(PGD, n_steps=3), partial(APGD, n_steps=5)])
@pytest.mark.parametrize(("loss", "got"), [
    (nn.CrossEntropyLoss(), "shape ()"),
    (nn.CrossEntropyLoss(reduction="sum"), "shape ()"),
    (lambda outputs, y: (outputs.softmax(1) - nn.functional.one_hot(y, 3)).square(), "shape (16, 3)"),
    (lambda outputs, y: nn.functional.cross_entropy(outputs, y, reduction="none")[:, None], "shape (16, 1)"),
    (lambda outputs, y: nn.functional.cross_entropy(outputs, y).item(), "type float"),
])  # fmt: skip
def test_a_loss_that_is_not_one_number_per_example_is_refused(attack, loss, got: str) -> None:
    """Planted: the mean made the result depend on the size of the batch, and (B, 1) ascended in a sum over classes."""
    x, _ = images(16)
    model = busy_network().eval()
    y = model(x).argmax(1)
    asked = attack(ThreatModel("inf", 0.1), loss=loss)
    refused(lambda: robust_error(model, x, y, asked), "loss: expected one value per example, shape (16,)", got)
    fine = attack(ThreatModel("inf", 0.1), loss=nn.CrossEntropyLoss(reduction="none"))
    assert robust_error(model, x, y, fine) == robust_error(model, x, y, attack(ThreatModel("inf", 0.1)))


@pytest.mark.parametrize("loss", [
    lambda outputs, y: torch.zeros(len(y)),
    lambda outputs, y: (outputs.argmax(1) != y).float(),
    lambda outputs, y: nn.functional.cross_entropy(outputs.detach(), y, reduction="none"),
], ids=["constant", "error", "detached"])  # fmt: skip
def test_a_loss_without_a_gradient_is_not_blamed_on_the_network(loss) -> None:
    x, y = images(4)
    asked = PGD(ThreatModel("inf", 0.1), n_steps=2, loss=loss)
    refused(lambda: asked(busy_network().eval(), x, y), "loss: expected one that is differentiable in the outputs")
    with torch.no_grad():
        frozen = busy_network().eval().requires_grad_(False)
    refused(lambda: asked(lambda v: frozen(v.detach()), x, y), "model: expected an output that is differentiable")


@pytest.mark.parametrize(("step", "got"), [
    ("a", "got 'a'"), (None, "got None"), (1.5, "type float"), (torch.zeros(8), "got floating point"),
])  # fmt: skip
def test_what_is_no_number_of_a_step_is_refused(step: object, got: str) -> None:
    words = "step: expected the number of the step", got
    refused(lambda: begun(TwoFaces()).update(X - 0.2, step), *words)  # type: ignore[arg-type]
    refused(lambda: begun(TwoFaces()).propose(X - 0.2, X[:, 0] - 0.45, step), *words)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "step", [3, np.int64(3), torch.tensor(3), torch.full((8,), 3)], ids=["int", "NumPy", "()", "(B,)"]
)
def test_the_number_of_a_step_may_be_of_any_integer_type(step: int) -> None:
    evaluator = begun(TwoFaces())
    evaluator.update(X - 1.0, step)
    assert set(evaluator.best.step.tolist()) <= {0, 3}
    assert 3 in evaluator.best.step.tolist()


def test_gradients_that_are_not_finite_are_refused() -> None:
    require_finite(torch.tensor(True))
    with pytest.raises(ValueError, match="gradient: expected finite values"):
        require_finite(torch.tensor(False))


@pytest.mark.parametrize("threat", [ThreatModel(p, r) for p, r in (("inf", 0.1), (2, 0.3), (1, 0.4))], ids=str)
@pytest.mark.parametrize(
    "attack",
    [
        lambda t: PGD(t, n_steps=4, n_restarts=2, precision="bfloat16"),
        lambda t: APGD(t, n_steps=12, precision="bfloat16"),
        lambda t: Square(t, n_queries=40, precision="bfloat16"),
    ],
)
@pytest.mark.parametrize("until_wrong", [False, True])
def test_margins_and_points_agree_in_float32_whatever_bfloat16_says(attack, threat, until_wrong: bool) -> None:
    """The margin that a search reports is that of its point in float32, and wrong examples say at which step."""
    x, y = images(24)
    model = busy_network(2).eval()
    found = attack(threat).find(model, x, y, until_wrong=until_wrong)
    with torch.no_grad():
        torch.testing.assert_close(found.margins, margin(model(found.x), y), atol=1e-5, rtol=0)
    assert torch.equal(found.step >= 0, ~(found.margins > 0))


@pytest.mark.parametrize("kind", [PGD, APGD])
def test_a_bfloat16_search_that_only_finds_stronger_points_returns_the_input(kind: type) -> None:
    """Clean inputs are first looked at in bfloat16; none may be lost to a point that is no weaker."""
    x, y = images(20)
    model = busy_network().eval()
    attack = kind(ThreatModel("inf", 0.1), n_steps=5, loss=margin, precision="bfloat16")
    with torch.no_grad():
        before, after = margin(model(x), y), margin(model(attack(model, x, y)), y)
    assert bool((after <= before).all())
    assert float((after == before).float().mean()) > 0.2


def test_crafting_in_bfloat16_is_judged_in_float32() -> None:
    """A model that is wrong only under autocast must not be counted as broken."""

    def model(v: Tensor) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            return -v.sum(1) * 10
        return v.sum(1) * 0 + 1.0

    x, y = torch.rand(8, 3), torch.ones(8, dtype=torch.long)
    attack = PGD(ThreatModel("inf", 0.1), n_steps=3, precision="bfloat16")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert robust_error(model, x, y, attack).wrong == 0


@pytest.mark.parametrize("dropping", ["exact", "never", "padded"])
def test_only_on_a_cpu_is_the_last_look_restricted_to_inputs_in_doubt(dropping) -> None:
    """Elsewhere their number would have to be read: all are looked at, and the same are taken."""
    model = TwoFaces()
    options = SearchOptions(until_wrong=False, dropping=dropping)
    evaluator = Evaluator.begin(model, X, Y, precision="bfloat16", certain=False, options=options)
    with evaluator.searching():
        evaluator.update(X - torch.tensor([[0.3], [0.0]] * 4))
    evaluator.finish()
    assert (model.rows[False][-1] == 8) == (dropping != "exact")
    assert torch.equal(evaluator.best.margins, X[:, 0] - torch.tensor([0.3, 0.0] * 4) - 0.45)


@pytest.mark.parametrize("dropping", ["exact", "never"])
@pytest.mark.parametrize("until_wrong", [False, True])
def test_another_attack_goes_on_where_this_one_left_examples_right(dropping, until_wrong: bool) -> None:
    """In training without reads by a mask; in an evaluation `Best` takes no more for what is wrong."""
    options = SearchOptions(until_wrong=until_wrong, dropping=dropping)
    evaluator = Evaluator.begin(TwoFaces(), X, Y, options=options)
    right = X[:, 0] > 0.45
    inner, rows = evaluator.apart("float32")
    assert (None if rows is None else rows.tolist()) == (
        torch.nonzero(right)[:, 0].tolist() if dropping == "exact" else None
    )
    if dropping == "never" and not until_wrong:
        assert inner.active is not None
        assert torch.equal(inner.active, right)
    else:
        assert inner.active is None


def test_of_starts_side_by_side_the_first_wrong_one_is_taken_else_the_lowest() -> None:
    """Three starts of two examples: of the one the second is wrong and the third, too; of the other none is."""
    x = torch.tensor([[0.5], [0.9]])
    options = SearchOptions(until_wrong=True, dropping="exact")
    evaluator = Evaluator.begin(lambda v: v[:, 0] - 0.4, x, torch.ones(2, dtype=torch.long), options=options)
    beside = evaluator.side_by_side(3)
    beside.update(torch.tensor([[0.45], [0.35], [0.1], [0.7], [0.6], [0.8]]), torch.arange(6))
    evaluator.take_from(beside)
    torch.testing.assert_close(evaluator.best.x, torch.tensor([[0.35], [0.6]]))
    assert evaluator.best.step.tolist() == [1, -1]


def test_outputs_of_a_search_in_bfloat16_are_given_in_the_type_of_the_points() -> None:
    model = nn.Linear(1, 2).eval()
    for precision in ("bfloat16", "float32"):
        evaluator = begun(model, precision=precision)
        with evaluator.searching():
            outputs = evaluator.outputs(X)
        assert outputs.dtype == X.dtype
        assert torch.equal(outputs, model(X)) == (precision == "float32")
