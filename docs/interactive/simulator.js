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
  const {multiply, transposed, identity, root} = cgro.linear;
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

  /** A run of one seed. */
  class Run {
    /** @param {Setting} setting */
    constructor(setting) {
      this.setting = setting;
      const {nTrain: n, nFilters: m, patchDim: d, initStd, noiseStd, strength, radiusRatio, power} = setting;
      this.step = 0;
      const twister = new MersenneTwister(setting.seed);
      // The order of the draws is Python's: labels, signal direction (of one), noise, position of the signal, filters.
      this.y = Float64Array.from(twister.integers(2, n), (bit) => 2 * bit - 1);
      twister.integers(1, n);
      /** (n, d) noise patches, 0 along the signal, which is the first axis. */
      this.noise = twister.normals(n * d).map((/** @type {number} */ value) => value * noiseStd);
      for (let i = 0; i < n; i++) this.noise[i * d] = 0;
      twister.integers(2, n);
      const start = twister.normals(m * d).map((/** @type {number} */ value) => value * initStd);
      /** (m,) signal components of the filters. */
      this.u = new Float64Array(m);
      for (let r = 0; r < m; r++) {
        this.u[r] = start[r * d];
        start[r * d] = 0;
      }
      this.noiseT = transposed(this.noise, n, d);
      const filters = transposed(start, m, d);
      /** (n, m) activations <w_r, xi_i>; after a step the coefficients of the noise patches. */
      this.z = new Float64Array(n * m);
      this.z0 = new Float64Array(n * m);
      multiply(this.z0, this.noise, filters, n, d, m);
      this.cov0 = new Float64Array(m * m);
      multiply(this.cov0, start, filters, m, d, m);
      // `cheapest` of spaces.py; noise that moves and an attack on it need vectors.
      this.direct = n > 2 * d || setting.fresh > 0 || setting.adversary === "l2";
      /** @type {Float64Array | null} (d, m) */
      this.filters = this.direct ? filters : null;
      /** (n, m) the filters are W_0 + C^T Xi off the signal. */
      this.c = new Float64Array(this.direct ? 0 : n * m);
      this.gram = new Float64Array(this.direct ? 0 : n * n);
      if (!this.direct) multiply(this.gram, this.noise, this.noiseT, n, d, n);
      this.whole = strength ** power;
      this.low = phi(strength - radiusRatio * strength, power);
      this.high = phi(strength + radiusRatio * strength, power);
      this.freshNoise = setting.fresh > 0 ? new Pcg64([setting.seed, FRESH_NOISE]) : null;
      this.now = setting.fresh > 0 ? this.noise.slice() : this.noise;
      this.ball = setting.adversary === "l2" ? new cgro.FullBall(this) : null;
      /** @type {Reading[]} */
      this.readings = [];
      /** @type {"running" | "done" | "diverged"} */
      this.state = "running";
      /** @type {{clean: number, robust: number} | null} test errors on 20,000 examples after the last step. */
      this.end = null;
      this.unseen = new Unseen(setting, ALONG_THE_WAY, N_TEST);
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
    activate() {
      const {nTrain: n, nFilters: m, patchDim: d} = this.setting;
      if (this.filters) {
        multiply(this.z, this.noise, this.filters, n, d, m);
        return;
      }
      this.z.set(this.z0);
      multiply(this.z, this.gram, this.c, n, n, m, true);
    }

    /** One step of gradient descent. */
    advance() {
      const {nTrain: n, nFilters: m, patchDim: d, power: q, robustWeight, lr} = this.setting;
      if (this.ball) {
        this.ball.advance();
        this.step++;
        return;
      }
      const {z, u, y} = this;
      if (this.freshNoise && this.filters) {
        this.drawNoise(this.freshNoise);
        multiply(z, this.now, this.filters, n, d, m);
      } else this.activate();
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
      }
      pull *= (lr * q) / n;
      for (let r = 0; r < m; r++) u[r] += pull * slope(u[r], q);
      if (!this.filters) {
        for (let j = 0; j < n * m; j++) this.c[j] += z[j];
      } else if (this.freshNoise) multiply(this.filters, transposed(this.now, n, d), z, d, n, m, true);
      else multiply(this.filters, this.noiseT, z, d, n, m, true);
      this.step++;
    }

    /**
     * The noise of one step: anew with probability `fresh` per example, else its own.
     * @param {InstanceType<typeof Pcg64>} rng
     */
    drawNoise(rng) {
      const {nTrain: n, patchDim: d, fresh, noiseStd} = this.setting;
      for (let i = 0; i < n; i++) {
        if (rng.uniform() < fresh) {
          for (let k = i * d + 1; k < (i + 1) * d; k++) this.now[k] = noiseStd * rng.normal();
        } else for (let k = i * d + 1; k < (i + 1) * d; k++) this.now[k] = this.noise[k];
      }
    }

    /** (m, m) <w_r, w_s> off the signal. @returns {Float64Array} */
    covariance() {
      const {nTrain: n, nFilters: m, patchDim: d} = this.setting;
      const out = this.cov0.slice();
      if (this.filters) {
        multiply(out, transposed(this.filters, d, m), this.filters, m, d, m);
        return out;
      }
      const ct = transposed(this.c, n, m);
      const cross = new Float64Array(m * m);
      multiply(cross, ct, this.z0, m, n, m);
      const grown = new Float64Array(n * m);
      multiply(grown, this.gram, this.c, n, n, m);
      multiply(out, ct, grown, m, n, m, true);
      for (let r = 0; r < m; r++) for (let s = 0; s < m; s++) out[r * m + s] += cross[r * m + s] + cross[s * m + r];
      return out;
    }

    /** Read everything off the filters; pauses where it takes long. @returns {Generator<undefined, Reading>} */
    *observe() {
      const {nTrain: n, nFilters: m, power: q, robustWeight} = this.setting;
      this.activate();
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
      }
      const test = yield* this.unseen.errors(this, this.covariance());
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
      for (const target of recordSteps(this.setting.nSteps)) {
        while (this.step < target) {
          const until = Math.min(target, this.step + stepsAtOnce(this.step));
          while (this.step < until) this.advance();
          yield;
        }
        const reading = yield* this.observe();
        this.readings.push(reading);
        if (this.overshot()) {
          this.state = "diverged";
          return;
        }
        yield;
      }
      const last = new Unseen(this.setting, AT_THE_END, N_TEST_AT_THE_END);
      this.end = yield* last.errors(this, this.covariance());
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
        multiply(z, this.normals.subarray(first * m, (first + size) * m), half, size, m, m);
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
