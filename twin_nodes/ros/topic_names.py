"""Names of topics that a user types."""

from rclpy.exceptions import InvalidTopicNameException
from rclpy.validate_topic_name import validate_topic_name

from twin_nodes.core.errors import InputError


def checked_topic(name: str) -> str:
    """Return a name that a topic may have.

    Raises:
        InputError: ROS allows no topic of that name.
    """
    try:
        validate_topic_name(name)
    except InvalidTopicNameException as error:
        why = str(error).splitlines()[0].removeprefix('Invalid topic name: ').rstrip(':')
        raise InputError(f'{name!r} is no name of a topic, such as /drill/filtered_cp: {why}') from None
    return name
