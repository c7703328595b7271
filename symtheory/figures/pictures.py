"""What the figures made from images share: where data come from, and how a result says what it was made from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
import xarray as xr
from torch import Tensor

from symtheory.engine.images import Images, Loader, Split, shuffled, stand_in
from symtheory.errors import SymtheoryError
from symtheory.figures.base import Executor, InProcess, Shard

#: Names of the made-up images, grey and in colour; only smoke presets use them.
MADE_UP, COLOURED = "stand-in", "stand-in-coloured"


def loader(executor: Executor | None) -> Loader | None:
    """Where an executor takes data sets from; those of the lab have such a place.

    Args:
        executor: Any executor.

    Returns:
        A function from name to data set, or ``None``.
    """
    return getattr(executor, "load", None)


def images(name: str, load: Loader | None) -> Images:
    """A data set by its name.

    Args:
        name: As the lab knows it, or that of made-up images.
        load: From :func:`loader`.

    Returns:
        The data set.

    Raises:
        SymtheoryError: If there is no place to take it from.
    """
    if name == MADE_UP:
        return stand_in()
    if name == COLOURED:
        return stand_in(side=32, channels=3)
    if load is None:
        remedy = "use 'symtheory run', or symtheory.lab.executors.Serial()"
        raise SymtheoryError(f"an executor that knows where {name} is", "none", remedy)
    return load(name)


def with_origin(shards: list[Shard], load: Loader | None) -> list[Shard]:
    """Put digest and kind of the data into every shard, so that results of different copies are never mixed.

    Args:
        shards: Each with the name of its data set under ``data``.
        load: From :func:`loader`.

    Returns:
        The shards with one more entry.
    """
    return [{**s, "origin": images(s["data"], load).origin()} for s in shards]


def over_seeds(
    figure: str,
    function: Callable[..., xr.Dataset],
    shards: list[Shard],
    seeds: Sequence[int],
    dim: str,
    values: Sequence[float | str],
    device: str,
    executor: Executor | None,
) -> xr.Dataset:
    """Run the shards of a figure and arrange what they give.

    Args:
        figure: Id under which the shards are filed.
        function: Computes one; takes ``device`` and ``load``, too.
        shards: For each seed one per value.
        seeds: The seeds.
        dim: Name of what else the shards differ in.
        values: Its values.
        device: Where to train.
        executor: Maps over the shards, and knows where the data set is.

    Returns:
        The datasets along ``seed`` and ``dim``, which says what it was made from.
    """
    runner, load = InProcess() if executor is None else executor, loader(executor)
    origins = with_origin(shards, load)
    parts = iter(runner.map(figure, partial(function, device=device, load=load), origins))
    rows = [xr.concat([next(parts) for _ in values], dim=dim) for _ in seeds]
    result = xr.concat(rows, dim="seed").assign_coords({"seed": list(seeds), dim: list(values)})
    return named(result, origins)


def opened(shard: Shard, load: Loader | None) -> Images:
    """The data set of a shard.

    Args:
        shard: From :func:`with_origin`.
        load: From :func:`loader`.

    Returns:
        The data set.

    Raises:
        SymtheoryError: If it is another copy than the one the shard was made for.
    """
    found = images(shard["data"], load)
    if found.origin() != shard["origin"]:
        raise SymtheoryError(f"{shard['origin']}", f"{found.origin()}", "use the same files on every machine")
    return found


def named(result: xr.Dataset, shards: list[Shard]) -> xr.Dataset:
    """Let a result say what it was made from; its provenance repeats it.

    Args:
        result: A figure's result; changed in place.
        shards: From :func:`with_origin`.

    Returns:
        The same.
    """
    origins = {name: how for shard in shards for name, how in shard["origin"].items()}
    result.attrs["data"] = json.dumps(origins, sort_keys=True)
    return result


def batches(inputs: Tensor, labels: Tensor, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches without end, epoch after epoch.

    Args:
        inputs: One sample a row.
        labels: As many.
        size: Samples of a batch.
        generator: Source of the order, on the CPU.

    Yields:
        Inputs and labels.
    """
    while True:
        for index in shuffled(len(labels), size, generator):
            there = index.to(labels.device)
            yield inputs.index_select(0, there), labels.index_select(0, there)


def part(split: Split, count: int) -> Split:
    """The first images, or all if the setting is 0.

    Args:
        split: All of them.
        count: How many.

    Returns:
        The subset.
    """
    return split.first(min(count, len(split))) if count else split
