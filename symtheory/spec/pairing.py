r"""Units with equal inputs: what couples them to their output weights.

Where the input weights of a block $G/H$ lie in $V_{in}^{H'}$, units of one class share them, and the function sees only
sums of their output weights. Whether training stays there is decided by the average over $H'$ of output weights times
directions across. If that pairing is zero the set is invariant for all data, even where the outputs have fewer fixed
vectors for $H'$ than for $H$. Source: ours; the proof is in :mod:`symtheory.theorems.hidden_subspaces.local`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from symtheory.spec.cosets import fixed_space
from symtheory.spec.groups import Subset
from symtheory.spec.hidden import HiddenLayer

#: Pairings are averages of products of orthogonal matrices; zero ones round at 1e-16.
NO_PAIRING = 1e-9


def fixing(layer: HiddenLayer, subset: Subset) -> Subset:
    r"""Everything that fixes $V_{in}^{H'}$ pointwise: units that differ by it share their inputs on the set.

    Args:
        layer: A layer.
        subset: $H'$.

    Returns:
        The largest subgroup with the same fixed inputs.
    """
    found = layer.rep_in.fixing(subset)
    # with a twist, an element that turns the biases tells the units apart
    return found & layer.biases.fixing(frozenset({0})) if layer.bias else found


def pairing(layer: HiddenLayer, subset: Subset, orbit: int = 0) -> Tensor:
    r"""$T(a,\nu) = |H'|^{-1}\sum_{k\in H'}\rho_{out}(k)a\otimes\rho_{in}(k)\nu$.

    Here $a$ runs through an orthonormal basis of $V_{out}^H$, $\nu$ through one of $V_{in}^H\ominus V_{in}^{H'}$.

    Args:
        layer: A layer.
        subset: $H'\ge H$; the average is over all of :func:`fixing`.
        orbit: Number of the block $G/H$.

    Returns:
        Shape ``(d_out, d_in, outputs, directions)``; zero exactly if units with equal inputs keep them, whatever the
        data.

    >>> from symtheory.spec import group_families, gsets, representations
    >>> s3 = group_families.symmetric(3)
    >>> layer = HiddenLayer(representations.natural(s3), gsets.natural(s3), representations.trivial(s3))
    >>> float(pairing(layer, frozenset(range(6))).abs().max()) < 1e-12
    True
    """
    own = layer.units.stabilizer(layer.units.orbits[orbit][0])
    outputs, inputs = fixed_space(layer.rep_out, own), fixed_space(layer.rep_in, own)
    left, values, _ = torch.linalg.svd(inputs - layer.rep_in.reynolds(subset) @ inputs, full_matrices=False)
    across, members = left[:, values > 0.5], sorted(fixing(layer, subset))
    there = layer.rep_out.matrices[members] @ outputs
    return torch.einsum("gia,gjn->ijan", there, layer.rep_in.matrices[members] @ across) / len(members)


def is_paired(layer: HiddenLayer, subset: Subset, orbit: int = 0) -> bool:
    """Whether some output weights couple to directions across the input-equal set.

    Args:
        layer: A layer.
        subset: The larger stabiliser of the inputs.
        orbit: Number of the block.

    Returns:
        The answer; if not, the input-equal set is invariant.
    """
    found = pairing(layer, subset, orbit)
    return bool(found.numel()) and float(found.abs().max()) > NO_PAIRING
