/* The page on dynamics: settings in, a run that goes on between frames, figures, tables and words out. */
"use strict";
var cgro = globalThis.cgro ?? {};
globalThis.cgro = cgro;

cgro.page = (() => {
  const {DEFAULT, expected, numberOf, settingOf, commandOf, addressOf, read} = cgro.setting;
  const {PRESETS, STATEMENTS, percent, digits} = cgro.words;
  const {byId, input, write, openForPrint, copyAddress} = cgro.parts;
  const row = (/** @type {(string | number)[]} */ cells) => cgro.parts.row(cells, digits);
  /** Share of the time that may go into drawing: on a slow machine not every reading is drawn. */
  const DRAWING = 0.25;
  /** Milliseconds of steps between two looks at the clock. */
  const PART = 1.5;
  /** Milliseconds of steps in which their speed is measured: clocks of browsers tick in whole ones. */
  const MEASURED = 5;
  /** Between two drawings where motion is not wanted, in milliseconds. */
  const CALM = 1000;
  const EXAMPLES = [
    1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 120, 150, 200, 250, 300, 400, 500, 600, 800, 1000,
    1200,
  ];
  const SLIDERS = /** @type {("radiusRatio" | "robustWeight" | "power")[]} */ ([
    "radiusRatio",
    "robustWeight",
    "power",
  ]);
  const NUMBERS = /** @type {("seed" | "nFilters" | "patchDim" | "nSteps" | "noiseStd" | "lr")[]} */ ([
    "seed",
    "nFilters",
    "patchDim",
    "nSteps",
    "noiseStd",
    "lr",
  ]);

  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  let choice = DEFAULT;
  /** @type {any} */
  let run = null;
  /** @type {Generator<undefined, void> | null} */
  let work = null;
  let playing = true;
  let asked = false;
  /** Steps per millisecond, as measured. */
  let speed = 1;
  let measured = false;
  /** Steps and milliseconds since it was measured last. */
  let gained = 0,
    spent = 0;
  const pace = new cgro.pace.Pace();
  /** When figures were drawn last, and how long that took, in milliseconds. */
  let drawnAt = 0;
  let drawing = 0;
  let tableAt = 0;
  /** @type {View} */
  let view;
  /** @type {Set<string>} what has been said of this run. */
  let said = new Set();
  const charts = {
    learned: new cgro.plots.Chart(
      canvas("learned"),
      (/** @type {any} */ chart) => view && cgro.figures.learned(chart, view),
    ),
    accuracy: new cgro.plots.Chart(
      canvas("accuracy"),
      (/** @type {any} */ chart) => view && cgro.figures.accuracy(chart, view),
    ),
    filters: new cgro.plots.Chart(
      canvas("filters"),
      (/** @type {any} */ chart) => view && cgro.figures.filters(chart, view),
    ),
    map: new cgro.plots.Chart(canvas("map"), (/** @type {any} */ chart) => view && cgro.figures.map(chart, view)),
  };

  /** @param {string} id */
  function canvas(id) {
    return /** @type {HTMLCanvasElement} */ (document.getElementById(id));
  }

  /** Begin the run of the present choice. */
  function begin() {
    const setting = settingOf(choice);
    run = new cgro.simulator.Run(setting);
    work = run.train(stepsAtOnce);
    said = new Set();
    spent = 0;
    gained = 0;
    view = {
      run,
      setting,
      stages: cgro.stages.detect([]),
      growthEnd: NaN,
      map: cgro.figures.mapOf(setting),
    };
    byId("live").textContent = "";
    byId("at-end").textContent = "";
    showSettings();
    showNow();
    drawAll();
    ask();
  }

  /** @param {number} step @returns {number} */
  function stepsAtOnce(step) {
    // Few at first: nothing is known of this machine yet.
    return step < 8 ? 4 : Math.max(1, Math.floor(PART * speed));
  }

  function ask() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(frame);
  }

  /** Compute for a while, then draw. @param {number} now */
  function frame(now) {
    asked = false;
    if (!playing || !work || run.state !== "running") return;
    const began = performance.now();
    const until = began + pace.next(now);
    const recorded = run.readings.length;
    // One reading a frame at most: early ones lie a few steps apart, and would be over at once.
    for (let start = began, done = false; start < until && run.readings.length === recorded && !done; ) {
      const first = run.step;
      done = work.next().done === true;
      const end = performance.now();
      if (run.stepping) measureSpeed(run.step - first, end - start);
      start = end;
    }
    if (run.readings.length > recorded || run.state !== "running") {
      if (recorded === 0 && view.setting.adversary === "restricted")
        view.growthEnd = cgro.theory.growthEnd(view.setting, run.readings[0].signalComponent);
      view.stages = cgro.stages.detect(run.readings);
      say();
      if (now - drawnAt > (calm.matches ? CALM : drawing / DRAWING)) {
        drawnAt = now;
        const start = performance.now();
        showNow();
        charts.learned.draw();
        charts.accuracy.draw();
        charts.filters.draw();
        drawing = performance.now() - start;
      }
      if (now - tableAt > CALM || run.state !== "running") {
        tableAt = now;
        showTables();
      }
    }
    if (run.state !== "running") finish();
    ask();
  }

  /**
   * Of steps alone, without data that are drawn and readings; a step of a large network takes many parts.
   * @param {number} steps
   * @param {number} took in milliseconds
   */
  function measureSpeed(steps, took) {
    gained += steps;
    spent += took;
    if (gained < 4 || spent < MEASURED) return;
    speed = 0.8 * speed + 0.2 * (gained / spent);
    measured = true;
    gained = 0;
    spent = 0;
  }

  function finish() {
    if (run.end) {
      byId("at-end").textContent =
        `On 20,000 unseen examples: clean ${percent(run.end.clean)}%, robust ${percent(run.end.robust)}%.`;
    }
    showNow();
    drawAll();
    showTables();
    showButton();
  }

  function drawAll() {
    for (const chart of Object.values(charts)) chart.draw();
  }

  /** Say each event once, for those who listen. */
  function say() {
    for (const [name, text] of cgro.words.events(view)) {
      if (said.has(name)) continue;
      said.add(name);
      write(byId("live"), text);
    }
  }

  function showNow() {
    const last = run.readings[run.readings.length - 1];
    if (!last) return;
    byId("now-step").textContent = last.step.toLocaleString("en");
    byId("now-signal").textContent = digits(last.signalMargin);
    byId("now-noise").textContent = digits(last.meanNoise);
    const end = run.end ?? {clean: last.cleanTest, robust: last.robustTest};
    byId("now-clean").textContent = `${percent(last.cleanTrain)} / ${percent(end.clean)}`;
    byId("now-robust").textContent = `${percent(last.robustTrain)} / ${percent(end.robust)}`;
    byId("now-stage").textContent = cgro.words.stageName(view);
    const perSecond = Number((1000 * speed).toPrecision(2)).toLocaleString("en");
    const notes = [];
    if (run.state === "running" && measured) notes.push(`about ${perSecond} steps per second while computing`);
    if (last.ballTrain !== null) {
      const broken = (100 * last.ballTrain).toFixed(0);
      notes.push(`the search over the full ball breaks ${broken}% of the training examples`);
    }
    byId("pace").textContent = notes.join("; ");
    const answering = Array.from(last.filterNoise).filter((value) => Number(value) > 0.5).length;
    for (const [id, text] of [
      ["learned", `signal ${digits(last.signalMargin)}, mean noise ${digits(last.meanNoise)}`],
      ["accuracy", `robust accuracy ${percent(last.robustTrain)}% train, ${percent(end.robust)}% test`],
      ["filters", `${answering} of ${run.u.length} filters answer to noise by more than 0.5`],
    ]) {
      byId(id).setAttribute("aria-label", `${id}, at step ${last.step}: ${text}`);
    }
  }

  function showTables() {
    const {stages, setting} = view;
    const step = (/** @type {Boundary} */ b) => (b.step === null ? "not found" : digits(Math.round(b.step * 10) / 10));
    const predicted = Number.isFinite(view.growthEnd) ? digits(Math.round(view.growthEnd * 10) / 10) : "";
    byId("stages").replaceChildren(
      row(["I to II: the signal is learned", step(stages.signalGrowthEnd), predicted, stages.signalGrowthEnd.reason]),
      row(["II to III: memorization starts", step(stages.memorizationStart), "", stages.memorizationStart.reason]),
      row([
        "end of III: all training examples resist",
        step(stages.memorizationEnd),
        "",
        stages.memorizationEnd.reason,
      ]),
    );
    const part = /** @type {HTMLDetailsElement} */ (byId("readings-part"));
    if (!part.open && run.state === "running") return;
    const chosen = run.readings.filter(
      (/** @type {Reading} */ r, /** @type {number} */ k) => k % 12 === 0 || r.step === setting.nSteps,
    );
    byId("readings").replaceChildren(
      ...chosen.map((/** @type {Reading} */ r) =>
        row([
          String(r.step),
          r.signalMargin,
          r.meanNoise,
          Math.min(...r.noiseLearned),
          r.loss,
          100 * (1 - r.cleanTrain),
          100 * (1 - r.cleanTest),
          100 * (1 - r.robustTrain),
          100 * (1 - r.robustTest),
        ]),
      ),
    );
  }

  /** The name of the preset that the choice is, apart from its seed; or nothing. */
  function presetName() {
    const bare = {...choice, seed: DEFAULT.seed};
    return Object.keys(PRESETS).find((name) => commandOf(bare) === commandOf({...DEFAULT, ...PRESETS[name]}));
  }

  function showSettings() {
    const setting = view.setting;
    const name = presetName();
    document.querySelectorAll("[data-preset]").forEach((button) => {
      button.setAttribute("aria-pressed", String(button.getAttribute("data-preset") === name));
    });
    byId("statement").textContent = name ? STATEMENTS[name] : `Changed from ${choice.preset}.`;
    for (const id of SLIDERS) {
      input(id).value = String(setting[id]);
      byId(`${id}-value`).textContent = String(+setting[id].toPrecision(4));
    }
    const nearest = EXAMPLES.reduce(
      (best, n, k) => (Math.abs(n - setting.nTrain) < Math.abs(EXAMPLES[best] - setting.nTrain) ? k : best),
      0,
    );
    input("nTrain").value = String(nearest);
    input("nTrain").setAttribute("aria-valuetext", `${setting.nTrain} examples`);
    byId("nTrain-value").textContent = String(setting.nTrain);
    // All fields are written anew: what was refused in one of them no longer stands there.
    byId("refused").textContent = "";
    for (const id of NUMBERS) {
      input(id).value = String(id === "noiseStd" || id === "lr" ? +setting[id].toPrecision(6) : setting[id]);
      input(id).removeAttribute("aria-invalid");
    }
    document.querySelectorAll("input[name=noise]").forEach((radio) => {
      const one = /** @type {HTMLInputElement} */ (radio);
      one.checked = Number(one.value) === choice.fresh;
      one.disabled = choice.adversary === "l2" && one.value !== "0";
    });
    document.querySelectorAll("input[name=adversary]").forEach((radio) => {
      const one = /** @type {HTMLInputElement} */ (radio);
      one.checked = one.value === choice.adversary;
    });
    byId("command").textContent = commandOf(choice);
    const region = cgro.theory.regionOf(setting);
    const half = cgro.theory.sampleThreshold(setting);
    const threshold = half === null || !Number.isFinite(half) ? "" : ` Predicted threshold here: N = ${digits(half)}.`;
    byId("map-text").textContent =
      `Now: ${region.name}. ${region.meaning[0].toUpperCase()}${region.meaning.slice(1)}.${threshold}`;
    byId("map").setAttribute("aria-label", `Map of radius against number of examples. ${byId("map-text").textContent}`);
    showButton();
  }

  function showButton() {
    const running = run.state === "running";
    byId("run").textContent = running && playing ? "Pause" : running ? "Run" : "Run again";
  }

  /** Take a new choice, put it into the address, and train anew. @param {Partial<Choice>} changed */
  function choose(changed) {
    choice = {...choice, ...changed};
    if (choice.adversary === "l2") choice.fresh = 0;
    history.replaceState(null, "", `#${addressOf(choice)}`);
    playing = true;
    begin();
  }

  /** The text of a number field, or why it cannot be taken. @param {(typeof NUMBERS)[number]} id */
  function readNumber(id) {
    const word = input(id).value.trim();
    const value = numberOf(id, word);
    if (value === null) {
      const name = byId(id).parentElement?.querySelector("label")?.textContent;
      byId("refused").textContent = `Refused: ${name} expects ${expected(id)}, got "${word}".`;
      input(id).setAttribute("aria-invalid", "true");
      return;
    }
    choose({[id]: value});
  }

  /** Take what the address holds, and say what of it could not be taken. */
  function fromAddress() {
    const {choice: found, refused} = read(location.hash.slice(1));
    choice = found;
    begin();
    if (refused.length) byId("refused").textContent = `Not taken from the address: ${refused.join("; ")}.`;
  }

  function copyLink() {
    history.replaceState(null, "", `#${addressOf(choice)}`);
    copyAddress("these settings", (text) => {
      byId("live").textContent = text;
    });
  }

  function listen() {
    document.querySelectorAll("[data-preset]").forEach((button) =>
      button.addEventListener("click", () => {
        choose({...DEFAULT, ...PRESETS[button.getAttribute("data-preset") ?? "theorem"], seed: choice.seed});
      }),
    );
    for (const id of SLIDERS) input(id).addEventListener("input", () => choose({[id]: Number(input(id).value)}));
    input("nTrain").addEventListener("input", () => choose({nTrain: EXAMPLES[Number(input("nTrain").value)]}));
    for (const id of NUMBERS) input(id).addEventListener("change", () => readNumber(id));
    document.querySelectorAll("input[name=noise]").forEach((radio) =>
      radio.addEventListener("change", () => {
        choose({fresh: Number(/** @type {HTMLInputElement} */ (radio).value)});
      }),
    );
    document.querySelectorAll("input[name=adversary]").forEach((radio) =>
      radio.addEventListener("change", () => {
        choose({adversary: /** @type {"restricted" | "l2"} */ (/** @type {HTMLInputElement} */ (radio).value)});
      }),
    );
    byId("run").addEventListener("click", () => {
      if (run.state !== "running") choose({});
      else playing = !playing;
      showButton();
      ask();
    });
    byId("restart").addEventListener("click", () => choose({}));
    byId("copy").addEventListener("click", copyLink);
    byId("readings-part").addEventListener("toggle", showTables);
    addEventListener("hashchange", fromAddress);
    openForPrint(showTables);
  }

  listen();
  fromAddress();
  showTables();
  return {
    get run() {
      return run;
    },
    get choice() {
      return choice;
    },
    get stages() {
      return view.stages;
    },
    choose,
    command: () => commandOf(choice),
  };
})();
