"""Augmentation against slow loops over examples and pixels, and its contract: generators, dtypes, memory formats."""

import pytest
import torch
from torch import Tensor

from cgro.data.augment import Augmentation, augmentation_by_name


def images(n: int = 40, side: tuple[int, int] = (9, 7)) -> Tensor:
    """Values that occur once, so that every pixel says where it comes from."""
    x = torch.randperm(n * 3 * side[0] * side[1], generator=torch.Generator().manual_seed(3)).float() + 1
    return (x / x.max()).view(n, 3, *side)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shifted(image: Tensor, dy: int, dx: int, flip: bool) -> Tensor:
    """One image moved by (dy, dx) with black outside and mirrored afterwards, pixel by pixel."""
    _, height, width = image.shape
    out = torch.zeros_like(image)
    for i in range(height):
        for j in range(width):
            source = i + dy, (width - 1 - j if flip else j) + dx
            if 0 <= source[0] < height and 0 <= source[1] < width:
                out[:, i, j] = image[:, source[0], source[1]]
    return out


def explain(image: Tensor, out: Tensor, crop: int, flips: tuple[bool, ...]) -> list[tuple[int, int, bool]]:
    """Every move of the slow loop that gives exactly this output."""
    moves = [(dy, dx, f) for dy in range(-crop, crop + 1) for dx in range(-crop, crop + 1) for f in flips]
    return [move for move in moves if torch.equal(shifted(image, *move), out)]


@pytest.mark.parametrize(("crop", "flip"), [(2, True), (2, False), (0, True), (4, True)])
def test_each_image_is_one_move_of_the_slow_loop(crop: int, flip: bool) -> None:
    x = images()
    out = Augmentation(crop, flip)(x, generator=generator())
    flips = (False, True) if flip else (False,)
    moves = [explain(a, b, crop, flips) for a, b in zip(x, out, strict=True)]
    assert all(len(m) == 1 for m in moves)
    if crop or flip:
        assert len({m[0] for m in moves}) > 1


@pytest.mark.parametrize("fault", ["wrapped", "neighbor", "upside down"])
def test_planted_faults_are_seen_by_the_slow_loop(fault: str) -> None:
    x = images(1)[0]
    faulty = {"wrapped": x.roll(1, 1), "neighbor": images(2)[1], "upside down": x.flip(1)}[fault]
    assert not explain(x, faulty, 2, (False, True))


def test_moves_are_uniform_and_independent() -> None:
    """4,500 draws of 18 moves, 250 expected of each; chi-square of 17 degrees is below 40.8 with probability 0.999."""
    x = images(1, (4, 4)).expand(4500, 3, 4, 4)
    out = Augmentation(1, True)(x, generator=generator())
    table = {shifted(x[0], dy, dx, f).numpy().tobytes(): 0 for dy in (-1, 0, 1) for dx in (-1, 0, 1) for f in (0, 1)}
    for image in out:
        table[image.contiguous().numpy().tobytes()] += 1
    assert len(table) == 18
    assert sum((n - 250) ** 2 / 250 for n in table.values()) < 40.8


@pytest.mark.parametrize("cutout", [1, 2, 3, 7])
def test_cutout_is_one_square_cut_by_the_border(cutout: int) -> None:
    x = images(60)
    out = Augmentation(0, False, cutout)(x, generator=generator())
    centres = set()
    for image, result in zip(x, out, strict=True):
        fits = []
        for ci in range(9):
            for cj in range(7):
                expected = image.clone()
                for i in range(9):
                    for j in range(7):
                        low, high = -(cutout // 2), cutout - cutout // 2
                        if low <= i - ci < high and low <= j - cj < high:
                            expected[:, i, j] = 0
                if torch.equal(expected, result):
                    fits.append((ci, cj))
        assert len(fits) >= 1
        centres.add(fits[0])
    assert len(centres) > 20


@pytest.mark.parametrize("name", ["crop2-flip-cutout3", "flip", "cutout3", "none"])
def test_types_formats_and_inputs_are_kept(name: str) -> None:
    augmentation, x = augmentation_by_name(name), images()
    before, out = x.clone(), augmentation(x, generator=generator())
    assert torch.equal(x, before)
    assert (out.dtype, out.shape, out.is_contiguous()) == (x.dtype, x.shape, True)
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    last = augmentation(x.to(memory_format=torch.channels_last), generator=generator())
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(last, out)
    pixels = (x * 255).round().byte()
    assert torch.equal(
        augmentation(pixels, generator=generator()).float(), augmentation(pixels.float(), generator=generator())
    )


def test_randomness_is_the_generators_alone() -> None:
    x, before = images(), torch.get_rng_state()
    a, b, c = (Augmentation(2, True, 3)(x, generator=generator(s)) for s in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    used = generator()
    assert not torch.equal(Augmentation()(x, generator=used), Augmentation()(x, generator=used))


@pytest.mark.parametrize(
    ("name", "made"),
    [("none", (0, False, 0)), ("crop", (4, False, 0)), ("crop-flip", (4, True, 0)), ("crop12-flip", (12, True, 0)),
     ("flip-cutout5", (0, True, 5)), ("crop-cutout8", (4, False, 8)), ("crop-flip-cutout16", (4, True, 16))],
)  # fmt: skip
def test_names(name: str, made: tuple) -> None:
    assert augmentation_by_name(name) == Augmentation(*made)


@pytest.mark.parametrize(
    "name", ["", "flop", "flip-crop", "cropflip", "-flip", "crop-", "crop0", "cutout", "crop-none", "flip\n"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected none, or parts such as crop-flip"):
        augmentation_by_name(name)


def test_bad_requests() -> None:
    with pytest.raises(ValueError, match="crop"):
        Augmentation(-1)
    with pytest.raises(ValueError, match="cutout 8"):
        Augmentation(0, False, 8)(images(), generator=generator())
    with pytest.raises(ValueError, match="crop 7"):
        Augmentation(7)(images(), generator=generator())
    with pytest.raises(ValueError, match=r"\(B, C, H, W\)"):
        Augmentation()(torch.rand(2, 64), generator=generator())
