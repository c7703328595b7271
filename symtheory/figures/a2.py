r"""Figure A2 (paper A, Figure 2): the Hessian's blocks and the landscape across the mirrors, from a trained network.

Setting of ours (the paper draws a sketch): $f(x) = \sum_j u_j\tanh(w_j^Tx)$ learns two such units of a teacher,
$\ell_\gamma = \tfrac1n\sum(f(x)-y)^2 + \gamma\|\theta\|^2$, by gradient descent from a generic start. Each unit has a
mirror, $(u_j, w_j) \to -(u_j, w_j)$, and units that the decay is too strong for end on theirs, at zero. There

* in a basis of the normals of these mirrors, one mirror after another, and of their complement, the Hessian is block
  diagonal: the normals do not mix with the complement, nor one mirror's with another's (the *subblocks*);
* along the lowest normal direction $n$ the loss $\ell_0(\theta + sn) + \gamma s^2$ is even in $s$, with curvature
  $\lambda_{\min} + 2\gamma$: a well at $s = 0$ above $\gamma^* = -\lambda_{\min}/2$, two wells beside it below.

Controls: the same network off its mirrors, and with shifted units $\tanh(w_j^Tx + b)$, which have no mirror.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from symtheory.engine.model import Loss, with_decay
from symtheory.engine.operators import dense_hessian, normal_basis
from symtheory.errors import SymtheoryError
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.families import sign_flip
from symtheory.spec.mirror import Block, Mirror
from symtheory.spec.params import Params, Shapes, flatten, shapes_of, size_of, unflatten
from symtheory.spec.verdict import Verdict

VARIANTS = ("on the mirrors", "off the mirrors", "units shifted")
DECAYS = ("below", "above")

#: A unit whose weights are shorter than this has reached its mirror; living ones are longer than 0.1.
DEAD = 1e-6
#: Roundings of sums over a few dozen samples, relative to the largest entry.
ROUNDING = 1e-12
#: Relative distances below the critical decay at which the place of the wells is compared with the quartic's: close,
#: where it must agree to a tenth of the distance, and far, where it need not.
NEAR = (1e-3, 0.5)


@dataclass(frozen=True)
class Settings(Config):
    r"""Settings of the figure.

    Attributes:
        inputs: Dimension of $x$.
        units: Hidden units.
        samples: Number of data points.
        decay: Weight decay $\gamma$ of the training.
        steps: Gradient descent steps.
        lr: Learning rate.
        init: Standard deviation of the weights at the start.
        away: Length of the displacement off the mirrors, for the control.
        shift: $b$ of the shifted units, for the control.
        factors: Decays of the two landscapes, in units of $\gamma^*$: one below 1, one above.
        reach: Half-width in $s$ of the landscapes.
        grid: Points of a landscape; odd, so that $s = 0$ is one.
        seed: Seed of data, teacher and start.
    """

    inputs: int = 3
    units: int = 6
    samples: int = 64
    decay: float = 0.03
    steps: int = 6000
    lr: float = 0.3
    init: float = 0.7
    away: float = 1.0
    shift: float = 0.5
    factors: tuple[float, float] = (0.5, 1.5)
    reach: float = 0.4
    grid: int = 201
    seed: int = 1

    def __post_init__(self) -> None:
        names = ("inputs", "units", "samples", "decay", "steps", "lr", "init", "away", "shift", "reach")
        wrong = {k: v for k in names if not (isfinite(v := getattr(self, k)) and v > 0)}
        if wrong or self.grid < 3 or self.grid % 2 == 0:
            raise SymtheoryError(
                "positive settings and an odd grid of at least 3", f"{wrong or self.grid}", "see figures.a2.Settings"
            )
        if len(self.factors) != 2 or not 0 <= self.factors[0] < 1 < self.factors[1] < float("inf"):
            raise SymtheoryError("a factor below 1 and one above", f"{self.factors}", "in units of the critical decay")


def network_loss(shift: float) -> Loss:
    r"""Mean of $(\sum_j u_j\tanh(w_j^Tx + b) - y)^2$.

    Args:
        shift: $b$; 0 gives every unit its mirror.

    Returns:
        The loss, on ``u`` (units,), ``w`` (units, inputs) and batches ``(x, y)``.

    >>> zero = {"u": torch.zeros(2), "w": torch.zeros(2, 3)}
    >>> float(network_loss(0.0)(zero, (torch.ones(4, 3), torch.full((4,), 3.0))))
    9.0
    """

    def loss(params: Params, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return (torch.tanh(x @ params["w"].T + shift) @ params["u"] - y).square().mean()

    return loss


def train(shard: Shard) -> tuple[Params, tuple[Tensor, Tensor]]:
    """Gradient descent from a generic start.

    Args:
        shard: Fields of :class:`Settings`.

    Returns:
        Weights and data.
    """
    g = torch.Generator().manual_seed(shard["seed"])

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    x, teacher = draw(shard["samples"], shard["inputs"]), 1.5 * draw(2, shard["inputs"])
    y = torch.tanh(x @ teacher.T) @ torch.tensor([1.0, -1.0], dtype=torch.float64)
    w = (shard["init"] * draw(shard["units"], shard["inputs"])).requires_grad_()
    u = (shard["init"] * draw(shard["units"])).requires_grad_()
    loss = with_decay(network_loss(0.0), shard["decay"])
    optimizer = torch.optim.SGD([u, w], lr=shard["lr"])
    for _ in range(shard["steps"]):
        optimizer.zero_grad()
        loss({"u": u, "w": w}, (x, y)).backward()
        optimizer.step()
    return {"u": u.detach(), "w": w.detach()}, (x, y)


def unit_mirror(shapes: Shapes, unit: int) -> Mirror:
    """Mirror of one unit: both its weights change sign.

    Args:
        shapes: Of ``u`` and ``w``.
        unit: Index.

    Returns:
        The mirror, of rank 1 + inputs.
    """
    return sign_flip(shapes, [Block("u", 0, (unit,)), Block("w", 0, (unit,))])


def joint_basis(mirrors: list[Mirror], shapes: Shapes) -> Tensor:
    """Normals of every mirror in turn, then a basis of their complement.

    Args:
        mirrors: With mutually orthogonal normals, on all of ``shapes``.
        shapes: Of all parameters.

    Returns:
        Orthogonal matrix of shape ``(n, n)``.
    """
    normals = torch.cat([normal_basis(m) for m in mirrors], dim=1)
    g = torch.Generator().manual_seed(0)
    filler = torch.randn(size_of(shapes), size_of(shapes) - normals.shape[1], generator=g, dtype=torch.float64)
    complement = torch.linalg.qr(torch.cat([normals, filler], dim=1)).Q[:, normals.shape[1] :]
    return torch.cat([normals, complement], dim=1)


def compute(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """Train, find the mirrors reached, and measure there.

    Args:
        shard: Fields of :class:`Settings`.
        device: Unused; the network is tiny and double precision is needed.

    Returns:
        What :meth:`A2.run` describes.

    Raises:
        SymtheoryError: If no unit, or every unit, ended on its mirror, or training has not converged.
    """
    trained, batch = train(shard)
    shapes = shapes_of(trained)
    length = torch.sqrt(trained["u"] ** 2 + trained["w"].square().sum(1))
    dead = [j for j in range(shard["units"]) if float(length[j]) < DEAD]
    if not dead or len(dead) == shard["units"]:
        raise SymtheoryError(
            "some units on their mirrors, and some not", f"{len(dead)} of {shard['units']}", "change decay or seed"
        )
    mirrors = [unit_mirror(shapes, j) for j in dead]
    point = trained
    for mirror in mirrors:
        point = mirror.symmetrize(point)
    basis = joint_basis(mirrors, shapes)
    rank = sum(m.rank for m in mirrors)
    label = np.array([k for k, m in enumerate(mirrors) for _ in range(m.rank)] + [-1] * (len(basis) - rank))

    loss = network_loss(0.0)
    g = torch.Generator().manual_seed(shard["seed"] + 1)
    kick = basis[:, :rank] @ torch.randn(rank, generator=g, dtype=torch.float64)
    off = unflatten(flatten(point) + shard["away"] * kick / kick.norm(), shapes)
    at = ((loss, point), (loss, off), (network_loss(shard["shift"]), point))
    hessian = torch.stack([basis.T @ dense_hessian(f, p, batch) @ basis for f, p in at])

    values, vectors = torch.linalg.eigh(hessian[0, :rank, :rank])
    lowest, direction = float(values[0]), basis[:, :rank] @ vectors[:, 0]
    if lowest >= 0:
        raise SymtheoryError("a normal direction along which the loss falls", f"{lowest:.2g}", "change the seed")
    half = np.linspace(0, shard["reach"], shard["grid"] // 2 + 1)
    s = np.concatenate([-half[:0:-1], half])  # exactly even
    profiles = torch.stack([_profile(f, p, batch, direction, torch.as_tensor(s)) for f, p in at])

    critical = -lowest / 2
    quadratic, quartic = _jet(loss, point, batch, direction)
    near = torch.tensor([_well(loss, point, batch, direction, critical * (1 - e)) for e in NEAR], dtype=torch.float64)
    residual = dense_gradient(with_decay(loss, shard["decay"]), point, batch)
    return xr.Dataset(
        {
            "hessian": (("variant", "row", "column"), hessian.numpy()),
            "mirror": (("row",), label.astype(float)),
            "loss": (("variant", "s"), profiles.numpy()),
            "normal_eigenvalue": (("normal",), values.numpy()),
            "critical_decay": ((), critical),
            "quadratic": ((), quadratic),
            "quartic": ((), quartic),
            "well": (("near",), near.numpy()),
            "distance": ((), float(length[dead].norm())),
            "gradient": ((), float(residual.norm())),
            "length": (("unit",), length.numpy()),
        },
        coords={"variant": list(VARIANTS), "s": s, "near": list(NEAR)},
    )


class A2(Figure):
    """Blocks of a trained network's Hessian, and the landscape across a mirror."""

    id: ClassVar[str] = "A2"
    title: ClassVar[str] = "Blocks of the Hessian and the landscape across a mirror"
    source: ClassVar[str] = "Paper A, Figure 2"
    claim: ClassVar[str] = (
        "At a symmetric solution the Hessian splits into a block of the mirror's normals and one along the mirror, and "
        "further with each extra symmetry; across the mirror the loss has one well or two, as regularisation or "
        "signal is the stronger."
    )
    chapter: ClassVar[str] = "hessian_blocks"
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(grid=41),
        "page": Settings(),
        "paper": Settings(steps=20_000, grid=401),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One shard: everything is measured at one trained network.

        Args:
            config: Settings.

        Returns:
            Settings of the shard.
        """
        return [config.to_json()]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        r"""Train and measure.

        Args:
            config: Settings.
            device: Where to compute.
            executor: Maps over the shards.

        Returns:
            ``hessian`` (variant, row, column) of $\ell_0$ in the joint basis, with the ``mirror`` (row) of each basis
            vector, -1 for the complement; ``loss`` (variant, s), which is $\ell_0(\theta + sn)$; the
            ``normal_eigenvalue`` (normal); ``critical_decay``; ``quadratic`` and ``quartic`` coefficients of the loss
            in s; the ``well`` (near) just below the critical decay; ``length`` (unit); the ``distance`` that training
            left to the mirrors and the ``gradient`` there.
        """
        runner = InProcess() if executor is None else executor
        (result,) = runner.map(self.id, partial(compute, device=device), self.shards(config))
        result = result.copy()
        for name in (*result.data_vars, "s", "near"):
            result[name].attrs["units"] = "1"
        result.attrs.update(decay=config.decay, seed=config.seed, below=config.factors[0], above=config.factors[1])
        return result

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The blocks, the evenness, and the turn from two wells to one.

        Args:
            result: From :meth:`run`.

        Returns:
            Two verdicts on blocks, one on evenness, three on the critical decay.
        """
        mirror = result["mirror"].values
        apart = {
            "normals and complement": (mirror[:, None] < 0) != (mirror[None, :] < 0),
            "one mirror's normals and another's": (mirror[:, None] != mirror[None, :])
            & (mirror[:, None] >= 0)
            & (mirror[None, :] >= 0),
        }
        where = {"decay": result.attrs["decay"], "seed": result.attrs["seed"]}
        verdicts = []
        for name, mask in apart.items():
            if not mask.any():
                continue  # a single mirror has no subblocks
            part = {v: _mixing(result["hessian"].sel(variant=v).values, mask) for v in VARIANTS}
            control = part[VARIANTS[1]] if name.startswith("one") else min(part[v] for v in VARIANTS[1:])
            verdicts.append(
                Verdict(f"Hessian between {name}, relative to its largest entry (control: mirrors left or broken)",
                        part[VARIANTS[0]], ROUNDING, control=control, settings=where)
            )  # fmt: skip
        odd = {v: _oddness(result["loss"].sel(variant=v).values) for v in VARIANTS}
        verdicts.append(
            Verdict("loss across the mirror, odd part over range (control: mirrors left or broken)",
                    odd[VARIANTS[0]], ROUNDING, control=min(odd[v] for v in VARIANTS[1:]), settings=where)
        )  # fmt: skip
        critical, below, above = (float(result["critical_decay"]), *(float(result.attrs[k]) for k in DECAYS))
        curvature = 2 * float(result["quadratic"])
        verdicts.append(
            Verdict("curvature across at the critical decay, over twice that decay (control: at the decays drawn)",
                    abs(curvature / (2 * critical) + 1), ROUNDING,
                    control=min(abs(curvature / (2 * critical) + f) for f in (below, above)), settings=where)
        )  # fmt: skip
        lowest = {f: abs(lowest_place(result, f)) for f in (below, above)}
        verdicts.append(
            Verdict("distance of the lowest point from the mirror above the critical decay (control: below it)",
                    lowest[above], 0.0, control=lowest[below], settings=where)
        )  # fmt: skip
        near = result["near"].values
        expected = critical * near / (2 * float(result["quartic"]))
        error = np.abs(result["well"].values ** 2 / expected - 1)
        verdicts.append(
            Verdict("just below, squared place of the wells against that of the quartic (control: far below)",
                    float(error[0]), 0.1 * float(near[0]), control=float(error[1]), factor=30.0, settings=where)
        )  # fmt: skip
        return verdicts


