r"""ResNet18 for images of 32 by 32 pixels, with a narrow fully connected layer before the last one.

As He et al. (2016) for four stages of two basic blocks, with the usual changes for small images: the first convolution
is 3 by 3 with stride 1, and no pooling follows it. Between the pooled features and the classes lies one layer of 128
units, the *penultimate* layer, whose outputs the figures look at, before and after its activation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from symtheory.errors import SymtheoryError

#: Channels of the four stages, in units of the width.
STAGES = (1, 2, 4, 8)


class BasicBlock(nn.Module):
    """Two 3 by 3 convolutions with a shortcut; the network that it is part of draws its weights.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        stride: Of the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = skip_init(nn.Conv2d, inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = skip_init(nn.Conv2d, outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                skip_init(nn.Conv2d, inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """One block.

        Args:
            x: Shape ``(n, inputs, height, width)``.

        Returns:
            Shape ``(n, outputs, height / stride, width / stride)``.
        """
        inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(inner + self.shortcut(x))


@torch.no_grad()
def draw(module: nn.Module, generator: torch.Generator) -> None:
    """Initial weights: He's for convolutions, PyTorch's for linear layers.

    Args:
        module: Changed in place, its parts in order.
        generator: Source of randomness.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            fan_out = part.weight[:, 0].numel()
            part.weight.normal_(0, (2 / fan_out) ** 0.5, generator=generator)
        elif isinstance(part, nn.Linear):
            for p in part.parameters():
                p.uniform_(-(part.in_features**-0.5), part.in_features**-0.5, generator=generator)


class Trunk(nn.Module):
    """All of the network but its fully connected layers.

    Args:
        generator: Source of the initial weights.
        width: Channels of the first stage; 64 is ResNet18, less is a narrow copy of it.

    Raises:
        SymtheoryError: If there is no channel.
    """

    def __init__(self, generator: torch.Generator, width: int = 64) -> None:
        super().__init__()
        if width < 1:
            raise SymtheoryError("a channel", f"{width}", "such as 64")
        blocks, below = [], width
        self.stem = nn.Sequential(skip_init(nn.Conv2d, 3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        for k, factor in enumerate(STAGES):
            channels = factor * width
            blocks += [BasicBlock(below, channels, 2 if k else 1), BasicBlock(channels, channels, 1)]
            below = channels
        self.blocks = nn.Sequential(*blocks)
        self.units = below
        draw(self, generator)

    def pooled(self, x: Tensor) -> Tensor:
        """What the blocks make of an image, averaged over places.

        Args:
            x: Shape ``(n, 3, height, width)``.

        Returns:
            Shape ``(n, units)``, where ``units`` is eight times the width.
        """
        return self.blocks(self.stem(x)).mean((2, 3))


class ResNet18(Trunk):
    """The network.

    Args:
        classes: Number of classes.
        generator: Source of the initial weights, see :func:`draw`.
        penultimate: Units of the layer before the last.
        width: Channels of the first stage; 64 is ResNet18, less is a narrow copy of it.

    Raises:
        SymtheoryError: If a number is not positive.
    """

    def __init__(self, classes: int, generator: torch.Generator, penultimate: int = 128, width: int = 64) -> None:
        if min(classes, penultimate, width) < 1:
            got = f"{classes}, {penultimate} and {width}"
            raise SymtheoryError("a class, a unit and a channel", got, "such as 10, 128 and 64")
        super().__init__(generator, width)
        self.penultimate = skip_init(nn.Linear, self.units, penultimate)
        self.last = skip_init(nn.Linear, penultimate, classes)
        for layer in (self.penultimate, self.last):
            draw(layer, generator)

    def features(self, x: Tensor) -> Tensor:
        """Output of the penultimate layer before its activation.

        Args:
            x: Shape ``(n, 3, height, width)``.

        Returns:
            Shape ``(n, penultimate)``.
        """
        return self.penultimate(self.pooled(x))

    def forward(self, x: Tensor) -> Tensor:
        """Logits.

        Args:
            x: Shape ``(n, 3, height, width)``.

        Returns:
            Shape ``(n, classes)``.
        """
        return self.last(torch.relu(self.features(x)))
