/* The memorizer written out as affine layers with ReLU between them, to count and to evaluate: indicators.py,
   combination.py and parameters.py of src/cgro/representation in two dimensions. A layer is a list of its entries. */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

/** x -> W x + bias. @typedef {{nIn: number, bias: number[], entries: [number, number, number][]}} Layer */

cgro.network = (() => {
  const DIM = 2;

  /**
   * @param {number} nIn
   * @param {number[]} bias
   * @param {[number, number, number][]} entries row, column, value
   * @returns {Layer}
   */
  function layer(nIn, bias, entries) {
    return {nIn, bias, entries: entries.filter((entry) => entry[2] !== 0)};
  }

  /** Non-zero parameters. @param {Layer[]} layers @returns {number} */
  function countNonZero(layers) {
    let total = 0;
    for (const each of layers) total += each.entries.length + each.bias.filter((value) => value !== 0).length;
    return total;
  }

  /** @param {Layer[]} layers @param {number[]} x @returns {number[]} outputs of the last layer. */
  function evaluate(layers, x) {
    let now = x;
    layers.forEach((each, k) => {
      const before = k ? now.map((value) => Math.max(value, 0)) : now;
      now = each.bias.slice();
      for (const [row, column, value] of each.entries) now[row] += value * before[column];
    });
    return now;
  }

  /** p = inf: z_i = sum_j ReLU(x_j - x_ij - inner) + ReLU(x_ij - inner - x_j). 6 N D + N parameters. */
  function box(/** @type {any} */ m) {
    const first = /** @type {[number, number, number][]} */ ([]);
    const second = /** @type {[number, number, number][]} */ ([]);
    const bias = /** @type {number[]} */ ([]);
    m.points.forEach((/** @type {Point} */ point, /** @type {number} */ i) => {
      [point.x, point.y].forEach((center, j) => {
        for (const side of [1, -1]) {
          first.push([bias.length, j, side]);
          second.push([i, bias.length, -1 / m.gap[i]]);
          bias.push(-side * center - m.inner);
        }
      });
    });
    return [
      layer(DIM, bias, first),
      layer(
        bias.length,
        m.points.map(() => 1),
        second,
      ),
    ];
  }

  /** p = 1: z_i = ReLU(2 sum_j ReLU(x_j - x_ij) - S(x) + S_i - inner). 3 N D + 4 N + D parameters. */
  function lean(/** @type {any} */ m) {
    const n = m.points.length,
      size = n * DIM;
    const first = /** @type {[number, number, number][]} */ ([]);
    const second = /** @type {[number, number, number][]} */ ([]);
    const bias = /** @type {number[]} */ ([]);
    m.points.forEach((/** @type {Point} */ point, /** @type {number} */ i) => {
      [point.x, point.y].forEach((center, j) => {
        first.push([i * DIM + j, j, 1]);
        second.push([i, i * DIM + j, 2]);
        bias.push(-center);
      });
      second.push([i, size, -1]);
    });
    for (let j = 0; j < DIM; j++) first.push([size, j, 1]);
    const offset = m.points.map((/** @type {Point} */ point) => point.x + point.y - m.inner);
    return [layer(DIM, [...bias, 0], first), layer(size + 1, offset, second), closing(m)];
  }

  /** z -> 1 - z / gap. */
  function closing(/** @type {any} */ m) {
    const n = m.points.length;
    return layer(
      n,
      Array(n).fill(1),
      m.gap.map((/** @type {number} */ gap, /** @type {number} */ i) => [i, i, -1 / gap]),
    );
  }

  /**
   * p = 2: z_i = ReLU(q(x) - 2 <x_i, x> + |x_i|^2 - t), the squares q(x) shared. N D + 4 N + (8 m - 1) D + m
   * parameters.
   */
  function shared(/** @type {any} */ m) {
    // Neurons of a level: r = T (2), r' = T - 1/2 (2), u carried on (2), the running sum (1). In the first one r is u.
    /** @type {[number, number, number][]} */
    let entries = [];
    for (let j = 0; j < DIM; j++) entries.push([j, j, 1], [DIM + j, j, 1], [2 * DIM, j, 1]);
    const layers = [layer(DIM, [0, 0, -0.5, -0.5, 0], entries)];
    const placeOfU = (/** @type {number} */ width) => (width === 2 * DIM + 1 ? 0 : 2 * DIM);
    let width = 2 * DIM + 1;
    for (let k = 2; k <= m.depth; k++) {
      entries = [];
      for (let j = 0; j < DIM; j++) {
        for (const row of [0, DIM]) entries.push([row + j, j, 2], [row + j, DIM + j, -4]);
        entries.push([2 * DIM + j, placeOfU(width) + j, 1]);
        entries.push([3 * DIM, j, -2 / 4 ** (k - 1)], [3 * DIM, DIM + j, 4 / 4 ** (k - 1)]);
      }
      entries.push([3 * DIM, width - 1, 1]);
      layers.push(layer(width, [0, 0, -0.5, -0.5, 0, 0, 0], entries));
      width = 3 * DIM + 1;
    }
    const last = 1 / 4 ** m.depth;
    entries = [];
    for (let j = 0; j < DIM; j++) {
      entries.push([j, placeOfU(width) + j, 1], [DIM, j, -2 * last], [DIM, DIM + j, 4 * last]);
    }
    entries.push([DIM, width - 1, 1]);
    layers.push(layer(width, [0, 0, 0], entries));
    entries = [];
    const offset = m.points.map((/** @type {Point} */ point, /** @type {number} */ i) => {
      entries.push([i, 0, -2 * point.x], [i, 1, -2 * point.y], [i, DIM, 1]);
      return point.x ** 2 + point.y ** 2 - m.threshold;
    });
    return [...layers, layer(DIM + 1, offset, entries), closing(m)];
  }

  /**
   * Networks on the same input as one; a shorter one carries its outputs on.
   * @param {Layer[][]} branches
   * @returns {Layer[]}
   */
  function sideBySide(branches) {
    const depth = Math.max(...branches.map((branch) => branch.length));
    const padded = branches.map((branch) => {
      const wide = branch[branch.length - 1].bias.length;
      const carry = layer(
        wide,
        Array(wide).fill(0),
        Array.from({length: wide}, (_, i) => [i, i, 1]),
      );
      return [...branch, ...Array(depth - branch.length).fill(carry)];
    });
    return Array.from({length: depth}, (_, level) => {
      const joined = /** @type {Layer} */ ({nIn: level ? 0 : DIM, bias: [], entries: []});
      for (const branch of padded) {
        const each = branch[level];
        const row = joined.bias.length,
          column = level ? joined.nIn : 0;
        for (const [r, c, value] of each.entries) joined.entries.push([r + row, c + column, value]);
        joined.bias.push(...each.bias);
        if (level) joined.nIn += each.nIn;
      }
      return joined;
    });
  }

  /** The whole network. @param {any} m a memorizer @returns {Layer[]} */
  function writtenOut(m) {
    const indicators = {inf: box, 1: lean, 2: shared}[/** @type {Norm} */ (m.p)](m);
    const sums = m.points.map((/** @type {Point} */ point, /** @type {number} */ i) => [point.label > 0 ? 1 : 0, i, 1]);
    const memory = [...indicators, layer(m.points.length, [0, 0], sums)];
    // 1 - f, then 2 - ReLU(1 - f): c + 1 with c the clipped score.
    const {a, b, c} = m.clean;
    const clean = [
      layer(
        DIM,
        [1 - c],
        [
          [0, 0, -a],
          [0, 1, -b],
        ],
      ),
      layer(1, [2], [[0, 0, -1]]),
    ];
    const above = cgro.memorizer.ABOVE_ONE;
    const join = layer(
      3,
      [-1, 1, 0, 0],
      [
        [0, 0, 1],
        [0, 1, -above],
        [0, 2, -above],
        [1, 0, -1],
        [1, 1, -above],
        [1, 2, -above],
        [2, 1, 1],
        [3, 2, 1],
      ],
    );
    return [
      ...sideBySide([clean, memory]),
      join,
      layer(
        4,
        [0],
        [
          [0, 0, 1],
          [0, 1, -1],
          [0, 2, -1],
          [0, 3, 1],
        ],
      ),
    ];
  }

  /**
   * Parameters of the indicators when no input is zero (Theorem 4.4).
   * @param {Norm} p
   * @param {number} n
   * @param {number} depth
   */
  function generic(p, n, depth) {
    if (p === "inf") return 6 * n * DIM + n;
    return p === "1" ? 3 * n * DIM + 4 * n + DIM : n * DIM + 4 * n + (8 * depth - 1) * DIM + depth;
  }

  /**
   * Counts: of the layers, of the formula for the indicators, of f_clean alone, and what memory adds.
   * @param {any} m a memorizer
   */
  function parameters(m) {
    const {a, b, c} = m.clean;
    const clean = [a, b, c].filter((value) => value !== 0).length;
    const layers = writtenOut(m);
    const total = countNonZero(layers);
    return {
      total,
      clean,
      memory: total - clean,
      generic: generic(m.p, m.points.length, m.depth),
      depth: layers.length,
      layers,
    };
  }

  return {evaluate, parameters};
})();
