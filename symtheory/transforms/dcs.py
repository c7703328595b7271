r"""DCS, differentiable constraint by symmetry: any model, any mirror, an $L_1$ penalty across it by plain weight decay.

:func:`dcs` wraps a module so that its parameters are $\theta = (I-P)v + O(t\cdot c)$ (see
:mod:`symtheory.engine.factoring`). Training the factors with weight decay $2\alpha$ then minimises
$L(\theta) + 2\alpha\sum_g\|O_g^T\theta\|$. At its minima coordinates of $O^T\theta$, or groups of them, are exactly 0,
and with them the part of the model that breaks the symmetry. Descent approaches these zeros exponentially, and
:meth:`DCS.fold` puts them there. Source: paper A, eq. (7), in the corrected form.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from symtheory.engine.factoring import DIRECTION, SCALE, Factoring, Groups, covered_by, group_index
from symtheory.errors import SymtheoryError
from symtheory.spec.families import sign_flip
from symtheory.spec.mirror import Mirror
from symtheory.spec.models import require_model
from symtheory.spec.params import Params, require_params, shapes_of


class DCS(nn.Module):
    r"""A model whose component across a mirror is a product of factors; build it with :func:`dcs`.

    It copies, moves, and saves like any module. Its parameters are those of the model (of the touched ones
    $(I-P)v$ is used, and nothing is left of those that lie across the mirror as a whole), ``direction`` ($c$) and
    ``scale`` ($t$).

    Args:
        model: The model; it is copied.
        mirror: The mirror, by the model's own parameter names.
        alpha: $\alpha$.
        groups: See :func:`symtheory.engine.factoring.group_index`.
        imbalance: $\delta$, see :meth:`symtheory.engine.factoring.Factoring.split`.

    Raises:
        SymtheoryError: If the model is no module with values, the mirror does not fit it or touches frozen parameters,
            or alpha is negative.
    """

    def __init__(
        self,
        model: nn.Module,
        mirror: Mirror,
        alpha: float,
        *,
        groups: Groups | Tensor = "each",
        imbalance: float = 0.5,
    ) -> None:
        super().__init__()
        require_model(model)
        if not alpha >= 0 or not imbalance >= 0:
            raise SymtheoryError(
                "alpha >= 0 and imbalance >= 0", f"{alpha} and {imbalance}", "alpha is weight_decay / 2"
            )
        own = {name: p.detach() for name, p in model.named_parameters()}
        require_params(own, mirror.shapes)
        frozen = [n for n in mirror.shapes if not model.get_parameter(n).requires_grad]
        if frozen:
            raise SymtheoryError("a mirror on trained parameters", f"frozen {frozen}", "take a mirror without them")
        self.model = copy.deepcopy(model)
        self.mirror, self.alpha = mirror, alpha
        each = isinstance(groups, str) and groups == "each"
        index = None if each else group_index(mirror, groups).to(next(iter(own.values())).device)
        self.index: Tensor | None
        self.register_buffer("index", index, persistent=False)
        self.covered = covered_by(mirror, own)
        factors = self.factoring.split(own, imbalance)
        self.direction, self.scale = nn.Parameter(factors[DIRECTION]), nn.Parameter(factors[SCALE])
        with torch.no_grad():
            for name in mirror.shapes:
                _set(self.model, name, factors[name], trained=name not in self.covered)

    @property
    def factoring(self) -> Factoring:
        """The map between factors and parameters."""
        return Factoring(self.mirror, self.index, self.covered)

    def factors(self) -> Params:
        """Factored parameters by name, as the pure functions take them.

        Returns:
            The model's own tensors and the two factors.
        """
        return {**dict(self.model.named_parameters()), DIRECTION: self.direction, SCALE: self.scale}

    def effective(self) -> Params:
        r"""$\theta$, by the model's own names; differentiable in the factors.

        Returns:
            All parameters.
        """
        return self.factoring.join(self.factors())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model at its effective parameters.

        Args:
            *args: For the model.
            **kwargs: For the model.

        Returns:
            What the model returns.
        """
        return functional_call(self.model, self.effective(), args, kwargs)

    def coordinates(self) -> Tensor:
        r"""$O^T\theta = t\cdot c$.

        Returns:
            Vector of shape ``(rank,)``.
        """
        return self.factoring.across({DIRECTION: self.direction, SCALE: self.scale})

    def penalty(self) -> Tensor:
        r"""$\alpha(\|c\|^2 + \|t\|^2)$: add it to the loss, or give the optimiser :meth:`parameter_groups`.

        Returns:
            Scalar.
        """
        return self.alpha * self.factoring.penalty({DIRECTION: self.direction, SCALE: self.scale})

    def l1(self) -> Tensor:
        r"""$2\alpha\sum_g\|O_g^T\theta\|$, the :meth:`penalty` of balanced factors, and never above it.

        Returns:
            Scalar.
        """
        return 2 * self.alpha * self.factoring.norms(self.coordinates()).sum()

    def parameter_groups(self) -> list[dict[str, Any]]:
        r"""For ``torch.optim.SGD``: weight decay $2\alpha$ on the factors, none elsewhere, in place of :meth:`penalty`.

        Not for AdamW: its decoupled decay is no gradient of a penalty. Use :meth:`penalty` there.

        Returns:
            Two groups.
        """
        return [
            {"params": [p for p in self.model.parameters() if p.requires_grad], "weight_decay": 0.0},
            {"params": [self.direction, self.scale], "weight_decay": 2 * self.alpha},
        ]

    def fold(self, threshold: float = 0.0) -> nn.Module:
        r"""The plain model at the effective parameters, free of factors.

        Args:
            threshold: Groups with $\|O_g^T\theta\|$ at most this are put on their mirror exactly.

        Returns:
            A copy of the model as it was given, with other values.
        """
        plain = copy.deepcopy(self.model)
        with torch.no_grad():
            z = self.coordinates()
            kept = self.factoring.spread(self.factoring.norms(z) > threshold)
            values = self.factoring.join({**self.factors(), DIRECTION: torch.where(kept, self.direction, 0)})
            for name in self.mirror.shapes:
                _set(plain, name, values[name], trained=True)
        return plain

    def zeros(self, threshold: float) -> float:
        r"""Share of groups with $\|O_g^T\theta\|$ at most a threshold.

        Args:
            threshold: The threshold.

        Returns:
            Between 0 and 1.
        """
        return float((self.factoring.norms(self.coordinates()) <= threshold).double().mean())

    def extra_repr(self) -> str:
        """Rank, groups and strength.

        Returns:
            For the module's print-out.
        """
        return f"rank={self.mirror.rank}, groups={self.scale.numel()}, l1_strength={2 * self.alpha:g}"


