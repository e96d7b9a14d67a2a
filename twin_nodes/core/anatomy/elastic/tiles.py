"""Products with tiles of 32 rows that are kept in 16 bits: the upper half of a float32 (bfloat16).

A tile holds its columns one after the other, LANES values each. Sums are float32, and stay in registers for a whole
tile, so that what is read is all that it costs. The vectors are LLVM's own: each machine gets the instructions it has.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES, FOLD = 32, 16
_FAST = ('contract', 'reassoc', 'nsz')
_FLOAT, _INT = ir.FloatType(), ir.IntType(32)
_BITS = ir.VectorType(ir.IntType(16), LANES)
_WORDS, _FLOATS, _FOLDED = ir.VectorType(_INT, LANES), ir.VectorType(_FLOAT, LANES), ir.VectorType(_FLOAT, FOLD)
_NONE = ir.Constant(_FLOATS, ir.Undefined)


def _pointer(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


def _column(builder: Any, tile: Any, column: Any) -> Any:
    bits = builder.load(builder.gep(tile, [column]), align=2)
    words = builder.shl(builder.zext(bits, _WORDS), ir.Constant(_WORDS, [16] * LANES))
    return builder.bitcast(words, _FLOATS)


def _all(builder: Any, one: Any) -> Any:
    """Return a vector that holds the same in each place."""
    first = builder.insert_element(_NONE, one, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, _NONE, ir.Constant(_WORDS, [0] * LANES))


def _add(count: int) -> Callable[..., Any]:
    """Return the intrinsic Y ← Y + tile · X for so many right sides."""

    def typed(typing: Any, tile: Any, columns: Any, x: Any, x_step: Any, y: Any, y_step: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            tile, columns, x, x_step, y, y_step = values
            tile = _pointer(builder, tile, _BITS)
            steps = [ir.Constant(ir.IntType(64), k) for k in range(count)]
            xs = [_pointer(builder, builder.add(x, builder.mul(x_step, k)), _FLOAT) for k in steps]
            ys = [_pointer(builder, builder.add(y, builder.mul(y_step, k)), _FLOATS) for k in steps]
            sums = [cgutils.alloca_once(builder, _FLOATS) for _ in steps]  # type: ignore[no-untyped-call]
            for here, total in zip(ys, sums, strict=True):
                builder.store(builder.load(here, align=4), total)
            with cgutils.for_range(builder, columns) as loop:
                column = _column(builder, tile, loop.index)
                for here, total in zip(xs, sums, strict=True):
                    share = _all(builder, builder.load(builder.gep(here, [loop.index])))
                    more = builder.fmul(column, share, flags=_FAST)
                    builder.store(builder.fadd(builder.load(total), more, flags=_FAST), total)
            for here, total in zip(ys, sums, strict=True):
                builder.store(builder.load(total), here, align=4)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), generate

    return typed


def _dot(typing: Any, tile: Any, columns: Any, y: Any, sums: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        tile, columns, y, sums = values
        tile, sums = _pointer(builder, tile, _BITS), _pointer(builder, sums, _FOLDED)
        there = builder.load(_pointer(builder, y, _FLOATS), align=4)
        halves = [ir.Constant(ir.VectorType(_INT, FOLD), list(range(low, low + FOLD))) for low in range(0, LANES, FOLD)]
        with cgutils.for_range(builder, columns) as loop:
            product = builder.fmul(_column(builder, tile, loop.index), there, flags=_FAST)
            low, high = (builder.shuffle_vector(product, _NONE, half) for half in halves)
            total = builder.gep(sums, [loop.index])
            more = builder.fadd(low, high, flags=_FAST)
            builder.store(builder.fadd(builder.load(total, align=4), more, flags=_FAST), total, align=4)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


def _narrow(typing: Any, values: Any, kept: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, addresses: Any) -> Any:
        values, kept = addresses
        sixteen, one = ir.Constant(_WORDS, [16] * LANES), ir.Constant(_WORDS, [1] * LANES)
        words = builder.load(_pointer(builder, values, _WORDS), align=4)
        odd = builder.and_(builder.lshr(words, sixteen), one)  # ties go to even
        words = builder.add(words, builder.add(odd, ir.Constant(_WORDS, [0x7FFF] * LANES)))
        builder.store(builder.trunc(builder.lshr(words, sixteen), _BITS), _pointer(builder, kept, _BITS), align=2)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


# (tile, columns, x, bytes between two x, y, bytes between two y), all but the columns and bytes addresses
add_one: Any = intrinsic(_add(1))
add_three: Any = intrinsic(_add(3))
# (tile, columns, y, sums): sums (columns, FOLD) ← sums + what sums to tileᵀ · y
dot: Any = intrinsic(_dot)
# (values, kept): LANES float32, rounded to the nearest that 16 bits can tell
narrow: Any = intrinsic(_narrow)
