r"""Regularisation paths by plain gradient descent: eq. (7) of paper A, corrected, beside the lasso and the group lasso.

Least squares with a random, not axis-aligned, projection $P = OO^T$; in the truth most of $O^T\theta$ is zero. For
every $\alpha$ the factors are trained by gradient descent with momentum, all at once in one sweep; the convex
problems are solved separately by proximal gradient descent. The third form is eq. (7) as printed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from symtheory.engine.coordinates import coordinates, expand
from symtheory.engine.factoring import Factoring, group_index
from symtheory.engine.model import Batch, squared_norm
from symtheory.engine.proximal import penalised_least_squares
from symtheory.engine.sweep import Sweep, train
from symtheory.engine.updates import sgd
from symtheory.errors import SymtheoryError
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.families import from_basis
from symtheory.spec.mirror import Mirror
from symtheory.spec.params import Params
from symtheory.spec.verdict import Verdict

Form = Literal["coordinates", "groups", "printed"]
FORMS: tuple[Form, ...] = ("coordinates", "groups", "printed")
#: Largest distance from the convex solution that counts as the same path, relative to the truth.
PATH_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the experiment.

    Attributes:
        dim: Number of parameters.
        rank: Rank of the projection, a multiple of ``group``.
        group: Coordinates in a group; the first group and one coordinate of the second are not zero in the truth.
        samples: Number of samples.
        noise: Standard deviation of the noise.
        strengths: Number of values of alpha.
        steps: Steps of gradient descent.
        lr: Learning rate.
        momentum: Momentum.
        seed: Seed of everything.
    """

    dim: int = 24
    rank: int = 12
    group: int = 3
    samples: int = 96
    noise: float = 0.5
    strengths: int = 18
    steps: int = 2500
    lr: float = 0.1
    momentum: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < 2 * self.group <= self.rank <= self.dim <= self.samples or self.rank % self.group:
            raise SymtheoryError(
                "group | rank, 2 group <= rank <= dim <= samples",
                f"{self.group}, {self.rank}, {self.dim}, {self.samples}",
                "let every group be full and the problem strictly convex",
            )
        if min(self.strengths, self.steps, self.lr) <= 0 or not 0 <= self.momentum < 1:
            raise SymtheoryError("positive strengths, steps and lr, 0 <= momentum < 1", f"{self}", "see figures.l1")


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _descend(loss: Callable[[Params, Batch], Tensor], start: Params, alphas: Tensor, shard: Shard) -> Params:
    """Gradient descent for every alpha at once; alpha is each configuration's own stream."""
    count = len(alphas)
    lr = torch.full((count,), shard["lr"], dtype=torch.float64)
    sweep = Sweep(loss, lr, torch.zeros_like(lr), torch.arange(count), sgd(shard["momentum"]))
    repeated = {k: p.expand(count, *p.shape).clone() for k, p in start.items()}
    block = {"alpha": alphas[:, None].expand(count, shard["steps"])}
    (end,) = train(sweep, repeated, [block])
    return {k: p.clone() for k, p in end.items()}


def _printed(mirror: Mirror, params: Params) -> Params:
    r"""$T = (I-P)v + (Pw)\odot(Pu)$, exactly as printed."""
    v, w, u = ({"theta": params[k]} for k in ("v", "w", "u"))
    across = [expand(mirror, coordinates(mirror, p), p)["theta"] for p in (v, w, u)]
    return {"theta": params["v"] - across[0] + across[1] * across[2]}


