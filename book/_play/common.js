"use strict";
/**
 * What the pages to play with share: the numbers of NAS-Bench-201, what an architecture is, ranks, and how a cell and a scatter plot are drawn.
 *
 * Plain scripts, not modules: a page that is opened from disk may not load modules.
 */
const PLAY = (() => {
  const OPERATIONS = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"];
  const SHORT = ["none", "skip", "conv 1×1", "conv 3×3", "pool 3×3"];
  const EDGES = [[0, 1], [0, 2], [1, 2], [0, 3], [1, 3], [2, 3]]; // from, to; in the string's order
  const FORM = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|";
  const STAGES = [16, 32, 64]; // channels
  const CELLS = 5; // per stage

  // Numbers that came with the page -------------------------------------------------------------

  /**
   * Decode an array in base64, little-endian as every browser's own.
   * @param {string} text
   * @param {Function} Kind Uint16Array or Float32Array
   */
  function unpack(text, Kind) {
    return new Kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
  }

  /** Call a function without arguments once, and remember what it returned. */
  function once(make) {
    let value;
    return () => (value === undefined ? (value = make()) : value);
  }

  const data = {}; // filled by the scripts cells.js, scores.js and metrics-DATASET.js
  const networks = once(() => unpack(data.scores.networks, Uint16Array));
  const codes = once(() => unpack(data.cells.cells, Uint16Array));
  const places = once(() => new Map(Array.from(codes(), (code, index) => [code, index])));
  const known = new Map(); // datasets, decoded

  /** How many architectures there are. */
  const size = () => codes().length;

  /** Return the names of the datasets. */
  const datasets = () => Object.keys(data.scores.datasets);

  /**
   * Return what is known of a dataset, architecture by architecture.
   * @param {string} name
   * @returns {{title: string, classes: number, imageSize: number, needs: string[],
   *   epsilon: Object<string, Float64Array>, accuracy: ?Float64Array}}
   *   epsilon by dtype, NaN without a score; accuracy in per cent, null where it did not come along
   */
  function dataset(name) {
    if (!known.has(name)) {
      const raw = data.scores.datasets[name];
      const epsilon = {};
      for (const [dtype, text] of Object.entries(raw.epsilon)) {
        const values = unpack(text, Float32Array);
        epsilon[dtype] = Float64Array.from(networks(), (network) => values[network]);
      }
      const accuracy = raw.accuracy && Float64Array.from(
        unpack(raw.accuracy, Uint16Array),
        (parts) => (parts === 65535 ? NaN : parts / data.scores.unit),
      );
      known.set(name, { ...raw, epsilon, accuracy });
    }
    return known.get(name);
  }

  /** Say why there are no accuracies, and how to supply them; as HTML. */
  function whyNoAccuracy(name) {
    const files = dataset(name).needs.map((file) => `<code>${file}</code>`).join(", ");
    return `Test accuracies are missing here: the machine that built this site did not have ${files},
      and the file may not be passed on with the project.
      <a href="data.html">The data page</a> says how to supply it; then build the book again.`;
  }

  // Architectures -------------------------------------------------------------------------------

  /** Return the six operations of an architecture, as places in OPERATIONS. */
  function operations(index) {
    return Array.from(codes()[index].toString(5).padStart(6, "0"), Number);
  }

  /** Return the index in the space of six operations. */
  function indexOf(ops) {
    return places().get(ops.reduce((code, op) => 5 * code + op, 0));
  }

  /** Write six operations as an architecture string. */
  function text(ops) {
    const edge = (place) => `${OPERATIONS[ops[place]]}~${EDGES[place][0]}`;
    return [[0], [1, 2], [3, 4, 5]].map((node) => `|${node.map(edge).join("|")}|`).join("+");
  }

  /**
   * Read an architecture string.
   * @param {string} given
   * @returns {number[]} six operations
   * @throws {Error} with a message that says how to mend the string
   */
  function parse(given) {
    const string = given.trim().replace(/^(["'])(.*)\1$/, "$2");
    if (!string) throw new Error(`Nothing to read. Paste a string of the form ${FORM}.`);
    const nodes = string.split("+").map((node) => node.split("|").filter((field) => field.trim()));
    const edges = nodes.flat().map((field) => field.trim().split("~"));
    if (nodes.length !== 3 || edges.length !== 6 || nodes.some((n, i) => n.length !== i + 1)) {
      const counts = nodes.map((node) => node.length).join(", ");
      throw new Error(
        `A cell has three groups of 1, 2 and 3 edges joined by "+"; here there are ` +
        `${nodes.length === 1 ? "one group" : `${nodes.length} groups`} of ${counts}. ` +
        `The form is ${FORM}.`,
      );
    }
    const ops = edges.map(([name, from], place) => {
      const [source, target] = EDGES[place];
      if (from !== String(source)) {
        throw new Error(
          `Edge ${place + 1} comes from node ${source}, so write "${name}~${source}" in place of ` +
          `"${edges[place].join("~")}". The form is ${FORM}.`,
        );
      }
      if (!OPERATIONS.includes(name)) {
        throw new Error(
          `Unknown operation "${name}" on edge ${source} → ${target}; ` +
          `use one of ${OPERATIONS.join(", ")}.`,
        );
      }
      return OPERATIONS.indexOf(name);
    });
    if (text(ops) !== string) {
      throw new Error(`Each group begins and ends with "|". You may mean ${text(ops)}.`);
    }
    return ops;
  }

  /**
   * Write a cell's output as a sum of terms of its input, without skips and zeros.
   *
   * A term is {text, operation, inside}, where inside are the terms that the operation is applied
   * to; the input is the term "x". Sums are in the order of their texts, as in the package. No
   * terms: the output is zero.
   * @param {number[]} ops six operations
   */
  function terms(ops) {
    const letters = ["", "", "conv1", "conv3", "pool"];
    const nodes = [[{ text: "x" }], [], [], []];
    EDGES.forEach(([source, target], place) => {
      const inside = nodes[source];
      const operation = ops[place];
      if (operation === 1) nodes[target].push(...inside);
      if (operation > 1 && inside.length) {
        const written = inside.map((term) => term.text).join(" + ");
        nodes[target].push({ text: `${letters[operation]}(${written})`, operation, inside });
      }
      const isLast = place === EDGES.length - 1 || EDGES[place + 1][1] !== target;
      if (isLast) nodes[target].sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0));
    });
    return nodes[3];
  }

  /** Count the convolutions on the longest path of a cell, from its input to its output. */
  function depth(ops) {
    const of = (term) => (term.inside ? longest(term.inside) + (isConvolution(term.operation) ? 1 : 0) : 0);
    const longest = (sum) => Math.max(0, ...sum.map(of));
    return longest(terms(ops));
  }

  const isConvolution = (op) => op === 2 || op === 3;

  /** Count the trainable parameters of the full-width network. */
  function parameters(ops, classes) {
    const layers = convolutions(ops, 32);
    const weights = layers.reduce((sum, c) => sum + c.kernel ** 2 * c.from * c.to, 0);
    const norms = layers.reduce((sum, c) => sum + (c.normalised ? 2 * c.to : 0), 2 * STAGES[2]);
    return weights + norms + (STAGES[2] + 1) * classes;
  }

  /** Count the multiply-accumulates for one image, which the field calls FLOPs. */
  function flops(ops, imageSize, classes) {
    return convolutions(ops, imageSize).reduce(
      (sum, c) => sum + c.kernel ** 2 * c.from * c.to * c.size ** 2, STAGES[2] * classes,
    );
  }

  /** List every convolution of the full-width network. */
  function convolutions(ops, imageSize) {
    const kernels = ops.filter(isConvolution).map((op) => (op === 2 ? 1 : 3));
    const list = [{ kernel: 3, from: 3, to: STAGES[0], size: imageSize, normalised: true }];
    STAGES.forEach((channels, stage) => {
      const size = imageSize >> stage;
      const half = channels / 2;
      if (stage) {
        list.push({ kernel: 3, from: half, to: channels, size, normalised: true });
        list.push({ kernel: 3, from: channels, to: channels, size, normalised: true });
        list.push({ kernel: 1, from: half, to: channels, size, normalised: false });
      }
      for (let cell = 0; cell < CELLS; cell++) {
        for (const kernel of kernels) {
          list.push({ kernel, from: channels, to: channels, size, normalised: true });
        }
      }
    });
    return list;
  }

  // Statistics ----------------------------------------------------------------------------------

  /** Return the rank of a value, the highest being 1, and how many values there are. */
  function place(values, value) {
    let rank = 1;
    let count = 0;
    for (const other of values) {
      if (Number.isNaN(other)) continue;
      count++;
      if (other > value) rank++;
    }
    return { rank, count };
  }

  /** Return ranks from 1, equal values sharing their mean. */
  function ranks(values) {
    const order = Uint32Array.from(values, (_, i) => i).sort((a, b) => values[a] - values[b]);
    const result = new Float64Array(values.length);
    for (let start = 0, end; start < order.length; start = end) {
      end = start + 1;
      while (end < order.length && values[order[end]] === values[order[start]]) end++;
      for (let i = start; i < end; i++) result[order[i]] = (start + end + 1) / 2;
    }
    return result;
  }

  /**
   * Spearman's rank correlation.
   * @param {ArrayLike<number>} x finite numbers
   * @param {ArrayLike<number>} y as many
   * @returns {number} NaN where one of the two is constant
   */
  function spearman(x, y) {
    const [a, b] = [ranks(x), ranks(y)];
    const mean = (a.length + 1) / 2;
    let [ab, aa, bb] = [0, 0, 0];
    for (let i = 0; i < a.length; i++) {
      ab += (a[i] - mean) * (b[i] - mean);
      aa += (a[i] - mean) ** 2;
      bb += (b[i] - mean) ** 2;
    }
    return aa && bb ? ab / Math.sqrt(aa * bb) : NaN;
  }

  // What people read ----------------------------------------------------------------------------

  /** Write a number with some significant digits; very large and small ones with a power of ten. */
  function number(value, digits = 4) {
    if (Number.isNaN(value)) return "no score";
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
    const amount = Math.abs(value);
    if (value && (amount >= 1e6 || amount < 1e-3)) {
      const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
      const raised = String(Number(exponent)).replace(/[-\d]/g, (c) => "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"["0123456789-".indexOf(c)]);
      const short = String(Number(mantissa));
      return `${short === "1" ? "" : `${short.replace("-", "−")}·`}10${raised}`;
    }
    const rounded = Number(value.toPrecision(digits));
    return rounded.toLocaleString("en", { maximumFractionDigits: 9 }).replace("-", "−");
  }

  /** Write a whole number with commas. */
  const whole = (value) => value.toLocaleString("en");

  /** Write a difference with its sign. */
  function difference(value, decimals) {
    if (Number.isNaN(value)) return "";
    const rounded = value.toFixed(decimals);
    return Number(rounded) > 0 ? `+${rounded}` : rounded.replace("-", "−");
  }

  /** Say why an architecture has no epsilon in float32. */
  function whyUnscored(index, name) {
    if (!terms(operations(index)).length) {
      return "No operation leads from the cell's input to its output. All outputs are 0 whatever the image, and there is nothing to compare.";
    }
    const wide = dataset(name).epsilon.float64[index];
    const begin = "Under the small weight the signal vanishes: its values become too small for float32, and all outputs come out equal.";
    return Number.isNaN(wide) ? `${begin} It vanishes in float64, too.` : `${begin} In float64 epsilon is ${number(wide)}.`;
  }

  // The page ------------------------------------------------------------------------------------

  const byId = (id) => document.getElementById(id);

  /**
   * Make an element.
   * @param {string} tag
   * @param {Object<string, string>} [attributes]
   * @param {...(Node|string)} children
   */
  function element(tag, attributes = {}, ...children) {
    const isDrawn = ["svg", "g", "path", "rect", "circle", "text", "title", "line"].includes(tag);
    const made = isDrawn
      ? document.createElementNS("http://www.w3.org/2000/svg", tag)
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  /** Read the part of the address after "#" as a mapping; what is not of this form is empty. */
  function address() {
    return new URLSearchParams(location.hash.slice(1));
  }

  /** Read the architecture that the address names; undefined where it names none that exists. */
  function cellOfAddress() {
    const index = address().get("cell");
    return /^\d+$/.test(index ?? "") && Number(index) < size() ? Number(index) : undefined;
  }

  /** Write text to the clipboard and say so in an element. */
  async function copy(written, said) {
    try {
      await navigator.clipboard.writeText(written);
      said.textContent = "Copied.";
    } catch {
      said.textContent = `The browser does not let this page copy. Copy it by hand: ${written}`;
    }
  }

  /** Call a function whenever colours or sizes change. */
  function onRedraw(element_, draw) {
    new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    new ResizeObserver(draw).observe(element_);
  }

  /** Return the theme's colours. */
  function colours() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(`--${name}`).trim();
    return {
      text: of("pst-color-text-base"), muted: of("pst-color-text-muted"),
      line: of("pst-color-border"), back: of("pst-color-background"),
      first: of("play-first"), second: of("play-second"), mark: of("play-mark"),
      low: of("play-low"), high: of("play-high"),
    };
  }

  // A cell --------------------------------------------------------------------------------------

  const NODES = [[46, 200], [300, 122], [300, 278], [554, 200]]; // where they are drawn
  const LABELS = [[164, 164], [164, 236], [300, 200], [300, 40], [436, 164], [436, 236]];
  const STYLES = ["none", "skip", "conv1", "conv3", "pool"];

  /**
   * Put a cell into a page: a drawing whose edges can be clicked, and a select for each edge.
   * @param {HTMLElement} box
   * @param {function(number[]): void} changed called with the six operations that the reader wants
   * @returns {function(number[]): void} shows six operations
   */
  function cellEditor(box, changed) {
    let shown = [];
    const drawing = element("svg", { viewBox: "0 0 600 320", class: "play-cell", role: "img" });
    const selects = EDGES.map(([source, target], edge) => {
      const select = element("select", { id: `${box.id}-edge-${edge}` });
      OPERATIONS.forEach((name, op) => select.append(element("option", { value: String(op) }, name)));
      select.addEventListener("change", () => changed(shown.with(edge, Number(select.value))));
      return select;
    });
    const fields = EDGES.map(([source, target], edge) => element(
      "label", { for: `${box.id}-edge-${edge}` }, `Edge ${source} → ${target}`, selects[edge],
    ));
    box.append(drawing, element("div", { class: "play-edges" }, ...fields));
    return (ops) => {
      shown = ops;
      selects.forEach((select, edge) => { select.value = String(ops[edge]); });
      const next = (edge) => changed(ops.with(edge, (ops[edge] + 1) % OPERATIONS.length));
      drawing.replaceChildren(...drawn(ops, next));
      const words = ops.map((op, edge) => `${EDGES[edge].join(" to ")}: ${OPERATIONS[op]}`);
      drawing.setAttribute("aria-label", `The cell. ${words.join("; ")}.`);
    };
  }

  /** Draw a cell: edges with what is on them, and nodes. */
  function drawn(ops, next) {
    const edges = EDGES.map(([source, target], edge) => {
      const [x, y] = LABELS[edge];
      const [x0, y0] = NODES[source];
      const [x1, y1] = NODES[target];
      const bend = edge === 3 ? `Q 300 ${2 * y - 200}` : "L";
      const path = `M ${x0} ${y0} ${bend} ${x1} ${y1}`;
      const group = element(
        "g", { class: `play-edge play-${STYLES[ops[edge]]}`, "data-edge": String(edge) },
        element("title", {}, `Edge ${source} → ${target}: ${OPERATIONS[ops[edge]]}. Click for the next operation.`),
        element("path", { d: path, class: "play-hit" }),
        element("path", { d: path, class: "play-line" }),
        element("rect", { x: String(x - 56), y: String(y - 22), width: "112", height: "44", rx: "8" }),
        element("text", { x: String(x), y: String(y + 7) }, SHORT[ops[edge]]),
      );
      group.addEventListener("click", () => next(edge));
      return group;
    });
    const nodes = NODES.map(([x, y], node) => element(
      "g", { class: "play-node" },
      element("circle", { cx: String(x), cy: String(y), r: "20" }),
      element("text", { x: String(x), y: String(y + 7) }, String(node)),
    ));
    const ends = [["input", 46], ["output", 554]].map(([word, x]) => element(
      "text", { x: String(x), y: "250", class: "play-end" }, word,
    ));
    return [...edges, ...nodes, ...ends];
  }

  // A scatter plot ------------------------------------------------------------------------------

  /**
   * Return how an axis shows values: plainly, or compressed where they span many powers of ten.
   * @param {ArrayLike<number>} values NaN is passed over
   */
  function axis(values) {
    const amounts = Float64Array.from(values).filter((v) => v && Number.isFinite(v)).map(Math.abs).sort();
    const finite = Float64Array.from(values).filter(Number.isFinite);
    let [low, high] = [Infinity, -Infinity];
    for (const value of finite) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    if (!finite.length) [low, high] = [0, 1];
    if (low === high) [low, high] = [low - 0.5, high + 0.5];
    const isWide = amounts.length > 2 && amounts.at(-1) > 30 * amounts[amounts.length >> 1];
    const unit = isWide ? amounts[Math.floor(amounts.length / 100)] : 1;
    const of = isWide ? (value) => Math.asinh(value / unit) : (value) => value;
    const ticks = isWide ? powers(low, high, unit) : round(low, high);
    const margin = 0.03 * (of(high) - of(low));
    return { of, ticks, from: of(low) - margin, to: of(high) + margin };
  }

  /** Return about five round numbers in a range. */
  function round(low, high) {
    const rough = (high - low) / 5;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough);
    const first = Math.ceil(low / step);
    return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => (first + i) * step);
  }

  /** Return about six powers of ten in a range, with both signs where it has both. */
  function powers(low, high, unit) {
    const [least, most] = [Math.ceil(Math.log10(unit)), Math.floor(Math.log10(Math.max(high, -low)))];
    const every = Math.max(1, Math.ceil((most - least) / (low < 0 && high > 0 ? 2 : 4)));
    const list = Array.from({ length: Math.floor((most - least) / every) + 1 }, (_, i) => 10 ** (least + i * every));
    return [0, ...list, ...list.map((v) => -v)].filter((v) => v >= low && v <= high);
  }

  /** Prepare a canvas for the screen's resolution: its context, its size and the theme's colours. */
  function prepared(canvas) {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const draw = canvas.getContext("2d");
    draw.scale(ratio, ratio);
    draw.font = "12px sans-serif";
    return { draw, width, height, theme: colours() };
  }

  /**
   * Draw a scatter plot of architectures; those without a score are in a strip at the left.
   *
   * @param {HTMLCanvasElement} canvas
   * @param {Object} plot
   * @param {ArrayLike<number>} plot.x by architecture, NaN without a score
   * @param {ArrayLike<number>} plot.y by architecture, NaN where it is not shown
   * @param {string} plot.across what x is
   * @param {string} plot.up what y is
   * @param {ArrayLike<number>} [plot.shade] by architecture, from 0 to 1: its colour and size
   * @param {number} [plot.marked] an architecture
   * @param {boolean} [plot.strip] whether to show those without a score
   * @returns {function(number, number): ?number} the architecture nearest to a place on the canvas
   */
  function scatter(canvas, plot) {
    const { draw, width, height, theme } = prepared(canvas);
    const shown = Float64Array.from(plot.y, (y, i) => (Number.isNaN(plot.x[i]) && !plot.strip ? NaN : y));
    const scored = Float64Array.from(plot.x, (x, i) => (Number.isNaN(plot.y[i]) ? NaN : x));
    const [across, up] = [axis(scored), axis(shown)];
    const strip = plot.strip ? Math.min(70, width / 6) : 0;
    const box = { left: 52, right: width - 12, top: 10, bottom: height - 44 };
    const start = box.left + (strip ? strip + 8 : 0);
    const toX = (v) => start + ((across.of(v) - across.from) / (across.to - across.from)) * (box.right - start);
    const toY = (v) => box.bottom - ((up.of(v) - up.from) / (up.to - up.from)) * (box.bottom - box.top);
    frame(draw, { theme, box, start, strip, across, up, toX, toY, plot });
    const [px, py] = [new Float32Array(plot.y.length), new Float32Array(plot.y.length)];
    for (let i = 0; i < px.length; i++) {
      const without = Number.isNaN(plot.x[i]);
      px[i] = without ? box.left + 4 + scattered(i) * (strip - 8) : toX(plot.x[i]);
      py[i] = toY(shown[i]);
    }
    points(draw, theme, px, py, plot.shade);
    if (plot.marked !== undefined && !Number.isNaN(py[plot.marked])) mark(draw, theme, px[plot.marked], py[plot.marked]);
    return (x, y) => nearest(px, py, x, y);
  }

  /** Return a number from 0 to 1 that is always the same for an architecture. */
  const scattered = (index) => ((index * 0.618034) % 1);

  /** Draw a plot's axes and their names. */
  function frame(draw, { theme, box, start, strip, across, up, toX, toY, plot }) {
    draw.strokeStyle = theme.line;
    draw.fillStyle = theme.text;
    draw.lineWidth = 1;
    draw.textAlign = "center";
    let last = -Infinity;
    for (const tick of [...across.ticks].sort((a, b) => a - b)) {
      const x = toX(tick);
      line(draw, x, box.top, x, box.bottom);
      const written = number(tick, 3);
      const half = draw.measureText(written).width / 2;
      if (x - half < last + 6 || x + half > box.right + 12) continue;
      draw.fillText(written, x, box.bottom + 16);
      last = x + half;
    }
    draw.fillText(plot.across, (start + box.right) / 2, box.bottom + 36);
    if (strip) {
      draw.strokeRect(box.left, box.top, strip, box.bottom - box.top);
      draw.fillText("no score", box.left + strip / 2, box.bottom + 16);
    }
    draw.textAlign = "right";
    for (const tick of up.ticks) {
      const y = toY(tick);
      line(draw, start, y, box.right, y);
      draw.fillText(number(tick, 3), box.left - 6, y + 4);
    }
    draw.save();
    draw.textAlign = "center";
    draw.translate(12, (box.top + box.bottom) / 2);
    draw.rotate(-Math.PI / 2);
    draw.fillText(plot.up, 0, 0);
    draw.restore();
  }

  function line(draw, x0, y0, x1, y1) {
    draw.beginPath();
    draw.moveTo(x0, y0);
    draw.lineTo(x1, y1);
    draw.stroke();
  }

  /** Draw points; where they are shaded, the higher ones are larger and come last. */
  function points(draw, theme, px, py, shade) {
    const [low, high] = [rgb(theme.low), rgb(theme.high)];
    draw.globalAlpha = shade ? 0.75 : 0.4;
    const order = Uint32Array.from(px, (_, i) => i);
    if (shade) order.sort((a, b) => shade[a] - shade[b]);
    for (const i of order) {
      if (Number.isNaN(py[i]) || Number.isNaN(px[i])) continue;
      const s = shade ? shade[i] : 0;
      draw.fillStyle = shade ? mixed(low, high, s) : theme.first;
      const side = 2.2 + 2.2 * s;
      draw.fillRect(px[i] - side / 2, py[i] - side / 2, side, side);
    }
    draw.globalAlpha = 1;
  }

  /** Draw a ring and a cross hair around a point. */
  function mark(draw, theme, x, y) {
    for (const [colour, width] of [[theme.back, 6], [theme.mark, 3]]) {
      draw.strokeStyle = colour;
      draw.lineWidth = width;
      draw.beginPath();
      draw.arc(x, y, 8, 0, 2 * Math.PI);
      draw.stroke();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        line(draw, x + 8 * dx, y + 8 * dy, x + 15 * dx, y + 15 * dy);
      }
    }
  }

  /** Return the point nearest to a place, null where none is near. */
  function nearest(px, py, x, y) {
    let [best, least] = [null, 400];
    for (let i = 0; i < px.length; i++) {
      const away = (px[i] - x) ** 2 + (py[i] - y) ** 2;
      if (away < least) [best, least] = [i, away];
    }
    return best;
  }

  const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const mixed = (low, high, s) => `rgb(${low.map((v, i) => Math.round(v + s * (high[i] - v))).join(" ")})`;

  return {
    OPERATIONS, SHORT, EDGES, STAGES, CELLS, address, axis, byId, cellEditor, cellOfAddress,
    copy, data, dataset, datasets, depth, difference, element, flops, indexOf, networks, number, onRedraw,
    operations, parameters, parse, place, prepared, ranks, scatter, size, spearman, terms, text, unpack, whole,
    whyNoAccuracy, whyUnscored,
  };
})();
