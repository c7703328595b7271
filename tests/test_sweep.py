"""The sweep gives, for each configuration, the trajectory of a plain loop over it alone."""

import pytest
import torch

from benchmarks import reference
from symtheory.engine.sweep import Sweep, plain_sgd, streams, train
from symtheory.engine.updates import adam, sgd
from symtheory.errors import SymtheoryError
from symtheory.figures import a3a, a8
from symtheory.spec import relative_error
from symtheory.theorems.instances import generator_of, normal

SHARD = {"lrs": [1e-3, 3e-3, 1e-2], "seeds": [3, 4], "dim": 20, "steps": 2000, "noise": 1.0, "init": 1.0, "block": 300}


def plain(model, lr, seed):
    """The reference loop on the very stream the sweep draws for this seed."""
    draw = a3a.draw(SHARD["dim"], SHARD["noise"])
    blocks = list(streams(draw, [seed], SHARD["steps"], SHARD["block"]))
    data = {k: torch.cat([b[k][0] for b in blocks]) for k in ("x", "y")}
    found = reference.regression(model, a3a.initial(model, SHARD["dim"], 1.0, seed), data, lr, SHARD["steps"])
    return found["w"] * found["u"] if "u" in found else found["w"]


@pytest.mark.parametrize("use_kernel", [True, False], ids=["kernel", "generic"])
@pytest.mark.parametrize("model", a3a.MODELS)
def test_every_configuration_follows_the_plain_loop(model, use_kernel):
    found = a3a.weights({**SHARD, "model": model}, use_kernel=use_kernel)
    for i, lr in enumerate(SHARD["lrs"]):
        for j, seed in enumerate(SHARD["seeds"]):
            assert relative_error(found[i, j], plain(model, lr, seed)) < 1e-5


def test_the_factorisation_follows_the_plain_loop():
    s, c = (t.float() for t in a8.statistics(10, 40, 0.5, 0))
    g = generator_of(1)
    w, u = (0.1 * torch.randn(10, 10, generator=g) for _ in range(2))
    gammas = torch.tensor([0.0, 0.05, 0.3])

    def each(t):
        return t.expand(3, 10, 10).contiguous()

    fast = a8.descend(each(w), each(u), each(s), each(c), gammas, 0.05, 2000)
    scale = relative_error(w, torch.zeros_like(w)) * float(w.norm())
    for i, gamma in enumerate(gammas):
        slow = reference.factorization(w, u, s, c, float(gamma), 0.05, 2000)
        for k, name in enumerate(("w", "u")):
            # factors that die away are compared with where they started
            assert float((fast[k][i] - slow[name]).norm()) < 1e-5 * max(scale, float(slow[name].norm()))


@pytest.mark.parametrize("update", [sgd(), sgd(0.9), adam()], ids=["sgd", "momentum", "adamw"])
def test_the_generic_path_is_exact_in_double_precision(update):
    g = generator_of(0)
    x, y = normal(g, 2, 50, 4), normal(g, 2, 50)
    start = {"w": normal(g, 6, 4)}
    lr, decay = torch.linspace(0.01, 0.1, 6).double(), torch.linspace(0.0, 0.1, 6).double()
    stream = torch.tensor([0, 1, 0, 1, 0, 1])

    def loss(p, b):
        return torch.tanh(p["w"] @ b["x"] - b["y"]) ** 2

    def block(i, j, k):
        return {"x": x[i, j:k], "y": y[i, j:k]}

    def run(sweep, first, streams_used):
        blocks = [{n: torch.stack([block(i, j, j + 25)[n] for i in streams_used]) for n in ("x", "y")} for j in (0, 25)]
        *_, last = train(sweep, first, blocks)
        return last["w"].clone()

    together = run(Sweep(loss, lr, decay, stream, update), start, [0, 1])
    for c in range(6):
        alone = Sweep(loss, lr[c : c + 1], decay[c : c + 1], torch.tensor([0]), update)
        assert relative_error(together[c], run(alone, {"w": start["w"][c : c + 1]}, [int(stream[c])])[0]) < 1e-12


def test_streams_do_not_depend_on_each_other():
    draw = a3a.draw(3, 1.0)
    both = list(streams(draw, [5, 6], 7, 4))
    alone = list(streams(draw, [6], 7, 4))
    assert [b["x"].shape for b in both] == [(2, 4, 3), (2, 3, 3)]
    for pair, single in zip(both, alone, strict=True):
        assert torch.equal(pair["x"][1], single["x"][0])
        assert not torch.equal(pair["x"][0], pair["x"][1])


def test_the_start_is_left_alone():
    start = {"w": torch.ones(1, 3)}
    blocks = [{"x": torch.ones(1, 2, 3), "y": torch.zeros(1, 2)}]
    for kernel in (True, False):
        sweep = plain_sgd(a3a.vanilla_loss, torch.tensor([0.1]), torch.tensor([0]), a3a.KERNELS["vanilla"])
        list(train(sweep, start, blocks, use_kernel=kernel))
        assert torch.equal(start["w"], torch.ones(1, 3))


def test_bad_sweeps_are_refused():
    with pytest.raises(SymtheoryError, match="lr, decay and stream of one shape"):
        Sweep(a3a.vanilla_loss, torch.ones(2), torch.ones(3), torch.zeros(2), sgd())
    sweep = plain_sgd(a3a.vanilla_loss, torch.ones(2), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(SymtheoryError, match=r"parameters of shape \(2, \.\.\.\), got \{'w': \(3,\)\}"):
        next(train(sweep, {"w": torch.ones(3)}, []))
