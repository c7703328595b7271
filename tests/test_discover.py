"""Discovery against a bank of networks with known symmetries, and on the modules themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from io import StringIO
from itertools import islice
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.func import functional_call

from symtheory.discover import Family, SymmetryReport, discover
from symtheory.discover.tracing import positional, trace
from symtheory.engine.coordinates import coordinates, expand
from symtheory.engine.operators import normal_basis
from symtheory.errors import SymtheoryError
from symtheory.spec import flatten, from_basis, params_of, permutation, rotation, shapes_of, size_of, unflatten
from tests.architectures import BANK as FIRST
from tests.architectures import GPT
from tests.more_architectures import MORE, Between

BANK = FIRST | MORE
EXACT = 1e-9
#: Cases in which a gap is the right answer.
GAPS = {"circulant", "switch"}


@cache
def report(name: str) -> SymmetryReport:
    return discover(BANK[name].model(), BANK[name].inputs())


def line(f: Family) -> str:
    tensors = " ".join(f"{n}[{','.join(map(str, a))}]" for n, a in f.axes.items())
    return f"{f.kind} | {f.group} | {tensors}"


def generic(model: nn.Module, seed: int = 4) -> dict[str, Tensor]:
    """Random float64 values for all parameters and statistics, other buffers as they are."""
    g = torch.Generator().manual_seed(seed)
    tensors = {
        n: torch.randn(p.shape, generator=g, dtype=torch.complex128 if p.is_complex() else torch.float64) / 2
        for n, p in model.named_parameters()
    }
    for n, b in model.named_buffers():
        value = b.double() if b.is_floating_point() else b
        tensors[n] = torch.rand(b.shape, generator=g, dtype=torch.float64) + 0.5 if "running" in n else value
    return tensors


def outputs(model: nn.Module, tensors: dict[str, Tensor], inputs: tuple[Tensor, ...]) -> Tensor:
    """What the module itself computes, all outputs in one vector."""
    inputs = tuple(x.double() if x.is_floating_point() else x for x in inputs)
    with torch.no_grad():
        result = functional_call(model.eval(), tensors, inputs, tie_weights=True)
    return torch.cat([r.reshape(-1) for r in (result if isinstance(result, tuple) else (result,))])


def change(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("name", BANK)
def test_the_families_of_a_network_are_exactly_the_known_ones(name: str) -> None:
    found = [line(f) for f in report(name).families]
    assert set(found) == BANK[name].truth()
    assert len(found) == len(set(found))
    assert report(name).rejected == ()
    assert bool(report(name).gaps) == (name in GAPS)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda h: torch.logcumsumexp(h, -1), "no rule for aten.logcumsumexp"),
        (lambda h: torch.einsum("bb,bi->bi", h, h), "an einsum with a diagonal"),
        (lambda h: torch.cdist(h, h, p=1.0), "cdist with p = 1"),
        (lambda h: torch.slice_scatter(h, torch.relu(h[:, ::2]), 1, 0, 4, 2), "written with gaps"),
    ],
)
def test_an_operation_that_no_symmetry_passes_is_a_gap(function: Callable[[Tensor], Tensor], why: str) -> None:
    found = discover(Between(function), torch.randn(4, 3))
    assert found.families == ()
    assert [why in gap.why for gap in found.gaps] == [True]


@pytest.mark.parametrize("name", BANK)
def test_a_random_element_of_every_family_leaves_the_module_as_it_is(name: str) -> None:
    model, inputs = BANK[name].model(), BANK[name].inputs()
    tensors = generic(model)
    before = outputs(model, tensors, inputs)
    g = torch.Generator().manual_seed(2)
    for f in report(name).families:
        assert f.residual <= EXACT
        moved = f.act(tensors, f.element(g))
        assert all(not torch.equal(moved[n], tensors[n]) for n in f.axes)
        assert change(outputs(model, moved, inputs), before) <= EXACT


@pytest.mark.parametrize("name", BANK)
def test_an_element_that_skips_a_tensor_or_takes_the_wrong_axis_changes_the_outputs(name: str) -> None:
    model, inputs = BANK[name].model(), BANK[name].inputs()
    tensors = generic(model)
    before = outputs(model, tensors, inputs)
    g = torch.Generator().manual_seed(2)
    for f in report(name).families:
        moved = f.act(tensors, f.element(g))
        widest = max(f.axes, key=lambda n: tensors[n].dim())
        if len(f.axes) > 1:
            wrong = {**moved, widest: tensors[widest]}
        else:  # scale invariance: entries have no scales of their own
            wrong = {**tensors, widest: tensors[widest] * torch.rand(tensors[widest].shape, generator=g)}
        assert not change(outputs(model, wrong, inputs), before) <= 1e-6  # nan where a division by zero comes in


@pytest.mark.parametrize(
    "name", ["mlp_relu", "lstm", "gqa", "grouped_conv", "soft_moe", "siamese", "plain_norm", "vgg"]
)
def test_the_mirrors_of_a_family_are_reflections_that_leave_the_outputs(name: str) -> None:
    model, inputs = BANK[name].model(), BANK[name].inputs()
    tensors = generic(model)
    before = outputs(model, tensors, inputs)
    for f in report(name).families:
        assert bool(f.no_mirror) == (f.number == 0)
        for mirror in islice(f.mirrors(), 3):
            image = mirror.reflect(tensors)
            assert change(flatten(mirror.reflect(image)), flatten(tensors)) < 1e-14
            if not f.buffers:  # statistics are no parameters; a mirror has none
                assert change(outputs(model, image, inputs), before) <= EXACT


@pytest.mark.parametrize("name", ["mlp_tanh", "shared", "lstm", "autoencoder", "gqa", "plain_norm", "hadamard"])
def test_the_rank_of_a_mirror_is_that_of_its_dense_projection(name: str) -> None:
    for f in report(name).families:
        for mirror in islice(f.mirrors(), 1):
            dense = mirror.to_dense()
            assert torch.allclose(dense @ dense, dense, atol=1e-13)
            assert torch.allclose(dense, dense.T, atol=1e-13)
            assert mirror.rank == f.rank == int(torch.linalg.matrix_rank(dense))


def test_the_mirrors_of_an_mlp_are_the_ready_ones() -> None:
    model = BANK["mlp_tanh"].model()
    params = {n: p.double() for n, p in params_of(model).items()}
    swap, _, flip, _ = report("mlp_tanh").families
    axes = {"0.weight": 0, "0.bias": 0, "2.weight": 1}
    ready = permutation(shapes_of(params), axes, 1, 3)
    assert torch.equal(flatten(swap.mirror(1, 3).reflect(params)), flatten(ready.reflect(params)))
    assert swap.mirror(1, 3).rank == ready.rank == swap.rank
    one = {n: p.movedim(axes[n], 0)[2:3] for n, p in params.items() if n in axes}
    assert flip.mirror(2).distance(params) == pytest.approx(float(flatten(one).norm()), rel=1e-12)
    deep = report("mlp_identity").families[0]
    normal = torch.nn.functional.normalize(torch.arange(1.0, 6.0, dtype=torch.float64), dim=0)
    mirror = deep.mirror(normals=normal)
    assert mirror.distance({**params, "1.weight": params["2.weight"]}) > 0
    assert torch.allclose(
        mirror.project(params)["0.weight"], rotation(shapes_of(params), "0.weight", normal).project(params)["0.weight"]
    )


def test_mirrors_are_lazy() -> None:
    model = nn.Sequential(nn.Linear(8, 5000), nn.Tanh(), nn.Linear(5000, 8))
    found = discover(model, torch.ones(1, 8))
    assert [f.number for f in found.families] == [5000 * 4999 // 2, 5000]
    assert len(list(islice(found.mirrors(), 3))) == 3


def test_a_loss_on_top_frees_what_it_does_not_see() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 5))
    found = discover(model, torch.randn(2, 3), loss=lambda y: y.square().sum())
    assert [(f.kind, f.group, f.names) for f in found.families] == [
        ("rotation", "O(5)", ("2.weight", "2.bias")),
        ("permutation", "S(4)", ("0.weight", "0.bias", "2.weight")),
    ]


DENSE = torch.randn(5, 4, generator=torch.Generator().manual_seed(3))
LABELS = torch.tensor([0, 3, 1, 1, 2])
LOSSES = {
    "cross-entropy": lambda o: nn.functional.cross_entropy(o, LABELS),
    "smoothed labels": lambda o: nn.functional.cross_entropy(o, LABELS, label_smoothing=0.1),
    "soft labels": lambda o: nn.functional.cross_entropy(o, DENSE.softmax(-1)),
    "negative log-likelihood": lambda o: nn.functional.nll_loss(o.log_softmax(-1), LABELS),
    "binary": lambda o: nn.functional.binary_cross_entropy_with_logits(o, DENSE.sigmoid()),
    "square": lambda o: nn.functional.mse_loss(o, DENSE),
    "absolute": lambda o: nn.functional.l1_loss(o, DENSE),
    "Huber's": lambda o: nn.functional.smooth_l1_loss(o, DENSE),
    "divergence": lambda o: nn.functional.kl_div(o.log_softmax(-1), DENSE.softmax(-1), reduction="batchmean"),
    "hinge": lambda o: nn.functional.multi_margin_loss(o, LABELS),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_pytorch_with_a_target_holds_the_outputs_and_is_no_gap(name: str) -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    found = discover(model, torch.randn(5, 6), loss=LOSSES[name])
    assert {f.group for f in found.families} == {"S(8)", "(R>0)^8"} and not found.gaps


class Statistics(nn.Module):
    """Running statistics that are no buffers: PyTorch refuses to trace their change once more."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.var = torch.zeros(8), torch.ones(8)

    def forward(self, h: Tensor) -> Tensor:
        return nn.functional.batch_norm(h, self.mean, self.var, training=True)


