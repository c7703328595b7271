"""Hessian-vector products: the recorded graph against the dense Hessian, what it refuses, and its memory."""

import resource
import subprocess
import sys

import pytest
import torch
from torch import nn

from benchmarks import products
from symtheory.engine import tracing
from symtheory.engine.model import loss_of
from symtheory.engine.operators import dense_hessian, gradient, hvp_of
from symtheory.errors import SymtheoryError
from symtheory.spec import flatten, params_of, relative_error, shapes_of, unflatten
from symtheory.theorems.instances import all_kinds, generator_of, normal

MODELS = {
    "tanh": (lambda: nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)), nn.functional.mse_loss),
    "gelu": (
        lambda: nn.Sequential(nn.Linear(5, 6), nn.GELU(), nn.LayerNorm(6), nn.Linear(6, 3)),
        nn.functional.mse_loss,
    ),
    "softmax": (lambda: nn.Sequential(nn.Linear(5, 4), nn.SiLU(), nn.Linear(4, 3)), nn.functional.cross_entropy),
    "convolution": (
        lambda: nn.Sequential(nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(6, 3)),
        nn.functional.mse_loss,
    ),
}


def case(name):
    make, criterion = MODELS[name]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = make().double()
    g = generator_of(4)
    return loss_of(net, criterion), params_of(net), (normal(g, 11, 5), normal(g, 11, 3).softmax(dim=1))


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_products_of_networks_are_the_dense_hessian(name, repeated):
    loss, params, batch = case(name)
    product, dense = hvp_of(loss, params, batch, repeated=repeated), dense_hessian(loss, params, batch)
    for seed in range(3):
        v = normal(generator_of(seed), len(dense))
        image = flatten(product(unflatten(v, shapes_of(params))))
        assert relative_error(image, dense @ v) < 1e-10
    assert relative_error(image, dense @ v.flip(0)) > 1e-2  # another vector has another product


@pytest.mark.parametrize("name", MODELS)
def test_dense_hessian_matches_differences_of_gradients(name):
    """Differences know nothing of second derivatives; ``torch.func.hessian`` misses them by 0.1 with LayerNorm."""
    loss, params, batch = case(name)
    shapes, at = shapes_of(params), flatten(params)
    v = normal(generator_of(9), len(at))
    ahead, behind = (flatten(gradient(loss, unflatten(at + s * v, shapes), batch)) for s in (1e-5, -1e-5))
    assert relative_error(dense_hessian(loss, params, batch) @ v, (ahead - behind) / 2e-5) < 1e-6


def test_a_hessian_that_is_not_symmetric_is_refused():
    class Crooked(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(w):
            return w.square().sum()

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, slope):
            (w,) = ctx.saved_tensors
            return slope * torch.stack([w[0] + w[1], w[1]])  # no gradient of anything

    with pytest.raises(SymtheoryError, match="a symmetric Hessian"):
        dense_hessian(lambda p, _: Crooked.apply(p["w"]), {"w": torch.ones(2).double()}, None)


@pytest.mark.parametrize("instance", all_kinds(3), ids=lambda i: i.name)
def test_recorded_products_of_every_kind_of_loss(instance):
    x, shapes = instance.samples[0], shapes_of(instance.params)
    v = normal(generator_of(1), instance.size)
    got = flatten(hvp_of(instance.loss, instance.params, x, repeated=True)(unflatten(v, shapes)))
    assert relative_error(got, dense_hessian(instance.loss, instance.params, x) @ v) < 1e-10


def test_networks_are_recorded_not_fallen_back(monkeypatch):
    folded = []
    original = tracing.fold
    monkeypatch.setattr(tracing, "fold", lambda graph: folded.append(original(graph)) or folded[-1])
    for name in MODELS:
        loss, params, batch = case(name)
        hvp_of(loss, params, batch, repeated=True)
    assert len(folded) == len(MODELS)
    assert min(folded) > 0  # in each something did not depend on the vector


def test_a_map_that_looks_at_its_vector_is_left_alone():
    def branching(v):
        return {"w": v["w"] * (3.0 if float(v["w"].sum()) > 0 else 2.0)}

    example = {"w": torch.tensor([1.0, 2.0])}
    assert tracing.traced(branching, example) is branching

    calls = []

    def moody(v):  # recorded without complaint, and caught by comparing
        calls.append(1)
        return {"w": v["w"] * len(calls)}

    assert tracing.traced(moody, example) is moody


def test_what_writes_or_draws_is_not_folded():
    constant = torch.ones(3)
    before = constant.clone()

    def writes(v):
        return {"w": constant.clone().add_(1) * v["w"]}

    found = tracing.traced(writes, {"w": torch.ones(3)})
    for _ in range(2):
        assert found({"w": torch.ones(3)})["w"].tolist() == [2.0] * 3
    assert torch.equal(constant, before)


@pytest.mark.parametrize("repeated", [False, True])
def test_what_is_not_finite_is_refused(repeated):
    with pytest.raises(SymtheoryError, match="a finite gradient, got 'w'"):
        hvp_of(lambda p, _: p["w"].sqrt().sum(), {"w": torch.zeros(2)}, None, repeated=repeated)
    with pytest.raises(SymtheoryError, match="a finite Hessian-vector product"):
        product = hvp_of(lambda p, _: (p["w"] ** 2).sum(), {"w": torch.ones(2)}, None, repeated=repeated)
        product({"w": torch.tensor([1.0, torch.nan])})


def test_large_finite_entries_are_not_mistaken_for_infinity():
    huge = torch.full((2,), 3e38)
    product = hvp_of(lambda p, _: (p["w"] ** 2).sum() / 2, {"w": torch.ones(2)}, None)
    assert torch.equal(product({"w": huge})["w"], huge)


PEAK = """
import resource, torch
from symtheory.engine.operators import lowest_normal_curvature
from symtheory.spec import sign_flip
n = 1_000_000
mirror = sign_flip({"w": (n,)}, ["w"])
a = torch.linspace(1, 2, n, dtype=torch.float64)
a[n // 3] = -7.0
loss = lambda p, _: (a * p["w"] ** 2).sum() / 2 + (p["w"] ** 4).sum()
params = {"w": torch.zeros(n, dtype=torch.float64)}
torch.func.grad(loss)(params, None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
value = lowest_normal_curvature(loss, params, None, mirror)
print(value, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / (8 * n))
"""


def test_a_million_normals_need_a_few_dozen_vectors_of_memory():
    """Lanczos keeps 20 vectors; a matrix would be a million."""
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0
    run = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    value, vectors = map(float, run.stdout.split())
    assert value == pytest.approx(-7.0, rel=1e-8)
    assert vectors < 80


def test_benchmark_compares_equal_products():
    pytest.importorskip("curvlinops", reason="the bench extra is not installed")
    ways, size = products.contenders((5, 7, 3), 11)
    v = torch.randn(size, generator=generator_of(0))
    images = {name: way(v).detach() for name, way in ways.items()}
    assert all(relative_error(image, images["curvlinops"]) < 1e-5 for image in images.values())


def test_benchmark_says_what_to_install(monkeypatch):
    monkeypatch.setattr(products, "find_spec", lambda _: None)
    with pytest.raises(SymtheoryError, match=r"expected curvlinops.*pip install"):
        products.contenders((5, 7, 3), 11)
