"use strict";
/**
 * Any metric against accuracy. What it shows is in the address,
 * #metric=NAME&dataset=NAME&colour=NAME&unscored=last|out&axis=value|rank.
 */
(() => {
  const { byId, dataset, element, number, whole } = PLAY;
  const USUAL = { metric: "epsilon float32", dataset: PLAY.datasets()[0], colour: "params", unscored: "out", axis: "value" };
  const CONTROLS = Object.keys(USUAL);
  const TOP = 10; // cells in the list of the highest
  const COLOURS = {
    none: { title: "nothing" },
    params: { title: "number of parameters", of: (ops) => PLAY.parameters(ops, 10) },
    depth: { title: "depth: convolutions on the longest path", of: PLAY.depth },
    convolutions: { title: "convolutions", of: (ops) => ops.filter((op) => op === 2 || op === 3).length },
    skips: { title: "skip connections", of: (ops) => ops.filter((op) => op === 1).length },
    pools: { title: "average poolings", of: (ops) => ops.filter((op) => op === 4).length },
    none_edges: { title: "edges without an operation", of: (ops) => ops.filter((op) => op === 0).length },
  };
  const DTYPES = { float32: "epsilon", float64: "epsilon in float64", extended: "epsilon in extended range" };
  const known = new Map();
  let nearest = () => null;
  let shown = null; // the metric, the trained result and their correlation

  /** Compute something once for a key. */
  function once(key, make) {
    if (!known.has(key)) known.set(key, make());
    return known.get(key);
  }

  /** Return a value for each architecture, computed from its operations. */
  function fromOperations(key, of) {
    return once(key, () => Float64Array.from({ length: PLAY.size() }, (_, i) => of(PLAY.operations(i))));
  }

  /** List the metrics of a dataset, as [name, title, n]. */
  function metrics(name) {
    const epsilons = Object.keys(dataset(name).epsilon).map((dtype) => [`epsilon ${dtype}`, DTYPES[dtype], PLAY.size()]);
    const stored = PLAY.data[`metrics-${name}`].map((metric) => [metric.name, metric.title, metric.n]);
    const sizes = [["params", "number of parameters", PLAY.size()], ["flops", "FLOPs", PLAY.size()]];
    return [...epsilons, ...stored, ...sizes];
  }

  /**
   * Return a metric of all architectures.
   * @returns {{values: Float64Array, computed: ?Uint16Array}} NaN without a score; computed are the
   *   architectures that it was computed for, null for all
   */
  function metric(name, of) {
    const { epsilon, classes, imageSize } = dataset(of);
    if (name.startsWith("epsilon ")) return { values: epsilon[name.slice(8)], computed: null };
    if (name === "params") return { values: fromOperations(`params ${of}`, (ops) => PLAY.parameters(ops, classes)), computed: null };
    if (name === "flops") return { values: fromOperations(`flops ${of}`, (ops) => PLAY.flops(ops, imageSize, classes)), computed: null };
    return once(`${name} ${of}`, () => stored(PLAY.data[`metrics-${of}`], name));
  }

  /** Decode a stored metric: a value for each cell, or for each network, by first appearance. */
  function stored(all, name) {
    const { n, scale, values } = all.find((one) => one.name === name);
    const numbers = PLAY.unpack(values, Float32Array);
    const isWhole = n === PLAY.size();
    const computed = isWhole ? null : PLAY.unpack(PLAY.data.scores.order, Uint16Array).slice(0, n);
    const result = new Float64Array(PLAY.size()).fill(NaN);
    const places = new Map();
    for (const index of computed ?? result.keys()) {
      const key = numbers.length === n ? index : PLAY.networks()[index];
      if (!places.has(key)) places.set(key, places.size);
      result[index] = numbers[places.get(key)] * scale;
    }
    return { values: result, computed };
  }

  /** Read what to show from the address; what it does not say stays, for it may name a heading. */
  function state() {
    const before = shown ? shown.asked : USUAL;
    const given = Object.fromEntries(CONTROLS.map((name) => [name, PLAY.address().get(name) ?? before[name]]));
    if (!PLAY.datasets().includes(given.dataset)) given.dataset = before.dataset;
    if (isLoaded(given.dataset) && !metrics(given.dataset).some(([name]) => name === given.metric)) given.metric = USUAL.metric;
    if (!(given.colour in COLOURS)) given.colour = USUAL.colour;
    return given;
  }

  /** Show what the controls ask for. */
  function go() {
    const wanted = CONTROLS.map((name) => [name, control(name).type === "checkbox"
      ? (control(name).checked ? "last" : "out") : control(name).value]);
    location.hash = new URLSearchParams(wanted).toString();
  }

  const control = (name) => byId(`scatter-${name}`);

  /**
   * Correlate a metric with what training gave.
   *
   * Of the architectures that it was computed for, those without a score are left out, or rank last.
   * @returns {{rho: number, n: number, unscored: number}}
   */
  function correlation({ values, computed }, result, isLast) {
    const [x, y] = [[], []];
    let unscored = 0;
    for (const i of computed ?? values.keys()) {
      if (Number.isNaN(result[i])) continue;
      if (Number.isNaN(values[i])) unscored++;
      if (Number.isNaN(values[i]) && !isLast) continue;
      x.push(Number.isNaN(values[i]) ? -Infinity : values[i]);
      y.push(result[i]);
    }
    return { rho: PLAY.spearman(x, y), n: x.length, unscored };
  }

  /** Return what is drawn upwards: test accuracy or, where that is not at hand, parameters. */
  function trained(name) {
    const { accuracy } = dataset(name);
    return accuracy
      ? { values: accuracy, title: "test accuracy (%)", written: (value) => value.toFixed(2) }
      : { ...metric("params", name), title: "number of parameters", written: whole };
  }

  const isLoaded = (name) => `metrics-${name}` in PLAY.data;

  /** Load the metrics of a dataset, and then show what the address asks for. */
  function load(name) {
    const script = element("script", { src: `../play/metrics-${name}.js` });
    script.addEventListener("load", show);
    document.head.append(script);
  }

  /** Draw everything anew. */
  function show() {
    const asked = state();
    if (!isLoaded(asked.dataset)) {
      load(asked.dataset);
      return;
    }
    fill(asked);
    const { values, computed } = metric(asked.metric, asked.dataset);
    const up = trained(asked.dataset);
    const isLast = asked.unscored === "last";
    shown = { asked, values, computed, up, ...correlation({ values, computed }, up.values, isLast) };
    byId("scatter-rho").textContent = Number.isNaN(shown.rho) ? "undefined" : shown.rho.toFixed(3).replace("-", "−");
    byId("scatter-n").textContent = whole(shown.n);
    byId("scatter-says").textContent = says();
    byId("scatter-missing").innerHTML = dataset(asked.dataset).accuracy ? "" : `${PLAY.whyNoAccuracy(asked.dataset)} Shown is the number of parameters instead.`;
    byId("scatter-tip").hidden = true;
    list();
    draw();
  }

  /** List the cells with the highest scores, with links to the explorer. */
  function list() {
    const { asked, values, up } = shown;
    const scored = Array.from(values.keys()).filter((i) => !Number.isNaN(values[i]) && !Number.isNaN(up.values[i]));
    const best = scored.sort((a, b) => values[b] - values[a]).slice(0, TOP);
    const cell = (index) => element("a", { href: link(index) }, `Cell ${whole(index)}`);
    const rows = best.map((index) => element(
      "tr", {}, element("th", { scope: "row" }, cell(index)),
      element("td", {}, number(values[index])), element("td", {}, up.written(up.values[index])),
    ));
    const head = ["Cell", title(), up.title].map((word) => element("th", { scope: "col" }, word));
    byId("scatter-best").replaceChildren(
      element("caption", {}, `The ${best.length} highest by ${title()} on ${dataset(asked.dataset).title}.`),
      element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows),
    );
  }

  /** Return the address of an architecture in the explorer. */
  const link = (index) => `explorer.html#cell=${index}&dataset=${shown.asked.dataset}`;

  /** Set the controls to what is shown. */
  function fill(asked) {
    const options = metrics(asked.dataset).map(([name, title, n]) => element(
      "option", { value: name }, n < PLAY.size() ? `${title} (${whole(n)} cells)` : title,
    ));
    control("metric").replaceChildren(...options);
    for (const name of CONTROLS) {
      if (control(name).type === "checkbox") control(name).checked = asked[name] === "last";
      else control(name).value = asked[name];
    }
  }

  /** Return the title of the metric that is shown. */
  const title = () => metrics(shown.asked.dataset).find(([name]) => name === shown.asked.metric)[1];

  /** Say what the numbers stand for. */
  function says() {
    const { asked, computed, n, unscored, up, rho } = shown;
    const of = computed ? `the ${whole(computed.length)} random cells that it was computed for` : `the ${whole(PLAY.size())} cells`;
    const without = unscored
      ? `${whole(unscored)} of ${of} have no score; they ${asked.unscored === "last" ? "rank last" : "are left out"}.`
      : `All of ${of} have a score.`;
    const value = Number.isNaN(rho) ? "undefined" : rho.toFixed(3).replace("-", "−");
    return `Spearman's ρ of ${title()} and ${up.title.replace(" (%)", "")} on ${dataset(asked.dataset).title} is ${value} over ${whole(n)} cells. ${without}`;
  }

  /** Draw the plot, and what its colours mean. */
  function draw() {
    const { asked, values, computed, up } = shown;
    const y = computed ? onlyOf(up.values, computed) : up.values;
    const colour = COLOURS[asked.colour];
    const tones = colour.of && fromOperations(`colour ${asked.colour}`, colour.of);
    const [low, high] = tones ? extent(tones) : [0, 1];
    nearest = PLAY.scatter(byId("scatter-plot"), {
      x: asked.axis === "rank" ? ranked(values, y) : values,
      y,
      across: asked.axis === "rank" ? `rank by ${title()}` : title(),
      up: up.title,
      shade: tones && tones.map((tone) => (tone - low) / (high - low)),
      strip: values.some((value, i) => Number.isNaN(value) && !Number.isNaN(y[i])),
    });
    byId("scatter-legend").hidden = !tones;
    byId("scatter-low").textContent = whole(low);
    byId("scatter-high").textContent = whole(high);
    byId("scatter-what").textContent = colour.title;
    byId("scatter-plot").setAttribute("aria-label", `Scatter plot. ${byId("scatter-says").textContent}`);
  }

  /** Return values of some architectures, NaN for the others. */
  function onlyOf(values, some) {
    const result = new Float64Array(values.length).fill(NaN);
    for (const i of some) result[i] = values[i];
    return result;
  }

  /** Return ranks among what is drawn, the lowest 1. */
  function ranked(values, y) {
    const drawn = Array.from(values.keys()).filter((i) => !Number.isNaN(values[i] + y[i]));
    const ranks = PLAY.ranks(drawn.map((i) => values[i]));
    const result = new Float64Array(values.length).fill(NaN);
    drawn.forEach((index, k) => { result[index] = ranks[k]; });
    return result;
  }

  function extent(values) {
    return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  }

  /** Say beside the pointer which architecture is under it. */
  function tell(event) {
    const [tip, plot] = [byId("scatter-tip"), byId("scatter-plot")];
    const index = nearest(event.offsetX, event.offsetY);
    tip.hidden = index === null;
    plot.style.cursor = index === null ? "default" : "pointer";
    if (index === null) return;
    const { values, up } = shown;
    const lines = [
      `Cell ${whole(index)}`, PLAY.text(PLAY.operations(index)),
      `${title()}: ${number(values[index])}`, `${up.title}: ${up.written(up.values[index])}`,
    ];
    tip.replaceChildren(...lines.map((line) => element("div", {}, line)));
    const isRight = event.offsetX > plot.clientWidth / 2;
    tip.style.left = isRight ? "auto" : `${event.offsetX + 12}px`;
    tip.style.right = isRight ? `${plot.clientWidth - event.offsetX + 12}px` : "auto";
    tip.style.top = `${event.offsetY + 12}px`;
  }

  for (const name of PLAY.datasets()) control("dataset").append(element("option", { value: name }, dataset(name).title));
  for (const [name, { title: words }] of Object.entries(COLOURS)) control("colour").append(element("option", { value: name }, words));
  for (const name of CONTROLS) control(name).addEventListener("change", go);
  byId("scatter-plot").addEventListener("mousemove", tell);
  byId("scatter-plot").addEventListener("mouseleave", () => { byId("scatter-tip").hidden = true; });
  byId("scatter-plot").addEventListener("click", (event) => {
    const index = nearest(event.offsetX, event.offsetY);
    if (index !== null) location.href = link(index);
  });
  window.addEventListener("hashchange", show);
  byId("scatter").hidden = false;
  show();
  PLAY.onRedraw(byId("scatter-plot"), () => shown && draw());
})();
