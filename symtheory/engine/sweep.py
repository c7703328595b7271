r"""Train every configuration of a sweep in one tensor program.

Configurations (learning rates, decays, noise levels, seeds) lie along the leading dim of every parameter. Each sees the
data stream it is assigned, so configurations that differ only in a learning rate see the very same samples. The result
is, for each configuration, the trajectory of a plain loop over it alone with the same seed; tests compare them.

Streams are drawn on the CPU, whatever the device, so that every path sees the same numbers. On a CPU a step is a
batched gradient, a compiled one (:func:`torch.compile`), or a block of steps in a kernel of the model's own; on a GPU
blocks of steps are replayed as CUDA graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from symtheory.engine.model import Loss
from symtheory.engine.stepping import Block, Replay, cuda_graph, one_step
from symtheory.engine.updates import State, Update, sgd
from symtheory.errors import SymtheoryError
from symtheory.spec.params import Params

#: A kernel that advances all configurations through a block of steps, parameters and optimiser state in place:
#: ``kernel(params, state, fixed, block, stream, lr, decay, t)``, with ``t`` the steps made before.
Kernel = Callable[[Params, State, Params, Block, Tensor, Tensor, Tensor, int], None]


@dataclass(frozen=True)
class Sweep:
    r"""What to train and how.

    Attributes:
        loss: $\ell(\theta, x)$ of *one* configuration and one step's data, a pure function.
        lr: Learning rate of each configuration, shape ``(C,)``.
        decay: PyTorch's ``weight_decay`` of each configuration, shape ``(C,)``.
        stream: Index of the stream each configuration sees, shape ``(C,)``.
        update: The optimiser.
        kernel: A faster path on a CPU for this loss and update; it must give the same trajectories.
        fixed: Tensors of shape ``(C, ...)`` that the loss sees among the parameters but that are not trained: static
            biases, masks of frozen weights, dropout rates.
    """

    loss: Loss
    lr: Tensor
    decay: Tensor
    stream: Tensor
    update: Update
    kernel: Kernel | None = None
    fixed: Params = field(default_factory=dict)

    def __post_init__(self) -> None:
        shapes = {tuple(t.shape) for t in (self.lr, self.decay, self.stream)}
        if len(shapes) != 1 or self.lr.dim() != 1:
            raise SymtheoryError(
                "lr, decay and stream of one shape (configurations,)", f"{sorted(shapes)}", "give one value each"
            )
        _require_leading(self.fixed, len(self.lr))


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
    sweep: Sweep,
    start: Params,
    blocks: Iterable[Block],
    *,
    device: str = "cpu",
    use_kernel: bool = True,
    compiled: bool = False,
) -> Iterator[Params]:
    """Parameters after every block.

    Args:
        sweep: What to train.
        start: Initial parameters with leading dim ``C``; not modified.
        blocks: Data, block by block.
        device: Where to train.
        use_kernel: Use the kernel on a CPU if there is one.
        compiled: Compile the step; worth it from some ten thousand steps on, and it needs a C++ compiler.

    Yields:
        Parameters after each block. They are the working copy: clone what is kept.

    Raises:
        SymtheoryError: If a parameter has no leading dim of one entry per configuration, or shares a name with a fixed
            tensor.
    """
    _require_leading(start, len(sweep.lr))
    if clash := sorted(set(start) & set(sweep.fixed)):
        raise SymtheoryError("trained and fixed tensors of different names", f"both: {clash}", "rename one of them")
    params = {k: p.to(device, copy=True).contiguous() for k, p in start.items()}
    fixed = {k: p.to(device) for k, p in sweep.fixed.items()}
    lr, decay, stream = (t.to(device) for t in (sweep.lr, sweep.decay, sweep.stream))
    state, t = sweep.update.start(params), 0
    if use_kernel and sweep.kernel is not None and device == "cpu":
        for block in blocks:
            sweep.kernel(params, state, fixed, block, stream, lr, decay, t)
            t += _steps(block)
            yield params
        return
    step = one_step(sweep.loss, sweep.update, lr, decay, stream, fixed, compiled=compiled)
    if torch.device(device).type == "cuda":
        replay = Replay(step, params, state, cuda_graph)
        for block in blocks:
            replay.advance(block)
            yield params
        return
    # a compiled step would be compiled anew for every number, not for every tensor
    clock = (lambda n: torch.tensor(float(n), dtype=torch.float64)) if compiled else (lambda n: n)
    for block in blocks:
        for i in range(_steps(block)):
            t += 1
            params, state = step(params, state, {k: v[:, i] for k, v in block.items()}, clock(t))
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


def minibatches(data: Block, size: int) -> Callable[[torch.Generator, int], Block]:
    """A finite data set as a stream of random minibatches, each without repetition.

    Args:
        data: Name to tensor of shape ``(samples, ...)``.
        size: Samples a step.

    Returns:
        ``draw(generator, steps)`` for :func:`streams`: tensors of shape ``(steps, size, ...)``.

    Raises:
        SymtheoryError: If the tensors differ in length or hold fewer samples than a batch.
    """
    lengths = {k: len(v) for k, v in data.items()}
    if len(set(lengths.values())) != 1 or not 0 < size <= min(lengths.values()):
        raise SymtheoryError(
            f"tensors of one length, at least {size}", f"{lengths}", "give every sample all parts, or a smaller batch"
        )
    count = next(iter(lengths.values()))

    def draw(generator: torch.Generator, steps: int) -> Block:
        # the places of the smallest of ``count`` random numbers are a random subset
        chosen = torch.rand(steps, count, generator=generator).topk(size, largest=False, sorted=False).indices
        return {k: v[chosen] for k, v in data.items()}

    return draw


def constant(data: Block, steps: int, block: int) -> Iterator[Block]:
    """The same batch at every step, as views: full-batch training.

    Args:
        data: Name to tensor of shape ``(streams, ...)``.
        steps: Total number of steps.
        block: Steps per block; the last block may be shorter.

    Yields:
        Tensors of shape ``(streams, steps of the block, ...)`` without copies.
    """
    for begin in range(0, steps, block):
        length = min(block, steps - begin)
        yield {k: v[:, None].expand(v.shape[0], length, *v.shape[1:]) for k, v in data.items()}


def _steps(block: Block) -> int:
    return next(iter(block.values())).shape[1]


def _require_leading(params: Params, count: int) -> None:
    bad = {k: tuple(p.shape) for k, p in params.items() if p.dim() == 0 or len(p) != count}
    if bad:
        raise SymtheoryError(f"parameters of shape ({count}, ...)", f"{bad}", "repeat them for each configuration")
