r"""Figure B4 as numbers: which methods interpolate between optimised solutions and solutions of low symmetry.

A *path* is a method's degree of symmetry and objective as its hyperparameter runs. It interpolates smoothly if its
steps are small, it is monotone, it starts near the optimum and it *visits* the range of degrees that the five methods
span together. It does so well if no other path has a lower degree at an equal objective.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from symtheory.figures.quartic import METHODS, STRUCTURES
from symtheory.spec.verdict import Verdict

#: Curves beyond the paper's grids: W-fix up to all weights, and plain descent stopped early.
WIDE, EARLY = "W-fix, any fraction", "stopped early"

#: Parts of the range of degrees that a method that interpolates should visit.
BINS = 10


def verdicts(result: xr.Dataset) -> list[Verdict]:
    """The claim as numbers.

    Args:
        result: From :meth:`symtheory.figures.b4.B4.run`.

    Returns:
        See :meth:`symtheory.figures.b4.B4.check`.
    """
    last, dim = result.isel(mark=-1), result.attrs["dim"]
    broken = (last["printed"] - last["degree"]).max() / dim
    degree = result["degree"].sel(curve="syre")
    drift = abs(degree - degree.isel(mark=-1)).max(["structure", "hyper", "seed"]).isel(mark=-2) / dim
    found = [v for s in STRUCTURES for v in _of_structure(result, s)] + [
        Verdict(
            "the degree as printed, v.w < c, counts no reflection that w breaks (largest part of all, any curve)",
            float(broken), 0.01,
        ),
        Verdict(
            "syre's degree at the last but one mark differs from that at the end by at most (part of all)",
            float(drift), 0.02,
        ),
    ]  # fmt: skip
    return found + ([_variant_verdict(result)] if "variant" in result.dims else [])


def path(result: xr.Dataset, structure: str, curve: str) -> tuple[np.ndarray, np.ndarray]:
    """A curve as the hyperparameter runs, where no seed diverged.

    Args:
        result: From :meth:`symtheory.figures.b4.B4.run`.
        structure: Which $B$.
        curve: Which curve.

    Returns:
        Mean degree over seeds, as a part of all reflections, and mean objective above the optimum.
    """
    part = result.sel(structure=structure, curve=curve).isel(mark=-1)
    stable = (part["diverged"] == 0).all("seed").values
    degree = (part["degree"].mean("seed") / result.attrs["dim"]).values
    return degree[stable], (part["objective"] - part["optimum"]).mean("seed").values[stable]


def visited(degrees: np.ndarray, low: float, high: float) -> float:
    """How much of a range some degrees cover.

    Args:
        degrees: Values.
        low: Start of the range.
        high: End of the range.

    Returns:
        The part of :data:`BINS` equal bins that holds a value.

    >>> visited(np.array([0.0, 0.05, 1.0]), 0.0, 1.0)
    0.2
    """
    inside = degrees[(degrees >= low) & (degrees <= high)]
    return float((np.histogram(inside, BINS, (low, high))[0] > 0).mean())


def lowest(degrees: np.ndarray, excesses: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The lowest degree of a curve at no more than some objectives: its Pareto front.

    Args:
        degrees: Degrees of the points.
        excesses: Their objectives.
        levels: Objectives.

    Returns:
        One for each level; 1 where no point is that low.

    >>> lowest(np.array([0.9, 0.2]), np.array([1.0, 2.0]), np.array([0.5, 1.5, 3.0])).tolist()
    [1.0, 0.9, 0.2]
    """
    allowed = excesses[None, :] <= levels[:, None]
    return np.where(allowed, degrees[None, :], 1.0).min(axis=1)


