r"""Figure A8 (paper A, Figure 8): weight decay makes a matrix factorisation low rank.

Setting (Appendix B.5): 200 data points $x\sim\mathcal N(0, I_{50})$, model $f(x) = WUx$ of dimensions
$50\to50\to50$, full-batch gradient descent, several weight decays.

The paper leaves open the target, the loss normalisation, the learning rate, the number of steps and the initialisation.
Here, as in its Appendix B.2, $y = \mu x + (1-\mu)\epsilon$ with $\epsilon_i\sim\mathcal N(0, 2/i)$ and $\mu = 1/2$;
$L = \tfrac1n\sum\|WUx-y\|^2 + \gamma(\|W\|^2+\|U\|^2)$; entries start at $\mathcal N(0, s^2)$.

What to expect is known without training: since $\min\{\|W\|^2+\|U\|^2 : WU = M\} = 2\|M\|_*$, the minima over factors
are those of the convex problem $\tfrac1n\sum\|Mx-y\|^2 + 2\gamma\|M\|_*$, which :func:`convex_solution` solves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from symtheory.errors import SymtheoryError
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.numerics import numerical_rank
from symtheory.spec.params import Params
from symtheory.spec.verdict import Verdict

#: Singular values of the end-to-end map below this are zero; the spectrum around the cut is stored beside the rank.
CUT = 1e-3

#: Above its threshold a map dies away; entries and products below about 1e-38 are denormal and a hundred times slower.
#: Every few steps, entries too small to matter are put to zero, early enough that no product of two gets there.
TINY, SWEEP_EVERY = 1e-17, 20


@dataclass(frozen=True)
class Settings(Config):
    r"""Settings of the figure.

    Attributes:
        dim: Width of input, hidden layer and output.
        samples: Number of data points.
        steps: Gradient descent steps.
        lr: Learning rate.
        decay_high: Largest weight decay $\gamma$; the grid runs evenly from 0 to it.
        decay_count: Number of weight decays.
        seeds: Seeds of data and initialisation.
        signal: $\mu$.
        init: Standard deviation of the entries at the start.
    """

    dim: int = 50
    samples: int = 200
    steps: int = 30_000
    lr: float = 0.05
    decay_high: float = 1.2
    decay_count: int = 25
    seeds: tuple[int, ...] = (0, 1, 2)
    signal: float = 0.5
    init: float = 0.1

    def __post_init__(self) -> None:
        positive = {k: getattr(self, k) for k in ("dim", "samples", "steps", "lr", "decay_high", "decay_count", "init")}
        wrong = {k: v for k, v in positive.items() if v <= 0}
        if wrong or not self.seeds or not 0 <= self.signal <= 1:
            raise SymtheoryError(
                "positive settings, at least one seed and a signal in [0, 1]",
                f"{wrong or {'seeds': self.seeds, 'signal': self.signal}}",
                "see symtheory.figures.a8.Settings",
            )


def statistics(dim: int, samples: int, signal: float, seed: int) -> tuple[Tensor, Tensor]:
    r"""Sufficient statistics of a data set: $S = \tfrac1n\sum xx^T$ and $C = \tfrac1n\sum yx^T$.

    Args:
        dim: Dimension.
        samples: Number of data points $n$.
        signal: $\mu$.
        seed: Seed.

    Returns:
        $S$ and $C$, both ``(dim, dim)``, float64.
    """
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, dim, generator=g, dtype=torch.float64)
    spread = (2 / torch.arange(1, dim + 1, dtype=torch.float64)).sqrt()
    y = signal * x + (1 - signal) * spread * torch.randn(samples, dim, generator=g, dtype=torch.float64)
    return x.T @ x / samples, y.T @ x / samples


def loss(params: Params, batch: Params) -> Tensor:
    r"""$\operatorname{tr}(MSM^T) - 2\operatorname{tr}(MC^T)$ with $M = WU$: the data loss up to a constant.

    Args:
        params: ``w`` and ``u`` of shape ``(dim, dim)``.
        batch: ``s`` and ``c`` of shape ``(dim, dim)``.

    Returns:
        Scalar.
    """
    m = params["w"] @ params["u"]
    return ((m @ batch["s"]) * m).sum() - 2 * (m * batch["c"]).sum()


def descend(w: Tensor, u: Tensor, s: Tensor, c: Tensor, decay: Tensor, lr: float, steps: int) -> tuple[Tensor, Tensor]:
    r"""Gradient descent on every configuration at once, by batched products.

    $G = 2(WUS - C)$, $\nabla_W = GU^T + 2\gamma W$, $\nabla_U = W^TG + 2\gamma U$.

    Args:
        w: ``(B, dim, dim)``.
        u: ``(B, dim, dim)``.
        s: ``(B, dim, dim)``.
        c: ``(B, dim, dim)``.
        decay: $\gamma$, shape ``(B,)``.
        lr: Learning rate.
        steps: Number of steps.

    Returns:
        The factors after the last step.
    """
    shrink = (2 * lr * decay).to(w)[:, None, None]
    w, u = w.clone(), u.clone()
    for step in range(steps):
        if step % SWEEP_EVERY == 0:
            w[w.abs() < TINY] = 0
            u[u.abs() < TINY] = 0
        g = torch.baddbmm(c, torch.bmm(w, u), s, beta=-2.0, alpha=2.0)
        # one addition of the summed increment: decay and gradient rounded apart would drift
        dw = torch.baddbmm(shrink * w, g, u.mT, alpha=lr)
        du = torch.baddbmm(shrink * u, w.mT, g, alpha=lr)
        w -= dw
        u -= du
    return w, u


def convex_solution(s: Tensor, c: Tensor, gamma: float, tolerance: float = 1e-10, limit: int = 20_000) -> Tensor:
    r"""Minimiser of $\operatorname{tr}(MSM^T) - 2\operatorname{tr}(MC^T) + 2\gamma\|M\|_*$ by proximal gradient.

    Accelerated, with restarts; independent of the training above.

    Args:
        s: $S$, float64.
        c: $C$, float64.
        gamma: $\gamma$.
        tolerance: Largest relative change of $M$ at which it stops.
        limit: Largest number of steps.

    Returns:
        $M$.

    Raises:
        SymtheoryError: If it did not converge.

    >>> eye = torch.eye(2).double()
    >>> convex_solution(eye, torch.diag(torch.tensor([3.0, 0.5]).double()), 1.0).diagonal().tolist()
    [2.0, 0.0]
    """
    rate = 1 / (2 * float(torch.linalg.eigvalsh(s)[-1]))
    m = extrapolated = torch.zeros_like(c)
    momentum, change = 1.0, float("inf")
    for _ in range(limit):
        left, values, right = torch.linalg.svd(extrapolated - rate * 2 * (extrapolated @ s - c), full_matrices=False)
        following = left @ torch.diag((values - 2 * gamma * rate).clamp(min=0)) @ right
        change = float((following - m).norm())
        if float(((extrapolated - following) * (following - m)).sum()) > 0:
            momentum = 1.0  # restart: the step went uphill
        faster = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        extrapolated = following + (momentum - 1) / faster * (following - m)
        m, momentum = following, faster
        if change <= tolerance * max(float(m.norm()), 1e-12):
            return m
    raise SymtheoryError("convergence of the convex problem", f"a change of {change:.1e}", "raise 'limit'")


def compute(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """All weight decays of one seed, trained and solved.

    Args:
        shard: Settings with one ``seed``.
        device: Where to train.

    Returns:
        Ranks and singular values of the product, of both factors, of the convex solution and of ridge regression.
    """
    gammas, dim = shard["decays"], shard["dim"]
    s, c = statistics(dim, shard["samples"], shard["signal"], shard["seed"])
    g = torch.Generator().manual_seed(shard["seed"] + 10_000)
    w0, u0 = (shard["init"] * torch.randn(dim, dim, generator=g) for _ in range(2))

    def each(t: Tensor) -> Tensor:
        return t.float().to(device).expand(len(gammas), dim, dim).contiguous()

    w, u = descend(each(w0), each(u0), each(s), each(c), torch.tensor(gammas), shard["lr"], shard["steps"])
    w, u = w.double().cpu(), u.double().cpu()
    m = w @ u
    solutions = torch.stack([convex_solution(s, c, gamma) for gamma in gammas])
    # the same data and decay without the symmetry: one matrix instead of two factors, solved in closed form
    ridge = torch.stack([c @ torch.linalg.inv(s + gamma * torch.eye(dim, dtype=s.dtype)) for gamma in gammas])
    spectra = {
        "spectrum": torch.linalg.svdvals(m),
        "spectrum_w": torch.linalg.svdvals(w),
        "spectrum_u": torch.linalg.svdvals(u),
        "predicted_spectrum": torch.linalg.svdvals(solutions),
        "ridge_spectrum": torch.linalg.svdvals(ridge),
    }
    ranks = {
        name: [numerical_rank(v, cut=CUT).value for v in spectra[name.replace("rank", "spectrum")]]
        for name in ("rank", "predicted_rank", "ridge_rank")
    }
    scale = float(solutions[0].norm())
    distance = (m - solutions).flatten(1).norm(dim=1) / scale
    return xr.Dataset(
        {k: (("decay", "index"), v.numpy()) for k, v in spectra.items()}
        | {k: ("decay", np.array(v)) for k, v in ranks.items()}
        | {"distance": ("decay", distance.numpy())},
        coords={"decay": gammas, "index": np.arange(1, dim + 1)},
    )


class A8(Figure):
    """Rank of a regularised matrix factorisation against weight decay."""

    id: ClassVar[str] = "A8"
    title: ClassVar[str] = "Weight decay makes a matrix factorisation low rank"
    source: ClassVar[str] = "Paper A, Figure 8"
    claim: ClassVar[str] = "The stronger the weight decay, the lower the rank of the factorised matrix."
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(dim=8, samples=32, steps=4000, decay_count=6, seeds=(0,), init=0.3),
        "page": Settings(steps=6000, decay_count=8, seeds=(0,)),
        "paper": Settings(),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One shard per seed.

        Args:
            config: Settings.

        Returns:
            Settings of the shards.
        """
        decays = np.linspace(0, config.decay_high, config.decay_count).tolist()
        names = ("dim", "samples", "steps", "lr", "signal", "init")
        return [{"decays": decays, "seed": seed, **{k: getattr(config, k) for k in names}} for seed in config.seeds]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train and solve everything.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the seeds.

        Returns:
            ``rank``, ``predicted_rank``, ``ridge_rank``, ``distance`` (seed, decay), the spectra (seed, decay, index).
        """
        runner = InProcess() if executor is None else executor
        parts = runner.map(self.id, partial(compute, device=device), self.shards(config))
        result = xr.concat(parts, dim=xr.DataArray(list(config.seeds), dims="seed"), join="exact")
        result = result.assign_coords(seed=list(config.seeds))
        result["decay"].attrs.update(long_name="weight decay gamma", units="1")
        result.attrs.update(steps=config.steps, cut=CUT)
        return result

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers.

        Args:
            result: From :meth:`run`.

        Returns:
            Rank never rises with decay, from full rank to zero; the trained map is the convex solution.
        """
        rank, predicted = result["rank"], result["predicted_rank"]
        rises = rank.diff("decay").clip(min=0)
        falls = (-rank.diff("decay")).clip(min=0)
        last, full = rank.isel(decay=-1), result.sizes["index"]
        away = _away_from_thresholds(result)
        wrong = abs(rank - predicted).where(away)
        shifted = abs(rank - predicted.shift(decay=1)).where(away)
        return [
            Verdict("largest rise of the rank when decay grows", float(rises.max()), 0.5, float(falls.max()), 2.0),
            Verdict("missing ranks without decay", float(full - rank.isel(decay=0).min()), 0.5, float(full), 10.0),
            Verdict(
                "rank at the largest decay (control: without the symmetry)",
                float(last.max()), 0.5, control=float(result["ridge_rank"].isel(decay=-1).min()), factor=10.0,
            ),
            Verdict(
                "rank differs from the convex solution's by (away from thresholds)",
                float(wrong.max()), 0.5, control=float(shifted.max()), factor=2.0,
            ),
            Verdict(
                "distance of the trained map to the convex solution",
                float(result["distance"].isel(decay=slice(1, None)).max()), 1e-2,
                control=float(_neighbour_distance(result)), factor=2.0,
            ),
        ]  # fmt: skip


def _away_from_thresholds(result: xr.Dataset) -> xr.DataArray:
    """Decays at which no predicted singular value lies within a factor 30 of the cut: the rank is beyond dispute."""
    values = result["predicted_spectrum"]
    return ~((values > CUT / 30) & (values < 30 * CUT)).any("index")


def _neighbour_distance(result: xr.Dataset) -> float:
    """Largest distance, in singular values, of the convex solutions of neighbouring decays: a wrong answer's scale."""
    values = result["predicted_spectrum"]
    steps = np.sqrt((values.diff("decay") ** 2).sum("index"))
    scale = np.sqrt((values.isel(decay=0) ** 2).sum("index"))
    return float((steps / scale).max())
