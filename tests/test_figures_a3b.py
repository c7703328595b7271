"""Figure A3b: the kernel is the plain loop, the residual model is the plain one moved, the check can fail."""

import numpy as np
import pytest
import torch

from benchmarks.a3b import bench_a3b, loop
from symtheory.engine.sweep import streams
from symtheory.errors import SymtheoryError
from symtheory.figures import FIGURES, a3b
from symtheory.figures import online_factorization as model
from symtheory.figures.base import outcome_of
from symtheory.spec import relative_error

SHARD = {"lrs": [1e-3, 8e-3], "signals": [0.1, 0.6], "seed": 3, "dim": 24, "steps": 700, "init": 0.5, "block": 200}


@pytest.fixture(scope="module")
def smoke():
    figure = FIGURES["A3b"]
    return figure.run(figure.presets["smoke"])


def slow(name, start, lr, signal, dim):
    """The reference loop on the very stream the sweep draws, with the identity added."""
    blocks = list(streams(model.draw(dim), [SHARD["seed"]], SHARD["steps"], SHARD["block"]))
    data = {k: torch.cat([b[k][0] for b in blocks]) for k in ("x", "noise")}
    begin = model.initial(name, start, dim, SHARD["init"], SHARD["seed"])
    found = loop(name, begin, data, signal, lr)
    return {k: v + torch.eye(dim) * (name == "residual") for k, v in found.items()}, begin


@pytest.mark.parametrize(("use_kernel", "dim"), [(True, 24), (True, 25), (False, 24)], ids=["kernel", "odd", "generic"])
@pytest.mark.parametrize("start", model.STARTS)
@pytest.mark.parametrize("name", model.MODELS)
def test_every_configuration_follows_the_plain_loop(name, start, use_kernel, dim):
    fast = model.weights({**SHARD, "dim": dim, "model": name, "start": start}, use_kernel=use_kernel)
    for i, signal in enumerate(SHARD["signals"]):
        for j, lr in enumerate(SHARD["lrs"]):
            wanted, begin = slow(name, start, lr, signal, dim)
            for k in ("w", "u"):
                assert relative_error(fast[k][i, j].float(), wanted[k]) < 1e-5
                moved = begin[k] + torch.eye(dim) * (name == "residual")
                assert relative_error(wanted[k], moved) > 1e-2  # it did train


@pytest.mark.parametrize("start", model.STARTS)
def test_the_residual_model_is_the_plain_one_moved(start):
    """I + W of the residual model follows W of the plain model from the same map; the other start leads elsewhere."""
    plain, residual = (model.weights({**SHARD, "model": m, "start": start}) for m in model.MODELS)
    other = model.weights({**SHARD, "model": "plain", "start": next(s for s in model.STARTS if s != start)})
    for k in ("w", "u"):
        assert relative_error(residual[k], plain[k]) < 1e-5
        assert relative_error(residual[k], other[k]) > 0.1


def test_the_loss_keeps_its_rotation_symmetry_in_the_residual_model():
    g = torch.Generator().manual_seed(0)
    w, u, x, noise = (torch.randn(*s, generator=g, dtype=torch.float64) for s in ((6, 6), (6, 6), (6,), (6,)))
    turn, eye = torch.linalg.qr(torch.randn(6, 6, generator=g, dtype=torch.float64)).Q, torch.eye(6).double()
    batch, signal = {"x": x, "noise": noise}, torch.tensor(0.3).double()

    def value(w, u):
        return float(model.residual_loss({"w": w, "u": u, "signal": signal}, batch))

    turned = value((eye + w) @ turn - eye, turn.T @ (eye + u) - eye)
    assert turned == pytest.approx(value(w, u), rel=1e-12)
    assert value(w @ turn, turn.T @ u) != pytest.approx(value(w, u), rel=1e-2)


