r"""A small network trained with decay from a random and from a symmetric start, with and without a static bias.

Not a figure of the paper; the live experiment of the chapter on removal. A two-layer network learns a smaller teacher
by full-batch gradient descent with the anchored decay $\gamma\|\varphi-\theta_0\|^2$. Measured is the distance of the
effective parameters to the mirrors that the activation gives: exchange of two neurons, for $\tanh$ also with a change
of sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import torch
import xarray as xr
from torch import Tensor

from symtheory.engine.statistics import fitted_exponent
from symtheory.errors import SymtheoryError
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.verdict import Verdict
from symtheory.transforms.anchor import AnchoredDecay

ACTIVATIONS = {"tanh": torch.tanh, "ReLU": torch.relu}
STARTS = ("random", "identical neurons")


@dataclass(frozen=True)
class Settings(Config):
    r"""Settings of the experiment.

    Attributes:
        hidden: Number of hidden neurons.
        teacher: Number of hidden neurons of the teacher.
        inputs: Input dimension.
        samples: Number of data points.
        gamma: $\gamma$, half of PyTorch's ``weight_decay``.
        sigma0: Sizes of the bias; 0 for plain decay.
        steps: Steps of gradient descent.
        lr: Learning rate.
        every: Steps between two measurements.
        seeds: Seeds of data, start and bias.
    """

    hidden: int = 8
    teacher: int = 3
    inputs: int = 3
    samples: int = 48
    gamma: float = 0.04
    sigma0: tuple[float, ...] = (0.0, 1e-3, 1e-2, 1e-1)
    steps: int = 4000
    lr: float = 0.2
    every: int = 200
    seeds: tuple[int, ...] = (0, 1, 2, 3)

    def __post_init__(self) -> None:
        if len(self.sigma0) < 4 or self.sigma0[0] != 0 or not self.seeds or min(self.steps, self.every) < 1:
            raise SymtheoryError(
                "sigma0 = 0 and three or more sizes of the bias, a seed and a step",
                f"sigma0 {self.sigma0}, {len(self.seeds)} seeds, {self.steps} steps",
                "see symtheory.figures.syre_collapse.Settings",
            )


def _teach(config: Settings, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs, targets, a random start of one neuron a row, and unit noise for the bias."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64)

    x, width = draw(config.samples, config.inputs), config.inputs + 2
    w, b, a = draw(config.teacher, config.inputs), draw(config.teacher), draw(config.teacher)
    y = torch.tanh(x @ w.T + b) @ a
    return x, y, 0.5 * draw(config.hidden, width), draw(config.hidden, width)


def mirror_distances(neurons: Tensor, *, signed: bool) -> Tensor:
    r"""Distance to the exchange mirror of every pair, $\|v_i-v_j\|/\sqrt2$, if ``signed`` also $\|v_i+v_j\|/\sqrt2$.

    Args:
        neurons: Incoming weights, bias and outgoing weights of one neuron a row, shape (..., h, w).
        signed: Whether the activation is odd.

    Returns:
        Shape (..., pairs).

    >>> mirror_distances(torch.tensor([[1.0], [-1.0]]), signed=True).tolist()
    [0.0]
    """
    found = []
    for i, j in combinations(range(neurons.shape[-2]), 2):
        distance = (neurons[..., i, :] - neurons[..., j, :]).norm(dim=-1)
        if signed:
            distance = torch.minimum(distance, (neurons[..., i, :] + neurons[..., j, :]).norm(dim=-1))
        found.append(distance / 2**0.5)
    return torch.stack(found, dim=-1)


def _train(config: Settings, activation: str) -> tuple[Tensor, Tensor]:
    """Distances (start, sigma0, seed, time, pair) and losses (without the pairs), all configurations at once."""
    parts = [_teach(config, seed) for seed in config.seeds]
    x, y, first, noise = (torch.stack(column) for column in zip(*parts, strict=True))
    sizes = torch.tensor(config.sigma0, dtype=torch.float64)
    shape = (len(STARTS), len(sizes), *first.shape)
    same = first.mean(dim=1, keepdim=True).expand_as(first)
    neurons = torch.stack([first, same])[:, None].expand(shape).clone().requires_grad_(True)
    anchors = (sizes[None, :, None, None, None] * noise).expand(shape).clone()
    optimizer = torch.optim.SGD([neurons], lr=config.lr)
    AnchoredDecay(optimizer, [anchors], config.gamma)
    activate = ACTIVATIONS[activation]

    def losses() -> Tensor:
        w, b, a = neurons[..., :-2], neurons[..., -2], neurons[..., -1]
        h = activate(torch.einsum("abshi,sni->absnh", w, x) + b[..., None, :])
        return (torch.einsum("absnh,absh->absn", h, a) - y).square().mean(-1)

    distances, values = [], []
    for step in range(config.steps + 1):
        optimizer.zero_grad()
        each = losses()
        if step % config.every == 0:
            distances.append(mirror_distances(neurons.detach(), signed=activation == "tanh"))
            values.append(each.detach().clone())
        each.sum().backward()
        optimizer.step()
    return torch.stack(distances, dim=3), torch.stack(values, dim=3)


def compute(shard: Shard) -> xr.Dataset:
    """Train every configuration.

    Args:
        shard: The fields of :class:`Settings`.

    Returns:
        See :meth:`SyreCollapse.run`.
    """
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in shard.items()}
    config = Settings(**given)
    trained = [_train(config, name) for name in ACTIVATIONS]
    dims = ("activation", "start", "sigma0", "seed", "step")
    result = xr.Dataset(
        {
            "distance": ((*dims, "pair"), torch.stack([d for d, _ in trained]).numpy()),
            "loss": (dims, torch.stack([v for _, v in trained]).numpy()),
        },
        coords={
            "activation": list(ACTIVATIONS),
            "start": list(STARTS),
            "sigma0": list(config.sigma0),
            "seed": list(config.seeds),
            "step": [k * config.every for k in range(config.steps // config.every + 1)],
        },
        attrs={"gamma": config.gamma, "lr": config.lr, "hidden": config.hidden},
    )
    for name in ("distance", "loss"):
        result[name].attrs["units"] = "1"
    return result


#: A start on the mirror stays there to rounding. A random start falls onto mirrors exponentially in time, so how near
#: it comes is a matter of patience: a tenth of a per cent of the neurons' size counts.
ON_MIRROR, COLLAPSED = 1e-12, 1e-3


class SyreCollapse(Figure):
    """Neurons that collapse, and neurons that do not."""

    id: ClassVar[str] = "syre-collapse"
    title: ClassVar[str] = "Neurons that collapse, and neurons that do not"
    source: ClassVar[str] = "Paper B, Proposition 3 and Theorem 1"
    claim: ClassVar[str] = (
        "With plain decay neurons stay on their mirrors, and tanh neurons fall onto them; with a static bias they "
        "keep a distance in proportion to it."
    )
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(steps=2000, seeds=(0, 1)),
        "page": Settings(),
        "paper": Settings(steps=40_000, seeds=tuple(range(20)), every=500),
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
        """Train every configuration.

        Args:
            config: Settings.
            device: The CPU; the experiment is too small for anything else.
            executor: Maps over the shards.

        Returns:
            ``distance`` (activation, start, sigma0, seed, step, pair) to each mirror and ``loss`` without decay.
        """
        (result,) = (executor or InProcess()).map(self.id, compute, self.shards(config))
        return result

    def check(self, result: xr.Dataset) -> list[Verdict]:
        r"""Plain decay stays on mirrors, for $\tanh$ falls onto them; a bias leaves a distance proportional to it.

        Args:
            result: From :meth:`run`.

        Returns:
            Verdicts, the controls of which are the runs with the largest bias.
        """
        found = []
        nearest = result["distance"].isel(step=-1).min("pair")
        settings = {"gamma": result.attrs["gamma"]}
        for name in result["activation"].values:
            here = nearest.sel(activation=name, start="identical neurons")
            final = result["loss"].isel(step=-1).sel(activation=name, start="identical neurons").median("seed")
            found += [
                Verdict(
                    f"{name}, identical neurons: largest distance to a mirror with plain decay (control: largest bias)",
                    float(here.isel(sigma0=0).max()),
                    ON_MIRROR,
                    control=float(here.isel(sigma0=-1).min()),
                    settings=settings,
                ),
                Verdict(
                    f"{name}, identical neurons: loss with the largest bias, in units of that with plain decay",
                    float(final.isel(sigma0=-1) / final.isel(sigma0=0)),
                    0.9,
                    settings=settings,
                ),
            ]
        typical = nearest.sel(activation="tanh").median("seed")
        fallen = typical.sel(start="random")
        found.append(
            Verdict(
                "tanh, random start: typical distance to a mirror with plain decay (control: largest bias)",
                float(fallen.isel(sigma0=0)),
                COLLAPSED,
                control=float(fallen.isel(sigma0=-1)),
                factor=50.0,
                settings=settings,
            )
        )
        for start in STARTS:
            left = typical.sel(start=start).isel(sigma0=slice(1, None))
            fit = fitted_exponent([float(s) for s in left["sigma0"]], [float(d) for d in left])
            found.append(
                Verdict(
                    f"tanh, {start}: deviation from 1 of the exponent of that distance in sigma_0",
                    abs(fit.value - 1),
                    0.25,
                    settings={"exponent": fit.value},
                )
            )
        return found
