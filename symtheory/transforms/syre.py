r"""syre: remove the reflection symmetries of a model's loss with a static bias and weight decay.

Two forms that train the same function, step by step:

* of a *module*: every parameter $W$ is computed as $\theta+\theta_0$, with $\theta$ trained and $\theta_0$ a fixed
  random buffer; the decay $\gamma\|\theta\|_D^2$ is :func:`penalty` (add it to the loss) or, for $D = I$, the
  optimiser's ``weight_decay = 2 * gamma``;
* of an *optimiser*: the module stays as it is and decays towards $\theta_0$ instead of 0
  (:class:`symtheory.transforms.anchor.AnchoredDecay`).

Both removals start from the parameters the model has: $\varphi = \theta+\theta_0$ is unchanged when the transform is
applied.
Source: paper B, eqs. (6) and (7); the sign of the anchor is that of Appendix A.7, not of Section 5.1.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer

from symtheory.errors import SymtheoryError
from symtheory.spec.models import require_model, require_values
from symtheory.spec.params import Params
from symtheory.transforms.anchor import AnchoredDecay
from symtheory.transforms.static import require_removal, static_bias, static_stretch


class StaticBias(nn.Module):
    r"""The parametrisation $\theta\mapsto\theta+\theta_0$, with the decay that belongs to it.

    Args:
        bias: $\theta_0$.
        stretch: Diagonal of $D$; ``None`` for $D = I$.
        gamma: $\gamma$.
        position: Place of the parameter among those of its module.
    """

    bias: Tensor
    stretch: Tensor | None
    gamma: Tensor

    def __init__(self, bias: Tensor, stretch: Tensor | None, gamma: float, position: int = 0) -> None:
        super().__init__()
        self.position = position
        self.register_buffer("bias", bias)
        self.register_buffer("stretch", stretch)
        self.register_buffer("gamma", torch.tensor(gamma, dtype=torch.float64))

    def _apply(self, fn: Any, recurse: bool = True) -> StaticBias:
        """Move and cast, but leave the decay in double precision: half precision has none below 6e-8."""
        gamma = self._buffers.pop("gamma")
        super()._apply(fn, recurse)
        self._buffers["gamma"] = None if gamma is None else gamma.to(self.bias.device)
        return self

    def forward(self, theta: Tensor) -> Tensor:
        r"""$\theta+\theta_0$.

        Args:
            theta: Trained parameter.

        Returns:
            The effective parameter.
        """
        return theta + self.bias

    def right_inverse(self, weight: Tensor) -> Tensor:
        r"""$W-\theta_0$, so that setting the parameter, or applying the transform, keeps the function.

        Args:
            weight: Effective parameter.

        Returns:
            Trained parameter.
        """
        return weight - self.bias


@overload
def syre(
    target: nn.Module,
    sigma0: float,
    gamma: float,
    *,
    seed: int,
    spread: float = ...,
    relative: bool = ...,
    names: Sequence[str] | None = ...,
) -> nn.Module: ...
@overload
def syre(
    target: Optimizer,
    sigma0: float,
    gamma: float,
    *,
    seed: int,
    spread: float = ...,
    relative: bool = ...,
    names: None = ...,
) -> AnchoredDecay: ...
def syre(
    target: nn.Module | Optimizer,
    sigma0: float,
    gamma: float,
    *,
    seed: int,
    spread: float = 0.0,
    relative: bool = False,
    names: Sequence[str] | None = None,
) -> nn.Module | AnchoredDecay:
    r"""Remove the reflection symmetries of whatever loss a model is trained on.

    With one seed, a module and an optimiser of ``module.parameters()`` get the same $\theta_0$ and $D$.

    Args:
        target: A module, which is copied; or an optimiser, which gets hooks and whose ``weight_decay`` must be 0.
        sigma0: Standard deviation $\sigma_0>0$ of the bias; see ``syre_bounds.required_bias`` for how large it has to
            be.
        gamma: Decay $\gamma>0$ of $\gamma\|\theta\|^2$, half of PyTorch's ``weight_decay``.
        seed: Seed of $\theta_0$ and $D$.
        spread: $\epsilon$ of $D_{ii}\sim\mathrm{Uniform}(1-\epsilon,1+\epsilon)$; 0 for $D = I$. Needed against
            rotations.
        relative: Take $\sigma_0$ in units of $1/\sqrt{\text{fan-in}}$, as the paper does (it recommends 0.01).
        names: Parameters to treat, for a module; default all that are trained.

    Returns:
        The biased copy of the module, to be trained with :func:`penalty`; or the anchored decay of the optimiser.

    Raises:
        SymtheoryError: If a number is out of range, a name is unknown, a parameter is tied, or the target is neither.

    >>> net = syre(nn.Linear(2, 1).double(), 0.1, 0.01, seed=0)
    >>> sorted(name for name, _ in net.named_parameters())
    ['parametrizations.bias.original', 'parametrizations.weight.original']
    """
    require_removal(sigma0, gamma, spread)
    if isinstance(target, Optimizer):
        if names is not None:
            raise SymtheoryError(
                "names only with a module", "an optimiser", "give the optimiser the parameters you mean"
            )
        return _anchor(target, sigma0, gamma, seed, spread, relative)
    if not isinstance(target, nn.Module):
        raise SymtheoryError("a module or an optimiser", type(target).__name__, "pass the model or torch.optim.X")
    require_model(target)
    model = copy.deepcopy(target)
    params = _trained(model, names)
    bias = static_bias(params, sigma0, seed, relative=relative)
    stretch = static_stretch(params, spread, seed) if spread else None
    split = {name: name.rpartition(".")[::2] for name in params}
    position = {name: list(model.get_submodule(owner)._parameters).index(leaf) for name, (owner, leaf) in split.items()}
    for name, (owner, leaf) in split.items():
        part = StaticBias(bias[name], None if stretch is None else stretch[name], gamma, position[name])
        parametrize.register_parametrization(model.get_submodule(owner), leaf, part)
    return model


def _anchor(
    optimizer: Optimizer, sigma0: float, gamma: float, seed: int, spread: float, relative: bool
) -> AnchoredDecay:
    params = {str(k): p.detach() for k, p in enumerate(p for group in optimizer.param_groups for p in group["params"])}
    require_values(params)
    bias = static_bias(params, sigma0, seed, relative=relative)
    stretch = list(static_stretch(params, spread, seed).values()) if spread else None
    return AnchoredDecay(optimizer, list(bias.values()), gamma, stretch=stretch)


def _trained(model: nn.Module, names: Sequence[str] | None) -> Params:
    everything = dict(model.named_parameters(remove_duplicate=False))
    chosen = [n for n, p in everything.items() if p.requires_grad] if names is None else list(names)
    missing = [n for n in chosen if n not in everything]
    if missing or not chosen:
        raise SymtheoryError(
            f"parameters among {sorted(everything)}", f"{missing or 'none'}", "use the model's own names"
        )
    for n in chosen:
        p = everything[n]
        if isinstance(p, nn.parameter.UninitializedParameter):
            raise SymtheoryError(f"an initialised {n!r}", "a lazy one", "run one forward pass first")
        if not p.is_floating_point():
            raise SymtheoryError(f"a floating {n!r}", f"{p.dtype}", "leave it out with names=")
        if sum(p is q for q in everything.values()) > 1:
            raise SymtheoryError(f"an untied {n!r}", "one that two modules share", "use the optimiser form")
        if ".parametrizations." in f".{n}":
            raise SymtheoryError(f"a plain {n!r}", "one that is parametrised already", "fold or remove that first")
    return {n: everything[n].detach() for n in chosen}


def _parts(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, Tensor, StaticBias]]:
    for path, module in model.named_modules():
        chains: Any = module.parametrizations if parametrize.is_parametrized(module) else {}
        for leaf, chain in chains.items():
            for part in chain:
                if isinstance(part, StaticBias):
                    yield f"{path}.{leaf}".lstrip("."), module, leaf, chain.original, part


def _require_biased(model: nn.Module) -> list[tuple[str, nn.Module, str, Tensor, StaticBias]]:
    parts = list(_parts(model))
    if not parts:
        raise SymtheoryError("a model made by syre(model, ...)", "one without static bias", "apply syre first")
    return parts


def penalty(model: nn.Module) -> Tensor:
    r"""$\gamma\|\theta\|_D^2$ over the trained parameters, to be added to the loss.

    Args:
        model: A model made by :func:`syre`.

    Returns:
        Scalar with a gradient.
    """
    terms = []
    for _, _, _, theta, part in _require_biased(model):
        square = theta * theta if part.stretch is None else part.stretch * theta * theta
        terms.append(part.gamma.to(theta) * square.sum())
    return torch.stack(terms).sum()


def bias_of(model: nn.Module) -> Params:
    r"""$\theta_0$ by the names of the plain model.

    Args:
        model: A model made by :func:`syre`.

    Returns:
        Name to bias.
    """
    return {name: part.bias for name, _, _, _, part in _require_biased(model)}


def effective_parameters(model: nn.Module) -> Params:
    r"""$\varphi = \theta+\theta_0$ by the names of the plain model, detached; here mirrors are measured.

    Args:
        model: A model made by :func:`syre`.

    Returns:
        Name to tensor, in the order of the plain model; parameters that were not treated are included.
    """
    found = {name: (theta + part.bias).detach() for name, _, _, theta, part in _require_biased(model)}
    return {name: found[name] if name in found else p.detach() for name, p in fold(model).named_parameters()}


def fold(model: nn.Module) -> nn.Module:
    r"""The plain model with parameters $\theta+\theta_0$: same function, no trace of the bias.

    Args:
        model: A model made by :func:`syre`.

    Returns:
        A copy; its parameters have their plain names again.

    Raises:
        SymtheoryError: If parametrisations by others stand on the same tensors.
    """
    plain = _copied(model)
    places: dict[int, tuple[nn.Module, dict[str, tuple[int, nn.Parameter]]]] = {}
    for _, module, leaf, theta, part in _require_biased(plain):
        weight = nn.Parameter((theta + part.bias).detach().clone(), requires_grad=theta.requires_grad)
        places.setdefault(id(module), (module, {}))[1][leaf] = (part.position, weight)
    for module, weights in places.values():
        others = set(module.parametrizations) - set(weights)  # type: ignore[arg-type]
        if others:
            raise SymtheoryError("parametrisations by syre only", f"others on {sorted(others)}", "remove those first")
        # torch's remove_parametrizations takes the property off a class that deep copies share with the original
        del module._modules["parametrizations"]
        module.__class__ = type(module).__bases__[0]
        _insert(module, weights)
        if isinstance(module, nn.RNNBase):
            module._init_flat_weights()  # its own list of weights
    return plain


def _copied(model: nn.Module) -> nn.Module:
    """A deep copy, also after a recurrent layer has listed effective weights, which are no leaves of the graph."""
    listed = [w for m in model.modules() if isinstance(m, nn.RNNBase) for w in m._flat_weights if w is not None]
    return copy.deepcopy(model, {id(w): w.detach() for w in listed if not w.is_leaf})


def _insert(module: nn.Module, weights: dict[str, tuple[int, nn.Parameter]]) -> None:
    """Register parameters at their old places, so that optimisers and flat vectors see the old order."""
    kept = dict(module._parameters)
    order = [name for name in kept if name not in weights]
    for name, (position, _) in sorted(weights.items(), key=lambda item: item[1][0]):
        order.insert(position, name)
    module._parameters.clear()
    for name in order:
        module.register_parameter(name, weights[name][1] if name in weights else kept[name])
