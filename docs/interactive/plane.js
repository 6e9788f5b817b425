/* The unit square on a canvas: answers as regions, balls, points and a crosshair. */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

cgro.plane = (() => {
  /** Cells of the picture of the answers, along a side. */
  const CELLS = 200;
  const EDGE = 14;

  const {color, forgetColors} = cgro.parts;

  /** A coordinate within the square, rounded as points are. @param {number} value */
  function inSquare(value) {
    return Math.round(1000 * Math.min(1, Math.max(0, value))) / 1000;
  }

  /** Red, green and blue of #rrggbb. @param {string} text @returns {number[]} */
  function channels(text) {
    return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
  }

  class Plane {
    /** @param {HTMLCanvasElement} canvas */
    constructor(canvas) {
      this.canvas = canvas;
      this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
      this.picture = document.createElement("canvas");
      this.picture.width = CELLS;
      this.picture.height = CELLS;
      this.size = 0;
    }

    /**
     * Paint the answers into a picture of their own: it changes less often than the crosshair.
     * @param {(x: number, y: number) => number} answer
     */
    regions(answer) {
      const context = /** @type {CanvasRenderingContext2D} */ (this.picture.getContext("2d"));
      const image = context.createImageData(CELLS, CELLS);
      forgetColors();
      const plus = channels(color("plus")),
        minus = channels(color("minus"));
      for (let j = 0; j < CELLS; j++) {
        for (let i = 0; i < CELLS; i++) {
          const value = answer((i + 0.5) / CELLS, 1 - (j + 0.5) / CELLS);
          const shade = value > 0 ? plus : minus;
          const at = 4 * (j * CELLS + i);
          image.data[at] = shade[0];
          image.data[at + 1] = shade[1];
          image.data[at + 2] = shade[2];
          // Stronger where the answer is certain.
          image.data[at + 3] = value === 0 ? 0 : 40 + 90 * Math.min(1, Math.abs(value));
        }
      }
      context.putImageData(image, 0, 0);
    }

    px(/** @type {number} */ x) {
      return EDGE + x * (this.size - 2 * EDGE);
    }

    py(/** @type {number} */ y) {
      return this.size - EDGE - y * (this.size - 2 * EDGE);
    }

    /** Coordinates of a place on the canvas, rounded as points are. @param {number} left @param {number} top */
    at(left, top) {
      const scale = this.size - 2 * EDGE;
      return {x: inSquare((left - EDGE) / scale), y: inSquare((this.size - EDGE - top) / scale)};
    }

    /**
     * @param {{points: Point[], p: Norm, radius: number, reach: number[] | null, cross: {x: number, y: number},
     *   clash: number[], focused: boolean}} shown
     */
    draw({points, p, radius, reach, cross, clash, focused}) {
      const wide = this.canvas.clientWidth;
      if (!wide) return;
      forgetColors();
      const sharp = Math.min(globalThis.devicePixelRatio || 1, 3);
      this.size = wide;
      const pixels = Math.round(wide * sharp);
      if (this.canvas.width !== pixels || this.canvas.height !== pixels) {
        this.canvas.width = pixels;
        this.canvas.height = pixels;
        this.canvas.style.height = `${wide}px`;
      }
      const c = this.context;
      c.setTransform(sharp, 0, 0, sharp, 0, 0);
      c.clearRect(0, 0, wide, wide);
      const side = wide - 2 * EDGE;
      c.imageSmoothingEnabled = true;
      c.drawImage(this.picture, EDGE, EDGE, side, side);
      c.strokeStyle = color("mark");
      c.strokeRect(EDGE, EDGE, side, side);
      points.forEach((point, i) => {
        if (reach) this.ball(point, p, reach[i], "memory", [2, 4], 1.2);
        this.ball(point, p, radius, clash.includes(i) ? "robust" : "memory", [], clash.includes(i) ? 3.5 : 2);
      });
      points.forEach((point, i) => this.point(point, i));
      this.crosshair(cross, focused);
    }

    ball(
      /** @type {Point} */ {x, y},
      /** @type {Norm} */ p,
      /** @type {number} */ r,
      /** @type {string} */ name,
      /** @type {number[]} */ dash,
      /** @type {number} */ width,
    ) {
      const c = this.context;
      const size = r * (this.size - 2 * EDGE),
        left = this.px(x),
        top = this.py(y);
      c.strokeStyle = color(name);
      c.lineWidth = width;
      c.setLineDash(dash);
      c.beginPath();
      if (p === "2") c.arc(left, top, size, 0, 2 * Math.PI);
      else if (p === "inf") c.rect(left - size, top - size, 2 * size, 2 * size);
      else {
        c.moveTo(left - size, top);
        c.lineTo(left, top - size);
        c.lineTo(left + size, top);
        c.lineTo(left, top + size);
        c.closePath();
      }
      c.stroke();
      c.setLineDash([]);
      c.lineWidth = 1;
    }

    /** A class has a shape as well as a color: plus in a circle, minus in a square. */
    point(/** @type {Point} */ {x, y, label}, /** @type {number} */ i) {
      const c = this.context;
      const left = this.px(x),
        top = this.py(y);
      c.fillStyle = color(label > 0 ? "plus" : "minus");
      c.strokeStyle = color("back");
      c.lineWidth = 1.5;
      c.beginPath();
      if (label > 0) c.arc(left, top, 8, 0, 2 * Math.PI);
      else c.rect(left - 7, top - 7, 14, 14);
      c.fill();
      c.stroke();
      c.strokeStyle = color("back");
      c.lineWidth = 2;
      c.beginPath();
      c.moveTo(left - 4, top);
      c.lineTo(left + 4, top);
      if (label > 0) {
        c.moveTo(left, top - 4);
        c.lineTo(left, top + 4);
      }
      c.stroke();
      c.lineWidth = 1;
      c.fillStyle = color("text");
      c.font = '11px system-ui, "DejaVu Sans", sans-serif';
      c.fillText(String(i + 1), left + 10, top - 8);
    }

    crosshair(/** @type {{x: number, y: number}} */ {x, y}, /** @type {boolean} */ focused) {
      const c = this.context;
      const left = this.px(x),
        top = this.py(y),
        arm = focused ? 14 : 9;
      for (const [name, width] of /** @type {[string, number][]} */ ([
        ["back", 4],
        ["text", 1.6],
      ])) {
        c.strokeStyle = color(name);
        c.lineWidth = width;
        c.beginPath();
        c.moveTo(left - arm, top);
        c.lineTo(left + arm, top);
        c.moveTo(left, top - arm);
        c.lineTo(left, top + arm);
        c.stroke();
      }
      c.lineWidth = 1;
    }
  }

  return {Plane, inSquare};
})();
