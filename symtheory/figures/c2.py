r"""Figure C2 (paper C, Figure 2): exchanging two neurons, its fixed space, a local symmetry, and a smaller network.

Computed on trained networks rather than drawn. Setting of ours: $f(x)=\sum_ja_j\,s(w_j\cdot x+b_j)+c$ with the GELU and
four units learns a smooth function of three inputs from samples, by gradient descent in float64, from three kinds of
start: generic; with two neurons equal, on the fixed space of their exchange; and with two neurons that share their
input weights only. Four statements are measured on the trained networks:

* exchanging two neurons leaves the function alone, wherever the network is (control: exchanging input weights only);
* gradient descent never leaves the space that the exchange fixes (control: the two output weights differ at the start);
* where two neurons share $(w,b)$ the function depends on $a_i+a_j$ only (control: a network without such a pair);
* it is then the function of a network with one neuron less (control: leaving the neuron out without adding weights).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn.functional import gelu

from symtheory.errors import SymtheoryError
from symtheory.figures.base import Config, Executor, Figure, InProcess, Preset, Shard
from symtheory.spec.params import Params
from symtheory.spec.verdict import Verdict

#: The neurons that are exchanged.
PAIR = (0, 1)

#: The networks of the figure.
NETS = ("trained", "exchanged", "on the fixed space", "along the local symmetry", "one neuron less")

#: Roundings of sums over a few hundred terms of size about one.
ROUNDING = 1e-13


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the figure.

    Attributes:
        inputs: Dimension of $x$.
        units: Hidden units.
        samples: Training points, and as many others on which functions are compared.
        steps: Gradient descent steps.
        lr: Learning rate.
        init: Standard deviation of the weights at the start.
        reach: Largest shift along the local symmetry.
        shifts: Number of shifts; odd.
        seeds: Seeds of data and weights.
    """

    inputs: int = 3
    units: int = 4
    samples: int = 256
    steps: int = 5000
    lr: float = 0.1
    init: float = 0.7
    reach: float = 1.5
    shifts: int = 61
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def __post_init__(self) -> None:
        names = ("inputs", "samples", "steps", "lr", "init", "reach", "shifts")
        wrong = {k: getattr(self, k) for k in names if getattr(self, k) <= 0}
        if wrong or self.units < 3 or not self.seeds or self.shifts % 2 == 0:
            raise SymtheoryError(
                "positive settings, at least three units, a seed and an odd number of shifts",
                f"{wrong or {'units': self.units, 'seeds': self.seeds, 'shifts': self.shifts}}",
                "see figures.c2.Settings",
            )


def network(net: Params, x: Tensor) -> Tensor:
    r"""$f(x)=\sum_ja_j\,s(w_j\cdot x+b_j)+c$.

    Args:
        net: ``w`` (units, inputs), ``b`` and ``a`` (units,), ``c`` scalar.
        x: Shape ``(points, inputs)``.

    Returns:
        Shape ``(points,)``.

    >>> net = {"w": torch.zeros(2, 3), "b": torch.zeros(2), "a": torch.ones(2), "c": torch.tensor(2.0)}
    >>> network(net, torch.ones(1, 3)).tolist()
    [2.0]
    """
    return gelu(x @ net["w"].T + net["b"]) @ net["a"] + net["c"]


def exchange(net: Params, names: tuple[str, ...] = ("w", "b", "a")) -> Params:
    """The pair of neurons exchanged.

    Args:
        net: A network.
        names: What to exchange; leaving out ``a`` is no symmetry.

    Returns:
        A network.
    """
    order = torch.arange(len(net["a"]))
    order[list(PAIR)] = order[list(PAIR)].flip(0)
    return {k: v[order] if k in names else v for k, v in net.items()}


def share_inputs(net: Params) -> Params:
    """The pair given the input weights and biases of its mean.

    Args:
        net: A network.

    Returns:
        A network.
    """
    pair, out = list(PAIR), {k: v.clone() for k, v in net.items()}
    for k in ("w", "b"):
        out[k][pair] = net[k][pair].mean(0)
    return out


def slide(net: Params, shift: float) -> Params:
    r"""$(a_i, a_j)\to(a_i+\tau, a_j-\tau)$.

    Args:
        net: A network.
        shift: $\tau$.

    Returns:
        A network.
    """
    move = torch.zeros_like(net["a"])
    move[PAIR[0]], move[PAIR[1]] = shift, -shift
    return {**net, "a": net["a"] + move}


def smaller(net: Params, add: bool = True) -> Params:
    """Without the second neuron of the pair.

    Args:
        net: A network.
        add: Whether the first gets its output weight.

    Returns:
        A network with one neuron less.
    """
    keep = [j for j in range(len(net["a"])) if j != PAIR[1]]
    a = net["a"].clone()
    if add:
        a[PAIR[0]] += a[PAIR[1]]
    return {"w": net["w"][keep], "b": net["b"][keep], "a": a[keep], "c": net["c"]}


