"""Colours, signs and words of the page: every zone and level has all three, so that none hangs on colour alone."""

from dataclasses import dataclass

from twin_nodes.app.view.records import Level
from twin_nodes.core.guidance.zones import Zone

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Look:
    """How a zone or level is told: a sign, a word and a colour."""

    sign: str
    word: str
    colour: Colour

    @property
    def css(self) -> str:
        """The colour for CSS."""
        return '#{:02x}{:02x}{:02x}'.format(*self.colour)


ZONES = {
    Zone.CLEAR: Look('●', 'clear', (61, 186, 142)),
    Zone.NEAR: Look('▲', 'NEAR', (246, 178, 46)),
    Zone.INSIDE: Look('◆', 'INSIDE', (240, 72, 72)),
    Zone.WITHDRAWN: Look('○', 'no distance', (142, 150, 162)),
}
LEVELS = {
    Level.OK: Look('✓', 'ok', (61, 186, 142)),
    Level.WARN: Look('▲', 'warning', (246, 178, 46)),
    Level.ERROR: Look('✕', 'error', (240, 72, 72)),
    Level.STALE: Look('○', 'silent', (142, 150, 162)),
}
TOOL_LIVE: Colour = (206, 216, 228)
TOOL_BODY: Colour = (92, 120, 158)
TOOL_TIP: Colour = (90, 200, 250)
TOOL_LOST: Colour = (112, 117, 126)
MARKER_SPHERE: Colour = (214, 218, 224)
PATIENT_BODY: Colour = (176, 138, 74)
TRACKER_BODY: Colour = (70, 78, 92)
TRACKER_LENS: Colour = (170, 40, 60)
TRAIL: Colour = (90, 200, 250)
RIM: Colour = (250, 250, 250)
TARGET: Colour = (186, 120, 240)
TARGET_SIGN = '◎'
ROUTE_CHOSEN: Colour = (61, 186, 142)
ROUTE_OTHER: Colour = (120, 128, 142)
GHOST: Colour = (120, 220, 255)
SEEN: Colour = (246, 178, 46)
FIXTURE: Colour = (240, 150, 220)
FORBIDDEN: Colour = (240, 90, 76)
HULL: Colour = (150, 58, 52)
GRID_CELL: Colour = (44, 50, 60)
GRID_SECTION: Colour = (62, 70, 84)
BACKGROUND_TOP: Colour = (38, 46, 58)
BACKGROUND_BOTTOM: Colour = (12, 14, 18)


def structure_colour(zone: Zone, own: tuple[float, float, float]) -> Colour:
    """Return the colour of a structure: the zone's own when near or inside, tinted by it when clear, else greyed.

    Args:
        zone: The zone of the structure.
        own: Colour that the anatomy gave it, in [0, 1].
    """
    looked = ZONES[zone].colour
    if zone in (Zone.NEAR, Zone.INSIDE):
        return looked
    share = 0.5 if zone is Zone.CLEAR else 0.35
    red, green, blue = (
        round(share * theirs + (1.0 - share) * 255.0 * min(max(mine, 0.0), 1.0))
        for theirs, mine in zip(looked, own, strict=True)
    )
    return red, green, blue
