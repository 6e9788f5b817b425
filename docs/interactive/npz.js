/* Points as the .npz that `cgro memorize --data` reads: arrays in numpy's format in an uncompressed zip. */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

cgro.npz = (() => {
  const TABLE = Uint32Array.from({length: 256}, (_, n) => {
    for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n;
  });

  /** CRC-32 of zip. @param {Uint8Array} bytes @returns {number} */
  function checksum(bytes) {
    let c = 0xffffffff;
    for (const byte of bytes) c = TABLE[(c ^ byte) & 0xff] ^ (c >>> 8);
    return (c ^ 0xffffffff) >>> 0;
  }

  /**
   * An array in numpy's format 1.0.
   * @param {Float32Array | BigInt64Array} values
   * @param {string} type
   * @param {string} shape
   */
  function array(values, type, shape) {
    const text = `{'descr': '${type}', 'fortran_order': False, 'shape': ${shape}, }`;
    const wide = Math.ceil((10 + text.length + 1) / 64) * 64;
    const out = new Uint8Array(wide + values.byteLength);
    out.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, (wide - 10) & 0xff, (wide - 10) >> 8]);
    out.set(new TextEncoder().encode(text.padEnd(wide - 11) + "\n"), 10);
    out.set(new Uint8Array(values.buffer), wide);
    return out;
  }

  /** @param {Record<string, Uint8Array>} files @returns {Uint8Array} */
  function zip(files) {
    const parts = [],
      entries = [];
    let at = 0;
    for (const [name, bytes] of Object.entries(files)) {
      const title = new TextEncoder().encode(name);
      // Version, flags, method (stored), time, date (1 January 1980), checksum, both sizes, length of the name.
      const common = new DataView(new ArrayBuffer(26));
      [20, 0, 0, 0, 33].forEach((value, k) => common.setUint16(2 * k, value, true));
      [checksum(bytes), bytes.length, bytes.length].forEach((value, k) => common.setUint32(10 + 4 * k, value, true));
      common.setUint16(22, title.length, true);
      const head = new Uint8Array(common.buffer);
      parts.push(Uint8Array.of(0x50, 0x4b, 3, 4), head, title, bytes);
      const tail = new DataView(new ArrayBuffer(14));
      tail.setUint32(10, at, true);
      entries.push(Uint8Array.of(0x50, 0x4b, 1, 2, 20, 0), head, new Uint8Array(tail.buffer), title);
      at += 30 + title.length + bytes.length;
    }
    const size = entries.reduce((sum, part) => sum + part.length, 0);
    const end = new DataView(new ArrayBuffer(22));
    end.setUint32(0, 0x06054b50, true);
    const n = Object.keys(files).length;
    end.setUint16(8, n, true);
    end.setUint16(10, n, true);
    end.setUint32(12, size, true);
    end.setUint32(16, at, true);
    const all = [...parts, ...entries, new Uint8Array(end.buffer)];
    const out = new Uint8Array(at + size + 22);
    let to = 0;
    for (const part of all) {
      out.set(part, to);
      to += part.length;
    }
    return out;
  }

  /**
   * @param {Point[]} points
   * @returns {Uint8Array} labels -1 and +1 as classes 0 and 1; the test set is the training set.
   */
  function ofPoints(points) {
    const n = points.length;
    const x = array(Float32Array.from(points.flatMap((p) => [p.x, p.y])), "<f4", `(${n}, 1, 1, 2)`);
    const y = array(
      BigInt64Array.from(points, (p) => (p.label > 0 ? 1n : 0n)),
      "<i8",
      `(${n},)`,
    );
    return zip({"x.npy": x, "y.npy": y, "x_test.npy": x, "y_test.npy": y});
  }

  return {ofPoints};
})();
