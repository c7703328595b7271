r"""Figure B3a (paper B, Figure 3 left): syre prevents double descent as well as weight decay does.

Setting (Section 6.1): linear regression with $d$ features and $N$ samples, test loss against $d/N$; without decay, with
weight decay, and with a static bias and the same decay. The solutions are known: least squares of smallest norm, ridge
regression, and eq. (13) of the paper as corrected in :mod:`symtheory.theorems.syre_bounds.ridge`.

The paper leaves open everything else. Here $x\sim\mathcal N(0, I_d)$, $d = 400$, $y = w_*^Tx+\epsilon$ with
$\|w_*\|\approx1$ and noise of standard deviation 0.5; the loss is $\frac1N\sum_i(w^Tx_i-y_i)^2+\gamma\|\theta\|^2$
with $\gamma = 0.1$, and $\sigma_0 = 0.01/\sqrt d$ as the paper recommends; a bias a hundred times larger and a decay
too small to matter are the controls. The test loss is the expectation, $\|w-w_*\|^2+0.25$, not an estimate. Over data
sets, medians are taken: at $d = N$ the test loss of least squares has no mean.

The curves are solutions; at a few $d/N$ the models are also trained, by gradient descent on what
:func:`symtheory.transforms.syre.syre` makes of a linear layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from symtheory.errors import SymtheoryError
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.verdict import Verdict
from symtheory.theorems.syre_bounds.ridge import anchored_ridge, shift_bound
from symtheory.transforms.syre import bias_of, effective_parameters, penalty, syre

#: The paper's three models, and the two controls.
MODELS = ("no decay", "weight decay", "syre")
CONTROLS = ("tiny decay", "large bias")

#: Of the decay, for ``tiny decay``; of the bias, for ``large bias``.
TINY, LARGE = 1e-6, 100.0

#: Added to the seed of the data.
BIAS_SEED = 20_000


@dataclass(frozen=True)
class Settings(Config):
    r"""Settings of the figure.

    Attributes:
        dim: Number of features $d$.
        ratio_high: Largest $d/N$; the smallest is its inverse.
        ratio_count: Number of $d/N$ on a logarithmic axis; odd, so that 1 is among them.
        seeds: Seeds of data, weights and bias.
        noise: Standard deviation of the label noise.
        gamma: $\gamma$.
        sigma0: $\sigma_0\sqrt d$.
        trained_ratios: $d/N$ at which models are trained.
        trained_seeds: Number of seeds that are trained.
        steps: Gradient descent steps.
    """

    dim: int = 400
    ratio_high: float = 8.0
    ratio_count: int = 31
    seeds: tuple[int, ...] = tuple(range(10))
    noise: float = 0.5
    gamma: float = 0.1
    sigma0: float = 0.01
    trained_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    trained_seeds: int = 3
    steps: int = 1000

    def __post_init__(self) -> None:
        names = ("dim", "ratio_count", "noise", "gamma", "sigma0", "steps")
        wrong = {k: getattr(self, k) for k in names if getattr(self, k) <= 0}
        if wrong or not self.seeds or not self.trained_ratios or min(self.trained_ratios) <= 0:
            raise SymtheoryError(
                "positive settings, at least one seed and one d/N to train",
                f"{wrong or {'seeds': self.seeds, 'trained_ratios': self.trained_ratios}}",
                "see symtheory.figures.b3a.Settings",
            )
        if self.ratio_count % 2 == 0 or self.ratio_high <= 1 or not 0 < self.trained_seeds <= len(self.seeds):
            raise SymtheoryError(
                "an odd ratio_count, ratio_high > 1 and 1 <= trained_seeds <= number of seeds",
                f"{self.ratio_count}, {self.ratio_high}, {self.trained_seeds}",
                "d/N = 1 has to be on the grid",
            )


def data(dim: int, samples: int, noise: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    r"""A data set. $w_*$ does not depend on the number of samples.

    Args:
        dim: $d$.
        samples: $N$.
        noise: Standard deviation of the label noise.
        seed: Seed.

    Returns:
        Inputs (N, d), outputs (N,), $w_*$ (d,), float64.
    """
    g = torch.Generator().manual_seed(seed)
    truth = torch.randn(dim, generator=g, dtype=torch.float64) / dim**0.5
    rows = torch.randn(samples, dim + 1, generator=g, dtype=torch.float64)
    x = rows[:, :dim].contiguous()
    return x, x @ truth + noise * rows[:, dim], truth


def layer(dim: int) -> nn.Linear:
    """The regressor, at zero.

    Args:
        dim: Number of features.

    Returns:
        A linear layer without offset, float64.
    """
    model = nn.Linear(dim, 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(model.weight)
    return model


def bias(dim: int, sigma0: float, seed: int) -> Tensor:
    r"""$\theta_0$ that syre draws for :func:`layer`, from a seed apart from the data's: it must not know $w_*$.

    Args:
        dim: Number of features.
        sigma0: $\sigma_0\sqrt d$.
        seed: Seed.

    Returns:
        Shape (d,).
    """
    return bias_of(syre(layer(dim), sigma0, 1.0, seed=seed + BIAS_SEED, relative=True))["weight"][0]


def solutions(x: Tensor, y: Tensor, theta0: Tensor, gamma: float) -> dict[str, Tensor]:
    r"""Effective weights of every model.

    Args:
        x: Inputs.
        y: Outputs.
        theta0: $\theta_0$.
        gamma: $\gamma$.

    Returns:
        Model to weights of shape (d,).
    """
    gram, target, zero = x.T @ x / len(x), x.T @ y / len(x), torch.zeros_like(theta0)
    return {
        "no decay": torch.linalg.lstsq(x, y[:, None], driver="gelsd").solution[:, 0],
        "weight decay": anchored_ridge(gram, target, gamma, zero),
        "syre": anchored_ridge(gram, target, gamma, theta0),
        "tiny decay": anchored_ridge(gram, target, TINY * gamma, zero),
        "large bias": anchored_ridge(gram, target, gamma, LARGE * theta0),
    }


def trained(model: str, x: Tensor, y: Tensor, config: Shard, seed: int) -> Tensor:
    r"""Train a linear layer by gradient descent, with PyTorch's optimiser.

    Args:
        model: One of :data:`MODELS`.
        x: Inputs.
        y: Outputs.
        config: ``gamma``, ``sigma0``, ``steps``.
        seed: Seed of the bias.

    Returns:
        Effective weights of shape (d,).
    """
    net: nn.Module = layer(x.shape[1])
    if model == "syre":
        net = syre(net, config["sigma0"], config["gamma"], seed=seed + BIAS_SEED, relative=True)
    decay = 2 * config["gamma"] if model == "weight decay" else 0.0
    top = float(torch.linalg.matrix_norm(x, 2)) ** 2 / len(x)
    optimizer = torch.optim.SGD(net.parameters(), lr=1 / (2 * (top + config["gamma"])), weight_decay=decay)
    for _ in range(config["steps"]):
        optimizer.zero_grad()
        loss = (net(x)[:, 0] - y).square().mean()
        (loss + penalty(net) if model == "syre" else loss).backward()
        optimizer.step()
    weight = effective_parameters(net)["weight"] if model == "syre" else next(net.parameters())
    return weight.detach()[0]


def compute(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """All ratios of one seed.

    Args:
        shard: Settings with one ``seed``.
        device: Where to solve and train.

    Returns:
        ``loss`` (ratio, model); ``distance`` between syre's and ridge's weights, its ``bound``, and
        ``large_distance`` for the larger bias (ratio);
        ``trained_loss`` and ``trained_error``, relative to the solution (trained model, trained ratio).
    """
    dim, gamma, seed = shard["dim"], shard["gamma"], shard["seed"]
    theta0 = bias(dim, shard["sigma0"], seed).to(device)
    rows: dict[str, list[object]] = {k: [] for k in ("loss", "distance", "large_distance", "bound")}

    def test_loss(w: Tensor, truth: Tensor) -> float:
        return float((w - truth).square().sum()) + shard["noise"] ** 2

    for ratio in shard["ratios"]:
        x, y, truth = (t.to(device) for t in data(dim, round(dim / ratio), shard["noise"], seed))
        found = solutions(x, y, theta0, gamma)
        rows["loss"].append([test_loss(w, truth) for w in found.values()])
        rows["distance"].append(float((found["syre"] - found["weight decay"]).norm()))
        rows["large_distance"].append(float((found["large bias"] - found["weight decay"]).norm()))
        rows["bound"].append(shift_bound(x.T @ x / len(x), gamma, theta0))
    losses, errors = (np.zeros((len(MODELS), len(shard["trained_ratios"]))) for _ in range(2))
    for j, ratio in enumerate(shard["trained_ratios"] if shard["train"] else ()):
        x, y, truth = (t.to(device) for t in data(dim, round(dim / ratio), shard["noise"], seed))
        found = solutions(x, y, theta0, gamma)
        for i, model in enumerate(MODELS):
            w = trained(model, x, y, shard, seed).to(device)
            losses[i, j] = test_loss(w, truth)
            errors[i, j] = float((w - found[model]).norm() / found[model].norm())
    return xr.Dataset(
        {
            "loss": (("ratio", "model"), np.array(rows["loss"])),
            "distance": ("ratio", np.array(rows["distance"])),
            "large_distance": ("ratio", np.array(rows["large_distance"])),
            "bound": ("ratio", np.array(rows["bound"])),
            "trained_loss": (("trained_model", "trained_ratio"), losses),
            "trained_error": (("trained_model", "trained_ratio"), errors),
        },
        coords={
            "ratio": shard["ratios"],
            "model": [*MODELS, *CONTROLS],
            "trained_model": list(MODELS),
            "trained_ratio": shard["trained_ratios"],
        },
    )


class B3a(Figure):
    """Test loss of linear regression against its degree of parametrisation."""

    id: ClassVar[str] = "B3a"
    title: ClassVar[str] = "syre prevents double descent as weight decay does"
    source: ClassVar[str] = "Paper B, Figure 3 (left)"
    claim: ClassVar[str] = (
        "Without decay the test loss of linear regression peaks where there are as many samples as features; syre "
        "prevents the peak as well as weight decay does and is approximately the same solution."
    )
    chapter: ClassVar[str] = "syre_bounds"
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(dim=60, ratio_count=9, seeds=(0, 1, 2), trained_ratios=(1.0,), trained_seeds=1),
        "page": Settings(dim=200, ratio_count=21, seeds=(0, 1, 2)),
        "paper": Settings(),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One shard per seed.

        Args:
            config: Settings.

        Returns:
            Settings of the shards.
        """
        ratios = np.geomspace(1 / config.ratio_high, config.ratio_high, config.ratio_count)
        ratios[config.ratio_count // 2] = 1.0
        names = ("dim", "noise", "gamma", "sigma0", "steps")
        common = {k: getattr(config, k) for k in names} | {"trained_ratios": list(config.trained_ratios)}
        return [
            {"ratios": ratios.tolist(), "seed": seed, "train": i < config.trained_seeds, **common}
            for i, seed in enumerate(config.seeds)
        ]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Solve and train everything.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the seeds.

        Returns:
            See :func:`compute`, with a dim ``seed``; trained values with a dim ``trained_seed``.
        """
        runner = InProcess() if executor is None else executor
        parts = runner.map(self.id, partial(compute, device=device), self.shards(config))
        names = ["trained_loss", "trained_error"]
        result = xr.concat(
            [p.drop_vars([*names, "trained_model", "trained_ratio"]) for p in parts],
            xr.DataArray(list(config.seeds), dims="seed", name="seed"), join="exact",
        )  # fmt: skip
        own = list(config.seeds[: config.trained_seeds])
        fitted = [p[names] for p in parts[: config.trained_seeds]]
        result = result.merge(
            xr.concat(fitted, xr.DataArray(own, dims="trained_seed", name="trained_seed"), join="exact")
        )
        result["ratio"].attrs.update(long_name="d/N", units="1")
        result["loss"].attrs.update(long_name="expected squared error on fresh data", units="1")
        names = ("dim", "noise", "gamma", "sigma0", "steps")
        result.attrs.update({k: getattr(config, k) for k in names})
        return result

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim as numbers.

        Args:
            result: From :meth:`run`.

        Returns:
            Where least squares peaks; what is left of the peak with decay and with syre; syre against ridge, in test
            loss and in weights; trained models against solutions.
        """
        middle = result["loss"].median("seed")
        peak = {
            k: abs(float(np.log(middle["ratio"][int(middle.sel(model=k).argmax("ratio"))])))
            for k in result["model"].values
        }
        at_one = middle.sel(ratio=1.0)
        left = {k: float(at_one.sel(model=k) / at_one.sel(model="no decay")) for k in result["model"].values}
        ridge = result["loss"].sel(model="weight decay")
        differ = {
            k: float(abs(result["loss"].sel(model=k) / ridge - 1).max()) for k in ("syre", "large bias", "no decay")
        }
        errors = result["trained_error"].sel(trained_model=["weight decay", "syre"])
        unfinished = result["trained_error"].sel(trained_model="no decay").sel(trained_ratio=1.0, method="nearest")
        return [
            Verdict(
                "without decay the median test loss peaks at d/N = 1 (distance on a logarithmic axis)",
                peak["no decay"], 1e-9, control=peak["weight decay"], factor=10.0,
            ),
            Verdict(
                "test loss of weight decay at d/N = 1, as a part of that without (control: a decay too small)",
                left["weight decay"], 0.1, control=left["tiny decay"], factor=2.0,
            ),
            Verdict(
                "test loss of syre at d/N = 1, as a part of that without decay (control: no decay)",
                left["syre"], 0.1, control=left["no decay"], factor=2.0,
            ),
            Verdict(
                "syre's test loss differs from weight decay's by at most, anywhere (control: a hundred times the bias)",
                differ["syre"], 0.01, control=differ["large bias"], factor=10.0,
            ),
            Verdict(
                "distance of syre's weights to weight decay's, over its bound (control: a hundred times the bias)",
                float((result["distance"] / result["bound"]).max()), 1.0,
                control=float((result["large_distance"] / result["bound"]).max()), factor=10.0,
            ),
            Verdict(
                "trained weights against the solution, weight decay and syre (control: none, which never gets there)",
                float(errors.max()), 1e-5, control=float(unfinished.max()), factor=100.0,
            ),
        ]  # fmt: skip
