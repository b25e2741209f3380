"use strict";
/**
 * The explorer of NAS-Bench-201. What it shows is in the address, #cell=INDEX&dataset=NAME: every
 * control changes the address, and a change of the address draws the page.
 */
(() => {
  const { byId, dataset, element, number, whole } = PLAY;
  const START = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|";
  const showCell = PLAY.cellEditor(byId("explorer-cell"), (ops) => go(PLAY.indexOf(ops)));
  let nearest = () => null;
  let last = { cell: PLAY.indexOf(PLAY.parse(START)), name: PLAY.datasets()[0] }; // what was shown
  let isMoved = false; // from the table of neighbours, whose buttons are made anew

  /** Return what the address asks for; what it does not say stays, for it may name a heading. */
  function state() {
    const asked = PLAY.address().get("dataset");
    return {
      cell: PLAY.cellOfAddress() ?? last.cell,
      name: PLAY.datasets().includes(asked) ? asked : last.name,
    };
  }

  /** Show another cell or dataset. */
  function go(cell, name = state().name) {
    location.hash = `cell=${cell}&dataset=${name}`;
  }

  /** Draw everything anew. */
  function show() {
    const { cell, name } = (last = state());
    const ops = PLAY.operations(cell);
    const asked = PLAY.address().get("cell");
    complain(asked !== null && PLAY.cellOfAddress() === undefined
      ? `The address asks for cell ${asked}. There are the cells 0 to ${PLAY.size() - 1}; another one is shown instead.`
      : "");
    showCell(ops);
    byId("explorer-string").value = PLAY.text(ops);
    document.querySelectorAll("[name=explorer-dataset]").forEach((radio) => { radio.checked = radio.value === name; });
    byId("explorer-summary").textContent = summary(cell, name);
    byId("explorer-missing").innerHTML = dataset(name).accuracy ? "" : PLAY.whyNoAccuracy(name);
    byId("explorer-best-accuracy").disabled = !dataset(name).accuracy;
    showValues(cell);
    showNeighbours(cell, name);
    showCommands(cell, name);
    byId("explorer-by-hand").href = `by_hand.html#cell=${cell}`;
    byId("explorer-copied").textContent = "";
    drawScatter();
    if (isMoved) {
      byId("explorer-summary").focus({ preventScroll: true });
      byId("explorer-cell").scrollIntoView({ block: "nearest" });
    }
    isMoved = false;
  }

  /** Say in one or two sentences what is known of a cell. */
  function summary(cell, name) {
    const { title, epsilon, accuracy } = dataset(name);
    const score = epsilon.float32[cell];
    const by = PLAY.place(epsilon.float32, score);
    const first = Number.isNaN(score)
      ? `Cell ${whole(cell)} has no epsilon on ${title}. ${PLAY.whyUnscored(cell, name)}`
      : `Cell ${whole(cell)} has an epsilon of ${number(score)} on ${title}: rank ${whole(by.rank)} of the ${whole(by.count)} cells that have one.`;
    if (!accuracy) return first;
    const trained = PLAY.place(accuracy, accuracy[cell]);
    return `${first} Its test accuracy after training is ${accuracy[cell].toFixed(2)}%: rank ${whole(trained.rank)} of ${whole(trained.count)}.`;
  }

  /** Fill the table of values, a column for each dataset. */
  function showValues(cell) {
    const ops = PLAY.operations(cell);
    const of = (values, value = values[cell]) => (Number.isNaN(value) ? "" : whole(PLAY.place(values, value).rank));
    const rows = [
      ["Epsilon, float32", (d) => number(d.epsilon.float32[cell])],
      ["Rank", (d) => of(d.epsilon.float32)],
      ["Epsilon, float64", (d) => number(d.epsilon.float64[cell])],
      ["Rank", (d) => of(d.epsilon.float64)],
      ["Test accuracy (%)", (d) => (d.accuracy ? d.accuracy[cell].toFixed(2) : "not at hand")],
      ["Rank", (d) => (d.accuracy ? of(d.accuracy) : "")],
      ["Parameters", (d) => whole(PLAY.parameters(ops, d.classes))],
      ["FLOPs (millions)", (d) => (PLAY.flops(ops, d.imageSize, d.classes) / 1e6).toFixed(1)],
    ];
    const all = PLAY.datasets().map(dataset);
    byId("explorer-values").replaceChildren(
      row("th", ["", ...all.map((d) => d.title)]),
      ...rows.map(([title, value]) => row("td", [title, ...all.map(value)])),
    );
    const same = PLAY.networks().reduce((count, network) => count + (network === PLAY.networks()[cell] ? 1 : 0), 0);
    byId("explorer-same").textContent = same > 1
      ? `${whole(same)} cells, this one among them, are the same network once skips and unused edges are gone. They share all scores, but each was trained by itself.`
      : "No other cell is the same network.";
  }

  /** Make a row of a table; its first cell is a heading. */
  function row(tag, cells) {
    const made = cells.map((content, i) => {
      if (tag === "td" && i) return element("td", {}, content);
      return content ? element("th", { scope: i ? "col" : "row" }, content) : element("td");
    });
    return element("tr", {}, ...made);
  }

  /** Fill the table of the cells that differ in one operation. */
  function showNeighbours(cell, name) {
    const { epsilon, accuracy } = dataset(name);
    const ops = PLAY.operations(cell);
    const rows = PLAY.EDGES.flatMap(([source, target], edge) => PLAY.OPERATIONS.flatMap((operation, op) => {
      if (op === ops[edge]) return [];
      const other = PLAY.indexOf(ops.with(edge, op));
      const button = element("button", { type: "button", "data-cell": String(other), title: operation }, PLAY.SHORT[op]);
      button.addEventListener("click", () => {
        isMoved = true;
        go(other);
      });
      const change = (values, decimals) => PLAY.difference(values[other] - values[cell], decimals);
      return [row("td", [
        `${source} → ${target}`, button, number(epsilon.float32[other]), change(epsilon.float32, 3),
        ...(accuracy ? [accuracy[other].toFixed(2), change(accuracy, 2)] : []),
      ])];
    }));
    const head = ["Edge", "Operation", "Epsilon", "±", ...(accuracy ? ["Accuracy (%)", "±"] : [])];
    byId("explorer-neighbours").replaceChildren(
      element("caption", {}, `The 24 cells at distance one, on ${dataset(name).title}. Press an operation to go there; ± is the difference from the cell above.`),
      element("thead", {}, element("tr", {}, ...head.map((word) => element("th", { scope: "col" }, word)))),
      element("tbody", {}, ...rows),
    );
  }

  /** Write the commands that compute the same numbers. */
  function showCommands(cell, name) {
    const command = `epsutil score nasbench201 --dataset ${name} --arch "${PLAY.text(PLAY.operations(cell))}"`;
    byId("explorer-commands").textContent = `${command}\n${command} --dtype float64`;
  }

  /** Draw all cells, and where the shown one is among them. */
  function drawScatter() {
    const { cell, name } = state();
    const { accuracy, epsilon, title, classes } = dataset(name);
    const sizes = () => Float64Array.from({ length: PLAY.size() }, (_, i) => PLAY.parameters(PLAY.operations(i), classes));
    nearest = PLAY.scatter(byId("explorer-scatter"), {
      x: epsilon.float32,
      y: accuracy ?? sizes(),
      across: "epsilon (float32)",
      up: accuracy ? "test accuracy (%)" : "parameters",
      marked: cell,
      strip: true,
    });
    const what = accuracy ? "epsilon and test accuracy" : "epsilon and number of parameters";
    byId("explorer-scatter").setAttribute("aria-label", `Scatter plot of ${what} of all cells on ${title}. ${summary(cell, name)}`);
  }

  /** Show what is wrong with what the reader asked for, or nothing. */
  function complain(message) {
    byId("explorer-error").textContent = message;
    byId("explorer-string").toggleAttribute("aria-invalid", Boolean(message));
  }

  /** Show the cell whose string the reader has given, or say how to mend it. */
  function read(event) {
    event.preventDefault();
    try {
      const cell = PLAY.indexOf(PLAY.parse(byId("explorer-string").value));
      if (cell === state().cell) show();
      else go(cell);
    } catch (error) {
      complain(error.message);
    }
  }

  /** Return the architecture with the highest of some values; NaN is passed over. */
  function best(values) {
    return values.reduce((top, value, i) => (value > (values[top] ?? -Infinity) ? i : top), -1);
  }

  for (const name of PLAY.datasets()) {
    const radio = element("input", { type: "radio", name: "explorer-dataset", value: name });
    radio.addEventListener("change", () => go(state().cell, name));
    byId("explorer-datasets").append(element("label", {}, radio, dataset(name).title));
  }
  byId("explorer-form").addEventListener("submit", read);
  byId("explorer-random").addEventListener("click", () => go(Math.floor(Math.random() * PLAY.size())));
  byId("explorer-best").addEventListener("click", () => go(best(dataset(state().name).epsilon.float32)));
  byId("explorer-best-accuracy").addEventListener("click", () => go(best(dataset(state().name).accuracy)));
  byId("explorer-copy").addEventListener("click", () => {
    const { cell, name } = state();
    const link = `${location.href.split("#")[0]}#cell=${cell}&dataset=${name}`;
    PLAY.copy(link, byId("explorer-copied"));
  });
  byId("explorer-scatter").addEventListener("click", (event) => {
    const found = nearest(event.offsetX, event.offsetY);
    if (found !== null) go(found);
  });
  window.addEventListener("hashchange", show);
  byId("explorer").hidden = false;
  show();
  PLAY.onRedraw(byId("explorer-scatter"), drawScatter);
})();