def below_a_loss(*middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), *middle, nn.ReLU(), nn.Linear(8, 4))


def pooled(layer: nn.Module) -> nn.Module:
    side = (6, 1) if isinstance(layer, nn.AdaptiveMaxPool1d) else (6, 1, 1)
    conv = nn.Conv1d(6, 8, 1) if len(side) == 2 else nn.Conv2d(6, 8, 1)
    return nn.Sequential(nn.Unflatten(1, side), conv, layer, nn.ReLU(), nn.Flatten(), nn.Linear(8, 4))


@pytest.mark.parametrize(("model", "groups", "gaps"), [
    (below_a_loss(nn.Dropout()), "S(8) (R>0)^8", 0),
    (below_a_loss(nn.BatchNorm1d(8)), "S(8) (R>0)^8 (R*)^8", 0),
    (below_a_loss(nn.BatchNorm1d(8, track_running_stats=False)), "S(8) (R>0)^8 Z2^8", 1),
    (below_a_loss(Statistics()), "S(8)", 1),
    (pooled(nn.AdaptiveMaxPool1d(1)), "S(8) (R>0)^8", 0),
    (pooled(nn.AdaptiveMaxPool2d(1)), "S(8) (R>0)^8", 0),
], ids=["dropout", "batch norm", "batch statistics", "statistics of its own", "pooling", "in the plane"])  # fmt: skip
def test_a_loss_costs_no_family_of_what_is_below_it(model: nn.Module, groups: str, gaps: int) -> None:
    """Where PyTorch would change other operations on the way, the loss remains a gap instead."""
    found = discover(model, torch.randn(5, 6), loss=LOSSES["cross-entropy"])
    assert {f.group for f in found.families} == set(groups.split()) and len(found.gaps) == gaps


