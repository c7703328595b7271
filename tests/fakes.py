"""A small figure with everything a figure has, importable by worker processes and quick to import."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar

import xarray as xr

from symtheory.errors import SymtheoryError
from symtheory.spec.verdict import Verdict
from tests.fake_shards import draw


@dataclass(frozen=True)
class FakeConfig:
    seeds: tuple[int, ...] = (0, 1, 2)
    rate: float = 0.5
    bar: float = 10.0
    name: str = "plain"
    limit: int | None = None
    seconds: float = 0.0
    fail: str = ""

    def with_changes(self, **changes: Any) -> FakeConfig:
        unknown = sorted(set(changes) - {f.name for f in fields(self)})
        if unknown:
            raise SymtheoryError("known fields", f"{unknown}", "see FakeConfig")
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


class FakeFigure:
    id: ClassVar[str] = "F1"
    title: ClassVar[str] = "Means of noise"
    source: ClassVar[str] = "paper F, figure 1 [left]"
    claim: ClassVar[str] = "The mean of noise is small."
    presets: ClassVar[Mapping[str, FakeConfig]] = {
        "smoke": FakeConfig(),
        "page": FakeConfig(seeds=tuple(range(8))),
        "paper": FakeConfig(seeds=tuple(range(40)), seconds=0.01),
    }

    def run(self, config: FakeConfig, device: str = "cpu", executor: Any = None) -> xr.Dataset:
        extra = {"seconds": config.seconds} | ({"fail": config.fail} if config.fail else {})
        parts = executor.map(self.id, draw, [{"seed": s, **extra} for s in config.seeds])
        means = [float(part["value"].mean()) for part in parts]
        data = json.dumps({"noise": {"sha256": "0" * 64}})
        return xr.Dataset({"mean": ("seed", means)}, coords={"seed": list(config.seeds)}, attrs={"data": data}).assign(
            bar=config.bar
        )

    def check(self, result: xr.Dataset) -> list[Verdict]:
        largest = float(abs(result["mean"]).max())
        return [Verdict("the mean of noise is small", largest, float(result["bar"]))]
