"""Images of tags with known truth, for the tests of visual tracking."""

import numpy as np

from twin_nodes.core.geometry.se3 import make_transform, rotation_exp
from twin_nodes.core.simulate.marker_images import MarkerScene, Optics
from twin_nodes.core.simulate.marker_trial import FAMILY, trial_camera
from twin_nodes.core.tracking.visual.config import VisualConfig
from twin_nodes.core.tracking.visual.markers import MarkerBody, square_tag
from twin_nodes.core.tracking.visual.tracker import VisualTracker

CLEAN = Optics(blur_px=0.7, noise=2.0)
NOISY = Optics(blur_px=1.0, noise=5.0)
SIZE = 0.03


def cube(name='cube', first=10, half=0.025):
    """A body with tags on three sides of a cube, so that its pose is never ambiguous."""
    tags = {}
    for number, turn in enumerate(([0, 0, 0], [0, 0.9, 0], [-0.9, 0, 0])):
        rotation = rotation_exp(turn)
        tags[first + number] = square_tag(SIZE) @ rotation.T + rotation @ [0.0, 0.0, -2.0 * half]
    return MarkerBody(name, tags)


def image_of(*placed, camera=None, optics=CLEAN, seed=0, family=FAMILY):
    """Render bodies at their poses camera_T_body."""
    scene = MarkerScene(camera or trial_camera(), optics)
    return scene.render(placed, np.random.default_rng(seed), family=family)


def pose(x=0.0, y=0.0, z=0.35, turn=(0.5, 0.3, 0.2)):
    return make_transform(rotation_exp(turn), [x, y, z])


def tracker(*bodies, camera=None, **settings):
    config = VisualConfig(**({'dictionary': FAMILY} | settings))
    return VisualTracker(config, camera or trial_camera(), bodies)
