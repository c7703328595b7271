"""The type checker of the tests sees the library's functions, and leaves those inside functions alone."""

import pytest
import torch
from jaxtyping import TypeCheckError

from symtheory.engine.correlations import order
from symtheory.engine.statistics import clopper_pearson
from tests.checker import typechecked


def test_arguments_of_the_library_are_checked():
    with pytest.raises(TypeCheckError):
        clopper_pearson(1.5, 10)
    with pytest.raises(TypeCheckError):
        order(torch.eye(2))


def outer(x: int) -> int:
    return x


def test_a_function_inside_a_function_is_left_as_it_is():
    def inner(x: int) -> int:
        return x

    assert typechecked(inner) is inner and typechecked(outer) is not outer
