r"""Table 1 of paper B: SimCLR with ResNet18, and what syre does to the features of its last layer.

Setting: ResNet18 (:mod:`symtheory.engine.resnet`) with a projection head of two layers, trained without labels by
:mod:`symtheory.engine.contrastive`; vanilla, and with a static bias by anchored decay
(:class:`symtheory.transforms.anchor.AnchoredDecay`) on the head or on all layers, its standard deviation $\sigma_0$ in
units of one over the root of the fan-in. All of them have the same decay; without bias it pulls towards zero. Measured:
the *low-rankness*, that is the part of the eigenvalues of the covariance of the last layer's features over the test
images that are below $10^{-5}$, and the test accuracy of a linear classifier (:mod:`symtheory.engine.probing`) of the
features before the head (*penultimate*) and after it (*last*).

The paper takes "the setting for training SimCLR" from Chen et al. (2020). From there: views, temperature 0.5, a head
as wide as the features with 128 outputs. Open and chosen here: the decay, which drives the collapse; SGD with momentum
instead of LARS, which rescales the gradient of each layer and is meant for much larger batches; its rate, batch and
epochs; the penalty of the linear classifier. The cut of $10^{-5}$ is absolute while the loss does not see the length of
its features, so the share of eigenvalues below $10^{-5}$ of the largest is measured, too (*relative*).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar

import torch
import xarray as xr
from torch import nn

from symtheory.engine import contrastive
from symtheory.engine.epochs import Anneal, Epoch
from symtheory.engine.images import Loader
from symtheory.engine.probing import fit
from symtheory.engine.supervised import Normalise, outputs
from symtheory.errors import SymtheoryError
from symtheory.figures import pictures, residual
from symtheory.figures.base import Config, Executor, Figure, InProcess, Outcome, Preset, Shard
from symtheory.figures.teacher import eigenvalues
from symtheory.spec.verdict import Verdict
from symtheory.transforms.syre import syre

#: Eigenvalues below it count as none.
CUT = 1e-5
#: Features that a linear classifier is given: before and after the projection head.
LAYERS = ("penultimate", "last")
#: Where the bias is.
PLACES = ("head", "all layers")
NORM=True
VANILLA = "vanilla"


@dataclass(frozen=True)
class Settings(Config):
    r"""Settings of the figure.

    Attributes:
        data: Name of the data set.
        samples: Images to train on, for the network and for the linear classifier; 0 for all.
        tested: Images to test on; 0 for all.
        side: Height and width to which images are averaged; 32 leaves them.
        width: Channels of the first stage; 64 for ResNet18.
        outputs: Units of the last layer.
        epochs: Passes over the images.
        batch: Images a step, each seen twice.
        lr: Learning rate.
        anneal: How the rate falls.
        decay: PyTorch's ``weight_decay``.
        temperature: Of the loss.
        least: Smallest part of the area that a view keeps.
        penalty: $\rho$ of the linear classifier.
        sizes: Standard deviations of the bias in units of one over the root of the fan-in.
        seeds: Seeds of start, bias, order and views.
    """

    data: str = "cifar-100"
    samples: int = 0
    tested: int = 0
    side: int = 32
    width: int = 64
    outputs: int = 128
    epochs: int = 200
    batch: int = 512
    lr: float = 0.3
    anneal: Anneal = "cosine"
    decay: float = 5e-4
    temperature: float = 0.5
    least: float = 0.08
    penalty: float = 1e-3
    sizes: tuple[float, ...] = (0.1, 0.01)
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        names = ("side", "width", "outputs", "epochs", "batch", "lr", "decay", "temperature", "least", "penalty")
        wrong = {k: getattr(self, k) for k in names if getattr(self, k) <= 0}
        if wrong or not self.seeds or min(self.samples, self.tested) < 0:
            raise SymtheoryError("positive settings and a seed", f"{wrong or self.seeds}", "see bt1.Settings")
        if not self.sizes or min(self.sizes) <= 0 or len(set(self.sizes)) < len(self.sizes):
            raise SymtheoryError("different positive sizes of the bias", f"{self.sizes}", "such as (0.1, 0.01)")

    @property
    def models(self) -> dict[str, tuple[float, str]]:
        """Name to size and place of the bias, vanilla first and with size 0, in the order of the paper's table."""
        syre = {f"syre {size:g}, {place}": (size, place) for place in PLACES for size in self.sizes}
        return {VANILLA: (0.0, PLACES[0]), **syre}

    def shard(self, seed: int, sigma0: float, place: str) -> Shard:
        """One network.

        Args:
            seed: Seed.
            sigma0: Size of the bias; 0 for vanilla.
            place: One of ``PLACES``.

        Returns:
            Settings of its training.
        """
        names = [f.name for f in fields(Settings) if f.name not in ("seeds", "sizes")]
        return {**{k: getattr(self, k) for k in names}, "seed": seed, "sigma0": sigma0, "place": place}


