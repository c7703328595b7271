"""Figure B3a: solutions solve what they should, training gets there, the check notices what is wrong."""

import pytest
import torch

from symtheory.errors import SymtheoryError
from symtheory.figures import b3a
from symtheory.spec import relative_error


@pytest.fixture(scope="module")
def smoke():
    figure = b3a.B3a()
    return figure.run(figure.presets["smoke"])


def fails(result):
    return [v.statement for v in b3a.B3a().check(result) if not v.holds]


def test_the_bias_knows_nothing_of_the_truth():
    truth, theta0 = b3a.data(400, 3, 0.5, 0)[2], b3a.bias(400, 1.0, 0)
    assert abs(float(torch.nn.functional.cosine_similarity(truth, theta0, dim=0))) < 0.2


def test_data_sets_of_a_seed_share_the_truth():
    assert torch.equal(b3a.data(5, 4, 0.5, 1)[2], b3a.data(5, 9, 0.5, 1)[2])


@pytest.mark.parametrize("samples", [8, 30])
def test_solutions_are_stationary(samples):
    x, y, _ = b3a.data(12, samples, 0.5, 2)
    theta0, gamma = b3a.bias(12, 0.5, 2), 0.2
    found = b3a.solutions(x, y, theta0, gamma)

    def slope(w, anchor, decay):
        return x.T @ (x @ w - y) / len(x) + decay * (w - anchor)

    for model, anchor in (("weight decay", 0 * theta0), ("syre", theta0), ("large bias", b3a.LARGE * theta0)):
        assert float(slope(found[model], anchor, gamma).norm()) < 1e-12
        assert float(slope(found[model], anchor + 0.1, gamma).norm()) > 1e-3
    assert float(slope(found["no decay"], 0 * theta0, 0.0).norm()) < 1e-12
    assert relative_error(found["no decay"], torch.linalg.pinv(x) @ y) < 1e-10


@pytest.mark.parametrize("model", b3a.MODELS)
def test_training_reaches_the_solution(model):
    x, y, _ = b3a.data(12, 40, 0.5, 3)
    config = {"gamma": 0.1, "sigma0": 1.0, "steps": 600}
    found = b3a.solutions(x, y, b3a.bias(12, 1.0, 3), 0.1)
    w = b3a.trained(model, x, y, config, 3)
    assert relative_error(w, found[model]) < 1e-8
    others = [m for m in b3a.MODELS if m != model]
    assert min(relative_error(w, found[m]) for m in others) > 1e-3


def test_the_check_notices_swapped_models(smoke):
    assert fails(smoke) == []
    names = list(smoke["model"].values)
    for a, b in (
        ("no decay", "weight decay"),
        ("syre", "no decay"),
        ("syre", "large bias"),
        ("weight decay", "large bias"),
    ):
        swapped = [b if n == a else a if n == b else n for n in names]
        assert fails(smoke.assign_coords(model=swapped))


def test_the_check_notices_wrong_weights(smoke):
    assert any("over its bound" in s for s in fails(smoke.assign(distance=1.2 * smoke["bound"])))
    assert any("trained weights" in s for s in fails(smoke.assign(trained_error=smoke["trained_error"] + 1e-3)))


BAD = {
    "dim": ({"dim": 0}, "positive settings"),
    "seeds": ({"seeds": ()}, "at least one seed"),
    "ratio": ({"trained_ratios": (0.0,)}, "d/N to train"),
    "even": ({"ratio_count": 4}, "an odd ratio_count"),
    "range": ({"ratio_high": 1.0}, "ratio_high > 1"),
    "trained": ({"trained_seeds": 11}, "trained_seeds"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused(case):
    wrong, message = BAD[case]
    with pytest.raises(SymtheoryError, match=message):
        b3a.Settings(**wrong)
