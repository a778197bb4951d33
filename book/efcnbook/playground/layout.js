// Where a filter's entries sit in the padded matrix of an eFCN: efcnlib/geometry.py for square images, and which choices
// can be drawn. No page is needed here. All indices count from 0; images are read row by row, channel by channel.

// Sizes of a choice {size, kernel, stride, padding, channels_in, channels_out}; lengths in pixels.
function layoutOf(choice) {
  const padded = choice.size + 2 * choice.padding;
  const out = Math.floor((padded - choice.kernel) / choice.stride) + 1;
  return {
    ...choice,
    padded,
    out,
    rows: choice.channels_out * out * out,
    columns: choice.channels_in * padded * padded,
    unread: (padded - choice.kernel) % choice.stride, // pixels behind the last window
  };
}

// Index of row y and column x of channel c, in images of this side.
const indexOf = (side, c, y, x) => (c * side + y) * side + x;

// Channel, row and column of an index.
const pixelOf = (side, index) => [Math.floor(index / side / side), Math.floor(index / side) % side, index % side];

const isPadding = (layout, u, v) =>
  [u, v].some((at) => at < layout.padding || at >= layout.padding + layout.size);

// The weight at (row, column): output pixel (o, y, x), input pixel (i, u, v) with padding counted, and the filter entry
// (a, b) if it is local.
function weightAt(layout, row, column) {
  const [o, y, x] = pixelOf(layout.out, row);
  const [i, u, v] = pixelOf(layout.padded, column);
  const [a, b] = [u - y * layout.stride, v - x * layout.stride];
  const local = [a, b].every((tap) => tap >= 0 && tap < layout.kernel);
  return { row, column, o, y, x, i, u, v, a, b, local, dead: isPadding(layout, u, v) };
}

// The weights [row, column] that stem from filter entry w[o, i, a, b], one for each output pixel.
function orbitOf(layout, o, i, a, b) {
  const orbit = [];
  for (let y = 0; y < layout.out; y++) {
    for (let x = 0; x < layout.out; x++) {
      const column = indexOf(layout.padded, i, y * layout.stride + a, x * layout.stride + b);
      orbit.push([indexOf(layout.out, o, y, x), column]);
    }
  }
  return orbit;
}

// How many weights there are: of the matrix, local, live, and of the convolution; biases left out.
function countsOf(layout) {
  const { rows, columns, out, size, kernel, channels_in, channels_out } = layout;
  const convolution = channels_out * channels_in * kernel * kernel;
  return { weights: rows * columns, local: convolution * out * out, live: rows * channels_in * size * size, convolution };
}

// Call `visit` for every local weight: with its place in the matrix, row by row, and with its filter entry, 1 for (0, 0),
// then row by row.
function forEachLocal(layout, visit) {
  const { out, padded, columns, kernel, channels_in, channels_out } = layout;
  for (let a = 0; a < kernel; a++) {
    for (let b = 0; b < kernel; b++) {
      for (const [row, column] of orbitOf(layout, 0, 0, a, b)) {
        for (let o = 0; o < channels_out; o++) {
          const start = (row + o * out ** 2) * columns + column;
          for (let i = 0; i < channels_in; i++) visit(start + i * padded ** 2, a * kernel + b + 1);
        }
      }
    }
  }
}

// What is wrong with a choice, given as texts: {name, sentence}; or null. `ranges` has [words, least, most] by name,
// `largest` the [rows, columns] that can be drawn.
function problemWith(texts, ranges, largest) {
  for (const [name, [words, least, most]] of Object.entries(ranges)) {
    const text = String(texts[name]).trim();
    if (!/^\d{1,4}$/.test(text) || +text < least || +text > most) {
      const given = text === "" ? `No ${words} is given` : `${words} ${shortened(text)} is not allowed`;
      return { name, sentence: `${capital(given)}: give a whole number from ${least} to ${most}.` };
    }
  }
  const choice = numbersOf(texts);
  const padded = choice.size + 2 * choice.padding;
  if (choice.kernel > padded) {
    const input = choice.padding
      ? `${choice.size} pixels with padding ${choice.padding} on both sides make ${padded}`
      : `${choice.size} pixels without padding`;
    const sentence = `Kernel side ${choice.kernel} is larger than its input: ${input}. Give a kernel of at most ${padded}.`;
    return { name: "kernel", sentence };
  }
  return tooLarge(layoutOf(choice), largest);
}

// A matrix that cannot be drawn: its name is that of the choice to change first.
function tooLarge(layout, [mostRows, mostColumns]) {
  if (layout.rows <= mostRows && layout.columns <= mostColumns) return null;
  const isWide = layout.columns > mostColumns;
  const several = isWide ? "channels_in" : "channels_out";
  const ways = ["a smaller input", ...(isWide ? [] : ["a larger stride"])];
  if (layout[several] > 1) ways.push(`fewer ${isWide ? "input" : "output"} channels`);
  const made = `${thousands(layout.rows)} rows and ${thousands(layout.columns)} columns`;
  const most = `${thousands(mostRows)} rows and ${thousands(mostColumns)} columns`;
  const sentence = `The matrix would have ${made}; at most ${most} can be drawn. Give ${listed(ways)}.`;
  return { name: layout[several] > 1 ? several : "size", sentence };
}

const listed = (words) => words.join(", ").replace(/, ([^,]*)$/, " or $1");
const numbersOf = (texts) => Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, Number(text)]));
const shortened = (text) => (text.length > 12 ? `${text.slice(0, 12)}…` : text);
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const thousands = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ",");
