"""Vector code for products of small matrices: each row of a matrix is `LANES` windows wide.

Numba cannot hold a row of accumulators in registers over a loop, and on matrices this small all
else is lost between memory and instruction; these few functions therefore write their LLVM code
themselves. Vectors have `LANES` elements on every machine; LLVM cuts them to the registers there
are.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 32
"""Windows that are computed together: the innermost axis of every map."""

_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_INDEX = types.int64
_FLAGS = ("contract", "reassoc", "nsz")


def _pointer(context: Any, builder: Any, kind: Any, array: Any, offset: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [offset])


def _load(builder: Any, pointer: Any) -> Any:
    return builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)


def _store(builder: Any, value: Any, pointer: Any) -> None:
    builder.store(value, builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)


def _splat(builder: Any, value: Any) -> Any:
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, _i32(0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), mask)


def _sum(builder: Any, vector: Any) -> Any:
    width = LANES
    while width > 1:
        width //= 2
        kind = ir.VectorType(ir.IntType(32), width)
        undefined = ir.Constant(vector.type, ir.Undefined)
        low = builder.shuffle_vector(vector, undefined, ir.Constant(kind, list(range(width))))
        high = builder.shuffle_vector(
            vector, undefined, ir.Constant(kind, list(range(width, 2 * width)))
        )
        vector = builder.fadd(low, high)
    return builder.extract_element(vector, _i32(0))


def _multiply_add(builder: Any, one: Any, other: Any, total: Any) -> Any:
    return builder.fadd(builder.fmul(one, other, flags=_FLAGS), total, flags=_FLAGS)


def _i32(value: int) -> Any:
    return ir.Constant(ir.IntType(32), value)


def _i64(value: int) -> Any:
    return ir.Constant(ir.IntType(64), value)


def _make_add_rows(rows: int) -> Callable[..., None]:
    @intrinsic
    def add_rows(
        typing: Any, out: Any, o: Any, x: Any, i: Any, w: Any, j: Any, row: Any, step: Any, n: Any
    ) -> Any:
        """out[o + r] += sum over n of w[j + r * row + n * step] * x[i + n], in rows of LANES."""
        signature = types.void(out, _INDEX, x, _INDEX, w, _INDEX, _INDEX, _INDEX, _INDEX)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            out, o, x, i, w, j, row, step, n = args
            kinds = signature.args
            target = _pointer(context, builder, kinds[0], out, builder.mul(o, _i64(LANES)))
            source = _pointer(context, builder, kinds[2], x, builder.mul(i, _i64(LANES)))
            weight = _pointer(context, builder, kinds[4], w, j)
            totals = [cgutils.alloca_once(builder, _VECTOR) for _ in range(rows)]
            for r, total in enumerate(totals):
                builder.store(_load(builder, builder.gep(target, [_i64(r * LANES)])), total)
            with cgutils.for_range(builder, n) as loop:
                values = _load(builder, builder.gep(source, [builder.mul(loop.index, _i64(LANES))]))
                first = builder.mul(loop.index, step)
                for r, total in enumerate(totals):
                    place = builder.add(first, builder.mul(row, _i64(r)))
                    factor = _splat(builder, builder.load(builder.gep(weight, [place])))
                    builder.store(
                        _multiply_add(builder, factor, values, builder.load(total)), total
                    )
            for r, total in enumerate(totals):
                _store(builder, builder.load(total), builder.gep(target, [_i64(r * LANES)]))
            return context.get_dummy_value()

        return signature, codegen

    return add_rows


def _make_add_products(rows: int, columns: int) -> Callable[..., None]:
    @intrinsic
    def add_products(
        typing: Any,
        g: Any,
        j: Any,
        row: Any,
        x: Any,
        i: Any,
        x_step: Any,
        d: Any,
        o: Any,
        d_step: Any,
        n: Any,
    ) -> Any:
        """g[j + r * row + c] += sum over n and lanes of x[i + r + n x_step] d[o + c + n d_step]."""
        signature = types.void(g, _INDEX, _INDEX, x, _INDEX, _INDEX, d, _INDEX, _INDEX, _INDEX)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            g, j, row, x, i, x_step, d, o, d_step, n = args
            kinds = signature.args
            target = _pointer(context, builder, kinds[0], g, j)
            left = _pointer(context, builder, kinds[3], x, builder.mul(i, _i64(LANES)))
            right = _pointer(context, builder, kinds[6], d, builder.mul(o, _i64(LANES)))
            zero = ir.Constant(_VECTOR, [0.0] * LANES)
            totals = [
                [cgutils.alloca_once_value(builder, zero) for _ in range(columns)]
                for _ in range(rows)
            ]
            for line in totals:
                for total in line:
                    builder.store(zero, total)
            left_bytes = builder.mul(x_step, _i64(LANES))
            right_bytes = builder.mul(d_step, _i64(LANES))
            with cgutils.for_range(builder, n) as loop:
                a = builder.gep(left, [builder.mul(loop.index, left_bytes)])
                b = builder.gep(right, [builder.mul(loop.index, right_bytes)])
                ones = [_load(builder, builder.gep(a, [_i64(r * LANES)])) for r in range(rows)]
                others = [_load(builder, builder.gep(b, [_i64(c * LANES)])) for c in range(columns)]
                for line, one in zip(totals, ones, strict=True):
                    for total, other in zip(line, others, strict=True):
                        builder.store(
                            _multiply_add(builder, one, other, builder.load(total)), total
                        )
            for r, line in enumerate(totals):
                for c, total in enumerate(line):
                    place = builder.gep(target, [builder.add(builder.mul(row, _i64(r)), _i64(c))])
                    value = _sum(builder, builder.load(total))
                    builder.store(builder.fadd(builder.load(place), value), place)
            return context.get_dummy_value()

        return signature, codegen

    return add_products


add_4_rows, add_2_rows, add_1_row = (_make_add_rows(n) for n in (4, 2, 1))
add_4_by_2, add_4_by_1, add_1_by_1 = (_make_add_products(*n) for n in ((4, 2), (4, 1), (1, 1)))
