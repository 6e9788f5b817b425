/* The four figures of the page on dynamics: each function paints one chart from what the page shows. */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

/**
 * What is shown.
 * @typedef {object} View
 * @property {any} run of the simulator
 * @property {Setting} setting
 * @property {Stages} stages
 * @property {number} growthEnd predicted
 * @property {{ratios: number[], halves: number[], extinction: number}} map
 */

cgro.figures = (() => {
  const MAP_RATIO = 3;
  /** Of the width of the map, for radii below the signal; and the decades of 1 - ratio that it shows. */
  const BELOW = 0.54,
    DECADES = 3;
  const MAP_EXAMPLES = 1200;
  /** Pixels of a chart below which fewer numbers have room. */
  const NARROW = 450;
  /** Readings of a filter's way that are drawn behind its dot. */
  const TRAIL = 60;

  /** The next round number, so that an axis does not tremble. @param {number} value */
  function roundUp(value) {
    const unit = 10 ** Math.floor(Math.log10(value));
    return ([1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((k) => k * unit >= value) ?? 10) * unit;
  }

  /**
   * Lines at the boundaries that were found, and between them the numbers of the stages.
   * @param {any} chart
   * @param {View} view
   */
  function markStages(chart, view) {
    const {signalGrowthEnd, memorizationStart, memorizationEnd} = view.stages;
    let from = 1;
    [signalGrowthEnd, memorizationStart, memorizationEnd].forEach(({step}, k) => {
      if (step === null || step < 1) return;
      chart.mark(step);
      chart.heading(["I", "II", "III"][k], from, step);
      from = step;
    });
    if (memorizationEnd.step !== null) chart.heading("memorized", from, view.setting.nSteps);
    else if (from > 1)
      chart.heading(memorizationStart.step === null ? "II" : "III", from, Math.max(view.run.step, from));
  }

  /** @param {any} chart @param {View} view */
  function learned(chart, view) {
    const {setting} = view;
    const shown = view.run.readings.filter((/** @type {Reading} */ r) => r.step >= 1);
    const least = shown.map((/** @type {Reading} */ r) => Math.min(...r.noiseLearned));
    const most = shown.map((/** @type {Reading} */ r) => Math.max(...r.noiseLearned));
    const signal = shown.map((/** @type {Reading} */ r) => r.signalMargin);
    const stall = cgro.theory.plateau(setting),
      end = cgro.theory.finalSignal(setting);
    const high = roundUp(1.08 * Math.max(2, ...signal, ...most, stall ?? 0));
    const low = Math.min(0, ...least, ...signal) < -0.05 * high ? -roundUp(-1.05 * Math.min(...least, ...signal)) : 0;
    chart.x = {label: "step of gradient descent", low: 1, high: setting.nSteps, log: true};
    chart.y = {label: "contribution to the margin (logits)", low, high};
    chart.axes();
    chart.clipped(() => {
      if (setting.adversary === "restricted") {
        for (const level of [stall, end]) {
          if (level !== null)
            chart.curve({
              color: "mark",
              dash: [2, 4],
              width: 1.5,
              points: [
                [1, level],
                [setting.nSteps, level],
              ],
            });
        }
        if (view.growthEnd >= 1)
          chart.curve({
            color: "mark",
            dash: [2, 4],
            width: 1.5,
            points: [
              [view.growthEnd, low],
              [view.growthEnd, high],
            ],
          });
      }
      band(chart, shown, least, most);
      chart.curve({
        color: "memory",
        width: 2.6,
        points: shown.map((/** @type {Reading} */ r) => [r.step, r.meanNoise]),
      });
      chart.curve({
        color: "signal",
        width: 3,
        points: shown.map((/** @type {Reading} */ r) => [r.step, r.signalMargin]),
      });
    });
    markStages(chart, view);
  }

  /** From the least to the largest V_i. */
  function band(
    /** @type {any} */ chart,
    /** @type {Reading[]} */ shown,
    /** @type {number[]} */ least,
    /** @type {number[]} */ most,
  ) {
    if (!shown.length) return;
    const c = chart.context;
    c.fillStyle = cgro.parts.color("memory");
    c.globalAlpha = 0.2;
    c.beginPath();
    shown.forEach((reading, i) => c.lineTo(chart.px(reading.step), chart.py(most[i])));
    for (let i = shown.length - 1; i >= 0; i--) c.lineTo(chart.px(shown[i].step), chart.py(least[i]));
    c.fill();
    c.globalAlpha = 1;
  }

  /** @param {any} chart @param {View} view */
  function accuracy(chart, view) {
    const shown = view.run.readings.filter((/** @type {Reading} */ r) => r.step >= 1);
    chart.x = {label: "step of gradient descent", low: 1, high: view.setting.nSteps, log: true};
    chart.y = {label: "accuracy (%)", low: -3, high: 103, text: (/** @type {number} */ v) => String(v)};
    chart.axes();
    const of = (/** @type {"cleanTrain" | "cleanTest" | "robustTrain" | "robustTest"} */ key) =>
      shown.map((/** @type {Reading} */ r) => [r.step, 100 * (1 - r[key])]);
    chart.clipped(() => {
      chart.curve({color: "clean", dash: [6, 4], points: of("cleanTrain")});
      chart.curve({color: "clean", points: of("cleanTest")});
      chart.curve({color: "robust", dash: [6, 4], points: of("robustTrain")});
      chart.curve({color: "robust", points: of("robustTest")});
    });
    markStages(chart, view);
  }

  /** @param {any} chart @param {View} view */
  function filters(chart, view) {
    const readings = /** @type {Reading[]} */ (view.run.readings);
    const last = readings[readings.length - 1];
    const a = view.setting.strength;
    let wide = 0.5,
      tall = 0.5;
    for (const reading of readings) {
      wide = Math.max(wide, a * Math.max(...reading.filterSignal.map(Math.abs)));
      tall = Math.max(tall, Math.max(...reading.filterNoise));
    }
    wide = roundUp(1.05 * wide);
    tall = roundUp(1.05 * tall);
    chart.x = {label: "signal, α⟨w, w*⟩", low: -wide, high: wide};
    chart.y = {label: "noise, largest y⟨w, ξ⟩ over the training examples", low: -0.06 * tall, high: tall};
    chart.axes();
    if (!last) return;
    chart.clipped(() => {
      const behind = readings.slice(-TRAIL);
      for (let r = 0; r < last.filterSignal.length; r++) {
        chart.context.globalAlpha = 0.4;
        chart.curve({
          color: "mark",
          width: 1,
          points: behind.map((reading) => [a * reading.filterSignal[r], reading.filterNoise[r]]),
        });
        chart.context.globalAlpha = 1;
      }
      for (let r = 0; r < last.filterSignal.length; r++)
        chart.dot(a * last.filterSignal[r], last.filterNoise[r], "signal", 5, 0.9);
    });
  }

  /**
   * The sample threshold along delta / alpha. @param {Setting} setting
   * @returns {{ratios: number[], halves: number[], extinction: number}}
   */
  function mapOf(setting) {
    const ratios = [],
      halves = [];
    if (setting.robustWeight > 0 && setting.adversary === "restricted") {
      const half = cgro.theory.costOfHalf(setting);
      for (let k = 0; k <= 120; k++) {
        const ratio = 1 - 10 ** ((-DECADES * k) / 120);
        const found = cgro.theory.push({...setting, radiusRatio: ratio}) / half;
        if (found >= 1) {
          ratios.push(ratio);
          halves.push(found);
        }
      }
    }
    return {ratios, halves, extinction: cgro.theory.extinctionRatio(setting.robustWeight, setting.power)};
  }

  /**
   * Below 1 a logarithmic scale of 1 - ratio, on which the threshold is nearly a line; above 1 a linear one.
   * @param {number} ratio
   */
  function placeOnMap(ratio) {
    if (ratio >= 1) return BELOW + ((1 - BELOW) * (ratio - 1)) / (MAP_RATIO - 1);
    return Math.min(BELOW, (-Math.log10(1 - ratio) / DECADES) * BELOW);
  }

  /** @param {any} chart @param {View} view */
  function map(chart, view) {
    const {setting} = view;
    const {ratios, halves, extinction} = view.map;
    chart.x = {
      label: "radius / signal, δ/α",
      low: 0,
      high: MAP_RATIO,
      share: placeOnMap,
      ticks: chart.width < NARROW ? [0, 0.9, 0.99, 1, 1.5, 2] : [0, 0.5, 0.9, 0.97, 0.99, 1, 1.5, 2, 2.5],
      text: (/** @type {number} */ v) => String(v),
    };
    chart.y = {label: "training examples, N", low: 1, high: MAP_EXAMPLES, log: true};
    const c = chart.context;
    const covered = setting.robustWeight > 0 && setting.adversary === "restricted";
    const curve = /** @type {[number, number][]} */ (ratios.map((ratio, i) => [ratio, halves[i]]));
    if (covered) {
      chart.clipped(() => {
        c.fillStyle = cgro.parts.color("memory");
        c.globalAlpha = 0.22;
        c.beginPath();
        const from = ratios.length ? ratios[0] : 1;
        c.moveTo(chart.px(from), chart.py(1));
        for (const [ratio, half] of curve) c.lineTo(chart.px(ratio), chart.py(Math.min(half, MAP_EXAMPLES)));
        c.lineTo(chart.px(MAP_RATIO), chart.py(MAP_EXAMPLES));
        c.lineTo(chart.px(MAP_RATIO), chart.py(1));
        c.fill();
        c.globalAlpha = 1;
      });
    }
    chart.axes();
    if (covered) {
      chart.clipped(() => {
        chart.curve({color: "text", width: 2, points: curve});
        chart.curve({
          color: "mark",
          width: 1.2,
          dash: [2, 4],
          points: [
            [1, 1],
            [1, MAP_EXAMPLES],
          ],
        });
        if (extinction < MAP_RATIO)
          chart.curve({
            color: "text",
            width: 2,
            dash: [7, 5],
            points: [
              [extinction, 1],
              [extinction, MAP_EXAMPLES],
            ],
          });
      });
      chart.words("robust", 0.7, 60);
      const ends = Math.min(extinction, MAP_RATIO);
      if (ends > 1.5) chart.words("turned", (1 + ends) / 2, 60);
      if (extinction < MAP_RATIO - 0.4) chart.words("extinct", (extinction + MAP_RATIO) / 2, 60);
      if (ratios.length && ratios[0] < 0.97) chart.words("CGRO", 0.985, 2.2);
    }
    chart.clipped(() => chart.dot(Math.min(setting.radiusRatio, MAP_RATIO), setting.nTrain, "robust", 7));
  }

  return {learned, accuracy, filters, map, mapOf};
})();
