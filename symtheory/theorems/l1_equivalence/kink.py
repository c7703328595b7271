r"""The kink on the mirror, measured: slope of the loss in $z = s^2$ at $z = 0_+$, and the decay at which it wins.

For $\ell_0$ twice differentiable with the mirror symmetry, $w'$ on the mirror and $n$ a unit normal,

$$\frac{\partial}{\partial z}\ell_0(w' + \sqrt z\,n)\Big|_{0_+} = \tfrac12\,n^T\nabla^2\ell_0(w')\,n,$$

so with decay the slope is $\gamma + \tfrac12n^T\nabla^2\ell_0n$. It is positive in every direction exactly when
$\gamma>\gamma_c = \max(0, -\lambda_{\min}/2)$, the critical decay of Theorem 1.4. Without a vanishing gradient across the
mirror, which is what the symmetry provides, the slope grows like $n^T\nabla\ell_0/(2\sqrt z)$.
"""

from __future__ import annotations

from dataclasses import dataclass

from symtheory.engine.model import Batch, Loss
from symtheory.engine.operators import gradient, hvp_of, lowest_normal_curvature
from symtheory.errors import SymtheoryError
from symtheory.spec.mirror import Mirror
from symtheory.spec.numerics import rounding_tolerance
from symtheory.spec.params import Params, flatten, shapes_of, size_of
from symtheory.theorems.mirror_constraint.threshold import uniform_threshold


@dataclass(frozen=True)
class Kink:
    r"""Slopes of $\ell_0$ in $z = \|Pw\|^2$ at the mirror.

    Attributes:
        slope: In the direction of the given point, or of ``direction``; ``None`` for a point on the mirror without one.
        lowest: In the direction of steepest descent, $\lambda_{\min}(P\nabla^2\ell_0P)/2$ on the image of $P$.
        distance: $\|Pw\|$ of the given point.
    """

    slope: float | None
    lowest: float
    distance: float

    @property
    def threshold(self) -> float:
        r"""Smallest $\gamma\ge0$ above which the kink beats the loss in every direction (paper's convention)."""
        return uniform_threshold(2 * self.lowest)

    @property
    def weight_decay(self) -> float:
        r"""The same for PyTorch's ``weight_decay`` $= 2\gamma$."""
        return 2 * self.threshold


def slope_at_mirror(loss: Loss, mirror: Mirror, params: Params, batch: Batch, direction: Params) -> float:
    r"""$\tfrac12n^T\nabla^2\ell_0(w')\,n$ at the projection of a point.

    Args:
        loss: $\ell_0$.
        mirror: The mirror.
        params: A point; its projection $w'$ is used.
        batch: Data.
        direction: The touched tensors of a vector whose component across the mirror gives $n$.

    Returns:
        The right derivative in $z$ of a symmetric loss.

    Raises:
        SymtheoryError: If the direction has no component across the mirror.
    """
    across = mirror.project(direction)
    length = float(flatten(across).norm())
    if length == 0.0:
        raise SymtheoryError("a direction across the mirror", "one along it", "use mirror.random_normal")
    point = mirror.symmetrize(params)
    n = {k: across[k] / length if k in across else 0 * p for k, p in point.items()}
    return 0.5 * float(flatten(hvp_of(loss, point, batch)(n)) @ flatten(n))


def kink(loss: Loss, mirror: Mirror, params: Params, batch: Batch, direction: Params | None = None) -> Kink:
    r"""Measure the kink of the $L_1$ form at the projection of a point, and the decay at which it wins.

    Args:
        loss: $\ell_0$, without decay.
        mirror: The mirror.
        params: A point, on the mirror or off it.
        batch: Data.
        direction: Where to take the slope; default the point's own $Pw$.

    Returns:
        Slopes and threshold.

    Raises:
        SymtheoryError: If the gradient has a component across the mirror: then there is no kink but a divergent slope.

    >>> import torch
    >>> from symtheory.spec import sign_flip
    >>> well = lambda p, _: ((p["w"] ** 2 - 1) ** 2).sum()  # in z = w^2: (z - 1)^2, slope -2
    >>> found = kink(well, sign_flip({"w": (1,)}, ["w"]), {"w": torch.ones(1).double()}, None)
    >>> found.slope, found.threshold, found.weight_decay
    (-2.0, 2.0, 4.0)
    """
    point = mirror.symmetrize(params)
    slope = gradient(loss, point, batch)
    across, scale = mirror.distance(slope), float(flatten(slope).norm())
    size = size_of(shapes_of(params))
    allowed = 1e2 * rounding_tolerance(size, dtype=next(iter(params.values())).dtype) * max(scale, 1.0)
    if across > allowed:
        raise SymtheoryError(
            f"no gradient across the mirror (at most {allowed:.1e})",
            f"{across:.1e}",
            "the loss lacks this symmetry and the slope in z diverges; measure it with invariance_residual",
        )
    distance = mirror.distance(params)
    normal = direction if direction is not None else mirror.project(params) if distance else None
    return Kink(
        slope=None if normal is None else slope_at_mirror(loss, mirror, params, batch, normal),
        lowest=lowest_normal_curvature(loss, point, batch, mirror) / 2,
        distance=distance,
    )
