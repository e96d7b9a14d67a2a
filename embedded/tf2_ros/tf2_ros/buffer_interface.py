"""What every buffer can do, given that it can look up."""

from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.time import Time

from .registration import (
    ConvertRegistration,
    NotImplementedException,
    Stamped,
    TransformRegistration,
    TypeException,
    convert,
)

__all__ = [
    'BufferInterface',
    'ConvertRegistration',
    'NotImplementedException',
    'Stamped',
    'TransformRegistration',
    'TypeException',
    'convert',
]

NO_WAIT = Duration()


class BufferInterface:
    """Carries objects between frames; a subclass looks the transforms up."""

    def __init__(self) -> None:
        self.registration = TransformRegistration()

    def transform(
        self, object_stamped: Any, target_frame: str, timeout: Duration = NO_WAIT, new_type: type | None = None
    ) -> Any:
        """Carry an object into another frame, at the object's own time.

        Args:
            object_stamped: A message with a header, of a registered type.
            target_frame: Where to.
            timeout: How long to wait for the transform.
            new_type: Type of the answer, when not the same.

        Returns:
            The object in the target frame.

        Raises:
            TypeException: The type is not registered.
            TransformException: As `lookup_transform`.
        """
        carry = self.registration.get(type(object_stamped))
        header = object_stamped.header
        result = carry(object_stamped, self.lookup_transform(target_frame, header.frame_id, header.stamp, timeout))
        return result if new_type is None else convert(result, new_type)

    def transform_full(
        self,
        object_stamped: Any,
        target_frame: str,
        target_time: Time,
        fixed_frame: str,
        timeout: Duration = NO_WAIT,
        new_type: type | None = None,
    ) -> Any:
        """Carry an object of its own time into another frame of another time.

        Args:
            object_stamped: A message with a header, of a registered type.
            target_frame: Where to.
            target_time: The time of the target frame.
            fixed_frame: The frame taken to be at rest between both times.
            timeout: How long to wait for the transform.
            new_type: Type of the answer, when not the same.

        Returns:
            The object in the target frame.

        Raises:
            TypeException: The type is not registered.
            TransformException: As `lookup_transform_full`.
        """
        carry = self.registration.get(type(object_stamped))
        header = object_stamped.header
        transform = self.lookup_transform_full(
            target_frame, target_time, header.frame_id, header.stamp, fixed_frame, timeout
        )
        result = carry(object_stamped, transform)
        return result if new_type is None else convert(result, new_type)

    def lookup_transform(
        self, target_frame: str, source_frame: str, time: Time, timeout: Duration = NO_WAIT
    ) -> TransformStamped:
        """To be written by the subclass."""
        raise NotImplementedException

    def lookup_transform_full(
        self,
        target_frame: str,
        target_time: Time,
        source_frame: str,
        source_time: Time,
        fixed_frame: str,
        timeout: Duration = NO_WAIT,
    ) -> TransformStamped:
        """To be written by the subclass."""
        raise NotImplementedException

    def can_transform(self, target_frame: str, source_frame: str, time: Time, timeout: Duration = NO_WAIT) -> bool:
        """To be written by the subclass."""
        raise NotImplementedException

    def can_transform_full(
        self,
        target_frame: str,
        target_time: Time,
        source_frame: str,
        source_time: Time,
        fixed_frame: str,
        timeout: Duration = NO_WAIT,
    ) -> bool:
        """To be written by the subclass."""
        raise NotImplementedException
