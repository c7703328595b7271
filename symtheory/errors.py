"""The one error type of the library: what was expected, what came, what to do."""

from __future__ import annotations


class SymtheoryError(ValueError):
    """Bad input, told in full.

    Args:
        expected: What the callee needs, as a phrase ("an O with orthonormal columns").
        got: What it received ("columns with |O^T O - I| = 0.41").
        remedy: What the caller can do about it ("orthonormalise it with torch.linalg.qr").
    """

    def __init__(self, expected: str, got: str, remedy: str) -> None:
        self.expected, self.got, self.remedy = expected, got, remedy
        super().__init__(f"expected {expected}, got {got}; {remedy}")

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        # an error raised in a worker process travels as its three parts
        return type(self), (self.expected, self.got, self.remedy)