def biased(net: contrastive.Network, decay: float, sigma0: float, place: str, seed: int) -> contrastive.Network:
    """A network with a static bias under the weights of its head, or of all its layers.

    Args:
        net: At its start.
        decay: PyTorch's ``weight_decay``.
        sigma0: Size of the bias in units of one over the root of the fan-in; 0 for none.
        place: One of ``PLACES``.
        seed: Of the bias.

    Returns:
        A copy that computes the same; the network itself if there is no bias.
    """
    if not sigma0:
        return net
    names = [k for k, p in net.named_parameters() if p.dim() > 1 and (place != PLACES[0] or k.startswith("head."))]
    made = syre(net, sigma0, decay / 2, seed=seed, relative=True, names=names)
    assert isinstance(made, contrastive.Network)
    return made


def optimiser(net: nn.Module, lr: float, decay: float) -> torch.optim.SGD:
    """SGD with decay of weights, but not of normalisations.

    Args:
        net: The network.
        lr: Learning rate.
        decay: PyTorch's ``weight_decay``; on a biased weight it acts before the bias is added.

    Returns:
        The optimiser.
    """
    groups = [
        {"params": [p for p in net.parameters() if (p.dim() > 1) == weights], "weight_decay": decay * weights}
        for weights in (True, False)
    ]
    return torch.optim.SGD(groups, lr=lr, momentum=residual.MOMENTUM, fused=True)


def compute(shard: Shard, device: str = "cpu", load: Loader | None = None) -> xr.Dataset:
    """Train and measure one network.

    Args:
        shard: From :meth:`BT1.shards`, with its origin.
        device: Where to train.
        load: Where the data set comes from.

    Returns:
        ``spectrum`` (index) of the last layer's covariance, ``low_rank``, ``relative``, ``accuracy`` (layer), ``loss``.
    """
    train, test, classes = residual.splits(shard, device, load)
    own, width, seed = Normalise(train.images), shard["width"], shard["seed"]
    start = contrastive.Network(shard["outputs"], torch.Generator().manual_seed(seed), width, NORM)
    net = biased(residual.placed(start, device), shard["decay"], shard["sigma0"], shard["place"], seed + 10_000)
    optimizer = optimiser(net, shard["lr"], shard["decay"])
    names = [f.name for f in fields(contrastive.Plan)]
    history = contrastive.train(net, optimizer, train, own, contrastive.Plan(**{k: shard[k] for k in names}), _loss)
    net.eval()
    before, tested = (outputs(net.trunk.pooled, part.images, own) for part in (train, test))
    after, last = (_features(net, h) for h in (before, tested))
    spectrum = eigenvalues(last).cpu()
    found = [
        fit(x, train.labels, classes, shard["penalty"]).accuracy(seen, test.labels)
        for x, seen in ((before, tested), (after, last))
    ]
    return xr.Dataset(
        {
            "spectrum": ("index", spectrum.numpy()),
            "low_rank": float((spectrum < CUT).double().mean()),
            "relative": float((spectrum < CUT * spectrum[0]).double().mean()),
            "accuracy": ("layer", found),
            "loss": history[-1]["loss"],
        },
        coords={"layer": list(LAYERS), "index": range(1, shard["outputs"] + 1)},
    )


def _loss(epoch: Epoch) -> dict[str, float]:
    return {"loss": epoch.loss}


@torch.no_grad()
def _features(net: contrastive.Network, pooled: torch.Tensor) -> torch.Tensor:
    """Features after the head, from those before it."""
    return net.head(pooled)