def _set(model: nn.Module, name: str, value: Tensor, *, trained: bool) -> None:
    """Replace a parameter, whatever its shape was, in its place among the others and wherever it is tied to."""
    old, fresh = model.get_parameter(name), nn.Parameter(value.detach().clone(), requires_grad=trained)
    for alias, p in list(model.named_parameters(remove_duplicate=False)):
        if p is old:
            owner, _, leaf = alias.rpartition(".")
            setattr(model.get_submodule(owner), leaf, fresh)


def dcs(
    model: nn.Module, mirror: Mirror, alpha: float, *, groups: Groups | Tensor = "each", imbalance: float = 0.5
) -> DCS:
    r"""Impose the constraint $O^T\theta = 0$ on a model, softly and differentiably.

    Args:
        model: Any module; it is copied and its function is unchanged at the start.
        mirror: Any mirror on its parameters. The model need not have the symmetry.
        alpha: $\alpha\ge0$; the $L_1$ strength is $2\alpha$.
        groups: ``each`` coordinate of $O^T\theta$ may vanish on its own (this depends on the basis $O$), ``all``
            vanish together (this depends on $P$ alone), the ``parts`` of a composite mirror, or group numbers.
        imbalance: $\delta>0$ with $t_g^2-\|c_g\|^2 = \delta^2$ at the start. With 0 a group that starts at zero stays
            there, and no single coordinate can change its sign.

    Returns:
        The wrapped model.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Bilinear(2, 2, 1, bias=False).double()
    >>> wrapped = dcs(net, sign_flip_all(net), alpha=0.1)
    >>> x = torch.ones(1, 2).double()
    >>> bool(torch.allclose(wrapped(x, x), net(x, x))), wrapped
    (True, DCS(
      rank=4, groups=4, l1_strength=0.2
      (model): Bilinear(in1_features=2, in2_features=2, out_features=1, bias=False)
    ))
    """
    return DCS(model, mirror, alpha, groups=groups, imbalance=imbalance)


def sign_flip_all(model: nn.Module, names: list[str] | None = None) -> Mirror:
    r"""The mirror $\theta = 0$, $O = I$, on all or some tensors: with it DCS is spred, a lasso on every weight.

    Args:
        model: The model.
        names: Tensors to make sparse; default all that are trained.

    Returns:
        The mirror.

    Raises:
        SymtheoryError: If there is no such model, or nothing in it is trained.
    """
    require_model(model)
    own = dict(model.named_parameters())
    trained = [n for n, p in own.items() if p.requires_grad and p.numel()]
    if not trained and names is None:
        raise SymtheoryError("a model with trained parameters", "none", "thaw some, or give names")
    return sign_flip(shapes_of(own), trained if names is None else names)


def start_on_mirror(wrapped: DCS, imbalance: float = 0.5) -> DCS:
    r"""A copy whose component across the mirror is zero and that can still leave it: $c = 0$, $t = \delta$.

    Training then *grows* coordinates that the data asks for, like the lasso path from its sparse end.

    Args:
        wrapped: A wrapped model.
        imbalance: $\delta$, the scale of every group; 0 would leave it on the mirror for good.

    Returns:
        The copy.
    """
    fresh = copy.deepcopy(wrapped)
    with torch.no_grad():
        fresh.direction.zero_()
        fresh.scale.fill_(imbalance)
    return fresh


__all__ = ["DCS", "dcs", "sign_flip_all", "start_on_mirror"]
