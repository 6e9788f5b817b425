/* Adversarial training of the two-layer patch network, simulated exactly: src/cgro/dynamics in the browser.

   f_W(X) = sum_r sum_j phi(<w_r, X[j]>), phi(z) = sign(z) |z|^q, two patches: the signal y alpha w* and noise xi_i.
   Gradient descent on (1/N) sum_i [ (1-lambda) loss(X_i) + lambda max_X' loss(X') ], logistic loss, in closed form:
     u_r <- u_r + eta (q/N) sum_i [ (1-lambda) p_i alpha^q + lambda r_i phi(x) ] |u_r|^(q-1)
     w_r <- w_r + eta (q/N) sum_i [ (1-lambda) p_i + lambda r_i ] y_i |<w_r, xi_i>|^(q-1) xi_i      off the signal,
   p_i and r_i being sigmoid(-margin) of the clean and of the attacked example (dynamics/rule.py). As there, the filters
   are coefficients of the Gram matrix of the noise where these are fewer numbers (dynamics/batch.py). */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

/**
 * What is read off the filters at one step (dynamics/recording.py).
 * @typedef {object} Reading
 * @property {number} step
 * @property {number} signalComponent u = max_r <w_r, w*>
 * @property {number} signalLearned U = sum_r phi(<w_r, w*>)
 * @property {number} signalMargin alpha^q U
 * @property {Float64Array} noiseLearned V_i
 * @property {number} meanNoise mean of V_i
 * @property {number} loss
 * @property {number} cleanTrain error
 * @property {number} robustTrain error
 * @property {number} cleanTest error
 * @property {number} robustTest error
 * @property {Float64Array} filterSignal <w_r, w*>
 * @property {Float64Array} filterNoise max_i y_i <w_r, xi_i>
 * @property {Float64Array} cleanMargin
 * @property {number | null} ballTrain error under the search over the full ball, a lower bound
 */

