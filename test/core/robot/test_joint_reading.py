"""Joint states are used whole, or refused whole with the reason."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.joint_reading import JointReader, JointsConfig
from twin_nodes.core.robot.published import published_model

NOW = 1_700_000_000_000_000_000
MS = 1_000_000
CHAIN = SerialChain(published_model('psm_classic'))
Q = np.array([0.1, -0.2, 0.12, 0.5, 0.3, -0.4])


def reader(**settings_):
    return JointReader(CHAIN, JointsConfig(**settings_), arm='PSM1')


def read(values=Q, names=CHAIN.names, stamp_ns=NOW, make=None, **kwargs):
    return (make or reader()).read(stamp_ns, names, list(values), now_ns=NOW, **kwargs)


@given(st.permutations(range(6)))
@settings(deadline=None)
def test_any_order_is_the_same(order):
    found = read(Q[order], [CHAIN.names[index] for index in order])
    assert found.positions.tolist() == Q.tolist()


@pytest.mark.parametrize(
    'names',
    [[f'outer_{name}' for name in CHAIN.names], [f'PSM1_{name}' for name in CHAIN.names], ['jaw', *CHAIN.names]],
)
def test_names_of_other_versions_are_known(names):
    values = Q if len(names) == 6 else [0.2, *Q]
    assert read(values, names).positions.tolist() == Q.tolist()


def test_names_can_be_given():
    names = tuple('abcdef')
    assert read(Q, names, make=reader(names=names)).positions.tolist() == Q.tolist()
    with pytest.raises(ConfigError, match='2 entries, the chain has 6'):
        reader(names=('a', 'b'))


def test_efforts_and_velocities_may_be_absent():
    found = read()
    assert found.efforts is None and found.velocities is None
    found = read(velocities=[1.0] * 6, efforts=list(range(6)))
    assert found.efforts.tolist() == list(range(6))


@pytest.mark.parametrize(
    ('case', 'code', 'reason'),
    [
        ({'names': CHAIN.names[:5], 'values': Q[:5]}, 'JOINTS_WRONG', "'wrist_yaw' is missing"),
        ({'names': (), 'values': Q}, 'JOINTS_WRONG', 'no joint names'),
        ({'names': (*CHAIN.names[:5], 'roll'), 'values': Q}, 'JOINTS_WRONG', "'roll' is there twice"),
        ({'names': (*CHAIN.names[:5], 'rist_yaw'), 'values': Q}, 'JOINTS_WRONG', "did you mean 'rist_yaw'"),
        ({'values': Q[:5]}, 'JOINTS_WRONG', '6 names and 5 positions'),
        ({'values': ()}, 'JOINTS_WRONG', '6 names and 0 positions'),
        ({'efforts': [0.0] * 3}, 'JOINTS_WRONG', '3 efforts'),
        ({'values': [*Q[:5], np.nan]}, 'NOT_FINITE', "'wrist_yaw' are NaN"),
        ({'efforts': [np.inf] * 6}, 'NOT_FINITE', 'efforts'),
        ({'values': [0.1, -0.2, 120.0, 0.5, 0.3, -0.4]}, 'JOINT_LIMIT', 'millimetres'),
        ({'values': [0.1, -20.0, 0.12, 0.5, 0.3, -0.4]}, 'JOINT_LIMIT', 'degrees'),
        ({'values': [0.1, -0.2, 0.25, 0.5, 0.3, -0.4]}, 'JOINT_LIMIT', "'insertion' is at 0.25 m"),
        ({'frame': 'PSM2_base'}, 'WRONG_ARM', 'belongs to PSM2, this is PSM1'),
        ({'stamp_ns': 0}, 'STAMP_ZERO', 'invalid'),
        ({'stamp_ns': NOW - 10_000 * MS}, 'STAMP_STALE', '10.000 s old'),
        ({'stamp_ns': NOW + 10_000 * MS}, 'STAMP_FUTURE', 'ahead'),
    ],
)
def test_refuses_whole(case, code, reason):
    with pytest.raises(InputError, match=reason) as caught:
        read(**case)
    assert caught.value.code == code


@pytest.mark.parametrize('frame', ['', 'PSM1_base', 'ECM', 'ECM1_tip', 'Cart', 'world'])
def test_takes_frames_that_may_be(frame):
    read(frame=frame)


def test_repeated_and_backward_stamps():
    make = reader()
    read(stamp_ns=NOW - 10 * MS, make=make)
    for stamp, code in ((NOW - 10 * MS, 'STAMP_DUPLICATE'), (NOW - 20 * MS, 'STAMP_BACKWARD')):
        with pytest.raises(InputError) as caught:
            read(stamp_ns=stamp, make=make)
        assert caught.value.code == code
    read(stamp_ns=NOW, make=make)
    make.reset()
    read(stamp_ns=NOW - 20 * MS, make=make)


def test_a_refused_message_does_not_move_the_newest_stamp():
    make = reader()
    with pytest.raises(InputError):
        read([np.nan] * 6, stamp_ns=NOW + 40 * MS, make=make)
    read(stamp_ns=NOW, make=make)


@given(
    names=st.lists(st.sampled_from([*CHAIN.names, 'jaw', '']), max_size=9),
    values=st.lists(st.floats(), max_size=9),
    stamp=st.integers(-1, 2**62),
)
@settings(max_examples=300, deadline=None)
def test_nothing_unsound_comes_through(names, values, stamp):
    try:
        found = reader().read(stamp, names, values, now_ns=None)
    except InputError as error:
        assert error.code
        return
    assert np.isfinite(found.positions).all() and found.positions.shape == (6,)
    assert (found.positions >= CHAIN.lower - 0.021).all() and (found.positions <= CHAIN.upper + 0.021).all()
