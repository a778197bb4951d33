// What is said and marked when a cell is picked: for each picture a function of the layout, the markers, and the cell's
// column and row, which gives {sentence, marks: by picture, veiled}.

// Marks of pixels, filter entries, rows and columns; and the colour of each entry, thin or solid.
function markersOf(layout, theme, colours) {
  const { padded, kernel, out, channels_in, channels_out, stride } = layout;
  const colourOf = (a, b) => entryColour(a * kernel + b + 1, kernel ** 2, colours);
  const markers = {
    line: { line: theme.mark },
    frame: { frame: theme.frame },
    thin: (a, b) => ({ fill: `rgba(${colourOf(a, b)}, 0.65)` }),
    solid: (a, b) => ({ fill: `rgb(${colourOf(a, b)})` }),
    input: (i, u, v, style) => ({ at: [...placeOf(channels_in, padded, i, u, v), 1, 1], ...style }),
    output: (o, y, x, style) => ({ at: [...placeOf(channels_out, out, o, y, x), 1, 1], ...style }),
    entry: (o, i, a, b, style) => ({ at: [i * kernel + b, o * kernel + a, 1, 1], ...style }),
    weight: (row, column, style) => ({ at: [column, row, 1, 1], ...style }),
    row: (row, style) => ({ at: [0, row, layout.columns, 1], ...style }),
    column: (column, style) => ({ at: [column, 0, 1, layout.rows], ...style }),
  };
  // The pixels that output (y, x) reads in input channel i, each in the colour of its entry.
  markers.window = (i, y, x) =>
    upTo(kernel ** 2).map((at) => {
      const [a, b] = [Math.floor(at / kernel), at % kernel];
      return markers.input(i, y * stride + a, x * stride + b, markers.thin(a, b));
    });
  return markers;
}

const upTo = (count) => Array.from({ length: count }, (_, index) => index);

const MARKED = {
  matrix(layout, markers, column, row) {
    const weight = weightAt(layout, row, column);
    const { o, y, x, i, u, v, a, b, local } = weight;
    const { line, frame } = markers;
    const marks = {
      input: [...markers.window(i, y, x), markers.input(i, u, v, line)],
      filter: local ? [markers.entry(o, i, a, b, line)] : [],
      output: [markers.output(o, y, x, line)],
      matrix: [markers.row(row, frame), markers.column(column, frame), markers.weight(row, column, line)],
    };
    return { sentence: sayWeight(layout, weight), marks };
  },

  input(layout, markers, column, row) {
    const [i, u, v] = pixelAt(layout.channels_in, layout.padded, column, row);
    const { line, thin } = markers;
    const readers = readersOf(layout, u, v);
    const reached = (o) => readers.map(({ y, x, a, b }) => markers.output(o, y, x, thin(a, b)));
    const marks = {
      input: [markers.input(i, u, v, line)],
      filter: [],
      output: upTo(layout.channels_out).flatMap(reached),
      matrix: [markers.column(indexOf(layout.padded, i, u, v), line)],
    };
    return { sentence: sayInput(layout, i, u, v), marks };
  },

  filter(layout, markers, column, row) {
    const { kernel, padded, out } = layout;
    const [o, i, a, b] = [Math.floor(row / kernel), Math.floor(column / kernel), row % kernel, column % kernel];
    const orbit = orbitOf(layout, o, i, a, b);
    const thin = markers.thin(a, b);
    const marks = {
      input: orbit.map(([, at]) => markers.input(...pixelOf(padded, at), thin)),
      filter: [markers.entry(o, i, a, b, markers.line)],
      output: orbit.map(([at]) => markers.output(...pixelOf(out, at), thin)),
      matrix: orbit.map(([y, x]) => markers.weight(y, x, markers.solid(a, b))),
    };
    return { sentence: sayEntry(layout, o, i, a, b), marks, veiled: true };
  },

  output(layout, markers, column, row) {
    const { kernel, channels_in, channels_out, out } = layout;
    const [o, y, x] = pixelAt(channels_out, out, column, row);
    const { line } = markers;
    const marks = {
      input: upTo(channels_in).flatMap((i) => markers.window(i, y, x)),
      filter: [{ at: [0, o * kernel, channels_in * kernel, kernel], ...line }],
      output: [markers.output(o, y, x, line)],
      matrix: [markers.row(indexOf(out, o, y, x), line)],
    };
    return { sentence: sayOutput(layout, o, y, x), marks };
  },
};