def test_diverged_runs_are_marked_and_leave_the_others_alone():
    shard = {**SHARD, "model": "plain", "start": "zero", "lrs": [8e-3, 5.0], "signals": [0.1]}
    found = model.compute(shard)
    assert found["diverged"].values.tolist() == [[0, 1]]
    assert (found["rank"].isel(lr=1) == -1).all() and (found["rank"].isel(lr=0) >= 0).all()
    alone = model.compute({**shard, "lrs": [8e-3]})
    assert np.array_equal(found["spectrum"].isel(lr=0), alone["spectrum"].isel(lr=0))


def test_the_stored_singular_values_bracket_the_cut(smoke):
    own = smoke.where(smoke["diverged"] == 0)
    assert ((own["kept"] > model.CUT) | (own["rank"].sel(cut=model.CUT) == 0)).where(smoke["diverged"] == 0, True).all()
    assert (own["dropped"].fillna(0) <= model.CUT).all()
    ranks = smoke["rank"].sortby("cut")
    assert (ranks.diff("cut") <= 0).all()  # a higher cut, a lower rank


def test_the_outcome_is_what_we_say(smoke):
    figure = FIGURES["A3b"]
    assert outcome_of(figure.check(smoke)) == figure.expected == "partly"
    assert [v.holds for v in figure.check(smoke)] == [True] * 4 + [False, False, True]


def test_a_residual_model_of_full_rank_would_bear_out_the_claim(smoke):
    full = smoke.copy(deep=True)
    for prefix in ("", "swapped_"):
        marked = full[f"{prefix}rank"].sel(model="residual") < 0
        full[f"{prefix}rank"].loc[{"model": "residual"}] = np.where(marked, -1, full.attrs["dim"])
    assert outcome_of(FIGURES["A3b"].check(full)) == "reproduced"


def reversed_along(result, dim, *names):
    """The same values with one axis read backwards."""
    changed = result.copy(deep=True)
    for name in names or ("rank", "diverged", "rank_w", "rank_u"):
        changed[name] = changed[name].isel({dim: slice(None, None, -1)}).assign_coords({dim: result[dim]})
    return changed


CORRUPT = {
    "noise": (lambda r: reversed_along(r, "signal"), [0, 1, 2]),
    "learning rates": (lambda r: reversed_along(r, "lr"), [1]),
    "factors": (lambda r: reversed_along(r, "signal", "rank_w"), [3]),
    "scales": (lambda r: r.assign(scaled_rank=r["scaled_rank"] + 2), [6]),
    "full rank everywhere": (lambda r: r.assign(rank=r["rank"] * 0 + r.attrs["dim"]), [0, 1, 2, 3]),
}


@pytest.mark.parametrize("case", CORRUPT)
def test_the_check_goes_red(smoke, case):
    change, which = CORRUPT[case]
    before, after = FIGURES["A3b"].check(smoke), FIGURES["A3b"].check(change(smoke))
    for i in which:
        assert before[i].holds and not after[i].holds


BAD = {
    "steps": ({"steps": 0}, "positive settings"),
    "scale": ({"variant_inits": (0.1, -1.0)}, "positive settings"),
    "seeds": ({"seeds": ()}, "at least one seed"),
    "rates": ({"lr_low": 1.0}, "lr_low <= lr_high"),
    "order": ({"signals": (0.2, 0.1), "variant_signals": (0.2,)}, "increasing signals"),
    "range": ({"signals": (0.2, 1.5), "variant_signals": (0.2,)}, r"in \[0, 1\]"),
    "one": ({"signals": (0.2,), "variant_signals": (0.2,)}, "at least two"),
    "variants": ({"variant_signals": (0.3,)}, "variant signals among them"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused(case):
    wrong, message = BAD[case]
    with pytest.raises(SymtheoryError, match=message):
        a3b.Settings(**wrong)


def test_the_benchmark_compares_like_with_like():
    timing = bench_a3b(repeats=1, steps=50, config=FIGURES["A3b"].presets["smoke"])
    assert timing.relative_error < 1e-5 and timing.seconds > 0 and timing.ratio > 0
