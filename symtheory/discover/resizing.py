"""A copy of a network with smaller tensors, in which the modules remember the new sizes."""

from __future__ import annotations

import copy

import torch
from torch import nn

from symtheory.spec.params import Params

#: Attributes in which modules keep sizes that follow a tensor's: type, attribute, tensor, axis.
SIZES: tuple[tuple[type[nn.Module], str, str, int], ...] = (
    (nn.Linear, "out_features", "weight", 0),
    (nn.Linear, "in_features", "weight", 1),
    (nn.modules.conv._ConvNd, "out_channels", "weight", 0),
    (nn.modules.conv._ConvNd, "in_channels", "weight", 1),
    (nn.modules.batchnorm._NormBase, "num_features", "weight", 0),
    (nn.modules.batchnorm._NormBase, "num_features", "running_mean", 0),
    (nn.PReLU, "num_parameters", "weight", 0),
    (nn.Embedding, "embedding_dim", "weight", 1),
    (nn.RNNBase, "hidden_size", "weight_hh_l0", 1),
    (nn.RNNBase, "input_size", "weight_ih_l0", 1),
)


def resized(model: nn.Module, changed: Params) -> nn.Module:
    """A copy of a network with tensors of other shapes, and the sizes its modules remember; what is tied stays tied.

    Args:
        model: The network.
        changed: New values by name.

    Returns:
        The copy.

    Raises:
        ValueError: If a grouped convolution would lose single channels.
    """
    smaller = copy.deepcopy(model)
    for name, value in changed.items():
        path, _, leaf = name.rpartition(".")
        old = getattr(smaller.get_submodule(path), leaf)
        new = value.detach().clone()
        if isinstance(old, nn.Parameter):
            new = nn.Parameter(new, requires_grad=old.requires_grad)
        for module in smaller.modules():
            for own in (module._parameters, module._buffers):
                for key in [k for k, t in own.items() if t is old]:
                    setattr(module, key, new)
                    _resize(module, key, old.shape)
    return smaller


def _resize(module: nn.Module, leaf: str, before: torch.Size) -> None:
    """Sizes that a module remembers, after one of its tensors changed its shape."""
    now = getattr(module, leaf).shape
    if isinstance(module, nn.modules.conv._ConvNd) and leaf == "weight" and module.groups > 1:
        _regroup(module, before)
        return
    for kind, attribute, tensor, axis in SIZES:
        if isinstance(module, kind) and tensor == leaf:
            flipped = isinstance(module, nn.modules.conv._ConvTransposeNd)
            setattr(module, attribute, now[1 - axis if flipped else axis])


def _regroup(module: nn.modules.conv._ConvNd, before: torch.Size) -> None:
    """Only depthwise convolutions can lose channels one by one."""
    if before[1] != 1 or before[0] != module.groups:
        raise ValueError("a grouped convolution cannot lose single channels")
    module.groups = module.in_channels = module.out_channels = module.weight.shape[0]