def landscape(result: xr.Dataset, factor: float) -> np.ndarray:
    r"""$\ell_0(\theta + sn) - \ell_0(\theta) + \gamma s^2$ on the mirrors, at $\gamma = $ ``factor`` $\gamma^*$.

    Args:
        result: From :meth:`A2.run`.
        factor: In units of the critical decay.

    Returns:
        One value for each ``s``; the part of the decay that does not depend on s is left out.
    """
    loss, s = result["loss"].sel(variant=VARIANTS[0]).values, result["s"].values
    return loss - loss[len(s) // 2] + factor * float(result["critical_decay"]) * s**2


def lowest_place(result: xr.Dataset, factor: float) -> float:
    """Grid point of the lowest value of a landscape.

    Args:
        result: From :meth:`A2.run`.
        factor: In units of the critical decay.

    Returns:
        Its $s$.
    """
    return float(result["s"].values[int(np.argmin(landscape(result, factor)))])


def dense_gradient(loss: Loss, point: Params, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Gradient as a flat vector.

    Args:
        loss: The loss.
        point: Where.
        batch: Data.

    Returns:
        Vector of all entries.
    """
    return flatten(torch.func.grad(loss)(point, batch))


def _mixing(hessian: np.ndarray, mask: np.ndarray) -> float:
    return float(np.abs(hessian[mask]).max() / np.abs(hessian).max())


def _oddness(values: np.ndarray) -> float:
    return float(np.abs(values - values[::-1]).max() / np.ptp(values))


def _along(loss: Loss, point: Params, batch: tuple[Tensor, Tensor], direction: Tensor, s: Tensor) -> Tensor:
    return loss(unflatten(flatten(point) + s * direction, shapes_of(point)), batch)


def _profile(loss: Loss, point: Params, batch: tuple[Tensor, Tensor], direction: Tensor, s: Tensor) -> Tensor:
    return torch.stack([_along(loss, point, batch, direction, t) for t in s])


def _jet(loss: Loss, point: Params, batch: tuple[Tensor, Tensor], direction: Tensor) -> tuple[float, float]:
    """Coefficients of s^2 and s^4, by derivatives of the one-dimensional function: no matrix is involved."""
    s = torch.zeros((), dtype=torch.float64, requires_grad=True)
    value, derivatives = _along(loss, point, batch, direction, s), []
    for _ in range(4):
        (value,) = torch.autograd.grad(value, s, create_graph=True)
        derivatives.append(float(value.detach()))
    return derivatives[1] / 2, derivatives[3] / 24


def _well(loss: Loss, point: Params, batch: tuple[Tensor, Tensor], direction: Tensor, gamma: float) -> float:
    """Nearest zero right of 0 of the slope of the landscape at decay gamma, by bisection; 0 if it rises at once."""

    def slope(at: float) -> float:
        s = torch.tensor(at, dtype=torch.float64, requires_grad=True)
        (value,) = torch.autograd.grad(_along(loss, point, batch, direction, s) + gamma * s * s, s)
        return float(value)

    low, high = 1e-4, 1e-4
    if slope(low) >= 0:
        return 0.0
    while slope(high) < 0:
        low, high = high, 1.1 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return (low + high) / 2
