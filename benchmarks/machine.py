"""What this machine can do at most, measured: the yardstick beside the plain loop.

Matrix products in single precision bound what arithmetic can reach, copying bounds what memory can. A sweep's *limit*
is the time its unavoidable arithmetic and traffic would take at these rates; how far a sweep is from it says how much
is left to gain.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
import torch

from benchmarks.timing import timed
from symtheory.lab.devices import describe


@dataclass(frozen=True)
class Machine:
    """Measured rates.

    Attributes:
        name: Of the processor.
        cores: That this process may use.
        threads: Of torch during the measurement.
        gemm: Fastest single-precision matrix product, floating-point operations a second, torch's or numpy's.
        bandwidth: Bytes read and written a second when copying an array larger than the caches.
        date: Of the measurement, ISO 8601.
        versions: Of Python, torch, numpy and numba.
    """

    name: str
    cores: int
    threads: int
    gemm: float
    bandwidth: float
    date: str
    versions: dict[str, str]

    def limit(self, flops: float, traffic: float) -> float:
        """Time that work takes at the measured rates.

        Args:
            flops: Floating-point operations.
            traffic: Bytes to and from memory.

        Returns:
            Seconds, the longer of the two.
        """
        return max(flops / self.gemm, traffic / self.bandwidth)


def measure(size: int = 1536, repeats: int = 7, threads: int = 2) -> Machine:
    """Measure this machine.

    Args:
        size: Of the square matrices.
        repeats: The best of so many counts: the limit is what the machine can do undisturbed.
        threads: Of torch; numpy uses its own setting.

    Returns:
        The rates.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        a, b = torch.randn(size, size), torch.randn(size, size)
        c, d = a.numpy().copy(), b.numpy().copy()
        large = torch.empty(64 * 2**20)
        target = torch.empty_like(large)
        product = min(min(timed(lambda: a @ b), timed(lambda: np.matmul(c, d))) for _ in range(repeats))
        copy = min(timed(lambda: target.copy_(large)) for _ in range(repeats))
    finally:
        torch.set_num_threads(before)
    found = describe("cpu")
    return Machine(
        name=str(found["name"]),
        cores=int(found["cores"]),
        threads=threads,
        gemm=2 * size**3 / product,
        bandwidth=2 * large.numel() * large.element_size() / copy,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"python": platform.python_version(), **{k: version(k) for k in ("torch", "numpy", "numba")}},
    )
