/* Line charts on a canvas: axes, lines, dots, marks. Colors are the page's (page.css): dark, light and print hold. */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

/**
 * @typedef {object} Axis
 * @property {string} label
 * @property {number} low
 * @property {number} high
 * @property {boolean} [log]
 * @property {(value: number) => string} [text] of a tick.
 * @property {(value: number) => number} [share] where a value lies, 0 at the low end and 1 at the high one.
 * @property {number[]} [ticks] where the axis is none of the usual ones.
 */
/** @typedef {{color: string, dash?: number[], width?: number, points: [number, number][]}} Curve */

cgro.plots = (() => {
  const LEFT = 54,
    RIGHT = 14,
    TOP = 44,
    BOTTOM = 44;
  const FONT = '13px system-ui, "DejaVu Sans", sans-serif';

  const {color, forgetColors} = cgro.parts;

  /**
   * Round numbers between two ends.
   * @param {number} low
   * @param {number} high
   * @param {number} most
   * @returns {number[]}
   */
  function roundNumbers(low, high, most) {
    const rough = (high - low) / most;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((k) => k * unit).find((k) => k >= rough) ?? rough;
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
    return found;
  }

  /** Powers of ten. @param {number} low @param {number} high @returns {number[]} */
  function powers(low, high) {
    const found = [];
    for (let k = Math.ceil(Math.log10(low) - 1e-9); 10 ** k <= high * (1 + 1e-9); k++) found.push(10 ** k);
    return found;
  }

  /** A number as short text. @param {number} value */
  function short(value) {
    if (Math.abs(value) >= 10000) return `${+(value / 1000).toPrecision(3)}k`;
    return String(+value.toPrecision(4));
  }

  /** One chart; draws itself anew when its size, the colors or the printer ask for it. */
  class Chart {
    /**
     * @param {HTMLCanvasElement} canvas
     * @param {(chart: Chart) => void} paint
     * @param {number} [ratio] height over width.
     */
    constructor(canvas, paint, ratio = 0.68) {
      this.canvas = canvas;
      this.paint = paint;
      this.ratio = ratio;
      this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
      /** @type {Axis} */
      this.x = {label: "", low: 0, high: 1};
      /** @type {Axis} */
      this.y = {label: "", low: 0, high: 1};
      this.width = 0;
      this.height = 0;
      new ResizeObserver(() => this.draw()).observe(/** @type {Element} */ (canvas.parentElement));
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
      addEventListener("beforeprint", () => this.draw());
      addEventListener("afterprint", () => this.draw());
    }

    draw() {
      const wide = this.canvas.clientWidth;
      if (!wide) return;
      const sharp = Math.min(globalThis.devicePixelRatio || 1, 3);
      this.width = wide;
      this.height = Math.round(Math.min(wide * this.ratio, 460));
      const pixels = [Math.round(this.width * sharp), Math.round(this.height * sharp)];
      if (this.canvas.width !== pixels[0] || this.canvas.height !== pixels[1]) {
        this.canvas.width = pixels[0];
        this.canvas.height = pixels[1];
        this.canvas.style.height = `${this.height}px`;
      }
      this.context.setTransform(sharp, 0, 0, sharp, 0, 0);
      this.context.clearRect(0, 0, this.width, this.height);
      this.context.font = FONT;
      forgetColors();
      this.paint(this);
    }

    /** @param {number} value @returns {number} */
    px(value) {
      return LEFT + share(this.x, value) * (this.width - LEFT - RIGHT);
    }

    /** @param {number} value @returns {number} */
    py(value) {
      return this.height - BOTTOM - share(this.y, value) * (this.height - TOP - BOTTOM);
    }

    axes() {
      const c = this.context;
      c.lineWidth = 1;
      c.textAlign = "center";
      c.textBaseline = "top";
      const bottom = this.height - BOTTOM;
      const ticksX =
        this.x.ticks ??
        (this.x.log ? powers(this.x.low, this.x.high) : roundNumbers(this.x.low, this.x.high, this.width / 90));
      for (const value of ticksX) {
        this.rule([this.px(value), TOP], [this.px(value), bottom], "grid");
        c.fillStyle = color("soft");
        c.fillText((this.x.text ?? short)(value), this.px(value), bottom + 6);
      }
      c.textAlign = "right";
      c.textBaseline = "middle";
      const ticksY = this.y.log
        ? powers(this.y.low, this.y.high)
        : roundNumbers(this.y.low, this.y.high, this.height / 60);
      for (const value of ticksY) {
        this.rule([LEFT, this.py(value)], [this.width - RIGHT, this.py(value)], "grid");
        c.fillStyle = color("soft");
        c.fillText((this.y.text ?? short)(value), LEFT - 7, this.py(value));
      }
      this.rule([LEFT, bottom], [this.width - RIGHT, bottom], "mark");
      this.rule([LEFT, TOP], [LEFT, bottom], "mark");
      c.fillStyle = color("text");
      c.textAlign = "center";
      c.textBaseline = "bottom";
      c.fillText(this.x.label, (LEFT + this.width - RIGHT) / 2, this.height - 3);
      c.textAlign = "left";
      c.textBaseline = "top";
      c.fillText(this.y.label, 2, 3);
    }

    /** A straight line between two places. */
    rule(
      /** @type {number[]} */ from,
      /** @type {number[]} */ to,
      /** @type {string} */ name,
      /** @type {number[]} */ dash = [],
    ) {
      const c = this.context;
      c.strokeStyle = color(name);
      c.setLineDash(dash);
      c.beginPath();
      c.moveTo(from[0], from[1]);
      c.lineTo(to[0], to[1]);
      c.stroke();
      c.setLineDash([]);
    }

    /** Draw inside the axes only. @param {() => void} paint */
    clipped(paint) {
      const c = this.context;
      c.save();
      c.beginPath();
      c.rect(LEFT, TOP - 2, this.width - LEFT - RIGHT + 2, this.height - TOP - BOTTOM + 4);
      c.clip();
      paint();
      c.restore();
    }

    /** @param {Curve} curve */
    curve({color: name, dash = [], width = 2.4, points}) {
      const c = this.context;
      c.strokeStyle = color(name);
      c.lineWidth = width;
      c.lineJoin = "round";
      c.setLineDash(dash);
      c.beginPath();
      points.forEach(([x, y], i) => (i ? c.lineTo(this.px(x), this.py(y)) : c.moveTo(this.px(x), this.py(y))));
      c.stroke();
      c.setLineDash([]);
      c.lineWidth = 1;
    }

    /** A vertical line over the whole height. @param {number} x */
    mark(x) {
      this.rule([this.px(x), TOP], [this.px(x), this.height - BOTTOM], "mark");
    }

    /** A word above the axes, between two values of x; left out where it has no room. */
    heading(/** @type {string} */ word, /** @type {number} */ from, /** @type {number} */ to) {
      const c = this.context;
      const left = this.px(from),
        right = this.px(to);
      if (c.measureText(word).width > right - left) return;
      c.fillStyle = color("soft");
      c.textAlign = "center";
      c.textBaseline = "bottom";
      c.fillText(word, (left + right) / 2, TOP - 4);
    }

    /** @param {number} x @param {number} y @param {string} name @param {number} [size] @param {number} [alpha] */
    dot(x, y, name, size = 4, alpha = 1) {
      const c = this.context;
      c.globalAlpha = alpha;
      c.fillStyle = color(name);
      c.strokeStyle = color("mark");
      c.beginPath();
      c.arc(this.px(x), this.py(y), size, 0, 2 * Math.PI);
      c.fill();
      c.stroke();
      c.globalAlpha = 1;
    }

    /** Words at a place of the axes. */
    words(
      /** @type {string} */ text,
      /** @type {number} */ x,
      /** @type {number} */ y,
      /** @type {CanvasTextAlign} */ align = "center",
    ) {
      const c = this.context;
      c.fillStyle = color("text");
      c.textAlign = align;
      c.textBaseline = "middle";
      c.fillText(text, this.px(x), this.py(y));
    }
  }

  /** Where on an axis a value lies, 0 at its low end. @param {Axis} axis @param {number} value */
  function share(axis, value) {
    if (axis.share) return axis.share(value);
    if (axis.log) return Math.log(Math.max(value, axis.low) / axis.low) / Math.log(axis.high / axis.low);
    return (value - axis.low) / (axis.high - axis.low);
  }

  return {Chart};
})();
