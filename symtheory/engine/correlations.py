"""How the units of a layer move together: correlations over samples, and the groups of units that act as one."""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

#: A unit whose standard deviation is this much below the largest one's is silent.
SILENT = 1e-6


def correlation(outputs: Tensor) -> np.ndarray:
    """Correlation matrix of the units of a layer.

    Args:
        outputs: Shape ``(samples, units)``.

    Returns:
        Shape ``(units, units)``; rows and columns of silent units are zero, so that their diagonal tells them.

    >>> import torch
    >>> correlation(torch.tensor([[1.0, 2.0, 5.0], [2.0, 4.0, 5.0], [0.0, 0.0, 5.0]])).round(3).tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    values = outputs.double().cpu().numpy()
    live = values.std(0) > SILENT * max(float(values.std(0).max()), np.finfo(np.float64).tiny)
    found = np.zeros((values.shape[1],) * 2)
    if live.any():
        found[np.ix_(live, live)] = np.corrcoef(values[:, live], rowvar=False)
    return found


def order(matrix: np.ndarray) -> np.ndarray:
    """Units in the order of a hierarchical clustering, which brings any number of blocks to light.

    Args:
        matrix: From :func:`correlation`.

    Returns:
        A permutation; silent units come last.
    """
    live, silent = np.flatnonzero(np.diag(matrix) > 0), np.flatnonzero(np.diag(matrix) == 0)
    if len(live) > 2:
        apart = np.clip(1 - matrix[np.ix_(live, live)], 0, 2)
        pairs = apart[np.triu_indices(len(live), 1)]
        live = live[leaves_list(linkage(pairs, "average", optimal_ordering=True))]
    return np.concatenate([live, silent])


def blocks(matrix: np.ndarray, cut: float) -> np.ndarray:
    """Groups of units that are chained by correlations of absolute value above a cut.

    Args:
        matrix: From :func:`correlation`.
        cut: Between 0 and 1.

    Returns:
        Sizes of the groups of units that are not silent, largest first.

    >>> blocks(np.array([[1, 0.99, 0], [0.99, 1, 0], [0, 0, 1]]), 0.95).tolist()
    [2, 1]
    """
    live = np.diag(matrix) > 0
    joined = np.abs(matrix[np.ix_(live, live)]) > cut
    _, labels = connected_components(csr_array(joined), directed=False)
    return np.sort(np.bincount(labels))[::-1] if live.any() else np.zeros(0, dtype=int)


def lonely(matrix: np.ndarray, cut: float) -> float:
    """Part of the units, silent ones left out, that no other unit copies.

    Args:
        matrix: From :func:`correlation`.
        cut: Absolute correlation above which two units are copies.

    Returns:
        Between 0 and 1; 1 if all are silent.

    >>> round(lonely(np.array([[1, 0.99, 0], [0.99, 1, 0], [0, 0, 1]]), 0.95), 3)
    0.333
    """
    sizes = blocks(matrix, cut)
    return float((sizes == 1).sum() / sizes.sum()) if len(sizes) else 1.0


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation between the entries of two correlation matrices of the same units, above the diagonal.

    Args:
        first: From :func:`correlation`.
        second: Another; units that are silent in either are left out.

    Returns:
        Between -1 and 1; 0 if fewer than three units are left, or one matrix does not vary.
    """
    live = (np.diag(first) > 0) & (np.diag(second) > 0)
    rows = np.triu_indices(int(live.sum()), 1)
    a, b = (m[np.ix_(live, live)][rows] for m in (first, second))
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 2 and a.std() > 0 and b.std() > 0 else 0.0
