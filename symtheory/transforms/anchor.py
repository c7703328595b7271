r"""Anchored decay: symmetry removal in the optimiser, at no cost in the forward pass.

The biased model trains $\theta$ in $\ell(\theta+\theta_0)+\gamma\|\theta\|_D^2$. With $\varphi = \theta+\theta_0$
that is

$$\ell(\varphi)+\gamma\|\varphi-\theta_0\|_D^2,$$

decay towards $+\theta_0$ (not $-\theta_0$) of the effective parameters $\varphi$, which are those of the plain model.
For SGD and Adam the term $2\gamma D(\varphi-\theta_0)$ is added to the gradient. For AdamW it is *decoupled*:
$\varphi\leftarrow\varphi-2\gamma\,\mathrm{lr}\,D(\varphi-\theta_0)$ before the adaptive step. The stationary points
then no longer are those of the loss above: where a minimum of it has $\nabla\ell = -2\gamma D\theta$, AdamW balances
the *normalised* gradient against $2\gamma D\theta$. The reflection is removed all the same, with a strength that is
not the one of Theorem 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from symtheory.errors import SymtheoryError

#: Optimisers of PyTorch that always shrink the parameters apart from the gradient.
_DECOUPLED = ("AdamW", "Adafactor", "Muon")
_KEY = "syre"


def is_decoupled(optimizer: Optimizer) -> bool:
    """Whether an optimiser applies weight decay to the parameters and not to the gradient.

    Args:
        optimizer: Any optimiser.

    Returns:
        True for AdamW and the like.

    >>> is_decoupled(torch.optim.AdamW([torch.zeros(1, requires_grad=True)]))
    True
    """
    flagged = any(group.get("decoupled_weight_decay", False) for group in optimizer.param_groups)
    return flagged or type(optimizer).__name__ in _DECOUPLED


class AnchoredDecay:
    r"""Decay of an optimiser's parameters towards fixed anchors, installed as hooks.

    The anchors travel with copies and pickles of the optimiser, and with ``optimizer.state_dict()``, as one more entry
    of ``param_groups``. So an optimiser without anchors refuses such a checkpoint (PyTorch says that the number of
    parameter groups differs); anchor it first, with any seed and any numbers: those of the checkpoint replace them.

    Args:
        optimizer: Its groups must have ``weight_decay=0``; this object does the decay.
        anchors: $\theta_0$, one tensor for every parameter in the order of the groups.
        gamma: $\gamma$, half of PyTorch's ``weight_decay``.
        stretch: Diagonal of $D$ in the same order; ``None`` for $D = I$. For groups with decays of their own: multiples
            of ``gamma``, and zeros for tensors that shall not decay.
        decoupled: Whether to shrink parameters instead of adding to gradients; default as the optimiser does.

    Raises:
        SymtheoryError: If shapes do not match, the optimiser decays already, or is anchored already.

    Attributes:
        gamma: $\\gamma$.
        decoupled: How the decay is applied.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        anchors: Sequence[Tensor],
        gamma: float,
        *,
        stretch: Sequence[Tensor] | None = None,
        decoupled: bool | None = None,
    ) -> None:
        params = [p for group in optimizer.param_groups for p in group["params"]]
        _require_shapes("anchors", anchors, params)
        if stretch is not None:
            _require_shapes("entries of D", stretch, params)
        for group in optimizer.param_groups:
            if group.get("weight_decay", 0):
                raise SymtheoryError(
                    "an optimiser with weight_decay=0",
                    f"weight_decay={group['weight_decay']}",
                    "leave the decay to syre: gamma = weight_decay / 2; AnchoredDecay(stretch=...) takes several",
                )
        if any(
            isinstance(getattr(h, "__self__", None), AnchoredDecay)
            for h in optimizer._optimizer_step_pre_hooks.values()
        ):
            raise SymtheoryError("an optimiser without anchors", "an anchored one", "call .remove() on the first")
        if isinstance(optimizer, torch.optim.LBFGS):
            raise SymtheoryError("an optimiser that takes one gradient a step", "LBFGS", "use the module form")
        self._optimizer = optimizer
        self._params = params
        self._anchors = {id(p): a.detach().to(p).clone() for p, a in zip(params, anchors, strict=True)}
        self._stretch = (
            None if stretch is None else {id(p): d.detach().to(p).clone() for p, d in zip(params, stretch, strict=True)}
        )
        self.gamma = gamma
        self.decoupled = is_decoupled(optimizer) if decoupled is None else decoupled
        optimizer.__dict__["__reduce_ex__"] = self._reduce  # PyTorch leaves hooks out of copies and pickles
        self._hooks = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_state_dict_post_hook(self._write),
            optimizer.register_load_state_dict_pre_hook(self._read),
        ]

    @property
    def anchors(self) -> list[Tensor]:
        r"""$\theta_0$ in the order of the optimiser's parameters."""
        return [self._at(p) for p in self._params]

    def penalty(self) -> float:
        r"""$\gamma\|\varphi-\theta_0\|_D^2$ now, for a log.

        Returns:
            A number.
        """
        total = 0.0
        with torch.no_grad():
            for p in self._params:
                total += float((self._pull(p) * (p - self._at(p))).sum())
        return self.gamma * total

    def remove(self) -> None:
        """Take the hooks out of the optimiser."""
        self._optimizer.__dict__.pop("__reduce_ex__", None)
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _pull(self, p: Tensor) -> Tensor:
        gap = p - self._at(p)
        return gap if self._stretch is None else gap.mul_(self._stretch[id(p)].to(p))

    def _at(self, p: Tensor) -> Tensor:
        """The anchor of a parameter, which the model may have moved or cast since."""
        anchor = self._anchors.get(id(p))
        if anchor is None:
            raise SymtheoryError("an anchor for every parameter", "a new one", "anchor again after add_param_group")
        if anchor.dtype is not p.dtype or anchor.device != p.device:
            anchor = self._anchors[id(p)] = anchor.to(p)
        return anchor

    @torch.no_grad()
    def _before_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        closures = [a for a in (*args, *kwargs.values()) if a is not None and a is not optimizer]
        if closures:
            raise SymtheoryError(
                "optimizer.step() without a closure", "a closure", "call backward() first, or use the module form"
            )
        skipped: Any = getattr(optimizer, "found_inf", None)  # a gradient scaler leaves both to fused optimisers
        if skipped is not None and bool(skipped):
            return
        for group in optimizer.param_groups:
            live = [p for p in group["params"] if p.grad is not None]
            if live:
                self._decay(group, live, [self._at(p) for p in live])

    def _decay(self, group: dict[str, Any], live: list[Tensor], anchors: list[Tensor]) -> None:
        """One pass over memory where one is enough, as the optimiser's own decay takes."""
        many: Any = torch  # its optimisers use these, too
        rate = 2 * self.gamma
        if self._stretch is None and (self.decoupled or self._plain_sgd(group)):
            many._foreach_lerp_(live, anchors, rate * float(group["lr"]))
            return
        pulls = None if self._stretch is None else [self._pull(p) for p in live]
        if self.decoupled:
            many._foreach_add_(live, pulls, alpha=-rate * float(group["lr"]))
            return
        grads = [p.grad for p in live if p.grad is not None]
        if any(g.is_sparse for g in grads):
            raise SymtheoryError("dense gradients", "sparse ones", "use sparse=False in the embedding")
        scaled = getattr(self._optimizer, "grad_scale", None)
        factor = rate * (1.0 if scaled is None else float(scaled)) * (-1 if group.get("maximize", False) else 1)
        if pulls is not None:
            many._foreach_add_(grads, pulls, alpha=factor)
        else:
            many._foreach_add_(grads, live, alpha=factor)
            many._foreach_add_(grads, anchors, alpha=-factor)

    def _plain_sgd(self, group: dict[str, Any]) -> bool:
        """Without momentum it makes no difference whether the gradient or the parameter is changed."""
        return type(self._optimizer) is torch.optim.SGD and not group["momentum"] and not group["maximize"]

    def _content(self) -> dict[str, Any]:
        """All but the optimiser, as the arguments that make this object."""
        stretch = None if self._stretch is None else [self._stretch[id(p)].clone() for p in self._params]
        anchors = [a.clone() for a in self.anchors]
        return {"anchors": anchors, "gamma": self.gamma, "stretch": stretch, "decoupled": self.decoupled}

    def _reduce(self, protocol: int) -> tuple[Any, ...]:
        """What ``copy`` and ``pickle`` make a second optimiser of."""
        del protocol
        return _restored, (type(self._optimizer), self._optimizer.__getstate__(), self._content())

    def _write(self, optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        """One more group, because PyTorch ignores other entries of a checkpoint but not a wrong number of groups."""
        del optimizer
        groups = state["param_groups"]
        return {**state, "param_groups": [*groups, {**groups[0], "params": [], _KEY: self._content()}]}

    def _read(self, optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        del optimizer
        *groups, last = state["param_groups"]
        if _KEY not in last:
            raise SymtheoryError("a checkpoint with anchors", "a plain one", "load it before the optimiser is anchored")
        saved = last[_KEY]
        _require_shapes("saved anchors", saved["anchors"], self._params)
        self._anchors = {id(p): a.to(p).clone() for p, a in zip(self._params, saved["anchors"], strict=True)}
        self._stretch = None
        if saved["stretch"] is not None:
            self._stretch = {id(p): d.to(p).clone() for p, d in zip(self._params, saved["stretch"], strict=True)}
        self.gamma, self.decoupled = saved["gamma"], saved["decoupled"]
        return {**state, "param_groups": groups}


def _restored(kind: type[Optimizer], state: dict[str, Any], content: dict[str, Any]) -> Optimizer:
    """An optimiser with its anchors, from a copy or a pickle."""
    optimizer = kind.__new__(kind)
    optimizer.__setstate__(state)
    AnchoredDecay(optimizer, **content)
    return optimizer


def _require_shapes(what: str, tensors: Sequence[Tensor], params: Sequence[Tensor]) -> None:
    if len(tensors) != len(params):
        raise SymtheoryError(
            f"{len(params)} {what}, one a parameter", f"{len(tensors)}", "follow the optimiser's groups"
        )
    for k, (t, p) in enumerate(zip(tensors, params, strict=True)):
        if t.shape != p.shape:
            raise SymtheoryError(
                f"{what} of shape {tuple(p.shape)} for parameter {k}",
                f"{tuple(t.shape)}",
                "follow the optimiser's groups",
            )
