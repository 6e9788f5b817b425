/* Training against an adversary that moves both patches, l2: src/cgro/dynamics/full_ball.py and ball_attack.py.

   The margin depends on a displacement through the activations only, so the search lives in coordinates on an
   orthonormal basis of the filters' span. It has four starts a step, none random: where the last step ended, the best
   of the example's own patches turned against it, the strongest filter, one filter in one patch in turn; each is
   followed by projected gradient descent that keeps the best point passed. */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

cgro.FullBall = (() => {
  const {multiplyInParts, rowsOfPart, transposed, transposedInParts, basisOf} = cgro.linear;
  const ATTACK_STEPS = 10;
  const FIRST_STEP = 0.6,
    LAST_STEP = 0.02;
  const TINY = 1e-300;
  const PATCHES = 2;
  /** How a direction is spread over the two patches. */
  const SHARES = [
    [1, 0],
    [0, 1],
    [Math.SQRT1_2, Math.SQRT1_2],
  ];

  /** sign(z) |z|^q and its slope are those of the simulator; the file is loaded before it. */
  const slope = (/** @type {number} */ z, /** @type {number} */ q) => cgro.simulator.slope(z, q);

  return class FullBall {
    /** @param {any} run a run of the simulator, whose filters are vectors. */
    constructor(run) {
      this.run = run;
      const {nTrain: n, patchDim: d, strength} = run.setting;
      this.size = PATCHES * d;
      /** (n, 2, d) inputs: the signal, then the noise. */
      this.x = new Float64Array(n * this.size);
      for (let i = 0; i < n; i++) {
        this.x[i * this.size] = strength * run.y[i];
        this.x.set(run.noise.subarray(i * d, (i + 1) * d), i * this.size + d);
      }
      /** (n, 2, d) displacements that the last step found. */
      this.moved = new Float64Array(n * this.size);
      this.attacked = new Float64Array(n * this.size);
      this.turned = new Float64Array(n * this.size);
      this.turn = 0;
      /** Share of training examples that the search broke in the last step. @type {number | null} */
      this.error = null;
    }

    /** One step of gradient descent. Like all that grows with the data, it pauses often. */
    *advance() {
      const {nTrain: n, nFilters: m, patchDim: d, robustWeight, lr} = this.run.setting;
      const bank = this.run.filters.slice();
      for (let r = 0; r < m; r++) bank[r] = this.run.u[r];
      const change = new Float64Array(d * m);
      yield* this.pull(change, bank, this.x, ((1 - robustWeight) * lr) / n);
      if (robustWeight > 0) {
        yield* this.attack(bank);
        const rows = rowsOfPart(this.size);
        for (let i = 0; i < n; i++) {
          for (let j = i * this.size; j < (i + 1) * this.size; j++) this.attacked[j] = this.x[j] + this.moved[j];
          if (i % rows === rows - 1) yield;
        }
        yield* this.pull(change, bank, this.attacked, (robustWeight * lr) / n);
      }
      for (let r = 0; r < m; r++) {
        this.run.u[r] += change[r];
        change[r] = 0;
      }
      for (let i = 0; i < d * m; i++) this.run.filters[i] += change[i];
    }

    /** Add -weight sum_i grad loss(X_i) to a change. */
    *pull(
      /** @type {Float64Array} */ change,
      /** @type {Float64Array} */ bank,
      /** @type {Float64Array} */ x,
      /** @type {number} */ weight,
    ) {
      const {nTrain: n, nFilters: m, patchDim: d, power: q} = this.run.setting;
      const z = new Float64Array(n * PATCHES * m);
      yield* multiplyInParts(z, x, bank, n * PATCHES, d, m);
      const rows = rowsOfPart(PATCHES * m);
      for (let i = 0; i < n; i++) {
        let margin = 0;
        const from = i * PATCHES * m,
          to = from + PATCHES * m;
        for (let j = from; j < to; j++) {
          const p = slope(z[j], q);
          margin += z[j] * p;
          z[j] = p;
        }
        const y = this.run.y[i];
        const factor = q * y * weight * cgro.simulator.sigmoidOfMinus(y * margin);
        for (let j = from; j < to; j++) z[j] *= factor;
        if (i % rows === rows - 1) yield;
      }
      const back = yield* transposedInParts(x, n * PATCHES, d, this.turned);
      yield* multiplyInParts(change, back, z, d, n * PATCHES, m, true);
    }

    /** Find the displacements of least margin, into `moved`. @param {Float64Array} bank (d, m) */
    *attack(bank) {
      const {nTrain: n, nFilters: m, patchDim: d, strength, radiusRatio} = this.run.setting;
      const radius = radiusRatio * strength;
      const {basis, k} = yield* basisOf(bank, d, m);
      const filters = new Float64Array(k * m);
      yield* multiplyInParts(filters, yield* transposedInParts(basis, d, k), bank, k, d, m);
      const x = new Float64Array(n * PATCHES * k);
      yield* multiplyInParts(x, this.x, basis, n * PATCHES, d, k);
      const kept = new Float64Array(n * PATCHES * k);
      yield* multiplyInParts(kept, this.moved, basis, n * PATCHES, d, k);
      const search = {x, filters, k, radius};
      const against = directionsOf(filters, k, m, radius);
      const starts = [
        kept,
        yield* this.ownPatches(search),
        yield* this.strongestFilter(search, against),
        this.oneFilter(k, against, this.turn),
      ];
      const {found, least} = yield* this.descend(search, starts);
      let wrong = 0;
      const best = new Float64Array(n * PATCHES * k);
      for (let i = 0; i < n; i++) {
        let chosen = 0;
        for (let s = 1; s < starts.length; s++) if (least[s * n + i] < least[chosen * n + i]) chosen = s;
        const from = (chosen * n + i) * PATCHES * k;
        best.set(found.subarray(from, from + PATCHES * k), i * PATCHES * k);
        if (!(least[chosen * n + i] > 0)) wrong++;
      }
      yield* multiplyInParts(this.moved, best, yield* transposedInParts(basis, d, k), n * PATCHES, k, d);
      this.error = wrong / n;
      this.turn++;
    }

    /** Of an example's own patches turned against it, spread over the patches in three ways, the best. */
    *ownPatches(/** @type {Search} */ {x, filters, k, radius}) {
      const {nTrain: n, nFilters: m, patchDim: d, power: q} = this.run.setting;
      const best = new Float64Array(n * PATCHES * k);
      const least = new Float64Array(n).fill(Infinity);
      const point = new Float64Array(n * PATCHES * k);
      const moved = new Float64Array(n * PATCHES * k);
      const z = new Float64Array(n * PATCHES * m);
      const rows = rowsOfPart(Math.max(d, PATCHES * m));
      // As written, of length delta in d dimensions, then with the part in the filters' span at length delta.
      for (const within of [false, true]) {
        for (let patch = 0; patch < PATCHES; patch++) {
          for (const share of SHARES) {
            for (let i = 0; i < n; i++) {
              const own = x.subarray((i * PATCHES + patch) * k, (i * PATCHES + patch + 1) * k);
              const whole = this.x.subarray((i * PATCHES + patch) * d, (i * PATCHES + patch + 1) * d);
              const scale = -radius / Math.max(cgro.linear.length(within ? own : whole), TINY);
              for (let j = 0; j < PATCHES; j++) {
                for (let c = 0; c < k; c++) {
                  const at = (i * PATCHES + j) * k + c;
                  point[at] = scale * own[c] * share[j];
                  moved[at] = x[at] + point[at];
                }
              }
              if (i % rows === rows - 1) yield;
            }
            yield* multiplyInParts(z, moved, filters, n * PATCHES, k, m);
            for (let i = 0; i < n; i++) {
              let score = 0;
              for (let j = i * PATCHES * m; j < (i + 1) * PATCHES * m; j++) score += z[j] * slope(z[j], q);
              if (this.run.y[i] * score < least[i]) {
                least[i] = this.run.y[i] * score;
                best.set(point.subarray(i * PATCHES * k, (i + 1) * PATCHES * k), i * PATCHES * k);
              }
              if (i % rows === rows - 1) yield;
            }
          }
        }
      }
      return best;
    }

    /** The filter in the patch that lowers its own response most, by example. */
    *strongestFilter(/** @type {Search} */ {x, filters, k}, /** @type {Float64Array} */ against) {
      const {nTrain: n, nFilters: m, power: q} = this.run.setting;
      const reach = new Float64Array(m);
      for (let r = 0; r < m; r++) for (let c = 0; c < k; c++) reach[r] += against[r * k + c] * filters[c * m + r];
      const z = new Float64Array(n * PATCHES * m);
      yield* multiplyInParts(z, x, filters, n * PATCHES, k, m);
      const rows = rowsOfPart(PATCHES * m);
      const moved = new Float64Array(n * PATCHES * k);
      for (let i = 0; i < n; i++) {
        const y = this.run.y[i];
        let chosen = 0,
          least = Infinity;
        for (let j = 0; j < PATCHES * m; j++) {
          const before = z[i * PATCHES * m + j],
            after = before + y * reach[j % m];
          const change = y * (after * slope(after, q) - before * slope(before, q));
          if (change < least) {
            least = change;
            chosen = j;
          }
        }
        const patch = Math.floor(chosen / m),
          r = chosen % m;
        for (let c = 0; c < k; c++) moved[(i * PATCHES + patch) * k + c] = y * against[r * k + c];
        if (i % rows === rows - 1) yield;
      }
      return moved;
    }

    /** One filter in one patch, all in turn. */
    oneFilter(/** @type {number} */ k, /** @type {Float64Array} */ against, /** @type {number} */ turn) {
      const {nTrain: n, nFilters: m} = this.run.setting;
      const number = turn % (PATCHES * m);
      const r = Math.floor(number / PATCHES),
        patch = number % PATCHES;
      const moved = new Float64Array(n * PATCHES * k);
      for (let i = 0; i < n; i++) {
        for (let c = 0; c < k; c++) moved[(i * PATCHES + patch) * k + c] = this.run.y[i] * against[r * k + c];
      }
      return moved;
    }

    /** Projected gradient descent from several starts; keeps the best point passed, the start included. */
    *descend(/** @type {Search} */ {x, filters, k, radius}, /** @type {Float64Array[]} */ starts) {
      const {nTrain: n, nFilters: m, power: q} = this.run.setting;
      const rows = starts.length * n;
      const width = PATCHES * k;
      const part = rowsOfPart(PATCHES * Math.max(k, m));
      const moved = new Float64Array(rows * width);
      starts.forEach((start, s) => moved.set(start, s * n * width));
      const found = moved.slice();
      const least = new Float64Array(rows).fill(Infinity);
      const back = transposed(filters, k, m);
      const point = new Float64Array(rows * width);
      const gradient = new Float64Array(rows * width);
      const z = new Float64Array(rows * PATCHES * m);
      for (let t = 0; t <= ATTACK_STEPS; t++) {
        for (let i = 0; i < rows; i++) {
          const own = (i % n) * width - i * width;
          for (let j = i * width; j < (i + 1) * width; j++) point[j] = x[own + j] + moved[j];
          if (i % part === part - 1) yield;
        }
        yield* multiplyInParts(z, point, filters, rows * PATCHES, k, m);
        for (let i = 0; i < rows; i++) {
          let score = 0;
          for (let j = i * PATCHES * m; j < (i + 1) * PATCHES * m; j++) {
            const p = slope(z[j], q);
            score += z[j] * p;
            z[j] = p;
          }
          const margin = this.run.y[i % n] * score;
          if (margin < least[i]) {
            least[i] = margin;
            found.set(moved.subarray(i * width, (i + 1) * width), i * width);
          }
          if (i % part === part - 1) yield;
        }
        if (t === ATTACK_STEPS) break;
        yield* multiplyInParts(gradient, z, back, rows * PATCHES, m, k);
        const size = radius * (FIRST_STEP * (1 - t / ATTACK_STEPS) + LAST_STEP);
        for (let i = 0; i < rows; i++) {
          const row = moved.subarray(i * width, (i + 1) * width);
          const slopes = gradient.subarray(i * width, (i + 1) * width);
          const factor = (-this.run.y[i % n] * size) / Math.max(cgro.linear.length(slopes), TINY);
          for (let c = 0; c < width; c++) row[c] += factor * slopes[c];
          const scale = Math.min(1, radius / Math.max(cgro.linear.length(row), TINY));
          for (let c = 0; c < width; c++) row[c] *= scale;
          if (i % part === part - 1) yield;
        }
      }
      return {found, least};
    }
  };

  /** @typedef {{x: Float64Array, filters: Float64Array, k: number, radius: number}} Search */

  /** -w_r at length delta, (m, k): what raises the response of a filter against the label +1. */
  function directionsOf(
    /** @type {Float64Array} */ filters,
    /** @type {number} */ k,
    /** @type {number} */ m,
    /** @type {number} */ radius,
  ) {
    const out = transposed(filters, k, m);
    for (let r = 0; r < m; r++) {
      const row = out.subarray(r * k, (r + 1) * k);
      const scale = -radius / Math.max(cgro.linear.length(row), TINY);
      for (let c = 0; c < k; c++) row[c] *= scale;
    }
    return out;
  }
})();
