/* The robust memorizer of Theorem 4.4 in two dimensions: src/cgro/representation on points of the unit square.

     ind_i = ReLU(1 - z_i / g_i)                                 1 on B_p(x_i, delta), 0 beyond the ramp
     F     = ReLU(c - B I) - ReLU(-c - B I) + m_+ - m_-          c = f_clean clipped to [-1, 1], I = m_+ + m_-
     f_S   = f_clean off the balls, the sum of labels y_i in them       (Lemma 4.5)

   z_i is the excess of the distance over delta: of the l_1 distance to the cube for p = inf, of the l_1 distance for
   p = 1, of the squared distance, by sawtooth squares, for p = 2. */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

/** @typedef {{x: number, y: number, label: 1 | -1}} Point */
/** @typedef {"inf" | "1" | "2"} Norm */
/** The score a x + b y + c. @typedef {{a: number, b: number, c: number}} Line */

cgro.memorizer = (() => {
  const DIM = 2;
  // Of Python, where each has its reason: supports.py, combination.py, certificate.py.
  const SLACK = 1e-6;
  const ROUNDED_DOWN = 1 - 2 ** -40;
  const ABOVE_ONE = 1 + 2 ** -10;
  const ROUNDING = 1e-9;
  const LEAST_DEPTH = 2;
  /** |f_clean| is 1 at distance 1/STEEPNESS from the line where it is 0: a choice of this page. */
  const STEEPNESS = 4;

  /** @param {Norm} p @param {number} dx @param {number} dy @returns {number} */
  function lengthOf(p, dx, dy) {
    if (p === "inf") return Math.max(Math.abs(dx), Math.abs(dy));
    return p === "1" ? Math.abs(dx) + Math.abs(dy) : Math.sqrt(dx * dx + dy * dy);
  }

  /** @param {number} value */
  const relu = (value) => Math.max(value, 0);

  /** f_clean. @param {Line} line @param {number} x @param {number} y */
  function scoreOf({a, b, c}, x, y) {
    return a * x + b * y + c;
  }

  /**
   * How fast f_clean changes with the distance at most: the dual norm of its gradient.
   * @param {Line} line
   * @param {Norm} p
   */
  function slopeOf({a, b}, p) {
    if (p === "inf") return Math.abs(a) + Math.abs(b);
    return p === "1" ? Math.max(Math.abs(a), Math.abs(b)) : Math.hypot(a, b);
  }

  /** What the sawtooth adds to |x|^2 at most. @param {number} depth */
  const sawtoothError = (depth) => DIM / 4 ** (depth + 1);

  /** q(x) - |x|^2 of one coordinate in [0, 1]. @param {number} u @param {number} depth */
  function sawtoothExcess(u, depth) {
    let total = u - u * u;
    let tooth = u;
    for (let k = 1; k <= depth; k++) {
      tooth = 2 * relu(tooth) - 4 * relu(tooth - 0.5);
      total -= tooth / 4 ** k;
    }
    return total;
  }

  /**
   * Distance between the classes (Assumption 4.2).
   * @param {Point[]} points @param {Norm} p
   * @returns {{value: number, nearest: number[], pair: [number, number]} | null} null without two classes.
   */
  function separation(points, p) {
    const nearest = points.map((one) =>
      Math.min(
        ...points
          .filter((other) => other.label !== one.label)
          .map((other) => lengthOf(p, one.x - other.x, one.y - other.y)),
      ),
    );
    const value = Math.min(...nearest);
    if (!Number.isFinite(value)) return null;
    const first = nearest.indexOf(value);
    const second = points.findIndex(
      (other) =>
        other.label !== points[first].label &&
        lengthOf(p, points[first].x - other.x, points[first].y - other.y) === value,
    );
    return {value, nearest, pair: [first, second]};
  }

  /**
   * Why there is no memorizer, in a sentence; empty if there is one.
   * @param {Point[]} points @param {Norm} p @param {number} radius
   */
  function refusal(points, p, radius) {
    const found = separation(points, p);
    if (!found) return "Place at least one point of either class.";
    const {value, pair} = found;
    const both = `points ${pair[0] + 1} and ${pair[1] + 1}`;
    if (value === 0) return `Refused: ${both} are equal and have different labels. Move or remove one of them.`;
    if ((2 + SLACK) * radius < value) return "";
    const norm = `l_${p === "inf" ? "∞" : p}`;
    return (
      `Refused: the balls of ${both}, which have different labels, overlap. The classes are ${value.toPrecision(4)} ` +
      `apart in ${norm}; Assumption 4.2 asks for a radius below half of that, ${(value / 2).toPrecision(4)}.`
    );
  }

  /** The CGRO classifier of Theorem 4.4. */
  class Memorizer {
    /**
     * @param {Point[]} points @param {Norm} p @param {number} radius delta @param {Line} clean f_clean
     * @param {number | null} [ramp] width on which an indicator falls to 0; null for what certificate A allows.
     */
    constructor(points, p, radius, clean, ramp = null) {
      const why = refusal(points, p, radius);
      if (why) throw new RangeError(why);
      const {nearest} = /** @type {NonNullable<ReturnType<typeof separation>>} */ (separation(points, p));
      this.points = points;
      this.p = p;
      this.radius = radius;
      this.clean = clean;
      this.inner = radius * (1 + SLACK);
      this.ramp = nearest.map((d) => {
        if (ramp !== null) return ramp;
        return Math.min(d * (1 - 7 * 2 ** -53) - radius - this.inner, radius) * ROUNDED_DOWN;
      });
      this.depth = 0;
      this.gap = this.ramp;
      if (p === "2") {
        const shell = this.ramp.map((width) => (this.inner + width) ** 2 - this.inner ** 2);
        this.depth = LEAST_DEPTH;
        while (sawtoothError(this.depth) > 0.5 * Math.min(...shell)) this.depth++;
        this.gap = shell.map((area) => (area - sawtoothError(this.depth)) * ROUNDED_DOWN);
      }
      this.threshold = this.inner ** 2 + sawtoothError(this.depth);
      /** Beyond it in one coordinate an indicator is 0, with room for rounding. */
      this.reach = this.gap.map((gap) => 1e-9 + (p === "2" ? Math.sqrt(this.threshold + gap) : this.inner + gap));
    }

    /** What both squares are too large by in the network, the same for all points. @param {number} x @param {number} y */
    squaresAt(x, y) {
      return this.p === "2" ? sawtoothExcess(x, this.depth) + sawtoothExcess(y, this.depth) : 0;
    }

    /** z_i. @param {number} i @param {number} x @param {number} y @param {number} squares of `squaresAt`. */
    excess(i, x, y, squares = this.squaresAt(x, y)) {
      const dx = x - this.points[i].x,
        dy = y - this.points[i].y;
      if (this.p === "inf") return relu(Math.abs(dx) - this.inner) + relu(Math.abs(dy) - this.inner);
      if (this.p === "1") return relu(Math.abs(dx) + Math.abs(dy) - this.inner);
      return relu(dx * dx + dy * dy + squares - this.threshold);
    }

    /** f_clean. @param {number} x @param {number} y */
    cleanAt(x, y) {
      return scoreOf(this.clean, x, y);
    }

    /** F, the network. @param {number} x @param {number} y */
    at(x, y) {
      let plus = 0,
        minus = 0;
      const squares = this.squaresAt(x, y);
      for (let i = 0; i < this.points.length; i++) {
        const point = this.points[i];
        if (Math.abs(x - point.x) > this.reach[i] || Math.abs(y - point.y) > this.reach[i]) continue;
        const value = relu(1 - this.excess(i, x, y, squares) / this.gap[i]);
        if (point.label > 0) plus += value;
        else minus += value;
      }
      const total = plus + minus;
      const c = Math.min(1, Math.max(-1, this.cleanAt(x, y)));
      return relu(c - ABOVE_ONE * total) - relu(-c - ABOVE_ONE * total) + plus - minus;
    }

    /** f_S of Lemma 4.5, with hard indicators. @param {number} x @param {number} y */
    hardAt(x, y) {
      let inside = 0,
        sum = 0;
      for (const point of this.points) {
        if (lengthOf(this.p, x - point.x, y - point.y) > this.radius) continue;
        inside++;
        sum += point.label;
      }
      return inside ? sum : this.cleanAt(x, y);
    }

    /** Lower bounds of y F on every training ball (certificates A and A'). @returns {number[]} */
    certificate() {
      return this.points.map((one) => {
        let lost = 0,
          met = false;
        this.points.forEach((other, k) => {
          if (other.label === one.label) return;
          const value = 1 - this.leastExcess(one, other) / this.gap[k];
          if (value <= ROUNDING) return;
          lost += value;
          met = true;
        });
        return 1 - lost - (met ? ROUNDING : 0);
      });
    }

    /** The least z of one point's indicator on the ball of another. @param {Point} at @param {Point} of */
    leastExcess(at, of) {
      const dx = Math.abs(at.x - of.x),
        dy = Math.abs(at.y - of.y),
        both = this.radius + this.inner;
      if (this.p === "inf") return relu(dx - both) + relu(dy - both);
      if (this.p === "1") return relu(dx + dy - both);
      return relu(relu(Math.sqrt(dx * dx + dy * dy) - this.radius) ** 2 - this.threshold);
    }
  }

  /**
   * The line of least squares through the labels, scaled to STEEPNESS.
   * @param {Point[]} points
   * @returns {Line | null} null where no line is better than none: one class only, or classes with the same mean.
   */
  function fittedLine(points) {
    const n = points.length;
    const mean = (/** @type {(p: Point) => number} */ f) => points.reduce((sum, p) => sum + f(p), 0) / n;
    const mx = mean((p) => p.x),
      my = mean((p) => p.y),
      ml = mean((p) => p.label);
    const xx = mean((p) => (p.x - mx) ** 2),
      yy = mean((p) => (p.y - my) ** 2),
      xy = mean((p) => (p.x - mx) * (p.y - my));
    const xl = mean((p) => (p.x - mx) * (p.label - ml)),
      yl = mean((p) => (p.y - my) * (p.label - ml));
    const determinant = xx * yy - xy * xy;
    let a = (yy * xl - xy * yl) / determinant,
      b = (xx * yl - xy * xl) / determinant;
    if (!(determinant > 1e-12)) {
      // All points lie on one line, as any two do: of the solutions the one of least norm, along that line.
      a = xl / (xx + yy);
      b = yl / (xx + yy);
    }
    const size = Math.hypot(a, b);
    if (!(size > 1e-9)) return null;
    const scale = STEEPNESS / size;
    return {a: scale * a, b: scale * b, c: scale * (ml - a * mx - b * my)};
  }

  return {Memorizer, separation, refusal, fittedLine, scoreOf, slopeOf, ABOVE_ONE, STEEPNESS};
})();
