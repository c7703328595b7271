"""The sweep gives, for each configuration, the trajectory of a plain loop over it alone."""

from shutil import which

import pytest
import torch

from benchmarks import reference
from symtheory.engine.stepping import Replay, one_step
from symtheory.engine.sweep import Sweep, constant, minibatches, plain_sgd, streams, train
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


def tanh_loss(p, b):
    """Kicks tilt the loss, so that they are added to the gradient; ``shift`` and ``frozen`` are not trained."""
    w = torch.where(p["frozen"] > 0, p["anchor"], p["w"]) + p["shift"]
    return (torch.tanh(b["x"] @ w) - b["y"]).square().mean() + (b["kick"] * p["w"]).sum()


def small(shared):
    """Five configurations with everything a sweep can vary; the plain loop is torch.optim on one of them."""
    g = generator_of(2)
    fixed = {
        "shift": 0.1 * normal(g, 5, 4),
        "anchor": normal(g, 5, 4),
        "frozen": (normal(g, 5, 4) > 0.8).double(),
    }
    data = {"x": normal(g, 2, 90, 6, 4), "y": normal(g, 2, 90, 6), "kick": 0.01 * normal(g, 2, 90, 4)}
    stream = torch.zeros(5, dtype=torch.int64) + shared if shared is not None else torch.tensor([0, 1, 1, 0, 1])
    lr, decay = torch.linspace(0.002, 0.05, 5).double(), torch.linspace(0.0, 0.3, 5).double()
    return {"w": normal(g, 5, 4)}, fixed, data, stream, lr, decay


def by_torch_optim(start, fixed, data, stream, lr, decay, optimizer, options):
    found = []
    for c in range(5):
        w = torch.nn.Parameter(start["w"][c].clone())
        stepper = optimizer([w], lr=float(lr[c]), weight_decay=float(decay[c]), **options)
        for i in range(90):
            stepper.zero_grad()
            batch = {k: v[int(stream[c]), i] for k, v in data.items()}
            tanh_loss({"w": w, **{k: f[c] for k, f in fixed.items()}}, batch).backward()
            stepper.step()
        found.append(w.detach())
    return torch.stack(found)


OPTIMIZERS = {
    "sgd": (sgd(), torch.optim.SGD, {}),
    "momentum": (sgd(0.9), torch.optim.SGD, {"momentum": 0.9}),
    "adam": (adam(decoupled=False), torch.optim.Adam, {}),
    "adamw": (adam(), torch.optim.AdamW, {}),
}


@pytest.mark.parametrize("shared", [None, 0, 1], ids=["streams", "first", "second"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fixed_tensors_kicks_and_shared_data_follow_torch_optim(name, shared):
    update, optimizer, options = OPTIMIZERS[name]
    start, fixed, data, stream, lr, decay = small(shared)
    sweep = Sweep(tanh_loss, lr, decay, stream, update, fixed=fixed)
    blocks = [{k: v[:, i : i + 40] for k, v in data.items()} for i in (0, 40, 80)]
    *_, last = train(sweep, start, blocks)
    assert relative_error(last["w"], by_torch_optim(start, fixed, data, stream, lr, decay, optimizer, options)) < 1e-12


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_replayed_blocks_give_the_same_trajectory(name):
    """What a GPU captures, on the CPU: buffers are filled, the clock runs on, the capture leaves no trace."""
    update = OPTIMIZERS[name][0]
    start, fixed, data, stream, lr, decay = small(None)
    sweep = Sweep(tanh_loss, lr, decay, stream, update, fixed=fixed)
    blocks = [{k: v[:, i : i + 70] for k, v in data.items()} for i in (0, 70)]
    params = {k: p.clone() for k, p in start.items()}
    captured = []

    def capture(run):
        run()  # as a GPU does to warm up
        captured.append(run)
        return run

    step = one_step(tanh_loss, update, lr, decay, stream, fixed)
    replay = Replay(step, params, update.start(params), capture)
    for block, wanted in zip(blocks, train(sweep, start, blocks), strict=True):
        replay.advance({k: v.clone() for k, v in block.items()})
        assert relative_error(params["w"], wanted["w"]) < 1e-12
    assert [len(captured), int(replay.clock)] == [3, 90]  # parts of 64, 6 and 20 steps


def test_a_constant_batch_takes_the_room_of_one_step():
    data = {"x": torch.arange(6.0).reshape(2, 3), "y": torch.ones(2)}
    blocks = list(constant(data, 7, 4))
    assert [b["x"].shape for b in blocks] == [(2, 4, 3), (2, 3, 3)]
    assert all(torch.equal(b["x"][:, i], data["x"]) for b in blocks for i in range(b["x"].shape[1]))
    assert blocks[0]["x"].untyped_storage().size() == data["x"].untyped_storage().size()
    seen = []

    def capture(run):
        return lambda: seen.append(run)

    replay = Replay(lambda *_: ({}, {}), {"w": torch.zeros(1)}, {}, capture)
    replay.advance(blocks[0])
    ((buffers, _),) = replay.recorded.values()
    assert buffers["x"].untyped_storage().size() == data["x"].untyped_storage().size()
    assert torch.equal(buffers["x"], blocks[0]["x"])


def test_minibatches_draw_without_repetition():
    draw = minibatches({"x": torch.arange(10), "y": torch.arange(10) * 2}, 4)
    batch = draw(generator_of(0), 200)
    assert batch["x"].shape == (200, 4)
    assert torch.equal(batch["y"], 2 * batch["x"])
    assert all(len(set(row.tolist())) == 4 for row in batch["x"])
    counts = torch.bincount(batch["x"].reshape(-1), minlength=10)
    assert 50 < int(counts.min()) and int(counts.max()) < 110  # 80 expected, deviation 7
    with pytest.raises(SymtheoryError, match="tensors of one length, at least 11"):
        minibatches({"x": torch.arange(10)}, 11)


@pytest.mark.skipif(which("c++") is None and which("g++") is None, reason="compiling a step needs a C++ compiler")
def test_the_compiled_step_is_the_step():
    start, fixed, data, stream, lr, decay = small(None)
    sweep = Sweep(tanh_loss, lr, decay, stream, adam(), fixed=fixed)
    compiled, eager = (list(train(sweep, start, [data], compiled=c))[-1]["w"] for c in (True, False))
    assert relative_error(compiled, eager) < 1e-12


def test_trained_and_fixed_tensors_do_not_mix():
    sweep = Sweep(tanh_loss, torch.ones(2), torch.zeros(2), torch.zeros(2).long(), sgd(), fixed={"w": torch.ones(2)})
    with pytest.raises(SymtheoryError, match=r"different names, got both: \['w'\]"):
        next(train(sweep, {"w": torch.ones(2)}, []))
    with pytest.raises(SymtheoryError, match=r"parameters of shape \(2, \.\.\.\), got \{'b': \(3,\)\}"):
        Sweep(tanh_loss, torch.ones(2), torch.zeros(2), torch.zeros(2).long(), sgd(), fixed={"b": torch.ones(3)})
