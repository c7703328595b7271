r"""The variational autoencoder of figures B6 and B7 (paper B, Section 6.4).

Setting: a $\beta$-VAE on Fashion-MNIST, encoder and decoder of two layers with SiLU, 200 hidden units and 200 latent
variables, prior variance $\eta_{enc}=0.01$; weight decay $\gamma$ and the static bias act on the encoder alone.
Measured: the eigenvalues of the covariance of the encoder's mean over 1000 test images, those above $10^{-6}$ being the
rank; and, over all test images, the reconstruction loss and the KL divergence.

The paper leaves the rest to Wang and Ziyin (2022), from whose published code is taken here: the loss of an image (half
the squared error summed over pixels in $[0, 1]$, decoder variance 1), two networks for the mean and the log variance,
Adam with learning rate $10^{-3}$, a linear output. Chosen here:

* $\eta_{enc}$ is the *variance* of the prior of each latent variable, not its standard deviation.
* $\gamma$ is PyTorch's ``weight_decay`` of Adam, beside the mean loss of a batch. So the decay pulls a weight of the
  encoder with $\gamma$, and the KL divergence pulls the mean with $\beta/\eta_{enc}$, which is 1000 at $\beta=10$: the
  paper's $\gamma=1000$ is the decay that matches it. This matters: at $\beta=10$ a tenth of it wins back a third of the
  loss or less; and at $\eta_{enc}=10^{-4}$, the square of the paper's number, 1000 leaves the posterior collapsed, but
  $10^5=\beta/\eta_{enc}$ does not.
* The bias has the size $\sigma_0/\sqrt{\text{fan-in}}$ with $\sigma_0=1$, that of the initial weights. This matters
  too: the encoder ends near its bias, and with $\sigma_0=0.1$ it reconstructs no better than a collapsed one.
* Batches of 64 and eight epochs. Batches of 128 and 512 and a learning rate of $3\cdot10^{-4}$ change the losses at
  $\beta=10$ little. A latent variable that nothing needs loses its variance slowly, so the rank of vanilla training
  still falls with every epoch, and at small $\beta$ it says less about the minimum than about the time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import xarray as xr
from torch import Tensor

from symtheory.engine import vae
from symtheory.engine.images import Loader
from symtheory.errors import SymtheoryError
from symtheory.figures import pictures
from symtheory.figures.base import Config, Shard
from symtheory.figures.teacher import eigenvalues

#: Eigenvalues above it count.
CUT = 1e-6


@dataclass(frozen=True)
class Setting(Config):
    r"""What the two figures share.

    Attributes:
        data: Name of the data set.
        samples: Images to train on; 0 for all.
        tested: Images to test on; 0 for all.
        measured: Test images over which the covariance is taken.
        shown: Test images whose reconstructions are kept.
        hidden: Hidden units of each network.
        latent: Latent variables.
        prior: Variance of the latent's prior.
        epochs: Passes over the images.
        batch: Images a step.
        lr: Learning rate of Adam.
        sigma0: Standard deviation of syre's bias, in units of one over the root of the fan-in.
        decay: $\gamma$, PyTorch's ``weight_decay``, of the encoder.
        seeds: Seeds of start, bias, batches and noise.
    """

    data: str = "fashion-mnist"
    samples: int = 0
    tested: int = 0
    measured: int = 1000
    shown: int = 16
    hidden: int = 200
    latent: int = 200
    prior: float = 0.01
    epochs: int = 8
    batch: int = 64
    lr: float = 1e-3
    sigma0: float = 1.0
    decay: float = 1000.0
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        names = ("measured", "shown", "hidden", "latent", "prior", "epochs", "batch", "lr", "sigma0", "decay")
        wrong = {k: getattr(self, k) for k in names if getattr(self, k) <= 0}
        if wrong or not self.seeds or min(self.samples, self.tested) < 0:
            raise SymtheoryError(
                "positive settings and a seed", f"{wrong or self.seeds}", f"see {type(self).__module__}.Settings"
            )

    def shard(self, seed: int, beta: float, decay: float, sigma0: float) -> Shard:
        """One network.

        Args:
            seed: Seed.
            beta: Weight of the KL divergence.
            decay: PyTorch's ``weight_decay`` of the encoder.
            sigma0: Size of the encoder's bias; 0 for vanilla.

        Returns:
            Settings for :func:`compute`.
        """
        names = (
            *("data", "samples", "tested", "measured", "shown"),
            *("hidden", "latent", "prior", "epochs", "batch", "lr"),
        )
        own = {"seed": seed, "beta": beta, "decay": decay, "sigma0": sigma0}
        return {**{k: getattr(self, k) for k in names}, **own}


def static_bias(shape: vae.Shape, sigma0: float, seed: int) -> Tensor:
    """The bias of a shard: random for the encoder, none for the decoder.

    Args:
        shape: Widths.
        sigma0: Its standard deviation, in units of one over the root of the fan-in.
        seed: Seed of the network.

    Returns:
        Shape ``(size,)``.
    """
    noise = torch.randn(shape.size, generator=torch.Generator().manual_seed(seed + 10_000))
    noise[shape.encoder :] = 0
    return sigma0 * shape.scale() * noise


def trained(shard: Shard, x: Tensor) -> tuple[vae.Shape, Tensor]:
    """Train one network.

    Args:
        shard: From :meth:`Setting.shard`.
        x: Images, shape ``(samples, pixels)``.

    Returns:
        Its shape, and the weights that are run at the end.

    Raises:
        SymtheoryError: If training diverged.
    """
    shape, seed = vae.Shape(x.shape[1], shard["hidden"], shard["latent"]), shard["seed"]
    start = shape.start(torch.Generator().manual_seed(seed)).to(x.device)
    bias = static_bias(shape, shard["sigma0"], seed).to(x.device)
    # a pixel stands where other figures have labels, which are not needed here
    stream = pictures.batches(x, x[:, 0], shard["batch"], torch.Generator().manual_seed(seed + 20_000))
    noise = torch.Generator(x.device).manual_seed(seed + 30_000)

    def make(encoder: Tensor, decoder: Tensor) -> torch.optim.Optimizer:
        groups = [{"params": [encoder], "weight_decay": shard["decay"]}, {"params": [decoder]}]
        return torch.optim.Adam(groups, lr=shard["lr"], fused=True)

    steps = shard["epochs"] * (len(x) // shard["batch"])
    weighing = vae.Weighing(shard["beta"], shard["prior"])
    vector = vae.train(shape, weighing, start, bias, make, (batch for batch, _ in stream), noise, steps)
    if not vector.isfinite().all():
        raise SymtheoryError("finite weights after training", "an overflow", "take a smaller lr")
    return shape, vector


def recognised(images: Tensor, found: Tensor) -> float:
    """Part of the images to which their own reconstruction is nearer than that of any other image is.

    Args:
        images: Shape ``(n, pixels)``.
        found: Their reconstructions.

    Returns:
        Between 0 and 1; ``1 / n`` if the reconstruction is always the same.

    >>> recognised(torch.eye(4), torch.eye(4)), recognised(torch.eye(4), torch.ones(4, 4) / 4)
    (1.0, 0.25)
    """
    nearest = torch.cdist(images.double(), found.double()).argmin(1)
    return float((nearest == torch.arange(len(images), device=images.device)).double().mean())


def compute(shard: Shard, device: str = "cpu", load: Loader | None = None) -> xr.Dataset:
    r"""Train and measure one network.

    Args:
        shard: From :meth:`Setting.shard`.
        device: Where to train.
        load: Where the data set comes from.

    Returns:
        ``rank``; ``spectrum`` (index); over the test images ``reconstruction`` (with a sampled latent), ``noiseless``
        and ``divergence``, and ``constant``, the reconstruction loss of the best constant; ``recognised``, see
        :func:`recognised`, over the images that are measured; ``kept``, the number of eigenvalues of the images'
        covariance above $\beta$; ``image`` and ``picture`` (shown, pixel), first test images and reconstructions.
    """
    images = pictures.opened(shard, load)
    train, test = pictures.part(images.train, shard["samples"]), pictures.part(images.test, shard["tested"])
    x, seen = train.to(device).flat(), test.to(device).flat()
    shape, vector = trained(shard, x)
    first, noise = seen[: shard["measured"]], torch.Generator(device).manual_seed(shard["seed"] + 40_000)
    scores = vae.evaluate(shape, vector, seen, shard["prior"], noise)
    mean, spread = vae.encode(shape, vector, first)
    sampled = mean + (0.5 * spread).exp() * torch.empty_like(mean).normal_(generator=noise)
    found = vae.decode(shape, vector, sampled)
    values = eigenvalues(mean).cpu()
    pixels = eigenvalues(seen).cpu()
    shown = slice(None, shard["shown"])
    return xr.Dataset(
        {
            "rank": ((), int((values > CUT).sum())),
            "spectrum": ("index", values.numpy()),
            **{name: ((), value) for name, value in scores._asdict().items()},
            "constant": ((), float(0.5 * pixels.sum() * (1 - 1 / len(seen)))),
            "recognised": ((), recognised(first, found)),
            "kept": ((), int((pixels > shard["beta"]).sum())),
            "image": (("shown", "pixel"), first[shown].cpu().numpy()),
            "picture": (("shown", "pixel"), found[shown].cpu().numpy()),
        },
        coords={"index": range(1, len(values) + 1)},
    )


def describe(result: xr.Dataset, config: Setting) -> xr.Dataset:
    """Add names and units.

    Args:
        result: Any arrangement of what :func:`compute` returns; changed in place.
        config: Settings.

    Returns:
        The same.
    """
    names = {
        "rank": (f"eigenvalues of the covariance of the encoder's mean above {CUT:g}", "1"),
        "spectrum": ("eigenvalues of the covariance of the encoder's mean", "1"),
        "reconstruction": ("half the squared error of an image, with a sampled latent", "1"),
        "noiseless": ("half the squared error of an image, with the latent at its mean", "1"),
        "constant": ("half the squared error of an image, if it is replaced by the mean image", "1"),
        "divergence": ("KL divergence of the posterior from the prior", "nats"),
        "recognised": ("part of the images nearest to their own reconstruction", "1"),
        "kept": ("eigenvalues of the covariance of the images above beta", "1"),
        "image": ("pixels of a test image", "1"),
        "picture": ("pixels of its reconstruction", "1"),
    }
    for name, (what, units) in names.items():
        if name in result:
            result[name].attrs.update(long_name=what, units=units)
    result.attrs.update(
        {k: getattr(config, k) for k in ("hidden", "latent", "prior", "epochs", "sigma0", "decay", "measured")}
    )
    return result
