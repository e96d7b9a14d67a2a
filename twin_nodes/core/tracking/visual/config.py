"""Settings of visual tracking."""

from dataclasses import dataclass

from twin_nodes.core.config import setting


@dataclass(frozen=True)
class VisualConfig:
    """Settings of detection and of the poses; the defaults suit printed tags and an HD camera."""

    dictionary: str = setting(
        'Family of the tags: 4X4_50 … 7X7_1000, ARUCO_ORIGINAL, ARUCO_MIP_36H12, APRILTAG_16H5, _25H9, _36H10, _36H11.',
        'APRILTAG_36H11',
    )
    tag_size: float = setting(
        'Side of the black square of tags that no body file names; each becomes the device tag_<id>. 0 for none.',
        0.0,
        unit='m',
        minimum=0.0,
        maximum=10.0,
    )
    refine: bool = setting('Whether corners are refined to a fraction of a pixel by lines fitted to the edges.', True)
    pixel_noise: float = setting(
        'Least standard deviation of a corner on each axis, whatever the residuals say.',
        0.01,
        unit='px',
        minimum=1e-4,
        maximum=10.0,
    )
    board_noise: float = setting(
        'Standard deviation of a ChArUco corner on each axis, before the residuals correct it.',
        0.1,
        unit='px',
        minimum=1e-3,
        maximum=10.0,
    )
    min_side_px: float = setting('Shortest side of a tag that is believed.', 12.0, unit='px', minimum=4.0, maximum=1e4)
    max_view_angle: float = setting(
        'Largest angle between the normal of a tag and the line of sight.', 1.4, unit='rad', minimum=0.1, maximum=1.56
    )
    max_reprojection: float = setting(
        'Largest RMS distance of the corners from where the pose puts them.',
        3.0,
        unit='px',
        minimum=0.05,
        maximum=100.0,
    )
    outlier: float = setting(
        'Misfit of a tag over that of the others, in standard deviations, above which the body goes on without it.',
        6.0,
        minimum=2.0,
        maximum=100.0,
    )
    certainty: float = setting(
        'Probability that one of two solutions must reach before it is given; below, the pose is ambiguous.',
        0.99,
        minimum=0.51,
        maximum=0.999999,
    )
    lasting_error: float = setting(
        'Error of a corner that is the same in many images, as those of lens and print are; it bounds how sure many '
        'alike images can make one of two solutions.',
        0.25,
        unit='px',
        minimum=0.001,
        maximum=10.0,
    )
    turn_rate: float = setting(
        'How fast a body usually turns; a solution that turns faster than that is the less likely one.',
        1.0,
        unit='rad/s',
        minimum=0.001,
        maximum=100.0,
    )
    memory: float = setting(
        'Time without a pose after which what was known of the two solutions is forgotten.',
        0.5,
        unit='s',
        minimum=0.01,
        maximum=60.0,
    )
