"""The buffer that nodes use: the tree of frames, with waiting, futures and a clock that may jump."""

import threading
import time as system_time
import weakref
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.clock import Clock, JumpThreshold
from rclpy.duration import Duration
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.task import Future
from rclpy.time import Time
from tf2_msgs.srv import FrameGraph
from tf2_py.buffer_core import BufferCore
from tf2_py.checks import nanoseconds
from tf2_py.exceptions import ConnectivityException, ExtrapolationException, LookupException, TransformException

from .buffer_interface import NO_WAIT, BufferInterface

# What more data can mend; the other reasons stay.
NOT_YET = (ConnectivityException, ExtrapolationException, LookupException)
Lookup = Callable[[], TransformStamped]
Request = tuple[Lookup, Future]


class Buffer(BufferCore, BufferInterface):
    """A tree of frames over time that a TransformListener fills.

    Args:
        cache_time: How long samples are kept before the newest one of the same frame; 10 s when not given.
        node: When given, it offers the service `tf2_frames`, and a jump back of its clock clears the buffer.
    """

    def __init__(self, cache_time: Duration | None = None, node: Node | None = None) -> None:
        BufferCore.__init__(self, cache_time)
        BufferInterface.__init__(self)
        self._new_data = threading.Condition()
        self._waiting = 0
        self._requests: list[Request] = []
        self._jump_handles: dict[int, Any] = {}
        if node is not None:
            self.srv = node.create_service(FrameGraph, 'tf2_frames', self._frame_graph)
            self.watch_clock(node.get_clock())

    def watch_clock(self, clock: Clock) -> None:
        """Clear the buffer whenever this clock jumps back (simulated time, a bag that loops) or is exchanged.

        Args:
            clock: The clock of a node; the second call for the same one does nothing.
        """
        if id(clock) in self._jump_handles:
            return
        this = weakref.ref(self)

        def on_jump(jump: Any) -> None:
            if (buffer := this()) is not None:
                buffer.time_jump_callback(jump)

        threshold = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._jump_handles[id(clock)] = clock.create_jump_callback(threshold, post_callback=on_jump)

    def time_jump_callback(self, time_jump: Any) -> None:
        """Forget the moving frames, because the clock jumped back; static frames stay."""
        get_logger('tf2_buffer').warning('Detected jump back in time. Clearing tf buffer.')
        self.clear()

    def _frame_graph(self, request: FrameGraph.Request, response: FrameGraph.Response) -> FrameGraph.Response:
        response.frame_yaml = self.all_frames_as_yaml()
        return response

    def _insert(self, transform: TransformStamped, authority: str, *, is_static: bool) -> None:
        super()._insert(transform, authority, is_static=is_static)
        if self._waiting or self._requests:
            self._tell_waiting()

    def _tell_waiting(self) -> None:
        with self._new_data:
            self._new_data.notify_all()
            requests = list(self._requests)
        for request in requests:
            self._serve(request)

    def _request(self, lookup: Lookup) -> Future:
        """A future that gets the answer of `lookup` as soon as the data are there."""
        request = (lookup, Future())
        with self._new_data:
            self._requests.append(request)  # before asking, so that nothing arrives unseen in between
        request[1].add_done_callback(lambda _: self._forget(request))
        self._serve(request)
        return request[1]

    def _serve(self, request: Request) -> None:
        """Answer a request, by a transform or a lasting reason, if the data are there."""
        lookup, future = request
        try:
            result, reason = lookup(), None
        except NOT_YET:
            return
        except Exception as error:
            result, reason = None, error
        if not self._forget(request):
            return  # cancelled, or another thread has the answer
        if reason is None:
            future.set_result(result)
        else:
            future.set_exception(reason)

    def _forget(self, request: Request) -> bool:
        """Take a request off the list; whether it was there."""
        with self._new_data:
            known = request in self._requests
            if known:
                self._requests.remove(request)
        return known

    def _wait(self, lookup: Lookup, timeout: Duration) -> TransformStamped:
        """Look up, and while that fails for want of data, again whenever some arrives."""
        deadline = system_time.monotonic() + nanoseconds(timeout) * 1e-9
        with self._new_data:
            self._waiting += 1
            try:
                while True:
                    try:
                        return lookup()
                    except NOT_YET:
                        left = deadline - system_time.monotonic()
                        if left <= 0.0:
                            raise
                    self._new_data.wait(min(left, threading.TIMEOUT_MAX))
            finally:
                self._waiting -= 1

    def lookup_transform(
        self, target_frame: str, source_frame: str, time: Time, timeout: Duration = NO_WAIT
    ) -> TransformStamped:
        """The pose of the source frame in the target frame: `p_target = target_T_source @ p_source`.

        Args:
            target_frame: The frame in which the answer is given.
            source_frame: The frame whose pose is wanted.
            time: When; 0 means the newest time for which the whole chain is known.
            timeout: How long to wait for data, on the monotonic clock. It comes only if another thread spins.

        Returns:
            The transform with the time for which it holds.

        Raises:
            InvalidArgumentException: A name is empty or begins with a slash.
            LookupException: A frame is not known.
            ConnectivityException: No chain ties the frames.
            ExtrapolationException: A link of the chain has no data around that time.
        """
        if timeout is NO_WAIT or nanoseconds(timeout) <= 0:
            return self.lookup_transform_core(target_frame, source_frame, time)
        return self._wait(lambda: self.lookup_transform_core(target_frame, source_frame, time), timeout)

    def lookup_transform_full(
        self,
        target_frame: str,
        target_time: Time,
        source_frame: str,
        source_time: Time,
        fixed_frame: str,
        timeout: Duration = NO_WAIT,
    ) -> TransformStamped:
        """The pose that the source frame had at one time, in the target frame of another time.

        Args:
            target_frame: The frame in which the answer is given.
            target_time: The time of the target frame; 0 for the newest.
            source_frame: The frame whose pose is wanted.
            source_time: The time of the source frame; 0 for the newest.
            fixed_frame: The frame that is taken to be at rest between both times.
            timeout: How long to wait for data.

        Returns:
            target_T_source, stamped with the target's time.

        Raises:
            TransformException: As `lookup_transform`, for either half.
        """
        arguments = (target_frame, target_time, source_frame, source_time, fixed_frame)
        return self._wait(lambda: self.lookup_transform_full_core(*arguments), timeout)

    def can_transform(
        self,
        target_frame: str,
        source_frame: str,
        time: Time,
        timeout: Duration = NO_WAIT,
        return_debug_tuple: bool = False,
    ) -> bool | tuple[bool, str]:
        """Whether `lookup_transform` would answer within the timeout.

        Args:
            target_frame: The frame in which the answer would be given.
            source_frame: The frame whose pose would be wanted.
            time: When; 0 for the newest.
            timeout: How long to wait for data.
            return_debug_tuple: Return the reason as well.

        Returns:
            Yes or no, or (yes or no, the reason for no).
        """
        answer = self._possible(lambda: self.lookup_transform(target_frame, source_frame, time, timeout))
        return answer if return_debug_tuple else answer[0]

    def can_transform_full(
        self,
        target_frame: str,
        target_time: Time,
        source_frame: str,
        source_time: Time,
        fixed_frame: str,
        timeout: Duration = NO_WAIT,
        return_debug_tuple: bool = False,
    ) -> bool | tuple[bool, str]:
        """Whether `lookup_transform_full` would answer within the timeout; arguments as there.

        Returns:
            Yes or no, or with `return_debug_tuple` (yes or no, the reason for no).
        """
        arguments = (target_frame, target_time, source_frame, source_time, fixed_frame, timeout)
        answer = self._possible(lambda: self.lookup_transform_full(*arguments))
        return answer if return_debug_tuple else answer[0]

    @staticmethod
    def _possible(lookup: Lookup) -> tuple[bool, str]:
        try:
            lookup()
        except TransformException as error:
            return False, str(error)
        return True, ''

    def wait_for_transform_async(self, target_frame: str, source_frame: str, time: Time) -> Future:
        """A future of the transform that `lookup_transform` with these arguments gives; cancel it to stop waiting."""
        return self._request(lambda: self.lookup_transform_core(target_frame, source_frame, time))

    def wait_for_transform_full_async(
        self, target_frame: str, target_time: Time, source_frame: str, source_time: Time, fixed_frame: str
    ) -> Future:
        """A future of the transform that `lookup_transform_full` with these arguments gives."""
        arguments = (target_frame, target_time, source_frame, source_time, fixed_frame)
        return self._request(lambda: self.lookup_transform_full_core(*arguments))

    async def lookup_transform_async(self, target_frame: str, source_frame: str, time: Time) -> TransformStamped:
        """As `lookup_transform`, awaiting the data without end and without blocking the executor."""
        return await self.wait_for_transform_async(target_frame, source_frame, time)

    async def lookup_transform_full_async(
        self, target_frame: str, target_time: Time, source_frame: str, source_time: Time, fixed_frame: str
    ) -> TransformStamped:
        """As `lookup_transform_full`, awaiting the data without end and without blocking the executor."""
        return await self.wait_for_transform_full_async(
            target_frame, target_time, source_frame, source_time, fixed_frame
        )