@pytest.mark.parametrize(("distance", "groups"), [
    (nn.functional.mse_loss, {"O(4)"}),
    (nn.functional.l1_loss, {"S(4)", "Z2^4"}),
    (lambda u, v: torch.linalg.norm(u - v), {"O(4)"}),
    (lambda u, v: nn.functional.mse_loss(u, v.relu()), {"S(4)"}),
])  # fmt: skip
def test_a_distance_of_two_outputs_leaves_them_what_it_does_not_see(distance: Any, groups: set[str]) -> None:
    class Siamese(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(6, 8), nn.Softplus(), nn.Linear(8, 4))

        def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return self.net(a), self.net(b)

    found = discover(Siamese(), (torch.randn(5, 6), torch.randn(5, 6)), loss=lambda o: distance(*o))
    assert {f.group for f in found.families} == {"S(8)", *groups} and not found.gaps


def test_an_epsilon_breaks_the_scale_invariance_before_a_normalisation() -> None:
    kinds = {}
    for eps in (0.0, 1e-5):
        model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4, eps=eps), nn.GELU(), nn.Linear(4, 2))
        kinds[eps] = {f.kind for f in discover(model, torch.randn(2, 3)).families}
    assert kinds[0.0] - kinds[1e-5] == {"scale invariance"}


def test_frozen_parameters_block_the_families_that_must_change_them() -> None:
    found = report("frozen")
    assert {(b.family.group, b.frozen) for b in found.blocked} == {
        ("S(5)", ("b.weight",)),
        ("Z2^5", ("b.weight",)),
        ("S(4)", ("b.weight", "b.bias")),
        ("Z2^4", ("b.weight", "b.bias")),
    }
    assert "S(5) (permutation) of a.weight is blocked by frozen b.weight" in found.notes()


