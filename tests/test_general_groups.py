"""Laws of paper B's Theorem 5 on random groups, counted probabilities, fitted exponents, bounds as functions.

Proofs, controls and counterexamples run in test_theorems.py, for the whole registry.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi

from symtheory.engine.statistics import clopper_pearson, fitted_exponent
from symtheory.errors import SymtheoryError
from symtheory.spec import group_families as families
from symtheory.spec import representations as reps
from symtheory.spec.intertwiners import isotypic_blocks
from symtheory.theorems.general_groups import (
    ABELIAN,
    MINIMAL,
    PROBABILITY,
    REMOVAL,
    minimal_ranks,
    printed_removal_bias,
    removal_bias,
    removal_probability,
    removal_strength,
    separating_blocks,
    separating_ranks,
)
from symtheory.theorems.general_groups.abelian import ORDERS, characters, primorial, separation_error
from symtheory.theorems.general_groups.minimal import minimum_exponent, monotone_error, strengths
from symtheory.theorems.general_groups.probability import of_characters, success
from symtheory.theorems.general_groups.removal import rank_exponent
from symtheory.theorems.general_groups.settings import FORMS, GROUPS, broken_space, represent, setting
from symtheory.theorems.instances import generator_of, normal
from tests.oracles import obeys
from tests.strategies import seeds

kinds, forms = st.sampled_from(sorted(GROUPS)), st.sampled_from(FORMS)


@pytest.mark.claim("B.T5.1", role="verify")
@given(kinds, forms, seeds)
def test_the_slope_off_a_symmetric_point(kind, form, seed):
    assert obeys(REMOVAL.check(setting(kind, form, seed)))


@pytest.mark.claim("B.T5.1", role="verify")
@pytest.mark.parametrize(("kind", "form"), [("symmetric", "natural"), ("quaternion", "regular"), ("cyclic", "regular")])
def test_the_strength_is_a_chi_variable(kind, form):
    """Its distribution function, counted at three quantiles, for the whole group."""
    s = setting(kind, form, 1, unbroken=-1)
    rank, pull = s.rep.broken_rank(s.unbroken), normal(generator_of(3), s.rep.dim, 4000)
    found = (broken_space(s.rep, s.unbroken) @ pull).norm(dim=0)
    for level in (0.1, 0.5, 0.9):
        hits = int((found <= float(chi.ppf(level, rank))).sum())
        assert level in clopper_pearson(hits, 4000)
        assert level not in clopper_pearson(int((found <= float(chi.ppf(level, rank + 2))).sum()), 4000)


@pytest.mark.claim("B.T5.1", role="verify")
def test_in_a_skew_basis_the_strength_is_at_least_as_large():
    for seed in range(5):
        s = setting("symmetric", "random", seed, unbroken=-1)
        q, rank = broken_space(s.rep, s.unbroken), s.rep.broken_rank(s.unbroken)
        singular = torch.linalg.svdvals(q)[:rank]
        assert float(singular.min()) >= 1 - 1e-12
        found = (q @ (s.point[:, None] - normal(generator_of(seed), s.rep.dim, 4000))).norm(dim=0)
        for level in (0.1, 0.5):
            assert clopper_pearson(int((found <= float(chi.ppf(level, rank))).sum()), 4000).low <= level


@pytest.mark.claim("B.T5.1", role="verify")
def test_the_strength_grows_as_the_root_of_the_rank():
    assert rank_exponent() == pytest.approx(0.5, abs=0.02)
    regular = {n: reps.regular(families.cyclic(n)) for n in (8, 16, 32, 64)}
    medians = []
    for n, rep in regular.items():
        whole = frozenset(range(n))
        medians.append(float(strengths(rep, [whole], normal(generator_of(n), n, 2000)).median()))
    assert fitted_exponent([n - 1 for n in regular], medians).value == pytest.approx(0.5, abs=0.03)


@pytest.mark.claim("B.T5.2", role="verify")
@given(kinds, st.sampled_from(["natural", "regular"]), seeds)
@settings(deadline=None)
def test_the_weakest_break_is_at_a_minimal_subgroup(kind, form, seed):
    assert obeys(MINIMAL.check(setting(kind, form, seed)))


@pytest.mark.claim("B.T5.2", role="verify")
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_strength_falls_with_the_root_of_the_number_of_pieces(rank):
    assert minimum_exponent(rank) == pytest.approx(-1 / rank, abs=0.06)


@pytest.mark.claim("B.T5.2", role="verify")
@pytest.mark.parametrize("n", [3, 4, 5])
def test_exchanges_are_the_weak_pieces_of_a_symmetric_group(n):
    rep = reps.natural(families.symmetric(n))
    ranks = minimal_ranks(rep)
    assert ranks.count(1) == n * (n - 1) // 2
    epsilon = removal_strength(0.8, 0.3, 1.0, ranks)
    nontrivial = [v for v in rep.group.subgroups if len(v) > 1]
    found = 0.6 * strengths(rep, nontrivial, normal(generator_of(n), n, 4000)).min(dim=0).values
    assert clopper_pearson(int((found > epsilon).sum()), 4000).high >= 0.8


@pytest.mark.claim("B.T5.3", role="verify")
@given(st.sampled_from(ORDERS), seeds, st.integers(1, 4))
@settings(deadline=None)
def test_a_few_characters_decide(orders, seed, count):
    assert obeys(ABELIAN.check(characters(orders, seed, count)))


@pytest.mark.claim("B.T5.3", role="verify")
@given(st.sampled_from([(6,), (2, 2), (2, 6), (3, 3)]), seeds)
@settings(deadline=None)
def test_every_block_is_needed(orders, seed):
    """Leaving out any one of the blocks leaves some subgroup with nothing, unless another block covers for it."""
    c = characters(orders, seed)
    blocks = separating_blocks(c.rep)
    last = blocks[:-1]
    if last:
        assert separation_error(c, last) > 0.1


@pytest.mark.claim("B.T5.3", role="verify")
@given(st.sampled_from(ORDERS), seeds)
@settings(deadline=None)
def test_blocks_are_invariant_and_span_the_space(orders, seed):
    c = characters(orders, seed)
    blocks = isotypic_blocks(c.rep)
    assert sum(b.shape[1] for b in blocks) == c.rep.dim
    for b in blocks:
        projector = b @ b.T
        assert float((c.rep.matrices @ projector - projector @ c.rep.matrices).abs().max()) < 1e-10
        norms = [c.rep.broken_rank(v) for v in c.subgroups]
        assert min(norms) >= 1


@pytest.mark.claim("B.T5.3", role="verify")
def test_two_torsion_costs_the_number_of_generators():
    """C_2^n with n coordinate signs: all 2^n - 1 minimal subgroups are decided by n blocks of rank 1."""
    lows, counts = [], (1, 2, 3, 4, 5)
    for n in counts:
        group = families.abelian(*[2] * n)
        rep = reps.direct_sum(*(reps.character(group, [0.5 * (k == j) for k in range(n)]) for j in range(n)))
        assert len(group.minimal_subgroups) == 2**n - 1
        assert separating_ranks(rep) == [1] * n
        found = strengths(rep, list(group.minimal_subgroups), normal(generator_of(n), n, 20000)).min(dim=0).values
        lows.append(float(found.quantile(0.05)))
    assert fitted_exponent(counts, lows).value == pytest.approx(-1, abs=0.05)


@pytest.mark.claim("B.T5.3", role="counterexample", subject="one generator")
def test_primorial_planes_are_those_of_the_group():
    """The short cut against the group itself, for 3 * 5 * 7."""
    group = families.cyclic(105)
    g = group.generators[0]
    rep = reps.direct_sum(*(reps.character(group, [1 / p]) for p in (3, 5, 7)))
    assert rep.group.generators == (g,)
    x = normal(generator_of(5), 7, 3, 2)
    found = strengths(rep, list(group.minimal_subgroups), x.reshape(7, 6).T).min(dim=0).values
    assert torch.allclose(found, primorial(3, 7, 5), atol=1e-12)
    assert len(group.minimal_generators) == 1 and separating_ranks(rep) == [2, 2, 2]


@pytest.mark.claim("B.T5.4", role="verify")
@given(st.sampled_from([(2, 2), (2, 6), (3, 3)]), st.integers(0, 10**6), st.floats(0.3, 0.95))
@settings(deadline=None)
def test_the_promised_probability_is_reached(orders, seed, confidence):
    """The bound can be exact, so the interval has to be wide enough for thousands of examples."""
    d = of_characters(characters(orders, seed))
    bias = removal_bias(0.1, confidence, d.setting.gamma, d.ranks)
    assert removal_probability(0.1, d.setting.gamma, bias, d.ranks) == pytest.approx(confidence, abs=1e-9)
    found = success(d, bias, 0.1)
    assert clopper_pearson(found.hits, found.trials, 1 - 1e-9).high >= confidence


@pytest.mark.claim("B.T5.4", role="verify")
@pytest.mark.parametrize("orders", [(2, 2), (2, 6), (3, 3)])
def test_the_check_of_the_promised_probability(orders):
    assert obeys(PROBABILITY.check(of_characters(characters(orders, 3))))


def test_one_piece_is_exact():
    assert removal_probability(0.2, 0.1, 1.0, [3]) == pytest.approx(1 - chi.cdf(1.0, 3), rel=1e-12)
    assert removal_strength(0.5, 0.1, 1.0, [3]) == pytest.approx(0.2 * chi.ppf(0.5, 3), rel=1e-9)
    crude = 0.1 * 5 / ((2 * torch.pi) ** 0.5 * 0.3 * 0.05)
    assert removal_bias(0.1, 0.95, 0.3, [1] * 5) == pytest.approx(crude, rel=1e-3)
    assert printed_removal_bias(0.1, 0.95, 0.3, 5) == pytest.approx(2 * crude, rel=1e-12)


def test_oblique_projectors_do_not_nest():
    rep = represent(GROUPS["symmetric"](), "random", generator_of(0))
    assert monotone_error(rep, normal(generator_of(1), rep.dim, 200)) > 1e-3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: removal_probability(0.0, 1.0, 1.0, [1]), "epsilon > 0"),
        (lambda: removal_probability(1.0, 1.0, 1.0, [1, 0]), "ranks >= 1"),
        (lambda: removal_strength(1.0, 1.0, 1.0, [1]), "a confidence in"),
        (lambda: removal_bias(0.1, 0.5, -1.0, [1]), "gamma > 0"),
        (lambda: separating_blocks(reps.natural(families.symmetric(3))), "representation of an abelian group"),
        (lambda: separating_blocks(reps.character(families.cyclic(6), [1 / 3])), "a faithful representation"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(SymtheoryError, match=message):
        call()


def test_ranks_of_a_part_of_the_group_are_those_of_its_own_minimal_subgroups():
    rep = reps.natural(families.symmetric(3))
    for m in rep.group.minimal_subgroups:
        assert minimal_ranks(rep, m) == [rep.broken_rank(m)] == [1 if len(m) == 2 else 2]


def test_the_printed_bias_has_the_root_of_the_rank():
    """Eq. (83) with its numbers: 2 * 0.1 * 3 / (sqrt(2 pi r) * 0.05 * 0.1)."""
    assert printed_removal_bias(0.1, 0.9, 0.05, 3) == pytest.approx(47.8731, rel=1e-5)
    assert printed_removal_bias(0.1, 0.9, 0.05, 3, rank=4) == pytest.approx(47.8731 / 2, rel=1e-5)
