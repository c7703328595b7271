r"""Contrastive training without labels, as SimCLR (Chen et al. 2020).

Every image of a batch is changed twice at random (:func:`symtheory.engine.augment.simclr_view`), and the loss, NT-Xent,
asks the network to tell for each of the $2n$ views which other one shows the same image. For outputs $z_i$ with
$s_{ij} = z_i^Tz_j/(\|z_i\|\|z_j\|)$, temperature $\tau$ and $p(i)$ the other view of the image of $i$ it is

$$L = -\frac1{2n}\sum_i\log\frac{e^{s_{ip(i)}/\tau}}{\sum_{k\neq i}e^{s_{ik}/\tau}}.$$

It depends on angles alone: a rotation of all $z$ does not change it, nor does the length of any of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init
from torch.optim import Optimizer

from symtheory.engine import augment, epochs
from symtheory.engine.epochs import Measure
from symtheory.engine.images import Split, scaled, shuffled
from symtheory.engine.resnet import Trunk, draw
from symtheory.engine.resuming import Bookmark
from symtheory.engine.supervised import Normalise
from symtheory.errors import SymtheoryError


@dataclass(frozen=True)
class Plan(epochs.Plan):
    r"""How long and in what steps, and with what loss and views.

    Attributes:
        temperature: $\tau$.
        least: Smallest part of the area that a view keeps.
    """

    temperature: float = 0.5
    least: float = 0.08

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch < 2 or not self.temperature > 0 or not 0 < self.least <= 1:
            got = f"batch {self.batch}, temperature {self.temperature}, least {self.least}"
            raise SymtheoryError("two images a batch, temperature > 0, 0 < least <= 1", got, "change them")


class Network(nn.Module):
    """ResNet18 with a projection head of two layers.

    As in the code of SimCLR's authors the hidden layer of the head is as wide as the features, and is normalised over
    the batch; neither layer has a bias. No normalisation follows the last layer: it would single out axes, while the
    loss does not change when all outputs are rotated.

    Args:
        outputs: Units of the last layer.
        generator: Source of the initial weights, see :func:`symtheory.engine.resnet.draw`.
        width: Channels of the first stage; 64 is ResNet18.

    Raises:
        SymtheoryError: If a number is not positive.
    """

    def __init__(self, outputs: int, generator: torch.Generator, width: int = 64) -> None:
        super().__init__()
        if min(outputs, width) < 1:
            raise SymtheoryError("an output and a channel", f"{outputs} and {width}", "such as 128 and 64")
        self.trunk = Trunk(generator, width)
        self.head = nn.Sequential(
            skip_init(nn.Linear, self.trunk.units, self.trunk.units, bias=False),
            nn.BatchNorm1d(self.trunk.units),
            nn.ReLU(),
            skip_init(nn.Linear, self.trunk.units, outputs, bias=False),
        )
        draw(self.head, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Features after the head.

        Args:
            x: Shape ``(n, 3, height, width)``.

        Returns:
            Shape ``(n, outputs)``.
        """
        return self.head(self.trunk.pooled(x))


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    r"""The loss $L$ above, never in less than single precision.

    Args:
        first: Outputs for one view of each image, shape ``(n, units)``.
        second: Outputs for the other, in the same order.
        temperature: $\tau$.

    Returns:
        Scalar.

    Raises:
        SymtheoryError: If there is no other image to tell a view from.

    >>> one = torch.eye(2, dtype=torch.float64)  # s is 1 between views of an image, else 0
    >>> expected = -torch.tensor(1.0).exp().div(torch.tensor(1.0).exp() + 2).log()
    >>> bool((nt_xent(one, 3 * one, 1.0) - expected).abs() < 1e-6)
    True
    """
    if first.shape != second.shape or first.dim() != 2 or len(first) < 2:
        got = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise SymtheoryError("two equal shapes (n, units) with n >= 2", got, "take larger batches")
    with torch.autocast(first.device.type, enabled=False):
        z = torch.cat([first, second])
        z = functional.normalize(z if z.dtype == torch.float64 else z.float())
        count, alike = len(z), z @ z.T / temperature
        itself = torch.eye(count, dtype=torch.bool, device=z.device)
        other = torch.arange(count, device=z.device).roll(count // 2)
        return functional.cross_entropy(alike.masked_fill(itself, -torch.inf), other)


def views(split: Split, plan: Plan, epoch: int) -> Iterator[Tensor]:
    """Two views of the images of every batch of an epoch.

    Args:
        split: On the device.
        plan: What to do.
        epoch: Its number, from 0.

    Yields:
        Numbers between 0 and 1; the first half are views of the batch, the second half others in the same order.
    """
    device = split.images.device
    order = epochs.stream(torch.device("cpu"), plan.seed, epoch, 0)
    g = epochs.stream(device, plan.seed, epoch, 1)
    for index in shuffled(len(split), plan.batch, order):
        images = scaled(split.images[index.to(device)])
        yield torch.cat([augment.simclr_view(images, g, least=plan.least) for _ in range(2)])


def train(
    model: nn.Module,
    optimizer: Optimizer,
    split: Split,
    normalise: Normalise,
    plan: Plan,
    measure: Measure,
    *,
    bookmark: Bookmark | None = None,
) -> list[dict[str, float]]:
    """Train a network, from where an interrupted training of the same settings ended if it kept its state.

    Args:
        model: On the device of the images, its channels last in memory; changed in place. Both views of a batch go
            through it at once.
        optimizer: Of its parameters; its learning rate follows the plan.
        split: Images on the device; their labels are not looked at.
        normalise: Made from the training images.
        plan: What to do.
        measure: Called after every epoch with the model in evaluation mode.
        bookmark: Where to keep states; default about every minute, if a folder was named.

    Returns:
        What ``measure`` gave, one entry an epoch.

    Raises:
        SymtheoryError: If the loss is not finite.
    """
    device = split.images.device
    run = epochs.compiled(model, device)

    def loss(both: Tensor) -> Tensor:
        first, second = run(normalise.colours(both)).chunk(2)
        return nt_xent(first, second, plan.temperature)

    steps = len(split) // plan.batch
    return epochs.train(
        model, optimizer, plan, steps, lambda epoch: views(split, plan, epoch), loss, measure,
        device=device, bookmark=bookmark,
    )  # fmt: skip
