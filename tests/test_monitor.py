"""The monitor: what it says against brute force, what it foretells against training, and what it leaves alone."""

import csv
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from symtheory.discover import discover
from symtheory.errors import SymtheoryError
from symtheory.monitor import Probe, SymmetryMonitor, lightning_callback, transformers_callback, watching
from symtheory.monitor.attraction import attraction, curvatures
from symtheory.monitor.reading import effective_rank, gram, read, rows
from symtheory.spec.params import flatten, params_of
from tests.strategies import seeds


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Heads(nn.Module):
    """Two heads of attention: permutations with a fibre, rotations, and exchanges of heads."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(6, 6) for _ in range(4))

    def forward(self, x):
        q, k, v = (f(x).unflatten(-1, (2, 3)).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = torch.softmax(q @ k.mT / 3**0.5, -1) @ v
        return self.o(y.transpose(1, 2).flatten(2)).sum(1)


NETS = {
    "tanh": (lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)), (4, 3)),
    "relu": (lambda: nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)), (4, 3)),
    "linear": (lambda: nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2)), (4, 3)),
    "channels": (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(16, 2)), (2, 1, 4, 4)),
    "heads": (Heads, (2, 3, 6)),
}


def network(name, seed=0):
    make, shape = NETS[name]
    torch.manual_seed(seed)
    model = make().double()
    return model, draw(*shape, seed=seed)


@pytest.mark.parametrize("name", NETS)
def test_the_nearest_mirror_is_the_nearest_of_all(name):
    """Every mirror of the report, one by one; for rotations no unit vector is nearer."""
    model, x = network(name)
    params, seen = params_of(model), set()
    for family in discover(model, x).families:
        if family.no_mirror:
            continue
        found, near = read(family, params, {}, 0)
        listed = [m.distance(params) for m in family.mirrors()]
        seen.add(family.kind)
        assert found.distance == pytest.approx(near.distance(params)) and math.isnan(found.force)
        if math.isfinite(family.number):
            assert found.distance == pytest.approx(min(listed))
        else:
            assert found.distance <= min(listed) + 1e-12
            g = torch.Generator().manual_seed(1)
            for _ in range(30):
                n = torch.linalg.qr(torch.randn(family.degree, 1, generator=g, dtype=torch.float64))[0]
                assert found.distance <= family.mirror(normals=n).distance(params) + 1e-12
    assert seen


def test_the_nearest_mirror_is_found_in_single_precision():
    """Three pairs closer than the root of single precision; the nearest of them is not mistaken for another."""
    with torch.no_grad():
        wide = nn.Sequential(nn.Linear(20, 50), nn.Tanh(), nn.Linear(50, 3)).requires_grad_(True)
        tensors = (wide[0].get_parameter("weight"), wide[0].get_parameter("bias"), wide[2].get_parameter("weight").T)
        for i, gap in ((0, 1e-4), (2, 1e-5), (4, 3e-4)):
            for t in tensors:
                t[i + 1] = (1 + gap) * t[i]
    family = discover(wide, torch.ones(1, 20)).families[0]
    found, _ = read(family, params_of(wide), {}, 0)
    exact = {n: p.detach().double() for n, p in wide.named_parameters()}
    assert found.distance == pytest.approx(min(m.distance(exact) for m in family.mirrors()), rel=1e-3)


def test_the_rank_of_one_direction_is_one_in_single_precision():
    """A thousand units on a line: rounding must not add up to directions."""
    torch.manual_seed(0)
    wide, size = nn.Sequential(nn.Linear(20, 1000), nn.ReLU(), nn.Linear(1000, 3)), torch.rand(1000, 1) + 0.5
    with torch.no_grad():
        for name, t in (
            ("0.weight", size * torch.randn(20)),
            ("0.bias", size[:, 0]),
            ("2.weight", torch.randn(3, 1) * size.T),
        ):
            wide.get_parameter(name).copy_(t)
    family = discover(wide, torch.ones(1, 20)).families[0]
    assert read(family, params_of(wide), {}, 0)[0].rank == pytest.approx(1, abs=1e-3)


class Centred(nn.Module):
    """Hidden units without their mean: orthogonal maps that keep the vector of ones."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(3, 5), nn.Linear(5, 2, bias=False)

    def forward(self, x):
        y = self.one(x)
        return self.two(y - y.mean(-1, keepdim=True))


