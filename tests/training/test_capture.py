"""Captured training equals the same training without graphs, to the bit; what cannot be captured is found."""

import pytest
import torch
from tests.training.cases import ATTACK, noisy, same_weights, small, run_of
from tests.training.tape import Tape

from cgro.data import Dataset
from cgro.definitions import PGD, ThreatModel
from cgro.definitions.graphs import capturing_by
from cgro.training import Adversarial, Recipe, fit

RECIPE = Recipe(epochs=3, batch_size=10, optimizer="sgd", lr=0.05)


def test_it(digits: Dataset) -> None:
    ends = []
    for captures in (True, False):
        tape = Tape()
        model = noisy()
        with capturing_by(tape):
            objective = Adversarial(ATTACK)
            t = fit(model, digits, objective, RECIPE)
        print(t.meta, t.values, tape.n_captures, tape.n_operations)