def _of_structure(result: xr.Dataset, structure: str) -> list[Verdict]:
    """The claim for one matrix."""
    points = {m: path(result, structure, m) for m in METHODS}
    low, high = (float(f([f(d) for d, _ in points.values()])) for f in (np.min, np.max))
    degree, excess = points["syre"]
    jumps = np.abs(np.diff(degree)) / (high - low)
    rises = np.diff(degree).clip(min=0)
    share = {m: visited(d, low, high) for m, (d, _) in points.items()}
    rivals = {m: v for m, v in share.items() if m != "syre"}
    best = max(rivals, key=lambda m: rivals[m])
    beyond = {k: visited(path(result, structure, k)[0], low, high) for k in (WIDE, EARLY)}
    rival = max(beyond, key=lambda k: beyond[k])
    levels = np.sort(excess)
    front = {m: lowest(*p, levels) for m, p in points.items()}
    behind = {m: float((front["syre"] - front[m]).max()) for m in rivals}
    ahead = max(behind, key=lambda m: behind[m])
    others = [float((front["syre"] - lowest(*path(result, structure, k), levels)).max()) for k in beyond]
    return [
        Verdict(
            f"{structure}: syre, largest step of the degree between neighbouring decays, as a part of the range "
            "(control: the two end points alone)",
            float(jumps.max()), 0.15, control=float(abs(degree[-1] - degree[0]) / (high - low)), factor=3.0,
        ),
        Verdict(
            f"{structure}: syre, largest rise of the degree when the decay grows, as a part of all reflections "
            "(control: backwards)",
            float(rises.max()), 0.005, control=float((-np.diff(degree)).max()), factor=3.0,
        ),
        Verdict(
            f"{structure}: syre's best objective above the optimum, as a part of its worst (control: the worst alone)",
            float(excess.min() / excess.max()), 0.02, control=1.0, factor=10.0,
        ),
        Verdict(
            f"{structure}: part of the range of degrees that syre does not visit (control: weight decay)",
            1 - share["syre"], 0.25, control=1 - share["weight decay"], factor=2.0,
        ),
        Verdict(
            f"{structure}: part of the range that the best other method visits, {best} (control: syre)",
            share[best], 0.35, control=share["syre"], factor=2.0,
        ),
        Verdict(
            f"{structure}: at equal objective, another method's degree lies below syre's by at most, as a part of all, "
            f"{ahead} (control: syre below weight decay)",
            max(behind[ahead], 0.0), 0.05, control=float((front["weight decay"] - front["syre"]).max()), factor=3.0,
        ),
        Verdict(
            f"{structure}: part of the range that something outside the paper's grids visits, {rival} (control: syre)",
            beyond[rival], 0.35, control=share["syre"], factor=2.0,
        ),
        Verdict(
            f"{structure}: at equal objective, plain descent stopped early or W-fix at any fraction lies below syre by "
            "at most, as a part of all (control: syre below weight decay)",
            max([0.0, *others]), 0.05,
            control=float((front["weight decay"] - front["syre"]).max()), factor=3.0,
        ),
    ]  # fmt: skip


def _variant_verdict(result: xr.Dataset) -> Verdict:
    """At other initialisations and scales of B: no method below syre at equal objective, in the worst of them."""
    dim, behind, control = result.attrs["dim"], 0.0, 1.0
    for _, part in result[["variant_degree", "variant_objective", "variant_diverged"]].groupby("variant"):
        for _, own in part.squeeze("variant").groupby("structure"):
            points: dict[str, tuple[np.ndarray, np.ndarray]] = {}
            for m in METHODS:
                row = own.squeeze("structure").loc[{"method": m}]
                stable = (row["variant_diverged"] == 0).values
                points[m] = (row["variant_degree"].values[stable] / dim, row["variant_objective"].values[stable])
            levels = np.sort(points["syre"][1])
            front = {m: lowest(d, f, levels) for m, (d, f) in points.items()}
            behind = max([behind] + [float((front["syre"] - front[m]).max()) for m in METHODS if m != "syre"])
            control = min(control, float((front["weight decay"] - front["syre"]).max()))
    return Verdict(
        "other initialisations and scales of B: at equal objective, another method's degree lies below syre's by at "
        "most, as a part of all, in the worst of them (control: syre below weight decay)",
        behind, 0.05, control=control, factor=3.0,
    )  # fmt: skip
