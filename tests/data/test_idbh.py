"""IDBH: its stages by their definitions, its probabilities by counting, and how it is called."""

import pytest
import torch

from cgro.data import augmentation_by_name
from cgro.data.idbh import CHANGES, IDBH, PRESETS, changed, chosen_change, cropped_and_shifted, erased
from cgro.definitions import Draws

N = 4000


def draws(n: int = N, purpose: str = "augment") -> Draws:
    return Draws.of(0, purpose, torch.arange(n))


def test_probabilities_are_one_and_presets_are_the_published_ones() -> None:
    assert sum(change.color for change in CHANGES) == pytest.approx(1.0)
    assert sum(change.shape for change in CHANGES) == pytest.approx(1.0)
    assert augmentation_by_name("idbh-weak") == IDBH(shift=11, mix="color", erase=0.5, largest=0.33)
    assert augmentation_by_name("idbh-strong") == IDBH(shift=11, mix="color", erase=1.0, largest=0.33)
    assert augmentation_by_name("idbh-svhn") == IDBH(shift=9, mix="shape", erase=1.0, largest=0.5)
    assert set(PRESETS) == {"idbh-weak", "idbh-strong", "idbh-svhn"}


@pytest.mark.parametrize("mix", ["color", "shape"])
def test_each_change_is_made_as_often_as_it_should(mix: str) -> None:
    chosen = chosen_change(draws().uniform(1)[:, 0], mix)
    for k, change in enumerate(CHANGES):
        p = change.color if mix == "color" else change.shape
        share = float((chosen == k).double().mean())
        assert abs(share - p) < 4 * (p * (1 - p) / N) ** 0.5
    assert int(chosen_change(torch.tensor([1 - 1e-16], dtype=torch.float64), mix)) == len(CHANGES) - 1


def test_crop_and_shift_lays_a_window_somewhere_on_black() -> None:
    """The image says where each pixel comes from: what is left is a window, in order, and moved as a whole."""
    side = 16
    image = torch.arange(1.0, side * side + 1).view(1, 1, side, side)
    out = cropped_and_shifted(image.expand(N, -1, -1, -1), 6, draws())
    missing = []
    for one in out[:400, 0]:
        rows, columns = torch.nonzero(one, as_tuple=True)
        top, left = int(rows.min()), int(columns.min())
        height, width = int(rows.max()) - top + 1, int(columns.max()) - left + 1
        window = one[top : top + height, left : left + width]
        first = int(window[0, 0]) - 1
        from_row, from_column = divmod(first, side)
        cut = image[0, 0, from_row : from_row + height, from_column : from_column + width]
        assert torch.equal(window, cut)
        missing.append((side - height) + (side - width))
    assert set(missing) == set(range(6))  # s is uniform on 0 .. 5
    assert all(abs(missing.count(s) / 400 - 1 / 6) < 4 * (5 / 36 / 400) ** 0.5 for s in range(6))


def test_a_box_is_erased_within_its_share_of_the_image() -> None:
    x = torch.ones(N, 1, 32, 32)
    black = erased(x, 0.5, 0.33, draws()) == 0
    areas = black.sum((1, 2, 3)).double() / 1024
    share = float((areas > 0).double().mean())
    assert abs(share - 0.5) < 4 * (0.25 / N) ** 0.5
    assert float(areas.max()) < 0.36
    assert float(areas[areas > 0].min()) > 0.01
    assert float(areas[areas > 0].mean()) == pytest.approx((0.02 + 0.33) / 2, abs=0.01)
    for one in black[areas > 0][:100, 0]:
        rows, columns = torch.nonzero(one, as_tuple=True)
        assert len(rows) == (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
    assert not (erased(x, 0.0, 0.33, draws()) == 0).any()
    assert (erased(x, 1.0, 0.33, draws()) == 0).any((1, 2, 3)).float().mean() > 0.99


def test_every_option_has_an_effect_and_one_image_has_one_fate() -> None:
    x = torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = []
    for options in ({}, {"shift": 5}, {"mix": "shape"}, {"erase": 1.0}, {"largest": 0.6}):
        found.append(IDBH(**options)(x, generator=draws(40)))
    for k, one in enumerate(found):
        assert all(not torch.equal(one, other) for other in found[k + 1 :])
    whole = IDBH()(x, generator=draws(40))
    half = IDBH()(x[10:20], generator=Draws.of(0, "augment", torch.arange(10, 20)))
    assert torch.equal(whole[10:20], half)
    assert float(whole.min()) >= 0
    assert float(whole.max()) <= 1


def test_bytes_gray_images_and_generators() -> None:
    x = torch.randint(0, 256, (8, 1, 28, 28), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    out = IDBH()(x, generator=torch.Generator().manual_seed(1))
    assert out.dtype == torch.uint8
    assert out.shape == x.shape
    kept = x.clone()
    again = IDBH()(x, generator=torch.Generator().manual_seed(1))
    assert torch.equal(out, again)
    assert torch.equal(x, kept)
    last = torch.rand(4, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    assert IDBH()(last, generator=draws(4)).is_contiguous(memory_format=torch.channels_last)
    assert changed(last, "color", draws(4)).shape == last.shape


def test_bad_requests() -> None:
    for options in ({"shift": 0}, {"mix": "both"}, {"erase": 1.5}, {"largest": 0.01}):
        with pytest.raises(ValueError, match="idbh: "):
            IDBH(**options)
    with pytest.raises(ValueError, match="at least 11 pixels"):
        IDBH()(torch.rand(2, 3, 8, 8), generator=draws(2))
    with pytest.raises(ValueError, match="idbh-weak"):
        augmentation_by_name("idbh")
