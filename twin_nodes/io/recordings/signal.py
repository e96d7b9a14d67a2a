"""Signals of one channel, such as a breathing belt or the impedance of the chest."""

from dataclasses import dataclass

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

BREATHING = ('resp', 'breath', 'belt', 'thor', 'abd', 'chest', 'impedance', 'airflow', 'flow')


@dataclass(frozen=True, eq=False)
class Signal:
    """One channel of a recording, evenly sampled.

    Args:
        name: Name of the channel.
        unit: Unit of its values as the file says it; '' where it does not.
        rate_hz: Samples a second.
        values: In that unit, NaN where the file marks a sample as invalid, shape (n,).
    """

    name: str
    unit: str
    rate_hz: float
    values: Array


def choose_signal(signals: list[Signal], wanted: str, where: str) -> Signal:
    """Return the channel of a name, or the only one that is named like breathing.

    Raises:
        InputError: No such channel, or several that it may be; the message names all.
    """
    names = ', '.join(repr(signal.name) for signal in signals) or 'none'
    if wanted:
        found = [signal for signal in signals if signal.name.strip().lower() == wanted.strip().lower()]
        if len(found) != 1:
            raise InputError(f'{where}: {len(found)} channels are named {wanted!r}; it has {names}')
        return found[0]
    found = [signal for signal in signals if any(word in signal.name.lower() for word in BREATHING)]
    found = found if found or len(signals) != 1 else signals
    if len(found) != 1:
        raise InputError(f'{where}: which channel is the breathing? Name one with --channel; it has {names}')
    return found[0]
