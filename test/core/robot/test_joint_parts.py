"""Joints that are told in several messages come out whole, at one instant, whatever the rates and orders."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_nodes.core.errors import InputError
from twin_nodes.core.robot.joint_parts import JointParts

WANTED = ('lift', 'pan', 'tilt', 'spin')
MS = 1_000_000


def parts() -> JointParts:
    return JointParts(WANTED, ('spin',), str.lower)


def truth(name: str, seconds: float) -> float:
    return {'lift': 0.2 * seconds, 'pan': 1.0 - seconds, 'tilt': 0.5 * seconds, 'spin': 2.9 + seconds}[name]


def told(names: tuple[str, ...], stamp_ns: int) -> list[float]:
    values = {name: truth(name, stamp_ns * 1e-9) for name in WANTED} | {'finger': 0.0}
    values['spin'] = (values['spin'] + np.pi) % (2 * np.pi) - np.pi  # as drivers send it
    return [values[name.lower()] for name in names]


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 40), st.booleans())
def test_whole_states_are_what_the_joints_were(period_a: int, period_b: int, shift: int, late: bool):
    """Linear motion is interpolated exactly; an endless joint passes ±π."""
    arm = [((1 + k * period_a) * MS, ('Pan', 'tilt', 'spin')) for k in range(1000 // period_a)]
    lift = [((1 + shift + k * period_b) * MS, ('lift', 'finger')) for k in range(1000 // period_b)]
    messages = sorted([*arm, *lift], key=lambda row: row[0] + (20 * MS if late and len(row[1]) == 2 else 0))
    merger = parts()
    found = []
    for stamp_ns, names in messages:
        found += merger.add(stamp_ns, names, told(names, stamp_ns)) or []
    stamps = [state.stamp_ns for state in found]
    both = min(arm[-1][0], lift[-1][0])
    assert stamps == [stamp for stamp, _ in arm if lift[0][0] <= stamp <= both]
    for state in found:
        at = {name.lower(): value for name, value in zip(state.names, state.positions, strict=True)}
        for name in ('lift', 'pan', 'tilt'):
            assert at[name] == pytest.approx(truth(name, state.stamp_ns * 1e-9), abs=1e-9)
        off = at['spin'] - truth('spin', state.stamp_ns * 1e-9)
        assert abs(np.angle(np.exp(1j * off))) < 1e-9


def test_missing_joints_wait_and_are_named():
    merger = parts()
    assert merger.waits_for() == ''
    assert merger.add(MS, ('pan', 'tilt'), [0.0, 0.0]) is None
    assert merger.waits_for() == "joint 'lift' is in none of the 1 parts that are told"
    assert merger.add(MS, ('lift', 'spin'), [0.0, 0.0]) is not None
    merger.add(901 * MS, ('pan', 'tilt'), [0.0, 0.0])
    assert merger.waits_for() == 'lift, spin are 0.9 s behind the other joints'
    assert merger.add(900 * MS, ('lift', 'spin'), [0.0, 0.0]) == []  # nothing was told between: no guess
    merger.reset()
    assert merger.add(MS, ('pan', 'tilt'), [0.0, 0.0]) is None


def test_a_state_at_the_same_instant_needs_no_neighbour_and_rates_come_along():
    merger = parts()
    merger.add(MS, ('pan', 'tilt', 'spin'), [1.0, 2.0, 3.0], [0.1, 0.2, 0.3])
    (whole,) = merger.add(MS, ('lift',), [0.4], [0.5])
    assert whole.names == ('pan', 'tilt', 'spin', 'lift')
    assert whole.positions.tolist() == [1.0, 2.0, 3.0, 0.4] and whole.velocities.tolist() == [0.1, 0.2, 0.3, 0.5]


@pytest.mark.parametrize(
    ('message', 'code'),
    [
        ((5 * MS, ('lift',), [0.0, 1.0]), 'JOINTS_WRONG'),
        ((5 * MS, ('lift',), [0.0], [1.0, 2.0]), 'JOINTS_WRONG'),
        ((3 * MS, ('lift',), [0.0]), 'STAMP_DUPLICATE'),
        ((2 * MS, ('lift',), [0.0]), 'STAMP_BACKWARD'),
    ],
)
def test_refuses_whole(message, code):
    merger = parts()
    merger.add(3 * MS, ('lift',), [0.0])
    with pytest.raises(InputError) as caught:
        merger.add(*message)
    assert caught.value.code == code


def test_a_flood_of_names_is_bounded():
    merger = parts()
    with pytest.raises(InputError, match='more than 32'):
        for index in range(40):
            merger.add(MS, ('lift', f'other{index}'), [0.0, 0.0])
