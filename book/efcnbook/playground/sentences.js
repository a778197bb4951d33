// What is said of a weight, a pixel, a filter entry, a choice. No page is needed here.

function pixelName(kind, channels, c, y, x) {
  return `${kind} pixel (${y}, ${x})${channels > 1 ? ` of channel ${c}` : ""}`;
}

function inputName(layout, i, u, v) {
  if (!isPadding(layout, u, v)) {
    return pixelName("input", layout.channels_in, i, u - layout.padding, v - layout.padding);
  }
  return `a pixel of the padding${layout.channels_in > 1 ? ` of channel ${i}` : ""}`;
}

const outputName = (layout, o, y, x) => pixelName("output", layout.channels_out, o, y, x);

const entryName = (layout, o, i, a, b) => `w[${o}, ${i}, ${a}, ${b}] (${a * layout.kernel + b + 1} in the filter)`;

function sayWeight(layout, weight) {
  const { row, column, o, y, x, i, u, v, a, b, local, dead } = weight;
  const place = `Row ${row}, column ${column}: ${outputName(layout, o, y, x)} from ${inputName(layout, i, u, v)}.`;
  if (!local) {
    return dead
      ? `${place} Dead: reads padding, so it is zero and stays zero.`
      : `${place} Off-local: zero at the embedding, free afterwards.`;
  }
  const entry = `Filter entry ${entryName(layout, o, i, a, b)}`;
  if (dead) return `${place} ${entry}, but dead: reads padding, so it never moves.`;
  return `${place} ${entry}; ${weights(layout.out ** 2)} of the matrix ${layout.out > 1 ? "stem" : "stems"} from it.`;
}

function sayInput(layout, i, u, v) {
  const column = indexOf(layout.padded, i, u, v);
  const place = `${capital(inputName(layout, i, u, v))} is column ${column} of the matrix.`;
  if (isPadding(layout, u, v)) return `${place} Its weights are dead: it is always zero, so they never move.`;
  const readers = readersOf(layout, u, v).length;
  const each = layout.channels_out > 1 ? " of each channel" : "";
  const count = readers === 1 ? "1 output pixel" : `${readers || "no"} output pixels`;
  return `${place} The filter brings it to ${count}${each}; the matrix can bring it to every one.`;
}

function sayEntry(layout, o, i, a, b) {
  const orbit = orbitOf(layout, o, i, a, b);
  const padding = orbit.filter(([row, column]) => weightAt(layout, row, column).dead).length;
  const dead = padding ? ` ${padding === orbit.length ? "All" : padding} of them read padding: dead.` : "";
  const each = layout.channels_out > 1 ? ` of channel ${o}` : "";
  const name = `Filter entry ${entryName(layout, o, i, a, b)}`;
  return `${name} comes to ${weights(orbit.length)} of the matrix, one for each output pixel${each}.${dead}`;
}

function sayOutput(layout, o, y, x) {
  const local = layout.channels_in * layout.kernel ** 2;
  const row = indexOf(layout.out, o, y, x);
  const place = `${capital(outputName(layout, o, y, x))} is row ${row} of the matrix.`;
  return `${place} ${thousands(local)} of its ${weights(layout.columns)} are local, the others start at zero.`;
}

// The side of the output, and what a stride leaves unread.
function sayChoice(layout) {
  const { size, kernel, stride, padding, out, unread } = layout;
  const sum = `(${size} + 2·${padding} − ${kernel}) / ${stride}`;
  const side = `Side of the output: ⌊${sum}⌋ + 1 = ${out}.`;
  if (!unread) return side;
  const pixels = unread === 1 ? "the last column and row of pixels" : `the last ${unread} columns and rows of pixels`;
  return `${side} Stride ${stride} leaves a remainder: no filter reads ${pixels}${padding ? ", padding counted" : ""}.`;
}

// The outputs (y, x) whose window holds (u, v), each with the entry (a, b) that reads it.
function readersOf(layout, u, v) {
  const readers = [];
  for (let y = 0; y < layout.out; y++) {
    for (let x = 0; x < layout.out; x++) {
      const [a, b] = [u - y * layout.stride, v - x * layout.stride];
      if (a >= 0 && a < layout.kernel && b >= 0 && b < layout.kernel) readers.push({ y, x, a, b });
    }
  }
  return readers;
}

const weights = (count) => (count === 1 ? "1 weight" : `${thousands(count)} weights`);

function shareOf(part, whole) {
  const percent = (100 * part) / whole;
  return `${percent >= 99.95 || percent === 0 ? Math.round(percent) : percent.toPrecision(percent < 10 ? 2 : 3)} %`;
}
