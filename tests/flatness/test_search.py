"""The search against closed forms and a dense grid; monotone; side effects none; planted faults."""

import math

import pytest
import torch
from tests.cases import THREATS, LinearScore, RaisesAt, busy_network, hidden_scores, images, points
from tests.definitions.attack_cases import IDS, leaves_everything_alone, prepared
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.definitions import ThreatModel, default_loss
from cgro.flatness import Average, Flatness, Search, flatness, in_between


def truth_of_a_linear_score(model: LinearScore, x: Tensor, y: Tensor, threat: ThreatModel) -> tuple[Tensor, Tensor]:
    """Norm and rise at the exact worst point: both grow as the margin falls."""
    margins = (y * model(x)).detach().double()
    step = threat.steepest((-y[:, None] * model.w).detach(), x)
    worst = margins + (y * (step @ model.w)).detach().double()
    norm = threat.dual_norm(model.w.detach()[None]).double()
    return norm * torch.sigmoid(-worst), torch.nn.functional.softplus(-worst) - torch.nn.functional.softplus(-margins)


@pytest.mark.parametrize("threat", THREATS, ids=IDS)
def test_closed_form_of_linear_scores(threat: ThreatModel) -> None:
    model, (x, y) = LinearScore().eval(), points(25)
    radii = [0.5 * threat.radius, threat.radius]
    found = flatness(model, x, y, radii, p=threat.p, box=threat.box, search=Search(n_steps=30, n_loss_steps=30))
    for k, radius in enumerate(radii):
        gradient, rise = truth_of_a_linear_score(model, x, y, threat.at(radius))
        torch.testing.assert_close(found.gradient[:, k], gradient, rtol=2e-3, atol=1e-5)
        torch.testing.assert_close(found.rise[:, k], rise, rtol=5e-3, atol=1e-4)
        assert bool((found.gradient[:, k] <= gradient + 1e-5).all())
        assert bool((found.rise[:, k] <= rise + 1e-5).all())


def quadratic_loss(outputs: Tensor, y: Tensor) -> Tensor:
    return outputs


def test_closed_form_of_a_quadratic() -> None:
    """L = sum_i a_i z_i^2 / 2 with a > 0, unbounded, p = inf: both maxima are at |x| + radius in every coordinate."""
    a = torch.tensor([1.0, 3.0, 0.5])
    x = torch.tensor([[0.5, -0.2, 0.1], [-1.0, 0.3, 2.0]])
    found = flatness(
        lambda v: (a * v**2).sum(1) / 2, x, torch.ones(2), [0.1, 0.3], box=None, loss=quadratic_loss,
    )  # fmt: skip
    for k, radius in enumerate((0.1, 0.3)):
        far = x.abs() + radius
        torch.testing.assert_close(found.gradient[:, k], (a * far).sum(1).double(), rtol=1e-5, atol=1e-6)
        rise = (a * (far**2 - x**2)).sum(1).double() / 2
        torch.testing.assert_close(found.rise[:, k], rise, rtol=1e-4, atol=1e-6)


def truth_on_a_grid(model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, n: int = 301) -> tuple[Tensor, Tensor]:
    """Two dimensions, a dense grid over ball and box: every region of every activation pattern is hit."""
    gradients, rises = [], []
    for u, label in zip(x, y):
        axes = [torch.linspace(max(0, float(c) - threat.radius), min(1, float(c) + threat.radius), n) for c in u]
        grid = torch.cartesian_prod(*axes).requires_grad_(True)
        loss = default_loss(model(grid), label.expand(len(grid)))
        (gradient,) = torch.autograd.grad(loss.sum(), grid)
        gradients.append(gradient.abs().sum(1).max())
        rises.append((loss.max() - default_loss(model(u[None]), label[None])[0]).detach())
    return torch.stack(gradients).double(), torch.stack(rises).double()


