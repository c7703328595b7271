r"""Eq. (2) of paper A: the Hessian of a tanh network of any width at the origin.

$\ell = \tfrac12(\sum_iu_i\tanh(w_ix) - y)^2$ is invariant when one pair $(u_i, w_i)$ is negated. At $u = w = 0$ all $d$ mirrors meet
and the Hessian has $d$ blocks $-xy\,\begin{psmallmatrix}0&1\\1&0\end{psmallmatrix}$, with eigenvectors $(1,\pm1)$.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from symtheory.engine.model import Batch
from symtheory.engine.operators import dense_hessian
from symtheory.spec import families
from symtheory.spec.mirror import Block, Mirror
from symtheory.spec.numerics import largest
from symtheory.spec.params import Params
from symtheory.spec.verdict import Verdict
from symtheory.theorems.hessian_blocks.blocks import hessian_blocks
from symtheory.theorems.instances import generator_of, normal

#: Two derivatives of one scalar function; relative to |xy|.
TANH_TOLERANCE = 1e-12


@dataclass(frozen=True)
class TanhNet:
    """The network of eq. (2) with a data set.

    Attributes:
        name: For messages.
        width: Number of neurons $d$.
        data: Rows ``(x, y)``.
        seed: Seed.
    """

    name: str
    width: int
    data: Tensor
    seed: int

    @property
    def origin(self) -> Params:
        """$u = w = 0$."""
        return {k: torch.zeros(self.width, dtype=torch.float64) for k in ("u", "w")}

    @property
    def mirrors(self) -> tuple[Mirror, ...]:
        """One sign flip a neuron."""
        shapes = {"u": (self.width,), "w": (self.width,)}
        return tuple(families.sign_flip(shapes, [Block("u", 0, (i,)), Block("w", 0, (i,))]) for i in range(self.width))


def tanh_net(seed: int, width: int | None = None) -> TanhNet:
    """A random instance.

    Args:
        seed: Seed.
        width: Width; default random.

    Returns:
        Network and data.
    """
    g = generator_of(seed)
    d = int(torch.randint(2, 7, (), generator=g)) if width is None else width
    return TanhNet("tanh network", d, normal(g, 3, 2), seed)


def tanh_loss(params: Params, batch: Batch) -> Tensor:
    r"""Mean of $\tfrac12(\sum_iu_i\tanh(w_ix) - y)^2$ over rows ``(x, y)``.

    Args:
        params: ``u`` and ``w``.
        batch: Matrix of shape ``(samples, 2)``.

    Returns:
        Scalar.
    """
    x, y = batch.T
    return (torch.tanh(x[:, None] * params["w"]) @ params["u"] - y).square().mean() / 2


def printed_hessian(width: int, batch: Tensor) -> Tensor:
    r"""Eq. (2) for the mean over a batch, in the order $u_1,\dots,u_d,w_1,\dots,w_d$.

    Args:
        width: $d$.
        batch: Rows ``(x, y)``.

    Returns:
        Matrix of shape ``(2 d, 2 d)``.

    >>> printed_hessian(1, torch.tensor([[2.0, 3.0]]))
    tensor([[-0., -6.],
            [-6., -0.]])
    """
    swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=batch.dtype)
    return -batch.prod(dim=1).mean() * torch.kron(swap, torch.eye(width, dtype=batch.dtype))


def check_tanh(instance: TanhNet) -> Verdict:
    r"""Eq. (2), its $d$ blocks, and their eigenvectors $(1,\pm1)/\sqrt2$, for every sample and the mean.

    Args:
        instance: The network.

    Returns:
        Verdict whose control is the Hessian at a random point.
    """

    def measure(point: Params) -> float:
        found = []
        for batch in (instance.data, *instance.data[:, None]):
            printed = printed_hessian(instance.width, batch)
            scale = float(printed.abs().max())
            blocks = hessian_blocks(tanh_loss, point, batch, instance.mirrors)
            found += [
                float((dense_hessian(tanh_loss, point, batch) - printed).abs().max()) / scale,
                blocks.leak,
                float(blocks.sizes != (2,) * instance.width),
                largest(abs(float(s.abs().max()) - scale) / scale for s in blocks.spectra),
            ]
        return largest(found)

    g = generator_of(instance.seed)
    return Verdict(
        f"eq. (2), width {instance.width}",
        residual=measure(instance.origin),
        tolerance=TANH_TOLERANCE,
        control=measure({k: normal(g, instance.width) for k in ("u", "w")}),
        seed=instance.seed,
        sizes={"parameters": 2 * instance.width},
    )


def footnote_one() -> Verdict:
    r"""$O^THO$ is said to be a two-block matrix: for $O = (e_1, e_2)$ and a loss with that mirror it is one full block.

    Returns:
        Verdict on the off-diagonal entry of $O^THO$ being zero, which must fail.
    """
    basis = torch.eye(3, dtype=torch.float64)[:, :2]

    def loss(p: Params, _: Batch) -> Tensor:
        a, b, c = p["w"]
        return (a * b + a**2 + 2 * b**2) * (1 + c)  # invariant when a and b are negated

    hessian = dense_hessian(loss, {"w": torch.tensor([0.0, 0.0, 1.0]).double()}, None)
    return Verdict("O^T H O has a zero block", float((basis.T @ hessian @ basis)[0, 1].abs()), 1e-12)
