"""Compiled CPU kernels for regressors on a product of factors: minibatch Adam, and SGD with biases and held weights.

As in :mod:`symtheory.engine.kernels`, the weights of one configuration stay in cache for a block of steps, and
configurations run on threads. The kernels take float32 or float64; sums may be reassociated, so results agree with the
plain loop to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, no_type_check

import numba
import numpy as np
from torch import Tensor

from symtheory.engine.kernels import OPTIONS, pool
from symtheory.engine.stepping import Block
from symtheory.engine.updates import State
from symtheory.spec.params import Params


@numba.njit(**OPTIONS)
@no_type_check  # compiled code cannot carry the runtime type checker
def _slope(e: np.ndarray, x: np.ndarray, y: np.ndarray, two: np.ndarray, g: np.ndarray) -> None:
    """Gradient of the mean of (e.x - y)^2 over a batch, written to g; ``two`` is 2 over the batch size."""
    g[:] = 0
    for j in range(x.shape[0]):
        row, total = x[j], -y[j]
        for i in range(e.shape[0]):
            total += e[i] * row[i]
        total *= two[0]
        for i in range(e.shape[0]):
            g[i] += total * row[i]


@numba.njit(**OPTIONS)
@no_type_check  # compiled code cannot carry the runtime type checker
def _linear_adam(w, v, x, y, rates, betas, t) -> None:
    """Adam on w.x; rates: lr, decay, eps, 1 - beta2, 2 / batch, and a place for the bias correction."""
    lr, decay, eps, rest = rates[0], rates[1], rates[2], rates[3]
    g = np.empty_like(w)
    for s in range(x.shape[0]):
        rates[5] = 1.0 / np.sqrt(1.0 - betas[0] ** (t + s + 1))
        keep, correction = rates[6], rates[5]
        _slope(w, x[s], y[s], rates[4:5], g)
        for i in range(w.shape[0]):
            slope = g[i] + decay * w[i]
            v[i] = keep * v[i] + rest * slope * slope
            w[i] -= lr * slope / (np.sqrt(v[i]) * correction + eps)


@numba.njit(**OPTIONS)
@no_type_check  # compiled code cannot carry the runtime type checker
def _hadamard_adam(w, u, vw, vu, bw, bu, x, y, kw, ku, rates, betas, t) -> None:
    """Adam on ((w + bw)(u + bu)).x with kicks of size rates[7] added to the gradients."""
    lr, decay, eps, rest, size = rates[0], rates[1], rates[2], rates[3], rates[7]
    e, g = np.empty_like(w), np.empty_like(w)
    for s in range(x.shape[0]):
        rates[5] = 1.0 / np.sqrt(1.0 - betas[0] ** (t + s + 1))
        keep, correction = rates[6], rates[5]
        for i in range(w.shape[0]):
            e[i] = (w[i] + bw[i]) * (u[i] + bu[i])
        _slope(e, x[s], y[s], rates[4:5], g)
        for i in range(w.shape[0]):
            wi, ui = w[i], u[i]
            gw = g[i] * (ui + bu[i]) + size * kw[s, i] + decay * wi
            gu = g[i] * (wi + bw[i]) + size * ku[s, i] + decay * ui
            vw[i] = keep * vw[i] + rest * gw * gw
            vu[i] = keep * vu[i] + rest * gu * gu
            w[i] = wi - lr * gw / (np.sqrt(vw[i]) * correction + eps)
            u[i] = ui - lr * gu / (np.sqrt(vu[i]) * correction + eps)


@numba.njit(**OPTIONS)
@no_type_check  # compiled code cannot carry the runtime type checker
def _hadamard_static(w, u, bw, bu, fw, fu, hw, hu, x, y, rates) -> None:
    """SGD on the product of fw (w + bw) + hw and fu (u + bu) + hu; rates: lr, decay, 2 / batch."""
    lr, decay = rates[0], rates[1]
    e, g = np.empty_like(w), np.empty_like(w)
    for s in range(x.shape[0]):
        for i in range(w.shape[0]):
            e[i] = (fw[i] * (w[i] + bw[i]) + hw[i]) * (fu[i] * (u[i] + bu[i]) + hu[i])
        _slope(e, x[s], y[s], rates[2:3], g)
        for i in range(w.shape[0]):
            wi, ui = w[i], u[i]
            w[i] = wi - lr * (g[i] * fw[i] * (fu[i] * (ui + bu[i]) + hu[i]) + decay * wi)
            u[i] = ui - lr * (g[i] * fu[i] * (fw[i] * (wi + bw[i]) + hw[i]) + decay * ui)


def _each(kernel: Callable[..., None], arguments: list[tuple[Any, ...]]) -> None:
    """Every configuration on the threads; they write their rows in place."""
    for job in [pool().submit(kernel, *a) for a in arguments]:
        job.result()


def _adam_rates(lr: Tensor, decay: Tensor, beta2: float, eps: float, batch: int, kick: Any, like: Tensor) -> np.ndarray:
    rows = np.zeros((len(lr), 8), dtype=like.numpy().dtype)
    rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3] = lr.numpy(), decay.numpy(), eps, 1 - beta2
    rows[:, 4], rows[:, 6], rows[:, 7] = 2 / batch, beta2, kick
    return rows


def linear_adam(beta2: float = 0.999, eps: float = 1e-8) -> Callable[..., None]:
    r"""Adam without momentum, decay in the gradient, on the mean of $(w\cdot x - y)^2$ over a batch.

    Args:
        beta2: Rate of the second moment.
        eps: Added to the denominator.

    Returns:
        A kernel for parameter ``w``, blocks with ``x`` of shape (streams, steps, batch, dim) and ``y``.
    """
    betas = np.array([beta2])

    def run(
        params: Params, state: State, fixed: Params, block: Block, stream: Tensor, lr: Tensor, decay: Tensor, t: int
    ) -> None:
        rates = _adam_rates(lr, decay, beta2, eps, block["x"].shape[2], 0.0, params["w"])
        x, y = block["x"].numpy(), block["y"].numpy()
        w, v = params["w"].numpy(), state["second"]["w"].numpy()
        _each(_linear_adam, [(w[c], v[c], x[s], y[s], rates[c], betas, t) for c, s in enumerate(stream.tolist())])

    return run


def hadamard_adam(beta2: float = 0.999, eps: float = 1e-8) -> Callable[..., None]:
    r"""Adam without momentum on the mean of $(((w+b_w)\odot(u+b_u))\cdot x - y)^2$, kicks added to the gradients.

    Args:
        beta2: Rate of the second moment.
        eps: Added to the denominator.

    Returns:
        A kernel for parameters ``w`` and ``u``, fixed ``bias_w``, ``bias_u`` and ``kick`` (its standard deviation),
        blocks with ``x``, ``y``, ``kick_w`` and ``kick_u``.
    """
    betas = np.array([beta2])

    def run(
        params: Params, state: State, fixed: Params, block: Block, stream: Tensor, lr: Tensor, decay: Tensor, t: int
    ) -> None:
        rates = _adam_rates(lr, decay, beta2, eps, block["x"].shape[2], fixed["kick"].numpy(), params["w"])
        own = [params["w"], params["u"], state["second"]["w"], state["second"]["u"], fixed["bias_w"], fixed["bias_u"]]
        rows = [a.numpy() for a in own]
        data = [block[k].numpy() for k in ("x", "y", "kick_w", "kick_u")]
        _each(
            _hadamard_adam,
            [(*(a[c] for a in rows), *(d[s] for d in data), rates[c], betas, t) for c, s in enumerate(stream.tolist())],
        )

    return run


def hadamard_static(
    params: Params, state: State, fixed: Params, block: Block, stream: Tensor, lr: Tensor, decay: Tensor, t: int
) -> None:
    r"""SGD on the mean of $((\hat w\odot\hat u)\cdot x - y)^2$ with $\hat w = f_w\odot(w + b_w) + h_w$, and so for $u$.

    Args:
        params: ``w`` and ``u`` of shape ``(C, dim)``.
        state: Unused.
        fixed: ``bias_*``, ``free_*`` (0 or 1) and ``held_*``.
        block: ``x`` of shape ``(streams, steps, batch, dim)`` and ``y``.
        stream: Stream of each configuration.
        lr: Learning rates.
        decay: PyTorch's ``weight_decay``.
        t: Unused.
    """
    names = ("bias_w", "bias_u", "free_w", "free_u", "held_w", "held_u")
    rows = [a.numpy() for a in (params["w"], params["u"], *(fixed[k] for k in names))]
    x, y = block["x"].numpy(), block["y"].numpy()
    rates = np.stack([lr.numpy(), decay.numpy(), np.full(len(lr), 2 / x.shape[2])], axis=1).astype(rows[0].dtype)
    _each(_hadamard_static, [(*(a[c] for a in rows), x[s], y[s], rates[c]) for c, s in enumerate(stream.tolist())])
