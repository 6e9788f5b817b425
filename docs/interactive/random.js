/* Random numbers of Python, number for number: a seed means the same data and filters here and in `cgro dynamics`.

   MersenneTwister  torch.Generator on a CPU: training examples and initial filters (data/patches.py, patch_cnn.py)
   Pcg64            numpy.random.default_rng([seed, stream]): unseen examples and fresh noise (dynamics/unseen.py)

   Integers and uniform numbers are equal bit for bit. Normal numbers of torch are Box and Muller's: cosine and
   logarithm of two mathematical libraries may differ in the last bit. Those of numpy come from tables, and are equal
   but for the rare ones that need a logarithm. 64-bit integers are pairs of 32-bit ones, as BigInt is slower. */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

cgro.random = (() => {
  const TWO_32 = 4294967296;
  const UNIT_53 = 1 / 9007199254740992;
  /** Numbers between two pauses, a multiple of 16. */
  const PART = 8192;

  /** Matsumoto and Nishimura (1998), as torch seeds and reads it. */
  class MersenneTwister {
    /** @param {number} seed of `manual_seed`, below 2^32. */
    constructor(seed) {
      this.state = new Uint32Array(624);
      this.state[0] = seed;
      for (let i = 1; i < 624; i++) {
        const before = this.state[i - 1] ^ (this.state[i - 1] >>> 30);
        this.state[i] = Math.imul(1812433253, before) + i;
      }
      this.at = 624;
    }

    /** @returns {number} an integer in [0, 2^32). */
    uint32() {
      if (this.at === 624) this.refill();
      let y = this.state[this.at++];
      y ^= y >>> 11;
      y ^= (y << 7) & 0x9d2c5680;
      y ^= (y << 15) & 0xefc60000;
      return (y ^ (y >>> 18)) >>> 0;
    }

    refill() {
      const s = this.state;
      for (let i = 0; i < 624; i++) {
        const y = (s[i] & 0x80000000) | (s[(i + 1) % 624] & 0x7fffffff);
        s[i] = s[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      this.at = 0;
    }

    /** @returns {number} the 53 lower bits of two draws, times 2^-53. */
    uniform() {
      const high = this.uint32();
      const low = this.uint32();
      return ((high & 0x1fffff) * TWO_32 + low) * UNIT_53;
    }

    /**
     * torch.randint(high, (n,)).
     * @param {number} high how many integers there are, below 2^28.
     * @param {number} n
     * @returns {Int32Array}
     */
    integers(high, n) {
      return Int32Array.from({length: n}, () => this.uint32() % high);
    }

    /**
     * torch.randn(n, dtype=float64) for n >= 16: uniform numbers in blocks of 16, eight lengths and eight angles each.
     * The last block is drawn anew where n is no multiple of 16.
     * @param {number} n
     * @returns {Float64Array}
     */
    normals(n) {
      const drawing = this.normalsInParts(n);
      let part = drawing.next();
      while (!part.done) part = drawing.next();
      return part.value;
    }

    /** The same; pauses where it takes long. @param {number} n @returns {Generator<undefined, Float64Array>} */
    *normalsInParts(n) {
      if (n < 16) throw new RangeError(`normals: expected n >= 16, got ${n}`);
      const out = new Float64Array(n);
      for (let i = 0; i < n; i++) {
        out[i] = this.uniform();
        if (i % PART === PART - 1) yield;
      }
      for (let i = 0; i < n - 15; i += 16) {
        boxMuller(out, i);
        if (i % PART === PART - 16) yield;
      }
      if (n % 16) {
        for (let i = n - 16; i < n; i++) out[i] = this.uniform();
        boxMuller(out, n - 16);
      }
      return out;
    }
  }

  /** @param {Float64Array} data @param {number} at its 16 uniform numbers from here on become normal ones. */
  function boxMuller(data, at) {
    for (let j = at; j < at + 8; j++) {
      const length = Math.sqrt(-2 * Math.log(1 - data[j]));
      const angle = 2 * Math.PI * data[j + 8];
      data[j] = length * Math.cos(angle);
      data[j + 8] = length * Math.sin(angle);
    }
  }

  /**
   * The seeds that numpy's SeedSequence makes of integers (after O'Neill's seed_seq).
   * @param {number[]} entropy integers below 2^32.
   * @returns {Uint32Array} eight words.
   */
  function seedWords(entropy) {
    let constant = 0x43b0d7e5;
    const hash = (/** @type {number} */ value) => {
      value ^= constant;
      constant = Math.imul(constant, 0x931e8875);
      value = Math.imul(value, constant);
      return value ^ (value >>> 16);
    };
    const mix = (/** @type {number} */ x, /** @type {number} */ y) => {
      const mixed = Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y);
      return mixed ^ (mixed >>> 16);
    };
    const pool = new Uint32Array(4);
    for (let i = 0; i < 4; i++) pool[i] = hash(entropy[i] ?? 0);
    for (let from = 0; from < 4; from++) {
      for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mix(pool[to], hash(pool[from]));
    }
    for (const word of entropy.slice(4)) {
      for (let to = 0; to < 4; to++) pool[to] = mix(pool[to], hash(word));
    }
    const words = new Uint32Array(8);
    constant = 0x8b51f9dd;
    for (let i = 0; i < 8; i++) {
      let value = pool[i % 4] ^ constant;
      constant = Math.imul(constant, 0x58f38ded);
      value = Math.imul(value, constant);
      words[i] = value ^ (value >>> 16);
    }
    return words;
  }

  /** The upper 32 bits of a 64-bit product. @param {number} a @param {number} b @returns {number} */
  function upper(a, b) {
    const a0 = a & 0xffff,
      a1 = a >>> 16,
      b0 = b & 0xffff,
      b1 = b >>> 16;
    const middle = a1 * b0 + ((a0 * b0) >>> 16);
    const rest = a0 * b1 + (middle % 65536);
    return (a1 * b1 + Math.floor(middle / 65536) + Math.floor(rest / 65536)) >>> 0;
  }

  /** The multiplier's words. */
  const m0 = 0x9fccf645,
    m1 = 0x4385df64,
    m2 = 0x1fc65da4,
    m3 = 0x2360ed05;

  /** O'Neill's PCG-XSL-RR 128/64, as numpy seeds and reads it. Words are in order of significance, the least first. */
  class Pcg64 {
    /** @param {number[]} entropy integers below 2^32, such as [seed, stream]. */
    constructor(entropy) {
      const words = seedWords(entropy);
      const start = [words[2], words[3], words[0], words[1]];
      const stream = [words[6], words[7], words[4], words[5]];
      this.increment = new Uint32Array(4);
      for (let i = 0; i < 4; i++) this.increment[i] = (stream[i] << 1) | (i ? stream[i - 1] >>> 31 : 1);
      this.state = new Uint32Array(4);
      this.high = 0;
      this.low = 0;
      /** @type {number | null} the half of a draw that `uint32` has not given out. */
      this.kept = null;
      this.advance();
      this.add(start);
      this.advance();
    }

    /** @param {ArrayLike<number>} other */
    add(other) {
      let carry = 0;
      for (let i = 0; i < 4; i++) {
        const sum = this.state[i] + other[i] + carry;
        this.state[i] = sum;
        carry = sum >= TWO_32 ? 1 : 0;
      }
    }

    /** state <- multiplier state + increment, modulo 2^128. */
    advance() {
      const s0 = this.state[0],
        s1 = this.state[1],
        s2 = this.state[2],
        s3 = this.state[3];
      const inc = this.increment;
      let sum = (Math.imul(s0, m0) >>> 0) + inc[0];
      this.state[0] = sum;
      let carry = Math.floor(sum / TWO_32);
      sum = upper(s0, m0) + (Math.imul(s0, m1) >>> 0) + (Math.imul(s1, m0) >>> 0) + inc[1] + carry;
      this.state[1] = sum % TWO_32;
      carry = Math.floor(sum / TWO_32);
      sum = upper(s0, m1) + upper(s1, m0) + (Math.imul(s0, m2) >>> 0) + (Math.imul(s1, m1) >>> 0);
      sum += (Math.imul(s2, m0) >>> 0) + inc[2] + carry;
      this.state[2] = sum % TWO_32;
      carry = Math.floor(sum / TWO_32);
      sum = upper(s0, m2) + upper(s1, m1) + upper(s2, m0) + (Math.imul(s0, m3) >>> 0) + (Math.imul(s1, m2) >>> 0);
      sum += (Math.imul(s2, m1) >>> 0) + (Math.imul(s3, m0) >>> 0) + inc[3] + carry;
      this.state[3] = sum % TWO_32;
    }

    /** The next 64 bits, into `high` and `low`. */
    next() {
      this.advance();
      const s0 = this.state[0],
        s1 = this.state[1],
        s2 = this.state[2],
        s3 = this.state[3];
      const high = s3 ^ s1,
        low = s2 ^ s0,
        turn = s3 >>> 26;
      const by = turn & 31;
      const a = turn < 32 ? high : low,
        b = turn < 32 ? low : high;
      this.high = (by ? (a >>> by) | (b << (32 - by)) : a) >>> 0;
      this.low = (by ? (b >>> by) | (a << (32 - by)) : b) >>> 0;
    }

    /** @returns {number} uniform on the multiples of 2^-53 in [0, 1). */
    uniform() {
      this.next();
      return (this.high * 2097152 + (this.low >>> 11)) * UNIT_53;
    }

    /** @returns {number} the lower half of a draw, then its upper half. */
    uint32() {
      if (this.kept !== null) {
        const kept = this.kept;
        this.kept = null;
        return kept;
      }
      this.next();
      this.kept = this.high;
      return this.low;
    }

    /**
     * rng.integers(0, 2, n), by Lemire's product: the upper bit.
     * @param {number} n
     * @returns {Int32Array} of 0 and 1.
     */
    bits(n) {
      return Int32Array.from({length: n}, () => this.uint32() >>> 31);
    }

    /** rng.standard_normal(), by the ziggurat of Marsaglia and Tsang (2000). @returns {number} */
    normal() {
      const {below, width, height, edge} = cgro.ziggurat;
      for (;;) {
        this.next();
        const layer = this.low & 0xff;
        // Bits 9 to 60 of the draw.
        const size = (this.high & 0x1fffffff) * 8388608 + (this.low >>> 9);
        const x = (this.low >>> 8) & 1 ? -size * width[layer] : size * width[layer];
        if (size < below[layer]) return x;
        if (layer === 0) return this.tail(edge, ((this.low >>> 17) & 1) === 1);
        const level = (height[layer - 1] - height[layer]) * this.uniform() + height[layer];
        if (level < Math.exp(-0.5 * x * x)) return x;
      }
    }

    /** @param {number} edge @param {boolean} negative @returns {number} beyond the edge of the lowest layer. */
    tail(edge, negative) {
      for (;;) {
        // numpy multiplies by the reciprocal, 0.27366123732975828.
        const x = -0.27366123732975828 * Math.log1p(-this.uniform());
        const y = -Math.log1p(-this.uniform());
        if (y + y > x * x) return negative ? -(edge + x) : edge + x;
      }
    }

    /** @param {number} n @returns {Float64Array} */
    normals(n) {
      const out = new Float64Array(n);
      for (let i = 0; i < n; i++) out[i] = this.normal();
      return out;
    }
  }

  return {MersenneTwister, Pcg64};
})();
