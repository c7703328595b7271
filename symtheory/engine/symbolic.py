r"""Symbolic twins: identities that sympy simplifies to zero, for undefined functions and for matrices of any size.

Matrices of any size are noncommutative symbols with rewriting rules ($O^TO \to I$, $O^Tw \to 0$ on the mirror), so a
step proved here holds in every dimension and for every rank. Functions are undefined ``sympy.Function`` objects, so a
step holds for every function of the stated smoothness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy
from sympy import Symbol

from symtheory.spec.verdict import Step

#: Pattern to replacement; sympy accepts plain integers on the right.
Rules = Mapping[Any, Any]


def matrices(*names: str) -> tuple[Any, ...]:
    """Noncommutative symbols standing for matrices of any conformable size.

    Args:
        *names: LaTeX names.

    Returns:
        One symbol per name.
    """
    return tuple(Symbol(name, commutative=False) for name in names)


def rewrite(expression: Any, rules: Rules) -> Any:
    """Expand and apply the rules until nothing changes.

    Args:
        expression: Polynomial in noncommutative symbols.
        rules: Product to replacement, e.g. ``{Ot * O: 1}``.

    Returns:
        The normal form.

    >>> O, Ot = matrices("O", "O^T")
    >>> rewrite(Ot * (1 - O * Ot), {Ot * O: sympy.Integer(1)})
    0
    """
    current = sympy.expand(expression)
    while True:
        following = current
        for pattern, replacement in rules.items():
            following = sympy.expand(following.subs(pattern, replacement))
        if following == current:
            return current
        current = following


def identity(name: str, lhs: Any, rhs: Any = 0, rules: Rules | None = None) -> Step:
    """A step: two sides whose difference is simplified, by the rules for matrices or by sympy for functions.

    Args:
        name: What the step shows.
        lhs: Left side.
        rhs: Right side.
        rules: Rewriting rules; ``None`` for ordinary expressions.

    Returns:
        The step; proved when the difference became zero.
    """
    right = sympy.sympify(rhs)
    difference = (lhs - right).doit()
    reduced = rewrite(difference, rules) if rules is not None else sympy.simplify(difference)
    return Step(name, lhs, right, reduced)


def derivative_at_zero(function: Callable[[Any], Any], order: int = 1) -> Any:
    r"""$\frac{d^k}{ds^k} f(s)$ at $s = 0$ for an expression in undefined functions, written out but not carried out.

    Args:
        function: Maps the symbol $s$ to an expression.
        order: Order $k$.

    Returns:
        The unevaluated derivative; :func:`identity` evaluates it.

    >>> derivative_at_zero(lambda s: sympy.cos(s) + s).doit()
    1
    """
    s = Symbol("s", real=True)
    return sympy.Subs(sympy.Derivative(function(s), (s, order), evaluate=False), s, 0)
