"""A pose through a chain of frames, with its covariance and what each link of the chain adds to it."""

import math
from dataclasses import dataclass

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.covariance import inverse_covariance
from twin_nodes.core.geometry.se3 import Array, inverse


@dataclass(frozen=True)
class Link:
    """One transform of a chain with its error.

    Args:
        name: What the link is, such as 'tool tracking'.
        a_T_b: Pose, shape (4, 4).
        covariance: Of (δp, δφ) in the axes of a, shape (6, 6), as in `core.geometry.covariance`.
    """

    name: str
    a_T_b: Array
    covariance: Array


@dataclass(frozen=True)
class LinkCost:
    """What one link adds to the error at the point.

    Args:
        name: Name of the link.
        sigma: Standard deviation of the position of the point from this link alone, root of the trace [m].
        share: Its part of the variance of that position, 0 … 1.
    """

    name: str
    sigma: float
    share: float


@dataclass(frozen=True, eq=False)
class Chain:
    """The pose of the end of a chain in its start, how sure that is, and why.

    Args:
        start_T_end: Pose, shape (4, 4).
        covariance: Of (δp, δφ) in the axes of the start, shape (6, 6).
        costs: One per link, in the order of the chain.
    """

    start_T_end: Array
    covariance: Array
    costs: tuple[LinkCost, ...]

    @property
    def sigma(self) -> float:
        """Standard deviation of the position of the point, the end unless another was chosen; root of the trace [m]."""
        return math.sqrt(sum(cost.sigma**2 for cost in self.costs))

    @property
    def rotation_sigma(self) -> float:
        """Standard deviation of the rotation of the end, root of the trace [rad]."""
        return math.sqrt(max(0.0, float(np.trace(self.covariance[3:, 3:]))))

    @property
    def worst(self) -> LinkCost:
        """The link that costs most."""
        return max(self.costs, key=lambda cost: cost.sigma)


def tip_in_anatomy(tool: Link, tip: Link, patient: Link, registration: Link) -> Chain:
    """Compose anatomy_T_tip from the four independent links of a tracked operation.

    Args:
        tool: tracker_T_tool.
        tip: tool_T_tip.
        patient: tracker_T_patient.
        registration: patient_T_anatomy.
    """
    return compose_chain((inverted(registration), inverted(patient), tool, tip))


def inverted(link: Link) -> Link:
    """Return the link read from its other end."""
    return Link(link.name, inverse(link.a_T_b), inverse_covariance(link.a_T_b, link.covariance))


def compose_chain(links: tuple[Link, ...], *, point_end: Array | None = None) -> Chain:
    """Multiply the links and sum their covariances, each carried to the end with its lever arm.

    With P the product of the links before link i, its error (δp, δφ) moves the end by R_P δp + (R_P δφ) × r, where r
    reaches from the end of link i to the end of the chain; that is `compose_covariance` written out per link.

    Args:
        links: Neighbours cancel: a_T_b, b_T_c, …; their errors are independent.
        point_end: Where the costs are told, in the frame of the end [m], shape (3,); its origin when not given.

    Raises:
        InputError: No link.
    """
    if not links:
        raise InputError('a chain needs at least one link')
    product = np.eye(4)
    starts, ends = [], []
    for link in links:
        starts.append(product)
        product = product @ link.a_T_b
        ends.append(product[:3, 3])
    beyond = np.zeros(3) if point_end is None else product[:3, :3] @ np.asarray(point_end, float)
    total = np.zeros((6, 6))
    variances = []
    for link, start, end in zip(links, starts, ends, strict=True):
        lever = product[:3, 3] - end
        part = _carried(link.covariance, start[:3, :3], lever)
        total += part
        told = part if point_end is None else _carried(link.covariance, start[:3, :3], lever + beyond)
        variances.append(max(0.0, float(told[0, 0] + told[1, 1] + told[2, 2])))
    whole = sum(variances)
    costs = tuple(
        LinkCost(link.name, math.sqrt(variance), variance / whole if whole > 0.0 else 0.0)
        for link, variance in zip(links, variances, strict=True)
    )
    return Chain(product, 0.5 * (total + total.T), costs)


def _carried(covariance: Array, rotation: Array, lever: Array) -> Array:
    x, y, z = lever
    jacobian = np.zeros((6, 6))
    jacobian[:3, :3] = rotation
    jacobian[3:, 3:] = rotation
    jacobian[:3, 3:] = np.array(((0.0, z, -y), (-z, 0.0, x), (y, -x, 0.0))) @ rotation  # δφ × r = -[r]× δφ
    return np.asarray(jacobian @ covariance @ jacobian.T)
