"""A registration as values, level and code of a diagnostic."""

from twin_nodes.core.registration.procedure import SwabUpdate
from twin_nodes.core.registration.session import LandmarkSession, SessionUpdate
from twin_nodes.ros.health import OK, WARN


def landmark_values(session: LandmarkSession | None, update: SessionUpdate | None) -> dict[str, object]:
    """Return how far the landmarks are, with the residual of each."""
    if session is None:
        return {}
    total = len(session.names)
    if update is None:
        return {'landmarks_found': 0, 'landmarks': total}
    values: dict[str, object] = {
        'landmarks_found': len(update.found),
        'landmarks': total,
        'dwells': len(session.dwells),
        'missing': ', '.join(update.match.missing),
    }
    if update.result is not None:
        values['verdict'] = str(update.result.verdict)
        values['fre_mm'] = update.result.fre_rms * 1e3
        values |= {f'residual {name} mm': length * 1e3 for name, length in update.result.residuals.items()}
        values |= {f'left out {name} mm': length * 1e3 for name, length in update.result.excluded.items()}
    return values


def standing_of(update: SessionUpdate) -> tuple[bytes, str]:
    """Return level and code of a landmark registration."""
    if not update.usable:
        return WARN, 'REGISTRATION_REFUSED' if update.result is not None else 'NOT_REGISTERED'
    if update.result is not None and update.result.reasons:
        return WARN, 'REGISTRATION_POOR'
    return (OK, 'OK') if not update.match.missing else (WARN, 'NOT_REGISTERED')


def swab_values(update: SwabUpdate) -> dict[str, object]:
    """Return what a swab says in numbers."""
    values: dict[str, object] = {'swab_points': update.points}
    if update.result is not None:
        found = update.result
        values |= {
            'verdict': str(found.verdict),
            'surface_rms_mm': found.surface.rms * 1e3,
            'systematic_mm': found.surface.systematic * 1e3,
            'inliers_percent': found.surface.inlier_share * 100.0,
            'worst_sigma_mm': found.sigma * 1e3,
        }
        if found.disagreement == found.disagreement:  # NaN without landmarks
            values['landmarks_against_surface_mm'] = found.disagreement * 1e3
    return values


def swab_standing_of(update: SwabUpdate) -> tuple[bytes, str]:
    """Return level and code of a swab."""
    if update.provisional:
        return WARN, 'NOT_REGISTERED'
    if not update.usable:
        return WARN, 'REGISTRATION_REFUSED'
    assert update.result is not None
    return (WARN, 'REGISTRATION_POOR') if update.result.reasons else (OK, 'OK')
