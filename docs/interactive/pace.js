/* How long a page may compute in a frame, so that frames come as often as the screen shows them. */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

cgro.pace = (() => {
  /** Milliseconds of a frame that are computed in, at most and at least; a frame of 60 per second has 16.7. */
  const MOST_WORK = 10,
    LEAST_WORK = 2;
  /** Of 60 frames per second, in milliseconds: a faster screen is not kept at its rate. */
  const SHORTEST = 1000 / 60;
  /** Times the screen's interval, from which on a frame is late. */
  const LATE = 1.2;
  /** Of a late frame's time less is computed in the next, after one in time a little more. */
  const SHRINK = 0.8,
    GROW = 0.1;
  /** Frames in which the screen's interval is looked for. */
  const WINDOW = 30;

  class Pace {
    constructor() {
      this.budget = MOST_WORK;
      /** Milliseconds from a frame to the next as the screen shows them. */
      this.interval = SHORTEST;
      this.last = -Infinity;
      this.fastest = Infinity;
      this.seen = 0;
    }

    /** Milliseconds to compute in the frame that begins. @param {number} now of the frame @returns {number} */
    next(now) {
      const gap = now - this.last;
      this.last = now;
      const late = gap > LATE * this.interval;
      this.budget = late ? Math.max(LEAST_WORK, SHRINK * this.budget) : Math.min(MOST_WORK, this.budget + GROW);
      this.fastest = Math.min(this.fastest, gap);
      if (++this.seen === WINDOW) {
        // Frames that are late however little is computed are those of a screen below 60 per second, as when power is
        // saved: to compute less makes none of them earlier, and a run take five times as long.
        if (this.fastest < this.interval || this.budget < 2 * LEAST_WORK)
          this.interval = Math.max(SHORTEST, this.fastest);
        this.fastest = Infinity;
        this.seen = 0;
      }
      return this.budget;
    }
  }

  return {Pace};
})();
