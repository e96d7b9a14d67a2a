"""Makes the first compiled kernel of a process load sooner."""

import sys


def spare_blas_check() -> None:
    """Load numba's array functions without their look for a BLAS.

    That look imports scipy.linalg, 0.14 s of the start of a node, and serves np.cov alone; whatever else needs a BLAS
    looks again when it is compiled. Does nothing where numba has been loaded, or is built otherwise.
    """
    if 'numba.np.arraymath' in sys.modules:
        return
    try:
        from numba.np import linalg

        look = linalg.ensure_blas
    except (ImportError, AttributeError):
        return
    linalg.ensure_blas = lambda: None
    try:
        import numba.np.arraymath  # noqa: F401
    finally:
        linalg.ensure_blas = look
