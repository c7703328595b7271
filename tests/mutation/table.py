"""Places that matter and how each is broken: signs, constants, transposes, exponents, centres, frames.

A fragment occurs exactly once in its file (a test says so), so a break cannot drift to another place.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One break.

    Attributes:
        file: File below ``symtheory/``.
        old: Fragment that occurs there once.
        new: What replaces it.
        what: What is wrong then.
        tests: What pytest runs against it, as narrow as catches it.
    """

    file: str
    old: str
    new: str
    what: str
    tests: str


#: Proofs, checks, controls and counterexamples of one claim.
def _claim(name: str) -> str:
    return f"tests/test_theorems.py -k {name}-"


MUTANTS: tuple[Mutant, ...] = (
    # --- mirrors ----------------------------------------------------------------------------------------------------
    Mutant(
        "spec/mirror.py",
        "name: p - 2 * across[name] if name in across",
        "name: p - across[name] if name in across",
        "a reflection that stops at the mirror",
        "tests/test_mirror.py",
    ),
    Mutant(
        "spec/mirror.py",
        "half = (a.read(params) - sign * b.read(params)) / 2",
        "half = (a.read(params) + sign * b.read(params)) / 2",
        "a swap that projects on the mirror, not across it",
        "tests/test_mirror.py",
    ),
    Mutant(
        "spec/mirror.py",
        "b.write(out, -sign * half)",
        "b.write(out, -half)",
        "a signed swap that forgets its sign",
        "tests/test_mirror.py",
    ),
    Mutant(
        "spec/mirror.py",
        "return r * sum(prod(s) // d for s in self.shapes.values())",
        "return r * len(self.shapes)",
        "the rank of a rotation mirror counts tensors, not vectors",
        "tests/test_mirror.py",
    ),
    Mutant(
        "spec/mirror.py",
        "across = n @ (n.T @ moved.reshape(n.shape[0], -1))",
        "across = n @ (n.T @ moved.reshape(-1, n.shape[0]).T)",
        "a rotation along the wrong axis of a matrix",
        "tests/test_mirror.py",
    ),
    Mutant(
        "spec/mirror.py",
        "if b.distance(probe) > ORTHONORMALITY:",
        "if b.distance(probe) > 2:",
        "oblique reflections composed into something that is no mirror",
        "tests/test_mirror.py",
    ),
    Mutant(
        "spec/families.py",
        "error = max(float((p @ p - p).abs().max()), float((p - p.T).abs().max()))",
        "error = float((p @ p - p).abs().max())",
        "an oblique projection passes as a mirror",
        "tests/test_mirror.py",
    ),
    Mutant(
        "spec/numerics.py",
        "scale = max(float(value.norm()), float(reference.norm()))",
        "scale = max(float(value.norm()), float(reference.norm())) + 1",
        "relative errors of small quantities shrink",
        "tests/test_engine.py tests/test_mirror.py --doctest-modules symtheory/spec/numerics.py",
    ),
    Mutant(
        "spec/verdict.py",
        "return self.residual <= self.tolerance and self.gap >= self.factor",
        "return self.residual <= self.tolerance",
        "a verdict holds without its control",
        "tests/test_ledger.py",
    ),
    # --- measuring --------------------------------------------------------------------------------------------------
    Mutant(
        "engine/model.py",
        "return loss(params, batch) + gamma * squared_norm(params)",
        "return loss(params, batch) + gamma / 2 * squared_norm(params)",
        "the other convention of weight decay",
        "tests/test_engine.py tests/test_mirror_constraint.py -k 'decay or threshold'",
    ),
    Mutant(
        "engine/invariance.py",
        "changes.append(abs(float(evaluate(loss, image, sample)) - value))",
        "changes.append(abs(float(evaluate(loss, probe, sample)) - value))",
        "invariance is measured against the point itself",
        "tests/test_engine.py",
    ),
    Mutant(
        "engine/invariance.py",
        "probe[name] = p + spread * scale * noise",
        "probe[name] = p",
        "invariance is measured at one point only",
        "tests/test_engine.py",
    ),
    Mutant(
        "engine/updates.py",
        "g = grads[k] if decoupled else grads[k] + shrink * p",
        "g = grads[k] + shrink * p",
        "AdamW decays twice",
        "tests/test_updates.py",
    ),
    Mutant(
        "engine/updates.py",
        "g = g + momentum * buffers[k] if nesterov else buffers[k]",
        "g = buffers[k]",
        "Nesterov's momentum is plain momentum",
        "tests/test_updates.py",
    ),
    Mutant(
        "engine/kernels.py",
        "s[i] = si - q * vi",
        "s[i] = si - q * v[i]",
        "the compiled product uses a weight that has moved already",
        "tests/test_sweep.py",
    ),
    Mutant(
        "engine/training.py",
        "found = rule.lr * rule.decay * bias",
        "found = rule.decay * bias",
        "the folded decay pulls to the bias at another rate than it shrinks",
        "tests/test_mlp.py",
    ),
    Mutant(
        "engine/mlp.py",
        "beta=self._kept, alpha=-self._lr",
        "alpha=-self._lr",
        "the folded step forgets the decay of the weights",
        "tests/test_mlp.py",
    ),
    Mutant(
        "engine/kernels_convolution.py",
        "d0 * v1 + d1 * v2 + d2 * v3 + d3 * v4 + d4 * v5",
        "d0 * v1 + d1 * v2 + d2 * v3 + d3 * v4 + d4 * v4",
        "one channel's last product is taken a column too early",
        "tests/test_cnn.py -k 'autograds or modules'",
    ),
    Mutant(
        "engine/statistics.py",
        "tail = (1 - confidence) / 2",
        "tail = 1 - confidence",
        "intervals of probabilities are too narrow",
        "--doctest-modules symtheory/engine/statistics.py",
    ),
    # --- the mirror constraint --------------------------------------------------------------------------------------
    Mutant(
        "theorems/base.py",
        "key=lambda v: (v.holds, -v.residual / v.tolerance if v.tolerance else 0.0)",
        "key=lambda v: (not v.holds, v.residual)",
        "the best verdict stands for all",
        "tests/test_theorems.py -k worst",
    ),
    Mutant(
        "theorems/mirror_constraint/preference.py",
        "return float(there - here) / distance**2",
        "return float(there - here) / distance",
        "the exponent of the distance in the threshold of a point",
        "tests/test_mirror_constraint.py -k threshold",
    ),
    Mutant(
        "theorems/mirror_constraint/preference.py",
        "gap = float(evaluate(loss, projected, batch) - evaluate(loss, params, batch))",
        "gap = float(evaluate(loss, params, batch) - evaluate(loss, projected, batch))",
        "the sign of the threshold of a point",
        _claim("A.T1.3"),
    ),
    # --- lasso ------------------------------------------------------------------------------------------------------
    Mutant(
        "transforms/dcs.py",
        '{"params": [self.direction, self.scale], "weight_decay": 2 * self.alpha}',
        '{"params": [self.direction, self.scale], "weight_decay": self.alpha}',
        "DCS decays at half of its strength",
        "tests/test_dcs.py",
    ),
    Mutant(
        "transforms/dcs.py",
        "return 2 * self.alpha * self.factoring.norms(self.coordinates()).sum()",
        "return self.alpha * self.factoring.norms(self.coordinates()).sum()",
        "the constant of the L1 penalty",
        "tests/test_dcs.py",
    ),
    Mutant(
        "engine/factoring.py",
        "squared = imbalance**2",
        "squared = imbalance",
        "factors start with another imbalance than asked for",
        "tests/test_dcs.py",
    ),
    # --- removal of reflections -------------------------------------------------------------------------------------
    Mutant(
        "transforms/anchor.py",
        "gap = p - self._at(p)",
        "gap = p + self._at(p)",
        "the anchored decay pulls to the wrong side, as printed",
        "tests/test_syre.py",
    ),
    Mutant(
        "transforms/anchor.py",
        "rate = 2 * self.gamma",
        "rate = self.gamma",
        "the anchored decay at half of its strength",
        "tests/test_syre.py",
    ),
    Mutant(
        "transforms/static.py",
        "g = torch.Generator().manual_seed(seed ^ 0x5D5D5D5D)",
        "g = torch.Generator().manual_seed(0)",
        "the anisotropy is the same for every seed",
        "tests/test_syre.py",
    ),
    Mutant(
        "theorems/syre_bounds/bounds.py",
        "return max(0.0, 1 - count * float(erf(epsilon / (4 * sqrt(2) * gamma * sigma0 * stretch))))",
        "return max(0.0, 1 - count * float(erf(epsilon / (sqrt(2) * gamma * sigma0 * stretch))))",
        "the printed constant, a quarter of the strength",
        "tests/test_syre_bounds.py -k 'probability or bound or strength or counted or enough'",
    ),
    Mutant(
        "theorems/syre_bounds/bounds.py",
        "return max(0.0, 1 - count * float(chi.cdf(epsilon / (2 * gamma * sigma0 * stretch), rank)))",
        "return max(0.0, 1 - count * float(chi.cdf(epsilon / (4 * gamma * sigma0 * stretch), rank)))",
        "the slope taken for the difference, twice as large",
        "tests/test_syre_bounds.py",
    ),
    Mutant(
        "theorems/syre_bounds/search.py",
        "max_nfev=BUDGET,",
        "max_nfev=1,",
        "a search for surviving reflections that never moves",
        "tests/test_theorems.py -k 'B.T1-decay or B.T2-distinct'",
    ),
    # --- Hessian blocks and dynamics --------------------------------------------------------------------------------
    Mutant(
        "theorems/hessian_blocks/blocks.py",
        "outside, total = outside + float(touched.square().sum()) + other, total + whole",
        "outside, total = outside + float(touched.square().sum()), total + whole",
        "a leak into tensors that the mirrors do not touch is overlooked",
        "tests/test_hessian_blocks.py -k 'block or leak or mirror'",
    ),
    Mutant(
        "theorems/hessian_blocks/second_order.py",
        "return -lr * float(a.mean()) - lr**2 * float((a * a).mean()) / 2",
        "return -lr * float(a.mean()) - lr**2 * float(a.var()) / 2",
        "the variance for the second moment",
        "tests/test_hessian_blocks.py tests/test_theorems.py -k 'second or A.E5-'",
    ),
    Mutant(
        "theorems/hessian_blocks/critical.py",
        "return 2 * self.exact",
        "return self.exact",
        "a critical decay in the wrong convention",
        "tests/test_hessian_blocks.py -k 'decay or critical'",
    ),
    Mutant(
        "engine/lyapunov.py",
        "q, r = torch.linalg.qr(draw(generator, replicas).double() @ q)",
        "_, r = torch.linalg.qr(draw(generator, replicas).double() @ q)",
        "frames of matrix products are not carried on",
        "tests/test_hessian_blocks.py -k 'tumbling or matrix or exponent'",
    ),
    Mutant(
        "engine/statistics.py",
        "slope, intercept = np.polyfit(u, v, 1)",
        "intercept, slope = np.polyfit(u, v, 1)",
        "prefactor and exponent exchanged",
        "--doctest-modules symtheory/engine/statistics.py tests/test_syre_bounds.py -k 'exponent or scaling'",
    ),
    # --- removal of groups ------------------------------------------------------------------------------------------
    Mutant(
        "spec/groups.py",
        "return tuple(h for h in self.prime_power_cyclic if isprime(len(h)))",
        "return self.prime_power_cyclic",
        "subgroups of prime power order count as minimal",
        "tests/test_groups.py",
    ),
    Mutant(
        "spec/representations.py",
        "s @ self.matrices @ torch.linalg.inv(s), name or",
        "s @ self.matrices @ s.T, name or",
        "a change of basis by the transpose",
        "tests/test_groups.py",
    ),
    Mutant(
        "theorems/general_groups/settings.py",
        "return torch.eye(rep.dim, dtype=torch.float64) - rep.reynolds(subset).T",
        "return torch.eye(rep.dim, dtype=torch.float64) - rep.reynolds(subset)",
        "the projector of eq. (12), not transposed",
        _claim("B.T5.1"),
    ),
    Mutant(
        "theorems/general_groups/bounds.py",
        "t = epsilon / (2 * gamma * sigma0)",
        "t = epsilon / (4 * gamma * sigma0)",
        "a bound for finite groups that promises twice the strength",
        "tests/test_general_groups.py",
    ),
    # --- merging and the monitor ------------------------------------------------------------------------------------
    Mutant(
        "discover/shrinking.py",
        "rows[members[0][0]] = total if p in self.outgoing else total / len(members)",
        "rows[members[0][0]] = total / len(members)",
        "outgoing weights of merged units are averaged, not added",
        "tests/test_merging.py -k flattened",
    ),
    Mutant(
        "discover/shrinking.py",
        "(sign.to(rows)[:, None] * rows[number]).sum(0)",
        "rows[number].sum(0)",
        "units of opposite sign are merged without it",
        "tests/test_merging.py -k odd_units",
    ),
    Mutant(
        "discover/merging.py",
        "distance(outputs(small, x, layer.left_out(whole).left()), outputs(large, x, whole.left()))",
        "0.0",
        "a merger is tried at the network's own weights only, where units may be dead",
        "tests/test_merging.py -k dead_on",
    ),
    Mutant(
        "discover/merging.py",
        "if unused and unseen:",
        "if False:",
        "what the example inputs do not reach is guessed",
        "tests/test_merging.py -k not_reach",
    ),
    Mutant(
        "monitor/reading.py",
        "part = part.detach().double()",
        "part = part.detach().float()",
        "distances and ranks from squares in single precision",
        "tests/test_monitor.py -k single_precision",
    ),
    Mutant(
        "monitor/reading.py",
        "force = -sum(float((grads[name]",
        "force = sum(float((grads[name]",
        "the sign of the force",
        "tests/test_monitor.py -k slope",
    ),
    Mutant(
        "monitor/watching.py",
        "spent * (1 - self.budget) / self.budget",
        "spent / self.budget",
        "a monitor that takes less than its share",
        "tests/test_monitor.py -k share",
    ),
    Mutant(
        "monitor/attraction.py",
        "lyapunov_exponent(bend, lr, weight_decay / 2)",
        "lyapunov_exponent(bend, lr, weight_decay)",
        "the predicted exponent with the other convention of decay",
        "tests/test_monitor.py -k 'rate_at_which or critical'",
    ),
    Mutant(
        "transforms/anchor.py",
        "(1.0 if scaled is None else float(scaled))",
        "1.0",
        "a gradient scaler's factor divides the anchored decay",
        "tests/test_syre.py -k scaler",
    ),
    # --- figures and storage ----------------------------------------------------------------------------------------
    Mutant(
        "ledger.py",
        'passed = {(e.role, e.subject) for e in tests if e.outcome == "passed"}',
        "passed = {(e.role, e.subject) for e in tests}",
        "evidence that did not pass counts",
        "tests/test_ledger.py",
    ),
)


def markdown() -> str:
    """The table as CONTRIBUTING.md shows it; ``python -m tests.mutation --table`` prints it.

    Returns:
        Markdown.
    """
    rows = [f"| `{m.file}` | {m.what} | `{m.tests.replace('|', chr(92) + '|')}` |" for m in MUTANTS]
    return "\n".join(["| file | the break | the tests that notice |", "|---|---|---|", *rows])
