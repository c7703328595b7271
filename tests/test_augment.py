"""Augmentations against naive loops over single images; all randomness from one generator."""

import colorsys

import numpy as np
import pytest
import torch

from symtheory.engine import augment
from symtheory.errors import SymtheoryError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    return torch.rand(40, 3, 12, 10, generator=seeded(3), dtype=torch.float64)


@pytest.fixture
def alone(monkeypatch):
    """Draws of a function, kept: what it did can then be done again by hand."""
    kept = []
    plain = augment._uniform

    def keep(*args):
        kept.append(plain(*args))
        return kept[-1]

    monkeypatch.setattr(augment, "_uniform", keep)
    return kept


def test_a_crop_is_a_window_of_the_padded_image(images):
    bytes_ = (255 * images).to(torch.uint8)
    found, places = augment.crop(bytes_, 3, seeded()), set()
    padded = np.pad(bytes_.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)))
    for one, big in zip(found.numpy(), padded, strict=True):
        fits = [(i, j) for i in range(7) for j in range(7) if (big[:, i : i + 12, j : j + 10] == one).all()]
        assert len(fits) == 1
        places |= set(fits)
    assert len(places) > 20 and found.dtype == torch.uint8


def test_half_of_the_images_are_flipped(images):
    found = augment.flip(images.repeat(50, 1, 1, 1), seeded())
    flipped = (found == images.repeat(50, 1, 1, 1).flip(-1)).flatten(1).all(1)
    kept = (found == images.repeat(50, 1, 1, 1)).flatten(1).all(1)
    assert bool((flipped ^ kept).all()) and 900 < int(flipped.sum()) < 1100


def test_a_whole_window_changes_nothing_and_a_whole_pixel_window_is_a_stretched_crop(images):
    whole = torch.tensor([[0.0], [0.0], [12.0], [10.0]]).expand(4, 40)
    assert torch.allclose(augment.cut(images, whole), images, atol=1e-12)
    window = torch.tensor([[2.0], [4.0], [6.0], [5.0]]).expand(4, 40)
    inner = torch.nn.functional.interpolate(images[:, :, 2:8, 4:9], size=(12, 10), mode="bilinear", align_corners=False)
    found = augment.cut(images, window)
    assert torch.allclose(found[:, :, 1:-1, 1:-1], inner[:, :, 1:-1, 1:-1], atol=1e-12)


def test_windows_lie_in_the_image_with_the_area_and_sides_asked_for():
    top, left, height, width = augment.boxes(5000, (32, 32), (0.08, 1.0), seeded())
    assert float(top.min()) >= 0 and float(left.min()) >= 0
    assert float((top + height).max()) <= 32.001 and float((left + width).max()) <= 32.001
    share, ratio = height * width / 1024, width / height
    assert 0.079 < float(share.min()) < 0.1 and float(share.max()) <= 1.001
    assert 0.749 < float(ratio.min()) < 0.76 and 1.31 < float(ratio.max()) < 1.334
    assert 0.4 < float(share.mean()) < 0.55


def test_hue_turns_as_in_the_standard_library(images):
    turn = torch.linspace(-0.5, 0.7, 40, dtype=torch.float64)
    images[0, :, 0, 0] = 0.3  # grey: no hue
    images[1, :, 0, 0] = 0.0
    found = augment.turn_hue(images, turn)
    for n in range(40):
        for i, j in ((0, 0), (3, 7), (11, 9)):
            h, s, v = colorsys.rgb_to_hsv(*images[n, :, i, j].tolist())
            expected = colorsys.hsv_to_rgb((h + float(turn[n])) % 1, s, v)
            assert found[n, :, i, j].tolist() == pytest.approx(expected, abs=1e-9)


def test_jitter_of_no_strength_changes_nothing(images):
    assert torch.allclose(augment.jitter(images, 0.0, seeded()), images, atol=1e-7)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_brightness_contrast_and_saturation_move_away_from_their_base(images, alone, monkeypatch, which):
    monkeypatch.setattr(augment.torch, "randperm", lambda *_, **__: torch.tensor([which]))
    found = augment.jitter(images, 0.5, seeded())
    factor = alone[which].double()
    for n in range(40):
        bright = sum(w * images[n, c] for c, w in enumerate(augment.LUMA))
        base = (torch.zeros(12, 10), bright.mean().expand(12, 10), bright)[which]
        expected = (base + factor[n] * (images[n] - base)).clamp(0, 1)
        assert torch.allclose(found[n], expected.double(), atol=1e-6)
    assert float(factor.min()) < 0.7 and float(factor.max()) > 1.3


def test_blur_is_a_sum_over_neighbours(images):
    sigma = torch.linspace(0.3, 2.0, 40, dtype=torch.float64)
    found = augment.blur(images, sigma, 5)
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    for n in (0, 17, 39):
        weights = np.exp(-0.5 * (np.arange(-2, 3) / float(sigma[n])) ** 2)
        kernel = np.outer(weights, weights) / weights.sum() ** 2
        for i, j in ((0, 0), (6, 4), (11, 9)):
            assert float(found[n, 1, i, j]) == pytest.approx((padded[n, 1, i : i + 5, j : j + 5] * kernel).sum())
    with pytest.raises(SymtheoryError, match="odd width, got 4"):
        augment.blur(images, sigma, 4)


def test_a_fifth_of_the_views_is_grey_and_all_repeat_with_their_seed(images):
    many = torch.rand(2000, 3, 16, 16, generator=seeded(1))
    found = augment.simclr_view(many, seeded(), blurred=0.5)
    assert torch.equal(found, augment.simclr_view(many, seeded(), blurred=0.5))
    assert not torch.equal(found, augment.simclr_view(many, seeded(1), blurred=0.5))
    colourless = ((found[:, 0] - found[:, 1]).abs().amax((1, 2)) < 1e-6).float().mean()
    assert 0.17 < float(colourless) < 0.23
    assert found.shape == many.shape and float(found.min()) >= -1e-6 and float(found.max()) <= 1 + 1e-6


def test_grey_images_have_no_colours_to_change():
    with pytest.raises(SymtheoryError, match="three channels, got 1"):
        augment.grey(torch.rand(2, 1, 4, 4))


def test_the_global_generator_is_left_alone(images):
    before = torch.get_rng_state()
    augment.simclr_view(images.float(), seeded(), blurred=0.5)
    augment.crop(images, 2, seeded())
    assert torch.equal(before, torch.get_rng_state())
