"""Rules of Fourier transforms and of complex numbers as pairs of real ones.

A transform is linear along its axes and says which frequency is which, so these axes are told apart; along all others
it is the same map for every index, so permutations, scales and mixings pass. A complex entry has one scale.
"""

from __future__ import annotations

from typing import Any

from symtheory.discover.rules import Step, rule
from symtheory.discover.rules_layout import index_along, name_of
from symtheory.discover.rules_reduce import contract, reduced
from symtheory.discover.spaces import ENTRYWISE
from symtheory.discover.values import Value

#: Transforms along one axis, along the last two, along several.
LINES = ("fft_fft", "fft_ifft", "fft_rfft", "fft_irfft", "fft_hfft", "fft_ihfft")
PLANES = ("fft_fft2", "fft_ifft2", "fft_rfft2", "fft_irfft2")
VOLUMES = ("fft_fftn", "fft_ifftn", "fft_rfftn", "fft_irfftn")


@rule(*LINES, *PLANES, *VOLUMES)
def transform(step: Step, x: Value, _size: Any = None, dim: Any = None, *_: Any, **kwargs: Any) -> Value:
    """Sums along its axes with fixed weights for each frequency."""
    name = name_of(step.node)
    default = -1 if name in LINES else [-2, -1] if name in PLANES else None
    dims = kwargs.get("dim", dim)
    for d in reduced(x, default if dims is None else dims):
        x = index_along(step.part(d), x, d)
    return x


@rule("fft_fftshift", "fft_ifftshift")
def shift(step: Step, x: Value, dim: Any = None) -> Value:
    """Frequencies in another order."""
    for d in reduced(x, dim):
        x = index_along(step.part(d), x, d)
    return x


@rule("view_as_complex")
def pairs_to_complex(step: Step, x: Value) -> Value:
    """The last axis holds the two parts, which are told apart."""
    step.algebra.spaces.pin(x.axes[-1], "real and imaginary parts")
    step.algebra.spaces.restrict(x.axes[-1], ENTRYWISE)
    return contract(step, x, [len(x.axes) - 1], keepdim=False)


@rule("view_as_real")
def complex_to_pairs(step: Step, x: Value) -> Value:
    """A new last axis for the two parts, of one scale."""
    return index_along(step, step.algebra.unsqueeze(x, len(x.axes)), len(x.axes))


@rule("complex")
def parts_to_complex(step: Step, x: Value, y: Value) -> Value:
    """Both parts are of one scale."""
    return step.algebra.add([x, y])


@rule("real", "imag", "conj", "_conj", "conj_physical", "resolve_conj")
def part(step: Step, x: Value) -> Value:
    """Linear over the reals."""
    return x
