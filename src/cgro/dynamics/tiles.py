"""C += A B in compiled code, in tiles that stay in vector registers: for matrices as narrow as a bank of filters.

A library's product copies A into a layout of its own first. For eight columns this copy costs more than the product:
on one core with AVX-512 a product of (2000, 100) with (100, 8) reaches 30 GFLOP/s there and 60 here, and one of
(600, 100) with (100, 64) 60 and 95. Rows and columns are padded with zeros to whole tiles by the caller.
"""

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from cgro.dynamics.rule import Array

_FEATURES = llvm.get_host_cpu_features()
ROWS = 8
"""Of a tile: one sum per row and vector, more than a processor adds at a time (two a cycle, each after four)."""
LINE = 64
"""Bytes of a cache line, at which padded matrices start."""
WIDTH = 4
"""Numbers of a vector register."""
MOST_VECTORS = 1
"""Vectors in a row of a tile: 8 sums, one row of B and one number of A fit the 16 registers of AVX2."""
if _FEATURES.get("avx512f", False):
    WIDTH = 8
    MOST_VECTORS = 3
_WORD = ir.IntType(64)
_VECTOR = ir.VectorType(ir.DoubleType(), WIDTH)
_BYTES = 8
"""Of a number."""


def padded(rows: int, columns: int) -> Array:
    """Zeros in whole tiles: both sides a multiple of 8, as `ROWS` and `WIDTH` divide it.

    Args:
        rows: at least.
        columns: at least.

    Returns:
        Zeros that start at a cache line.

    Example:
        >>> padded(3, 9).shape
        (8, 16)
    """
    shape = (-(-rows // ROWS) * ROWS, -(-columns // ROWS) * ROWS)
    size = shape[0] * shape[1]
    # numpy aligns to 16 bytes, and a load across two lines costs two.
    raw = np.zeros(size + LINE // _BYTES)
    first = (-raw.ctypes.data % LINE) // _BYTES
    return raw[first : first + size].reshape(shape)


class _Matrix:
    """A matrix of numbers in generated code: where it starts and how far apart its rows and columns are, in bytes."""

    def __init__(self, context, builder, kind, value) -> None:
        struct = context.make_array(kind)(context, builder, value)
        self.builder = builder
        self.start = builder.ptrtoint(struct.data, _WORD)
        self.row, self.column = cgutils.unpack_tuple(builder, struct.strides, 2)
        self.n_columns = cgutils.unpack_tuple(builder, struct.shape, 2)[1]

    def at(self, row, column):
        """The address of an entry."""
        b = self.builder
        return b.add(self.start, b.add(b.mul(row, self.row), b.mul(column, self.column)))

    def row_below(self, address, count: int):
        """The address `count` rows below another."""
        return self.builder.add(address, self.builder.mul(self.row, ir.Constant(_WORD, count)))


def _vector_at(builder, address, v: int):
    """A pointer to the v-th vector from an address."""
    return builder.inttoptr(builder.add(address, ir.Constant(_WORD, _BYTES * WIDTH * v)), _VECTOR.as_pointer())


def _spread(builder, address):
    """A vector of the one number at an address."""
    index = ir.IntType(32)
    number = builder.load(builder.inttoptr(address, ir.DoubleType().as_pointer()))
    first = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), number, ir.Constant(index, 0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(index, WIDTH), [0] * WIDTH))


def _load_sums(builder, c: _Matrix, corner, n_vectors: int):
    """Variables with what C holds, and where it holds it: on the stack, from which the compiler makes registers."""
    sums = []
    for r in range(ROWS):
        for v in range(n_vectors):
            place = _vector_at(builder, c.row_below(corner, r), v)
            total = cgutils.alloca_once(builder, _VECTOR)
            builder.store(builder.load(place, align=_BYTES), total)
            sums.append((total, place))
    return sums


def _tile(n_vectors: int):
    """C[row : row + ROWS, col : col + n_vectors WIDTH] += A[row : row + ROWS] B[:, the same columns]."""

    def emit(context, builder, signature, args):
        c, a, b = (
            _Matrix(context, builder, kind, value) for kind, value in zip(signature.args[:3], args[:3], strict=True)
        )
        row, col = args[3:]
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        multiply_add = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{WIDTH}f64")
        sums = _load_sums(builder, c, c.at(row, col), n_vectors)
        with cgutils.for_range(builder, a.n_columns, intp=_WORD) as loop:
            of_b = [builder.load(_vector_at(builder, b.at(loop.index, col), v), align=_BYTES) for v in range(n_vectors)]
            first_of_a = a.at(row, loop.index)
            for r in range(ROWS):
                of_a = _spread(builder, a.row_below(first_of_a, r))
                for v in range(n_vectors):
                    total, _ = sums[r * n_vectors + v]
                    builder.store(builder.call(multiply_add, [of_a, of_b[v], builder.load(total)]), total)
        for total, place in sums:
            builder.store(builder.load(total), place, align=_BYTES)
        return context.get_dummy_value()

    @intrinsic
    def tile(typingctx, c, a, b, row, col):
        return types.void(c, a, b, types.intp, types.intp), emit

    return tile


_tile_1 = _tile(1)
_tile_2 = _tile(2)
_tile_3 = _tile(3)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_product(c: Array, a: Array, b: Array) -> None:
    """C += A B.

    Args:
        c: (rows, m), rows a multiple of `ROWS`, m one of `WIDTH`; its rows without gaps. Changed.
        a: (rows, k), any strides.
        b: (k, m), its rows without gaps.

    Example:
        >>> c = padded(8, 8)
        >>> add_product(c, np.ones((8, 2)), np.full((2, 8), 3.0))
        >>> float(c.min()), float(c.max())
        (6.0, 6.0)
    """
    n_columns = c.shape[1]
    for row in range(0, c.shape[0], ROWS):
        col = 0
        if MOST_VECTORS == 3:
            while col + 3 * WIDTH <= n_columns:
                _tile_3(c, a, b, row, col)  # type: ignore[call-arg]  # numba adds the first
                col += 3 * WIDTH
            if col + 2 * WIDTH <= n_columns:
                _tile_2(c, a, b, row, col)  # type: ignore[call-arg]  # numba adds the first
                col += 2 * WIDTH
        while col < n_columns:
            _tile_1(c, a, b, row, col)  # type: ignore[call-arg]  # numba adds the first
            col += WIDTH
