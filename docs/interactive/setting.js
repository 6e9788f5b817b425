/* What is trained on what, against whom (src/cgro/dynamics/setting.py), as the page's address and as a command. */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

/**
 * @typedef {object} Setting
 * @property {"theorem" | "table2" | "control"} preset which it began as.
 * @property {number} patchDim d
 * @property {number} strength alpha
 * @property {number} noiseStd sigma
 * @property {number} nTrain N
 * @property {number} nFilters m
 * @property {number} power q
 * @property {number} initStd of a filter coordinate
 * @property {number} radiusRatio delta / alpha
 * @property {number} robustWeight lambda
 * @property {number} lr eta
 * @property {"restricted" | "l2"} adversary along w*, or the l2 ball over all patches
 * @property {number} fresh probability, per example and step, that its noise is drawn anew
 * @property {number} seed
 * @property {number} nSteps
 */

/**
 * What a person chooses; null follows from the others.
 * @typedef {object} Choice
 * @property {"theorem" | "table2" | "control"} preset
 * @property {number} patchDim
 * @property {number | null} noiseStd
 * @property {number} nTrain
 * @property {number} nFilters
 * @property {number} power
 * @property {number | null} radiusRatio
 * @property {number | null} robustWeight
 * @property {number | null} lr
 * @property {"restricted" | "l2"} adversary
 * @property {number} fresh
 * @property {number} seed
 * @property {number} nSteps
 */

