r"""The population loss of two-layer ReLU nets on Gaussian inputs, its gradient and its Hessian, in closed form.

For $x\sim\mathcal N(0,I)$ and $s(z)=\max(z,0)$, two neurons overlap by the arc-cosine kernel

$$k(w,v)=\mathbb E\,s(w\cdot x)\,s(v\cdot x)=\frac{|w||v|}{2\pi}\bigl(\sin\varphi+(\pi-\varphi)\cos\varphi\bigr),$$

with $\varphi$ the angle between $w$ and $v$. A student $f(x)=A\,s(Wx)$ and a teacher $f^*(x)=A^*s(W^*x)$ are together
one net with the neurons $Z=(W;W^*)$ and the output weights $C=(A,-A^*)$, so that
$\tfrac12\mathbb E\|f-f^*\|^2=\tfrac12\sum_{ij}c_i\cdot c_j\,k(z_i,z_j)$: no samples, no noise, exact to rounding.

The kernel is twice continuously differentiable wherever neither neuron is zero, also where the two are parallel; the
formulas below are written so that they can be evaluated there. At $w=0$ the loss has a kink; the gradient takes
$s'(0)=0$ there, as autograd does, and the Hessian is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import pi

import torch
from torch import Tensor

from symtheory.errors import SymtheoryError


@dataclass(frozen=True)
class _Pairs:
    """Geometry of all pairs of rows of ``w`` (i) and ``v`` (j): norms, unit vectors, angles, sines and cosines."""

    norm_w: Tensor
    norm_v: Tensor
    unit_w: Tensor
    unit_v: Tensor
    angle: Tensor
    sine: Tensor
    cosine: Tensor

    @property
    def kernel(self) -> Tensor:
        shape = self.sine + (pi - self.angle) * self.cosine
        return self.norm_w[..., :, None] * self.norm_v[..., None, :] * shape / (2 * pi)


def _pairs(w: Tensor, v: Tensor) -> _Pairs:
    """Pairs of rows; a zero row gets the unit vector 0, and every formula below then gives 0 for it."""
    norm_w, norm_v = w.norm(dim=-1), v.norm(dim=-1)
    unit_w = w / norm_w.clamp(min=torch.finfo(w.dtype).tiny)[..., None]
    unit_v = v / norm_v.clamp(min=torch.finfo(v.dtype).tiny)[..., None]
    a, b = unit_w[..., :, None, :], unit_v[..., None, :, :]
    # chords rather than the arc cosine: exact to rounding for parallel and for opposite rows too
    apart, together = (a - b).norm(dim=-1), (a + b).norm(dim=-1)
    sine, cosine = apart * together / 2, (together - apart) * (together + apart) / 4
    return _Pairs(norm_w, norm_v, unit_w, unit_v, 2 * torch.atan2(apart, together), sine, cosine)


def kernel(w: Tensor, v: Tensor) -> Tensor:
    r"""Overlaps $k(w_i,v_j)$ of ReLU neurons under a standard normal input.

    Args:
        w: Shape ``(..., m, n)``.
        v: Shape ``(..., k, n)``.

    Returns:
        Shape ``(..., m, k)``.

    >>> e = torch.eye(2, dtype=torch.float64)
    >>> k = kernel(e, torch.cat([e, -e]))
    >>> bool(torch.allclose(k, torch.tensor([[pi, 1, 0, 1], [1, pi, 1, 0]], dtype=torch.float64) / (2 * pi)))
    True
    """
    return _pairs(w, v).kernel


def kernel_gradient(w: Tensor, v: Tensor) -> Tensor:
    r"""$\nabla_{w_i}k(w_i,v_j)=\bigl(|v_j|\sin\varphi\,w_i/|w_i|+(\pi-\varphi)v_j\bigr)/2\pi$.

    Args:
        w: Shape ``(..., m, n)``.
        v: Shape ``(..., k, n)``.

    Returns:
        Shape ``(..., m, k, n)``; 0 where $w_i=0$.
    """
    return _gradient(_pairs(w, v), v)


def _gradient(p: _Pairs, v: Tensor) -> Tensor:
    along = (p.norm_v[..., None, :] * p.sine)[..., None] * p.unit_w[..., :, None, :]
    across = (pi - p.angle)[..., None] * v[..., None, :, :]
    return (p.norm_w > 0)[..., :, None, None] * (along + across) / (2 * pi)


def _mixed(p: _Pairs) -> Tensor:
    r"""$\nabla_w\nabla_v k=\mathbb E\,s'(w\cdot x)s'(v\cdot x)xx^T$, shape ``(..., m, k, n, n)``."""
    a, b = torch.broadcast_tensors(p.unit_w[..., :, None, :], p.unit_v[..., None, :, :])
    sine, cosine = p.sine[..., None], p.cosine[..., None]
    # both factors are of the size of the sine, or of rounding: their product over it goes to 0 with it
    turned = _outer(b - cosine * a, (a - cosine * b) / sine.clamp(min=torch.finfo(a.dtype).eps))
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    return ((pi - p.angle)[..., None, None] * eye + sine[..., None] * _outer(a, b) + turned) / (2 * pi)


def _own(p: _Pairs) -> Tensor:
    r"""$\nabla_w\nabla_w k$, shape ``(..., m, k, n, n)``; it vanishes where the neurons are parallel."""
    a, b = torch.broadcast_tensors(p.unit_w[..., :, None, :], p.unit_v[..., None, :, :])
    sine, cosine = p.sine[..., None], p.cosine[..., None]
    rest = b - cosine * a
    turned = _outer(rest, rest / sine.clamp(min=torch.finfo(a.dtype).eps))
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    ratio = p.norm_v[..., None, :] / p.norm_w[..., :, None]
    return ratio[..., None, None] * (sine[..., None] * (eye - _outer(a, a)) + turned) / (2 * pi)


def _outer(a: Tensor, b: Tensor) -> Tensor:
    return a[..., :, None] * b[..., None, :]


@dataclass(frozen=True)
class Teacher:
    r"""A target net $f^*(x)=A^*s(W^*x)$, and the population loss of students against it.

    All methods take the input weights $W$ of a student, shape ``(..., m, n)``, and its output weights $A$, shape
    ``(..., o, m)``, with leading dims that broadcast with the teacher's: every configuration at once.

    Attributes:
        first: $W^*$, shape ``(..., k, n)``.
        second: $A^*$, shape ``(..., o, k)``.

    Raises:
        SymtheoryError: If the shapes do not fit each other.

    >>> teacher = Teacher(torch.eye(1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64))
    >>> float(teacher.loss(torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)))
    0.25
    """

    first: Tensor
    second: Tensor

    def __post_init__(self) -> None:
        if self.first.dim() < 2 or self.second.dim() < 2 or self.first.shape[-2] != self.second.shape[-1]:
            raise SymtheoryError(
                "input weights (..., neurons, inputs) and output weights (..., outputs, neurons)",
                f"{tuple(self.first.shape)} and {tuple(self.second.shape)}",
                "give one row and one column a neuron",
            )

    def loss(self, first: Tensor, second: Tensor) -> Tensor:
        r"""$\tfrac12\mathbb E_x\|f(x)-f^*(x)\|^2$.

        Args:
            first: $W$, shape ``(..., m, n)``.
            second: $A$, shape ``(..., o, m)``.

        Returns:
            Shape ``(...)``.
        """
        return self._measure(first, second)[0]

    def gradient(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        r"""Gradient of :meth:`loss`.

        Args:
            first: $W$, shape ``(..., m, n)``.
            second: $A$, shape ``(..., o, m)``.

        Returns:
            For $W$ and for $A$, in their shapes with the leading dims of both nets.
        """
        return self._measure(first, second)[1:]

    def loss_and_gradient(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both, for little more than the price of one.

        Args:
            first: $W$, shape ``(..., m, n)``.
            second: $A$, shape ``(..., o, m)``.

        Returns:
            Loss, gradient for $W$, gradient for $A$.
        """
        return self._measure(first, second)

    def hessian(self, first: Tensor, second: Tensor) -> Tensor:
        r"""Hessian of :meth:`loss`, in the order of $(W, A)$ flattened row by row.

        Args:
            first: $W$, shape ``(..., m, n)``.
            second: $A$, shape ``(..., o, m)``.

        Returns:
            Shape ``(..., mn+om, mn+om)``, symmetric.

        Raises:
            SymtheoryError: If a neuron of the student is zero: the loss has a kink there.
        """
        if bool((first.norm(dim=-1) == 0).any()):
            raise SymtheoryError("neurons that are not zero", "a zero row of W", "prune dead neurons first")
        z, c = self._joined(first, second)
        m, n, o = first.shape[-2], first.shape[-1], second.shape[-2]
        pairs, gram = _pairs(z[..., :m, :], z), _gram(c)[..., :m, :]
        lead = z.shape[:-2]
        slope = _gradient(pairs, z)  # (i, j, n): of k(w_i, z_j) in w_i
        same = torch.eye(m, dtype=z.dtype, device=z.device)
        diagonal = torch.einsum("...ij,...ijab->...iab", gram, _own(pairs))
        ww = torch.einsum("...ij,...ijab->...iajb", gram[..., :m], _mixed(pairs)[..., :m, :, :])
        ww = ww + torch.einsum("...iab,ij->...iajb", diagonal, same)
        # d/da_pj of sum_l (c_i . c_l) slope_il: through c_i if i = j, through c_l if l = j
        wa = torch.einsum("...pi,...ija->...iapj", c[..., :m], slope[..., :m, :])
        wa = wa + torch.einsum("...pl,...ila,ij->...iapj", c, slope, same)
        outputs = torch.eye(o, dtype=z.dtype, device=z.device)
        aa = torch.einsum("...ij,pq->...piqj", pairs.kernel[..., :m], outputs)
        ww, aa = ww.reshape(*lead, m * n, m * n), aa.reshape(*lead, o * m, o * m)
        wa = wa.reshape(*lead, m * n, o * m)
        return torch.cat([torch.cat([ww, wa], -1), torch.cat([wa.mT, aa], -1)], -2)

    @cached_property
    def _constant(self) -> Tensor:
        """Half the mean square of the teacher."""
        return (_gram(self.second) * kernel(self.first, self.first)).sum((-2, -1)) / 2

    def _measure(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss and gradients from the pairs of a student's neuron with any neuron."""
        z, c = self._joined(first, second)
        m = first.shape[-2]
        pairs, gram = _pairs(z[..., :m, :], z), _gram(c)[..., :m, :]
        overlaps = pairs.kernel
        both = gram * overlaps
        loss = both[..., :m].sum((-2, -1)) / 2 + both[..., m:].sum((-2, -1)) + self._constant
        # the sum over j of c_i.c_j times the gradient of the kernel, without a tensor of all pairs of vectors
        along = (gram * pairs.sine * pairs.norm_v[..., None, :]).sum(-1)[..., None] * pairs.unit_w
        across = (gram * (pi - pairs.angle)) @ z
        alive = (pairs.norm_w > 0)[..., None]
        return loss, alive * (along + across) / (2 * pi), c @ overlaps.mT

    def _joined(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Student and teacher as one net: all neurons, and output weights with the teacher's negated."""
        if first.shape[-1] != self.first.shape[-1] or second.shape[-2:] != (self.second.shape[-2], first.shape[-2]):
            raise SymtheoryError(
                f"W of shape (..., m, {self.first.shape[-1]}) and A of shape (..., {self.second.shape[-2]}, m)",
                f"{tuple(first.shape)} and {tuple(second.shape)}",
                "give student and teacher the same inputs and outputs",
            )
        lead = torch.broadcast_shapes(*(t.shape[:-2] for t in (first, second, self.first, self.second)))
        w, v, a, b = (t.expand(*lead, *t.shape[-2:]) for t in (first, self.first, second, self.second))
        return torch.cat([w, v], -2), torch.cat([a, -b], -1)


def _gram(c: Tensor) -> Tensor:
    return c.mT @ c
