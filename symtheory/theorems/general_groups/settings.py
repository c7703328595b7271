r"""Losses that a finite group leaves unchanged, and the strength with which a static bias pulls off their symmetric points.

For a representation $\rho$ of $G$ the Reynolds projector of a subgroup is $\bar V = |V|^{-1}\sum_{v\in V}\rho(v)$. In the frame of the effective
parameters $\varphi = \theta+\theta_0$ removal adds $\gamma\|\varphi-\theta_0\|_D^2$, and the strength for $V$ at $\varphi = \bar U\varphi$, $V\le U$, is

$$\Delta_V = \big\|(I-\bar V)^T\,\nabla[\ell(\varphi)+\gamma\|\varphi-\theta_0\|_D^2]\big\|.$$
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from symtheory.spec import group_families as families
from symtheory.spec import representations as reps
from symtheory.spec.groups import FiniteGroup, Subset
from symtheory.spec.representations import Representation
from symtheory.theorems.instances import generator_of, normal

PAPER = "Paper B"

FlatLoss = Callable[[Tensor], Tensor]

#: Groups of every family the chapter speaks of, small enough to average a loss over all elements.
GROUPS: dict[str, Callable[[], FiniteGroup]] = {
    "cyclic": lambda: families.cyclic(6),
    "dihedral": lambda: families.dihedral(4),
    "symmetric": lambda: families.symmetric(4),
    "alternating": lambda: families.alternating(4),
    "abelian": lambda: families.abelian(2, 2, 3),
    "quaternion": families.quaternion,
}
FORMS = ("natural", "regular", "random")


@dataclass(frozen=True, eq=False)
class Setting:
    r"""An invariant loss at a symmetric point, and what removal adds.

    Attributes:
        name: Group and representation.
        rep: $\rho$.
        unbroken: $U$; the point is fixed by it.
        loss: $\ell$ on flat vectors, invariant.
        broken: The same without the symmetry.
        point: $\varphi = \bar U\varphi$.
        bias: $\theta_0$.
        stretch: Diagonal of $D$.
        gamma: $\gamma$.
        seed: Seed.
    """

    name: str
    rep: Representation
    unbroken: Subset
    loss: FlatLoss
    broken: FlatLoss
    point: Tensor
    bias: Tensor
    stretch: Tensor
    gamma: float
    seed: int

    @property
    def subgroups(self) -> list[Subset]:
        """Nontrivial subgroups of $U$."""
        return [v for v in self.rep.group.subgroups if len(v) > 1 and v <= self.unbroken]

    def slope(self, loss: FlatLoss | None = None) -> Tensor:
        r"""$\nabla\tilde\ell_{ar}(\varphi)$ by automatic differentiation.

        Args:
            loss: Another $\ell$, for controls.

        Returns:
            Vector of shape ``(d,)``.
        """
        plain = self.loss if loss is None else loss

        def whole(v: Tensor) -> Tensor:
            return plain(v) + self.gamma * (self.stretch * (v - self.bias) ** 2).sum()

        return torch.func.grad(whole)(self.point)


def broken_space(rep: Representation, subset: Subset) -> Tensor:
    r"""$(I-\bar V)^T$, which annihilates the gradient of an invariant loss at the points that $V$ fixes.

    Args:
        rep: $\rho$.
        subset: $V$.

    Returns:
        Matrix of shape ``(d, d)``, symmetric if $\rho$ is orthogonal.
    """
    return torch.eye(rep.dim, dtype=torch.float64) - rep.reynolds(subset).T


def represent(group: FiniteGroup, form: str, generator: torch.Generator) -> Representation:
    """A representation of a group.

    Args:
        group: The group.
        form: ``natural`` (``regular`` for a group that is no group of permutations), ``regular``, or ``random``: the
            natural one in a random skew basis, which is not orthogonal.
        generator: Source of randomness.

    Returns:
        The representation.
    """
    natural = reps.regular(group) if group.action is None else reps.natural(group)
    if form == "random":
        return reps.random_equivalent(natural, generator)
    return natural if form == "natural" else reps.regular(group)


def invariant(rep: Representation, generator: torch.Generator, waves: int = 3) -> tuple[FlatLoss, FlatLoss]:
    r"""A random smooth loss averaged over the group, $|G|^{-1}\sum_g f(\rho(g)\theta)$, and $f$ itself.

    Args:
        rep: $\rho$.
        generator: Source of randomness.
        waves: Number of cosines in $f$.

    Returns:
        Symmetric and asymmetric loss.
    """
    a, b, c = normal(generator, waves), normal(generator, waves, rep.dim), normal(generator, waves)

    def plain(v: Tensor) -> Tensor:
        return (torch.cos(v @ b.T + c) @ a).mean()

    return (lambda v: plain(rep.matrices @ v)), plain


def setting(kind: str, form: str, seed: int, *, unbroken: int | None = None) -> Setting:
    """A random invariant loss at a random point with a random unbroken subgroup.

    Args:
        kind: A name in ``GROUPS``.
        form: A name in ``FORMS``.
        seed: Seed.
        unbroken: Number of the subgroup $U$ among the nontrivial ones; random if not given, -1 for the whole group.

    Returns:
        The setting; $D = I$.
    """
    g, group = generator_of(seed), GROUPS[kind]()
    rep = represent(group, form, g)
    loss, broken = invariant(rep, g)
    nontrivial = [v for v in group.subgroups if len(v) > 1]
    chosen = int(torch.randint(len(nontrivial), (1,), generator=g)) if unbroken is None else unbroken
    point = rep.reynolds(nontrivial[chosen]) @ normal(g, rep.dim)
    return Setting(
        f"{group.name}, {form}",
        rep,
        nontrivial[chosen],
        loss,
        broken,
        point,
        0.7 * normal(g, rep.dim),
        torch.ones(rep.dim, dtype=torch.float64),
        0.3,
        seed,
    )


def stretched(s: Setting, spread: float = 0.1) -> Setting:
    r"""The same with $D_{ii}\sim\mathrm{Uniform}(1-\epsilon, 1+\epsilon)$.

    Args:
        s: The setting.
        spread: $\epsilon$.

    Returns:
        The setting.
    """
    noise = torch.rand(s.rep.dim, generator=generator_of(s.seed + 5), dtype=torch.float64)
    return replace(s, stretch=1 + spread * (2 * noise - 1))


def settings(seed: int) -> list[Setting]:
    """One setting of every group in every form.

    Args:
        seed: Seed.

    Returns:
        The settings.
    """
    return [setting(kind, form, seed) for kind in GROUPS for form in FORMS]


def orthogonal_settings(seed: int) -> list[Setting]:
    """One setting of every group in its orthogonal forms, with the whole group unbroken.

    Args:
        seed: Seed.

    Returns:
        The settings.
    """
    return [setting(kind, form, seed, unbroken=-1) for kind in GROUPS for form in ("natural", "regular")]