def test_every_region_of_a_hidden_layer() -> None:
    """A one-hidden-layer ReLU network of two inputs, by a grid of 90,000 points an example."""
    model = hidden_scores(2, 8, seed=3)
    x, y = points(24, 2)
    x = x.clamp(0.02, 0.98)
    found = flatness(model, x, y, [0.1, 0.3], search=Search(n_restarts=4))
    for k, radius in enumerate((0.1, 0.3)):
        gradient, rise = truth_on_a_grid(model, x, y, ThreatModel("inf", radius))
        assert float(found.gradient[:, k].sum()) >= 0.95 * float(gradient.sum())
        assert float(found.rise[:, k].sum()) >= 0.99 * float(rise.sum())
        assert bool((found.gradient[:, k] <= gradient * 1.02 + 1e-6).all())


def test_double_backward_would_not_have_found_the_kink() -> None:
    """A score that bends beyond x: its second derivative is 0 here, so only a search at a distance sees the kink."""

    def bent(v: Tensor) -> Tensor:
        return 0.1 * v.sum(1) + 5 * torch.relu(v[:, 0] - 0.55)

    x, y = torch.full((1, 2), 0.5), torch.tensor([-1])
    found = flatness(bent, x, y, [0.04, 0.1])
    assert float(found.gradient[0, 0]) < 0.2
    assert float(found.gradient[0, 1]) > 2.5


def planted() -> nn.Module:
    """Flat logits, but one hidden unit that wakes near one corner of the ball of x = 0.5."""
    net = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 2)).requires_grad_(False)
    net[0].weight.copy_(torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.1, 0.1, 0.1, 0.1]]))
    net[0].bias.copy_(torch.tensor([-2.3, 0.0]))
    net[2].weight.copy_(torch.tensor([[-20.0, 0.0], [20.0, 0.1]]))
    net[2].bias.zero_()
    return net.eval()


def test_a_planted_spot_that_is_not_flat_is_found() -> None:
    model, x, y = planted(), torch.full((1, 4), 0.5), torch.tensor([0])
    found = flatness(model, x, y, [0.05, 0.1])
    assert float(found.gradient[0, 0]) < 1
    assert float(found.gradient[0, 1]) > 100


def test_everything_of_the_model_and_the_process_is_left_alone() -> None:
    x, y = images()
    model = prepared(busy_network(), False).eval()
    assert leaves_everything_alone(model, lambda: flatness(model, x, y, [0.05, 0.1], search=Search(2, 2, 2)))
    failing = RaisesAt(4).eval()
    assert leaves_everything_alone(failing, lambda: flatness(failing, x, y, [0.05, 0.1]))
    assert failing.calls == 4


def test_batches_and_seeds() -> None:
    model, (x, y) = busy_network().eval(), images(7)
    settings = Search(3, 2, 2)

    def at(batch: int, seed: int) -> Flatness:
        return flatness(model, x, y, [0.1], search=settings, batch=batch, generator=torch.Generator().manual_seed(seed))

    torch.testing.assert_close(at(7, 0).gradient, at(3, 0).gradient, rtol=1e-3, atol=1e-5)
    assert not torch.equal(at(7, 0).gradient, at(7, 1).gradient)
    assert torch.equal(at(7, 1).gradient, at(7, 1).gradient)


def test_box_and_loss_matter() -> None:
    model, (x, y) = LinearScore().eval(), points(25)
    inside, free = (flatness(model, x, y, [0.3], box=box) for box in ((0.0, 1.0), None))
    assert bool((free.rise >= inside.rise - 1e-5).all())
    assert float(free.rise.sum()) > 1.1 * float(inside.rise.sum())
    other = flatness(model, x, y, [0.3], loss=lambda z, y: -z * y)
    norm = float(model.w.detach().abs().sum())
    torch.testing.assert_close(other.gradient, torch.full_like(other.gradient, norm))


@pytest.mark.parametrize(
    ("radii", "words"),
    [([], "at least one"), ([0.2, 0.1], "increasing"), ([0.1, 0.1], "increasing"), ([-0.1], "radii"), (["a"], "radii"),
     ([float("nan")], "radii"), ([8.0], "did you mean")],
)  # fmt: skip
def test_bad_radii(radii: list, words: str) -> None:
    model, (x, y) = LinearScore().eval(), points(5)
    with pytest.raises(BadRequest, match=words) as caught:
        flatness(model, x, y, radii)
    assert "\n" not in str(caught.value)


