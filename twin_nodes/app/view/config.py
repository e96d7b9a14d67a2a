"""Settings of the live view."""

from dataclasses import dataclass

from twin_nodes.core.config import setting
from twin_nodes.core.errors import ConfigError


@dataclass(frozen=True)
class ViewConfig:
    """What the live view shows, where it serves its page and how often it draws."""

    tools: tuple[str, ...] = setting('Names of the tools to show, as in tf; the first is the guided one.')
    host: str = setting('Address to serve the page on; anything but loopback opens it to the network.', '127.0.0.1')
    port: int = setting(
        'TCP port of the page; 0 takes the first free one from 8080 on.', 8080, minimum=0, maximum=65535
    )
    update_rate_hz: float = setting('Pictures per second.', 30.0, unit='Hz', minimum=1.0, maximum=30.0)
    fixed_frame: str = setting('Frame that stands still on the page.', 'world')
    tracker_frame: str = setting('Frame of the tracker; stands still when fixed_frame is not in tf.', 'tracker')
    patient_frame: str = setting('Frame of the reference body on the patient.', 'patient')
    anatomy_frame: str = setting('Frame of the anatomy (image coordinates, LPS).', 'anatomy')
    up: str = setting(
        'Axis of the fixed frame that points up on the page.', '+z', choices=('+x', '-x', '+y', '-y', '+z', '-z')
    )
    stale_after_s: float = setting(
        'A tool without a new pose for this long is shown as lost.', 0.5, unit='s', minimum=0.05, maximum=10.0
    )
    trail_points: int = setting('Longest trail of the tip.', 400, minimum=0, maximum=5000)
    trail_step: float = setting(
        'Distance between two points of the trail.', 0.0005, unit='m', minimum=0.0001, maximum=0.1
    )
    alarm_count: int = setting('Entries kept in the time line.', 20, minimum=1, maximum=200)
    shaft_axis: tuple[float, ...] = setting('Axis of the shaft in the tip frame, from tip to handle.', (0.0, 0.0, 1.0))
    shaft_length: float = setting('Length of the shaft drawn behind the tip.', 0.1, unit='m', minimum=0.01, maximum=1.0)
    shaft_radius: float = setting('Radius of the shaft.', 0.0015, unit='m', minimum=0.0001, maximum=0.05)
    models: tuple[str, ...] = setting(
        'Topics with models that hang on tf frames (MarkerArray), such as PSM1/model of robot_node.', ()
    )
    tracking: bool = setting('Whether tracker and marker bodies are drawn; false for a robot alone.', True)
    sites: tuple[str, ...] = setting(
        "Namespaces of two sites of telesurgery to show side by side, the surgeon's first; empty for one room.", ()
    )
    site_gap: float = setting('Distance between the sites on the page.', 0.25, unit='m', minimum=0.01, maximum=10.0)
    burr_radius: float = setting('Radius of the tip sphere.', 0.002, unit='m', minimum=0.0001, maximum=0.05)

    def __post_init__(self) -> None:
        """Check the relations between the fields."""
        if len(set(self.tools)) != len(self.tools):
            raise ConfigError(f'tools={list(self.tools)} names a tool twice')
        if len(set(self.sites)) != len(self.sites) or not all(self.sites):
            raise ConfigError(f'sites={list(self.sites)} must be different names, none empty')
        if not self.tools or not all(self.tools):
            raise ConfigError(f'tools={list(self.tools)} must name at least one tool')
        if len(self.shaft_axis) != 3 or sum(part * part for part in self.shaft_axis) < 1e-12:
            raise ConfigError(f'shaft_axis={list(self.shaft_axis)} must be 3 numbers that are not all zero')