def fit(net: Params, x: Tensor, y: Tensor, lr: float, steps: int) -> Params:
    """Full-batch gradient descent on half the mean squared error.

    Args:
        net: Start.
        x: Inputs.
        y: Targets.
        lr: Learning rate.
        steps: Number of steps.

    Returns:
        The trained network.
    """
    leaves = {k: v.clone().requires_grad_() for k, v in net.items()}
    optimizer = torch.optim.SGD(list(leaves.values()), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        ((network(leaves, x) - y).square().mean() / 2).backward()
        optimizer.step()
    return {k: v.detach() for k, v in leaves.items()}


def compute(shard: Shard, device: str = "cpu") -> xr.Dataset:
    """Train and compare, for one seed.

    Args:
        shard: Fields of :class:`Settings`, with ``seed`` for ``seeds``.
        device: Where to train.

    Returns:
        See :meth:`C2.run`.
    """
    g = torch.Generator().manual_seed(shard["seed"])

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64).to(device)

    x, probe = draw(shard["samples"], shard["inputs"]), draw(shard["samples"], shard["inputs"])
    y = torch.sin(x[:, 0]) + x[:, 1] * torch.tanh(x[:, 2])
    m, init = shard["units"], shard["init"]
    start = {"w": init * draw(m, shard["inputs"]), "b": init * draw(m), "a": init * draw(m), "c": draw(1)[0]}
    generic = fit(start, x, y, shard["lr"], shard["steps"])
    equal = share_inputs(start)
    equal["a"] = torch.cat([start["a"][:2].mean().expand(2), start["a"][2:]])
    fixed = fit(equal, x, y, shard["lr"], shard["steps"])
    uneven = fit(slide(equal, 0.1), x, y, shard["lr"], shard["steps"])
    moved = slide(fixed, shard["reach"] / 2)
    nets = dict(zip(NETS, (generic, exchange(generic), fixed, moved, smaller(moved)), strict=True))
    scale = float(network(generic, probe).abs().max())

    def change(one: Params, two: Params) -> float:
        return float((network(one, probe) - network(two, probe)).abs().max()) / scale

    shifts = np.linspace(-shard["reach"], shard["reach"], shard["shifts"])
    slides = [[change(slide(net, s), net) for s in shifts] for net in (fixed, generic)]
    distances = [[float((n[k][PAIR[0]] - n[k][PAIR[1]]).abs().max()) for k in ("w", "b", "a")] for n in (fixed, uneven)]
    padded: dict[str, Any] = {k: np.zeros((len(NETS), m, shard["inputs"])) for k in ("w",)}
    padded |= {k: np.zeros((len(NETS), m)) for k in ("b", "a")}
    for i, net in enumerate(nets.values()):
        for k, values in padded.items():
            values[i, : len(net[k])] = net[k].cpu().numpy()
    return xr.Dataset(
        {
            "w": (("net", "unit", "input"), padded["w"]),
            "b": (("net", "unit"), padded["b"]),
            "a": (("net", "unit"), padded["a"]),
            "units": ("net", [len(n["a"]) for n in nets.values()]),
            "loss": ("net", [float((network(n, x) - y).square().mean() / 2) for n in nets.values()]),
            "exchanged": ("case", [change(exchange(generic), generic), change(exchange(generic, ("w", "b")), generic)]),
            "apart": ("case", [max(d) for d in distances]),
            "slid": (("case", "shift"), slides),
            "shrunk": ("case", [change(smaller(moved), moved), change(smaller(moved, add=False), moved)]),
        },
        coords={"net": list(NETS), "case": ["statement", "control"], "shift": shifts},
    )


class C2(Figure):
    """Two neurons that are exchanged, equal, share inputs, and are one."""

    id: ClassVar[str] = "C2"
    title: ClassVar[str] = "The exchange of two neurons, its fixed space, and a smaller network"
    source: ClassVar[str] = "Paper C, Figure 2"
    claim: ClassVar[str] = (
        "Exchanging two neurons is a symmetry whose fixed space consists of the networks in which both have the same "
        "weights; there the function depends only on the sum of their output weights and is that of a network with "
        "one neuron less."
    )
    chapter: ClassVar[str] = "hidden_subspaces"
    presets: ClassVar[Mapping[Preset, Settings]] = {
        "smoke": Settings(steps=300, samples=64, seeds=(0, 1)),
        "page": Settings(steps=2000, seeds=(0, 1, 2)),
        "paper": Settings(),
    }

    def shards(self, config: Settings) -> list[Shard]:
        """One a seed.

        Args:
            config: Settings.

        Returns:
            Settings of the shards.
        """
        names = ("inputs", "units", "samples", "steps", "lr", "init", "reach", "shifts")
        return [{**{k: getattr(config, k) for k in names}, "seed": s} for s in config.seeds]

    def run(self, config: Settings, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Train and compare.

        Args:
            config: Settings.
            device: Where to train.
            executor: Maps over the shards.

        Returns:
            Weights ``w``, ``b``, ``a`` (seed, net, unit, ...), zero beyond ``units`` (net); ``loss``; and changes of
            the function relative to its largest value, for each statement and its control: ``exchanged``, ``slid``
            (..., shift), ``shrunk``; ``apart`` is the largest difference between the pair's weights after training.
        """
        runner = InProcess() if executor is None else executor
        result = xr.concat(
            runner.map(self.id, partial(compute, device=device), self.shards(config)),
            dim=xr.DataArray(list(config.seeds), dims="seed", name="seed"),
        )
        for name in ("exchanged", "slid", "shrunk"):
            result[name].attrs.update(long_name="largest change of the function, relative", units="1")
        return result

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The four statements, worst seed against the best control.

        Args:
            result: From :meth:`run`.

        Returns:
            Exchange, fixed space under gradient descent, local symmetry, smaller network.
        """

        def verdict(words: str, values: xr.DataArray, tolerance: float = ROUNDING) -> Verdict:
            worst, control = float(values.sel(case="statement").max()), float(values.sel(case="control").min())
            return Verdict(words, worst, tolerance, control=control, sizes={"seeds": result.sizes["seed"]})

        return [
            verdict("exchanging two neurons changes the function by (control: inputs only)", result["exchanged"]),
            verdict(
                "after training from the fixed space the two neurons differ by (control: outputs unequal at the start)",
                result["apart"],
            ),
            verdict(
                "moving weight from one output to the other changes the function by (control: inputs not shared)",
                result["slid"].max("shift"),
            ),
            verdict("with the two neurons merged the function changes by (control: one dropped)", result["shrunk"]),
        ]
