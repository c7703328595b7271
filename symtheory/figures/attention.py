r"""Self-attention without an MLP on in-context linear regression: data, model, gradients.

A prompt is a matrix $X$ of $T$ rows. Row $j$ holds features $x_j$ and, in its last column, $x_j\cdot w^*$; the last
row's target is missing (0) and is what the model predicts. One head a layer, no MLP, no biases:

$$H' = H + A\,HW_V \ \text{(or } A\,HW_V),\qquad A = \operatorname{softmax}(HW_QW_K^TH^T/\sqrt d),$$

and the prediction is the last column of the last row after the last layer. :func:`predict` says so, naively. Training
uses :func:`one_layer` and :func:`two_layers`, which give the same gradients from far less work:

* only the last row of the last layer matters, so its queries and keys are never formed: its logits are
  $H\,(W_KW_Q^Th_T)$, one vector per prompt; for the same reason only the last column of the last $W_V$ matters;
* the first of two layers needs every row of $A_1$, but of $A_1XW_V$ only products with three vectors; the gradient with
  respect to $A_1$ is of rank two plus a row, so that no product beyond $XM$, $(XM)X^T$ and their transposes is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from symtheory.spec.params import Params

#: Prompts handled at once by :func:`two_layers`, so that their attention stays in cache.
CHUNK = 25


@dataclass(frozen=True)
class Prompts:
    """A training set.

    Attributes:
        x: Prompts, shape ``(prompts, rows, features + 1)``; the last entry of the last row is 0.
        y: The missing targets, shape ``(prompts,)``.
    """

    x: Tensor
    y: Tensor

    @cached_property
    def columns(self) -> Tensor:
        """The prompts transposed and laid out anew: products with them are twice as fast."""
        return self.x.mT.contiguous()


def prompts(count: int, rows: int, features: int, seed: int, *, shared: bool) -> Prompts:
    r"""In-context linear regression, $x\sim\mathcal N(0, I)$, $w^*\sim\mathcal N(0, I)$, no noise.

    Args:
        count: Number of prompts.
        rows: Rows of a prompt; all but the last are demonstrations.
        features: Dimension of $x$.
        seed: Seed.
        shared: One $w^*$ for all prompts instead of one each.

    Returns:
        The training set.
    """
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(count, rows, features, generator=g)
    w = torch.randn(1 if shared else count, features, 1, generator=g)
    target = x @ w
    full = torch.cat([x, target], dim=-1)
    full[:, -1, -1] = 0
    return Prompts(full, target[:, -1, 0].clone())


def initial(layers: int, dim: int, seed: int, scale: float = 1.0) -> Params:
    r"""Weights as ``torch.nn.Linear`` draws them: uniform on $\pm\text{scale}/\sqrt d$.

    Args:
        layers: Number of layers.
        dim: $d$, the width of a row.
        seed: Seed.
        scale: Factor on all of them.

    Returns:
        ``q1``, ``k1``, ``v1`` and so on, each ``(dim, dim)``.
    """
    g = torch.Generator().manual_seed(seed + 10_000)
    names = [f"{kind}{layer}" for layer in range(1, layers + 1) for kind in "qkv"]
    return {name: scale * dim**-0.5 * (2 * torch.rand(dim, dim, generator=g) - 1) for name in names}


def predict(params: Params, x: Tensor, *, residual: bool) -> Tensor:
    """The model as one would write it: every query, key and value of every layer.

    Args:
        params: From :func:`initial`.
        x: Prompts, ``(prompts, rows, dim)``.
        residual: Whether a layer adds to its input.

    Returns:
        Predictions, ``(prompts,)``.
    """
    h = x
    for layer in range(1, len(params) // 3 + 1):
        query, key, value = (h @ params[f"{kind}{layer}"] for kind in "qkv")
        attention = torch.softmax(query @ key.mT / x.shape[-1] ** 0.5, dim=-1)
        h = h + attention @ value if residual else attention @ value
    return h[:, -1, -1]


def loss(params: Params, data: Prompts, *, residual: bool) -> Tensor:
    """Mean squared error of :func:`predict`.

    Args:
        params: From :func:`initial`.
        data: Training set.
        residual: Whether a layer adds to its input.

    Returns:
        Scalar.
    """
    return ((predict(params, data.x, residual=residual) - data.y) ** 2).mean()


def reduced(params: Params) -> Params:
    """Weights that the prediction depends on: of the last layer's values only the last column.

    Args:
        params: From :func:`initial`, perhaps with leading dims.

    Returns:
        The same with the last ``v`` of shape ``(..., dim)``.
    """
    last = f"v{len(params) // 3}"
    return {k: p[..., -1].contiguous() if k == last else p for k, p in params.items()}


def one_layer(params: Params, data: Prompts) -> tuple[Tensor, Params]:
    r"""Loss and gradients of one layer, for several configurations on the same prompts.

    A residual connection changes nothing here: the entry it would add to the prediction is the missing target's 0.

    Args:
        params: ``q1`` and ``k1`` of shape ``(C, dim, dim)``, ``v1`` of shape ``(C, dim)``.
        data: Training set.

    Returns:
        Losses ``(C,)`` and gradients shaped like ``params``.
    """
    x, (q, k, v) = data.x, (params[n] for n in ("q1", "k1", "v1"))
    count, (n, _, d) = len(q), x.shape
    last, scale = x[:, -1], d**-0.5
    m = torch.bmm(q, k.mT).mul_(scale).transpose(0, 1).reshape(d, count * d)
    # rows 0..C-1: what each configuration's last query asks of the prompt; rows C..2C-1: its values
    asked = torch.cat([(last @ m).view(n, count, d), v.expand(n, count, d)], dim=1)
    scores = torch.bmm(asked, data.columns)
    weight, value = torch.softmax(scores[:, :count], dim=-1), scores[:, count:]
    error = (weight * value).sum(-1) - data.y[:, None]
    slope = error * (2 / n)
    predicted = (error + data.y[:, None])[..., None]
    back = torch.cat([weight * (value - predicted) * slope[..., None], weight * slope[..., None]], dim=1)
    back = torch.bmm(back, x)
    dm = (last.T @ back[:, :count].reshape(n, count * d)).view(d, count, d).transpose(0, 1).mul(scale)
    gradient = {"q1": torch.bmm(dm, k), "k1": torch.bmm(dm.mT, q), "v1": back[:, count:].sum(0)}
    return error.square().mean(0), gradient


def one_matrix(params: Params, data: Prompts) -> tuple[Tensor, Params]:
    r"""Loss and gradients of one layer with one matrix $M$ in place of $W_QW_K^T$: no rotation symmetry.

    Args:
        params: ``m1`` of shape ``(C, dim, dim)``, ``v1`` of shape ``(C, dim)``.
        data: Training set.

    Returns:
        Losses ``(C,)`` and gradients shaped like ``params``.
    """
    eye = torch.eye(data.x.shape[-1], dtype=data.x.dtype, device=data.x.device).expand_as(params["m1"])
    losses, gradient = one_layer({"q1": params["m1"], "k1": eye, "v1": params["v1"]}, data)
    return losses, {"m1": gradient["q1"], "v1": gradient["v1"]}


def two_layers(params: Params, data: Prompts, *, residual: bool, chunk: int = CHUNK) -> tuple[Tensor, Params]:
    r"""Loss and gradients of two layers, for one configuration.

    Args:
        params: ``q1``, ``k1``, ``v1``, ``q2``, ``k2`` of shape ``(1, dim, dim)``, ``v2`` of shape ``(1, dim)``.
        data: Training set.
        residual: Whether a layer adds to its input.
        chunk: Prompts handled at once.

    Returns:
        Losses ``(1,)`` and gradients shaped like ``params``.
    """
    q1, k1, v1, q2, k2, v2 = (params[n][0] for n in ("q1", "k1", "v1", "q2", "k2", "v2"))
    scale, skip = data.x.shape[-1] ** -0.5, float(residual)
    m1, m2, through = q1 @ k1.T * scale, q2 @ k2.T * scale, v1 @ v2
    dm1, dm2, dv1 = (torch.zeros_like(v1) for _ in range(3))
    dv2, dthrough, total = torch.zeros_like(v2), torch.zeros_like(v2), v2.new_zeros(())
    for x, y in zip(data.x.split(chunk), data.y.split(chunk), strict=True):
        rows, last = x.reshape(-1, x.shape[-1]), x[:, -1]
        a1 = torch.softmax(torch.bmm((rows @ m1).view_as(x), x.mT), dim=-1)
        seen = torch.bmm(a1[:, -1:], x)[:, 0]
        h = seen @ v1 + skip * last
        key = h @ m2
        # columns: the second layer's keys, seen through v1, and its values; then both seen through the skip
        ways = torch.stack([key @ v1.T, through.expand_as(key), key, v2.expand_as(key)], dim=-1)
        direct = torch.bmm(x, ways if residual else ways[..., :2])
        mixed = torch.bmm(a1, direct[..., :2])
        second = mixed + direct[..., 2:] if residual else mixed
        a2, value = torch.softmax(second[..., 0], dim=-1), second[..., 1]
        found = (a2 * value).sum(-1, keepdim=True)
        error = found + skip * h[:, -1:] - y[:, None]
        total += error.square().sum()
        slope = error * (2 / len(data.y))
        dsecond = torch.stack([a2 * (value - found) * slope, a2 * slope], dim=-1)
        dways = torch.bmm(x.mT, torch.cat([torch.bmm(a1.mT, dsecond), dsecond], dim=-1))
        dkey = dways[..., 0] @ v1
        dthrough += dways[..., 1].sum(0)
        if residual:
            dkey += dways[..., 2]
            dv2 += dways[..., 3].sum(0)
        dh = dkey @ m2.T
        dh[:, -1:] += skip * slope
        dm2.addmm_(h.T, dkey)
        dv1.addmm_(dways[..., 0].T, key).addmm_(seen.T, dh)
        dlast = torch.bmm(x, (dh @ v1.T)[..., None])[..., 0]
        # softmax of the first layer: a1 * (da1 - its mean under a1), where da1 = dsecond direct^T, plus the last row
        mean = (dsecond * mixed).sum(-1, keepdim=True)
        ds = torch.bmm(
            torch.cat([dsecond, -mean], dim=-1),
            torch.cat([direct[..., :2], torch.ones_like(mean)], dim=-1).mT,
        )
        ds[:, -1] += dlast - (a1[:, -1] * dlast).sum(-1, keepdim=True)
        dm1.addmm_(rows.T, torch.bmm(ds.mul_(a1), x).view_as(rows))
    dm1, dm2 = dm1 * scale, dm2 * scale
    dv1.addr_(dthrough, v2)
    dv2 = dv2 + v1.T @ dthrough
    gradient = {"q1": dm1 @ k1, "k1": dm1.T @ q1, "v1": dv1, "q2": dm2 @ k2, "k2": dm2.T @ q2, "v2": dv2}
    return (total / len(data.y))[None], {name: g[None] for name, g in gradient.items()}
