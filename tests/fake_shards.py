"""A shard function that worker processes import quickly, and a run of it that can be killed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from symtheory.errors import SymtheoryError
from symtheory.lab.executors import ProcessPool, Serial, StoringExecutor
from symtheory.lab.files import encode
from symtheory.lab.store import Store


def draw(shard: dict[str, Any]) -> xr.Dataset:
    """Noise of a seed; takes a while, counts its calls, and fails if told so."""
    time.sleep(shard.get("seconds", 0.0))
    if log := os.environ.get("FAKE_LOG"):
        with Path(log).open("a") as handle:
            handle.write(f"{shard['seed']}\n")
    match shard.get("fail"):
        case "refuse":
            raise SymtheoryError("a small rate", "a large one", "lower it")
        case "raise":
            raise ZeroDivisionError("a bug")
        case "die":
            os._exit(9)
        case "nan":
            return xr.Dataset({"value": ("draw", np.array([1.0, np.nan]))})
        case "interrupt":
            raise KeyboardInterrupt
        case "threads":
            import torch

            names = [os.environ.get(n, "") for n in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")]
            return xr.Dataset({"torch": torch.get_num_threads(), "variables": ("n", names), "pid": os.getpid()})
    values = np.random.default_rng(shard["seed"]).normal(size=1000)
    return xr.Dataset({"value": ("draw", values)}, attrs={"seed": shard["seed"]})


def main(kind: str, store: str, out: str, count: str, seconds: str) -> None:
    """A run to be killed: writes its result, in order of the seeds, to ``out``."""
    place = Store(Path(store))
    executor: StoringExecutor
    if kind in ("serial", "pool"):
        executor = Serial(place) if kind == "serial" else ProcessPool(place, jobs=2)
    else:
        from symtheory.lab.distributed import Dask

        executor = Dask(place, address=None if kind == "dask" else kind, jobs=2)
    shards = [{"seed": seed, "seconds": float(seconds)} for seed in range(int(count))]
    Path(out).write_bytes(encode(xr.concat(executor.map("F1", draw, shards), "seed", combine_attrs="drop")))
