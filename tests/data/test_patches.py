"""Definition 5.1, by its own statements and by moments."""

import numpy as np
import pytest
import torch

from cgro.data.patches import PatchData


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("position", [0, 2, "random"])
@pytest.mark.parametrize("n_signals", [1, 3])
def test_every_example_is_one_signal_patch_and_orthogonal_noise(position, n_signals):
    data = PatchData(9, 4, signal_strength=2.5, n_signals=n_signals, signal_position=position)
    sample = data.sample(200, generator())
    rows = torch.arange(200)
    expected = 2.5 * sample.y[:, None] * data.signal_directions[sample.signal_index]
    assert torch.equal(sample.x[rows, sample.signal_position], expected)
    others = torch.ones(200, 4, dtype=torch.bool)
    others[rows, sample.signal_position] = False
    assert torch.equal(sample.x[others].view(200, 3, 9), sample.noise)
    assert float((sample.noise @ data.signal_directions.T).abs().max()) == 0.0
    if position == "random":
        assert (torch.bincount(sample.signal_position, minlength=4) > 25).all()
    else:
        assert (sample.signal_position == position).all()


def test_noise_has_the_stated_covariance_and_no_information_about_the_label():
    data = PatchData(5, 2, noise_std=0.7)
    sample = data.sample(200_000, generator())
    noise = sample.noise[:, 0].numpy()
    expected = 0.49 * (np.eye(5) - np.diag([1, 0, 0, 0, 0]))
    np.testing.assert_allclose(np.cov(noise.T), expected, atol=0.01)
    np.testing.assert_allclose((sample.y.numpy()[:, None] * noise).mean(0), 0, atol=0.01)
    assert abs(float(sample.y.mean())) < 0.01


@pytest.mark.parametrize(("n", "total"), [(10, 0.0), (11, 1.0)])
def test_balanced_classes(n, total):
    assert float(PatchData(4, balanced=True).sample(n, generator()).y.sum()) == total


def test_default_scales_are_those_of_the_theorem():
    data = PatchData(100)
    assert data.signal_strength == pytest.approx(100**0.249)
    assert data.noise_std == pytest.approx(100**-0.509)


def test_same_generator_same_examples_and_dtype_on_request():
    a, b = (PatchData(6).sample(5, generator(7), dtype=torch.float32) for _ in range(2))
    assert a.x.dtype == torch.float32
    assert torch.equal(a.x, b.x)


def test_decomposition_is_orthogonal_and_complete():
    data = PatchData(20, 3, n_signals=2)
    sample = data.sample(4, generator())
    filters = torch.randn(6, 20, generator=generator(1), dtype=torch.float64)
    parts = data.decompose(filters, sample)
    assert torch.allclose(parts.signal + parts.memorized + parts.rest, filters, atol=1e-13)
    for a, b in ((parts.signal, parts.memorized), (parts.signal, parts.rest), (parts.memorized, parts.rest)):
        assert float((a * b).sum(1).abs().max()) < 1e-12
    assert float((parts.rest @ sample.noise.flatten(0, 1).T).abs().max()) < 1e-12


@pytest.mark.parametrize(
    ("kwargs", "word"),
    [
        ({"patch_dim": 0}, "patch_dim"), ({"n_patches": 1}, "n_patches"), ({"noise_std": 0.0}, "noise_std"),
        ({"noise_std": float("nan")}, "noise_std"), ({"signal_strength": -1.0}, "signal_strength"),
        ({"n_signals": 5}, "n_signals"), ({"signal_position": 2}, "signal_position"),
        ({"signal_position": "middle"}, "signal_position"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(kwargs, word):
    with pytest.raises(ValueError, match=word) as caught:
        PatchData(**{"patch_dim": 5, **kwargs})
    assert "\n" not in str(caught.value)


def test_filters_of_another_dimension_are_refused():
    data = PatchData(5)
    with pytest.raises(ValueError, match="filters"):
        data.decompose(torch.zeros(2, 4), data.sample(2, generator()))


def test_whole_numbers_of_another_type_are_kept_as_integers():
    data = PatchData(10.0, 3.0, n_signals=np.int64(2), signal_position=1.0)  # type: ignore[arg-type]
    assert data == PatchData(10, 3, n_signals=2, signal_position=1)
    for value in (data.patch_dim, data.n_patches, data.n_signals, data.signal_position):
        assert type(value) is int
    assert torch.equal(data.sample(4.0, generator()).x, data.sample(4, generator()).x)  # type: ignore[arg-type]
