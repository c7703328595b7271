r"""Random changes of a batch of images, on the device where it lies.

Every function takes images of shape ``(n, channels, height, width)`` and a generator on their device, and draws anew
for each image. Colours are numbers in $[0, 1]$. :func:`simclr_view` puts them together with the settings of
SimCLR (Chen et al. 2020, Appendix A).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from symtheory.errors import SymtheoryError

#: Weights of red, green and blue in the brightness of a pixel (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)
#: Boxes tried for a crop before the whole image is taken.
_TRIES = 10


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=generator, device=generator.device)


def _each(values: Tensor) -> Tensor:
    """One number per image, shaped to broadcast over its pixels."""
    return values.reshape(-1, 1, 1, 1)


def _sometimes(changed: Tensor, images: Tensor, chance: float, generator: torch.Generator) -> Tensor:
    """The change in a random part of the images."""
    return torch.where(_each(_uniform(len(images), 0.0, 1.0, generator) < chance), changed, images)


def crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Pad with zeros on all sides and cut a window of the old size at a random place.

    Args:
        images: Of any type.
        padding: Pixels added on each side.
        generator: Source of randomness.

    Returns:
        Images of the same shape.
    """
    n, _, height, width = images.shape
    padded = functional.pad(images, (padding,) * 4)
    top, left = torch.randint(2 * padding + 1, (2, n), generator=generator, device=generator.device)
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    which = torch.arange(n, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror every other image, at random, left to right.

    Args:
        images: Of any type.
        generator: Source of randomness.

    Returns:
        Images of the same shape.
    """
    return _sometimes(images.flip(-1), images, 0.5, generator)


def boxes(n: int, size: tuple[int, int], area: Sequence[float], generator: torch.Generator) -> Tensor:
    """Random windows with sides between 3:4 and 4:3, by rejection.

    Args:
        n: How many.
        size: Height and width of the image.
        area: Smallest and largest part of its area.
        generator: Source of randomness.

    Returns:
        Top, left, height and width in pixels, not rounded, shape ``(4, n)``; the whole image where no try fits.
    """
    share = _uniform(n * _TRIES, area[0], area[1], generator).reshape(_TRIES, n) * size[0] * size[1]
    ratio = _uniform(n * _TRIES, math.log(3 / 4), math.log(4 / 3), generator).reshape(_TRIES, n).exp()
    height, width = (share / ratio).sqrt(), (share * ratio).sqrt()
    fits = (height <= size[0]) & (width <= size[1])
    chosen = fits.int().argmax(0, keepdim=True)  # the first that fits
    height, width = (
        torch.where(fits.any(0), side.gather(0, chosen)[0], float(full))
        for side, full in zip((height, width), size, strict=True)
    )
    top = _uniform(n, 0.0, 1.0, generator) * (size[0] - height)
    left = _uniform(n, 0.0, 1.0, generator) * (size[1] - width)
    return torch.stack([top, left, height, width])


def cut(images: Tensor, windows: Tensor) -> Tensor:
    """Stretch a window of each image to the old size, bilinearly.

    Args:
        images: Numbers.
        windows: From :func:`boxes`. A window is never larger than the image, so there is nothing to smooth.

    Returns:
        Images of the same shape.
    """
    height, width = images.shape[-2:]
    top, left, rows, columns = windows.to(images.dtype)
    zero = torch.zeros_like(top)
    across = torch.stack([columns / width, zero, (2 * left + columns) / width - 1], -1)
    down = torch.stack([zero, rows / height, (2 * top + rows) / height - 1], -1)
    grid = functional.affine_grid(torch.stack([across, down], 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def grey(images: Tensor) -> Tensor:
    """Brightness in all three channels.

    Args:
        images: Three channels.

    Returns:
        Images of the same shape.

    Raises:
        SymtheoryError: If there are not three channels.

    >>> round(float(grey(torch.tensor([0.0, 1.0, 0.0]).reshape(1, 3, 1, 1))[0, 0]), 3)
    0.587
    """
    if images.shape[1] != 3:
        raise SymtheoryError("images of three channels", f"{images.shape[1]}", "leave colours out for grey images")
    weights = torch.tensor(LUMA, dtype=images.dtype, device=images.device).reshape(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True).expand_as(images)


def turn_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue, saturation and value kept.

    Args:
        images: Three channels in [0, 1].
        turn: Part of a full turn for each image, shape ``(n,)``.

    Returns:
        Images of the same shape.
    """
    value, top = images.max(1)
    chroma = value - images.amin(1)
    safe = torch.where(chroma > 0, chroma, 1.0)
    red, green, blue = images.unbind(1)
    sectors = torch.stack([(green - blue) / safe, 2 + (blue - red) / safe, 4 + (red - green) / safe])
    hue = sectors.gather(0, top[None])[0] / 6 + turn.reshape(-1, 1, 1)
    # a channel falls from the value by the chroma, as a trapezoid of the hue
    shift = torch.tensor([5.0, 3.0, 1.0], dtype=images.dtype, device=images.device).reshape(1, 3, 1, 1)
    k = torch.remainder(shift + 6 * hue[:, None], 6)
    return value[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


def jitter(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue, in an order that is drawn for each batch.

    Args:
        images: Three channels in [0, 1].
        strength: 1 for factors from 0.2 to 1.8 and a fifth of a turn of the hue, as in SimCLR.
        generator: Source of randomness.

    Returns:
        Images of the same shape.
    """
    n, spread = len(images), 0.8 * strength
    factors = [_each(_uniform(n, max(0.0, 1 - spread), 1 + spread, generator)) for _ in range(3)]
    turn = _uniform(n, -0.2 * strength, 0.2 * strength, generator)
    for which in torch.randperm(4, generator=generator, device=generator.device).tolist():
        if which == 3:
            images = turn_hue(images, turn)
            continue
        base = (torch.zeros_like(images), grey(images).mean((1, 2, 3), keepdim=True), grey(images))[which]
        images = (base + factors[which] * (images - base)).clamp(0, 1)
    return images


def blur(images: Tensor, sigma: Tensor, size: int) -> Tensor:
    """Smooth with a Gaussian, another for each image.

    Args:
        images: Numbers.
        sigma: Its standard deviation in pixels, shape ``(n,)``.
        size: Width of the kernel in pixels, odd.

    Returns:
        Images of the same shape; borders are reflected.

    Raises:
        SymtheoryError: If the width is even.
    """
    if size % 2 == 0:
        raise SymtheoryError("a kernel of odd width", f"{size}", "add one")
    n, channels, height, width = images.shape
    at = torch.arange(size, device=images.device) - size // 2
    kernel = torch.exp(-0.5 * (at / sigma[:, None]) ** 2).to(images.dtype)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None]
    padded = functional.pad(images, (size // 2,) * 4, mode="reflect").reshape(1, n * channels, height + size - 1, -1)
    across = functional.conv2d(padded, kernel[:, :, None], groups=n * channels)
    return functional.conv2d(across, kernel[..., None], groups=n * channels).reshape(n, channels, height, width)


def simclr_view(
    images: Tensor, generator: torch.Generator, *, strength: float = 0.5, blurred: float = 0.0, least: float = 0.08
) -> Tensor:
    """One random view of each image: a stretched crop, a flip, changed colours, now and then grey or blurred.

    Args:
        images: Three channels in [0, 1].
        generator: Source of randomness.
        strength: Of the change of colours; SimCLR takes 0.5 for CIFAR-10 and 1 for ImageNet.
        blurred: Part of the images that are blurred; none for CIFAR-10, half for ImageNet.
        least: Smallest part of the area that a crop keeps.

    Returns:
        Images of the same shape.
    """
    height, width = images.shape[-2:]
    found = flip(cut(images, boxes(len(images), (height, width), (least, 1.0), generator)), generator)
    found = _sometimes(jitter(found, strength, generator), found, 0.8, generator)
    found = _sometimes(grey(found), found, 0.2, generator)
    if blurred:
        smooth = blur(found, _uniform(len(found), 0.1, 2.0, generator), 2 * (height // 20) + 1)
        found = _sometimes(smooth, found, blurred, generator)
    return found
