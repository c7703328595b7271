r"""The fully connected network of figures B5 and B11 (paper B, Section 6.3 and Appendix B.2).

Setting: a four-layer network with 300 neurons in each hidden layer on MNIST, batches of 64, with weight decay, without
(*vanilla*) and with (*syre*) a static bias; the inputs are scaled by a factor $\alpha$. Measured: accuracies, and the
eigenvalues of the covariance of the first layer's output over 1000 images, before and after the activation, in units of
$\alpha^2$; the rank is the number of those above $10^{-4}$.

Open in the paper and chosen here: ReLU; SGD with learning rate 0.1 and no momentum; the number of epochs; whether its
$\gamma$ is PyTorch's ``weight_decay`` (it is here, as in Appendix B.1); and $\sigma_0$, the standard deviation of the
bias in units of one over the root of the fan-in.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import xarray as xr
from torch import Tensor

from symtheory.engine import mlp
from symtheory.engine.images import Loader
from symtheory.engine.training import Descent, train
from symtheory.errors import SymtheoryError
from symtheory.figures import pictures
from symtheory.figures.base import Config, Shard
from symtheory.figures.teacher import eigenvalues

#: Eigenvalues above it count.
CUT = 1e-4
#: Outputs of the first layer that are measured.
PLACES = ("before activation", "after activation")


@dataclass(frozen=True)
class Setting(Config):
    """What the two figures share.

    Attributes:
        data: Name of the data set.
        samples: Images to train on; 0 for all.
        tested: Images to test on; 0 for all.
        measured: Test images over which the covariance is taken.
        hidden: Units of each of the three hidden layers.
        epochs: Passes over the images.
        batch: Images a step.
        lr: Learning rate.
        sigma0: Standard deviation of syre's bias, in units of one over the root of the fan-in.
        seeds: Seeds of start, bias and batches.
    """

    data: str = "mnist"
    samples: int = 0
    tested: int = 0
    measured: int = 1000
    hidden: int = 300
    epochs: int = 10
    batch: int = 64
    lr: float = 0.1
    sigma0: float = 1.0
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        names = ("measured", "hidden", "epochs", "batch", "lr", "sigma0")
        wrong = {k: getattr(self, k) for k in names if getattr(self, k) <= 0}
        if wrong or not self.seeds or min(self.samples, self.tested) < 0:
            raise SymtheoryError(
                "positive settings and a seed", f"{wrong or self.seeds}", f"see {type(self).__module__}.Settings"
            )

    def shard(self, seed: int, decay: float, scale: float, sigma0: float) -> Shard:
        """One network.

        Args:
            seed: Seed.
            decay: PyTorch's ``weight_decay``.
            scale: Factor on the inputs.
            sigma0: Size of the bias; 0 for vanilla.

        Returns:
            Settings for :func:`compute`.
        """
        names = ("data", "samples", "tested", "measured", "hidden", "epochs", "batch", "lr")
        own = {"seed": seed, "decay": decay, "scale": scale, "sigma0": sigma0}
        return {**{k: getattr(self, k) for k in names}, **own}


def trained(shard: Shard, x: Tensor, y: Tensor, classes: int) -> tuple[mlp.Shape, Tensor]:
    """Train one network.

    Args:
        shard: From :meth:`Setting.shard`.
        x: Scaled inputs, shape ``(samples, pixels)``.
        y: Labels.
        classes: Their number.

    Returns:
        Its shape, and the weights that are run at the end.
    """
    shape, seed = mlp.Shape((x.shape[1], *(shard["hidden"],) * 3, classes)), shard["seed"]
    start = shape.start(torch.Generator().manual_seed(seed)).to(x.device)
    noise = torch.randn(shape.size, generator=torch.Generator().manual_seed(seed + 10_000))
    bias = (shard["sigma0"] * shape.scale() * noise).to(x.device)
    stream = pictures.batches(x, y, shard["batch"], torch.Generator().manual_seed(seed + 20_000))
    steps = shard["epochs"] * (len(y) // shard["batch"])

    *_, (_, vector) = train(shape, start, bias, Descent(shard["lr"], shard["decay"]), stream, (steps,))
    return shape, vector


def compute(shard: Shard, device: str = "cpu", load: Loader | None = None) -> xr.Dataset:
    """Train and measure one network.

    Args:
        shard: From :meth:`Setting.shard`.
        device: Where to train.
        load: Where the data set comes from.

    Returns:
        ``accuracy`` (part), ``spectrum`` (place, index) in units of the squared scale, ``rank`` (place).
    """
    images = pictures.opened(shard, load)
    train, test = pictures.part(images.train, shard["samples"]), pictures.part(images.test, shard["tested"])
    train, test = train.to(device), test.to(device)
    x, seen = shard["scale"] * train.flat(), shard["scale"] * test.flat()
    shape, vector = trained(shard, x, train.labels, images.classes)
    first = mlp.outputs(shape, vector, seen[: shard["measured"]])[0]
    spectra = torch.stack([eigenvalues(first), eigenvalues(first.relu())]).cpu() / shard["scale"] ** 2
    right = [mlp.evaluate(shape, vector, a, b)[1] for a, b in ((x, train.labels), (seen, test.labels))]
    return xr.Dataset(
        {
            "accuracy": ("part", right),
            "spectrum": (("place", "index"), spectra.numpy()),
            "rank": ("place", (spectra > CUT).sum(-1).numpy()),
        },
        coords={"part": ["train", "test"], "place": list(PLACES), "index": range(1, spectra.shape[1] + 1)},
    )


def describe(result: xr.Dataset, config: Setting) -> xr.Dataset:
    """Add names and units.

    Args:
        result: Any arrangement of what :func:`compute` returns; changed in place.
        config: Settings.

    Returns:
        The same.
    """
    result["accuracy"].attrs.update(long_name="part of the images that is classified rightly", units="1")
    result["spectrum"].attrs.update(long_name="eigenvalues of the first layer's covariance, over scale^2", units="1")
    result["rank"].attrs.update(long_name=f"eigenvalues above {CUT:g}", units="1")
    result.attrs.update(hidden=config.hidden, sigma0=config.sigma0, epochs=config.epochs)
    return result
