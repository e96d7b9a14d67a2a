"""What a session of the deforming anatomy says of one instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twin_nodes.core.anatomy.elastic.model import Solution
from twin_nodes.core.anatomy.session_contact import ContactState
from twin_nodes.core.anatomy.session_pull import Pull
from twin_nodes.core.anatomy.session_remaining import Loose
from twin_nodes.core.geometry.se3 import Array


@dataclass(frozen=True, eq=False)
class Frame:
    """The body at one instant.

    Args:
        stamp_ns: The newest measurement that went into it.
        solution: Positions in the anatomy [m], and how the solver fared.
        sigma: Of each node, root of the trace of its covariance [m], shape (n,).
        targets: Where the targets are [m], shape (t, 3).
        covariances: Of the targets [m²], shape (t, 3, 3).
        held: Number of nodes that tools hold.
        seen_ns: Stamp of the last cloud that was used; 0 for none.
        pushed: What tools do that push, by tool.
        left: Which targets are in tissue that is left, shape (t,).
        loose: What cuts and the drill left hanging on the rest by no face, held by its surroundings alone.
        pulled: What tools feel that hold tissue, by tool.
    """

    stamp_ns: int
    solution: Solution
    sigma: Array
    targets: Array
    covariances: Array
    held: int
    seen_ns: int
    pushed: Mapping[str, ContactState]
    left: NDArray[np.bool_]
    loose: Loose
    pulled: Mapping[str, Pull] = field(default_factory=dict)
