"""Square against exact answers, and where there is no gradient."""

import pytest
from tests.cases import THREATS, LinearScore, images, linear_logits, points
from tests.definitions.attack_cases import IDS, linear_truth

from cgro.definitions import (
    APGD,
    Square,
    ThreatModel,
    margin,
    robust_error,
)


@pytest.mark.parametrize("threat", THREATS, ids=IDS)
def test_square_comes_close_on_linear_scores_and_never_beyond(threat: ThreatModel) -> None:
    """Without gradients it cannot be exact; it must find nine tenths of what there is, and never more."""
    model, (x, y) = LinearScore(), points(25)
    truth, clean = linear_truth(model, x, y, threat), (y * model(x)).detach().double()
    reached = margin(model(Square(threat, n_queries=600)(model, x, y)), y).detach().double()
    assert bool((reached >= truth - 2e-5).all())
    share = (clean - reached) / (clean - truth)
    assert float(share.mean()) > 0.9


def test_square_needs_no_gradient() -> None:
    """A model without any: gradient attacks refuse it, queries break it."""
    model, x = linear_logits(64, 3).eval(), images(30)[0]
    masked, y = (lambda v: model((v * 64).round() / 64).detach()), model((images(30)[0] * 64).round() / 64).argmax(1)
    with pytest.raises(ValueError, match="differentiable"):
        robust_error(masked, x, y, APGD(ThreatModel("inf", 0.1)))
    assert robust_error(masked, x, y, Square(ThreatModel("inf", 0.1), n_queries=300)).wrong > 15
