/* The page on the memorizer: points and settings in, regions, numbers and words out. */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

cgro.page = (() => {
  const {Memorizer, separation, refusal, fittedLine, scoreOf, slopeOf} = cgro.memorizer;
  const {MOST_POINTS, fresh, addressOf, read, lineOf, shapeOf, commandOf} = cgro.memory;
  /** How near, in units of the square, a point must be to be taken. */
  const NEAR = 0.03,
    NEAR_FINGER = 0.06;
  /** Pixels that a finger may slip in a tap; beyond it is a swipe, and scrolls. */
  const TAP = 10;
  /** Milliseconds after which numbers and tables follow a point that is being dragged. */
  const SOON = 150;
  const {byId, input, write, openForPrint, copyAddress} = cgro.parts;
  const row = (/** @type {(string | number)[]} */ cells) => cgro.parts.row(cells, short);

  /** @type {Memory} */
  let memory = fresh();
  let cross = {x: 0.5, y: 0.5};
  /** Why there is none; said once. */
  let refused = "";
  /** @type {any} the memorizer, or null where it is refused. */
  let built = null;
  /** @type {any} its network written out, once somebody asks for it. */
  let counted = null;
  /** Whether the clean model follows from the points. */
  let fitted = true;
  /** @type {Line} */
  let clean = {a: 4, b: 0, c: -2};
  const {inSquare} = cgro.plane;
  const plane = new cgro.plane.Plane(/** @type {HTMLCanvasElement} */ (document.getElementById("canvas")));
  /** @type {number | null} point that is being dragged. */
  let dragged = null;
  /** @type {{left: number, top: number} | null} where a finger came down that may yet scroll. */
  let tapped = null;
  /** The timer of what is due, or 0. */
  let later = 0;

  /** Compute everything anew. */
  function update() {
    clearTimeout(later);
    later = 0;
    sketch();
    history.replaceState(null, "", `#${addressOf(memory)}`);
    showSettings();
    showNumbers();
    showProbe();
    showPoints();
  }

  /** The picture now, and the rest soon: numbers and tables take longer than a frame has. */
  function updateSoon() {
    sketch();
    later ||= setTimeout(update, SOON);
  }

  function sketch() {
    const fit = fittedLine(memory.points);
    fitted = fit !== null;
    clean = memory.line ? lineOf(memory.line) : (fit ?? lineOf({angle: 0, offset: 0}));
    const why = refusal(memory.points, memory.p, memory.radius);
    built = why ? null : new Memorizer(memory.points, memory.p, memory.radius, clean, memory.ramp);
    counted = null;
    // What is written anew is read aloud anew.
    if (refused !== why) write(byId("refused"), why);
    refused = why;
    const answer =
      built && memory.shown !== "clean"
        ? (/** @type {number} */ x, /** @type {number} */ y) =>
            memory.shown === "F" ? built.at(x, y) : built.hardAt(x, y)
        : cleanAt;
    plane.regions(answer);
    draw();
  }

  /** f_clean, which is there without a memorizer, too. @param {number} x @param {number} y */
  function cleanAt(x, y) {
    return scoreOf(clean, x, y);
  }

  /** Parameters and layers of what is built. */
  function counts() {
    counted ??= cgro.network.parameters(built);
    return counted;
  }

  function draw() {
    const found = separation(memory.points, memory.p);
    plane.draw({
      points: memory.points,
      p: memory.p,
      radius: memory.radius,
      cross,
      reach:
        built && memory.shown === "F" ? built.ramp.map((/** @type {number} */ width) => built.inner + width) : null,
      clash: !built && found ? found.pair : [],
      focused: document.activeElement === byId("plane"),
    });
  }

  /** @param {number} value */
  function short(value) {
    return Number.isInteger(value) ? value.toLocaleString("en") : String(+value.toPrecision(6));
  }

  function showNumbers() {
    const found = separation(memory.points, memory.p);
    const n = memory.points.length;
    const rows = [row(["points N, dimension D", `${n}, 2`])];
    if (found) {
      rows.push(row(["separation of the classes", found.value]), row(["largest radius, half of it", found.value / 2]));
    }
    const wrong = memory.points.filter((q) => !(q.label * cleanAt(q.x, q.y) > 0)).length;
    rows.push(row(["clean model: wrong on training points", wrong]));
    if (!built) {
      byId("verdict").textContent = "There is no memorizer for these balls.";
      byId("numbers").replaceChildren(...rows);
      return;
    }
    const margins = built.certificate();
    const least = Math.min(...margins),
      failed = margins.filter((/** @type {number} */ m) => !(m > 0)).length;
    const fall = memory.radius * slopeOf(clean, memory.p);
    const open = memory.points.filter((q) => !(q.label * cleanAt(q.x, q.y) > fall)).length;
    byId("verdict").textContent = failed
      ? `NOT certified on ${failed} of ${n} training balls: ramps of the other class reach in. Take a narrower ramp.`
      : `Certified: y F ≥ ${short(least)} on all ${n} training balls. Robust training error 0.`;
    const {clean: ofClean, generic, memory: ofMemory, total, depth} = counts();
    const ofSquares = `ND + 4N + (8m−1)D + m, m = ${built.depth}`;
    const formula = {inf: "6ND + N", 1: "3ND + 4N + D", 2: ofSquares}[memory.p];
    rows.push(
      row(["clean model alone: training balls not robust", open]),
      row(["least certified y F", least]),
      row(["parameters of the clean model, non-zero", ofClean]),
      row([`indicators, by the formula ${formula}`, generic]),
      row(["extra parameters of memory, counted in the network", ofMemory]),
      row(["extra parameters over N D", ofMemory / (2 * n)]),
      row(["all parameters of the network, non-zero", total]),
      row(["affine layers of the network", depth]),
    );
    byId("numbers").replaceChildren(...rows);
  }

  function showProbe() {
    const {x, y} = cross;
    const rows = [row(["place", `(${x}, ${y})`]), row(["f_clean", cleanAt(x, y)])];
    if (built) {
      const written = cgro.network.evaluate(counts().layers, [x, y])[0];
      rows.push(
        row(["f_S, hard balls", built.hardAt(x, y)]),
        row(["F, network", built.at(x, y)]),
        row(["F, all its layers written out", written]),
      );
    }
    byId("probe").replaceChildren(...rows);
  }

  function showPoints() {
    const found = separation(memory.points, memory.p);
    const margins = built ? built.certificate() : [];
    byId("points").replaceChildren(
      ...memory.points.map((q, i) =>
        row([
          String(i + 1),
          q.x,
          q.y,
          q.label > 0 ? "+1" : "−1",
          found ? found.nearest[i] : "none",
          built ? built.ramp[i] : "refused",
          built ? margins[i] : "refused",
          cleanAt(q.x, q.y),
        ]),
      ),
    );
  }

  function showSettings() {
    const check = (/** @type {string} */ name, /** @type {string} */ value) => {
      document.querySelectorAll(`input[name=${name}]`).forEach((radio) => {
        const one = /** @type {HTMLInputElement} */ (radio);
        one.checked = one.value === value;
      });
    };
    check("p", memory.p);
    check("shown", memory.shown);
    input("radius").value = String(memory.radius);
    byId("radius-value").textContent = String(memory.radius);
    input("fit").checked = memory.line === null;
    byId("fit-note").textContent =
      memory.line !== null || fitted
        ? ""
        : "Not fitted: no line through these points tells their labels apart. It stands upright in the middle.";
    const shape = memory.line ?? shapeOf(clean);
    input("angle").value = String(shape.angle);
    input("offset").value = String(shape.offset);
    byId("angle-value").textContent = `${shape.angle}°`;
    byId("offset-value").textContent = String(shape.offset);
    input("auto").checked = memory.ramp === null;
    const width = memory.ramp ?? (built ? Math.min(...built.ramp) : 0.05);
    input("ramp").value = String(width);
    byId("ramp-value").textContent =
      memory.ramp === null ? (built ? `from ${short(+width.toPrecision(3))}` : "") : String(width);
    byId("command").textContent = commandOf(memory);
  }

  /** The nearest point within reach, or -1. @param {number} x @param {number} y @param {number} reach */
  function nearest(x, y, reach) {
    let best = -1,
      distance = reach;
    memory.points.forEach((q, i) => {
      const d = Math.hypot(q.x - x, q.y - y);
      if (d <= distance) {
        best = i;
        distance = d;
      }
    });
    return best;
  }

  /** What is chosen under "a click or Enter". */
  function tool() {
    return Number(/** @type {HTMLInputElement} */ (document.querySelector("input[name=tool]:checked")).value);
  }

  /** Place or remove at the crosshair. @param {number} which label, or 0 to remove. @param {number} reach */
  function act(which, reach) {
    const {x, y} = cross;
    if (which === 0) {
      const at = nearest(x, y, reach);
      if (at < 0) {
        tell("There is no point near the crosshair.");
        return;
      }
      memory.points = memory.points.filter((_, i) => i !== at);
      update();
      tell(`Point ${at + 1} removed; ${memory.points.length} left.`);
      return;
    }
    if (memory.points.length >= MOST_POINTS) {
      tell(`There are ${MOST_POINTS} points already; remove one first.`);
      return;
    }
    if (memory.points.some((q) => q.x === x && q.y === y)) {
      tell("There is a point here already.");
      return;
    }
    memory.points = [...memory.points, {x, y, label: which > 0 ? 1 : -1}];
    update();
    const name = `Point ${memory.points.length} of class ${which > 0 ? "+1" : "−1"}`;
    tell(`${name} placed at (${x}, ${y}). ${byId("verdict").textContent}`);
  }

  /** @param {string} text */
  function tell(text) {
    write(byId("live"), text);
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const by = event.shiftKey ? 0.05 : 0.01;
    /** @type {Record<string, [number, number]>} */
    const moves = {ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, by], ArrowDown: [0, -by]};
    const move = moves[event.key];
    if (move) {
      cross = {x: inSquare(cross.x + move[0]), y: inSquare(cross.y + move[1])};
      draw();
      showProbe();
      const value = built ? built.at(cross.x, cross.y) : cleanAt(cross.x, cross.y);
      tell(`(${cross.x}, ${cross.y}): ${built ? "F" : "f_clean"} = ${+value.toPrecision(3)}`);
    } else if (event.key === "Enter" || event.key === " ") act(tool(), 0.1);
    else if (event.key === "Delete" || event.key === "Backspace") act(0, 0.1);
    else return;
    event.preventDefault();
  }

  /** @param {PointerEvent} event */
  function placeOf(event) {
    const box = plane.canvas.getBoundingClientRect();
    return plane.at(event.clientX - box.left, event.clientY - box.top);
  }

  /** The crosshair goes to a place; without a point to drag there, what is chosen is done. */
  function pick(/** @type {{x: number, y: number}} */ place, /** @type {number} */ reach) {
    cross = place;
    if (dragged === null) act(tool(), reach);
    draw();
    showProbe();
  }

  function listenToPlane() {
    const area = byId("plane");
    area.addEventListener("keydown", onKey);
    area.addEventListener("focus", draw);
    area.addEventListener("blur", draw);
    area.addEventListener("pointerdown", (event) => {
      // The right button opens the menu of the browser, the middle one scrolls; a second finger zooms.
      if (event.button !== 0 || !event.isPrimary) return;
      const touch = event.pointerType === "touch";
      const place = placeOf(event);
      const at = nearest(place.x, place.y, touch ? NEAR_FINGER : NEAR);
      if (at >= 0 && tool() !== 0) {
        dragged = at;
        area.setPointerCapture(event.pointerId);
      } else if (touch) {
        tapped = {left: event.clientX, top: event.clientY};
        return;
      }
      pick(place, NEAR);
    });
    // A finger on a point moves it; elsewhere the page scrolls.
    area.addEventListener("touchstart", (event) => dragged !== null && event.preventDefault(), {passive: false});
    area.addEventListener("pointerup", (event) => {
      if (!tapped || event.pointerType !== "touch") return;
      const slipped = Math.hypot(event.clientX - tapped.left, event.clientY - tapped.top);
      tapped = null;
      if (slipped < TAP) pick(placeOf(event), NEAR_FINGER);
    });
    area.addEventListener("pointercancel", () => {
      tapped = null;
    });
    area.addEventListener("pointermove", (event) => {
      if (dragged === null) return;
      cross = placeOf(event);
      const at = dragged;
      memory.points = memory.points.map((q, i) => (i === at ? {...q, ...cross} : q));
      updateSoon();
    });
    for (const end of ["pointerup", "pointercancel"]) {
      area.addEventListener(end, () => {
        if (dragged === null) return;
        const name = `Point ${dragged + 1}`;
        const gone = !memory.points[dragged];
        dragged = null;
        update();
        if (!gone) tell(`${name} is at (${cross.x}, ${cross.y}). ${byId("verdict").textContent}`);
      });
    }
    new ResizeObserver(draw).observe(area);
  }

  /** Take what the address holds, and say what of it could not be taken. */
  function fromAddress() {
    const {memory: found, refused} = read(location.hash.slice(1));
    memory = found;
    update();
    tell(refused.length ? `Not taken from the address: ${refused.join("; ")}.` : "");
  }

  /** @param {Partial<Memory>} changed */
  function choose(changed) {
    tell("");
    memory = {...memory, ...changed};
    update();
  }

  function listen() {
    const onRadio = (/** @type {string} */ name, /** @type {(value: any) => void} */ take) => {
      document.querySelectorAll(`input[name=${name}]`).forEach((radio) =>
        radio.addEventListener("change", () => {
          take(/** @type {HTMLInputElement} */ (radio).value);
          tell(byId("verdict").textContent ?? "");
        }),
      );
    };
    onRadio("p", (p) => choose({p}));
    onRadio("shown", (shown) => choose({shown}));
    input("radius").addEventListener("input", () => choose({radius: Number(input("radius").value)}));
    input("radius").addEventListener("change", () => tell(byId("verdict").textContent ?? ""));
    const moved = () => choose({line: {angle: Number(input("angle").value), offset: Number(input("offset").value)}});
    input("angle").addEventListener("input", moved);
    input("offset").addEventListener("input", moved);
    input("fit").addEventListener("change", () => choose({line: input("fit").checked ? null : shapeOf(clean)}));
    input("ramp").addEventListener("input", () => choose({ramp: Number(input("ramp").value)}));
    input("auto").addEventListener("change", () =>
      choose({ramp: input("auto").checked ? null : Number(input("ramp").value)}),
    );
    byId("example").addEventListener("click", () => choose({points: fresh().points}));
    byId("clear").addEventListener("click", () => choose({points: []}));
    byId("save").addEventListener("click", save);
    byId("copy").addEventListener("click", () => copyAddress("these points and settings", tell));
    addEventListener("hashchange", fromAddress);
    openForPrint(update);
    addEventListener("afterprint", update);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", update);
  }

  function save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([/** @type {BlobPart} */ (cgro.npz.ofPoints(memory.points))]));
    link.download = "points.npz";
    link.click();
    URL.revokeObjectURL(link.href);
    tell("points.npz has been saved.");
  }

  listen();
  listenToPlane();
  fromAddress();
  return {
    get memory() {
      return memory;
    },
    get built() {
      return built;
    },
    get clean() {
      return clean;
    },
    choose,
    command: () => commandOf(memory),
  };
})();