cgro.simulator = (() => {
  const {MersenneTwister, Pcg64} = cgro.random;
  const {multiplyInParts, rowsOfPart, transposedInParts, identity, root} = cgro.linear;
  const ALONG_THE_WAY = 0x7e57;
  const AT_THE_END = 0xf17a1;
  const FRESH_NOISE = 0xf5;
  const N_RECORDS = 240;
  const N_TEST = 2000;
  const N_TEST_AT_THE_END = 20000;
  /** Unseen examples that are evaluated between two pauses. */
  const BLOCK = 250;
  const OVERSHOOT = 20;

  /** sigmoid(-t), without overflow. @param {number} t @returns {number} */
  function sigmoidOfMinus(t) {
    if (t >= 0) {
      const e = Math.exp(-t);
      return e / (1 + e);
    }
    return 1 / (1 + Math.exp(t));
  }

  /** log(1 + e^-t). @param {number} t @returns {number} */
  function softplusOfMinus(t) {
    return Math.max(-t, 0) + Math.log1p(Math.exp(-Math.abs(t)));
  }

  /** sign(z) |z|^q. @param {number} z @param {number} q @returns {number} */
  function phi(z, q) {
    return z >= 0 ? z ** q : -((-z) ** q);
  }

  /** |z|^(q-1), so that phi = z slope and phi' = q slope. @param {number} z @param {number} q @returns {number} */
  function slope(z, q) {
    if (q === 3) return z * z;
    const size = Math.abs(z);
    if (q === 2) return size;
    return q === 4 ? size * size * size : size ** (q - 1);
  }

  /**
   * Steps at which a run is recorded: 0, then evenly in the logarithm.
   * @param {number} nSteps @param {number} [nRecords]
   * @returns {number[]}
   */
  function recordSteps(nSteps, nRecords = N_RECORDS) {
    const found = new Set([0, 1]);
    const end = Math.log10(nSteps);
    for (let k = 1; k < nRecords; k++) found.add(Math.round(10 ** ((end * k) / (nRecords - 1))));
    found.add(nSteps);
    return [...found].sort((a, b) => a - b);
  }

  /** A run of one seed. Whatever grows with the data or the filters pauses often, so that a page can draw in between. */
  class Run {
    /** @param {Setting} setting */
    constructor(setting) {
      this.setting = setting;
      const {nTrain: n, nFilters: m, patchDim: d, strength, radiusRatio, power} = setting;
      this.step = 0;
      /** Whether steps are taken, and not data drawn or readings made. */
      this.stepping = false;
      // `cheapest` of spaces.py; noise that moves and an attack on it need vectors.
      this.direct = n > 2 * d || setting.fresh > 0 || setting.adversary === "l2";
      /** @type {Float64Array | null} (d, m) */
      this.filters = null;
      this.whole = strength ** power;
      this.low = phi(strength - radiusRatio * strength, power);
      this.high = phi(strength + radiusRatio * strength, power);
      this.freshNoise = setting.fresh > 0 ? new Pcg64([setting.seed, FRESH_NOISE]) : null;
      /** @type {any} */
      this.ball = null;
      /** @type {Reading[]} */
      this.readings = [];
      /** @type {"running" | "done" | "diverged"} */
      this.state = "running";
      /** @type {{clean: number, robust: number} | null} test errors on 20,000 examples after the last step. */
      this.end = null;
      this.unseen = new Unseen(setting, ALONG_THE_WAY, N_TEST);
      /** (n, m) activations <w_r, xi_i>; after a step the coefficients of the noise patches. */
      this.z = new Float64Array(n * m);
      this.z0 = new Float64Array(n * m);
      this.cov0 = new Float64Array(m * m);
      /** (n, m) the filters are W_0 + C^T Xi off the signal. */
      this.c = new Float64Array(this.direct ? 0 : n * m);
      this.gram = new Float64Array(this.direct ? 0 : n * n);
      /** (m,) signal components of the filters. */
      this.u = new Float64Array(m);
      this.y = new Float64Array(n);
      /** (n, d) noise patches, 0 along the signal, which is the first axis; and its transpose. */
      this.noise = new Float64Array(0);
      this.noiseT = new Float64Array(0);
      /** (n, d) noise of the present step, and its transpose. */
      this.now = this.noise;
      this.nowT = this.noise;
    }

    /** Draw examples and filters. @returns {Generator<undefined, void>} */
    *prepare() {
      const {setting} = this;
      const {nTrain: n, nFilters: m, patchDim: d, initStd, noiseStd} = setting;
      const twister = new MersenneTwister(setting.seed);
      // The order of the draws is Python's: labels, signal direction (of one), noise, position of the signal, filters.
      this.y = Float64Array.from(twister.integers(2, n), (bit) => 2 * bit - 1);
      twister.integers(1, n);
      this.noise = yield* twister.normalsInParts(n * d);
      const rows = rowsOfPart(d);
      for (let i = 0; i < n; i++) {
        for (let k = i * d + 1; k < (i + 1) * d; k++) this.noise[k] *= noiseStd;
        this.noise[i * d] = 0;
        if (i % rows === rows - 1) yield;
      }
      twister.integers(2, n);
      const start = yield* twister.normalsInParts(m * d);
      for (let j = 0; j < m * d; j++) start[j] *= initStd;
      for (let r = 0; r < m; r++) {
        this.u[r] = start[r * d];
        start[r * d] = 0;
      }
      this.noiseT = yield* transposedInParts(this.noise, n, d);
      const filters = yield* transposedInParts(start, m, d);
      yield* multiplyInParts(this.z0, this.noise, filters, n, d, m);
      yield* multiplyInParts(this.cov0, start, filters, m, d, m);
      if (this.direct) this.filters = filters;
      else yield* multiplyInParts(this.gram, this.noise, this.noiseT, n, d, n);
      this.now = this.noise;
      if (this.freshNoise) {
        this.now = this.noise.slice();
        this.nowT = new Float64Array(n * d);
      }
      if (setting.adversary === "l2") this.ball = new cgro.FullBall(this);
    }

    /** U = sum_r phi(u_r). @returns {number} */
    signal() {
      let sum = 0;
      for (let r = 0; r < this.u.length; r++) sum += this.u[r] * slope(this.u[r], this.setting.power);
      return sum;
    }

    /** phi(x) of the attacked signal: of the end of |x - alpha| <= delta that is worse. @param {number} signal */
    worst(signal) {
      return this.high * signal < this.low * signal ? this.high : this.low;
    }

    /** z = Xi W of the training examples' own noise. */
    *activate() {
      const {nTrain: n, nFilters: m, patchDim: d} = this.setting;
      if (this.filters) {
        yield* multiplyInParts(this.z, this.noise, this.filters, n, d, m);
        return;
      }
      this.z.set(this.z0);
      yield* multiplyInParts(this.z, this.gram, this.c, n, n, m, true);
    }

    /** One step of gradient descent. @returns {Generator<undefined, void>} */
    *advance() {
      const {nTrain: n, nFilters: m, patchDim: d, power: q, robustWeight, lr} = this.setting;
      if (this.ball) {
        yield* this.ball.advance();
        this.step++;
        return;
      }
      const {z, u, y} = this;
      if (this.freshNoise && this.filters) {
        yield* this.drawNoise(this.freshNoise);
        yield* multiplyInParts(z, this.now, this.filters, n, d, m);
      } else yield* this.activate();
      const rows = rowsOfPart(m);
      const learned = this.signal();
      const at = this.worst(learned);
      let pull = 0;
      for (let i = 0; i < n; i++) {
        let noise = 0;
        const from = i * m,
          to = from + m;
        if (q === 3) {
          for (let j = from; j < to; j++) {
            const p = z[j] * z[j];
            noise += z[j] * p;
            z[j] = p;
          }
        } else {
          for (let j = from; j < to; j++) {
            const p = slope(z[j], q);
            noise += z[j] * p;
            z[j] = p;
          }
        }
        noise *= y[i];
        const clean = (1 - robustWeight) * sigmoidOfMinus(this.whole * learned + noise);
        const robust = robustWeight * sigmoidOfMinus(at * learned + noise);
        pull += clean * this.whole + robust * at;
        const factor = ((lr * q) / n) * y[i] * (clean + robust);
        for (let j = from; j < to; j++) z[j] *= factor;
        if (i % rows === rows - 1) yield;
      }
      pull *= (lr * q) / n;
      for (let r = 0; r < m; r++) u[r] += pull * slope(u[r], q);
      if (!this.filters) {
        for (let j = 0; j < n * m; j++) this.c[j] += z[j];
      } else {
        let back = this.noiseT;
        if (this.freshNoise) back = yield* transposedInParts(this.now, n, d, this.nowT);
        yield* multiplyInParts(this.filters, back, z, d, n, m, true);
      }
      this.step++;
    }

    /**
     * The noise of one step: anew with probability `fresh` per example, else its own.
     * @param {InstanceType<typeof Pcg64>} rng
     * @returns {Generator<undefined, void>}
     */
    *drawNoise(rng) {
      const rows = rowsOfPart(this.setting.patchDim, 2000);
      const {nTrain: n, patchDim: d, fresh, noiseStd} = this.setting;
      for (let i = 0; i < n; i++) {
        if (rng.uniform() < fresh) {
          for (let k = i * d + 1; k < (i + 1) * d; k++) this.now[k] = noiseStd * rng.normal();
        } else for (let k = i * d + 1; k < (i + 1) * d; k++) this.now[k] = this.noise[k];
        if (i % rows === rows - 1) yield;
      }
    }

    /** (m, m) <w_r, w_s> off the signal. @returns {Generator<undefined, Float64Array>} */
    *covariance() {
      const {nTrain: n, nFilters: m, patchDim: d} = this.setting;
      const out = this.cov0.slice();
      if (this.filters) {
        yield* multiplyInParts(out, yield* transposedInParts(this.filters, d, m), this.filters, m, d, m);
        return out;
      }
      const ct = yield* transposedInParts(this.c, n, m);
      const cross = new Float64Array(m * m);
      yield* multiplyInParts(cross, ct, this.z0, m, n, m);
      const grown = new Float64Array(n * m);
      yield* multiplyInParts(grown, this.gram, this.c, n, n, m);
      yield* multiplyInParts(out, ct, grown, m, n, m, true);
      for (let r = 0; r < m; r++) for (let s = 0; s < m; s++) out[r * m + s] += cross[r * m + s] + cross[s * m + r];
      return out;
    }

    /** Read everything off the filters; pauses where it takes long. @returns {Generator<undefined, Reading>} */
    *observe() {
      const {nTrain: n, nFilters: m, power: q, robustWeight} = this.setting;
      yield* this.activate();
      const rows = rowsOfPart(m);
      const learned = this.signal();
      const at = this.worst(learned);
      const noiseLearned = new Float64Array(n);
      const filterNoise = new Float64Array(m).fill(-Infinity);
      const cleanMargin = new Float64Array(n);
      let loss = 0,
        cleanWrong = 0,
        robustWrong = 0,
        sum = 0;
      for (let i = 0; i < n; i++) {
        let noise = 0;
        for (let r = 0; r < m; r++) {
          const value = this.z[i * m + r];
          noise += value * slope(value, q);
          filterNoise[r] = Math.max(filterNoise[r], this.y[i] * value);
        }
        noise *= this.y[i];
        noiseLearned[i] = noise;
        sum += noise;
        const clean = this.whole * learned + noise,
          robust = at * learned + noise;
        cleanMargin[i] = clean;
        loss += (1 - robustWeight) * softplusOfMinus(clean) + robustWeight * softplusOfMinus(robust);
        // A margin that is NaN, after a divergence, is a mistake.
        if (!(clean > 0)) cleanWrong++;
        if (!(robust > 0 && clean > 0)) robustWrong++;
        if (i % rows === rows - 1) yield;
      }
      const test = yield* this.unseen.errors(this, yield* this.covariance());
      return {
        step: this.step,
        signalComponent: Math.max(...this.u),
        signalLearned: learned,
        signalMargin: this.whole * learned,
        noiseLearned,
        meanNoise: sum / n,
        loss: loss / n,
        cleanTrain: cleanWrong / n,
        robustTrain: robustWrong / n,
        cleanTest: test.clean,
        robustTest: test.robust,
        filterSignal: this.u.slice(),
        filterNoise,
        cleanMargin,
        ballTrain: this.ball ? this.ball.error : null,
      };
    }

    /**
     * The whole training; pauses often, so that a page can draw in between.
     * @param {(now: number) => number} [stepsAtOnce] how many steps to take before the next pause.
     * @returns {Generator<undefined, void>}
     */
    *train(stepsAtOnce = () => 16) {
      yield* this.prepare();
      for (const target of recordSteps(this.setting.nSteps)) {
        this.stepping = true;
        while (this.step < target) {
          const until = Math.min(target, this.step + stepsAtOnce(this.step));
          while (this.step < until) yield* this.advance();
          yield;
        }
        this.stepping = false;
        const reading = yield* this.observe();
        this.readings.push(reading);
        if (this.overshot()) {
          this.state = "diverged";
          return;
        }
        yield;
      }
      const last = new Unseen(this.setting, AT_THE_END, N_TEST_AT_THE_END);
      this.end = yield* last.errors(this, yield* this.covariance());
      this.state = "done";
    }

    /** Whether a margin moved, since the record before, further than a stable step can (stability.py). */
    overshot() {
      const [before, now] = this.readings.slice(-2);
      if (!now) return !before.cleanMargin.every(Number.isFinite);
      const steps = now.step - before.step;
      return !now.cleanMargin.every((value, i) => Math.abs(value - before.cleanMargin[i]) / steps < OVERSHOOT);
    }
  }

  /** Fresh examples, the same for every network (dynamics/unseen.py). Their numbers are drawn as they are needed. */
  class Unseen {
    /** @param {Setting} setting @param {number} stream @param {number} n */
    constructor(setting, stream, n) {
      this.setting = setting;
      this.n = n;
      this.rng = new Pcg64([setting.seed, stream]);
      /** @type {Float64Array} (n, m) */
      this.normals = new Float64Array(n * setting.nFilters);
      this.drawn = 0;
      /** @type {Int32Array | null} */
      this.bits = null;
      /** Eigenvectors of the last covariance. */
      this.basis = identity(setting.nFilters);
    }

    /** Draw all; pauses. @returns {Generator<undefined, void>} */
    *draw() {
      while (this.drawn < this.normals.length) {
        const until = Math.min(this.normals.length, this.drawn + 4096);
        for (; this.drawn < until; this.drawn++) this.normals[this.drawn] = this.setting.noiseStd * this.rng.normal();
        yield;
      }
      this.bits = this.rng.bits(this.n);
    }

    /**
     * Clean and robust test error; a clean mistake counts as a robust one.
     * @param {Run} run @param {Float64Array} covariance
     * @returns {Generator<undefined, {clean: number, robust: number}>}
     */
    *errors(run, covariance) {
      const {nFilters: m, power: q} = this.setting;
      if (!this.bits) yield* this.draw();
      const bits = /** @type {Int32Array} */ (this.bits);
      const half = yield* root(covariance, m, this.basis);
      const learned = run.signal();
      const clean = run.whole * learned,
        robust = run.worst(learned) * learned;
      const z = new Float64Array(BLOCK * m);
      let cleanWrong = 0,
        robustWrong = 0;
      for (let first = 0; first < this.n; first += BLOCK) {
        const size = Math.min(BLOCK, this.n - first);
        yield* multiplyInParts(z, this.normals.subarray(first * m, (first + size) * m), half, size, m, m);
        for (let i = 0; i < size; i++) {
          let noise = 0;
          for (let j = i * m; j < (i + 1) * m; j++) noise += z[j] * slope(z[j], q);
          noise *= 2 * bits[first + i] - 1;
          const right = clean + noise > 0;
          if (!right) cleanWrong++;
          if (!(right && robust + noise > 0)) robustWrong++;
        }
        yield;
      }
      return {clean: cleanWrong / this.n, robust: robustWrong / this.n};
    }
  }

  return {Run, recordSteps, phi, slope, sigmoidOfMinus};
})();
