"""BLAS and LAPACK from inside compiled kernels, by the addresses that scipy publishes.

numba holds no lock while such a kernel runs, so that a factorisation leaves the other threads alone.
"""

import ctypes
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import get_cython_function_address, intrinsic
from numpy.typing import NDArray

ROUTINES = ('potrf', 'trtri', 'trsm', 'trmm', 'syrk', 'gemm', 'gemv')
POTRF, TRTRI, TRSM, TRMM, SYRK, GEMM, GEMV = range(len(ROUTINES))
# the constants that Fortran wants by reference
LETTERS = np.frombuffer(b'LRNTU', np.uint8).copy()
LEFT_OR_LOWER, RIGHT, PLAIN, TRANSPOSED, UPPER = range(5)
ONE, MINUS_ONE, ZERO = 0, 1, 2


@cache
def keep_to_one_thread() -> bool:
    """Have scipy's OpenBLAS use one thread; return whether it could be told so.

    A second one on a shared core costs milliseconds, and other sums on other machines.
    """
    from scipy.linalg import cython_blas

    library = ctypes.CDLL(cython_blas.__file__)  # looks in what it depends on, too
    for name in ('scipy_openblas_set_num_threads', 'openblas_set_num_threads', 'scipy_openblas_set_num_threads64_'):
        told = getattr(library, name, None)
        if told is not None:
            told(ctypes.c_int(1))
            return True
    return False


@cache
def addresses(dtype: Any) -> NDArray[np.int64]:
    """Return the addresses of ROUTINES for float32 or float64."""
    keep_to_one_thread()
    letter = 's' if np.dtype(dtype) == np.float32 else 'd'
    lapack = {'potrf', 'trtri'}
    return np.array(
        [
            get_cython_function_address(
                f'scipy.linalg.cython_{"lapack" if name in lapack else "blas"}', f'{letter}{name}'
            )
            for name in ROUTINES
        ],
        np.int64,
    )


def constants(dtype: Any) -> NDArray[Any]:
    """Return 1, -1 and 0 of the type."""
    return np.array([1.0, -1.0, 0.0], dtype)


def _call(_context: Any, address: Any, arguments: Any) -> Any:
    """Call a Fortran routine at an address with a tuple of pointers given as integers."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        count = signature.args[1].count
        pointers = [builder.inttoptr(builder.extract_value(values[1], i), pointer) for i in range(count)]
        kind = ir.FunctionType(ir.VoidType(), [pointer] * count)
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), pointers)
        return context.get_dummy_value()

    return types.void(address, arguments), generate


call: Any = intrinsic(_call)


@njit(cache=True, nogil=True)
def potrf(at: Any, letters: Any, a: int, lda: int, n: int, whole: Any) -> Any:
    """Factor the lower triangle at address a in place; return LAPACK's info."""
    whole[0], whole[1], whole[2] = n, lda, 0
    w = whole.ctypes.data
    call(at[POTRF], (letters.ctypes.data, w, a, w + 4, w + 8))
    return whole[2]


@njit(cache=True, nogil=True)
def trtri(at: Any, letters: Any, a: int, lda: int, n: int, whole: Any) -> Any:
    """Invert the lower triangle at address a in place; return LAPACK's info."""
    whole[0], whole[1], whole[2] = n, lda, 0
    w, c = whole.ctypes.data, letters.ctypes.data
    call(at[TRTRI], (c, c + PLAIN, w, a, w + 4, w + 8))
    return whole[2]


@njit(cache=True, nogil=True)
def triangle_right(
    routine: Any, letters: Any, transposed: bool, m: int, n: int, scale: Any, factor: int, a: int, lda: int, b: int,
    ldb: int, whole: Any,
) -> None:  # fmt: skip
    """B ← scale·B·op(A) or, of trsm, scale·B·op(A)⁻¹, with a lower triangle A (n, n) and B (m, n)."""
    whole[0], whole[1], whole[2], whole[3] = m, n, lda, ldb
    w, c, s = whole.ctypes.data, letters.ctypes.data, scale.ctypes.data + factor * scale.itemsize
    op = c + (TRANSPOSED if transposed else PLAIN)
    call(routine, (c + RIGHT, c, op, c + PLAIN, w, w + 4, s, a, w + 8, b, w + 12))


@njit(cache=True, nogil=True)
def syrk(at: Any, letters: Any, n: int, k: int, scale: Any, a: int, lda: int, c_at: int, ldc: int, whole: Any) -> None:
    """C ← C - A·Aᵀ on the lower triangle, with A (n, k)."""
    whole[0], whole[1], whole[2], whole[3] = n, k, lda, ldc
    w, c, s = whole.ctypes.data, letters.ctypes.data, scale.ctypes.data
    call(at[SYRK], (c, c + PLAIN, w, w + 4, s + scale.itemsize, a, w + 8, s, c_at, w + 12))


@njit(cache=True, nogil=True)
def gemv(
    at: Any, letters: Any, transposed: bool, m: int, n: int, scale: Any, a: int, x: int, beta: int, y: int, whole: Any
) -> None:
    """Y ← op(A)·x + scale[beta]·y with A (m, n) without gaps."""
    whole[0], whole[1], whole[2] = m, n, 1
    w, c, s = whole.ctypes.data, letters.ctypes.data, scale.ctypes.data
    op = c + (TRANSPOSED if transposed else PLAIN)
    call(at[GEMV], (op, w, w + 4, s, a, w, x, w + 8, s + beta * scale.itemsize, y, w + 8))


@njit(cache=True, nogil=True)
def gemm(
    at: Any, letters: Any, transposed: bool, m: int, n: int, k: int, scale: Any, a: int, lda: int, b: int, ldb: int,
    beta: int, c_at: int, ldc: int, whole: Any,
) -> None:  # fmt: skip
    """C ← op(A)·B + scale[beta]·C with C (m, n) and k the inner length."""
    whole[0], whole[1], whole[2], whole[3], whole[4], whole[5] = m, n, k, lda, ldb, ldc
    w, c, s = whole.ctypes.data, letters.ctypes.data, scale.ctypes.data
    op = c + (TRANSPOSED if transposed else PLAIN)
    call(
        at[GEMM],
        (op, c + PLAIN, w, w + 4, w + 8, s, a, w + 12, b, w + 16, s + beta * scale.itemsize, c_at, w + 20),
    )
