"""When the tool will touch, from its distances at a few predicted instants."""

from dataclasses import dataclass

from twin_nodes.core.config import setting

LEAST_CLOSING = 5e-4  # m/s; slower than this a tool is not said to approach


@dataclass(frozen=True)
class AlarmConfig:
    """When a contact ahead is announced, and when the announcement ends."""

    lead: float = setting(
        'How long before a contact it is announced: the tool is looked at up to this time after the advice.', 0.25,
        unit='s', minimum=0.0, maximum=0.5,
    )  # fmt: skip
    probability: float = setting(
        'Probability of a breach within the lead above which a contact is announced.', 0.5, minimum=0.001, maximum=0.999
    )
    clear_probability: float = setting(
        'Probability below which the announcement may end.', 0.1, minimum=0.0001, maximum=0.999
    )
    dwell: float = setting('How long the probability must stay below that.', 0.3, unit='s', minimum=0.0, maximum=10.0)
    lookahead: float = setting('Longest time to contact that is told.', 2.0, unit='s', minimum=0.1, maximum=60.0)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What lies ahead of a tool with one structure.

    Args:
        time_to_contact: From the instant of the advice [s]; None when none is in sight, 0 when inside.
        probability: Largest probability of a breach from the advice to the lead.
        closing_speed: Speed with which the distance shrinks at the end of the lead [m/s]; negative when it grows.
    """

    time_to_contact: float | None
    probability: float
    closing_speed: float


def outlook(
    times: tuple[float, ...], distances: tuple[float, ...], probabilities: tuple[float, ...], lookahead: float
) -> Outlook:
    """Tell when the distance first reaches zero: between two instants linearly, beyond the last at its closing speed.

    Args:
        times: Instants after that of the advice, ascending from 0 [s].
        distances: Distance at each [m].
        probabilities: Probability of a breach at each.
        lookahead: Longest time that is told [s].
    """
    worst = max(probabilities)
    closing = 0.0
    if len(times) > 1 and times[-1] > times[-2]:
        closing = (distances[-2] - distances[-1]) / (times[-1] - times[-2])
    if distances[0] <= 0.0:
        return Outlook(0.0, worst, closing)
    for before, after in zip(range(len(times)), range(1, len(times)), strict=False):
        if distances[after] <= 0.0:
            share = distances[before] / (distances[before] - distances[after])
            return Outlook(times[before] + share * (times[after] - times[before]), worst, closing)
    if closing > LEAST_CLOSING:
        contact = times[-1] + distances[-1] / closing
        if contact <= lookahead:
            return Outlook(contact, worst, closing)
    return Outlook(None, worst, closing)
