"""Same-class boxes: pixels of another image of the class, labels as they are, with any objective."""

import pytest
import torch
from tests.training.cases import ATTACK, compute_of, small

from cgro.data import Dataset
from cgro.definitions import Draws, default_loss
from cgro.training import MART, Recipe, SameClassBoxes, Step


def test_every_pixel_is_of_an_image_of_the_class_and_labels_stay(digits: Dataset) -> None:
    boxes = SameClassBoxes(probability=1.0)
    model = small()
    boxes.prepare(model, Recipe(), digits)
    x, y = digits.train.batch(torch.arange(20))
    step = Step(model, x, y, model, lambda purpose: Draws.of(0, purpose, torch.arange(20)), ATTACK)
    n_changed = 0

    def look(step: Step) -> torch.Tensor:
        nonlocal n_changed
        assert step.targets is None
        assert torch.equal(step.y, y)
        for image, label, before in zip(step.x, y, x, strict=True):
            candidates = digits.train.x[digits.train.y == label]
            assert (image == candidates).any(0).all()
            n_changed += int(not torch.equal(image, before))
        return default_loss(step.model(step.x), step.y)

    boxes.around(step, compute_of(step, look))
    assert n_changed > 10


def test_objectives_without_soft_labels_take_it(digits: Dataset) -> None:
    boxes, model = SameClassBoxes(), small()
    boxes.prepare(model, Recipe(), digits)
    x, y = digits.train.batch(torch.arange(20))
    step = Step(model, x, y, model, lambda purpose: Draws.of(0, purpose, torch.arange(20)), ATTACK)
    assert float(boxes.around(step, compute_of(step, MART(ATTACK)))) == pytest.approx(5, abs=5)
