"""Figure B4: every method follows the plain loop; the frontier is one; the check notices what is wrong."""

import pytest
import torch

from benchmarks.b4 import fast, plain
from symtheory.errors import SymtheoryError
from symtheory.figures import b4, quartic, quartic_descent
from symtheory.spec import relative_error

DIM, STEPS = 60, 1000
OPTIONS = {"lr": 1e-3, "steps": STEPS, "sigma0": 0.3, "held": 0.2}
VALUES = {
    "standard": [0.0],
    "weight decay": [0.1, 3.0],
    "syre": [0.1, 3.0],
    "W-fix": [0.02, 0.3],
    "dropout": [0.05, 0.6],
}
CASES = [(s, m, v) for s in quartic.STRUCTURES for m, vs in VALUES.items() for v in vs]


@pytest.mark.parametrize(("structure", "method", "value"), CASES)
def test_every_method_follows_the_plain_loop(structure, method, value):
    p = quartic.problem(structure, DIM, 3)
    start = 0.3 * p.start
    noise = quartic.noise(p)(STEPS)
    slow = plain(p, method, value, start, **OPTIONS, uniforms=noise)
    assert relative_error(fast(p, method, value, start, **OPTIONS), slow) < 1e-5
    assert relative_error(fast(p, method, value, start, **{**OPTIONS, "steps": STEPS // 2}), slow) > 1e-4


@pytest.mark.parametrize("kind", ["pull", "fix", "drop"])
@pytest.mark.parametrize("structure", quartic.STRUCTURES)
def test_kernels_and_plain_tensors_agree(structure, kind):
    found = []
    for use_kernel in (True, False):
        p = quartic.problem(structure, DIM, 4)
        shard = {"init": 0.3, "curves": [("curve", kind, [0.02, 0.3, 0.5], 0.2)]}
        ((_, _, run),) = b4.trained(shard, p)
        run.advance(1e-3, 301, use_kernel=use_kernel)
        run.advance(1e-3, 299, use_kernel=use_kernel)
        found.append(run.weights())
    assert relative_error(found[0], found[1]) < 1e-5


def test_all_weights_held():
    p = quartic.problem("unstructured", 12, 0)
    run = quartic_descent.fix(p, torch.tensor([1.0, 0.5]), p.start, 0.7)
    run.advance(1e-3, 5)
    assert torch.equal(run.weights()[0], 0.7 * p.anchor)
    mask, anchor = quartic.held_weights(p, 0.5, 0.7)
    assert int(mask.sum()) == 6 and torch.equal(run.weights()[1][mask], anchor[mask])


def test_dropout_noise_does_not_depend_on_the_blocks():
    p = quartic.problem("structured", 10, 0)
    one, two = quartic.noise(p), quartic.noise(p)
    assert torch.equal(one(20), torch.cat([two(3), two(17)]))


@pytest.mark.parametrize("structure", quartic.STRUCTURES)
def test_no_weights_lie_below_the_frontier(structure):
    """Random weights and a projected search stay above; the search comes close, so the curve is not just low."""
    p = quartic.problem(structure, 30, 1)
    cut = 0.2
    degree, lowest = quartic.frontier(p.values, cut)
    bound = dict(zip(degree.int().tolist(), lowest.tolist(), strict=True))
    v = p.vectors if p.vectors is not None else torch.eye(30, dtype=torch.float64)
    g = torch.Generator().manual_seed(0)
    w = torch.randn(2000, 30, generator=g, dtype=torch.float64) * torch.rand(2000, 1, generator=g, dtype=torch.float64)
    found, counts = p.objective(w), (p.project(w).abs() < cut).sum(-1)
    assert all(float(f) >= bound[int(k)] for f, k in zip(found, counts, strict=True) if int(k) < 30)
    for k in (1, 10, 30):
        q = torch.rand(30, generator=g, dtype=torch.float64)
        floor = torch.zeros(30, dtype=torch.float64)
        floor[p.values.argsort(descending=True)[:k]] = cut**2
        for _ in range(20_000):
            q = torch.maximum(q - 5e-3 * (2 * q.sum() - p.values), floor)
        reached = float(p.objective(v @ q.sqrt()))
        assert bound[30 - k] - 1e-9 <= reached <= bound[30 - k] + 1e-5 * abs(p.optimum)


def test_the_printed_degree_depends_on_the_sign_of_an_eigenvector():
    p = quartic.problem("structured", 50, 0)
    found = b4.measure(p, -torch.full((1, 50), 9.0, dtype=torch.float64), 0.1)
    assert (int(found["degree"][0]), int(found["printed"][0]), int(found["printed_flipped"][0])) == (0, 50, 0)
    assert int(found["histogram"].sum()) == 50


def test_diverged_runs_are_marked_not_hidden():
    p = quartic.problem("structured", 20, 0)
    run = quartic_descent.drop(p, torch.tensor([0.1, 0.6]), 30 * p.start)
    run.advance(1e-3, 50)
    found = b4.measure(p, run.weights(), 0.1)
    assert found["diverged"].tolist() == [1, 1] and found["objective"].tolist() == [0, 0]


@pytest.fixture(scope="module")
def smoke():
    figure = b4.B4()
    return figure.run(figure.presets["smoke"])


def words(result):
    return {v.statement.split(" (")[0]: v.holds for v in b4.B4().check(result)}


def test_the_check_notices_swapped_methods(smoke):
    names = list(smoke["curve"].values)
    i, j = names.index("syre"), names.index("weight decay")
    names[i], names[j] = names[j], names[i]
    held, swapped = words(smoke), words(smoke.assign_coords(curve=names))
    lost = {k for k, v in held.items() if v and not swapped.get(k, False)}
    assert any("does not visit" in k for k in lost)


def test_the_check_notices_backward_and_missing_decays(smoke):
    back = smoke.copy(deep=True)
    back["degree"].loc[{"curve": "syre"}] = back["degree"].loc[{"curve": "syre"}].values[:, :, ::-1]
    assert not any(v for k, v in words(back).items() if "largest rise" in k)
    jump = smoke.copy(deep=True)
    jump["degree"].loc[{"curve": "syre"}] = (
        jump["degree"]
        .loc[{"curve": "syre", "mark": smoke["mark"][-1]}]
        .where(smoke["degree"].loc[{"curve": "syre"}] > 50, 0)
    )
    assert any("largest step" in k and not v for k, v in words(jump).items())


def test_the_check_notices_a_method_below_syre(smoke):
    better = smoke.copy(deep=True)
    better["degree"].loc[{"curve": "dropout"}] = 0
    better["objective"].loc[{"curve": "dropout"}] = better["optimum"]
    found = [v for k, v in words(better).items() if "another method's degree" in k]
    assert found and not any(found)


def test_the_check_notices_unfinished_runs_and_a_corrected_degree(smoke):
    early = smoke.copy(deep=True)
    early["degree"].loc[{"curve": "syre", "mark": early["mark"][-2]}] += 20
    assert not next(v for k, v in words(early).items() if "last but one mark" in k)
    right = smoke.assign(printed=smoke["degree"])
    assert next(v for k, v in words(right).items() if "as printed" in k)


BAD = {
    "steps": ({"steps": 0}, "positive settings"),
    "seeds": ({"seeds": ()}, "at least one seed"),
    "count": ({"count": 2}, "three values"),
    "decays": ({"decays": (1.0, 0.1)}, "0 < low < high"),
    "rates": ({"rates": (0.1, 1.0)}, "rates below 1"),
    "marks": ({"marks": (0.5, 0.1, 1.0)}, "increasing marks"),
    "last mark": ({"marks": (0.5,)}, "the last 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused(case):
    wrong, message = BAD[case]
    with pytest.raises(SymtheoryError, match=message):
        b4.Settings(**wrong)


def test_an_unknown_structure_is_refused():
    with pytest.raises(SymtheoryError, match="a structure among"):
        quartic.problem("ring", 5, 0)