def compute(shard: Shard) -> xr.Dataset:
    """Paths of all forms.

    Args:
        shard: The fields of :class:`Settings`.

    Returns:
        See :meth:`L1.run`.
    """
    g = torch.Generator().manual_seed(shard["seed"])
    dim, rank, group = shard["dim"], shard["rank"], shard["group"]
    basis = torch.linalg.qr(_normal(g, dim, rank)).Q
    mirror = from_basis(basis, {"theta": (dim,)})
    z = torch.zeros(rank, dtype=torch.float64)
    z[:group] = torch.linspace(2.0, 1.0, group, dtype=torch.float64) * (-1.0) ** torch.arange(group)
    z[group] = 1.2
    free = _normal(g, dim)
    truth = free - basis @ (basis.T @ free) + basis @ z
    a = _normal(g, shard["samples"], dim)
    b = a @ truth + shard["noise"] * _normal(g, shard["samples"])
    along = torch.eye(dim, dtype=torch.float64) - basis @ basis.T
    pull = basis.T @ a.T @ (b - a @ along @ torch.linalg.pinv(a @ along) @ b) / len(b)
    indices = {"each": group_index(mirror, "each"), "groups": torch.arange(rank) // group}
    top = float(Factoring(mirror, indices["groups"]).norms(pull).max()) / 2
    alphas = torch.linspace(0.02, 1.1, shard["strengths"], dtype=torch.float64) * top

    def least_squares(params: Params) -> Tensor:
        return (a @ params["theta"] - b).square().mean() / 2

    def factored(f: Factoring) -> Callable[[Params, Batch], Tensor]:
        return lambda p, batch: least_squares(f.join(p)) + batch["alpha"] * f.penalty(p)

    def as_printed(p: Params, batch: Batch) -> Tensor:
        return least_squares(_printed(mirror, p)) + batch["alpha"] * squared_norm({k: p[k] for k in ("w", "u")})

    exact = [
        torch.stack([basis.T @ penalised_least_squares(a, b, basis, index, 2 * float(s)) for s in alphas])
        for index in indices.values()
    ]
    start = {"theta": 0.5 * _normal(g, dim)}
    trained = []
    for index in indices.values():
        f = Factoring(mirror, index)
        end = _descend(factored(f), f.split(start), alphas, shard)
        trained.append(torch.stack([f.across({k: p[i] for k, p in end.items()}) for i in range(len(alphas))]))
    wide = {k: 0.5 * _normal(g, dim) for k in ("v", "w", "u")}
    end = _descend(as_printed, wide, alphas, shard)
    thetas = [_printed(mirror, {k: p[i] for k, p in end.items()})["theta"] for i in range(len(alphas))]
    trained.append(torch.stack([basis.T @ t for t in thetas]))
    dims = ("form", "strength", "coordinate")
    return xr.Dataset(
        {
            "trained": (dims, torch.stack(trained).numpy()),
            "convex": (dims, torch.stack([*exact, exact[0]]).numpy()),
            "truth": (("coordinate",), z.numpy()),
        },
        coords={
            "form": list(FORMS),
            "strength": 2 * alphas.numpy(),
            "group": ("coordinate", indices["groups"].numpy()),
        },
    )


class L1(Figure):
    """Lasso and group lasso paths, by gradient descent on factors."""

    id: ClassVar[str] = "L1"
    title: ClassVar[str] = "Lasso paths by gradient descent"
    source: ClassVar[str] = "Paper A, eq. (7)"
    claim: ClassVar[str] = (
        "A product of factors with weight decay solves the lasso, for any projection; one scalar for a group of "
        "coordinates solves the group lasso. The Hadamard product of the projected vectors solves neither."
    )
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(dim=12, rank=6, samples=48, strengths=5, steps=800),
        "page": Settings(),
        "paper": Settings(dim=60, rank=30, samples=240, strengths=40, steps=10000),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One shard: it takes seconds.

        Args:
            config: Settings.

        Returns:
            Settings of the shard.
        """
        return [config.to_json()]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        r"""Train and solve.

        Args:
            config: Settings.
            device: The CPU; the problem is too small for anything else.
            executor: Maps over the shards.

        Returns:
            ``trained`` and ``convex``, the coordinates $O^T\theta$ by (form, strength, coordinate); for the printed
            form ``convex`` is the lasso. ``truth`` (coordinate), ``group`` (coordinate). The strength is $2\alpha$.
        """
        runner = InProcess() if executor is None else executor
        (result,) = runner.map(self.id, compute, self.shards(config))
        for name in (*result.data_vars, "strength", "group"):
            result[name].attrs["units"] = "1"
        result["strength"].attrs["long_name"] = "strength of the penalty, 2 alpha"
        return result

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """Do the trained paths lie on the convex ones?

        Args:
            result: From :meth:`run`.

        Returns:
            One verdict a form that should, with the printed product, or the other penalty, as the control.
        """

        def off(trained: Any, convex: Any) -> float:
            gap = result["trained"].sel(form=trained) - result["convex"].sel(form=convex)
            return float(np.sqrt((gap**2).sum("coordinate")).max() / np.sqrt((result["truth"] ** 2).sum()))

        return [
            Verdict(
                "coordinates: the trained path is the lasso's (control: the printed product)",
                off("coordinates", "coordinates"), PATH_TOLERANCE, control=off("printed", "coordinates"), factor=100.0,
            ),
            Verdict(
                "groups: the trained path is the group lasso's (control: the lasso)",
                off("groups", "groups"), PATH_TOLERANCE, control=off("groups", "coordinates"), factor=100.0,
            ),
        ]  # fmt: skip
