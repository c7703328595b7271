r"""Linear evaluation: how well a linear classifier does on features that are given.

It is the multinomial logistic regression with a penalty,

$$\min_{W,b}\ \frac1n\sum_i -\log\operatorname{softmax}(Wx_i+b)_{y_i} + \frac\rho2\|W\|^2,$$

a convex problem with one minimiser: what is measured is the features and no choice of steps. It is solved by
L-BFGS over all samples in double precision, on the device where the features lie. Features are centred, and divided by
*one* number, so that their mean variance is 1: a common factor does not matter, as it does not to a contrastive loss,
while directions along which they hardly vary stay hard to use. Standardising every feature would bring these back.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from symtheory.errors import SymtheoryError

#: Largest entry of the gradient at the solution, and the one at which the solver stops.
TOLERANCE, TARGET = 1e-4, 1e-6
_STEPS = 2000


@dataclass(frozen=True)
class Probe:
    """A linear classifier of features.

    Attributes:
        mean: Of the features it was fitted to, shape ``(units,)``.
        scale: Root of the mean of their variances.
        weight: Shape ``(classes, units)``, of features centred and divided by the scale.
        bias: Shape ``(classes,)``.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def logits(self, features: Tensor) -> Tensor:
        """What it says of features.

        Args:
            features: Shape ``(n, units)``.

        Returns:
            Shape ``(n, classes)``.
        """
        return (features.double() - self.mean) / self.scale @ self.weight.T + self.bias

    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        """Part of the samples that it classifies rightly.

        Args:
            features: Shape ``(n, units)``.
            labels: Shape ``(n,)``.

        Returns:
            Between 0 and 1.
        """
        return float((self.logits(features).argmax(1) == labels).double().mean())


def fit(features: Tensor, labels: Tensor, classes: int, penalty: float) -> Probe:
    r"""The minimiser above.

    Args:
        features: Shape ``(n, units)``; features that do not vary at all are left as they are.
        labels: Shape ``(n,)``.
        classes: Number of classes.
        penalty: $\rho > 0$.

    Returns:
        The classifier.

    Raises:
        SymtheoryError: If the penalty is not positive, the features are not finite, or the solver gets stuck.

    >>> x = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])
    >>> fit(x, torch.tensor([0, 0, 1, 1]), 2, 1e-2).logits(x).argmax(1).tolist()
    [0, 0, 1, 1]
    """
    if not penalty > 0 or not bool(features.isfinite().all()):
        raise SymtheoryError("finite features and penalty > 0", f"penalty {penalty}", "such as 1e-3")
    mean = features.double().mean(0)
    centred = features.double() - mean
    spread = centred.square().mean().sqrt()
    scale = torch.where(spread > 0, spread, torch.ones_like(spread))
    x = centred / scale
    both = torch.zeros(classes, features.shape[1] + 1, dtype=torch.float64, device=features.device, requires_grad=True)
    solver = torch.optim.LBFGS(
        [both], max_iter=_STEPS, max_eval=2 * _STEPS, tolerance_grad=TARGET, tolerance_change=0.0,
        history_size=20, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        solver.zero_grad()
        weight, bias = both[:, :-1], both[:, -1]
        value = functional.cross_entropy(x @ weight.T + bias, labels) + penalty / 2 * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(closure)
        closure()
    left = torch.inf if both.grad is None else float(both.grad.abs().max())
    if not left <= TOLERANCE:
        raise SymtheoryError(f"a gradient below {TOLERANCE:g}", f"{left:.2g}", "take a larger penalty")
    found = both.detach()
    return Probe(mean, scale, found[:, :-1], found[:, -1])
