"""What a launch file comes to: its arguments, the processes to start and the lines to say."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from twin_nodes.app.launch.parameters import Parameters, as_words


@dataclass(frozen=True)
class LaunchArgument:
    """An `<arg>` of a launch file.

    Args:
        name: Its name.
        default: Its default as written, or None when it must be given.
        description: What it is for.
        choices: The values allowed, or ().
        where: 'file:line'.
    """

    name: str
    default: str | None
    description: str
    choices: tuple[str, ...]
    where: str

    def __str__(self) -> str:
        default = 'must be given' if self.default is None else f'default: {self.default!r}'
        choices = f'; one of: {", ".join(self.choices)}' if self.choices else ''
        return f'{self.name}: {self.description or "no description"} ({default}{choices})'


@dataclass(frozen=True)
class ProcessPlan:
    """One process to start.

    Args:
        label: Name in front of its output, such as 'tracker_node-1'.
        where: 'file:line' of its element.
        program: Program and its own arguments, before the ROS arguments.
        ros_arguments: Words from `--ros-args` on, without the parameters.
        parameters: Parameter files, in order; in-line ones are written when the process starts.
        remaps: Words for the remappings, after the parameters.
        environment: Its whole environment.
        cwd: Its working folder, or None for ours.
        node: Fully qualified node name when both name and namespace are known, else ''.
        respawn: Whether it is started again when it ends.
        respawn_delay_s: Pause before that [s].
        respawn_max_retries: How often at most, or -1 for always.
        shutdown_on_exit: Whether its end ends the launch.
    """

    label: str
    where: str
    program: tuple[str, ...]
    ros_arguments: tuple[str, ...] = ()
    parameters: tuple[Parameters, ...] = ()
    remaps: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    node: str = ''
    respawn: bool = False
    respawn_delay_s: float = 0.0
    respawn_max_retries: int = -1
    shutdown_on_exit: bool = False

    def command(self, folder: Path) -> list[str]:
        """Return the words to execute, writing in-line parameters below `folder`."""
        return [*self.program, *self.ros_arguments, *as_words(self.parameters, folder), *self.remaps]

    def __str__(self) -> str:
        """Return the command for people, with in-line parameters in place of the file that will hold them."""
        parameters = [f'--params-file {shlex.quote(str(item))}' for item in self.parameters]
        words = [shlex.join([*self.program, *self.ros_arguments]), *parameters, shlex.join(self.remaps)]
        return ' '.join(word for word in words if word)


@dataclass(frozen=True)
class LaunchPlan:
    """All that a launch file comes to.

    Args:
        file: The file.
        arguments: Its declared arguments, those of included files too.
        processes: The processes in the order in which they start.
        messages: The `<log>` lines.
    """

    file: Path
    arguments: tuple[LaunchArgument, ...]
    processes: tuple[ProcessPlan, ...]
    messages: tuple[str, ...]
