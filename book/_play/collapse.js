"use strict";
/**
 * The width collapse of NAS-Bench-201 in float32: a port of `epsutil.collapse` and of
 * `epsutil.spaces.nasbench201` for one weight, and of Eqs 1-4 in `epsutil.metric`.
 *
 * Under one constant weight all channels of a layer are equal: one of them is enough, times their
 * number. A map is a Float32Array [height, width, image]. As a Float32Array rounds what is written
 * to it, and Math.fround what is not, each step rounds as float32 does, so that signals vanish here
 * where they vanish there.
 */
const COLLAPSE = (() => {
  const { CELLS, STAGES } = PLAY;
  const f = Math.fround;
  const BATCHNORM_EPS = 1e-5;
  const PLAIN = { centre: 0, scale: 1 }; // what is done to a map where it is read: nothing

  /**
   * Return the summed colours of grey images: image i of n is the constant i / n.
   * @param {number} count images
   * @param {number} side pixels
   */
  function grey(count, side) {
    const values = new Float32Array(side * side * count);
    for (let b = 0; b < count; b++) {
      const level = f(b / count);
      for (let p = b; p < values.length; p += count) values[p] = f(level + level) + level;
    }
    return { values, height: side, width: side, count };
  }

  /**
   * Evaluate the one-channel network around a cell.
   * @param {Array} sum the cell's output, see PLAY.terms
   * @param {number} weight
   * @param {{values: Float32Array, height: number, width: number, count: number}} images
   * @param {function(Float32Array): void} [watch] called with the map after the stem and each cell
   * @returns {Float32Array} an output for each image
   */
  function outputs(sum, weight, images, watch = () => {}) {
    if (!sum.length) return new Float32Array(images.count);
    const w = f(weight);
    const [steps, ends] = plan(sum);
    let shape = { height: images.height, width: images.width, count: images.count };
    let input = stem(images, shape, w);
    watch(input);
    STAGES.forEach((channels, stage) => {
      if (stage) [input, shape] = residualBlock(input, shape, w, STAGES[stage - 1]);
      for (let cell = 0; cell < CELLS; cell++) {
        input = cellOutput(steps, ends, input, shape, w, channels);
        watch(input);
      }
    });
    return means(normalised(input, momentsOf(input, shape), w, 1), shape, w);
  }

  /** List what a cell computes, each term once: its operation, and the places that it reads. */
  function plan(sum) {
    const places = new Map([["x", 0]]);
    const steps = [];
    const visit = (terms) => terms.map((term) => {
      if (!places.has(term.text)) {
        const sources = visit(term.inside);
        places.set(term.text, places.size);
        steps.push({ operation: term.operation, sources });
      }
      return places.get(term.text);
    });
    const ends = visit(sum);
    return [steps, ends];
  }

  /** Compute a cell's output map from its input map. */
  function cellOutput(steps, ends, input, shape, w, channels) {
    const maps = [{ values: input, ...PLAIN }]; // in places: values, and how they are to be read
    for (const { operation, sources } of steps) {
      const read = sources.map((source) => maps[source]);
      const values = new Float32Array(input.length);
      if (operation === 4) {
        averagePool(read, shape, values);
        maps.push({ values, ...PLAIN });
      } else {
        if (operation === 3) convolve3(read, shape, w, 1, shape, values);
        else convolve1(read, w, values);
        maps.push({ values, ...norm(momentsOf(values, shape), w, channels) });
      }
    }
    return total(ends.map((end) => maps[end]));
  }

  /** Halve the image and double the channels. */
  function residualBlock(input, shape, w, channels) {
    const half = { height: shape.height / 2, width: shape.width / 2, count: shape.count };
    const length = half.height * half.width * half.count;
    const [first, second] = [new Float32Array(length), new Float32Array(length)];
    convolve3([{ values: input, ...PLAIN }], shape, w, 2, half, first);
    const read = { values: first, ...norm(momentsOf(first, half), w, channels) };
    convolve3([read], half, w, 1, half, second);
    const after = { values: second, ...norm(momentsOf(second, half), w, 2 * channels) };
    const shortcut = { values: squares(input, shape, half, w, channels), ...PLAIN };
    return [total([after, shortcut]), half];
  }

  // Kernels -------------------------------------------------------------------------------------

  /** Compute the stem: a 3 x 3 convolution of the summed colours and BatchNorm. */
  function stem(images, shape, w) {
    const values = new Float32Array(images.values.length);
    convolve3([{ values: images.values, ...PLAIN }], shape, w, 1, shape, values, false);
    return normalised(values, momentsOf(values, shape), w, 1);
  }

  /** Add up the lines of maps from a place on, each after its BatchNorm. */
  function addUp(read, start, line) {
    read.forEach(({ values, centre, scale }, n) => {
      const isPlain = centre === 0 && scale === 1;
      if (!n) line.fill(0);
      if (!n && isPlain) line.set(values.subarray(start, start + line.length));
      else if (isPlain) for (let p = 0; p < line.length; p++) line[p] += values[start + p];
      else for (let p = 0; p < line.length; p++) line[p] += f(f(values[start + p] - centre) * scale);
    });
  }

  /** Add up maps. */
  function total(read) {
    if (read.length === 1 && read[0].centre === 0 && read[0].scale === 1) return read[0].values;
    const sum = new Float32Array(read[0].values.length);
    addUp(read, 0, sum);
    return sum;
  }

  /** ReLU and a 1 x 1 convolution. */
  function convolve1(read, w, out) {
    addUp(read, 0, out);
    for (let p = 0; p < out.length; p++) out[p] = out[p] <= 0 ? 0 : w * out[p];
  }

  /** ReLU and a 3 x 3 convolution, zeros outside; of a stride of 2 every second place. */
  function convolve3(read, shape, w, stride, target, out, rectify = true) {
    const { width, count } = shape;
    const size = width * count;
    const lines = [0, 1, 2].map(() => new Float32Array(size)); // the last three of the input
    const columns = new Float32Array(size + 2 * count); // sums of up to three, zero at both ends
    for (let i = 0, done = 0; i < target.height; i++) {
      const [first, end] = [Math.max(i * stride - 1, 0), Math.min(i * stride + 2, shape.height)];
      for (; done < end; done++) {
        const line = lines[done % 3];
        addUp(read, done * size, line);
        if (rectify) for (let p = 0; p < size; p++) line[p] = line[p] <= 0 ? 0 : line[p];
      }
      addColumns(lines, first, end, w, columns, count);
      addWindows(columns, stride, target.width, count, out, i * target.width * count);
    }
  }

  /** The mean over windows of 3 x 3 pixels, of those that the image has. */
  function averagePool(read, shape, out) {
    const { height, width, count } = shape;
    const size = width * count;
    const lines = [0, 1, 2].map(() => new Float32Array(size));
    const columns = new Float32Array(size + 2 * count);
    for (let i = 0, done = 0; i < height; i++) {
      const [first, end] = [Math.max(i - 1, 0), Math.min(i + 2, height)];
      for (; done < end; done++) addUp(read, done * size, lines[done % 3]);
      addColumns(lines, first, end, 1, columns, count);
      addWindows(columns, 1, width, count, out, i * size);
      for (let j = 0; j < width; j++) {
        const pixels = (end - first) * (Math.min(j + 2, width) - Math.max(j - 1, 0));
        const share = f(1 / pixels);
        for (let p = i * size + j * count, last = p + count; p < last; p++) out[p] *= share;
      }
    }
  }

  /** Add up to three lines of a ring, times the weight. */
  function addColumns(lines, first, end, w, columns, count) {
    columns.fill(0);
    for (let row = first; row < end; row++) {
      const line = lines[row % 3];
      for (let p = 0; p < line.length; p++) columns[p + count] += w * line[p];
    }
  }

  /** Add up three neighbouring columns for each place of a line. */
  function addWindows(columns, stride, width, count, out, start) {
    for (let j = 0; j < width; j++) {
      const at = j * stride * count;
      const to = start + j * count;
      for (let b = 0; b < count; b++) {
        out[to + b] = f(columns[at + b] + columns[at + count + b]) + columns[at + 2 * count + b];
      }
    }
  }

  /** Average squares of 2 x 2 pixels and apply a 1 x 1 convolution. */
  function squares(input, shape, half, w, channels) {
    const { width, count } = shape;
    const out = new Float32Array(half.height * half.width * count);
    const line = width * count;
    for (let i = 0; i < half.height; i++) {
      for (let j = 0; j < half.width; j++) {
        for (let b = 0; b < count; b++) {
          const p = 2 * i * line + 2 * j * count + b;
          const left = f(input[p] + input[p + line]);
          const right = f(input[p + count] + input[p + line + count]);
          out[(i * half.width + j) * count + b] = f(f(f(left + right) / 4) * w) * channels;
        }
      }
    }
    return out;
  }

  /** Count a map's numbers, and return mean and sum of squared deviations (Chan et al. 1979). */
  function momentsOf(map, shape) {
    const { count: batch } = shape;
    let [count, mean, deviations] = [0, 0, 0];
    for (let start = 0; start < map.length; start += batch) {
      let [sum, of] = [0, 0];
      for (let p = start; p < start + batch; p++) sum += map[p];
      const rowMean = f(f(sum) / batch);
      for (let p = start; p < start + batch; p++) {
        const away = f(map[p] - rowMean);
        of += f(away * away);
      }
      const step = rowMean - mean;
      deviations += f(of) + step * step * ((count * batch) / (count + batch));
      mean += (step * batch) / (count + batch);
      count += batch;
    }
    return { count, mean, deviations };
  }

  /** Return what BatchNorm does to a map that so many equal input channels add up to. */
  function norm({ count, mean, deviations }, w, channels) {
    const variance = (channels * channels * deviations) / count;
    return { centre: f(mean), scale: f((channels * w) / Math.sqrt(variance + BATCHNORM_EPS)) };
  }

  /** Apply BatchNorm to a map. */
  function normalised(map, moments, w, channels) {
    const { centre, scale } = norm(moments, w, channels);
    return map.map((value) => f(value - centre) * scale);
  }

  /** ReLU, the average over all places, and the linear layer. */
  function means(map, shape, w) {
    const { count } = shape;
    const sums = new Float32Array(count);
    for (let p = 0; p < map.length; p++) sums[p % count] += map[p] <= 0 ? 0 : map[p];
    return sums.map((sum) => f(f(sum / (map.length / count)) * w) * STAGES[2]);
  }

  // Eqs 1-4 -------------------------------------------------------------------------------------

  /**
   * Normalise outputs to [0, 1] (Eq. 1); what is exactly 0 then is dropped: NaN.
   * @param {Float32Array} row all NaN where it is constant or holds a number that is not finite
   */
  function normalise(row) {
    if (!row.every(Number.isFinite)) return row.map(() => NaN);
    const [low, high] = [Math.min(...row), Math.max(...row)];
    const range = f(high - low);
    return row.map((value) => f(value - low) / range || NaN);
  }

  /**
   * Compute epsilon from the outputs under two weights (Eqs 2-4).
   * @returns {{normalised: Float32Array[], delta: number, mu: number, epsilon: number}}
   */
  function epsilon(first, second) {
    const rows = [normalise(first), normalise(second)];
    const away = rows[0].map((value, j) => Math.abs(value - rows[1][j]));
    const delta = mean(away);
    const mu = mean([...rows[0], ...rows[1]]);
    return { normalised: rows, delta, mu, epsilon: delta / mu };
  }

  /** The mean of what is not NaN; NaN of nothing. */
  function mean(values) {
    const kept = Array.from(values).filter((value) => !Number.isNaN(value));
    return kept.reduce((sum, value) => sum + value, 0) / kept.length;
  }

  return { epsilon, grey, normalise, outputs };
})();