cgro.setting = (() => {
  const REFERENCE_STRENGTH = 100 ** 0.249;
  const REFERENCE_INIT_STD = 0.03;
  const REFERENCE_LR = 0.3;
  // Calibrated to the paper's Table 2 (benchmarks/calibrate_table2.py): no evidence for the theory.
  const TABLE2_RADIUS_RATIO = 1.5874;
  const TABLE2_ROBUST_WEIGHT = 0.3587;
  const ALONG_W = 50000;

  /** delta / alpha of Theorem 5.9, polylog(d) read as ln d. @param {number} d @returns {number} */
  function theoremRadiusRatio(d) {
    return 1 - 1 / (Math.sqrt(d) * Math.log(d));
  }

  /** @type {Choice} */
  const DEFAULT = {
    preset: "theorem",
    patchDim: 100,
    noiseStd: null,
    nTrain: 30,
    nFilters: 48,
    power: 3,
    radiusRatio: null,
    robustWeight: null,
    lr: null,
    adversary: "restricted",
    fresh: 0,
    seed: 0,
    nSteps: ALONG_W,
  };

  /** delta / alpha of a preset. @param {string} preset @param {number} d @returns {number} */
  function presetRadiusRatio(preset, d) {
    return preset === "table2" ? TABLE2_RADIUS_RATIO : theoremRadiusRatio(d);
  }

  /** lambda of a preset. @param {string} preset @returns {number} */
  function presetRobustWeight(preset) {
    if (preset === "control") return 0;
    return preset === "table2" ? TABLE2_ROBUST_WEIGHT : 0.5;
  }

  /** @param {Choice} choice @returns {Setting} */
  function settingOf(choice) {
    const d = choice.patchDim;
    const strength = d ** 0.249;
    return {
      preset: choice.preset,
      patchDim: d,
      strength,
      noiseStd: choice.noiseStd ?? d ** -0.509,
      nTrain: choice.nTrain,
      nFilters: choice.nFilters,
      power: choice.power,
      initStd: (REFERENCE_INIT_STD * REFERENCE_STRENGTH) / strength,
      radiusRatio: choice.radiusRatio ?? presetRadiusRatio(choice.preset, d),
      robustWeight: choice.robustWeight ?? presetRobustWeight(choice.preset),
      lr: choice.lr ?? REFERENCE_LR / strength ** 2,
      adversary: choice.adversary,
      fresh: choice.fresh,
      seed: choice.seed,
      nSteps: choice.nSteps,
    };
  }

  /** Flags of `cgro dynamics` and keys of the page's address. @type {[keyof Choice, string][]} */
  const FLAGS = [
    ["patchDim", "patch-dim"],
    ["noiseStd", "noise-std"],
    ["nTrain", "n-train"],
    ["nFilters", "n-filters"],
    ["power", "activation-power"],
    ["radiusRatio", "radius-ratio"],
    ["robustWeight", "robust-weight"],
    ["lr", "lr"],
    ["adversary", "adversary"],
    ["seed", "seed"],
    ["nSteps", "n-steps"],
  ];

  /** The command that does the same. @param {Choice} choice @returns {string} */
  function commandOf(choice) {
    const words = ["cgro dynamics --preset", choice.preset];
    for (const [key, flag] of FLAGS) {
      if (choice[key] !== DEFAULT[key]) words.push(`--${flag} ${choice[key]}`);
    }
    if (choice.fresh > 0) words.push(`--remedy fresh=${choice.fresh}`);
    return words.join(" ");
  }

  /** The part of an address behind #. @param {Choice} choice @returns {string} */
  function addressOf(choice) {
    const found = new URLSearchParams({preset: choice.preset});
    for (const [key, flag] of FLAGS) if (choice[key] !== DEFAULT[key]) found.set(flag, String(choice[key]));
    if (choice.fresh > 0) found.set("fresh", String(choice.fresh));
    return found.toString();
  }

  /** What a value may be; an address is data from outside. @type {Record<string, [number, number, boolean]>} */
  const RANGES = {
    patchDim: [16, 1600, true],
    noiseStd: [0.001, 10, false],
    nTrain: [1, 1200, true],
    nFilters: [2, 96, true],
    power: [2, 4, false],
    radiusRatio: [0, 3, false],
    robustWeight: [0, 1, false],
    lr: [1e-6, 1, false],
    fresh: [0, 1, false],
    seed: [0, 4294967295, true],
    nSteps: [10, 1000000, true],
  };

  /** What a number that cannot be taken should have been. @param {string} key of RANGES */
  function expected(key) {
    const [low, high, whole] = RANGES[key];
    return `${whole ? "a whole number" : "a number"} from ${low} to ${high}`;
  }

  /** @param {string} key of RANGES @param {string} word @returns {number | null} null where it cannot be taken. */
  function numberOf(key, word) {
    const [low, high, whole] = RANGES[key];
    const value = word.trim() === "" ? NaN : Number(word);
    return value >= low && value <= high && (!whole || Number.isInteger(value)) ? value : null;
  }

  /** @type {Record<string, string[]>} */
  const NAMED = {preset: ["theorem", "table2", "control"], adversary: ["restricted", "l2"]};

  /**
   * The choice of an address; what is unreadable or out of its range is left at its default, and named.
   * @param {string} text the part behind #.
   * @returns {{choice: Choice, refused: string[]}}
   */
  function read(text) {
    /** @type {Record<string, unknown>} */
    const found = {...DEFAULT};
    /** @type {string[]} */
    const refused = [];
    const keys = new Map([["preset", "preset"], ["fresh", "fresh"], ...FLAGS.map(([key, flag]) => [flag, key])]);
    for (const [flag, word] of new URLSearchParams(text)) {
      const key = keys.get(flag);
      if (key === undefined) refused.push(`${flag} (unknown)`);
      else if (key in NAMED) {
        if (NAMED[key].includes(word)) found[key] = word;
        else refused.push(`${flag}=${word} (expects ${NAMED[key].join(", ")})`);
      } else {
        const value = numberOf(key, word);
        if (value === null) refused.push(`${flag}=${word} (expects ${expected(key)})`);
        else found[key] = value;
      }
    }
    const choice = /** @type {Choice} */ (/** @type {unknown} */ (found));
    // The remedies of Python have the adversary along w* only.
    if (choice.adversary === "l2" && choice.fresh > 0) {
      refused.push(`fresh=${choice.fresh} (with the adversary along w* only)`);
      choice.fresh = 0;
    }
    return {choice, refused};
  }

  return {
    DEFAULT,
    expected,
    numberOf,
    settingOf,
    commandOf,
    addressOf,
    read,
  };
})();
