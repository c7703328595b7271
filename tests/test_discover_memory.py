"""What a search allocates, counted at torch's allocator."""

import pytest
import torch
from torch import nn

from benchmarks.discover import peak, resnet18
from symtheory.discover import discover

#: Most that may be allocated at a time, in units of the memory of the parameters.
ALLOWED = 2.0


def model_bytes(model):
    return sum(p.numel() * p.element_size() for p in model.parameters())


def test_the_peak_is_that_of_what_is_alive_at_a_time():
    one = 4_000_000

    def both():
        return torch.ones(1_000_000) + torch.ones(1_000_000)

    def in_turn():
        for _ in range(5):
            torch.ones(1_000_000).sum()

    assert 3 * one <= peak(both) < 3.1 * one
    assert one <= peak(in_turn) < 1.1 * one


@pytest.mark.parametrize("classes", [1000, 20_000])
def test_a_search_allocates_less_than_twice_the_model(classes):
    model = resnet18()
    if classes > 1000:  # half of the parameters in one tensor
        model = nn.Sequential(*list(model.children())[:-1], nn.Linear(512, classes))
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    used = peak(lambda: discover(model, x)) / model_bytes(model)
    assert used <= ALLOWED
    # what the bar excludes: one copy of everything in double precision
    copies = peak(lambda: [p.detach().double() for p in model.parameters()])
    assert copies / model_bytes(model) >= ALLOWED
