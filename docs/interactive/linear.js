/* Products and eigenvalues of small matrices, row after row in Float64Array. */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

cgro.linear = (() => {
  /** Between two pauses: numbers that are read, and products of two that are added. Less than a millisecond of either. */
  const NUMBERS = 10000,
    PRODUCTS = 4e5;

  /**
   * out = A B, or out + A B.
   * @param {Float64Array} out (n, m)
   * @param {Float64Array} a (n, k)
   * @param {Float64Array} b (k, m)
   * @param {number} n @param {number} k @param {number} m
   * @param {boolean} [more] add to what is there.
   */
  function multiply(out, a, b, n, k, m, more = false) {
    if (!more) out.fill(0, 0, n * m);
    const whole = k - (k % 4);
    for (let i = 0; i < n; i++) {
      const to = i * m;
      // Four rows of B at a time: each number of the result is read and written a quarter as often.
      for (let j = 0; j < whole; j += 4) {
        const from = i * k + j;
        const a0 = a[from],
          a1 = a[from + 1],
          a2 = a[from + 2],
          a3 = a[from + 3];
        const b0 = j * m,
          b1 = b0 + m,
          b2 = b1 + m,
          b3 = b2 + m;
        for (let r = 0; r < m; r++) out[to + r] += a0 * b[b0 + r] + a1 * b[b1 + r] + a2 * b[b2 + r] + a3 * b[b3 + r];
      }
      for (let j = whole; j < k; j++) {
        const factor = a[i * k + j];
        for (let r = 0; r < m; r++) out[to + r] += factor * b[j * m + r];
      }
    }
  }

  /**
   * The same, number for number; pauses where it takes long.
   * @param {Float64Array} out (n, m)
   * @param {Float64Array} a (n, k)
   * @param {Float64Array} b (k, m)
   * @param {number} n @param {number} k @param {number} m
   * @param {boolean} [more] add to what is there.
   * @returns {Generator<undefined, void>}
   */
  function* multiplyInParts(out, a, b, n, k, m, more = false) {
    const rows = rowsOfPart(k * m, PRODUCTS);
    for (let i = 0; i < n; i += rows) {
      const to = Math.min(n, i + rows);
      multiply(out.subarray(i * m, to * m), a.subarray(i * k, to * k), b, to - i, k, m, more);
      if (to < n) yield;
    }
  }

  /** Rows between two pauses. @param {number} width of a row @param {number} [most] numbers between two pauses. */
  function rowsOfPart(width, most = NUMBERS) {
    return Math.max(1, Math.floor(most / width));
  }

  /**
   * The transpose; pauses where it takes long.
   * @param {Float64Array} a (n, m)
   * @param {number} n @param {number} m
   * @param {Float64Array} [out] (m, n), where there is one from before.
   * @returns {Generator<undefined, Float64Array>}
   */
  function* transposedInParts(a, n, m, out = new Float64Array(n * m)) {
    const rows = rowsOfPart(m);
    for (let i = 0; i < n; i++) {
      for (let r = 0; r < m; r++) out[r * n + i] = a[i * m + r];
      if (i % rows === rows - 1) yield;
    }
    return out;
  }

  /** @param {Float64Array} a (n, m) @param {number} n @param {number} m @returns {Float64Array} (m, n) */
  function transposed(a, n, m) {
    const out = new Float64Array(n * m);
    for (let i = 0; i < n; i++) for (let r = 0; r < m; r++) out[r * n + i] = a[i * m + r];
    return out;
  }

  /**
   * The symmetric square root of a symmetric matrix, by Jacobi's rotations; pauses where it takes long. Eigenvalues that
   * rounding has made negative count as 0.
   * @param {Float64Array} matrix (m, m)
   * @param {number} m
   * @param {Float64Array} v (m, m) rows of an orthonormal basis to start from, such as the eigenvectors of a matrix
   *   that differs little, which saves most of the sweeps; becomes the eigenvectors. Rows, as these lie
   *   together in memory.
   * @returns {Generator<undefined, Float64Array>} the root, (m, m); NaN where the matrix is not finite.
   */
  function* root(matrix, m, v) {
    if (!matrix.every(Number.isFinite)) return new Float64Array(m * m).fill(NaN);
    const turned = new Float64Array(m * m);
    multiply(turned, v, matrix, m, m, m);
    const a = new Float64Array(m * m);
    multiply(a, turned, transposed(v, m, m), m, m, m);
    for (let sweep = 0; sweep < 40; sweep++) {
      const rotated = yield* rotateAll(a, v, m);
      if (!rotated) break;
    }
    const out = new Float64Array(m * m);
    for (let k = 0; k < m; k++) {
      const size = Math.sqrt(Math.max(a[k * m + k], 0));
      for (let i = 0; i < m; i++) {
        const factor = size * v[k * m + i];
        for (let j = 0; j < m; j++) out[i * m + j] += factor * v[k * m + j];
      }
    }
    return out;
  }

  /** One sweep over all pairs. @returns {Generator<undefined, boolean>} whether any pair was rotated. */
  function* rotateAll(/** @type {Float64Array} */ a, /** @type {Float64Array} */ v, /** @type {number} */ m) {
    let rotated = false;
    for (let p = 0; p < m - 1; p++) {
      for (let q = p + 1; q < m; q++) {
        const off = a[p * m + q],
          app = a[p * m + p],
          aqq = a[q * m + q];
        if (Math.abs(off) <= 1e-16 * Math.sqrt(Math.abs(app * aqq)) || off === 0) continue;
        rotated = true;
        const theta = (aqq - app) / (2 * off);
        const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
        const c = 1 / Math.sqrt(t * t + 1),
          s = t * c;
        for (let k = 0; k < m; k++) {
          const x = a[p * m + k],
            y = a[q * m + k];
          a[p * m + k] = c * x - s * y;
          a[q * m + k] = s * x + c * y;
          const vx = v[p * m + k],
            vy = v[q * m + k];
          v[p * m + k] = c * vx - s * vy;
          v[q * m + k] = s * vx + c * vy;
        }
        for (let k = 0; k < m; k++) {
          const x = a[k * m + p],
            y = a[k * m + q];
          a[k * m + p] = c * x - s * y;
          a[k * m + q] = s * x + c * y;
        }
        a[p * m + q] = 0;
        a[q * m + p] = 0;
      }
      if (p % 8 === 7) yield;
    }
    return rotated;
  }

  /** @param {number} m @returns {Float64Array} (m, m) */
  function identity(m) {
    const out = new Float64Array(m * m);
    for (let i = 0; i < m; i++) out[i * m + i] = 1;
    return out;
  }

  /**
   * An orthonormal basis of the span of columns, by modified Gram and Schmidt, each column twice.
   * @param {Float64Array} columns (d, m)
   * @param {number} d @param {number} m
   * @returns {Generator<undefined, {basis: Float64Array, k: number}>} (d, k), k at most min(d, m).
   */
  function* basisOf(columns, d, m) {
    const rows = transposed(columns, d, m);
    let k = 0;
    for (let r = 0; r < m && k < d; r++) {
      const row = rows.subarray(r * d, (r + 1) * d);
      const before = length(row);
      for (let again = 0; again < 2; again++) {
        for (let j = 0; j < k; j++) {
          const other = rows.subarray(j * d, (j + 1) * d);
          const share = dot(row, other);
          for (let i = 0; i < d; i++) row[i] -= share * other[i];
        }
      }
      const left = length(row);
      if (!(left > 1e-13 * before)) continue;
      for (let i = 0; i < d; i++) rows[k * d + i] = row[i] / left;
      k++;
      if (k * d > NUMBERS) yield;
    }
    return {basis: transposed(rows.subarray(0, k * d), k, d), k};
  }

  /** @param {Float64Array} a @param {Float64Array} b @returns {number} */
  function dot(a, b) {
    let sum = 0;
    for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
    return sum;
  }

  /** @param {Float64Array} a @returns {number} the Euclidean length. */
  function length(a) {
    return Math.sqrt(dot(a, a));
  }

  return {
    multiplyInParts,
    rowsOfPart,
    transposed,
    transposedInParts,
    identity,
    root,
    basisOf,
    length,
  };
})();
