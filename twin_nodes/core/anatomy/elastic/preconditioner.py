"""A cached factor of the stiffness that follows changing contacts and springs without a new factorisation.

K + Bᵀ D B has the inverse L⁻ᵀ (1 - Yᵀ (D⁻¹ + Y Yᵀ)⁻¹ Y) L⁻¹ with Yᵀ = L⁻¹ Bᵀ (Woodbury 1950): new springs have D = 1,
those that were let go D = -1, and held nodes are stiff springs. Y needs half a solve for each row, along the few
branches of the elimination that the contact touches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lu_factor, lu_solve

from twin_nodes.core.anatomy.elastic.barriers import Barriers
from twin_nodes.core.anatomy.elastic.exact import factor_at
from twin_nodes.core.anatomy.elastic.factor import CholeskyFactor
from twin_nodes.core.anatomy.elastic.loads import Loads, Springs
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.elastic.objective import Objective
from twin_nodes.core.anatomy.elastic.quasi_newton import History
from twin_nodes.core.anatomy.elastic.rounded import RoundedFactor
from twin_nodes.core.anatomy.elastic.touching import Near, Touch, more, touch_of
from twin_nodes.core.geometry.se3 import Array

PENALTY = 1e3  # of a held node's own stiffness: f32 leaves four digits of it
# Of negative eigenvalues that are taken away. The stiffness as it is (0) brings a steady body to rest in the fewest
# steps, but one that slips away from where the factor was made loses its way; positive by tetrahedron (1) it is too
# stiff where tissue is pressed, and each step leaves half of what the last one left. A push needs fewest steps with:
PROJECT = 0.2
MOST_CONTRAST = 3e3  # of stiffness in a factor of 16 bits: at 1e4 frames take a fifth more steps, at 1e5 they fail


@dataclass(frozen=True, eq=False)
class Ties:
    """What a factor knows of the loads: springs by their nodes, weights and stiffness, and held nodes.

    Args:
        springs: The springs.
        held: The held nodes, shape (h,).
        stiff: Stiffness that stands for holding each [N/m], shape (h,); 0 where the factor does not know it.
        own: About the stiffness of each held node itself [N/m], shape (h,).
    """

    springs: Springs
    held: NDArray[np.int64]
    stiff: Array
    own: Array


def _thrice(places: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the rows of the three axes of each, shape (3 n,)."""
    return np.asarray((3 * places[:, None] + np.arange(3)).ravel(), np.int64)


