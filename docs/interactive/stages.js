/* Reading the three stages of Theorem 5.9 off a run, by half-maximum rules: src/cgro/dynamics/stages.py. */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

/** @typedef {{step: number | null, reason: string}} Boundary */
/** @typedef {{signalGrowthEnd: Boundary, memorizationStart: Boundary, memorizationEnd: Boundary}} Stages */

cgro.stages = (() => {
  // The constants of stages.py, where each has its reason.
  const FEWEST_RECORDS = 8;
  const MIN_GAIN = 0.5;
  const MIN_SIGNAL = 0.5;
  const MIN_KEPT = 0.25;
  const MAX_VARIATION = 3;

  /**
   * numpy.gradient on uneven points: one-sided at the ends, second order inside.
   * @param {number[]} f @param {number[]} t @returns {number[]}
   */
  function gradient(f, t) {
    const last = f.length - 1;
    const out = [(f[1] - f[0]) / (t[1] - t[0])];
    for (let i = 1; i < last; i++) {
      const before = t[i] - t[i - 1],
        after = t[i + 1] - t[i];
      const a = -after / (before * (before + after));
      const b = (after - before) / (before * after);
      const c = before / (after * (before + after));
      out.push(a * f[i - 1] + b * f[i] + c * f[i + 1]);
    }
    out.push((f[last] - f[last - 1]) / (t[last] - t[last - 1]));
    return out;
  }

  /** Linear interpolation. @param {number} at @param {number[]} t @param {number[]} f @returns {number} */
  function interpolate(at, t, f) {
    if (at <= t[0]) return f[0];
    for (let i = 1; i < t.length; i++) {
      if (at <= t[i]) return f[i - 1] + ((f[i] - f[i - 1]) / (t[i] - t[i - 1])) * (at - t[i - 1]);
    }
    return f[f.length - 1];
  }

  /** Why no stages can be read off a curve, or nothing. @param {number[]} curve @param {string} name */
  function unreadable(curve, name) {
    if (!curve.every(Number.isFinite)) return `the ${name} is not finite: the run diverged`;
    let variation = 0;
    for (let i = 1; i < curve.length; i++) variation += Math.abs(curve[i] - curve[i - 1]);
    const span = Math.max(...curve) - Math.min(...curve);
    return variation > MAX_VARIATION * span ? `the ${name} goes up and down` : "";
  }

  /** Where the rate passes a level between two records, on a logarithmic axis of steps. */
  function crossing(
    /** @type {number[]} */ t,
    /** @type {number[]} */ rate,
    /** @type {number} */ at,
    /** @type {number} */ level,
  ) {
    if (at === 0 || t[at - 1] <= 0 || rate[at] === rate[at - 1]) return t[at];
    const share = Math.min(1, Math.max(0, (level - rate[at - 1]) / (rate[at] - rate[at - 1])));
    return t[at - 1] * (t[at] / t[at - 1]) ** share;
  }

  /** @param {string} reason @returns {Boundary} */
  const missing = (reason) => ({step: null, reason});

  /** @param {number[]} t @param {number[]} signal @returns {Boundary} */
  function growthEnd(t, signal) {
    const rate = gradient(signal, t);
    const most = Math.max(...signal);
    if (most <= signal[0]) return missing("the signal never grows");
    if (most < MIN_SIGNAL) {
      return missing(`the signal stays below ${MIN_SIGNAL} (α^q U at most ${most.toPrecision(3)}): not learned`);
    }
    let peak = 0,
      step = 0,
      reached = 0;
    for (let below = 0; reached < MIN_SIGNAL; ) {
      peak = rate.indexOf(Math.max(...rate.slice(below)), below);
      if (rate[peak] <= 0) return missing(`signal growth ends below ${MIN_SIGNAL}: not learned`);
      below = peak;
      while (below < rate.length && rate[below] >= rate[peak] / 2) below++;
      if (below === rate.length) return missing("signal growth is still above half of its peak");
      step = crossing(t, rate, below, rate[peak] / 2);
      // Below MIN_SIGNAL it was filters of the wrong sign that died: growth is looked for behind it.
      reached = interpolate(step, t, signal);
    }
    const left = signal[signal.length - 1];
    const size = `α^q U = ${reached.toPrecision(3)}`;
    if (left < MIN_KEPT * reached) {
      return missing(`of ${size} at step ${step.toFixed(0)} only ${left.toPrecision(3)} is left: the signal dies`);
    }
    return {step, reason: `signal growth peaks at step ${t[peak]} and has halved here, at ${size}`};
  }

  /** @param {number[]} t @param {number[]} rate @param {number} after @returns {Boundary} */
  function memorizationStart(t, rate, after) {
    const half = Math.max(...rate.filter((_, i) => t[i] > after)) / 2;
    const at = rate.findIndex((value, i) => t[i] > after && value >= half);
    let step = t[at];
    if (rate[at - 1] < half) step = Math.max(crossing(t, rate, at, half), after);
    return {step, reason: `noise learning reaches half of its highest rate, ${(2 * half).toPrecision(3)} per step`};
  }

  /**
   * @param {number[]} t
   * @param {number[]} wrong
   * @param {number | null} start
   * @param {number} gain
   * @returns {Boundary}
   */
  function memorizationEnd(t, wrong, start, gain) {
    let right = wrong.length;
    while (right > 0 && !(wrong[right - 1] > 0)) right--;
    if (right === wrong.length) return {step: null, reason: "some training examples still fall to the attack"};
    if (start !== null && t[right] < start) {
      return {step: null, reason: "robust training accuracy was 100% before memorization began: not its doing"};
    }
    const gained = `mean V_i has gained ${gain.toPrecision(3)} since stage I`;
    const reason = `robust training accuracy is 100% from here on; ${gained}`;
    return {step: t[right], reason};
  }

  /**
   * The boundaries of the stages, as far as a run has come. While it goes on they are provisional: the last two look
   * for the highest rate of noise learning so far.
   * @param {Reading[]} readings @returns {Stages}
   */
  function detect(readings) {
    const all = (/** @type {Boundary} */ b) => ({signalGrowthEnd: b, memorizationStart: b, memorizationEnd: b});
    if (readings.length < FEWEST_RECORDS) return all({step: null, reason: "too few records"});
    const t = readings.map((reading) => reading.step);
    const signal = readings.map((reading) => reading.signalMargin);
    const noise = readings.map((reading) => reading.meanNoise);
    const why = unreadable(signal, "signal") || unreadable(noise, "noise");
    if (why) return all({step: null, reason: why});
    const first = growthEnd(t, signal);
    if (first.step === null)
      return {...all({step: null, reason: "stage I has no end to count from"}), signalGrowthEnd: first};
    const gain = noise[noise.length - 1] - interpolate(first.step, t, noise);
    if (gain < MIN_GAIN) {
      const tooLittle = missing(`mean V_i gained ${gain.toPrecision(2)} since stage I, below ${MIN_GAIN}`);
      return {...all(tooLittle), signalGrowthEnd: first};
    }
    const second = memorizationStart(t, gradient(noise, t), first.step);
    const wrong = readings.map((reading) => reading.robustTrain);
    return {
      signalGrowthEnd: first,
      memorizationStart: second,
      memorizationEnd: memorizationEnd(t, wrong, second.step, gain),
    };
  }

  return {detect};
})();
