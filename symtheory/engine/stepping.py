"""One step of a whole sweep, and blocks of steps replayed as a CUDA graph.

A step of a small model is a few dozen tensor operations of a microsecond each, so that launching them is most of the
work on a GPU. A graph launches a whole block at once. Its memory is fixed when it is captured: parameters, optimiser
state, clock and data live in buffers that are written in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, vmap

from symtheory.engine.model import Loss
from symtheory.engine.updates import State, Update
from symtheory.spec.params import Params

#: Data of several steps: name to a tensor of shape (streams, steps, ...).
Block = dict[str, Tensor]

#: ``step(params, state, batch, t)`` to new parameters and state; ``batch`` has one entry per stream.
Step = Callable[[Params, State, Block, Any], tuple[Params, State]]

#: Records a function that works in place on fixed buffers; the result repeats it.
Capture = Callable[[Callable[[], None]], Callable[[], None]]

#: Steps of one graph: long enough that launching it costs nothing, short enough to capture quickly.
GRAPH_STEPS = 64


def one_step(
    loss: Loss,
    update: Update,
    lr: Tensor,
    decay: Tensor,
    stream: Tensor,
    fixed: Params,
    *,
    compiled: bool = False,
) -> Step:
    """One optimiser step of every configuration.

    Args:
        loss: Loss of one configuration.
        update: The optimiser.
        lr: Shape ``(C,)``.
        decay: Shape ``(C,)``.
        stream: Stream of each configuration, shape ``(C,)``.
        fixed: Untrained tensors of shape ``(C, ...)``.
        compiled: Fuse the step's operations with :func:`torch.compile`.

    Returns:
        The step, a pure function.
    """

    def of_one(params: Params, still: Params, batch: Block) -> Tensor:
        return loss({**params, **still}, batch)

    # configurations that all see one stream share its data instead of holding a copy each
    shared = bool((stream == stream[0]).all()) if len(stream) else True
    source = int(stream[0]) if shared and len(stream) else 0
    slope = vmap(grad(of_one), in_dims=(0, 0, None if shared else 0))

    def step(params: Params, state: State, batch: Block, t: Any) -> tuple[Params, State]:
        seen = {k: v[source] if shared else v[stream] for k, v in batch.items()}
        return update.step(params, slope(params, fixed, seen), state, lr, decay, t)

    return torch.compile(step, dynamic=False) if compiled else step


class Replay:
    """Advances parameters and optimiser state in place, block by block, through captured steps.

    Args:
        step: From :func:`one_step`.
        params: The parameters; they are written in place.
        state: The optimiser's state; written in place.
        capture: Records a run of steps, for example :func:`cuda_graph`.
    """

    def __init__(self, step: Step, params: Params, state: State, capture: Capture) -> None:
        self.step, self.params, self.state, self.capture = step, params, state, capture
        device = next(iter(params.values())).device
        self.clock = torch.zeros((), dtype=torch.float64, device=device)
        self.recorded: dict[tuple[Any, ...], tuple[Block, Callable[[], None]]] = {}

    def advance(self, block: Block) -> None:
        """All steps of a block.

        Args:
            block: Tensors of shape ``(streams, steps, ...)``, on any device.
        """
        length = next(iter(block.values())).shape[1]
        for begin in range(0, length, GRAPH_STEPS):
            self._replay({k: v[:, begin : begin + GRAPH_STEPS] for k, v in block.items()})

    def _replay(self, part: Block) -> None:
        key = tuple((k, tuple(v.shape), v.stride(1) == 0) for k, v in part.items())
        if key not in self.recorded:
            self.recorded[key] = self._record(part)
        buffers, replay = self.recorded[key]
        for k, v in part.items():
            _fill(buffers[k], v)
        replay()

    def _record(self, part: Block) -> tuple[Block, Callable[[], None]]:
        """Capture a run of steps of this shape; what the capture itself computes is undone."""
        buffers = {k: _buffer(v, self.clock.device) for k, v in part.items()}
        for k, v in part.items():
            _fill(buffers[k], v)
        tensors = [self.clock, *self.params.values(), *(t for group in self.state.values() for t in group.values())]
        before = [t.clone() for t in tensors]

        def run() -> None:
            for i in range(next(iter(buffers.values())).shape[1]):
                self.clock.add_(1)
                params, state = self.step(self.params, self.state, {k: v[:, i] for k, v in buffers.items()}, self.clock)
                for old, new in ((self.params, params), *((self.state[k], state[k]) for k in self.state)):
                    for name, tensor in new.items():
                        old[name].copy_(tensor)

        replay = self.capture(run)
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)
        return buffers, replay


def cuda_graph(run: Callable[[], None]) -> Callable[[], None]:
    """Capture a function on the current GPU.

    Args:
        run: Works in place on tensors that stay where they are.

    Returns:
        A function that repeats it with one launch.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run()  # libraries allocate and choose algorithms on a first call, which cannot be captured
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def _buffer(like: Tensor, device: torch.device) -> Tensor:
    """Room for a block; a batch that is the same at every step takes the room of one."""
    if like.stride(1) == 0:
        return torch.empty_like(like[:, :1], device=device).expand(like.shape)
    return torch.empty_like(like, device=device, memory_format=torch.contiguous_format)


def _fill(buffer: Tensor, values: Tensor) -> None:
    if buffer.stride(1) == 0:
        buffer[:, :1].copy_(values[:, :1], non_blocking=True)
    else:
        buffer.copy_(values, non_blocking=True)
