"""A pose through a chain of frames, with its covariance and what each link of the chain adds to it."""

import math
from dataclasses import dataclass, replace

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.covariance import inverse_covariance, inverse_jacobian, square_root
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


def tip_in_anatomy(
    tool: Link, tip: Link, patient: Link, registration: Link, *, tip_share: Array | None = None
) -> Chain:
    """Compose anatomy_T_tip from the four links of a tracked operation, independent but for the tip.

    A registration that was touched with this very tip has its error in it: for a tool that is held as it was then, the
    two cancel; for one turned round they add up. All that the tip's error does is told under its own name.

    Args:
        tool: tracker_T_tool.
        tip: tool_T_tip.
        patient: tracker_T_patient.
        registration: patient_T_anatomy.
        tip_share: What an error of the tip [m] in the axes of the tool makes of the registration's (δp, δφ), shape
            (6, 3); None for one that knows nothing of this tip.
    """
    links = (inverted(registration), inverted(patient), tool, tip)
    if tip_share is None:
        return compose_chain(links)
    own = square_root(registration.covariance - tip_share @ tip.covariance[:3, :3] @ tip_share.T)
    exact = replace(tip, covariance=np.zeros((6, 6)))
    chain = compose_chain((inverted(replace(registration, covariance=own @ own.T)), *links[1:3], exact))
    anatomy_T_tool = links[0].a_T_b @ links[1].a_T_b @ tool.a_T_b
    effect = _carry(anatomy_T_tool[:3, :3], np.zeros(3))
    lever = chain.start_T_end[:3, 3] - links[0].a_T_b[:3, 3]
    effect[:, :3] += _carry(np.eye(3), lever) @ inverse_jacobian(registration.a_T_b) @ tip_share
    part = effect @ tip.covariance @ effect.T
    variances = [cost.sigma**2 for cost in chain.costs[:3]] + [float(np.trace(part[:3, :3]))]
    total = chain.covariance + part
    return Chain(chain.start_T_end, 0.5 * (total + total.T), _costs(links, variances))


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
    return Chain(product, 0.5 * (total + total.T), _costs(links, variances))


def _costs(links: tuple[Link, ...], variances: list[float]) -> tuple[LinkCost, ...]:
    whole = sum(variances)
    return tuple(
        LinkCost(link.name, math.sqrt(variance), variance / whole if whole > 0.0 else 0.0)
        for link, variance in zip(links, variances, strict=True)
    )


def _carried(covariance: Array, rotation: Array, lever: Array) -> Array:
    jacobian = _carry(rotation, lever)
    return np.asarray(jacobian @ covariance @ jacobian.T)


def _carry(rotation: Array, lever: Array) -> Array:
    """Return what an error in turned axes makes of the end of a lever, shape (6, 6)."""
    x, y, z = lever
    jacobian = np.zeros((6, 6))
    jacobian[:3, :3] = rotation
    jacobian[3:, 3:] = rotation
    jacobian[:3, 3:] = np.array(((0.0, z, -y), (-z, 0.0, x), (y, -x, 0.0))) @ rotation  # δφ × r = -[r]× δφ
    return jacobian