class Median(nn.Module):
    """An operation without a rule, beside one that has them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x).median(dim=1).values[:, None] + self.c(torch.tanh(self.b(x)))


def test_an_operation_without_a_rule_is_a_gap_and_the_rest_is_found() -> None:
    found = discover(Median(), torch.randn(2, 3))
    assert [(f.group, f.names) for f in found.families] == [
        ("S(5)", ("b.weight", "b.bias", "c.weight")),
        ("Z2^5", ("b.weight", "b.bias", "c.weight")),
    ]
    (gap,) = found.gaps
    assert "no rule for aten.median" in gap.why


class Around(nn.Module):
    """A submodule whose control flow depends on the data, beside and after ordinary layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.branch, self.b, self.c = nn.Linear(3, 2), Branching(), nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(self.a(x)) + self.c(torch.tanh(self.b(x)))


def test_a_submodule_that_does_not_trace_is_a_gap_and_the_rest_is_found() -> None:
    model = Around()
    found = discover(model, torch.randn(2, 3))
    assert [(f.group, f.names) for f in found.families] == [
        ("S(5)", ("b.weight", "b.bias", "c.weight")),
        ("Z2^5", ("b.weight", "b.bias", "c.weight")),
    ]
    (gap,) = found.gaps
    assert gap.where == "submodule 'branch'"
    assert gap.tensors == ("branch.a.weight", "branch.a.bias")
    assert model(torch.ones(1, 3)).shape == (1, 2)
    assert "forward" not in vars(model.branch)


class Idle(nn.Module):
    """Computes something that nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.c = nn.Linear(3, 4), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        torch.softmax(self.gate(x), dim=-1)
        return self.c(x)


def test_parameters_whose_result_is_not_read_are_unused_and_have_no_family() -> None:
    found = discover(Idle(), torch.randn(2, 3))
    assert found.unused == ("gate.weight", "gate.bias")
    assert found.families == ()


class InPlace(nn.Module):
    """Writes into a view of its own activations."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.n, self.b = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)
        self.m = nn.LayerNorm(4)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu_(self.n(self.a(x)))
        h.view(-1).mul_(0.5)
        return self.b(torch.tanh(self.m(h)))


def test_writing_in_place_changes_nothing() -> None:
    found = discover(InPlace(), torch.randn(5, 3))
    assert {line(f) for f in found.families} == {
        "permutation | S(4) | a.weight[0] a.bias[0] n.weight[0] n.bias[0] b.weight[1] m.weight[0] m.bias[0] "
        "n.running_mean[0] n.running_var[0]",
        "rescaling | (R*)^4 | a.weight[0] a.bias[0] n.weight[0] n.running_mean[0]",
        "sign flip | Z2^4 | b.weight[1] m.weight[0] m.bias[0]",
    }
    assert found.gaps == ()


def test_the_model_is_left_as_it_was() -> None:
    model = BANK["vgg"].model().train()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    discover(model, BANK["vgg"].inputs())
    assert all(m.training for m in model.modules())
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_a_report_is_the_same_each_time_and_survives_json() -> None:
    case = BANK["gqa"]
    first, second = (discover(case.model(), case.inputs()) for _ in range(2))
    one, two = ({k: v for k, v in r.to_dict().items() if k != "seconds"} for r in (first, second))
    assert one == two
    plain = json.loads(first.to_json())
    assert [f["group"] for f in plain["families"]] == [f.group for f in first.families]
    assert plain["families"][0]["mirrors"] is None


def test_a_report_shows_itself() -> None:
    found = report("mlp_relu")
    console = Console(width=200, file=StringIO())
    console.print(found)
    text = console.file.getvalue()
    assert "S(5)" in text
    assert "positive rescaling implies no mirror" in text
    page = replace(found, unused=("<b>",))._repr_html_()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert repr(found) == "SymmetryReport(4 families, 54 parameters, 0 gaps)"
    assert found.of("4.bias") == ()
    assert {f.where for f in found.of("0.bias")} == {"0.weight"}


def test_a_rejected_candidate_is_not_found() -> None:
    case = BANK["mlp_tanh"]
    wrong = discover(case.model(), case.inputs(), dtype=torch.float32)  # rounding alone is above the tolerance
    assert {f.kind for f in wrong.families} <= {"sign flip"}
    assert {f.kind for f in wrong.rejected} == {"permutation"}
    assert all("not confirmed" in note for note in wrong.notes())


class Meta(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(2, 2, device="meta")

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x)


class Silent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> None:
        self.a(x)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) if x.sum() > 0 else -self.a(x)


