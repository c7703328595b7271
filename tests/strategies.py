"""Hypothesis strategies, all in one place: seeds, sizes, instances."""

from hypothesis import strategies as st

from symtheory.theorems.instances import KINDS, NETWORKS, Instance, abstract

#: Every random object of the library is a function of a seed, so a failing example is one integer.
seeds = st.integers(0, 2**32 - 1)

#: Tensors u (m, d), w (d, k), b (d,) of small random sizes, as the instances name them.
shapes = st.builds(
    lambda d, m, k: {"u": (m, d), "w": (d, k), "b": (d,)}, st.integers(2, 4), st.integers(1, 4), st.integers(1, 4)
)


def instances(kinds=KINDS) -> st.SearchStrategy[Instance]:
    """Symmetrised random losses of random sizes, and small networks."""
    random = st.builds(abstract, st.sampled_from(kinds), seeds, shapes, st.integers(1, 3))
    return (
        random
        if kinds != KINDS
        else random | st.sampled_from(sorted(NETWORKS)).flatmap(lambda name: st.builds(NETWORKS[name], seeds))
    )
