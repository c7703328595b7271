"""One run of a figure, from its name to files with provenance."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import xarray as xr

from symtheory.errors import SymtheoryError
from symtheory.lab import provenance
from symtheory.lab.executors import ProcessPool, Progress, ProgressCallback, Serial, StoringExecutor
from symtheory.lab.files import decode, digest, encode, require_finite, require_writable
from symtheory.lab.identity import canonical, code_digest
from symtheory.lab.results import Results
from symtheory.lab.store import Store
from symtheory.spec.verdict import Verdict

#: Attribute of a result that names its data sets, as JSON: ``{"cifar10": {"sha256": "...", "note": "..."}}``.
DATA = "data"


@runtime_checkable
class Settings(Protocol):
    """Frozen settings of a figure."""

    def with_changes(self, **changes: object) -> Any:
        """Copy with some fields replaced; unknown ones are refused."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Field name to JSON value."""
        ...


@runtime_checkable
class Runnable(Protocol):
    """What the lab needs to know of a figure."""

    id: ClassVar[str]
    """Name of the figure, also of its folder."""
    presets: ClassVar[Mapping[Any, Any]]
    """Name to :class:`Settings`."""

    def run(self, config: Any, device: str = "cpu", executor: Any = None) -> xr.Dataset:
        """Compute the figure; parts go through ``executor.map``."""
        ...

    def check(self, result: xr.Dataset) -> list[Verdict]:
        """The claim of the figure as numbers."""
        ...


def executor_for(
    jobs: int,
    store: Store | None,
    progress: ProgressCallback | None = None,
    kind: str = "processes",
    patience: float = 60.0,
) -> StoringExecutor:
    """The executor that a user names.

    Args:
        jobs: Worker processes to start; 1 computes in this process, unless with Dask.
        store: Where finished shards are kept.
        progress: Told after every shard.
        kind: ``processes``, ``dask`` for Dask workers on this machine, or the address of a Dask scheduler.
        patience: Seconds to wait for a Dask worker while there is none.

    Returns:
        A :class:`Serial`, a :class:`ProcessPool` or a :class:`symtheory.lab.distributed.Dask`.

    Raises:
        SymtheoryError: If there is no such executor, or workers are asked for where they cannot be started.
    """
    if kind == "processes":
        return Serial(store, progress) if jobs == 1 else ProcessPool(store, progress, jobs=jobs)
    if kind != "dask" and "://" not in kind:
        remedy = "use --executor dask, or the address that 'dask scheduler' names"
        raise SymtheoryError("an executor among processes, dask, tcp://host:port", repr(kind), remedy)
    if kind != "dask" and jobs != 1:
        remedy = f"leave --jobs away, and start workers with 'dask worker {kind} --nworkers {jobs} --nthreads 1'"
        raise SymtheoryError("a scheduler that has its workers", f"--jobs {jobs}", remedy)
    from symtheory.lab.distributed import Dask

    return Dask(store, progress, address=None if kind == "dask" else kind, jobs=jobs, patience=patience)


def settings_of(figure: Runnable, preset: str, overrides: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Settings of a run.

    Args:
        figure: The figure.
        preset: Name of one of its presets.
        overrides: Fields to replace.

    Returns:
        The settings, and the fields that now differ from the preset, as JSON values.

    Raises:
        SymtheoryError: If there is no such preset or no such field.
    """
    if preset not in figure.presets:
        raise SymtheoryError(
            f"a preset among {list(figure.presets)}", repr(preset), f"run 'symtheory list' to see those of {figure.id}"
        )
    base = figure.presets[preset]
    settings = base.with_changes(**overrides) if overrides else base
    before, after = base.to_json(), settings.to_json()
    return settings, {k: v for k, v in after.items() if canonical(v) != canonical(before.get(k))}


def run_figure(
    figure: Runnable,
    preset_name: str,
    overrides: Mapping[str, Any] | None = None,
    device: str = "cpu",
    executor: StoringExecutor | None = None,
    store: Store | None = None,
    results_root: Path | None = None,
) -> tuple[xr.Dataset, provenance.Provenance]:
    """Run a figure, check it, and write the result with its provenance.

    Args:
        figure: The figure.
        preset_name: ``smoke``, ``page`` or ``paper``.
        overrides: Settings to change.
        device: ``cpu``, ``cuda`` or ``auto``.
        executor: How shards are computed; default one after another.
        store: Where the default executor keeps shards; default nowhere. An executor brings its own.
        results_root: Folder of the results; ``None`` writes nothing.

    Returns:
        The dataset, exactly as a later reading of the file gives it, and its provenance.

    Raises:
        SymtheoryError: If settings, device, result or folder are not usable.
    """
    start = time.perf_counter()
    settings, changes = settings_of(figure, preset_name, overrides or {})
    if executor is not None and store is not None and executor.store != store:
        raise SymtheoryError("one store", "another one in the executor", "give the store to the executor only")
    runner = Serial(store) if executor is None else executor
    if results_root is not None:
        require_writable(results_root / figure.id)
    kind, place = runner.device(device)
    earlier = len(runner.history)
    raw = figure.run(settings, kind, runner)
    require_finite(raw, f"the result of {figure.id}")
    payload = encode(raw)
    dataset = decode(payload, f"the result of {figure.id}")
    maps = runner.history[earlier:]
    record = provenance.Provenance(
        figure=figure.id,
        preset=preset_name,
        overrides=changes,
        settings=settings.to_json(),
        seeds=provenance.seeds_of(settings.to_json()),
        device=place,
        platform=provenance.platform_name(),
        versions=provenance.versions(),
        commit=provenance.commit(),
        code=figure_code(figure),
        date=provenance.now(),
        wall_time_s=round(time.perf_counter() - start, 3),
        compute_time_s=round(sum(m.seconds for m in maps), 3),
        shards=_shard_counts(maps),
        data=_data_of(dataset),
        sha256=digest(payload),
        checks=provenance.check_records(figure.check(dataset)),
    )
    if results_root is not None:
        Results(results_root).save(payload, record)
    return dataset, record


def figure_code(figure: Runnable) -> str:
    """Digest of the code a figure is made of.

    Args:
        figure: The figure.

    Returns:
        The digest of :func:`symtheory.lab.identity.code_digest` for the module of its class.
    """
    return code_digest(type(figure).__module__)


def _shard_counts(maps: list[Progress]) -> dict[str, int]:
    """Total and reused shards of all maps of a run."""
    return {"total": sum(m.total for m in maps), "reused": sum(m.reused for m in maps)}


def _data_of(dataset: xr.Dataset) -> dict[str, Any]:
    """Data sets that a result says it was made from."""
    try:
        found = json.loads(dataset.attrs.get(DATA, "{}"))
    except (TypeError, ValueError) as error:
        raise SymtheoryError(f"JSON in the attribute {DATA!r} of the result", str(error), "use json.dumps") from error
    return dict(found)
