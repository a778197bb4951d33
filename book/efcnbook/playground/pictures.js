// The four pictures of a layout. A picture is made of cells in blocks, one for each channel,
// as panel.js has it; colours are those of matrices.layout.

const MOST = { images: { height: 190, cell: 28 }, matrix: { height: 520, cell: 28 }, lens: { height: 170, cell: 22 } }; // CSS pixels

function themeOf(root) {
  const probe = root.appendChild(element("span"));
  const names = ["field", "off", "grid", "line", "hatch", "veil", "fade", "mark", "frame", "halo", "edge"];
  const theme = {};
  for (const name of names) {
    probe.style.color = `var(--efcn-${name})`;
    theme[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return theme;
}

const rgbOf = (css) => css.match(/\d+(\.\d+)?/g).slice(0, 3).map(Number);

// [r, g, b] of filter entry 1, 2, ... of a filter of `most` entries; `colours` are 256 in hexadecimal.
function entryColour(entry, most, colours) {
  const tone = 0.15 + (0.85 * (entry - 1)) / Math.max(most - 1, 1);
  const start = 6 * Math.min(255, Math.floor(256 * tone));
  return [0, 2, 4].map((at) => parseInt(colours.slice(start + at, start + at + 2), 16));
}

// Blocks across for this many channels: the least divisor that makes the picture no taller than wide.
function acrossOf(channels) {
  let across = Math.ceil(Math.sqrt(channels));
  while (channels % across) across++;
  return across;
}

function picturesOf(layout, theme, colours) {
  const { size, padded, kernel, out, channels_in, channels_out, padding } = layout;
  const field = packed(rgbOf(theme.field));
  const palette = [packed(rgbOf(theme.off))];
  for (let entry = 1; entry <= kernel ** 2; entry++) palette.push(packed(entryColour(entry, kernel ** 2, colours)));
  const channels = (count, kind) => (count > 1 ? `, ${count} ${kind}` : "");
  return {
    input: {
      ...images(channels_in, padded, () => field),
      title: `Input, ${size} × ${size}${channels(channels_in, "channels")}${padding ? `, padding ${padding}` : ""}`,
      hatched: frames(layout),
      number: (x, y) => numberIn(layout, y % padded, x % padded),
    },
    filter: {
      ...blocks(channels_out, channels_in, kernel, kernel, (x, y) => palette[(y % kernel) * kernel + (x % kernel) + 1]),
      title: `Filter, ${kernel} × ${kernel}${channels(channels_in * channels_out, "of them")}`,
      number: (x, y) => (y % kernel) * kernel + (x % kernel) + 1,
    },
    output: {
      ...images(channels_out, out, () => field),
      title: `Output, ${out} × ${out}${channels(channels_out, "channels")}`,
      number: (x, y) => (y % out) * out + (x % out) + 1,
    },
    matrix: matrixOf(layout, palette),
  };
}

function matrixOf(layout, palette) {
  const { rows, columns, out, padded } = layout;
  const pixels = new Uint32Array(rows * columns).fill(palette[0]);
  forEachLocal(layout, (place, entry) => (pixels[place] = palette[entry]));
  return {
    rows,
    columns,
    height: out ** 2,
    width: padded ** 2,
    gap: 0,
    most: MOST.matrix,
    pixels,
    title: `Matrix, ${thousands(rows)} × ${thousands(columns)}: a row for each output pixel, a column for each input pixel`,
    hatched: deadColumns(layout).map(([first, count]) => [first, 0, count, rows]),
    number: (x, y) => entryOf(weightAt(layout, y, x), layout.kernel),
  };
}

// The part of a matrix around a weight that has `most` columns and rows: {first: [column, row]}, and a picture.
function partOf(matrix, layout, column, row, most) {
  const [columns, rows] = [Math.min(most[0], matrix.columns), Math.min(most[1], matrix.rows)];
  const first = [start(column, columns, matrix.columns), start(row, rows, matrix.rows)];
  const pixels = new Uint32Array(columns * rows);
  for (let y = 0; y < rows; y++) {
    const from = (first[1] + y) * matrix.columns + first[0];
    pixels.set(matrix.pixels.subarray(from, from + columns), y * columns);
  }
  const hatched = matrix.hatched.flatMap((area) => inside(area, first, [columns, rows]));
  const number = (x, y) => matrix.number(x + first[0], y + first[1]);
  return { first, columns, rows, width: columns, height: rows, gap: 0, most: MOST.lens, pixels, hatched, number };
}

// Where a stretch of `length` begins that has `centre` in its middle, within `count`.
const start = (centre, length, count) => Math.max(0, Math.min(count - length, centre - Math.floor(length / 2)));

// An area [column, row, columns, rows] cut to a part that begins at `first`, and counted from there: one, or none.
function inside([column, row, columns, rows], first, size) {
  const [x, y] = [Math.max(column - first[0], 0), Math.max(row - first[1], 0)];
  const right = Math.min(column + columns - first[0], size[0]);
  const bottom = Math.min(row + rows - first[1], size[1]);
  return right > x && bottom > y ? [[x, y, right - x, bottom - y]] : [];
}

const entryOf = ({ local, a, b }, kernel) => (local ? a * kernel + b + 1 : 0);

// Blocks of cells, `down` x `across` of them, each with its colour from its column and row.
function blocks(down, across, height, width, colour) {
  const [rows, columns] = [down * height, across * width];
  const pixels = Uint32Array.from({ length: rows * columns }, (_, at) => colour(at % columns, Math.floor(at / columns)));
  return { rows, columns, height, width, pixels, gap: 6, most: MOST.images, hatched: [] };
}

function images(channels, side, colour) {
  const across = acrossOf(channels);
  return blocks(channels / across, across, side, side, colour);
}

// Where a channel's pixel is among the blocks, and back.
function placeOf(channels, side, c, y, x) {
  const across = acrossOf(channels);
  return [(c % across) * side + x, Math.floor(c / across) * side + y];
}

function pixelAt(channels, side, column, row) {
  const channel = Math.floor(row / side) * acrossOf(channels) + Math.floor(column / side);
  return [channel, row % side, column % side];
}

// Number of a pixel inside the padding, counted from 1; 0 for the padding.
function numberIn(layout, u, v) {
  return isPadding(layout, u, v) ? 0 : (u - layout.padding) * layout.size + v - layout.padding + 1;
}

// The padding around each input image: above, below, left, right.
function frames({ channels_in, padded, padding, size }) {
  if (!padding) return [];
  return Array.from({ length: channels_in }, (_, i) => {
    const [x, y] = placeOf(channels_in, padded, i, 0, 0);
    return [
      [x, y, padded, padding],
      [x, y + padding + size, padded, padding],
      [x, y + padding, padding, size],
      [x + padding + size, y + padding, padding, size],
    ];
  }).flat();
}

// Runs of columns that read padding, each [first, how many].
function deadColumns(layout) {
  const runs = [];
  for (let column = 0; column < layout.columns; column++) {
    const [, u, v] = pixelOf(layout.padded, column);
    if (!isPadding(layout, u, v)) continue;
    const last = runs.at(-1);
    if (last && last[0] + last[1] === column) last[1]++;
    else runs.push([column, 1]);
  }
  return runs;
}
