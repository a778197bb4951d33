// A CNN and its eFCN, forward and backward, in float64: a 3 x 3 convolution with padding 1 or its dense matrix, ReLU, max
// pooling, a linear layer, cross-entropy. What efcnlib computes on images of 8 x 8 pixels; no page is needed here.

const SIDE = 8; // of an image, in pixels
const PIXELS = SIDE ** 2;
const KERNEL = 3;
const TAPS = KERNEL ** 2;
const POOLED = (SIDE / 2) ** 2; // pixels of a channel after pooling
const CLASSES = 10;

/** The place of a filter entry that output pixel `p` multiplies with input pixel `q`; -1 where q is off-local. */
function tapOf(p, q) {
  const a = Math.floor(q / SIDE) - Math.floor(p / SIDE) + 1;
  const b = (q % SIDE) - (p % SIDE) + 1;
  return a >= 0 && a < KERNEL && b >= 0 && b < KERNEL ? a * KERNEL + b : -1;
}

// Output pixel p reads the input pixels READ[i] with the filter entries TAP[i], FIRST[p] <= i < FIRST[p + 1]. Whole
// numbers in flat arrays, here and below: the innermost loops are as fast as JavaScript can be.
const [FIRST, READ, TAP] = (() => {
  const [first, read, tap] = [[0], [], []];
  for (let p = 0; p < PIXELS; p++) {
    for (let q = 0; q < PIXELS; q++) {
      if (tapOf(p, q) < 0) continue;
      read.push(q);
      tap.push(tapOf(p, q));
    }
    first.push(read.length);
  }
  return [first, read, tap].map((numbers) => Int32Array.from(numbers));
})();

/** A CNN from its weights in PyTorch's order: filters, biases, the linear layer's matrix and biases. */
function cnnOf(channels, weights) {
  const net = { isDense: false, channels, dead: 0 };
  const features = channels * POOLED;
  let start = 0;
  const sizes = { weight: channels * TAPS, bias: channels, linear: CLASSES * features, linearBias: CLASSES };
  for (const [name, size] of Object.entries(sizes)) net[name] = weights.slice(start, (start += size));
  return net;
}

const PARAMETERS = ["weight", "bias", "linear", "linearBias"];
const copied = (net) => ({ ...net, ...Object.fromEntries(PARAMETERS.map((name) => [name, net[name].slice()])) });

/** The eFCN that computes what the CNN does: each filter entry at every output pixel's row, zero elsewhere. */
function embedded(cnn) {
  const rows = cnn.channels * PIXELS;
  const net = { ...copied(cnn), isDense: true, weight: new Float64Array(rows * PIXELS), bias: new Float64Array(rows) };
  let living = 0;
  for (let row = 0; row < rows; row++) {
    const channel = Math.floor(row / PIXELS);
    net.bias[row] = cnn.bias[channel];
    for (let i = FIRST[row % PIXELS]; i < FIRST[(row % PIXELS) + 1]; i++) {
      const value = cnn.weight[channel * TAPS + TAP[i]];
      net.weight[row * PIXELS + READ[i]] = value;
      living += value ** 2;
    }
  }
  // Squares of the copies that would read padding: they never change, and delta counts them as local.
  net.dead = cnn.weight.reduce((sum, value) => sum + PIXELS * value ** 2, 0) - living;
  return net;
}

/** Outputs of the first layer before ReLU, with local weights alone: a CNN's, or part of an eFCN's. */
function convolve({ isDense, weight, bias }, images, at, out) {
  const places = isDense ? READ : TAP;
  for (let row = 0; row < out.length; row++) {
    const channel = Math.floor(row / PIXELS);
    const start = isDense ? row * PIXELS : channel * TAPS;
    const p = row % PIXELS;
    let sum = bias[isDense ? row : channel];
    for (let i = FIRST[p]; i < FIRST[p + 1]; i++) sum += weight[start + places[i]] * images[at + READ[i]];
    out[row] = sum;
  }
}

/** The same with all weights of a matrix. Four rows at a time, each summed in order, so that equal windows give equal sums. */
function multiply({ weight, bias }, images, at, out) {
  for (let row = 0; row < bias.length; row += 4) {
    let [a, b, c, d] = [bias[row], bias[row + 1], bias[row + 2], bias[row + 3]];
    const start = row * PIXELS;
    for (let q = 0; q < PIXELS; q++) {
      const x = images[at + q];
      a += weight[start + q] * x;
      b += weight[start + PIXELS + q] * x;
      c += weight[start + 2 * PIXELS + q] * x;
      d += weight[start + 3 * PIXELS + q] * x;
    }
    out[row] = a;
    out[row + 1] = b;
    out[row + 2] = c;
    out[row + 3] = d;
  }
}

/** ReLU and max pooling: values to `pooled`, and to `winners` where each came from, the first of equal ones. */
function pool(hidden, pooled, winners, begin) {
  for (let j = 0; j < hidden.length / 4; j++) {
    const corner = Math.floor(j / POOLED) * PIXELS + Math.floor((j % POOLED) / 4) * 2 * SIDE + (j % 4) * 2;
    let best = corner;
    if (hidden[corner + 1] > hidden[best]) best = corner + 1;
    if (hidden[corner + SIDE] > hidden[best]) best = corner + SIDE;
    if (hidden[corner + SIDE + 1] > hidden[best]) best = corner + SIDE + 1;
    winners[begin + j] = hidden[best] > 0 ? best : -1; // no gradient passes where ReLU gives zero
    pooled[begin + j] = Math.max(0, hidden[best]);
  }
}

