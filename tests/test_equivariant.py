"""Equivariant perceptrons: equivariance, orthonormal coordinates, relaxation."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from symtheory.equivariant.network import EquivariantMLP
from symtheory.errors import SymtheoryError
from symtheory.spec import group_families as gf
from symtheory.spec import gsets
from symtheory.spec import representations as reps
from tests.strategies import seeds

GROUPS = {"S3": gf.symmetric(3), "Z4": gf.cyclic(4), "D4": gf.dihedral(4), "A4": gf.alternating(4)}


def network(name, seed, depth=1, dtype=torch.float64, **options):
    """A random network: inputs in a random basis, hidden layers of two random orbits, the group's points as outputs."""
    group, g = GROUPS[name], torch.Generator().manual_seed(seed)
    blocks = [gsets.coset_space(group, h[0]) for h in group.subgroup_classes]
    hidden = [
        gsets.disjoint_union(*(blocks[int(k)] for k in torch.randint(len(blocks), (2,), generator=g)))
        for _ in range(depth)
    ]
    rep_in = reps.random_equivalent(reps.natural(group), g, 0.0)
    return EquivariantMLP(rep_in, hidden, reps.natural(group), nn.GELU(), generator=g, dtype=dtype, **options)


def inputs(model, count=7, dtype=torch.float64):
    return torch.randn(count, model.rep_in.dim, generator=torch.Generator().manual_seed(5), dtype=dtype)


cases = st.tuples(st.sampled_from(sorted(GROUPS)), seeds, st.integers(1, 3), st.booleans(), st.booleans())


@given(cases)
def test_the_network_is_equivariant(case):
    name, seed, depth, bias, output_bias = case
    model = network(name, seed, depth, bias=bias, output_bias=output_bias)
    for layer in model.linears:
        nn.init.normal_(layer.bias)
    x = inputs(model)
    for g in model.group.generators:
        moved, turned = model(x @ model.rep_in.matrices[g].T), model(x) @ model.rep_out.matrices[g].T
        torch.testing.assert_close(moved, turned)


@given(cases)
def test_coordinates_are_orthonormal_and_complete(case):
    """The norm of the coordinates is that of the weights, and dense weights come back."""
    name, seed, depth, bias, output_bias = case
    model = network(name, seed, depth, bias=bias, output_bias=output_bias)
    for k, (w, b) in enumerate(model.dense()):
        torch.testing.assert_close(w.norm(), model.linears[k].weight.norm())
        torch.testing.assert_close(b.norm(), model.linears[k].bias.norm())
    other = network(name, seed, depth, bias=bias, output_bias=output_bias)
    for p in other.parameters():
        nn.init.normal_(p)
    other.load_dense(model.dense())
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", GROUPS)
def test_a_relaxed_network_computes_the_same(name, dtype):
    model = network(name, 3, depth=2, dtype=dtype)
    for p in model.parameters():
        nn.init.normal_(p)
    x = inputs(model, dtype=dtype)
    free = model.relax()
    torch.testing.assert_close(free(x), model(x))
    assert isinstance(free, nn.Sequential)
    assert {p.dtype for p in free.parameters()} == {dtype}
    counts = [sum(p.numel() for p in free.parameters())]
    for members in reversed(model.group.subgroup_classes):
        smaller = model.relax(members[0])
        torch.testing.assert_close(smaller(x), model(x))
        assert {p.dtype for p in smaller.parameters()} == {dtype}
        counts.append(sum(p.numel() for p in smaller.parameters()))
    assert counts[0] == counts[-1] == max(counts)
    assert counts[1] == sum(p.numel() for p in model.parameters()) == min(counts)


def test_relaxing_keeps_the_device_and_what_has_no_bias():
    model = network("S3", 0, bias=False, output_bias=False).to("meta")
    assert all(p.device.type == "meta" for p in model.parameters())
    free = network("S3", 0, bias=False, output_bias=False).relax()
    assert [name for name, _ in free.named_parameters()] == ["0.weight", "2.weight"]


def test_constrained_gradient_descent_is_the_projection_of_the_free_one():
    """One step on the coordinates equals one step on the full weights, projected: what tied entries would not give."""
    model = network("S3", 1)
    x, y = inputs(model), inputs(model)
    free = model.relax()
    ((model(x) - y) ** 2).mean().backward()
    ((free(x) - y) ** 2).mean().backward()
    assert isinstance(free, nn.Sequential) and isinstance(free[0], nn.Linear) and isinstance(free[2], nn.Linear)
    slopes = [(free[0].weight.grad, free[0].bias.grad), (free[2].weight.grad, free[2].bias.grad)]
    for k, (w, b) in enumerate(slopes):
        layer = model.linears[k]
        torch.testing.assert_close(layer.weight.grad, layer.weight_space.of(w))
        torch.testing.assert_close(layer.bias.grad, layer.bias_space.of(b[:, None]))


def test_models_can_be_copied_and_saved():
    model = network("D4", 2)
    again = network("D4", 4)
    names = list(model.state_dict())
    assert all(n.endswith(("weight", "bias")) for n in names)
    twin = copy.deepcopy(model)
    for p in twin.parameters():
        nn.init.zeros_(p)
    twin.load_state_dict(model.state_dict())
    torch.testing.assert_close(twin(inputs(model)), model(inputs(model)))
    assert again.group is model.group


def test_a_wide_network_stores_an_entry_a_weight():
    """A dense basis of the second matrix would have 24 576 x 384 x 384 entries."""
    s3 = GROUPS["S3"]
    units = gsets.disjoint_union(*[gsets.coset_space(s3, frozenset({0}))] * 64)
    model = EquivariantMLP(reps.natural(s3), [units, units], reps.trivial(s3))
    second = model.linears[1]
    assert second.weight_space.entries.numel() == units.size**2
    assert second.weight.numel() == units.size**2 // s3.order
    free, x = model.relax(), torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(x), free(x))
    torch.testing.assert_close(model(x[:, [1, 2, 0]]), model(x))


def test_bad_networks_are_refused():
    s3 = GROUPS["S3"]
    pi3, units = reps.natural(s3), gsets.coset_space(s3, frozenset({0}))
    with pytest.raises(SymtheoryError, match="at least one hidden layer"):
        EquivariantMLP(pi3, [], pi3)
    with pytest.raises(SymtheoryError, match="a representation of C_4"):
        EquivariantMLP(reps.natural(GROUPS["Z4"]), [units], pi3)
    model = EquivariantMLP(pi3, [units], pi3, dtype=torch.float64)
    before = [p.clone() for p in model.parameters()]
    broken = [(w.clone(), b.clone()) for w, b in model.dense()]
    broken[0][0][0, 0] += 1
    with pytest.raises(SymtheoryError, match=r"equivariant weights, got a part of 0\.\d+ outside"):
        model.load_dense(broken)
    with pytest.raises(SymtheoryError, match="matrices and biases, got 1"):
        model.load_dense(broken[:1])
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
