"""A force profile from recorded strokes: what `twin calibrate force` does."""

from dataclasses import dataclass
from pathlib import Path

from twin_nodes.app.figures import Figure, judge
from twin_nodes.core.errors import ConfigError
from twin_nodes.core.guidance.force_profile import ForceProfile, identify_profile
from twin_nodes.io.force_profiles import read_strokes, write_force_profile


@dataclass(frozen=True, eq=False)
class ForceReport:
    """A profile, its figures and its text."""

    profile: ForceProfile
    figures: list[Figure]
    text: str


def calibrate_force(strokes: Path, *, bins: int = 24, output: Path | None = None) -> ForceReport:
    """Build the profile of recorded strokes, and write it.

    Args:
        strokes: Table (CSV), as `io.force_profiles.read_strokes` wants it.
        bins: Depths of the table besides 0.
        output: Where to write it; nowhere when left out.

    Raises:
        InputError: FORCE_TABLE_REFUSED with what is wrong with the table.
        DegenerateGeometryError: too little of going in was recorded.
        ConfigError: the file cannot be written, or is the one that was read.
    """
    if output is not None and output.resolve() == strokes.resolve():
        raise ConfigError(f'{output} is the recording itself: give another file to write')
    depth, speed, force = read_strokes(strokes)
    profile = identify_profile(depth, speed, force, bins=bins)
    if output is not None:
        write_force_profile(output, profile, source=strokes)
    most = float(profile.entering.max())
    figures = [
        judge('force_max_n', most, 'N'),
        judge('force_sigma_n', profile.sigma, 'N'),
        judge('depth_max_mm', 1e3 * float(profile.depths[-1]), 'mm'),
        judge('samples_count', float((depth > 0.0).sum()), ''),
    ]
    paces = ', '.join(f'{1e3 * pace:.1f}' for pace in profile.speeds)
    kept = 1.0 - float(profile.leaving.mean() / profile.entering.mean()) if most > 0.0 else 0.0
    text = (
        f'{strokes}: {int((depth > 0.0).sum())} samples in the tissue, to {1e3 * profile.depths[-1]:.1f} mm\n'
        f'  {most:.2f} N at most on the way in, at {paces} mm/s; {100.0 * kept:.0f} % less on the way out\n'
        f'  σ of the strokes about the table {profile.sigma:.3f} N'
    )
    wrote = f'\n  {output}: give it to guidance_node as `force.profile`' if output is not None else ''
    return ForceReport(profile, figures, text + (wrote or '\n  nothing written: give -o FILE'))
