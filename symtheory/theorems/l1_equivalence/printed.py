r"""Equation (7) of paper A as printed: $T(w, u, v) = (I-P)v + (Pw)\odot(Pu)$, and what it does for a general $P$.

The Hadamard product of two vectors in the image of $P$ need not lie there. What reaches it is
$O^T(Oa\odot Ob)$, a symmetric product on $\mathbb R^r$ with tensor $S_{jkl} = \sum_iO_{ij}O_{ik}O_{il}$:

- it is the product meant when the image of $P$ is spanned by coordinate vectors;
- for one normal it is $ab\sum_in_i^3$: zero for every exchange, and otherwise an $L_1$ penalty of another strength;
- for an exchange of units of any size it vanishes, and $T$ cannot leave the mirror.
"""

from __future__ import annotations

import torch
from torch import Tensor

from symtheory.errors import SymtheoryError
from symtheory.spec import families
from symtheory.spec.mirror import Mirror
from symtheory.spec.numerics import Rank, numerical_rank
from symtheory.spec.params import Params, flatten, unflatten
from symtheory.spec.verdict import Verdict
from symtheory.theorems.instances import generator_of, normal
from symtheory.theorems.l1_equivalence.problems import Problem, descend


def printed_map(mirror: Mirror, w: Params, u: Params, v: Params) -> Params:
    r"""$T(w, u, v) = (I-P)v + (Pw)\odot(Pu)$, exactly as printed.

    Args:
        mirror: The mirror.
        w: First factor, of the shape of the parameters.
        u: Second factor.
        v: Free part.

    Returns:
        $T$ on the touched tensors.

    >>> swap = families.exchange({"a": (), "b": ()}, ["a"], ["b"])
    >>> one, two = ({k: torch.tensor(x) for k, x in zip("ab", p)} for p in ((3.0, 1.0), (5.0, 1.0)))
    >>> {k: float(t) for k, t in printed_map(swap, one, two, {"a": torch.tensor(0.0), "b": torch.tensor(0.0)}).items()}
    {'a': 2.0, 'b': 2.0}
    """
    across, other, free = mirror.project(w), mirror.project(u), mirror.symmetrize({k: v[k] for k in mirror.shapes})
    return {k: free[k] + across[k] * other[k] for k in free}


def product_tensor(basis: Tensor) -> Tensor:
    r"""$S_{jkl} = \sum_iO_{ij}O_{ik}O_{il}$, so that $[O^T(Oa\odot Ob)]_j = \sum_{kl}S_{jkl}a_kb_l$.

    Args:
        basis: $O$ of shape ``(n, r)``.

    Returns:
        Symmetric tensor of shape ``(r, r, r)``.
    """
    return torch.einsum("ij,ik,il->jkl", basis, basis, basis)


def printed_reach(basis: Tensor) -> Rank:
    r"""Dimension of the span of all $O^TT(w, u, v)$; below $r$ the printed parametrisation is not faithful.

    Args:
        basis: $O$ of shape ``(n, r)``.

    Returns:
        The rank, with the singular values around the cut.

    >>> printed_reach(torch.tensor([[1.0], [-1.0]]) / 2**0.5).value, printed_reach(torch.eye(3)[:, :2]).value
    (0, 2)
    """
    r = basis.shape[1]
    return numerical_rank(torch.linalg.svdvals(product_tensor(basis).reshape(r, r * r)), cut=1e-9)


def printed_strength(normal_vector: Tensor, alpha: float) -> float:
    r"""$L_1$ strength of the printed form for one unit normal: $2\alpha/|\sum_in_i^3|$ on $|n^T\theta|$.

    Between $2\alpha$ for a coordinate vector, $2\alpha\sqrt n$ for a constant one, and infinity: then nothing but the
    mirror can be reached.

    Args:
        normal_vector: $n$.
        alpha: $\alpha$.

    Returns:
        The strength.

    >>> round(printed_strength(torch.ones(4).double() / 2, 0.5), 12)
    2.0
    """
    cubes = abs(float((normal_vector**3).sum()))
    return 2 * alpha / cubes if cubes > 1e-12 else float("inf")


