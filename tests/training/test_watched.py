"""What a step reads of the host is noted, and nothing else."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.training.cases import toy, toy_step
from torch import Tensor

from cgro.definitions.random_state import seed_torch
from cgro.training.step import Moment, Step
from cgro.training.watched import Reads, WatchedStep, watching_noise, watching_python

CPU = torch.device("cpu")
NOW = Moment(epoch=2, progress=0.5, radius_share=0.75)


def watched(buffers: list[Tensor] | None = None) -> WatchedStep:
    step = toy_step(toy(), epoch=2, progress=0.5, radius_share=0.75)
    return WatchedStep(
        step.model, step.x, step.y, step.network, step.streams, step.attack,
        epoch=2, progress=0.5, radius_share=0.75, reads=Reads(NOW), buffers=buffers,
    )  # fmt: skip


def test_a_step_that_reads_nothing_of_the_time_holds_always() -> None:
    step = watched()
    _ = step.x, step.y, step.attack, step.craft_mode
    assert step.reads.holds(Moment(9, 0.9, 0.1))
    assert step.reads == Reads(NOW)


@pytest.mark.parametrize("name", ["epoch", "progress", "radius_share"])
def test_a_number_that_is_read_itself_must_stay(name: str) -> None:
    step = watched()
    assert getattr(step, name) == getattr(NOW, name)
    assert step.reads.times == {name}
    for other in ("epoch", "progress", "radius_share"):
        then = replace(NOW, **{other: 0})
        assert step.reads.holds(then) == (other != name)
        assert step.reads.changed(then) == ([name] if other == name else [])


def test_an_attack_reads_the_radius_alone() -> None:
    step = watched()
    step.craft()
    assert step.reads.times == {"radius_share"}


def test_a_decision_must_fall_alike() -> None:
    step = watched()
    assert step.decide(lambda moment: moment.epoch < 3)
    assert not step.decide(lambda moment: moment.progress > 0.5)
    assert step.reads.times == set()
    assert step.reads.holds(Moment(0, 0.1, 0.0))
    assert not step.reads.holds(Moment(3, 0.1, 0.0))
    assert not step.reads.holds(Moment(0, 0.6, 0.0))


def test_numbers_come_from_the_buffers_of_a_capture() -> None:
    rule = lambda moment: 2 * moment.progress  # noqa: E731
    step = watched()
    assert step.number(rule).item() == 1.0
    assert step.number(rule).dtype == step.x.dtype
    assert Step.number(step, rule).item() == 1.0
    buffer = torch.tensor(7.0)
    captured = watched([buffer])
    assert captured.number(rule) is buffer
    assert captured.reads.numbers == [rule]
    with pytest.raises(RuntimeError, match="other numbers than the steps before"):
        captured.number(rule)


def test_steps_are_alike_that_ask_for_the_same() -> None:
    first, second = Reads(NOW), Reads(Moment())
    assert first.is_like(second)
    for change in (
        lambda reads: reads.times.add("epoch"),
        lambda reads: reads.purposes.add("noise"),
        lambda reads: reads.rules.append((lambda moment: True, True)),
        lambda reads: reads.numbers.append(lambda moment: 1.0),
    ):
        other = Reads(NOW)
        change(other)
        assert not first.is_like(other)


def test_noise_is_noted() -> None:
    reads = Reads(NOW)
    with watching_noise(reads, CPU), watching_python(reads):
        torch.ones(2)
    assert reads.obstacle() == ""
    with watching_noise(reads, CPU):
        torch.rand(1)
    assert (reads.n_noisy, reads.obstacle()) == (1, "")
    with watching_noise(reads, CPU):
        torch.rand(1)
    assert "dropout" in reads.obstacle()
    for draw in (random.random, lambda: np.random.rand()):  # noqa: NPY002
        reads = Reads(NOW)
        with watching_python(reads):
            draw()
        assert "on the host" in reads.obstacle()


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_noise_is_that_of_torch_and_nothing_is_remembered(seed: int) -> None:
    """`torch.manual_seed` queues a call for each kind of accelerator that is not there."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        expected = torch.rand(5)
        n_queued = len(torch.cuda._queued_calls)
        seed_torch(seed, CPU)
        assert torch.equal(torch.rand(5), expected)
        assert len(torch.cuda._queued_calls) == n_queued
