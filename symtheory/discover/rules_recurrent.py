"""Rules of recurrent layers: one step of the cell, with the state tied to itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.fx import Node

from symtheory.discover.rules import Stack, Step, generic, homogeneous, odd, rule
from symtheory.discover.rules_layers import linear
from symtheory.discover.rules_layout import name_of
from symtheory.discover.values import Value


def lstm_cell(step: Step, x: Value, state: list[Value], weights: Sequence[Value]) -> list[Value]:
    """C' = f c + i g, h' = o tanh(c')."""
    a = step.algebra
    h, c = state
    gates = a.add([linear(step, x, weights[0], *weights[2:3]), linear(step, h, weights[1], *weights[3:4])])
    n = h.shape[-1]
    i, f, g, o = a.cut(gates, len(gates.axes) - 1, [n] * 4)
    i, f, o = (generic(step, t) for t in (i, f, o))
    c = a.add([a.multiply([f, c], [1, 1]), a.multiply([i, odd(step, g)], [1, 1])])
    return [a.multiply([o, odd(step, c)], [1, 1]), c]


def gru_cell(step: Step, x: Value, state: list[Value], weights: Sequence[Value]) -> list[Value]:
    """N = tanh(W x + r (U h + b)), h' = (1 - z) n + z h."""
    a = step.algebra
    (h,) = state
    n = h.shape[-1]
    xs = linear(step, x, weights[0], *weights[2:3])
    hs = linear(step, h, weights[1], *weights[3:4])
    (xr, xz, xn), (hr, hz, hn) = (a.cut(t, len(t.axes) - 1, [n] * 3) for t in (xs, hs))
    r, z = generic(step, a.add([xr, hr])), generic(step, a.add([xz, hz]))
    new = odd(step, a.add([xn, a.multiply([r, hn], [1, 1])]))
    return [a.add([a.multiply([z, new], [1, 1]), a.multiply([z, h], [1, 1])])]


def plain_cell(step: Step, x: Value, state: list[Value], weights: Sequence[Value]) -> list[Value]:
    """H' = tanh or relu of W x + U h + b."""
    a = step.algebra
    pre = a.add([linear(step, x, weights[0], *weights[2:3]), linear(step, state[0], weights[1], *weights[3:4])])
    return [homogeneous(step, pre) if "relu" in name_of(step.node) else odd(step, pre)]


#: The cell of each recurrent operation.
CELLS = {"lstm": lstm_cell, "gru": gru_cell, "rnn_tanh": plain_cell, "rnn_relu": plain_cell}


@rule(*(f"{name}_cell" for name in CELLS))
def one_step(step: Step, x: Value, state: Any, *weights: Value | None) -> Any:
    """One step of a cell, called by itself."""
    cell = CELLS[name_of(step.node).removesuffix("_cell")]
    states = state if isinstance(state, list | tuple) else [state]
    new = cell(step, x, list(states), [w for w in weights if w is not None])
    return new if isinstance(step.shape, list) else new[0]


@rule(*CELLS)
def recurrent(step: Step, x: Value, initial: Any, weights: Sequence[Value], *args: Any) -> Any:
    """Layers of cells, in one or both directions."""
    a, name = step.algebra, name_of(step.node)
    if not isinstance(args[0], bool) or isinstance(weights, Value):
        values = [x, *weights] if not isinstance(weights, Value) else [x, weights]
        return step.opaque(values, "packed sequences")
    biases, layers, bidirectional, batch_first = args[0], args[1], args[4], args[5]
    cell = CELLS[name]
    per, count = 4 if biases else 2, layers * (2 if bidirectional else 1)
    if len(weights) != per * count:
        return step.opaque([x, *weights], "projected states")
    # the step in time: positions are told apart and share one state
    for s in x.axes[:-1]:
        a.spaces.pin(s, "a position")
    lasts: list[list[Value]] = []
    starts = initial if isinstance(initial, list | tuple) else [initial]
    given = step.node.args[1]
    nodes = given if isinstance(given, list | tuple) else [given]
    for layer in range(layers):
        outs = []
        for direction in range(2 if bidirectional else 1):
            k = layer * (2 if bidirectional else 1) + direction
            own = weights[per * k : per * (k + 1)]
            size = own[1].axes[1].size
            state = [a.zeros((step.key, "state", k, j), [size]) for j in range(2 if name == "lstm" else 1)]
            for j, (v, node) in enumerate(zip(starts, nodes, strict=True)):
                if not (isinstance(node, Node) and name_of(node) in {"zeros", "zeros_like", "new_zeros"}):
                    a.spaces.pin(v.axes[-1], "a given initial state")
                    a.spaces.unify(v.axes[-1], state[j].axes[0])
                    a.zero(state[j])
            new = cell(step.part(k), x, state, own)
            for before, after in zip(state, new, strict=True):
                a.add([before, after])
            outs.append(new[0])
            lasts.append(state)
        x = outs[0] if len(outs) == 1 else a.concatenate((step.key, layer), outs, len(outs[0].axes) - 1)
    results: list[Any] = [x]
    batch = len(x.axes) > 2
    for j in range(len(lasts[0])):
        parts = []
        for state in lasts:
            v = a.unsqueeze(state[j], 0)
            if batch:
                v = a.unsqueeze(v, 1)
                across = x.axes[0 if batch_first else 1]
                v = a.value([v.axes[0], across, v.axes[2]], v.forms)
            parts.append(v)
        results.append(Stack(0, tuple(parts)))
    return results
