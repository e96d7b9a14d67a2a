"""Several devices in the order of their stamps, whatever the order of arrival."""

from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.tracking.stamp_order import StampOrder

SECOND = 1_000_000_000


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_arrival_between_devices_does_not_matter(random):
    truth = {'a': [10, 20, 30, 40], 'b': [10, 25, 40]}
    arrivals = [device for device, stamps in truth.items() for _ in stamps]
    random.shuffle(arrivals)
    streams, order, left = {device: iter(stamps) for device, stamps in truth.items()}, StampOrder(('a', 'b')), []
    for device in arrivals:
        stamp = next(streams[device])
        left += order.add(device, stamp, f'{device}{stamp}')
    assert left == [(10, ['a10', 'b10']), (20, ['a20']), (25, ['b25']), (30, ['a30']), (40, ['a40', 'b40'])]


def test_a_silent_device_is_waited_for_until_it_is_given_up_and_again_when_it_is_heard():
    order = StampOrder(('a', 'b'))
    assert order.add('a', 10, 'a10') == []
    assert order.silent('b') == [(10, ['a10'])]
    assert order.add('a', 20, 'a20') == [(20, ['a20'])]
    assert order.silent('a') == []
    assert order.add('b', 25, 'b25') == [(25, ['b25'])], 'a was given up too'
    assert order.add('a', 30, 'a30') == []
    assert order.add('b', 30, 'b30') == [(30, ['a30', 'b30'])]


def test_time_that_begins_again_lets_out_what_waits_and_reset_forgets_it():
    order = StampOrder(('a', 'b'))
    order.add('a', 5 * SECOND, 'old')
    assert order.add('a', SECOND, 'new') == [(5 * SECOND, ['old'])]
    order.reset()
    assert order.flush() == []