def minimise_printed(found: Problem) -> Tensor:
    r"""The minimiser of eq. (7) with the printed $T$, from a random start.

    Args:
        found: The problem.

    Returns:
        Flat $\theta$.
    """
    g, size = generator_of(found.seed + 1), found.design.shape[1]
    project = found.basis @ found.basis.T

    def value(flat: Tensor) -> Tensor:  # as printed_map does it, but with matrices: some thousands of evaluations
        w, u, v = flat.reshape(3, size)
        theta = v - project @ v + (project @ w) * (project @ u)
        fit = (found.design @ theta - found.target).square().mean() / 2
        return fit + found.alpha * (w.square().sum() + u.square().sum())

    w, u, v = (unflatten(x.contiguous(), found.shapes) for x in descend(value, normal(g, 3 * size)).reshape(3, size))
    return flatten({**v, **printed_map(found.mirror, w, u, v)})


def printed_not_faithful() -> Verdict:
    r"""$\min L(T) = \min L$ is said to hold always: not for the exchange of two weights and $L = (a-1)^2 + (b+1)^2$.

    Returns:
        Verdict on the gap of the minima, which must fail: it is 2.
    """
    swap, g = families.exchange({"a": (), "b": ()}, ["a"], ["b"]), generator_of(0)

    def value(flat: Tensor) -> Tensor:
        w, u, v = (unflatten(x.contiguous(), swap.shapes) for x in flat.reshape(3, 2))
        t = printed_map(swap, w, u, v)
        return (t["a"] - 1) ** 2 + (t["b"] + 1) ** 2

    lowest = min(float(value(descend(value, normal(g, 6)))) for _ in range(3))
    return Verdict("eq. (7), two weights exchanged: min L(T) = min L = 0", lowest, 1e-9, seed=0)


def product_zero_is_not_stationary() -> Verdict:
    r"""$O^TT = 0$ is said to be a stationary condition: not at $w = 0$, $u = 1$ with $L = \tfrac12(\theta-1)^2$, $P = 1$.

    Returns:
        Verdict on $O^TT$ after one step of gradient descent from a point with $O^TT = 0$, which must fail.

    Raises:
        SymtheoryError: If the start does not meet the condition.
    """
    mirror, rate, alpha = families.sign_flip({"w": ()}, ["w"]), 0.1, 0.05

    def loss(factors: Tensor) -> Tensor:
        w, u, v = ({"w": x} for x in factors)
        theta = printed_map(mirror, w, u, v)["w"]
        return (theta - 1) ** 2 / 2 + alpha * factors[:2].square().sum()

    start = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    if float(start[0] * start[1]) != 0.0:
        raise SymtheoryError("a start with O^T T = 0", f"{start.tolist()}", "the counterexample is broken")
    w, u, _ = start - rate * torch.func.grad(loss)(start)
    return Verdict("one step of descent keeps O^T T = 0", abs(float(w * u)), 1e-12, settings={"rate": rate})


def centring() -> Tensor:
    r"""$O$ of the projection $P = I - \tfrac13\mathbf 1\mathbf 1^T$ that centres three numbers.

    Returns:
        Matrix of shape ``(3, 2)``.
    """
    return torch.tensor([[3**0.5, 1.0], [-(3**0.5), 1.0], [0.0, -2.0]], dtype=torch.float64) / 6**0.5


def elements_do_not_vanish() -> Verdict:
    r"""As many elements of $P\theta$ as possible are said to vanish: for the centring of three numbers none does.

    There $\|O^T(Oa\odot Ob)\| = \|a\|\|b\|/\sqrt6$, so eq. (7) penalises $2\sqrt6\,\alpha\|P\theta\|$, a group lasso: with
    $L = \tfrac12\|\theta-b\|^2$ and $b = (3, -2.9, -0.1)$ all elements shrink by one factor, the smallest like the largest.

    Returns:
        Verdict on the smallest element of $P\theta$ being zero, which must fail.

    Raises:
        SymtheoryError: If the minimiser is not the one of the group lasso.
    """
    basis, b = centring(), torch.tensor([3.0, -2.9, -0.1], dtype=torch.float64)
    mirror = families.from_basis(basis, {"w": (3,)})
    alpha, rows = float(b.norm()) / 2 / (2 * 6**0.5), 3**0.5
    design = rows * torch.eye(3, dtype=torch.float64)
    found = Problem("centring", mirror, torch.arange(2), design, rows * b, alpha, {"w": (3,)}, 0)
    theta = minimise_printed(found)
    if float((theta - b / 2).norm()) > 1e-7:
        raise SymtheoryError(
            f"the group lasso's {(b / 2).tolist()}", f"{theta.tolist()}", "the counterexample is broken"
        )
    across = mirror.project({"w": theta})["w"]
    return Verdict("an element of P theta vanishes before the others", float(across.abs().min()), 1e-7, seed=0)
