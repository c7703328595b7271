r"""A convolutional network that learns permuted MNIST, task after task (figure B8; paper B, Section 6.6).

The pixels of all images are permuted; every permutation is a task, the first is the original. A network is trained on
one task after another, and measured after each: its accuracy on this task and on all so far, and the eigenvalues of the
covariance of the second convolution layer's pooled output on this task's images, 20 channels times 4 x 4 places in a
row; the rank is the number of those above $10^{-4}$.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
import xarray as xr
from torch import Tensor

from symtheory.engine import cnn
from symtheory.engine.images import Loader
from symtheory.engine.training import Descent, train
from symtheory.figures import pictures
from symtheory.figures.base import Shard
from symtheory.figures.teacher import eigenvalues

#: Eigenvalues above it count.
CUT = 1e-4
#: Outputs of the second convolution layer that are measured.
PLACES = ("before activation", "after activation")


def permutations(tasks: int, pixels: int, seed: int) -> list[Tensor]:
    """The order of the pixels in each task.

    Args:
        tasks: Their number.
        pixels: Of an image.
        seed: Seed.

    Returns:
        The identity, then random permutations.

    >>> permutations(3, 4, 0)[0].tolist()
    [0, 1, 2, 3]
    """
    g = torch.Generator().manual_seed(seed + 30_000)
    return [torch.arange(pixels), *(torch.randperm(pixels, generator=g) for _ in range(tasks - 1))]


def trained(shard: Shard, x: Tensor, y: Tensor, classes: int) -> Iterator[tuple[cnn.Shape, Tensor, Tensor]]:
    """Train one network on one task after another.

    Args:
        shard: From :meth:`symtheory.figures.b8.Settings.shard`.
        x: Inputs, shape ``(samples, pixels)``.
        y: Labels.
        classes: Their number.

    Yields:
        After each task its pixels' order, the shape, and the weights that are run; clone what is kept.
    """
    shape, seed = cnn.Shape(classes=classes), shard["seed"]
    start = shape.start(torch.Generator().manual_seed(seed)).to(x.device)
    noise = torch.randn(shape.size, generator=torch.Generator().manual_seed(seed + 10_000))
    bias = (shard["sigma0"] * shape.scale() * noise).to(x.device)
    orders = [order.to(x.device) for order in permutations(shard["tasks"], x.shape[1], seed)]
    steps = shard["epochs"] * (len(y) // shard["batch"])

    def stream() -> Iterator[tuple[Tensor, Tensor]]:
        g = torch.Generator().manual_seed(seed + 20_000)
        for order in orders:
            for images, labels in islice(pictures.batches(x, y, shard["batch"], g), steps):
                yield images.index_select(1, order), labels

    rule = Descent(shard["lr"], shard["decay"])
    ends = [steps * (k + 1) for k in range(len(orders))]
    for order, (_, vector) in zip(orders, train(shape, start, bias, rule, stream(), ends), strict=True):
        yield shape, order, vector


def compute(shard: Shard, device: str = "cpu", load: Loader | None = None) -> xr.Dataset:
    """Train one network and measure it after each task.

    Args:
        shard: From :meth:`symtheory.figures.b8.Settings.shard`.
        device: Where to train.
        load: Where the data set comes from.

    Returns:
        ``accuracy`` (task) on the test images; ``recall`` (task), the mean accuracy over all tasks so far, on the
        images that are measured; ``spectrum`` (task, place, index); ``rank`` (task, place).
    """
    images = pictures.opened(shard, load)
    train, test = pictures.part(images.train, shard["samples"]), pictures.part(images.test, shard["tested"])
    train, test = train.to(device), test.to(device)
    seen, few = test.flat(), slice(shard["measured"])
    accuracy, recall, spectra, orders = [], [], [], []
    for shape, order, vector in trained(shard, train.flat(), train.labels, images.classes):
        orders.append(order)
        accuracy.append(cnn.evaluate(shape, vector, seen[:, order], test.labels)[1])
        back = [cnn.evaluate(shape, vector, seen[few, o], test.labels[few])[1] for o in orders]
        recall.append(sum(back) / len(back))
        z = cnn.outputs(shape, vector, seen[few, order])[1].flatten(1)
        spectra.append(torch.stack([eigenvalues(z), eigenvalues(z.relu())]).cpu())
    spectrum = torch.stack(spectra)
    return xr.Dataset(
        {
            "accuracy": ("task", accuracy),
            "recall": ("task", recall),
            "spectrum": (("task", "place", "index"), spectrum.numpy()),
            "rank": (("task", "place"), (spectrum > CUT).sum(-1).numpy()),
        },
        coords={
            "task": range(1, len(accuracy) + 1),
            "place": list(PLACES),
            "index": range(1, spectrum.shape[-1] + 1),
        },
    )
