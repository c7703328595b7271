r"""Theorem 1.2 of paper A: on the mirror the Hessian does not mix directions along and across it.

Statement: if $O^Tw = 0$, eigenvectors of $\nabla^2\ell_0(w)$ can be chosen such that some span $\ker O^T$ and the rest
$\operatorname{im}OO^T$. Hypotheses: the symmetry, a point on the mirror, two derivatives. Section 2.3 and the end of 2.4
draw conclusions: several mirrors, the tanh network, the Fisher information.
"""

from __future__ import annotations

from collections.abc import Iterable

import sympy
import torch
from sympy import Function, Symbol
from torch import Tensor

from symtheory.engine.model import Batch, Loss
from symtheory.engine.operators import gradient, hvp_of
from symtheory.engine.symbolic import derivative_at_zero, identity, matrices
from symtheory.spec.claim import Claim, Erratum
from symtheory.spec.mirror import Mirror
from symtheory.spec.numerics import largest
from symtheory.spec.params import Params, flatten
from symtheory.spec.verdict import Proof, Step, Verdict
from symtheory.theorems.base import Theorem
from symtheory.theorems.hessian_blocks.fisher import close_is_not_singular, same_labels_only
from symtheory.theorems.hessian_blocks.joint import KINDS, Joint, check_joint, joint
from symtheory.theorems.hessian_blocks.tanh import TanhNet, check_tanh, footnote_one, tanh_net
from symtheory.theorems.instances import Instance, abstract, all_kinds, generator_of, without_symmetry
from symtheory.theorems.mirror_constraint.definitions import PAPER

#: Step of the one-sided difference of the gradient, and what it may leave on a smooth loss: after one Richardson step
#: the truncation is of order s^3 = 1e-9, rounding eps / s = 2e-13.
STEP = 1e-3
MIXING_TOLERANCE = 1e-7


def mixing(loss: Loss, mirror: Mirror, params: Params, batch: Batch, n: Params, step: float = STEP) -> float:
    r"""$\|(I-P)\nabla^2\ell\,n\| / \|\nabla^2\ell\,n\|$, by autograd and by differences of the gradient along $n$.

    Autograd alone would miss a kink; differences alone would miss little but cost accuracy.

    Args:
        loss: The loss.
        mirror: The mirror.
        params: The point.
        batch: Data.
        n: Touched tensors of a unit normal.
        step: Step of the differences; 0 for none.

    Returns:
        The larger of the two.
    """
    full = {k: n.get(k, torch.zeros_like(p)) for k, p in params.items()}
    image = hvp_of(loss, params, batch)(full)
    scale = max(float(flatten(image).norm()), 1e-3)
    found = [float(flatten(mirror.symmetrize(image)).norm()) / scale]
    if step:
        here = gradient(loss, params, batch)

        def slope(s: float) -> Tensor:
            away = gradient(loss, {k: p + s * full[k] for k, p in params.items()}, batch)
            return flatten(mirror.symmetrize({k: (away[k] - here[k]) / s for k in away}))

        found.append(float((2 * slope(step / 2) - slope(step)).norm()) / max(scale, 1.0))
    return largest(found)


def check_blocks(instance: Instance | Joint | TanhNet) -> Verdict:
    r"""No mixing at the nearest symmetric point, for every sample and for their mean.

    Args:
        instance: Loss, mirror, point; or several mirrors; or the network of eq. (2).

    Returns:
        Verdict whose control is the loss without the symmetry at the same point.
    """
    if isinstance(instance, Joint):
        return check_joint(instance)
    if isinstance(instance, TanhNet):
        return check_tanh(instance)
    point = instance.mirror.symmetrize(instance.params)
    # between its kinks a ReLU network is smooth, but a finite step may cross one
    step = 0.0 if instance.name.startswith("relu") else STEP

    def measure(loss: Loss) -> float:
        def full(p: Params, _: Batch) -> Tensor:
            return torch.stack([loss(p, x) for x in instance.samples]).mean()

        n = instance.mirror.random_normal(generator_of(instance.seed))
        each = [mixing(loss, instance.mirror, point, x, n, step) for x in instance.samples]
        return largest([*each, mixing(full, instance.mirror, point, None, n, step)])

    return Verdict(
        f"{instance.name}: the Hessian does not mix along and across",
        residual=measure(instance.loss),
        tolerance=MIXING_TOLERANCE,
        control=measure(instance.broken),
        seed=instance.seed,
        sizes={"parameters": instance.size, "rank": instance.mirror.rank, "samples": len(instance.samples)},
    )


def block_instances(seed: int) -> Iterable[Instance | Joint | TanhNet]:
    """One mirror of every kind, several mirrors of every kind, the network of eq. (2).

    Args:
        seed: Seed.

    Yields:
        Instances.
    """
    yield from all_kinds(seed)
    yield from (joint(kind, seed) for kind in KINDS)
    yield tanh_net(seed)


