"""What a node must not load to start."""

import subprocess
import sys


def loaded(code: str, module: str) -> bool:
    program = f'{code}; import sys; print({module!r} in sys.modules)'
    return (
        subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=True).stdout == 'True\n'
    )


def test_settings_of_tracking_load_no_compiler():
    assert not loaded('import twin_nodes.core.tracking.pipeline', 'numba')


def test_kernels_load_without_scipy_linalg():
    assert not loaded('import twin_nodes.core.tracking.gate_kernels', 'scipy.linalg')


def test_matrix_products_still_compile():
    import twin_nodes.core.tracking.filter_kernels  # noqa: F401, I001
    import numba
    import numpy as np

    assert numba.njit(lambda a: a @ a)(2.0 * np.eye(3))[0, 0] == 4.0
