"""What a figure is: presets, shards, a check in numbers. Plots live in :mod:`symtheory.plots`, storage in the lab."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Literal, Protocol, get_args, runtime_checkable

import xarray as xr

from symtheory.errors import SymtheoryError
from symtheory.spec.verdict import Verdict

Preset = Literal["smoke", "page", "paper"]
PRESETS: tuple[Preset, ...] = get_args(Preset)

#: What became of the paper's claim about a figure.
Outcome = Literal["reproduced", "partly", "not"]

#: Settings of one shard: JSON values only, so that they can be hashed, stored and sent to another machine.
Shard = dict[str, Any]


@dataclass(frozen=True)
class Config:
    """Settings of a figure. Subclasses are frozen dataclasses that validate themselves in ``__post_init__``."""

    def with_changes(self, **changes: object) -> Any:  # Self: the runtime type checker cannot resolve it here
        """Copy with some fields replaced.

        Args:
            **changes: Field names and new values.

        Returns:
            The new settings.

        Raises:
            SymtheoryError: If a name is not a field.
        """
        known = [f.name for f in fields(self)]
        unknown = sorted(set(changes) - set(known))
        if unknown:
            raise SymtheoryError(f"fields among {known}", f"{unknown}", f"see {type(self).__name__}")
        return replace(self, **changes)  # type: ignore[arg-type]

    def to_json(self) -> dict[str, Any]:
        """Settings as JSON values.

        Returns:
            Field name to value; tuples become lists.
        """
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


@runtime_checkable
class Executor(Protocol):
    """Maps a function over shards, in order. The lab's executors add caching, processes and progress."""

    def map(self, figure_id: str, function: Callable[[Shard], xr.Dataset], shards: Sequence[Shard]) -> list[xr.Dataset]:
        """Results in the order of ``shards``."""
        ...


class InProcess:
    """The plainest executor: one shard after another, nothing stored."""

    def map(self, figure_id: str, function: Callable[[Shard], xr.Dataset], shards: Iterable[Shard]) -> list[xr.Dataset]:
        """Call ``function`` on each shard.

        Args:
            figure_id: Unused here; storing executors file results under it.
            function: Pure function of a shard.
            shards: Settings of the parts.

        Returns:
            One dataset a shard, in order.
        """
        return [function(shard) for shard in shards]


class Figure(ABC):
    """One figure of a paper, as an object; see ``symtheory/figures/a3a.py`` for an instance.

    Attributes:
        id: Short name, also of the folder of its results.
        title: A few words.
        source: Paper and place.
        claim: The paper's claim about this figure, in one sentence of ours.
        chapter: Page that shows it, without suffix.
        presets: Name to settings.
        expected: The outcome that the authors of this book found; a test compares it with the committed result.
        finding: What is true instead, in one sentence; empty if the claim is reproduced.
        pending: Why there is no result of the ``paper`` preset yet; empty if there is one.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    claim: ClassVar[str]
    chapter: ClassVar[str] = "mirror_constraint"
    presets: ClassVar[Mapping[Preset, Any]]
    expected: ClassVar[Outcome] = "reproduced"
    finding: ClassVar[str] = ""
    pending: ClassVar[str] = ""

    @abstractmethod
    def shards(self, config: Any) -> list[Shard]:
        """Settings of the independent parts of a run.

        Args:
            config: One of the presets, or settings of the same class.

        Returns:
            The parts, in the order in which they are put together.
        """

    @abstractmethod
    def run(self, config: Any, device: str = "cpu", executor: Executor | None = None) -> xr.Dataset:
        """Compute the figure.

        Args:
            config: One of the presets, or settings of the same class.
            device: ``cpu``, or a CUDA device.
            executor: What runs the parts; default one after the other, here and without a store.

        Returns:
            Named dims, units in ``attrs``; equal values for equal settings on one kind of device.
        """

    @abstractmethod
    def check(self, result: xr.Dataset) -> list[Verdict]:
        """State the paper's claim as numbers.

        Args:
            result: What :meth:`run` returned.

        Returns:
            One verdict for each part of the claim.
        """


def outcome_of(verdicts: Sequence[Verdict]) -> Outcome:
    """What became of a claim.

    Args:
        verdicts: From :meth:`Figure.check`, at least one.

    Returns:
        ``reproduced`` if all hold, ``not`` if none does, else ``partly``.

    Raises:
        SymtheoryError: If there are none.

    >>> outcome_of([Verdict("small", 0.0, 1.0), Verdict("also small", 3.0, 1.0)])
    'partly'
    """
    if not verdicts:
        raise SymtheoryError("at least one verdict", "none", "let check() state the claim as numbers")
    holding = sum(v.holds for v in verdicts)
    return "reproduced" if holding == len(verdicts) else "partly" if holding else "not"


def preset_of(figure: Figure, name: str) -> Config:
    """Settings of a preset.

    Args:
        figure: The figure.
        name: ``smoke``, ``page`` or ``paper``.

    Returns:
        The frozen settings.

    Raises:
        SymtheoryError: If the figure has no such preset.
    """
    for preset in PRESETS:
        if preset == name:
            return figure.presets[preset]
    raise SymtheoryError(f"a preset among {list(PRESETS)}", repr(name), f"run 'symtheory list' to see {figure.id}")
