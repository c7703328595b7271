r"""Hidden units with an odd activation, which can also coincide up to their sign.

With $s(-z) = -s(z)$ a unit $(w, b, a)$ and its negative $(-w, -b, -a)$ compute the same. Let $\pm X$ hold every unit
and its negative, and let $G\times C_2$ act on it; weights are equivariant functions on $\pm X$ that the second factor
multiplies by $-1$. Congruences of $\pm X$ give the flats: some identify units with negatives of others, and one that
identifies a unit with its own negative kills it.
"""

from __future__ import annotations

import numpy as np
import torch

from symtheory.errors import SymtheoryError
from symtheory.spec.group_families import cyclic, direct_product
from symtheory.spec.groups import FiniteGroup
from symtheory.spec.gsets import GSet
from symtheory.spec.hidden import HiddenLayer
from symtheory.spec.representations import Representation, trivial


def for_odd(layer: HiddenLayer) -> HiddenLayer:
    r"""The layer of units and their negatives.

    Args:
        layer: A layer with units $X$, whose activation is odd.

    Returns:
        A layer of $G\times C_2$ with units $\pm X$: unit $x$ has the number $2x$, its negative $2x+1$. The dimensions
        are those of the layer.

    Raises:
        SymtheoryError: If the layer has a twist, as after a first call.

    >>> from symtheory.spec import group_families, gsets, representations
    >>> s3 = group_families.symmetric(3)
    >>> pi3, pair = representations.natural(s3), s3.subgroup_classes[1][0]
    >>> layer = HiddenLayer(pi3, gsets.coset_space(s3, pair), representations.trivial(s3), bias=False)
    >>> len(layer.flats()), len(for_odd(layer).flats())
    (1, 2)
    """
    if layer.twist is not None:
        raise SymtheoryError("a layer without negatives", "one that has them", "call for_odd once")
    both = direct_product(layer.group, cyclic(2))
    # element (g, e) has the number 2 g + e; it carries (x, f) to (g x, e + f)
    images = 2 * layer.units.images[:, None, :, None] + (np.arange(2)[:, None, None] + np.arange(2)) % 2
    units = GSet(both, images.reshape(both.order, 2 * layer.units.size))
    return HiddenLayer(
        _signed(layer.rep_in, both),
        units,
        _signed(layer.rep_out, both),
        layer.bias,
        _signed(trivial(layer.group), both),
    )


def _signed(rep: Representation, both: FiniteGroup) -> Representation:
    """The second factor acts as -1."""
    matrices = torch.stack([rep.matrices, -rep.matrices], dim=1).flatten(0, 1)
    return Representation(both, matrices, f"{rep.name}, with a sign")