def test_other_bad_requests() -> None:
    model, (x, y) = LinearScore().eval(), points(5)
    for call, words in (
        (lambda: flatness(model, 255 * x, y, [0.1]), "divide by 255"),
        (lambda: flatness(model, x[:0], y[:0], [0.1]), "at least one"),
        (lambda: flatness(model.train(), x, y, [0.1]), "eval"),
        (lambda: flatness(lambda v: v.sum(1) * math.nan, x, y, [0.1]), "finite"),
        (lambda: flatness(lambda v: (v[:, 0] - v[:, 0]).sqrt(), x, y, [0.1]), "finite"),
        (lambda: flatness(lambda v: v.sum(1).round().detach(), x, y, [0.1]), "differentiable"),
        (lambda: Search(n_steps=0), "n_steps"),
        (lambda: in_between(x[:1], y[:1], torch.Generator()), "two of one class"),
        (lambda: in_between(x, y, torch.Generator(), -3), "n: expected an integer >= 1"),
    ):
        with pytest.raises(BadRequest, match=words):
            call()


def test_in_between_points_are_midpoints_of_one_class() -> None:
    x, y = torch.arange(12.0)[:, None], torch.tensor([0, 1] * 6)
    middle, labels = in_between(x, y, torch.Generator().manual_seed(0))
    assert len(middle) == 12
    assert bool(((middle[:, 0] % 2 == labels) | (middle[:, 0] % 1 == 0)).all())
    known = {(a + b) / 2 for a in range(12) for b in range(12) if a != b and a % 2 == b % 2}
    assert set(middle[:, 0].tolist()) <= known
    assert len(in_between(x, y, torch.Generator(), 5)[0]) == 5


def test_fewer_points_in_between_are_of_all_classes() -> None:
    """They once were the first ones of a list that is ordered by class."""
    y = torch.arange(10).repeat_interleave(100)
    x = torch.arange(1000.0)[:, None]
    labels = in_between(x, y, torch.Generator().manual_seed(0), 200)[1]
    assert int(labels.bincount(minlength=10).min()) > 5  # 20 a class in the mean, with a spread of 4
    whole = in_between(x, y, torch.Generator().manual_seed(0))[0]
    assert torch.equal(whole, in_between(x, y, torch.Generator().manual_seed(0), 1000)[0])


def test_averages_are_means_with_a_normal_interval() -> None:
    values = torch.tensor([1.0, 2.0, 4.0])
    found = Average.of(values)
    sd = math.sqrt(((1 - 7 / 3) ** 2 + (2 - 7 / 3) ** 2 + (4 - 7 / 3) ** 2) / 2)
    assert (found.value, found.sd, found.n) == (pytest.approx(7 / 3), pytest.approx(sd), 3)
    low, high = found.interval
    assert high - low == pytest.approx(2 * 1.96 * sd / math.sqrt(3), rel=1e-4)
    assert found.to_dict()["bound"] == "lower"
    assert Average.of(values[:1]).interval == (1.0, 1.0)
    assert Average.of(values[:1]).to_dict()["interval"] is None  # of the spread of one example nothing is known
    assert Average.of(values[:2]).to_dict()["interval"] is not None


def test_joined_results_are_those_of_all_examples() -> None:
    model, (x, y) = LinearScore().eval(), points(9)
    whole = flatness(model, x, y, [0.05, 0.1])
    joined = Flatness.joined([flatness(model, x[:4], y[:4], [0.05, 0.1]), flatness(model, x[4:], y[4:], [0.05, 0.1])])
    for name in ("gradient", "rise", "loss", "slope"):
        torch.testing.assert_close(getattr(joined, name), getattr(whole, name), rtol=1e-4, atol=1e-6)
    assert joined.radii == whole.radii
    assert torch.equal(joined.values("gradient"), joined.gradient)
    assert torch.equal(joined.values("loss"), joined.rise)


def test_a_radius_of_zero_is_the_point_itself() -> None:
    model, (x, y) = LinearScore().eval(), points(5)
    found = flatness(model, x, y, [0.0, 0.1])
    assert torch.equal(found.gradient[:, 0], found.slope)
    assert not found.rise[:, 0].any()
    assert bool((found.rise[:, 1] > 0).any())
