/* What is predicted of a run: src/cgro/dynamics/theory.py and threshold.py. Odd form, adversary along w*. */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

cgro.theory = (() => {
  /** Coefficients of Wichura (1988), algorithm AS 241, each pair numerator and denominator. */
  const CENTRAL = [
    [
      2509.0809287301227, 33430.57558358813, 67265.7709270087, 45921.95393154987, 13731.69376550946, 1971.5909503065513,
      133.14166789178438, 3.3871328727963665,
    ],
    [
      5226.495278852854, 28729.085735721943, 39307.89580009271, 21213.794301586597, 5394.196021424751,
      687.1870074920579, 42.31333070160091, 1,
    ],
  ];
  const MIDDLE = [
    [
      0.0007745450142783414, 0.022723844989269184, 0.2417807251774506, 1.2704582524523684, 3.6478483247632045,
      5.769497221460691, 4.630337846156546, 1.4234371107496835,
    ],
    [
      1.0507500716444169e-9, 0.0005475938084995345, 0.015198666563616457, 0.14810397642748008, 0.6897673349851,
      1.6763848301838038, 2.053191626637759, 1,
    ],
  ];
  const FAR = [
    [
      2.0103343992922881e-7, 2.7115555687434876e-5, 0.0012426609473880784, 0.026532189526576124, 0.29656057182850487,
      1.7848265399172913, 5.463784911164114, 6.657904643501103,
    ],
    [
      2.0442631033899398e-15, 1.4215117583164459e-7, 1.8463183175100548e-5, 0.0007868691311456133, 0.014875361290850615,
      0.1369298809227358, 0.599832206555888, 1,
    ],
  ];

  /** @param {number[][]} pair @param {number} x @returns {number} */
  function ratio([top, bottom], x) {
    const horner = (/** @type {number[]} */ c) => c.reduce((sum, next) => sum * x + next, 0);
    return horner(top) / horner(bottom);
  }

  /** Quantile of the standard normal distribution. @param {number} p in [0, 1] @returns {number} */
  function normalQuantile(p) {
    if (p <= 0) return -Infinity;
    if (p >= 1) return Infinity;
    const from = p - 0.5;
    if (Math.abs(from) <= 0.425) return from * ratio(CENTRAL, 0.180625 - from * from);
    const r = Math.sqrt(-Math.log(Math.min(p, 1 - p)));
    return Math.sign(from) * (r <= 5 ? ratio(MIDDLE, r - 1.6) : ratio(FAR, r - 5));
  }

  /**
   * The integral of f over [a, b], by the double exponential rule of Takahasi and Mori (1974).
   * @param {(x: number) => number} f @param {number} a @param {number} b @returns {number}
   */
  function integral(f, a, b) {
    const middle = (a + b) / 2,
      half = (b - a) / 2,
      step = 1 / 16;
    let sum = 0;
    for (let k = -56; k <= 56; k++) {
      const t = k * step;
      const s = (Math.PI / 2) * Math.sinh(t);
      const weight = ((Math.PI / 2) * Math.cosh(t)) / Math.cosh(s) ** 2;
      const x = middle + half * Math.tanh(s);
      if (x > a && x < b) sum += weight * f(x);
    }
    return sum * step * half;
  }

  /** log(e^a + e^b). @param {number} a @param {number} b */
  function logAddExp(a, b) {
    return Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));
  }

  /** Quantile of the largest of n standard normal numbers. @param {number} n @param {number} level */
  function largestNormal(n, level) {
    return normalQuantile(level ** (1 / n));
  }

  /** E |xi|^2. @param {Setting} s @returns {number} */
  function squaredPatch(s) {
    return (s.patchDim - 1) * s.noiseStd ** 2;
  }

  /** x^(2-q) / (q-2); -ln x at q = 2. @param {number} x @param {number} q */
  function blowUp(x, q) {
    return q === 2 ? -Math.log(x) : x ** (2 - q) / (q - 2);
  }

  /**
   * Push per N that memorizes an example whose start is the quantile at this level.
   * @param {Setting} s
   * @param {number} level
   */
  function cost(s, level) {
    const start = s.initStd * Math.sqrt(squaredPatch(s)) * largestNormal(s.nFilters, level);
    if (start <= 0) return Infinity;
    return Math.max(blowUp(start, s.power) - blowUp(1, s.power), 0) / squaredPatch(s);
  }

  /**
   * The push on the noise from the start of training to attacked signal margin 1, delta < alpha and lambda > 0.
   * @param {Setting} s @returns {number}
   */
  function push(s) {
    const q = s.power,
      kept = (1 - s.radiusRatio) ** q,
      clean = 1 - s.robustWeight,
      robust = s.robustWeight;
    const density = (/** @type {number} */ logS) => {
      const margin = Math.exp(q * logS);
      const ratioOfPulls = Math.exp(logAddExp(0, kept * margin) - logAddExp(0, margin));
      return (Math.exp((2 - q) * logS) * (clean * ratioOfPulls + robust)) / (clean * ratioOfPulls + robust * kept);
    };
    const start = Math.log(s.strength * s.initStd * largestNormal(s.nFilters, 0.5));
    const end = -Math.log(1 - s.radiusRatio);
    if (start >= end) return 0;
    const turn = Math.min(Math.max(Math.log(Math.max(Math.log(2 / kept), 1)) / q, start), end);
    return (integral(density, start, turn) + integral(density, turn, end)) / s.strength ** 2;
  }

  /**
   * What half of the examples cost: N_half = push / this. It does not depend on delta and lambda.
   * @param {Setting} s
   */
  function costOfHalf(s) {
    const last = cost(s, 0.5);
    if (last === Infinity) return Infinity;
    return integral((level) => cost(s, level), 0.5, 1) + 0.5 * last;
  }

  /**
   * N_half, the training examples up to which half of them are memorized (docs/threshold.md).
   * @param {Setting} s
   * @returns {number | null} infinite for delta >= alpha; null where the derivation says nothing.
   */
  function sampleThreshold(s) {
    if (s.adversary !== "restricted" || s.robustWeight === 0) return null;
    if (s.radiusRatio >= 1) return Infinity;
    const half = costOfHalf(s);
    return half === Infinity ? 0 : push(s) / half;
  }

  /**
   * M = alpha^q U of stage II for delta > alpha: clean and attacked pull cancel.
   * @param {Setting} s
   * @returns {number | null}
   */
  function plateau(s) {
    const kappa = s.radiusRatio - 1,
      share = s.robustWeight;
    if (kappa <= 0 || share === 0) return null;
    const k = kappa ** s.power;
    const pull = (/** @type {number} */ m) => (1 - share) / (1 + Math.exp(m)) - (share * k) / (1 + Math.exp(-k * m));
    if (pull(0) <= 0) return 0;
    let low = 0,
      high = 500;
    if (pull(high) >= 0) return high;
    for (let i = 0; i < 200; i++) {
      const middle = (low + high) / 2;
      if (pull(middle) > 0) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  }

  /** M* = alpha^q U at the end for delta > alpha. @param {Setting} s @returns {number | null} */
  function finalSignal(s) {
    const kappa = s.radiusRatio - 1,
      share = s.robustWeight;
    if (kappa <= 0 || share === 0) return null;
    if (share === 1) return 0;
    const k = kappa ** s.power;
    return Math.max(Math.log((1 - share) / (share * k)) / (1 + k), 0);
  }

  /** End of stage I in steps, from u_0 = max_r u_r(0). @param {Setting} s @param {number} start @returns {number} */
  function growthEnd(s, start) {
    const q = s.power,
      a = s.strength;
    const drive = (1 - s.robustWeight) * a ** q + s.robustWeight * cgro.simulator.phi(a - s.radiusRatio * a, q);
    if (drive <= 0 || start <= 0) return Infinity;
    if (q === 2) return Math.log(Math.max(1 / (a * start), 1)) / (s.lr * drive);
    return 1 / (s.lr * (q / 2) * (q - 2) * drive * start ** (q - 2));
  }

  /** delta / alpha beyond which the signal dies. @param {number} robustWeight @param {number} q @returns {number} */
  function extinctionRatio(robustWeight, q) {
    return robustWeight === 0 ? Infinity : 1 + ((1 - robustWeight) / robustWeight) ** (1 / q);
  }

  /**
   * Where on the map a setting lies, in words.
   * @param {Setting} s @returns {{name: string, meaning: string}}
   */
  function regionOf(s) {
    if (s.adversary === "l2") return {name: "full ball", meaning: "the map is of the adversary along w*"};
    if (s.robustWeight === 0) {
      return {name: "standard training", meaning: "the signal alone separates the data; the noise is not memorized"};
    }
    if (s.radiusRatio > extinctionRatio(s.robustWeight, s.power)) {
      return {name: "signal extinct", meaning: "the attack costs more than the signal gains; only memory is left"};
    }
    if (s.radiusRatio >= 1) {
      return {name: "signal turned around", meaning: "the attack turns the signal; memorized at any N"};
    }
    const half = /** @type {number} */ (sampleThreshold(s));
    if (s.nTrain > half) return {name: "robust", meaning: "enough examples: the signal wins the race"};
    return {name: "CGRO", meaning: "too few examples: noise is memorized before the signal survives the attack"};
  }

  return {
    push,
    costOfHalf,
    sampleThreshold,
    plateau,
    finalSignal,
    growthEnd,
    extinctionRatio,
    regionOf,
  };
})();
