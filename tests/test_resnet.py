"""ResNet18 for small images: its size, its shapes, its draws."""

import pytest
import torch

from symtheory.engine.resnet import ResNet18
from symtheory.errors import SymtheoryError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def net():
    return ResNet18(10, seeded())


def test_it_has_the_parameters_counted_by_hand(net):
    """11 168 832 up to the pooled features, as every ResNet18 with a 3 by 3 stem; then two linear layers."""
    trunk = 9 * 3 * 64 + 2 * 64
    for a, b in ((64, 64), (64, 128), (128, 256), (256, 512)):
        trunk += 9 * (a * b + 3 * b * b) + 8 * b + (a * b + 2 * b if a != b else 0)
    assert trunk == 11_168_832
    assert sum(p.numel() for p in net.parameters()) == trunk + 512 * 128 + 128 + 128 * 10 + 10


def test_resolution_is_kept_until_the_second_stage(net):
    x = net.stem(torch.rand(2, 3, 32, 32, generator=seeded()))
    sizes = [x.shape[-1]]
    for block in net.blocks:
        x = block(x)
        sizes.append(x.shape[-1])
    assert sizes == [32, 32, 32, 16, 16, 8, 8, 4, 4] and x.shape == (2, 512, 4, 4)


def test_logits_come_from_the_penultimate_layer_after_its_activation(net):
    x = torch.rand(2, 3, 32, 32, generator=seeded())
    net.eval()
    with torch.no_grad():
        h = net.features(x)
        assert h.shape == (2, 128) and bool((h < 0).any())
        assert torch.allclose(net(x), h.clamp(min=0) @ net.last.weight.T + net.last.bias, atol=1e-6)


def test_a_block_of_zero_convolutions_passes_positive_inputs_on():
    block = ResNet18(10, seeded()).blocks[1].eval()
    torch.nn.init.zeros_(block.conv2.weight)
    x = torch.rand(1, 64, 5, 5, generator=seeded())
    assert torch.equal(block(x), x)


def test_its_weights_come_from_the_generator_alone(net):
    before = torch.get_rng_state()
    other = ResNet18(10, seeded())
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))
    deep = net.blocks[6].conv2.weight
    assert deep.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)
    assert net.penultimate.weight.abs().max().item() <= 512**-0.5
    assert not torch.equal(deep, ResNet18(10, seeded(1)).blocks[6].conv2.weight)


def test_numbers_must_be_positive():
    with pytest.raises(SymtheoryError, match="a class, a unit and a channel, got 0, 128 and 64"):
        ResNet18(0, seeded())
