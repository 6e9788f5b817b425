/* What both pages share: elements, rows of tables, symbols as a paper sets them, colors, the way back to the site. */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

cgro.parts = (() => {
  /**
   * Symbols in words that scripts write: what is set, and what is read aloud. Only these: a word from an address that
   * has an underscore stays as it was written.
   * @type {Record<string, {base: string, low?: string, high?: string, rest?: string, spoken: string}>}
   */
  const SYMBOLS = {
    f_clean: {base: "f", low: "clean", spoken: "f clean"},
    f_S: {base: "f", low: "S", spoken: "f S"},
    V_i: {base: "V", low: "i", spoken: "V i"},
    "α^q U": {base: "α", high: "q", rest: "U", spoken: "alpha to the q times U"},
    "l_∞": {base: "l", low: "∞", spoken: "l infinity"},
    l_2: {base: "l", low: "2", spoken: "l 2"},
    l_1: {base: "l", low: "1", spoken: "l 1"},
  };
  const SYMBOL = /(?<![\p{L}\p{N}_^=])(f_clean|f_S|V_i|α\^q U|l_∞|l_2|l_1)(?![\p{L}\p{N}_^])/u;

  const byId = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
  const input = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ (document.getElementById(id));

  /** Colors since the last drawing began: to ask for the style at every stroke takes longer than to draw. */
  const known = new Map();

  /** A color of the page. @param {string} name such as "signal" @returns {string} */
  function color(name) {
    if (!known.has(name))
      known.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
    return known.get(name);
  }

  /** Ask for every color again: the screen may have turned dark, or paper. */
  function forgetColors() {
    known.clear();
  }

  /** @param {string} name of SYMBOLS */
  function symbol(name) {
    const {base, low, high, rest, spoken} = SYMBOLS[name];
    const made = document.createElement("span");
    made.className = "math";
    made.setAttribute("role", "math");
    made.setAttribute("aria-label", spoken);
    made.append(base);
    const shifted = document.createElement(low ? "sub" : "sup");
    shifted.textContent = low ?? high ?? "";
    made.append(shifted, rest ?? "");
    return made;
  }

  /** Put words into an element, their symbols set. @param {Element} element @param {string} text */
  function write(element, text) {
    // A split by a pattern with one group gives words and symbols in turn.
    const parts = text.split(SYMBOL).map((part, k) => (k % 2 ? symbol(part) : part));
    element.replaceChildren(...parts.filter((part) => part !== ""));
  }

  /**
   * A row of a table.
   * @param {(string | number)[]} cells the first one heads the row.
   * @param {(value: number) => string} digits of a number.
   */
  function row(cells, digits) {
    const line = document.createElement("tr");
    cells.forEach((cell, k) => {
      const made = document.createElement(k ? "td" : "th");
      if (!k) made.setAttribute("scope", "row");
      if (typeof cell === "number") made.className = "number";
      write(made, typeof cell === "number" ? digits(cell) : cell);
      line.append(made);
    });
    return line;
  }

  /** Everything is printed: what is folded is opened. @param {() => void} show fills what was not open. */
  function openForPrint(show) {
    addEventListener("beforeprint", () => {
      document.querySelectorAll("details").forEach((part) => {
        part.open = true;
      });
      show();
    });
  }

  /**
   * Copy the address; without a clipboard it is shown.
   * @param {string} what the link holds.
   * @param {(text: string) => void} tell
   */
  async function copyAddress(what, tell) {
    try {
      await navigator.clipboard.writeText(location.href);
      tell(`The link with ${what} has been copied.`);
    } catch {
      tell(`Copy the address of this page: ${location.href}`);
    }
  }

  /**
   * Show the link to the site where the site is: a page that was copied out of it would lead nowhere. Only the built
   * site has the link (tools/site/hooks.py). A file may not look for another one but by an image of it.
   */
  function leadToSite() {
    const link = document.getElementById("site");
    if (!link) return;
    const probe = new Image();
    probe.addEventListener("load", () => {
      link.hidden = false;
    });
    probe.src = /** @type {string} */ (link.dataset.probe);
  }

  leadToSite();
  return {byId, input, color, forgetColors, write, row, openForPrint, copyAddress};
})();
