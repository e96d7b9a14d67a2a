"""How the kernels of a pose at a time are compiled: one thread, the GIL released, no fast-math."""

from collections.abc import Callable
from typing import Any

import numba

from twin_nodes.core.kernel_start import spare_blas_check

spare_blas_check()

# no reference counts: what runs inside borrows its arrays, and counting them takes a third of the time
INSIDE: dict[str, Any] = {'nogil': True, 'error_model': 'numpy', '_nrt': False}


def compile_for(signature: str) -> Callable[[Any], Any]:
    """Compile for one signature; cached on disk where a cache can be written, in memory elsewhere."""

    def decorate(function: Any) -> Any:
        settings: dict[str, Any] = {'nogil': True, 'error_model': 'numpy'}
        try:
            return numba.njit(signature, cache=True, **settings)(function)
        except (RuntimeError, OSError):  # numba: 'cannot cache function: no locator available'
            return numba.njit(signature, **settings)(function)

    return decorate