def _control_asymmetric(seed: int) -> Verdict:
    return check_blocks(without_symmetry(abstract("basis", seed)))


def _control_off(seed: int) -> Verdict:
    i = abstract("basis", seed)
    n = i.mirror.random_normal(generator_of(seed))
    value = mixing(i.loss, i.mirror, i.params, i.samples[0], n)
    return Verdict("the Hessian does not mix, off the mirror", value, MIXING_TOLERANCE, seed=seed)


def _control_kink(seed: int) -> Verdict:
    r"""$\ell_0 + \|P\theta\|\,m^T(\theta-\theta_0)$ is symmetric and differentiable at $\theta_0$ on the mirror, but only once."""
    i, g = abstract("basis", seed), generator_of(seed)
    point, n = i.mirror.symmetrize(i.params), i.mirror.random_normal(generator_of(seed))
    m = i.mirror.symmetrize({k: torch.randn(p.shape, generator=g, dtype=torch.float64) for k, p in point.items()})

    def kinked(params: Params, batch: Batch) -> Tensor:
        along = torch.stack([((params[k] - point[k]) * m[k]).sum() for k in m]).sum()
        return i.loss(params, batch) + flatten(i.mirror.project(params)).norm() * along

    value = mixing(kinked, i.mirror, point, i.samples[0], n)
    return Verdict("the Hessian does not mix, at a kink", value, MIXING_TOLERANCE, seed=seed)


def _prove_blocks() -> Proof:
    p, q, h, n, nt, ot, g, gt, m = matrices("P", "Q", "H", "n", "n^T", "O^T", "g", "g^T", "m")
    r = 1 - 2 * p
    idem = {p * p: p}
    pair = {h * p: p * h, h * q: q * h, q * p: p * q, p * p: p, q * q: q}
    joint_image = p * (1 - q)
    f, t = Function("f"), Symbol("t", real=True)
    a, b = sympy.symbols("a b")
    steps: list[Step] = [
        identity(
            "along a normal s and along the mirror t the loss is even in s, so its mixed derivative vanishes at s = 0",
            derivative_at_zero(lambda s: sympy.Derivative(f(s, t) + f(-s, t), t)),
        ),
        identity(
            "in matrices: the loss is invariant, so R H R - H is zero on the mirror; its off-diagonal block is -2 P H (1 - P)",
            p * (r * h * r - h) * (1 - p), -2 * p * h * (1 - p), idem,
        ),
        identity(
            "off the mirror H at the image is R H R, whose off-diagonal block has the other sign: it is odd in the distance",
            p * (r * h * r) * (1 - p), -p * h * (1 - p), idem,
        ),
        identity("decay adds a multiple of I, which does not mix", p * (1 - p), 0, idem),
        identity(
            "rank one: n is an eigenvector with eigenvalue n^T H n (P H = H P, P = n n^T)",
            h * n * nt * n, n * nt * h * n, {h * n * nt: n * nt * h},
        ),
        identity(
            "two commuting mirrors: every joint image is kept", joint_image * h * (1 - joint_image), 0, pair
        ),
        identity(
            "two oblique mirrors: H n = a n and H m = b m; as H is symmetric, n^T H m read from both sides gives (a - b) n^T m = 0",
            (a * nt) * m - nt * (h * m), (a - b) * nt * m, {h * m: b * m},
        ),
        identity("singular Fisher information: O^T g = 0 for every sample", ot * g * gt, 0, {ot * g: 0}),
        *_tanh_steps(),
    ]  # fmt: skip
    return Proof(
        "A.T1.2",
        "any dimension and rank, one or two mirrors, any loss twice differentiable on the mirror; the tanh network of "
        "any width, two of its neurons written out and all others in the residual",
        tuple(steps),
    )


def _tanh_steps() -> list[Step]:
    """Second derivatives of eq. (2) at the origin; the other neurons and the label form the residual -y there."""
    u, w, v, z, x, y, t = sympy.symbols("u w v z x y t", real=True)
    loss = (u * sympy.tanh(w * x) + v * sympy.tanh(z * x) - y) ** 2 / 2

    def at_zero(*by: Symbol) -> sympy.Expr:
        return sympy.Subs(sympy.Derivative(loss, *by), (u, w, v, z), (0, 0, 0, 0))

    return [
        identity("eq. (2): the entry of u_i and w_i is -xy", at_zero(u, w), -x * y),
        identity("those of u_i twice and w_i twice vanish", at_zero(u, u) + t * at_zero(w, w)),
        identity("and those of different neurons", at_zero(u, v) + t * at_zero(u, z) + t**2 * at_zero(w, z)),
        identity(
            "the exchange of u and w is a symmetry of the linear network only: the outputs differ first at order four",
            sympy.series((u * sympy.tanh(w) - w * sympy.tanh(u)).subs({u: u * x, w: w * x}), x, 0, 6).removeO(),
            x**4 * (u**3 * w - u * w**3) / 3,
        ),
    ]  # fmt: skip


