r"""Matrix-free derivatives: gradients, Hessian-vector products, and the Hessian restricted to a mirror's normals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import aslinearoperator, eigsh
from torch import Tensor
from torch.func import grad, vjp

from symtheory.engine.model import Batch, Loss
from symtheory.engine.tracing import traced
from symtheory.errors import SymtheoryError
from symtheory.spec.mirror import Mirror
from symtheory.spec.params import Params, flatten, shapes_of, size_of, unflatten


@dataclass(frozen=True)
class _Operator:
    """What ``aslinearoperator`` asks for: a shape, a type and a product."""

    shape: tuple[int, int]
    matvec: Callable[[np.ndarray], np.ndarray]
    dtype: type = float


#: Below this many normals the restricted Hessian is formed densely; above, Lanczos finds its lowest eigenvalue.
DENSE_RANK = 128

#: Products from which on recording the graph of a Hessian-vector product pays.
WORTH_RECORDING = 10


def gradient(loss: Loss, params: Params, batch: Batch) -> Params:
    r"""$\nabla_\theta\ell(\theta, x)$.

    Args:
        loss: The loss.
        params: Point $\theta$.
        batch: Data $x$.

    Returns:
        One tensor per parameter.

    >>> gradient(lambda p, x: (p["w"] * x).sum() ** 2 / 2, {"w": torch.tensor([1.0, 2.0])}, torch.ones(2))["w"]
    tensor([3., 3.])
    """
    return grad(loss)(params, batch)


def hvp_of(loss: Loss, params: Params, batch: Batch, *, repeated: bool = False) -> Callable[[Params], Params]:
    r"""Hessian-vector product $v \mapsto \nabla^2\ell(\theta, x)\,v$ with the gradient's graph built once.

    Reverse over reverse: the Jacobian of the gradient is symmetric, so its vector-Jacobian product is the HVP, and the
    cached graph makes repeated products cheap. It holds the activations of the forward and of the backward pass for
    as long as the returned function lives; memory is O(parameters + activations) and no matrix is formed.

    Args:
        loss: The loss.
        params: Point $\theta$.
        batch: Data $x$.
        repeated: Also record and fold that graph (:mod:`symtheory.engine.tracing`). It costs about two products and
            pays from some ten on (:data:`WORTH_RECORDING`); folded constants replace the activations they are made of.

    Returns:
        A function from and to parameter-shaped dicts.

    Raises:
        SymtheoryError: If the gradient at $\theta$ is not finite, or later a product.

    >>> h = hvp_of(lambda p, _: p["w"][0] ** 2 * p["w"][1], {"w": torch.tensor([1.0, 3.0])}, None)
    >>> h({"w": torch.tensor([1.0, 0.0])})["w"]
    tensor([6., 2.])
    """
    slope, pullback = vjp(lambda p: grad(loss)(p, batch), params)[:2]
    _require_finite(slope, "gradient", "move to parameters where the loss is differentiable")

    def product(vector: Params) -> Params:
        return pullback(vector)[0]

    apply = product
    if repeated:
        generator = torch.Generator().manual_seed(0)
        example = {k: torch.randn(p.shape, generator=generator, dtype=p.dtype).to(p.device) for k, p in params.items()}
        apply = traced(product, example)

    def checked(vector: Params) -> Params:
        image = apply(vector)
        _require_finite(image, "Hessian-vector product", "check the vector, and that the loss is twice differentiable")
        return image

    return checked


def _require_finite(tensors: Params, name: str, remedy: str) -> None:
    """A sum is not finite if an entry is not; only then is every entry looked at."""
    for key, t in tensors.items():
        if not bool(torch.isfinite(t.sum())) and not bool(torch.isfinite(t).all()):
            raise SymtheoryError(f"a finite {name}", f"{key!r} with NaN or infinity", remedy)


def normal_basis(mirror: Mirror, dtype: torch.dtype = torch.float64) -> Tensor:
    r"""Orthonormal basis of the image of $P$ on the flat vector of the touched tensors.

    Args:
        mirror: The mirror; its rank should be moderate.
        dtype: Floating type.

    Returns:
        Matrix $O$ of shape ``(n, r)``.

    Raises:
        SymtheoryError: If random normals do not span the image (a mirror with a wrong rank).
    """
    generator = torch.Generator().manual_seed(0)
    normals = torch.stack([flatten(mirror.random_normal(generator, dtype)) for _ in range(mirror.rank)], dim=1)
    basis, triangle = torch.linalg.qr(normals)
    if float(triangle.diagonal().abs().min()) < 1e-10:
        raise SymtheoryError(f"{mirror.rank} independent normals", "fewer", "check the mirror's rank")
    return basis


def restricted_hessian(loss: Loss, params: Params, batch: Batch, basis: Tensor, names: list[str]) -> Tensor:
    r"""$O^T\,\nabla^2\ell\,O$ for a basis over the named tensors.

    Args:
        loss: The loss.
        params: Point $\theta$.
        batch: Data $x$.
        basis: Matrix $O$ of shape ``(n, r)`` over the flat vector of the named tensors.
        names: Names of those tensors, in order.

    Returns:
        Symmetric matrix of shape ``(r, r)``.
    """
    product = hvp_of(loss, params, batch)
    shapes = {name: tuple(params[name].shape) for name in names}
    columns = []
    for column in basis.T:
        part = unflatten(column.contiguous(), shapes)
        vector = {k: part.get(k, torch.zeros_like(p)).to(p) for k, p in params.items()}
        image = product(vector)
        columns.append(basis.T @ flatten({k: image[k] for k in names}).to(basis))
    block = torch.stack(columns, dim=1)
    return (block + block.T) / 2


def lowest_normal_curvature(loss: Loss, params: Params, batch: Batch, mirror: Mirror) -> float:
    r"""Smallest eigenvalue of $P\nabla^2\ell P$ on the image of $P$: the curvature that decides escape from the mirror.

    Args:
        loss: The loss.
        params: A point, usually on the mirror.
        batch: Data $x$.
        mirror: The mirror.

    Returns:
        The eigenvalue; dense for few normals, Lanczos otherwise.

    >>> from symtheory.spec import sign_flip
    >>> mirror = sign_flip({"w": (2,)}, ["w"])
    >>> saddle = lambda p, _: 3 * p["w"][0] ** 2 - p["w"][1] ** 2
    >>> round(lowest_normal_curvature(saddle, {"w": torch.zeros(2).double()}, None, mirror), 9)
    -2.0
    """
    names = list(mirror.shapes)
    if mirror.rank <= DENSE_RANK:
        block = restricted_hessian(loss, params, batch, normal_basis(mirror), names)
        return float(torch.linalg.eigvalsh(block)[0])
    product, shapes, n = hvp_of(loss, params, batch, repeated=True), mirror.shapes, size_of(mirror.shapes)

    def project(flat: Tensor) -> Tensor:
        return flatten(mirror.project(unflatten(flat, shapes)))

    def apply(flat: Tensor) -> Tensor:
        part = unflatten(flat, shapes)
        image = product({k: part.get(k, torch.zeros_like(p)).to(p) for k, p in params.items()})
        return project(flatten({k: image[k] for k in names}).to(flat))

    start = flatten(mirror.random_normal(torch.Generator().manual_seed(0)))

    def lowest(matvec: Callable[[np.ndarray], np.ndarray], which: str) -> float:
        operator = aslinearoperator(_Operator((n, n), matvec))
        return float(eigsh(operator, k=1, which=which, v0=start.numpy(), return_eigenvectors=False)[0])

    def projected(v: np.ndarray) -> np.ndarray:
        return apply(project(torch.from_numpy(v).double())).numpy()

    top = abs(lowest(projected, "LM"))

    def lifted(v: np.ndarray) -> np.ndarray:  # moves the kernel of P above the spectrum, out of the way
        flat = torch.from_numpy(v).double()
        inside = project(flat)
        return (apply(inside) + 2 * top * (flat - inside)).numpy()

    return lowest(lifted, "SA")


def dense_hessian(loss: Loss, params: Params, batch: Batch) -> Tensor:
    r"""Full Hessian on the flat vector, for small models: one Hessian-vector product for each column.

    Not by ``torch.func.hessian`` or ``jacrev(jacrev(...))``, whose batched derivatives of ``LayerNorm`` are wrong
    (torch 2.13: off by a tenth, and not symmetric). The columns are computed apart from each other, so that the
    symmetry of the result is evidence; it is checked.

    Args:
        loss: The loss.
        params: Point $\theta$ with n scalars.
        batch: Data $x$.

    Returns:
        Symmetric matrix of shape ``(n, n)``.

    Raises:
        SymtheoryError: If the products do not form a symmetric matrix.
    """
    shapes = shapes_of(params)
    n = size_of(shapes)
    product = hvp_of(loss, params, batch, repeated=n >= WORTH_RECORDING)
    unit = torch.eye(n, dtype=flatten(params).dtype, device=flatten(params).device)
    matrix = torch.stack([flatten(product(unflatten(e, shapes))) for e in unit], dim=1)
    gap, scale = float((matrix - matrix.T).abs().max()), float(matrix.abs().max())
    if gap > 1e5 * torch.finfo(matrix.dtype).eps * scale:
        raise SymtheoryError(
            "a symmetric Hessian", f"|H - H^T| = {gap:.2g}", "check that the loss is pure and twice differentiable"
        )
    return (matrix + matrix.T) / 2
