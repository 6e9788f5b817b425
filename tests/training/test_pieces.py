"""Pieces of the examples of a step: cut and joined they are the whole, with the random numbers of the whole."""

import pytest
import torch
from tests.training.test_step import network, step_of
from torch import Tensor

from cgro.definitions import PGD, ThreatModel
from cgro.definitions.draws import Draws
from cgro.training.pieces import Examples, joined_crafted, joined_outputs


def examples(n: int = 7) -> Examples:
    x = torch.arange(2.0 * n).reshape(n, 2)
    crafted = [x + 1, x + 2]
    targets = x.softmax(1)
    return Examples(
        x, torch.arange(n), lambda purpose: Draws.of(3, purpose, torch.arange(n)), targets, crafted, (x, -x)
    )


@pytest.mark.parametrize("n_pieces", [1, 2, 3])
def test_pieces_joined_are_the_whole(n_pieces: int) -> None:
    whole = examples()
    pieces = [whole.piece(n_pieces, k) for k in range(n_pieces)]
    assert torch.equal(torch.cat([piece.x for piece in pieces]), whole.x)
    assert torch.equal(torch.cat([piece.y for piece in pieces]), torch.arange(7))
    assert torch.equal(torch.cat([torch.arange(7)[piece.rows] for piece in pieces]), torch.arange(7))
    assert torch.equal(torch.cat([piece.targets for piece in pieces if piece.targets is not None]), whole.x.softmax(1))
    assert all(torch.equal(*pair) for pair in zip(joined_crafted(pieces), whole.crafted, strict=True))
    outputs = joined_outputs(pieces)
    assert outputs is not None
    assert torch.equal(outputs, -whole.x)
    drawn = torch.cat([piece.streams("noise").uniform(4) for piece in pieces])
    assert torch.equal(drawn, whole.streams("noise").uniform(4))
    assert not torch.equal(drawn, whole.streams("other").uniform(4))


def test_outputs_of_another_x_are_not_those_of_a_piece() -> None:
    whole = examples()
    moved = Examples(whole.x + 1, whole.y, whole.streams, seen=whole.seen)
    pieces = [moved.piece(2, 0), whole.piece(2, 1)]
    assert pieces[0].seen is None
    assert joined_outputs(pieces) is None


def test_a_step_has_the_pieces_in_turn_and_then_the_whole_again() -> None:
    step = step_of(network(), attack=PGD(ThreatModel("inf", 0.1), n_steps=2), n_pieces=2)
    x, kept = step.x, step.crafted
    seen: list[Tensor] = []

    def work() -> Tensor:
        assert (step.n_pieces, len(step.y)) == (1, 3)
        seen.append(step.x)
        step.crafted.append(step.x + 1)
        return step.outputs()

    found = step.by_piece(work)
    assert (step.x is x, step.crafted is kept, step.n_pieces, step.rows) == (True, True, 2, slice(None))
    assert torch.equal(torch.cat(seen), x)
    assert torch.equal(kept[0], x + 1)
    assert torch.equal(torch.cat(found), step.outputs())


def test_a_step_has_the_whole_again_after_an_error() -> None:
    step = step_of(network(), n_pieces=3)
    x, kept = step.x, step.crafted
    with pytest.raises(ZeroDivisionError):
        step.by_piece(lambda: step.x / (1 // 0))
    assert (step.x is x, step.crafted is kept, step.n_pieces, step.rows) == (True, True, 3, slice(None))
