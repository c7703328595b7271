r"""Train every configuration of a sweep in one tensor program.

Configurations (learning rates, decays, noise levels, seeds) lie along the leading dim of every parameter. Each sees the
data stream it is assigned, so configurations that differ only in a learning rate see the very same samples. The result
is, for each configuration, the trajectory of a plain loop over it alone with the same seed; tests compare them.

Streams are drawn on the CPU, whatever the device, so that every path sees the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad, vmap

from symtheory.engine.model import Loss
from symtheory.engine.updates import Update, sgd
from symtheory.errors import SymtheoryError
from symtheory.spec.params import Params

#: Data of several steps: name to a tensor of shape (streams, steps, ...).
Block = dict[str, Tensor]

#: A kernel that advances all configurations through a block, in place: ``kernel(params, block, stream, lr, decay)``.
Kernel = Callable[[Params, Block, Tensor, Tensor, Tensor], None]


@dataclass(frozen=True)
class Sweep:
    r"""What to train and how.

    Attributes:
        loss: $\ell(\theta, x)$ of *one* configuration and one step's data, a pure function.
        lr: Learning rate of each configuration, shape ``(C,)``.
        decay: PyTorch's ``weight_decay`` of each configuration, shape ``(C,)``.
        stream: Index of the stream each configuration sees, shape ``(C,)``.
        update: The optimiser.
        kernel: A faster path for plain SGD on this loss; it must give the same trajectories.
    """

    loss: Loss
    lr: Tensor
    decay: Tensor
    stream: Tensor
    update: Update
    kernel: Kernel | None = None

    def __post_init__(self) -> None:
        shapes = {tuple(t.shape) for t in (self.lr, self.decay, self.stream)}
        if len(shapes) != 1 or self.lr.dim() != 1:
            raise SymtheoryError(
                "lr, decay and stream of one shape (configurations,)", f"{sorted(shapes)}", "give one value each"
            )


def plain_sgd(loss: Loss, lr: Tensor, stream: Tensor, kernel: Kernel | None = None) -> Sweep:
    """A sweep over learning rates with SGD, no decay, no momentum.

    Args:
        loss: Loss of one configuration.
        lr: Shape ``(C,)``.
        stream: Shape ``(C,)``.
        kernel: Optional faster path.

    Returns:
        The sweep.
    """
    return Sweep(loss, lr, torch.zeros_like(lr), stream, sgd(), kernel)


def train(
    sweep: Sweep, start: Params, blocks: Iterable[Block], *, device: str = "cpu", use_kernel: bool = True
) -> Iterator[Params]:
    """Parameters after every block.

    Args:
        sweep: What to train.
        start: Initial parameters with leading dim ``C``; not modified.
        blocks: Data, block by block.
        device: Where to train.
        use_kernel: Use the kernel on a CPU if there is one.

    Yields:
        Parameters after each block. They are the working copy: clone what is kept.

    Raises:
        SymtheoryError: If a parameter has no leading dim of one entry per configuration.
    """
    count = len(sweep.lr)
    bad = {k: tuple(p.shape) for k, p in start.items() if p.dim() == 0 or len(p) != count}
    if bad:
        raise SymtheoryError(f"parameters of shape ({count}, ...)", f"{bad}", "repeat them for each configuration")
    params = {k: p.to(device, copy=True).contiguous() for k, p in start.items()}
    lr, decay, stream = (t.to(device) for t in (sweep.lr, sweep.decay, sweep.stream))
    if use_kernel and sweep.kernel is not None and device == "cpu":
        for block in blocks:
            sweep.kernel(params, block, stream, lr, decay)
            yield params
        return
    slope = vmap(grad(sweep.loss))
    state, t = sweep.update.start(params), 0
    for block in blocks:
        here = {k: v.to(device, non_blocking=True) for k, v in block.items()}
        for i in range(next(iter(here.values())).shape[1]):
            t += 1
            batch = {k: v[:, i][stream] for k, v in here.items()}
            params, state = sweep.update.step(params, slope(params, batch), state, lr, decay, t)
        yield params


def streams(
    draw: Callable[[torch.Generator, int], Block], seeds: Sequence[int], steps: int, block: int
) -> Iterator[Block]:
    """One stream per seed, drawn block by block on the CPU.

    A stream does not depend on the other seeds, but it does depend on the block length: keep it fixed.

    Args:
        draw: ``draw(generator, steps)`` to tensors of shape ``(steps, ...)``.
        seeds: One per stream.
        steps: Total number of steps.
        block: Steps per block; the last block may be shorter.

    Yields:
        Tensors of shape ``(streams, steps of the block, ...)``.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    for begin in range(0, steps, block):
        parts = [draw(g, min(block, steps - begin)) for g in generators]
        yield {k: torch.stack([p[k] for p in parts]) for k in parts[0]}
