/* The words of the page on dynamics: presets, numbers as text, and what is said of a run. */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

cgro.words = (() => {
  /** @type {Record<string, Partial<Choice>>} */
  const PRESETS = {
    theorem: {preset: "theorem"},
    table2: {preset: "table2"},
    control: {preset: "control"},
    ball: {
      preset: "theorem",
      adversary: "l2",
      radiusRatio: 0.9,
      noiseStd: 0.626,
      nFilters: 16,
      lr: 0.0077,
      nSteps: 4000,
    },
  };
  /** @type {Record<string, string>} */
  const STATEMENTS = {
    theorem:
      "theorem: δ < α. The attack shrinks the signal to almost nothing but cannot turn it. The noise of the training " +
      "examples is memorized; that of an unseen example does not depend on its label, so that its attacked margin " +
      "is a coin flip.",
    table2:
      "table2 is CALIBRATED: two numbers fitted to the two test numbers of Table 2. δ > α, so the attack turns the " +
      "signal around. Outside the theorem, and no evidence for it.",
    control: "control: standard training, λ = 0. The signal alone separates the data, so the noise is never memorized.",
    ball:
      "full ball: the attack may move both patches. Training examples with noise twice as long as the radius are " +
      "memorized and resist it; unseen examples do not (docs/full_ball.md). Slower: each step runs an attack of ten " +
      "gradient steps from four starts.",
  };

  /** Percent of right answers, as text. @param {number} error */
  function percent(error) {
    const right = 100 * (1 - error);
    return right === 100 || right === 0 ? String(right) : right.toFixed(1);
  }

  /** @param {number} value */
  function digits(value) {
    if (!Number.isFinite(value)) return "not finite";
    const size = Math.abs(value);
    if (size > 0 && size < 0.001) return value.toExponential(1);
    return value.toLocaleString("en", {maximumFractionDigits: size < 10 ? 3 : 1});
  }

  /** A step as text. @param {number | null} step */
  function whole(step) {
    return Math.round(/** @type {number} */ (step)).toLocaleString("en");
  }

  /**
   * Whether stage I is over. While a run goes on a boundary is provisional, and before the predicted end of stage I, or
   * where the theory has the signal die, it is not spoken of. The prediction is not a number under the full ball.
   * @param {View} view
   */
  function isLearned({run, stages, growthEnd}) {
    return stages.signalGrowthEnd.step !== null && (run.state !== "running" || !(run.step < growthEnd));
  }

  /**
   * What has happened in a run so far, for those who listen: a name of each event, and a sentence.
   * @param {View} view
   * @returns {[string, string][]}
   */
  function events(view) {
    const {run, stages, setting} = view;
    const {signalGrowthEnd, memorizationStart, memorizationEnd} = stages;
    /** @type {[string, string][]} */
    const found = [];
    if (isLearned(view)) {
      found.push(["I", `Stage I has ended at step ${whole(signalGrowthEnd.step)}: ${signalGrowthEnd.reason}.`]);
    }
    if (memorizationStart.step !== null) {
      const at = whole(memorizationStart.step);
      found.push(["II", `Stage II has ended near step ${at}: the noise of the training examples is being memorized.`]);
    }
    if (run.state === "done") {
      const {clean, robust} = run.end;
      const last = run.readings[run.readings.length - 1];
      const third =
        memorizationEnd.step === null
          ? ""
          : ` All training examples resist from step ${whole(memorizationEnd.step)} on.`;
      const ended = `The run has ended after ${whole(run.step)} steps.`;
      const attacked = `${percent(last.robustTrain)}% on training examples, ${percent(robust)}% on unseen ones`;
      const text = `${ended} Robust accuracy: ${attacked}; clean accuracy ${percent(clean)}% on unseen ones.${third}`;
      found.push(["end", text]);
    }
    if (run.state === "diverged") {
      const text =
        `The run has diverged by step ${whole(run.step)}: the step size ${setting.lr.toPrecision(3)} overshoots. ` +
        "Take a smaller one under More settings.";
      found.push(["end", text]);
    }
    return found;
  }

  /** Which stage a run is in. @param {View} view @returns {string} */
  function stageName(view) {
    const {run, stages} = view;
    if (run.state === "diverged") return "diverged";
    if (!isLearned(view)) return run.state === "running" ? "I: signal grows" : "signal not learned";
    if (stages.memorizationStart.step === null) return "II: signal stalls";
    return stages.memorizationEnd.step === null ? "III: memorization" : "memorized";
  }

  return {PRESETS, STATEMENTS, percent, digits, events, stageName};
})();
