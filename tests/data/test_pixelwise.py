"""Changes of color and shape against Pillow, image by image: an implementation of its own, in 8 bits."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from cgro.data import pixelwise

COLOR = 3


def images(n: int = 6, side: int = 16, channels: int = COLOR) -> Tensor:
    """uint8, smooth enough that rounding moves no pixel far."""
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(n, channels, side, side, generator=generator) * 200 + 20).to(torch.uint8)


def by_pillow(x: Tensor, change: Callable[[Image.Image, int], Image.Image]) -> Tensor:
    found = []
    for k, image in enumerate(x):
        pixels = image.permute(1, 2, 0).numpy().squeeze()
        found.append(np.atleast_3d(np.array(change(Image.fromarray(pixels), k))))
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)


STRENGTH = torch.linspace(0.1, 1.9, 6)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (pixelwise.saturated, ImageEnhance.Color),
        (pixelwise.brightened, ImageEnhance.Brightness),
        (pixelwise.contrasted, ImageEnhance.Contrast),
        (pixelwise.sharpened, ImageEnhance.Sharpness),
    ],
    ids=["color", "brightness", "contrast", "sharpness"],
)
@pytest.mark.parametrize("channels", [1, COLOR])
def test_enhancements_are_those_of_pillow(ours, theirs, channels: int) -> None:
    x = images(channels=channels)
    found = ours(x.float() / 255, STRENGTH) * 255
    expected = by_pillow(x, lambda image, k: theirs(image).enhance(float(STRENGTH[k])))
    assert float((found - expected.float()).abs().max()) <= 2.0
    assert torch.equal((ours(x.float() / 255, torch.ones(6)) * 255).round(), x.float())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(pixelwise.autocontrasted, ImageOps.autocontrast), (pixelwise.equalized, ImageOps.equalize)],
    ids=["autocontrast", "equalize"],
)
def test_automatic_changes_are_those_of_pillow(ours, theirs) -> None:
    x = images(side=32)
    x[0, 0] = 77  # a channel of one value stays
    x[1] = torch.randint(100, 103, x[1].shape, generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    found = ours(x.float() / 255) * 255
    expected = by_pillow(x, lambda image, k: theirs(image)).float()
    assert float((found - expected).abs().max()) <= 1.01


def test_equalize_is_pillows_table_to_the_bit() -> None:
    x = images(side=32)
    expected = by_pillow(x, lambda image, k: ImageOps.equalize(image))
    assert torch.equal((pixelwise.equalized(x.float() / 255) * 255).round().to(torch.uint8), expected)


@pytest.mark.parametrize("channels", [1, COLOR])
def test_rotation_and_shear_are_those_of_pillow(channels: int) -> None:
    x = images(side=17, channels=channels)
    degrees = torch.tensor([0.0, 3.0, -7.0, 10.0, 30.0, -21.0])
    expected = by_pillow(x, lambda image, k: image.rotate(float(degrees[k]), Image.Resampling.NEAREST))
    assert torch.equal((pixelwise.rotated(x.float(), degrees)).to(torch.uint8), expected)
    angle = torch.tensor([0.05, -0.1, 0.15, 0.35, -0.35, 0.0])
    across = torch.tensor([False, True, False, True, False, True])

    def shear(image: Image.Image, k: int) -> Image.Image:
        slope, middle = math.tan(float(angle[k])), 17 / 2
        matrix = (1, 0, 0, slope, 1, -slope * middle) if across[k] else (1, slope, -slope * middle, 0, 1, 0)
        return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)

    assert torch.equal(pixelwise.sheared(x.float(), angle, across).to(torch.uint8), by_pillow(x, shear))


def test_nothing_leaves_the_unit_interval() -> None:
    x = images().float() / 255
    for change in (pixelwise.saturated, pixelwise.brightened, pixelwise.contrasted, pixelwise.sharpened):
        found = change(x, torch.full((6,), 1.9))
        assert float(found.min()) >= 0
        assert float(found.max()) <= 1