/** Probabilities of the classes to `out`; returns {loss, isRight} for an image of class `label`. */
function answer(net, pooled, begin, label, out, first = 0) {
  const { linear, linearBias } = net;
  const features = net.channels * POOLED;
  let [most, best] = [-Infinity, 0];
  for (let c = 0; c < CLASSES; c++) {
    let sum = linearBias[c];
    for (let j = 0; j < features; j++) sum += linear[c * features + j] * pooled[begin + j];
    out[first + c] = sum;
    if (sum > most) [most, best] = [sum, c];
  }
  const logit = out[first + label];
  let total = 0;
  for (let c = 0; c < CLASSES; c++) total += out[first + c] = Math.exp(out[first + c] - most);
  for (let c = 0; c < CLASSES; c++) out[first + c] /= total;
  return { loss: most + Math.log(total) - logit, isRight: best === label };
}

/** A step of plain SGD, in place, on the images whose numbers are in `batch`. */
function step(net, { images, labels }, batch, rate) {
  const { linear, linearBias } = net;
  const features = net.channels * POOLED;
  const hidden = new Float64Array(net.channels * PIXELS);
  const forward = net.isDense ? multiply : convolve;
  const pooled = new Float64Array(batch.length * features);
  const winners = new Int32Array(batch.length * features);
  const errors = new Float64Array(batch.length * CLASSES);
  batch.forEach((image, n) => {
    forward(net, images, image * PIXELS, hidden);
    pool(hidden, pooled, winners, n * features);
    answer(net, pooled, n * features, labels[image], errors, n * CLASSES);
    errors[n * CLASSES + labels[image]] -= 1;
  });
  const size = rate / batch.length;
  const slopes = new Float64Array(batch.length * features); // of the loss by pooled values, before anything moves
  for (let n = 0; n < batch.length; n++) {
    for (let c = 0; c < CLASSES; c++) {
      const error = errors[n * CLASSES + c];
      for (let j = 0; j < features; j++) slopes[n * features + j] += linear[c * features + j] * error;
    }
  }
  batch.forEach((image, n) => {
    for (let c = 0; c < CLASSES; c++) {
      const move = size * errors[n * CLASSES + c];
      linearBias[c] -= move;
      for (let j = 0; j < features; j++) linear[c * features + j] -= move * pooled[n * features + j];
    }
    for (let j = 0; j < features; j++) {
      const row = winners[n * features + j];
      if (row >= 0) moveRow(net, row, size * slopes[n * features + j], images, image * PIXELS);
    }
  });
}

/** Move what output `row` was computed with against its gradient, `move` times the image. */
function moveRow({ isDense, weight, bias }, row, move, images, at) {
  if (isDense) {
    bias[row] -= move;
    for (let q = 0; q < PIXELS; q++) weight[row * PIXELS + q] -= move * images[at + q];
    return;
  }
  const [channel, p] = [Math.floor(row / PIXELS), row % PIXELS];
  bias[channel] -= move;
  for (let i = FIRST[p]; i < FIRST[p + 1]; i++) weight[channel * TAPS + TAP[i]] -= move * images[at + READ[i]];
}

/** Loss and accuracy of all weights, accuracy of the local ones alone and of the off-local ones alone, and delta. */
function measure(net, split) {
  const { loss, accuracy } = evaluate(net, split, net.isDense ? multiply : convolve);
  if (!net.isDense) return { loss, accuracy, local: accuracy, delta: 0 };
  const offLocal = { ...net, weight: net.weight.map((value, at) => (isLocal(at) ? 0 : value)) };
  return {
    loss,
    accuracy,
    local: evaluate(net, split, convolve).accuracy,
    offLocal: evaluate(offLocal, split, multiply).accuracy,
    delta: deltaOf(net),
  };
}

/** Mean cross-entropy and accuracy, with the first layer computed by `forward`. */
function evaluate(net, { images, labels }, forward) {
  const hidden = new Float64Array(net.channels * PIXELS);
  const pooled = new Float64Array(net.channels * POOLED);
  const [winners, scratch] = [new Int32Array(pooled.length), new Float64Array(CLASSES)];
  let [total, right] = [0, 0];
  labels.forEach((label, n) => {
    forward(net, images, n * PIXELS, hidden);
    pool(hidden, pooled, winners, 0);
    const { loss, isRight } = answer(net, pooled, 0, label, scratch);
    total += loss;
    right += isRight;
  });
  return { loss: total / labels.length, accuracy: right / labels.length };
}

const isLocal = (at) => tapOf(Math.floor(at / PIXELS) % PIXELS, at % PIXELS) >= 0;

/** The share of the weights' norm that lies off-local. */
function deltaOf({ weight, dead }) {
  let [off, whole] = [0, dead];
  for (let at = 0; at < weight.length; at++) {
    whole += weight[at] ** 2;
    if (!isLocal(at)) off += weight[at] ** 2;
  }
  return Math.sqrt(off / whole);
}

/** The order of the images in each of `epochs`: Fisher and Yates, with a linear congruential generator modulo 2^32. */
function ordersOf(count, epochs, seed) {
  let state = seed >>> 0;
  const below = (n) => {
    state = (Math.imul(1664525, state) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  return Array.from({ length: epochs }, () => {
    const order = Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = below(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  });
}

/** An epoch in place. */
function epochOf(net, split, order, batch, rate) {
  for (let at = 0; at < order.length; at += batch) step(net, split, order.slice(at, at + batch), rate);
}
