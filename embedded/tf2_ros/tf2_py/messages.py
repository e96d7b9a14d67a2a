"""TransformStamped from numbers, without the checks of the message classes where that is possible (5 times faster)."""

from collections.abc import Callable

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from std_msgs.msg import Header

from .rigid import Pose

# Whether later assignments are checked, as in every other message of this process.
CHECK_FIELDS = getattr(Header(), '_check_fields', True)

Builder = Callable[[str, str, int, Pose], TransformStamped]


def checked_transform(target: str, source: str, stamp: int, pose: Pose) -> TransformStamped:
    """Build the message through the constructors of rosidl."""
    x, y, z, i, j, k, w = pose
    sec, nanosec = divmod(stamp, 1_000_000_000)
    return TransformStamped(
        header=Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id=target),
        child_frame_id=source,
        transform=Transform(translation=Vector3(x=x, y=y, z=z), rotation=Quaternion(x=i, y=j, z=k, w=w)),
    )


def quick_transform(target: str, source: str, stamp: int, pose: Pose) -> TransformStamped:
    """Build the same message by filling the slots of the classes."""
    new = object.__new__
    message, header, time, transform = new(TransformStamped), new(Header), new(Time), new(Transform)
    translation, rotation = new(Vector3), new(Quaternion)
    message._check_fields = header._check_fields = time._check_fields = CHECK_FIELDS
    transform._check_fields = translation._check_fields = rotation._check_fields = CHECK_FIELDS
    translation._x, translation._y, translation._z = pose[:3]
    rotation._x, rotation._y, rotation._z, rotation._w = pose[3:]
    transform._translation = translation
    transform._rotation = rotation
    time._sec, time._nanosec = divmod(stamp, 1_000_000_000)
    header._stamp = time
    header._frame_id = target
    message._header = header
    message._child_frame_id = source
    message._transform = transform
    return message


def choose_builder() -> Builder:
    """The quick builder where the generated classes have the slots that it fills, else the checked one.

    Returns:
        A function of target frame, source frame, stamp in nanoseconds and target_T_source.
    """
    arguments = ('a', 'b', 1_000_000_002, (1.0, 2.0, 3.0, 0.0, 0.6, 0.0, 0.8))
    expected = checked_transform(*arguments)
    try:
        quick = quick_transform(*arguments)
    except (AttributeError, TypeError):
        return checked_transform
    same_slots = all(
        set(part.__slots__) == {f'_{name}' for name in part.get_fields_and_field_types()} | {'_check_fields'}
        for part in (TransformStamped, Header, Time, Transform, Vector3, Quaternion)
    )
    return quick_transform if same_slots and quick == expected and repr(quick) == repr(expected) else checked_transform


build_transform = choose_builder()