def test_normals_of_a_centred_family_keep_the_ones_even_where_it_has_collapsed():
    """Two directions left of four: zero is a value of the ones and of others, and the normal is none of the ones."""
    torch.manual_seed(0)
    model, x = Centred().double(), draw(4, 3)
    family = next(f for f in discover(model, x).families if f.kind == "rotation fixing ones")
    params = params_of(model)
    found, near = read(family, params, {}, 0)
    normals = torch.randn(2000, 5, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    normals = torch.nn.functional.normalize(normals - normals.mean(1, keepdim=True), dim=1)
    listed = [family.mirror(normals=n).distance(params) for n in normals]
    assert (
        found.distance == pytest.approx(near.distance(params)) and found.distance <= min(listed) < 1.1 * found.distance
    )
    with torch.no_grad():
        model.one.weight.copy_(draw(1, 3) + torch.tensor([1.0, -1, 0, 0, 0])[:, None] * draw(1, 3, seed=1))
        model.one.bias.zero_()
        model.two.weight.copy_(torch.tensor([[1.0, -1, 0, 0, 0]]) * draw(2, 1))
    found, _ = read(family, params_of(model), {}, 0)
    assert found.distance == pytest.approx(0, abs=1e-12) and found.rank == pytest.approx(1)


class Experts(nn.Module):
    """Two experts with running statistics, weighed by a gate."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(3, 2)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)) for _ in range(2)
        )

    def forward(self, x):
        weight = torch.softmax(self.gate(x), -1)
        return sum(weight[:, k : k + 1] * f(x) for k, f in enumerate(self.experts))


def test_units_that_are_whole_modules_may_have_buffers():
    model, x = Experts().double(), draw(4, 3)
    found = [r for r in SymmetryMonitor(model, x).look() if r.units == 2]
    first, second = (flatten(params_of(e)) for e in model.experts)
    apart = (first - second).square().sum() + (model.gate.weight[0] - model.gate.weight[1]).square().sum()
    apart = float((apart + (model.gate.bias[0] - model.gate.bias[1]) ** 2).detach())
    assert [r.distance for r in found] == [pytest.approx((apart / 2) ** 0.5)]


@given(seeds)
@settings(max_examples=10)
def test_what_has_collapsed_is_counted(seed):
    """Two pairs of equal units and a dead one."""
    model, x = network("relu", seed)
    first, second = (layer.get_parameter("weight") for layer in (model[0], model[2]))
    bias = model[0].get_parameter("bias")
    with torch.no_grad():
        for i, j in ((0, 1), (2, 3)):
            first[j], bias[j], second[:, j] = first[i], bias[i], second[:, i]
        first[4], bias[4], second[:, 4] = 0, 0, 0
    family = next(f for f in discover(model, x).families if f.where.startswith("0") and f.kind == "permutation")
    found, _ = read(family, params_of(model), {}, 7)
    assert (found.duplicates, found.dead, found.units, found.step) == (2, 1, 5, 7)
    assert found.distance == pytest.approx(0, abs=1e-9) and found.rank <= 2 + 1e-6


def test_thresholds_are_shares_of_the_typical_unit():
    """A unit of a twentieth of the others is alive; two dead ones are no duplicates; distances have no unit."""
    model, x = network("relu")
    family = next(f for f in discover(model, x).families if f.where.startswith("0") and f.kind == "permutation")
    params = params_of(model)

    def scaled(*sizes):
        copy = {n: p.detach().clone() for n, p in params.items()}
        for k, size in enumerate(sizes):
            for t in (copy["0.weight"], copy["0.bias"], copy["2.weight"].T):
                t[k] *= size
        return read(family, copy, {}, 0)[0]

    assert scaled(0.05).dead == 0
    assert (scaled(1e-4, 1e-4).dead, scaled(1e-4, 1e-4).duplicates) == (2, 0)
    units = torch.cat([params["0.weight"], params["0.bias"][:, None], params["2.weight"].T], 1)
    typical = float(units.detach().square().sum(1).mean().sqrt())
    assert scaled().relative == pytest.approx(scaled().distance / typical)
    assert scaled(*[7.0] * 5).relative == pytest.approx(scaled().relative)


def test_the_rank_of_several_copies_is_the_smallest():
    model, x = network("heads")
    family = next(f for f in discover(model, x).families if f.copies == 2 and not f.no_mirror)
    ranks = effective_rank(gram(family, params_of(model)))
    assert float(ranks.max() - ranks.min()) > 0.01
    assert read(family, params_of(model), {}, 0)[0].rank == pytest.approx(float(ranks.min()))


def test_units_are_all_entries_that_touch_them():
    model, x = network("tanh")
    family = discover(model, x).families[0]
    tensors = params_of(model)
    stacked = torch.cat(list(rows(family, tensors)), 2)[0]
    w, b, a = (tensors[n] for n in ("0.weight", "0.bias", "2.weight"))
    torch.testing.assert_close(stacked, torch.cat([w, b[:, None], a.T], 1))
    torch.testing.assert_close(gram(family, tensors)[0], stacked @ stacked.T)
    values = torch.linalg.svdvals(stacked.detach())
    p = values / values.sum()
    assert float(effective_rank(gram(family, tensors))) == pytest.approx(math.exp(-float((p * p.log()).sum())))


def test_the_force_is_the_slope_of_the_distance():
    """Descent by a small step changes the distance by the step times the force."""
    model, x = network("tanh")
    family = discover(model, x).families[0]
    (model(x) ** 2).sum().backward()
    params, slopes = params_of(model), {n: p.grad for n, p in model.named_parameters()}
    found, near = read(family, params, slopes, 0)
    moved = {n: p - 1e-7 * slopes[n] for n, p in params.items()}
    slope = (near.distance(moved) - near.distance(params)) / 1e-7
    assert found.force == pytest.approx(float(slope), rel=1e-4)


def test_what_ascends_is_read_as_a_descent_on_minus_the_loss():
    """The same run, told to the optimiser in either sign, has the same force and the same prediction."""
    found = {}
    for sign, maximize in ((1, False), (-1, True)):
        model, x = network("tanh")
        report = discover(model, x)
        probe = Probe(x, lambda out, sign=sign: sign * (out**2).sum(1))
        (sign * (model(x) ** 2).sum()).backward()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.2, maximize=maximize)
        found[maximize] = [r.row() for r in SymmetryMonitor(model, report=report, probe=probe).look(optimizer)]
    assert found[True] == found[False] and all(row["force"] and row["curvature"] for row in found[True])


def test_tensors_that_descend_and_ascend_leave_no_prediction():
    model, x = network("tanh")
    up, down = list(model.parameters())[:1], list(model.parameters())[1:]
    optimizer = torch.optim.SGD([{"params": up, "maximize": True}, {"params": down}], lr=0.1)
    monitor = SymmetryMonitor(model, x, probe=Probe(x, lambda out: (out**2).sum(1)))
    assert monitor.look(optimizer)[0].attraction is None


def test_curvatures_are_second_differences_sample_by_sample():
    model, x = network("tanh")
    y, family = draw(4, 2, seed=3), discover(model, x).families[0]
    params = params_of(model)
    _, near = read(family, params, {}, 0)

    def losses(out):
        return ((out - y) ** 2).sum(1)

    found = curvatures(model, params, near, Probe(x, losses))
    across = near.project({n: params[n] for n in near.shapes})
    size = flatten(across).norm()

    def at(t):
        moved = {n: p - (1 - t / size) * across[n] if n in across else p for n, p in params.items()}
        return losses(torch.func.functional_call(model, moved, (x,)))

    with torch.no_grad():
        expected = (at(1e-3) - 2 * at(0.0) + at(-1e-3)) / 1e-6
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    pairs = curvatures(model, params, near, Probe((x,), losses, batch=2))
    torch.testing.assert_close(pairs, found.view(2, 2).mean(1))


def test_a_probe_leaves_statistics_and_random_numbers_alone():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 2)).double()
    x = draw(8, 3)
    monitor = SymmetryMonitor(model, x, probe=Probe(x, lambda out: (out**2).sum(1)))
    before = [t.clone() for t in model.buffers()], torch.get_rng_state()
    found = monitor.look(torch.optim.SGD(model.parameters(), lr=0.1))
    assert all(r.attraction is not None for r in found) and model.training
    assert all(torch.equal(a, b) for a, b in zip(before[0], model.buffers(), strict=True))
    assert torch.equal(before[1], torch.get_rng_state())


@pytest.mark.parametrize("decay", [0.0, 0.1, 0.5])
def test_the_exponent_is_the_rate_at_which_the_mirror_draws_near(decay):
    """Two neurons a breath apart; one step of descent changes their distance as foretold, on either side of zero."""
    x = draw(200, 2, seed=1)
    y = 3 * torch.tanh(x[:, :1]) - 3 * torch.tanh(x[:, 1:])
    model, report = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Tanh(), nn.Linear(2, 1, bias=False)).double(), None
    with torch.no_grad():
        model[0].get_parameter("weight").copy_(
            torch.tensor([[0.8, -0.3]] * 2) + 1e-5 * torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
        )
        model[2].get_parameter("weight").copy_(torch.tensor([[0.6, 0.6]]) + 1e-5 * torch.tensor([[1.0, -1.0]]))
    report = discover(model, x[:2])
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, weight_decay=decay)
    monitor = SymmetryMonitor(model, report=report, probe=Probe(x, lambda out: ((out - y) ** 2)[:, 0], batch=200))

    def pair():
        return next(r for r in monitor.look(optimizer) if r.kind == "permutation")

    before = pair()
    ((model(x) - y) ** 2).mean().backward()
    optimizer.step()
    rate = math.log(pair().distance / before.distance)
    assert before.attraction is not None
    assert before.attraction.exponent.value == pytest.approx(rate, rel=5e-3)
    assert before.attraction.attracts == (rate < 0) == (decay > before.attraction.critical_decay) == (decay == 0.5)


def test_rates_and_decays_are_those_of_the_tensors_across_the_mirror():
    """The first group has other parameters; biases do not decay; a tensor with a rate of its own leaves no answer."""
    model, x = network("tanh")
    weights = [p for p in model.parameters() if p.dim() == 2]
    rest = [p for p in model.parameters() if p.dim() == 1]
    other = nn.Parameter(torch.zeros(1))

    def foretold(groups):
        optimizer = torch.optim.SGD([{"params": [other], "lr": 7.0}, *groups], lr=0.01)
        probe = Probe(x, lambda out: (out**2).sum(1))
        reading = SymmetryMonitor(model, x, probe=probe).look(optimizer)[0]
        return None if reading.attraction is None else reading.attraction.exponent.value

    _, near = read(discover(model, x).families[0], params_of(model), {}, 0)
    across = near.project({n: p for n, p in params_of(model).items() if n in near.shapes})
    bias = float(across["0.bias"].square().sum() / flatten(across).square().sum())
    alike = foretold([{"params": [*weights, *rest], "weight_decay": 0.5 * (1 - bias)}])
    assert foretold([{"params": weights, "weight_decay": 0.5}, {"params": rest}]) == pytest.approx(alike)
    assert alike != pytest.approx(foretold([{"params": [*weights, *rest], "weight_decay": 0.5}]), rel=1e-6)
    assert foretold([{"params": weights}, {"params": rest, "lr": 0.02}]) is None
    assert foretold([{"params": weights}]) is None and foretold([{"params": [*weights, *rest], "lr": 0.0}]) is None


def test_numbers_that_diverge_do_not_stop_training():
    probe = Probe(draw(4, 3), lambda out: (out**2).sum(1))
    for name in ("tanh", "linear"):
        model, x = network(name)
        monitor = SymmetryMonitor(model, x, every=1, probe=probe)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with torch.no_grad():
            next(model.parameters()).view(-1)[0] = math.nan
        assert all(math.isnan(r.distance) and r.attraction is None for r in monitor.step(optimizer))
    model, x = network("tanh")
    monitor = SymmetryMonitor(model.float(), x.float(), probe=Probe(x.float(), lambda out: (out**4).sum(1)))
    with torch.no_grad():
        model[2].get_parameter("weight").mul_(1e25)
    found = monitor.look(torch.optim.SGD(model.parameters(), lr=0.1))
    assert all(math.isfinite(r.distance) and r.attraction is None for r in found)


def test_nothing_is_left_changed_by_looking():
    """Not even a buffer that counts in evaluation mode, nor random numbers while the network is looked at first."""

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(3, 4), nn.Linear(4, 2)
            self.register_buffer("passes", torch.zeros(()))
            self.register_buffer("last", torch.zeros(()))

        def forward(self, x):
            self.passes += 1
            self.last = x.sum()
            return self.two(torch.tanh(self.one(x)))

    model, x = Counting().double(), draw(4, 3)
    state = torch.get_rng_state()
    monitor = SymmetryMonitor(model, x, probe=Probe(x, lambda out: (out**2).sum(1)))
    with pytest.raises(SymtheoryError, match="forward derivatives, got During a grad"):
        monitor.look(torch.optim.SGD(model.parameters(), lr=0.1))
    assert float(model.passes) == float(model.last) == 0 and torch.equal(state, torch.get_rng_state())


def test_attached_it_looks_after_steps_and_changes_nothing():
    ends = []
    for watched in (False, True):
        model, x = network("relu")
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        monitor = SymmetryMonitor(model, x, every=3)
        if watched:
            monitor.attach(optimizer)
        torch.manual_seed(3)
        for _ in range(10):
            optimizer.zero_grad()
            (model(x + 0.1 * torch.randn(4, 3).double()) ** 2).sum().backward()
            optimizer.step()
        ends.append(flatten(params_of(model)).detach())
        assert [r.step for r in monitor.readings] == [k for k in (3, 6, 9) for _ in monitor.families] * watched
        assert all(math.isfinite(r.force) for r in monitor.readings)
        monitor.detach()
        optimizer.step()
        assert monitor.steps == 10 * watched
    assert torch.equal(*ends)


@pytest.mark.parametrize("budget", [0.05, 0.5])
def test_by_default_it_takes_its_share_of_the_time(monkeypatch, budget):
    """A clock on which a step takes a twentieth of a second and a look one."""
    model, x = network("tanh")
    monitor, now = SymmetryMonitor(model, x, budget=budget), [0.0]
    monitor._begin = 0.0

    def slow(*given):
        now[0] += 1 / len(monitor.families)
        return read(*given)

    monkeypatch.setattr(watching, "perf_counter", lambda: now[0])
    monkeypatch.setattr(watching, "read", slow)
    for _ in range(4000):
        now[0] += 0.05
        monitor.step()
    assert monitor.seconds == pytest.approx(len(monitor.readings) / len(monitor.families))
    assert monitor.share == pytest.approx(budget, rel=0.05)


def test_at_the_critical_decay_the_exponent_vanishes():
    bend = torch.tensor([-3.0, -1.0, 0.5], dtype=torch.float64)
    critical = attraction(bend, 0.05, 0.0).critical_decay
    assert attraction(bend, 0.05, critical).exponent.value == pytest.approx(0, abs=1e-9)
    assert attraction(bend, 0.05, 1.1 * critical).attracts and not attraction(bend, 0.05, 0.9 * critical).attracts


@pytest.mark.parametrize("kind", ["Adam", "AdamW", "RMSprop"])
def test_accumulation_clipping_and_scaling_leave_the_force_and_the_run_alone(kind):
    """Four small batches a step, a gradient scaler, clipping: looked at or not, the same bits."""
    ends, forces = [], []
    for watched in (False, True):
        model, x = network("tanh")
        model, x = model.float(), x.float()
        optimizer = getattr(torch.optim, kind)(model.parameters(), lr=0.01)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        monitor = SymmetryMonitor(model, x, every=2, probe=Probe(x, lambda out: out.square().sum(1)))
        if watched:
            monitor.attach(optimizer)
        for _ in range(4):
            optimizer.zero_grad()
            for row in x:
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    out = model(row[None])
                scaler.scale(out.float().square().mean() / 4).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
            scaler.step(optimizer)
            scaler.update()
        kept = [p.grad for p in model.parameters()]
        assert all(torch.equal(a, b) for a, b in zip(grads.values(), kept, strict=True)) and model.training
        forces = [r.force for r in monitor.last()]
        if watched:
            again = [read(f, params_of(model), grads, 0)[0].force for f in monitor.families]
            assert forces == pytest.approx(again) and monitor.steps == 4
        ends.append(flatten(params_of(model)).detach())
    assert torch.equal(*ends)


def test_what_it_sees_is_written(tmp_path):
    class Writer:
        def __init__(self):
            self.seen = []

        def add_scalar(self, tag, scalar_value, global_step=None):
            self.seen.append((tag, scalar_value, global_step))

    model, x = network("tanh")
    writer, path = Writer(), tmp_path / "readings.csv"
    monitor = SymmetryMonitor(model, x, every=1, csv_file=path, writer=writer)
    monitor.step()
    SymmetryMonitor(model, x, every=1, csv_file=path).step()
    lines = list(csv.DictReader(path.open()))
    assert len(lines) == 4 and [line["kind"] for line in lines] == ["permutation", "sign flip"] * 2
    assert float(lines[0]["distance"]) == monitor.readings[0].distance
    assert ("0.weight/permutation/distance", monitor.readings[0].distance, 1) in writer.seen
    assert "sign flip" in monitor._repr_html_()


def test_a_line_that_a_crash_left_unfinished_is_dropped(tmp_path):
    model, x = network("tanh")
    path = tmp_path / "readings.csv"
    monitor = SymmetryMonitor(model, x, every=1, csv_file=path)
    monitor.step()
    text = path.read_text()
    for cut in (20, len(text) - 5):  # within the last line, within the header
        path.write_text(text[:-cut])
        resumed = SymmetryMonitor(model, x, every=1, csv_file=path)
        resumed.steps = monitor.steps
        resumed.step()
        steps = [line["step"] for line in csv.DictReader(path.open())]
        assert steps == (["1", "2", "2"] if cut == 20 else ["2", "2"])


def test_the_folder_of_the_file_is_there_before_training_starts(tmp_path):
    model, x = network("tanh")
    SymmetryMonitor(model, x, csv_file=tmp_path / "runs" / "one" / "mirrors.csv").look()
    assert (tmp_path / "runs" / "one" / "mirrors.csv").read_text().startswith("step,")


def test_the_table_says_when_it_looked():
    model, x = network("tanh")
    monitor = SymmetryMonitor(model, x, every=2)
    assert "Mirrors at step 0, not looked at yet" in str(monitor)
    for _ in range(3):
        monitor.step()
    assert "Mirrors at step 2 of 3" in str(monitor)


def test_wrappers_are_looked_through():
    model, x = network("tanh")
    report = discover(model, x)
    assert SymmetryMonitor(nn.DataParallel(model), report=report).model is model
    compiled: Any = torch.compile(model)
    assert SymmetryMonitor(compiled, report=report).model is model


def test_bad_requests_are_refused():
    model, x = network("tanh")
    with pytest.raises(SymtheoryError, match="example inputs or a report, got neither"):
        SymmetryMonitor(model)
    with pytest.raises(SymtheoryError, match="every >= 1 and a budget"):
        SymmetryMonitor(model, x, every=0)
    with pytest.raises(SymtheoryError, match="a report of this model"):
        SymmetryMonitor(network("relu")[0], report=discover(model, x))
    with pytest.raises(SymtheoryError, match="families that imply mirrors, got none"):
        SymmetryMonitor(nn.Linear(2, 2), torch.ones(1, 2))
    monitor = SymmetryMonitor(model, x, probe=Probe(x, lambda out: out.sum()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(SymtheoryError, match="one loss a sample"):
        monitor.look(optimizer)
    with monitor.attach(optimizer), pytest.raises(SymtheoryError, match="not attached"):
        monitor.attach(optimizer)


def test_lightning_attaches_and_detaches():
    lightning = pytest.importorskip("lightning.pytorch")
    model, x = network("tanh")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = model

        def training_step(self, batch, index):
            return (self.net(batch[0]) ** 2).mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    monitor = SymmetryMonitor(model, x, every=2)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(draw(16, 3)), batch_size=4)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = lightning.Trainer(max_epochs=1, callbacks=[lightning_callback(monitor)], **quiet)
    trainer.fit(Module(), data)
    assert monitor.steps == 4 and len(monitor.readings) == 2 * len(monitor.families)


def test_transformers_calls_at_every_step(tmp_path):
    transformers = pytest.importorskip("transformers")

    class Regression(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))

        def forward(self, x, labels=None):
            out = self.net(x)
            return {"loss": ((out - labels) ** 2).mean(), "logits": out}

    model = Regression()
    monitor = SymmetryMonitor(model.net, torch.ones(1, 3), every=2)
    data = [{"x": torch.randn(3), "labels": torch.randn(1)} for _ in range(16)]
    options = transformers.TrainingArguments(
        output_dir=str(tmp_path), num_train_epochs=1, per_device_train_batch_size=4, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = transformers.Trainer(model, options, train_dataset=data, callbacks=[transformers_callback(monitor)])
    trainer.train()
    assert monitor.steps == 4 and all(math.isfinite(r.force) for r in monitor.readings)


def test_a_framework_that_is_missing_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    model, x = network("tanh")
    with pytest.raises(SymtheoryError, match="the package transformers, got none"):
        transformers_callback(SymmetryMonitor(model, x))
