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
  const {STEEPNESS} = cgro.memorizer;
  const MOST_POINTS = 60;
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

  /** What a number of the address may be: what the slider of it holds. @type {Record<string, [number, number]>} */
  const RANGES = {radius: [0.005, 0.5], ramp: [0.005, 1], angle: [-180, 180], offset: [-1, 1], place: [0, 1]};

  /** A number within its range, or null. @param {string | undefined} word @param {string} of a key of RANGES */
  function number(word, of) {
    const value = word === undefined || word.trim() === "" ? NaN : Number(word);
    return value >= RANGES[of][0] && value <= RANGES[of][1] ? value : null;
  }

  /** x,y,label; a plus in an address may have become a blank. @param {string} word @returns {Point | null} */
  function pointOf(word) {
    const [left, up, label, ...more] = word.split(",");
    const x = number(left, "place"),
      y = number(up, "place");
    if (x === null || y === null || more.length || !["+", " ", "-"].includes(label)) return null;
    return {x, y, label: label === "-" ? -1 : 1};
  }

  /** @param {string} text @param {string[]} refused what is not taken is added. @returns {Point[]} */
  function pointsOf(text, refused) {
    const words = text === "" ? [] : text.split(";");
    /** @type {Point[]} */
    const found = [];
    for (const word of words) {
      const point = pointOf(word);
      if (!point) refused.push(`point "${word}" (expects x,y,+ or x,y,- within [0, 1])`);
      else if (found.length < MOST_POINTS) found.push(point);
      else {
        refused.push(`points beyond the first ${MOST_POINTS}`);
        break;
      }
    }
    return found;
  }

  /** The readers of an address: each takes a word and says what it expects where it cannot. */
  const READERS = /** @type {Record<string, (found: Memory, word: string, refused: string[]) => string>} */ ({
    p(found, word) {
      if (word !== "inf" && word !== "1" && word !== "2") return "inf, 1 or 2";
      found.p = word;
      return "";
    },
    shown(found, word) {
      if (word !== "F" && word !== "S" && word !== "clean") return "F, S or clean";
      found.shown = word;
      return "";
    },
    radius(found, word) {
      const value = number(word, "radius");
      found.radius = value ?? found.radius;
      return value === null ? `a number from ${RANGES.radius.join(" to ")}` : "";
    },
    ramp(found, word) {
      found.ramp = number(word, "ramp");
      return found.ramp === null ? `a number from ${RANGES.ramp.join(" to ")}` : "";
    },
    line(found, word) {
      const [turn, shift, ...more] = word.split(",");
      const angle = number(turn, "angle"),
        offset = number(shift, "offset");
      if (angle === null || offset === null || more.length) return "angle,offset within [-180, 180] and [-1, 1]";
      found.line = {angle, offset};
      return "";
    },
    points(found, word, refused) {
      found.points = pointsOf(word, refused);
      return "";
    },
  });

  /**
   * Points and settings of an address; what cannot be read is left at its default, and named.
   * @param {string} text the part behind #.
   * @returns {{memory: Memory, refused: string[]}}
   */
  function read(text) {
    const memory = fresh();
    /** @type {string[]} */
    const refused = [];
    for (const [key, word] of new URLSearchParams(text)) {
      if (!Object.hasOwn(READERS, key)) {
        refused.push(`${key} (unknown)`);
        continue;
      }
      const expected = READERS[key](memory, word, refused);
      if (expected) refused.push(`${key}=${word} (expects ${expected})`);
    }
    return {memory, refused};
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

  return {MOST_POINTS, fresh, addressOf, read, lineOf, shapeOf, commandOf};
})();