@pytest.mark.parametrize(
    ("model", "x", "match"),
    [
        (Meta(), torch.ones(1, 2), r"expected parameters with values, got 'a.weight' on the meta device"),
        (nn.Linear(2, 2), torch.ones(1, 3), r"expected example inputs on which the model runs, got \[\(1, 3\)\]"),
        (Branching(), torch.ones(1, 2), "expected a model that torch.export can trace, but for some submodules"),
        (
            nn.Linear(2, 2),
            torch.ones(1, 2).long(),
            r"expected example inputs on which the model runs, got \[\(1, 2\)\]",
        ),
        (
            nn.Linear(2, 2),
            torch.ones(0, 2),
            r"expected outputs with numbers in them, got .* shapes \[\(0, 2\)\]",
        ),
        (Silent(), torch.ones(1, 2), "expected outputs with numbers in them, got a NoneType"),
        (nn.Linear(2, 2), torch.full((1, 2), torch.nan), "expected outputs that are numbers, got NaN"),
        (nn.Linear(2, 2), "x", "expected a tensor, or a list or tuple of positional arguments, got a str"),
        (nn.Linear(2, 2), {"x": torch.ones(1, 2)}, "expected a tensor, or a list or tuple .* got a dict"),
        (nn.Linear(2, 2), None, "expected a tensor, or a list or tuple .* got a NoneType"),
        (nn.Linear, torch.ones(1, 2), "expected an nn.Module that runs Python code, got the class Linear"),
        (torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), torch.ones(1, 2), "got a TopLevelTracedModule"),
        (nn.Linear(2, 2).forward, torch.ones(1, 2), "got a method; pass the model itself"),
    ],
)
def test_bad_input_is_told_in_one_error(model: Any, x: Any, match: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SymtheoryError, match=match):
        trace(model, positional(model, x))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["mlp_tanh", "lstm", "expert_list", "gpt"])
def test_mirrors_of_a_report_have_orthonormal_coordinates(name: str) -> None:
    """$O O^T = P$ and $O^T O = I$, also where one tensor is permuted along two axes, and for whole tensors."""
    for family in report(name).families:
        if family.kind not in {"permutation", "sign flip", "rescaling"}:
            continue
        mirror = family.mirror(0, 1)
        flat = torch.randn(size_of(mirror.shapes), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        point = unflatten(flat, mirror.shapes)
        z = coordinates(mirror, point)
        assert z.shape == (mirror.rank,)
        torch.testing.assert_close(flatten(expand(mirror, z, point)), flatten(mirror.project(point)))
        torch.testing.assert_close(coordinates(mirror, expand(mirror, z, point)), z)


def test_a_mirror_of_a_rotation_says_how_to_get_coordinates() -> None:
    mirror = next(f for f in report("gpt").families if f.kind == "double rotation").mirror()
    point = {name: torch.zeros(shape) for name, shape in mirror.shapes.items()}
    with pytest.raises(SymtheoryError, match=r"got a rotated one; take spec.from_basis\(engine.operators.normal_basis"):
        coordinates(mirror, point)
    basis = from_basis(normal_basis(mirror), mirror.shapes)
    assert coordinates(basis, point).shape == (mirror.rank,)


def test_a_layer_without_units_has_no_symmetry() -> None:
    empty = nn.Sequential(nn.Linear(2, 0), nn.ReLU(), nn.Linear(0, 2))
    assert discover(empty, torch.ones(1, 2)).families == ()


def test_a_family_without_reflections_has_no_mirror() -> None:
    positive = report("mlp_relu").families[2]
    assert list(positive.mirrors()) == []
    with pytest.raises(SymtheoryError, match="its only element of order two is the identity"):
        positive.mirror()
    with pytest.raises(SymtheoryError, match="units below 5 and a copy below 1"):
        report("mlp_relu").families[0].mirror(0, 5)
    with pytest.raises(SymtheoryError, match="normals that sum to zero"):
        report("plain_norm").families[0].mirror(normals=torch.eye(5, 1, dtype=torch.float64))
    with pytest.raises(SymtheoryError, match=r"normals of shape \(5, r\) with orthonormal columns"):
        report("mlp_identity").families[0].mirror(normals=torch.ones(5, dtype=torch.float64))


def test_tied_embeddings_are_one_tensor() -> None:
    found = discover(GPT(layers=2), torch.randint(0, 11, (1, 4), generator=torch.Generator().manual_seed(0)))
    (stream,) = [f for f in found.families if f.kind == "permutation" and "wte.weight" in f.names]
    assert "head.weight" not in stream.names
    assert stream.group == "S(6)"
    assert len(found.families) == 6 * 2 + 2