class Preconditioner:
    """A factor made at one state, brought up to date for the contacts and springs of another.

    Args:
        objective: Body and loads at the time.
        x: State for which the stiffness is factored [m], shape (n, 3).

    Raises:
        DegenerateGeometryError: NOT_POSITIVE_DEFINITE.
    """

    def __init__(self, objective: Objective, x: Array) -> None:
        self.model: ElasticModel = objective.model
        self._whole, stiff = factor_at(objective, x, dtype=np.float32, penalty=PENALTY, project=PROJECT)
        self._usual = RoundedFactor(self._whole) if _is_even(objective) else self._whole
        self.factor: CholeskyFactor | RoundedFactor = self._usual
        self.at = x
        self.made_for = Ties(objective.loads.springs, objective.loads.held, stiff, stiff / PENALTY)
        self.now = self.made_for
        self._rows: NDArray[np.float32] | None = None
        self._small: tuple[Array, NDArray[np.int32]] | None = None
        self._near: Near | None = None
        self._touch: Touch | None = None
        if len(objective.loads.barriers):
            self._near_nodes(np.unique(objective.loads.barriers.nodes))

    @property
    def rank(self) -> int:
        """Rows by which the factor was brought up to date."""
        return 0 if self._rows is None else len(self._rows)

    def match(self, loads: Loads, most: int) -> bool:
        """Bring the factor up to date for other springs and held nodes, if that takes at most so many rows.

        Returns:
            Whether anything changed.
        """
        if _same(self.now, loads):
            return False
        let_go, taken, stiff = self._held(loads)
        own = stiff / PENALTY
        exchanged = _exchanged(self.made_for.springs, loads.springs)
        count = 3 * (len(let_go) + len(taken)) + sum(len(springs.value) for springs in exchanged)
        self._rows = self._small = self._near = self._touch = None
        self.factor = self._usual
        if count > most:  # held nodes that the factor does not know are moved alone
            stiff = np.where(np.isin(loads.held, self.made_for.held), stiff, 0.0)
        elif count:
            rows, signs = self._build(exchanged, let_go, taken)
            if signs.min() < 0.0:
                self.factor = self._whole
            half = self.factor.forward(rows)
            small = np.diag(signs) + np.asarray(half @ half.T, np.float64)
            self._rows, self._small = half, lu_factor(small)
        self.now = Ties(loads.springs, loads.held, stiff, own)
        return True

    def solve(self, right: Array) -> Array:
        """Apply the inverse to (3 f,) forces [N]."""
        return self.factor.backward(self._exchange(self.factor.forward(right)))

    def yield_to(self, right: Array, history: History, barriers: Barriers, gaps: Array) -> Array:
        """Apply the inverse that the pairs mend to forces, with as much more or less push of barriers as is needed.

        Args:
            right: The forces, those of the barriers as they push now among them [N], shape (3 f,).
            history: Pairs of the body without the barriers.
            barriers: What the body may not enter.
            gaps: Of the barriers before the body moves [m], shape (c,).
        """
        touch = self._touch_of(barriers)
        half, pushed = self.factor.forward(right).copy(), -barriers.stiffness * np.minimum(gaps, 0.0)
        history.pass_by(half, pushed, touch.rows)
        half, chosen = self._exchange(half), history.halved()
        free, compliance = gaps + touch.rows @ half, touch.compliance
        if not len(chosen):
            return self.factor.backward(half + touch.push(more(compliance, free, pushed, barriers.stiffness)))
        steps, halves = history.pairs()
        spread = self._exchange(halves)
        inner = np.asarray(halves @ spread.T, np.float64)[np.ix_(chosen, chosen)]
        middle = history.middle(chosen, inner)
        along = np.concatenate([self._along(barriers, steps, chosen), (touch.rows @ spread.T)[:, chosen]], axis=1)
        share = middle @ np.concatenate([(steps @ right)[chosen], (halves @ half)[chosen]])
        compliance = compliance + along @ middle @ along.T
        found = more(compliance, free + along @ share, pushed, barriers.stiffness)
        share += middle @ (found @ along)
        of_all = np.zeros((2, len(steps)))
        of_all[:, chosen] = share.reshape(2, -1)
        half = half + touch.push(found) + of_all[1].astype(np.float32) @ spread
        return np.asarray(self.factor.backward(half) + of_all[0] @ steps)

    def _exchange(self, half: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take springs that have come or gone into half-solved right sides, (3 f,) or (k, 3 f)."""
        if self._rows is None or self._small is None:
            return half
        exchanged = lu_solve(self._small, np.asarray(self._rows @ half.T, np.float64))
        return np.asarray(half - exchanged.T.astype(np.float32) @ self._rows)

    def _along(self, barriers: Barriers, steps: Array, chosen: NDArray[np.int64]) -> Array:
        """Return how far each place is moved along its push by each of some steps, shape (c, m)."""
        place = self.model.number[barriers.nodes]
        moved = steps.reshape(len(steps), -1, 3)[chosen[:, None, None], np.maximum(place, 0)]
        return np.asarray(np.einsum('ca,ci,mcai->cm', barriers.weights * (place >= 0), barriers.push, moved))

    def _touch_of(self, barriers: Barriers) -> Touch:
        """Return how the places of barriers answer; it is worked out once for the same barriers."""
        if self._touch is None or self._touch.barriers is not barriers:
            self._touch = touch_of(self._near_nodes(np.unique(barriers.nodes)), barriers)
        return self._touch

    def _near_nodes(self, nodes: NDArray[np.int64]) -> Near:
        """Return how nodes near to barriers answer; what was worked out for some of them before is used again."""
        old = self._near
        if old is not None and np.array_equal(old.nodes, nodes):
            return old
        before = np.full(len(nodes), -1)
        if old is not None:
            before = np.where(np.isin(nodes, old.nodes), np.searchsorted(old.nodes, nodes), -1)
        new, kept = _thrice(np.flatnonzero(before < 0)), _thrice(np.flatnonzero(before >= 0))
        rows = np.empty((3 * len(nodes), self.factor.layout.size), np.float32)
        spread, compliance = rows, np.zeros((len(rows), len(rows)))
        there = [self._row(nodes[[row // 3]], np.ones(1), np.eye(3)[row % 3]) for row in new]
        if len(new):
            rows[new] = self.factor.forward(np.array(there))
        if self._rows is not None and self._small is not None:
            spread = rows.copy()
            spread[new] = self._exchange(rows[new])
        if old is not None and len(kept):
            known = _thrice(before[before >= 0])
            rows[kept], spread[kept] = old.rows[known], old.spread[known]
            compliance[np.ix_(kept, kept)] = old.compliance[np.ix_(known, known)]
        if len(new):
            compliance[new] = rows[new] @ spread.T
            compliance[:, new] = compliance[new].T
            own = compliance[np.ix_(new, new)]
            compliance[np.ix_(new, new)] = 0.5 * (own + own.T)
        self._near = Near(nodes, rows, spread, compliance)
        return self._near

    def _held(self, loads: Loads) -> tuple[list[tuple[int, float]], list[tuple[int, float]], Array]:
        """Return nodes let go and nodes taken, with the stiffness that stands for holding, and that of all held."""
        old, model = self.made_for, self.model
        known = dict(zip(old.held.tolist(), old.stiff.tolist(), strict=True))
        typical = float(old.stiff.mean()) if len(old.stiff) else PENALTY * _own_stiffness(model)
        stiff = np.array([known.get(node, typical) for node in loads.held.tolist()])
        kept = set(loads.held.tolist())
        let_go = [(node, value) for node, value in known.items() if node not in kept]
        taken = [(node, typical) for node in loads.held.tolist() if node not in known]
        return let_go, taken, stiff

    def _build(
        self, exchanged: tuple[Exchange, Exchange], let_go: list[tuple[int, float]], taken: list[tuple[int, float]]
    ) -> tuple[Array, Array]:
        rows: list[Array] = []
        signs: list[float] = []
        for part in exchanged:
            for nodes, weights, value, axis in zip(part.nodes, part.weights, part.value, part.axis, strict=True):
                rows.append(self._row(nodes, weights, np.sqrt(value) * axis))
                signs.append(part.sign)
        for held, sign in ((let_go, -1.0), (taken, 1.0)):
            for node, value in held:
                rows += [self._row(np.array([node]), np.ones(1), np.sqrt(value) * axis) for axis in np.eye(3)]
                signs += [sign] * 3
        return np.array(rows), np.array(signs)

    def _row(self, nodes: NDArray[np.int64], weights: Array, axis: Array) -> Array:
        row = np.zeros((len(self.model.pattern.points), 3))
        for node, weight in zip(self.model.number[nodes], weights, strict=True):
            if node >= 0:
                row[node] += weight * axis
        return row.ravel()


def _same(ties: Ties, loads: Loads) -> bool:
    springs, others = ties.springs, loads.springs
    if len(springs) != len(others) or len(ties.held) != len(loads.held):
        return False
    pairs = (
        (springs.nodes, others.nodes),
        (springs.weights, others.weights),
        (springs.stiffness, others.stiffness),
        (ties.held, loads.held),
    )
    return all(a is b or np.array_equal(a, b) for a, b in pairs)


@dataclass(frozen=True, eq=False)
class Exchange:
    """Principal parts of springs that have come or gone, one row each.

    Args:
        sign: 1 for those that have come, -1 for those that are gone.
        nodes: Shape (r, 4).
        weights: Shape (r, 4).
        value: Stiffness along the axis [N/m], shape (r,).
        axis: Shape (r, 3).
    """

    sign: float
    nodes: NDArray[np.int64]
    weights: Array
    value: Array
    axis: Array


def _exchanged(old: Springs, new: Springs) -> tuple[Exchange, Exchange]:
    """Return the springs that are gone and those that have come; targets do not count."""
    a, b = _keys(old), _keys(new)
    return _principal(old, ~np.isin(a, b), -1.0), _principal(new, ~np.isin(b, a), 1.0)


def _principal(springs: Springs, chosen: NDArray[np.bool_], sign: float) -> Exchange:
    value, axes = np.linalg.eigh(springs.stiffness[chosen])
    which, k = np.nonzero(value > 1e-9 * np.maximum(value[:, -1:], 1e-300))
    spring = np.flatnonzero(chosen)[which]
    return Exchange(sign, springs.nodes[spring], springs.weights[spring], value[which, k], axes[which, :, k])


def _keys(springs: Springs) -> NDArray[np.void]:
    flat = np.concatenate(
        [springs.nodes.astype(float), springs.weights, springs.stiffness.reshape(len(springs), 9)], axis=1
    )
    return np.ascontiguousarray(flat).view(np.dtype((np.void, 17 * 8))).ravel()


def _is_even(objective: Objective) -> bool:
    """Whether stiff parts and springs are not so stiff that 16 bits of theirs would hide what is soft beside them.

    A held node is no such part: it stands still in each direction.
    """
    model = objective.model
    there = (model.shear * model.weight)[model.weight > 0.0]
    springs = np.trace(objective.loads.springs.stiffness, axis1=1, axis2=2)
    is_even = there.max(initial=0.0) <= MOST_CONTRAST * there.min(initial=np.inf)
    return bool(is_even and springs.max(initial=0.0) <= MOST_CONTRAST * _own_stiffness(model))


def _own_stiffness(model: ElasticModel) -> float:
    """Return about how stiff a node is by itself [N/m]: shear modulus times the length of an edge."""
    return float(model.shear.mean() * np.cbrt(6.0 * model.volume.mean())) * 10.0
