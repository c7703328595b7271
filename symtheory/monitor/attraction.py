r"""Will training collapse onto a mirror? What the curvatures of single samples across it predict.

Near a mirror SGD multiplies the distance by $1-\eta(\xi+w)$ in every step, where $\xi$ is the curvature of the batch's
loss across the mirror, $w$ the weight decay and $\eta$ the learning rate. The network falls onto the mirror if
$\Lambda = \mathbb E\log|1-\eta(\xi+w)|<0$. Paper A, Section 4; the chapter on Hessian blocks says where its formulas
needed mending. Momentum and adaptive steps change the rates; the sign of the mean curvature, and so the decay that
descent with small steps needs, stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from symtheory.discover.tracing import evaluation
from symtheory.engine.lyapunov import Lyapunov
from symtheory.errors import SymtheoryError
from symtheory.spec.mirror import Mirror
from symtheory.spec.params import Params, flatten
from symtheory.theorems.hessian_blocks.critical import critical_weight_decay, lyapunov_exponent


@dataclass(frozen=True)
class Probe:
    """A batch on which curvatures are measured.

    Attributes:
        inputs: Positional arguments of the model, or the only one.
        losses: From the model's output to one loss a sample, such as ``lambda out: cross_entropy(out, y,
            reduction="none")``.
        batch: Samples of a training batch: curvatures are averaged over so many at a time.
    """

    inputs: Any
    losses: Callable[[Any], Tensor]
    batch: int = 1


@dataclass(frozen=True)
class Attraction:
    r"""Prediction for one mirror.

    Attributes:
        curvature: Mean curvature of the loss across the mirror, at the foot of the perpendicular.
        critical_decay: Smallest ``weight_decay`` of PyTorch from which on SGD with the present rate collapses onto it.
        exponent: $\Lambda$ at the present rate and decay, with its standard error; the mirror attracts if it is
            negative.
    """

    curvature: float
    critical_decay: float
    exponent: Lyapunov

    @property
    def attracts(self) -> bool:
        """Whether the mirror attracts."""
        return self.exponent.collapses


def curvatures(model: nn.Module, params: Params, mirror: Mirror, probe: Probe) -> Tensor:
    """Curvature of every sample's loss across a mirror, at the point of the mirror that is nearest.

    Args:
        model: The network; it is run in evaluation mode, so that nothing random happens and no statistics move.
        params: Its parameters, detached.
        mirror: The mirror.
        probe: The batch.

    Returns:
        Shape ``(batches,)``.

    Raises:
        SymtheoryError: If the losses are not one number a sample, or the network is on the mirror, so that no direction
            is given, or it has an operation without a forward derivative.
    """
    across = mirror.project({n: params[n] for n in mirror.shapes})
    size = float(flatten(across).double().norm())
    if size == 0:
        raise SymtheoryError("a network off the mirror", "one on it", "there is no direction to measure along")
    foot = {n: p - across[n] if n in across else p for n, p in params.items()}
    inputs = probe.inputs if isinstance(probe.inputs, tuple) else (probe.inputs,)

    def along(t: Tensor) -> Tensor:
        moved = {n: p + t.to(p) * across[n] / size if n in across else p for n, p in foot.items()}
        losses = probe.losses(functional_call(model, moved, inputs))
        if losses.dim() != 1:
            raise SymtheoryError("one loss a sample", f"shape {tuple(losses.shape)}", "use reduction='none'")
        return losses[: len(losses) // probe.batch * probe.batch].view(-1, probe.batch).mean(1)

    like = next(iter(params.values()))
    zero, one = torch.zeros((), device=like.device), torch.ones((), device=like.device)
    try:
        with evaluation(model):
            bend: Tensor = jvp(lambda t: jvp(along, (t,), (one,))[1], (zero,), (one,))[1]
    except (NotImplementedError, RuntimeError) as error:
        raise SymtheoryError(
            "a network with forward derivatives", str(error).splitlines()[0], "watch without a probe"
        ) from error
    return bend.detach().double().cpu()


def attraction(bend: Tensor, lr: float, weight_decay: float) -> Attraction:
    """What curvatures predict.

    Args:
        bend: From :func:`curvatures`.
        lr: Learning rate.
        weight_decay: PyTorch's.

    Returns:
        The prediction.

    >>> found = attraction(torch.tensor([-2.0, -2.0]), lr=0.1, weight_decay=3.0)
    >>> round(found.critical_decay, 6), found.attracts
    (2.0, True)
    """
    return Attraction(
        float(bend.mean()),
        critical_weight_decay(bend, lr).weight_decay,
        lyapunov_exponent(bend, lr, weight_decay / 2),
    )