BLOCKS = Theorem(
    claim=Claim(
        id="A.T1.2",
        source=f"{PAPER}, Theorem 1, part 2, and Section 2.3",
        title="The Hessian splits along the mirror",
        statement=r"If $\ell_0$ has the $O$-mirror symmetry and $OO^Tw = 0$, a subset of the eigenvectors of "
        r"$\nabla^2_w\ell_0(w)$ spans $\ker O^T$, and the rest spans $\operatorname{im}OO^T$. Close to symmetric solutions the "
        "Hessian is partitioned, further mirrors split it further, and the Fisher information is singular.",
        hypotheses={
            "invariant loss": r"$\ell_0(w) = \ell_0(Rw)$ for the loss whose Hessian is taken: of a sample, a batch, or the mean",
            "on the mirror": "$O^Tw = 0$",
            "twice differentiable": r"$\ell_0$ is twice differentiable at $w$",
        },
        verdict="holds as corrected",
        correction=r"The theorem holds as printed, on the mirror; if eigenvalues of the two blocks coincide, eigenvectors must be "
        r"*chosen* inside them. At a distance $s$ the off-diagonal block is of order $s$, and "
        r"$\operatorname{rank}P$ eigenvalues of the Fisher information are of order $s^2$ at most, in general not zero: both "
        r"statements are exact on the mirror only.",
        chapter="hessian_blocks",
        remark=r"For $d$ mirrors with $P_iP_j = 0$ there are $d$ blocks of sizes $\operatorname{rank}P_i$ and one for the rest. "
        r"Commuting projections give up to $2^d$. Oblique mirrors tie blocks together, and tied blocks have equal "
        r"eigenvalues. All of this needs a point on *all* mirrors. In eq. (2), $(1, \pm1)$ are normals of mirrors of "
        r"the linear network; $u\tanh wx$ and $w\tanh ux$ differ at order four. The tanh network has the sign flip of each "
        r"neuron only, which gives the blocks but not their eigenvectors. The Hessian at the origin does not see the difference.",
        errata=(
            Erratum(
                where="Section 2.4, last paragraph",
                printed="The Fisher information is singular close to any symmetry solution.",
                true=r"It is singular *on* the mirror, with a null space of dimension $\operatorname{rank}P$ at least. At a distance "
                r"$s$ along $n$ these eigenvalues are of order $s^2$ at most and in general positive. No more of them are of exactly "
                r"that order than the vectors $PH(x)n$ span: for $u\tanh wx$, of rank 2, one goes like $s^2$ and one like $s^6$.",
                counterexample=r"$f = w^2x_1 + vx_2 + v^2x_1$, squared loss, $v = 1$: at $w = 0$ the direction of $w$ has Fisher information 0, "
                r"at $w = 10^{-2}$ it is positive and the matrix is regular.",
                consequence="A rank test with a tolerance near the machine's calls the matrix regular; that "
                "they vanish with the distance, with exponent 2 or more, shows the mirror.",
                check="symtheory.theorems.hessian_blocks.fisher.close_is_not_singular",
                kind="formula",
            ),
            Erratum(
                where="Section 2.4, last paragraph",
                printed=r"$O^T\nabla\ell(w,x) = 0$ for any $x$, therefore the Fisher information has a zero eigenvalue.",
                true="This holds for the empirical Fisher information, made with the labels of the data set. The Fisher information "
                "proper draws labels from the model, so the loss must be symmetric for every label, not only those at hand.",
                counterexample=r"$f = y + w$ has the symmetric loss $w^2/2$ for the label $y$. The Fisher information of a Gaussian "
                r"model with mean $f$ is 1, everywhere.",
                consequence="Test the invariance of the model's outputs before natural gradients are called degenerate.",
                check="symtheory.theorems.hessian_blocks.fisher.same_labels_only",
                kind="wording",
            ),
            Erratum(
                where="Section 2.3, footnote 1",
                printed=r"For orthogonal $\tilde O$ that includes the eigenvectors of $O$, $O^THO$ is a two-block matrix.",
                true=r"$\tilde O^TH\tilde O$ is, with the columns of $O$ (the eigenvectors of $OO^T$ to eigenvalue 1) first. $O^THO$ is "
                r"the one block of size $\operatorname{rank}O$.",
                counterexample=r"$O = (e_1, e_2)$ in $\mathbb R^3$: $O^THO$ is $2\times2$ with no zero entry.",
                consequence="Complete the normals to an orthogonal matrix before the rotation.",
                check="symtheory.theorems.hessian_blocks.tanh.footnote_one",
                kind="wording",
            ),
        ),
    ),
    prove=_prove_blocks,
    check=check_blocks,
    instances=block_instances,
    controls={
        "invariant loss": _control_asymmetric,
        "on the mirror": _control_off,
        "twice differentiable": _control_kink,
    },
    counterexamples={
        "Fisher information, close to the mirror": close_is_not_singular,
        "Fisher information, labels of the model": same_labels_only,
        "footnote 1": footnote_one,
    },
)
