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


class ResNet18(nn.Module):
    """The network.

    Args:
        classes: Number of classes.
        generator: Source of the initial weights: He's for convolutions, PyTorch's for the linear layers.
        penultimate: Units of the layer before the last.
        width: Channels of the first stage; 64 is ResNet18, less is a narrow copy of it.

    Raises:
        SymtheoryError: If a number is not positive.
    """

    def __init__(self, classes: int, generator: torch.Generator, penultimate: int = 128, width: int = 64) -> None:
        super().__init__()
        if min(classes, penultimate, width) < 1:
            got = f"{classes}, {penultimate} and {width}"
            raise SymtheoryError("a class, a unit and a channel", got, "such as 10, 128 and 64")
        blocks, below = [], width
        self.stem = nn.Sequential(skip_init(nn.Conv2d, 3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        for k, factor in enumerate(STAGES):
            channels = factor * width
            blocks += [BasicBlock(below, channels, 2 if k else 1), BasicBlock(channels, channels, 1)]
            below = channels
        self.blocks = nn.Sequential(*blocks)
        self.penultimate = skip_init(nn.Linear, below, penultimate)
        self.last = skip_init(nn.Linear, penultimate, classes)
        self._draw(generator)

    @torch.no_grad()
    def _draw(self, generator: torch.Generator) -> None:
        """Initial weights, from the generator alone."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.weight[:, 0].numel()
                module.weight.normal_(0, (2 / fan_out) ** 0.5, generator=generator)
            elif isinstance(module, nn.Linear):
                for p in (module.weight, module.bias):
                    p.uniform_(-(module.in_features**-0.5), module.in_features**-0.5, generator=generator)

    def pooled(self, x: Tensor) -> Tensor:
        """What the blocks make of an image, averaged over places; the input of the penultimate layer.

        Args:
            x: Shape ``(n, 3, height, width)``.

        Returns:
            Shape ``(n, 8 * width)``.
        """
        return self.blocks(self.stem(x)).mean((2, 3))

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
