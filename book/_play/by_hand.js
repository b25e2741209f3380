"use strict";
/**
 * Epsilon by hand: two weights are moved, and a cell is evaluated under them in this page. What it
 * shows is in the address, #cell=INDEX&w1=WEIGHT&w2=WEIGHT&images=NUMBER.
 */
(() => {
  const { byId, number } = PLAY;
  const START = "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|skip_connect~0|nor_conv_3x3~1|none~2|";
  const SIDE = 32; // pixels, as in the package
  const COUNTS = [16, 32, 64, 128, 256];
  const STYLES = [{ key: "first", dash: [] }, { key: "second", dash: [7, 4] }]; // of the two weights
  const showCell = PLAY.cellEditor(byId("hand-cell"), (ops) => change({ cell: PLAY.indexOf(ops) }));
  const evaluated = new Map(); // what was computed last, by cell, weight and images
  let now = { cell: PLAY.indexOf(PLAY.parse(START)), weights: PLAY.data.cells.weights, images: 32 };
  let result = null;
  let asked = 0;

  /** Read what to show from the address; what it does not say stays. */
  function fromAddress() {
    const given = PLAY.address();
    const weights = now.weights.map((before, i) => {
      const value = Number(given.get(`w${i + 1}`) || NaN);
      return Number.isFinite(value) && value > 0 ? value : before;
    });
    const images = Number(given.get("images"));
    return {
      cell: PLAY.cellOfAddress() ?? now.cell,
      weights,
      images: COUNTS.includes(images) ? images : now.images,
    };
  }

  /** Write what is shown to the address, in place of what is there. */
  function toAddress() {
    const { cell, weights, images } = now;
    const wanted = `#cell=${cell}&w1=${weights[0]}&w2=${weights[1]}&images=${images}`;
    if (location.hash !== wanted) location.replace(wanted);
  }

  /** Show something else, and note it in the address. */
  function change(part) {
    now = { ...now, ...part };
    show();
    toAddress();
  }

  /** Set the controls, and compute as soon as the browser has drawn them. */
  function show() {
    showCell(PLAY.operations(now.cell));
    now.weights.forEach((weight, i) => {
      const [slider, field] = [byId(`hand-slider-${i}`), byId(`hand-weight-${i}`)];
      if (Number(field.value) !== weight) field.value = String(Number(weight.toPrecision(4)));
      field.removeAttribute("aria-invalid");
      slider.value = String(Math.log10(weight));
      slider.setAttribute("aria-valuetext", number(weight, 3));
    });
    byId("hand-error").textContent = "";
    byId("hand-images").value = String(now.images);
    byId("hand-explorer").href = `explorer.html#cell=${now.cell}`;
    byId("hand-values").setAttribute("aria-busy", "true");
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(compute);
  }

  /** Evaluate the cell under both weights, unless that was just done. */
  function compute() {
    const rows = now.weights.map((weight) => evaluate(now.cell, weight, now.images));
    result = { rows, ...COLLAPSE.epsilon(rows[0].outputs, rows[1].outputs) };
    say();
    drawOutputs();
    drawSignal();
    byId("hand-values").setAttribute("aria-busy", "false");
    byId("hand-values").dataset.shown = JSON.stringify(now);
  }

  /** Return the outputs under a weight, the largest value of the map after each cell, and the time. */
  function evaluate(cell, weight, images) {
    const key = `${cell} ${weight} ${images}`;
    if (!evaluated.has(key)) {
      const [began, sizes] = [performance.now(), []];
      const watch = (map) => sizes.push(largest(map));
      const sum = PLAY.terms(PLAY.operations(cell));
      const outputs = COLLAPSE.outputs(sum, weight, COLLAPSE.grey(images, SIDE), watch);
      if (evaluated.size > 7) evaluated.clear();
      evaluated.set(key, { outputs, sizes, took: performance.now() - began });
    }
    return evaluated.get(key);
  }

  function largest(values) {
    let most = 0;
    for (const value of values) {
      const amount = Math.abs(value);
      if (!(amount <= most)) most = amount; // NaN, too
    }
    return most;
  }

  /** Write the numbers, and say why there is no epsilon where there is none. */
  function say() {
    const { rows, delta, mu, epsilon } = result;
    const write = (name, value) => { byId(`hand-${name}`).textContent = Number.isNaN(value) ? "undefined" : number(value); };
    write("delta", delta);
    write("mu", mu);
    write("epsilon", epsilon);
    rows.forEach(({ outputs }, i) => {
      byId(`hand-range-${i}`).textContent = `V${"₁₂"[i]}: ${range(outputs)}`;
    });
    byId("hand-says").textContent = Number.isNaN(epsilon) ? reason() : now.weights[0] === now.weights[1]
      ? "The two weights are equal, and so are the outputs: epsilon is 0."
      : `Epsilon is ${number(epsilon)}: on average the two normalised outputs of an image differ by ${number(delta)}, and are ${number(mu)} high. ${kept()}`;
    byId("hand-time").textContent = `${now.images} grey images of ${SIDE} × ${SIDE} pixels, computed in ${Math.round(rows[0].took + rows[1].took)} ms.`;
  }

  /** Say of how many images the means are. */
  function kept() {
    const [first, second] = result.normalised;
    const both = first.filter((value, j) => !Number.isNaN(value + second[j])).length;
    const zeros = [first, second].map((row) => row.filter(Number.isNaN).length);
    return `Dropped, because they are exactly 0: ${zeros[0]} of V′₁ and ${zeros[1]} of V′₂; ${both} of the ${now.images} images remain in both.`;
  }

  /** Say from where to where outputs go. */
  function range(outputs) {
    if (outputs.some(Number.isNaN)) return "not a number for some images";
    const [low, high] = [Math.min(...outputs), Math.max(...outputs)];
    return low === high ? `${number(low)} for every image` : `from ${number(low)} to ${number(high)}`;
  }

  /** Say why there is no epsilon. */
  function reason() {
    if (!PLAY.terms(PLAY.operations(now.cell)).length) {
      return "No score: no operation leads from the cell's input to its output, so that every output is 0.";
    }
    const said = result.rows.flatMap(({ outputs }, i) => {
      const name = `w${"₁₂"[i]} = ${number(now.weights[i], 3)}`;
      if (!outputs.every(Number.isFinite)) return [`under ${name} the values become too large for float32`];
      if (outputs.every((value) => value === 0)) return [`under ${name} the signal has vanished: every output is 0`];
      return outputs.every((value) => value === outputs[0]) ? [`under ${name} all outputs are equal`] : [];
    });
    return said.length ? `No score: ${said.join(", and ")}.` : "No score: no image has an output above the lowest under both weights.";
  }

  // The plots -----------------------------------------------------------------------------------

  /** Prepare a canvas, and leave room for a legend above and the axes' names. */
  function prepared(canvas) {
    const { draw, width, height, theme } = PLAY.prepared(canvas);
    return { draw, theme, box: { left: 56, right: width - 12, top: 28, bottom: height - 42 } };
  }

  /** Draw both normalised output vectors over the grey level of the images, and their distance. */
  function drawOutputs() {
    const canvas = byId("hand-outputs");
    const { draw, theme, box } = prepared(canvas);
    const x = (j) => box.left + (j / now.images) * (box.right - box.left);
    const y = (value) => box.bottom - value * (box.bottom - box.top);
    frame(draw, theme, box, [0, 0.25, 0.5, 0.75, 1].map((v) => [x(v * now.images), String(v)]),
      [0, 0.25, 0.5, 0.75, 1].map((v) => [y(v), String(v)]), "grey level of the image", "normalised output V′");
    legend(draw, theme, box);
    const [first, second] = result.normalised;
    draw.strokeStyle = theme.line;
    for (let j = 0; j < now.images; j++) path(draw, [[x(j), y(first[j])], [x(j), y(second[j])]]);
    result.normalised.forEach((row, i) => {
      style(draw, theme, i);
      row.forEach((value, j) => symbol(draw, i, x(j), y(value)));
    });
    const known = Number.isNaN(result.epsilon) ? "There is no epsilon." : `Epsilon is ${number(result.epsilon)}.`;
    canvas.setAttribute("aria-label", `The two normalised output vectors over the grey level of the images. ${known}`);
  }

  /** Draw the largest value of the map after each cell, as a power of ten. */
  function drawSignal() {
    const { draw, theme, box } = prepared(byId("hand-signal"));
    const [low, high] = [-52, 40];
    const last = PLAY.STAGES.length * PLAY.CELLS;
    const x = (k) => box.left + (k / last) * (box.right - box.left);
    const y = (power) => box.bottom - ((power - low) / (high - low)) * (box.bottom - box.top);
    frame(draw, theme, box, [0, 5, 10, 15].map((k) => [x(k), k ? String(k) : "stem"]),
      [-45, -30, -15, 0, 15, 30].map((p) => [y(p), `10${raised(p)}`]), "after cell", "largest value");
    draw.fillStyle = theme.muted;
    draw.textAlign = "left";
    draw.setLineDash([2, 4]);
    draw.strokeStyle = theme.muted;
    for (const [power, word] of [[Math.log10(1.4e-45), "smallest float32"], [Math.log10(3.4e38), "largest float32"]]) {
      path(draw, [[box.left, y(power)], [box.right, y(power)]]);
      draw.fillText(word, box.left + 6, y(power) + 13);
    }
    legend(draw, theme, box);
    result.rows.forEach(({ sizes }, i) => {
      style(draw, theme, i);
      const points = sizes.map((size, k) => [x(k), y(size > 0 ? Math.min(Math.log10(size), high) : low)]);
      draw.setLineDash(STYLES[i].dash);
      path(draw, points);
      draw.setLineDash([]);
      points.forEach(([px, py]) => symbol(draw, i, px, py));
    });
    const end = (i) => number(result.rows[i].sizes.at(-1) ?? 0, 2);
    byId("hand-signal").setAttribute("aria-label", `The largest value after each of ${last} cells. After the last it is ${end(0)} under the first weight and ${end(1)} under the second.`);
  }

  const raised = (power) => String(power).replace(/[-\d]/g, (c) => "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"["0123456789-".indexOf(c)]);

  /** Draw axes: ticks are [place, text]. */
  function frame(draw, theme, box, across, up, below, beside) {
    draw.strokeStyle = theme.line;
    draw.fillStyle = theme.text;
    draw.setLineDash([]);
    draw.lineWidth = 1;
    for (const [x, word] of across) {
      draw.textAlign = "center";
      path(draw, [[x, box.top], [x, box.bottom]]);
      draw.fillText(word, x, box.bottom + 16);
    }
    for (const [y, word] of up) {
      draw.textAlign = "right";
      path(draw, [[box.left, y], [box.right, y]]);
      draw.fillText(word, box.left - 6, y + 4);
    }
    draw.textAlign = "center";
    draw.fillText(below, (box.left + box.right) / 2, box.bottom + 34);
    draw.save();
    draw.translate(12, (box.top + box.bottom) / 2);
    draw.rotate(-Math.PI / 2);
    draw.fillText(beside, 0, 0);
    draw.restore();
  }

  /** Name the two weights above a plot. */
  function legend(draw, theme, box) {
    draw.textAlign = "left";
    STYLES.forEach((_, i) => {
      const at = box.left + i * ((box.right - box.left) / 2);
      style(draw, theme, i);
      symbol(draw, i, at + 6, 13);
      draw.fillStyle = theme.text;
      draw.fillText(`w${"₁₂"[i]} = ${number(now.weights[i], 3)}`, at + 16, 17);
    });
  }

  function style(draw, theme, i) {
    draw.strokeStyle = draw.fillStyle = theme[STYLES[i].key];
    draw.lineWidth = 2;
    draw.setLineDash([]);
  }

  /** Draw a disc for the first weight, a cross for the second. */
  function symbol(draw, i, x, y) {
    if (Number.isNaN(y)) return;
    if (i) {
      path(draw, [[x - 4, y - 4], [x + 4, y + 4]]);
      path(draw, [[x - 4, y + 4], [x + 4, y - 4]]);
    } else {
      draw.beginPath();
      draw.arc(x, y, 3.5, 0, 2 * Math.PI);
      draw.fill();
    }
  }

  function path(draw, points) {
    draw.beginPath();
    points.forEach(([x, y], k) => (k ? draw.lineTo(x, y) : draw.moveTo(x, y)));
    draw.stroke();
  }

  // The controls --------------------------------------------------------------------------------

  for (const i of [0, 1]) {
    const [slider, field] = [byId(`hand-slider-${i}`), byId(`hand-weight-${i}`)];
    slider.addEventListener("input", () => {
      now = { ...now, weights: now.weights.with(i, Number((10 ** slider.value).toPrecision(3))) };
      show();
    });
    slider.addEventListener("change", toAddress);
    field.addEventListener("input", () => {
      const value = Number(field.value);
      const isFine = field.value.trim() && Number.isFinite(value) && value > 0;
      field.toggleAttribute("aria-invalid", !isFine);
      byId("hand-error").textContent = isFine ? "" : `"${field.value}" is no weight: write a number above 0, such as 0.001 or 1e-7.`;
      if (isFine) change({ weights: now.weights.with(i, value) });
    });
  }
  for (const count of COUNTS) byId("hand-images").append(PLAY.element("option", { value: String(count) }, String(count)));
  byId("hand-images").addEventListener("change", () => change({ images: Number(byId("hand-images").value) }));
  byId("hand-paper").addEventListener("click", () => change({ weights: [...PLAY.data.cells.weights] }));
  byId("hand-random").addEventListener("click", () => change({ cell: Math.floor(Math.random() * PLAY.size()) }));
  byId("hand-deep").addEventListener("click", () => change({ cell: PLAY.indexOf([3, 3, 3, 3, 3, 3]) }));
  window.addEventListener("hashchange", () => {
    const wanted = fromAddress();
    if (JSON.stringify(wanted) === JSON.stringify(now)) return; // this page wrote it
    now = wanted;
    show();
  });
  byId("hand").hidden = false;
  now = fromAddress();
  show();
  PLAY.onRedraw(byId("hand-outputs"), () => {
    if (!result) return;
    drawOutputs();
    drawSignal();
  });
})();
