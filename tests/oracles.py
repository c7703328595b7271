"""Naive dense twins of the library's fast code, and what a random instance has to obey. Not for the library."""

import torch

from symtheory.spec import Verdict, flatten, shapes_of, unflatten
from symtheory.spec import congruences as cg
from symtheory.spec.gsets import GSet


def dense_projection(basis):
    """P = O O^T as a matrix."""
    return basis @ basis.T


def dense_reflection(projection):
    """R = I - 2 P as a matrix."""
    return torch.eye(len(projection), dtype=projection.dtype) - 2 * projection


def dense_apply(matrix, params):
    """A matrix applied to flat parameters."""
    return unflatten(matrix @ flatten(params), shapes_of(params))


def finite_gradient(loss, params, batch, step=1e-6):
    """Central differences, one coordinate at a time."""
    flat, shapes, out = flatten(params), shapes_of(params), []
    for e in torch.eye(len(flat), dtype=flat.dtype):
        plus, minus = (loss(unflatten(flat + s * step * e, shapes), batch) for s in (1, -1))
        out.append((plus - minus) / (2 * step))
    return torch.stack(out)


def obeys(verdict: Verdict) -> bool:
    """Whether a random instance obeys a law: the residual is within tolerance and the control is not.

    A verdict asks for a control *far* beyond tolerance. One random instance in thousands has a control that is weak by
    accident, so for laws on many instances it is enough that the control is seen; fixed seeds ask for the distance.
    """
    return verdict.residual <= verdict.tolerance and (verdict.control is None or verdict.control > verdict.tolerance)


def closed_under_joins(x: GSet) -> set[cg.Labels]:
    """Joins of the congruences that one pair of points generates, until there are no new ones."""
    atoms, found, todo = cg.principal(x), {cg.discrete(x)}, [cg.discrete(x)]
    while todo:
        labels = todo.pop()
        new = {cg.join(x, labels, atom) for atom in atoms} - found
        found |= new
        todo.extend(new)
    return found
