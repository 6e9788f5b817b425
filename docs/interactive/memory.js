/* What the page on the memorizer holds: points and settings, as its address and as a command. */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

/**
 * @typedef {object} Memory
 * @property {Point[]} points
 * @property {Norm} p
 * @property {number} radius
 * @property {number | null} ramp null for what the certificate allows
 * @property {{angle: number, offset: number} | null} line null for the fitted one
 * @property {"F" | "S" | "clean"} shown
 */

cgro.memory = (() => {
  const MOST_POINTS = 60;
  /** |f_clean| is 1 at distance 1/STEEPNESS from the line where it is 0. */
  const STEEPNESS = 4;
  /** @type {[number, number, 1 | -1][]} */
  const EXAMPLE = [
    [0.2, 0.25, -1],
    [0.33, 0.6, -1],
    [0.12, 0.8, -1],
    [0.45, 0.2, -1],
    [0.72, 0.55, -1],
    [0.25, 0.42, -1],
    [0.62, 0.85, 1],
    [0.85, 0.3, 1],
    [0.9, 0.78, 1],
    [0.65, 0.28, 1],
    [0.45, 0.79, 1],
    [0.3, 0.9, 1],
  ];
  /** @returns {Memory} */
  function fresh() {
    return {
      points: EXAMPLE.map(([x, y, label]) => ({x, y, label})),
      p: "inf",
      radius: 0.06,
      ramp: null,
      line: null,
      shown: "F",
    };
  }

  /** The part of the address behind #. @param {Memory} m */
  function addressOf(m) {
    const found = new URLSearchParams({p: m.p, radius: String(m.radius), shown: m.shown});
    if (m.ramp !== null) found.set("ramp", String(m.ramp));
    if (m.line) found.set("line", `${m.line.angle},${m.line.offset}`);
    found.set("points", m.points.map((q) => `${q.x},${q.y},${q.label > 0 ? "+" : "-"}`).join(";"));
    return found.toString();
  }

  /** @param {string} text of an address; what cannot be read is left at its default. @returns {Memory} */
  function memoryOf(text) {
    const given = new URLSearchParams(text);
    const found = fresh();
    const number = (/** @type {string | null} */ word, /** @type {number} */ low, /** @type {number} */ high) => {
      const value = word === null || word.trim() === "" ? NaN : Number(word);
      return value >= low && value <= high ? value : null;
    };
    const p = given.get("p");
    if (p === "inf" || p === "1" || p === "2") found.p = p;
    const shown = given.get("shown");
    if (shown === "S" || shown === "clean") found.shown = shown;
    found.radius = number(given.get("radius"), 0.001, 0.5) ?? found.radius;
    found.ramp = number(given.get("ramp"), 0.001, 1);
    const line = (given.get("line") ?? "").split(",");
    const angle = number(line[0], -180, 180),
      offset = number(line[1] ?? null, -2, 2);
    if (angle !== null && offset !== null) found.line = {angle, offset};
    if (given.has("points")) {
      found.points = [];
      for (const word of (given.get("points") ?? "").split(";").slice(0, MOST_POINTS)) {
        const [x, y, label] = word.split(",");
        const at = [number(x ?? null, 0, 1), number(y ?? null, 0, 1)];
        if (at[0] !== null && at[1] !== null && (label === "+" || label === " " || label === "-")) {
          found.points.push({x: at[0], y: at[1], label: label === "-" ? -1 : 1});
        }
      }
    }
    return found;
  }

  /**
   * A line by its angle and its distance from the middle of the square.
   * @param {{angle: number, offset: number}} of
   * @returns {Line}
   */
  function lineOf({angle, offset}) {
    const a = STEEPNESS * Math.cos((angle * Math.PI) / 180),
      b = STEEPNESS * Math.sin((angle * Math.PI) / 180);
    return {a, b, c: -STEEPNESS * offset - (a + b) / 2};
  }

  /** Angle and offset of a line. @param {Line} line */
  function shapeOf({a, b, c}) {
    return {
      angle: Math.round((Math.atan2(b, a) * 180) / Math.PI),
      offset: Math.round(-100 * ((c + (a + b) / 2) / STEEPNESS)) / 100,
    };
  }

  /** The command that memorizes the same points. @param {Memory} memory */
  function commandOf(memory) {
    const words = [`cgro memorize --data points.npz --classes 0,1 --p ${memory.p} --radius ${memory.radius}`];
    if (memory.ramp !== null) words.push(`--ramp ${memory.ramp}`);
    return words.join(" ");
  }

  return {MOST_POINTS, fresh, addressOf, memoryOf, lineOf, shapeOf, commandOf};
})();
