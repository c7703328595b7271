"""A theorem as an object: its claim, its proof, its check on an instance, a control for each hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from symtheory.errors import SymtheoryError
from symtheory.spec.claim import Claim
from symtheory.spec.verdict import Proof, Verdict


@dataclass(frozen=True)
class Theorem:
    """Everything that stands behind one claim.

    Attributes:
        claim: The statement.
        prove: Symbolic steps, for arbitrary functions of the claim's class.
        check: Measures the claim on one instance, with a negative control of its own.
        instances: Random generic instances for a seed, one of each kind the claim covers.
        controls: Hypothesis (as named in the claim) to a verdict with that hypothesis broken, which must not hold.
        counterexamples: Name of a printed form that is wrong to a verdict on it, which must not hold.
        unneeded: Hypotheses the claim does not use: to a verdict with that hypothesis dropped, which *does* hold.
    """

    claim: Claim
    prove: Callable[[], Proof]
    check: Callable[[Any], Verdict]
    instances: Callable[[int], Iterable[Any]]
    controls: Mapping[str, Callable[[int], Verdict]]
    counterexamples: Mapping[str, Callable[[], Verdict]] = field(default_factory=dict)
    unneeded: Mapping[str, Callable[[int], Verdict]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        covered = {*self.controls, *self.unneeded}
        if not self.controls or covered != set(self.claim.hypotheses):
            raise SymtheoryError(
                f"a control, or a proof of needlessness, for each of {sorted(self.claim.hypotheses)}",
                f"{sorted(covered)}",
                f"match the names in {self.claim.id}",
            )

    def verify(self, seed: int = 0) -> Verdict:
        """Check the claim on every kind of instance and return the worst verdict.

        Args:
            seed: Seed of the instances.

        Returns:
            The verdict with the largest residual relative to its tolerance; one that fails if any fails.
        """
        return worst(self.check(instance) for instance in self.instances(seed))


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The least favourable of several verdicts.

    Args:
        verdicts: At least one.

    Returns:
        A failing verdict if there is one, else the one closest to failing.

    Raises:
        SymtheoryError: If there is none.
    """
    ordered = sorted(verdicts, key=lambda v: (v.holds, -v.residual / v.tolerance if v.tolerance else 0.0))
    if not ordered:
        raise SymtheoryError("at least one verdict", "none", "give the theorem an instance")
    return ordered[0]
