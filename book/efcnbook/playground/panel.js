// A picture made of cells in blocks, on two canvases: the cells below, what is marked above. It is pointed at with a
// mouse or a finger, and walked over with the arrow keys; either way it tells `picked` the column and row of the cell.

const LEGIBLE = 15; // CSS pixels: cells of this side have room for a number
const RULED = 6; // cells of this side are parted by lines
const HATCHED = 2.5; // cells of this side have room for hatching; smaller ones are darkened

class Panel {
  constructor(parent, picked) {
    this.box = parent.appendChild(element("div", { class: "efcn-panel", tabindex: 0, role: "application" }));
    [this.below, this.above] = [0, 1].map(() => this.box.appendChild(element("canvas", { "aria-hidden": "true" })));
    this.picked = picked;
    this.cursor = [0, 0];
    for (const type of ["pointerdown", "pointermove"]) this.box.addEventListener(type, (event) => this.point(event));
    this.box.addEventListener("keydown", (event) => this.walk(event));
    this.box.addEventListener("focus", () => this.box.matches(":focus-visible") && this.pick(...this.cursor));
  }

  // A picture of {rows, columns} cells in blocks of {height, width}; `pixels` is a colour for each cell, row by row;
  // `hatched` lists [column, row, columns, rows]; `number` gives a cell's number from its column and row, or 0. `gap` parts blocks;
  // `most` is the {height} of the picture and the side of a {cell}; both in CSS pixels.
  show(picture, theme, label) {
    Object.assign(this, { picture, theme });
    this.cursor = [Math.min(this.cursor[0], picture.columns - 1), Math.min(this.cursor[1], picture.rows - 1)];
    this.box.setAttribute("aria-label", label);
    this.fit();
  }

  // Choose the largest cells that have room: whole device pixels, so that they are crisp, or fractions of one.
  fit() {
    const { rows, columns, height, width, gap, most } = this.picture;
    const ratio = window.devicePixelRatio || 1;
    const room = this.box.parentElement.clientWidth * ratio;
    this.gap = Math.round(gap * ratio);
    const gaps = [columns / width - 1, rows / height - 1].map((count) => count * this.gap);
    const cell = Math.min((room - gaps[0]) / columns, (most.height * ratio - gaps[1]) / rows, most.cell * ratio);
    this.cell = cell >= 1 ? Math.floor(cell) : Math.max(cell, 0.05);
    this.ratio = ratio;
    const size = [this.left(columns) - this.gap, this.top(rows) - this.gap].map(Math.ceil);
    for (const canvas of [this.below, this.above]) {
      [canvas.width, canvas.height] = size;
      canvas.style.width = `${size[0] / ratio}px`;
      canvas.style.height = `${size[1] / ratio}px`;
    }
    this.paint();
  }

  // Device pixels from the edge to a column or a row.
  left(column) {
    return column * this.cell + Math.floor(column / this.picture.width) * this.gap;
  }

  top(row) {
    return row * this.cell + Math.floor(row / this.picture.height) * this.gap;
  }

  paint() {
    const { rows, columns, height, width, pixels } = this.picture;
    const source = element("canvas", { width: columns, height: rows }); // a pixel for each cell
    source.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), columns, rows), 0, 0);
    const pen = this.below.getContext("2d");
    pen.imageSmoothingEnabled = this.cell < 1;
    pen.imageSmoothingQuality = "high";
    for (let y = 0; y < rows; y += this.gap ? height : rows) {
      for (let x = 0; x < columns; x += this.gap ? width : columns) {
        const size = this.gap ? [width, height] : [columns, rows];
        const scaled = size.map((count) => count * this.cell);
        pen.drawImage(source, x, y, ...size, this.left(x), this.top(y), ...scaled);
      }
    }
    this.hatch(pen);
    const side = this.cell / this.ratio;
    if (side >= RULED) this.rule(pen, 1, 1, this.theme.grid);
    this.rule(pen, width, height, this.gap ? this.theme.grid : this.theme.line);
    this.frame(pen);
    if (side >= LEGIBLE) this.number(pen);
  }

  hatch(pen) {
    pen.fillStyle = this.cell / this.ratio >= HATCHED ? pen.createPattern(this.stripes(), "repeat") : this.theme.veil;
    for (const [column, row, columns, rows] of this.picture.hatched) {
      pen.fillRect(this.left(column), this.top(row), columns * this.cell, rows * this.cell);
    }
  }

  // A tile whose copies make slanted lines.
  stripes() {
    const side = Math.round(6 * this.ratio);
    const tile = element("canvas", { width: side, height: side });
    const pen = tile.getContext("2d");
    pen.strokeStyle = this.theme.hatch;
    pen.lineWidth = this.ratio;
    for (const shift of [-side, 0, side]) {
      pen.beginPath();
      pen.moveTo(shift - 1, side + 1);
      pen.lineTo(shift + side + 1, -1);
      pen.stroke();
    }
    return tile;
  }

  // Lines of a device pixel between every `width` columns and every `height` rows.
  rule(pen, width, height, colour) {
    const { rows, columns } = this.picture;
    pen.fillStyle = colour;
    for (let x = width; x < columns; x += width) {
      if (!this.isGap(x, this.picture.width)) pen.fillRect(Math.round(this.left(x)), 0, 1, this.below.height);
    }
    for (let y = height; y < rows; y += height) {
      if (!this.isGap(y, this.picture.height)) pen.fillRect(0, Math.round(this.top(y)), this.below.width, 1);
    }
  }

  isGap(index, side) {
    return this.gap > 0 && index % side === 0;
  }

  // A line around each block, and nothing in the gaps between.
  frame(pen) {
    const { rows, columns, height, width } = this.picture;
    for (let x = width; x < columns && this.gap; x += width) {
      pen.clearRect(this.left(x) - this.gap, 0, this.gap, this.below.height);
    }
    for (let y = height; y < rows && this.gap; y += height) {
      pen.clearRect(0, this.top(y) - this.gap, this.below.width, this.gap);
    }
    pen.strokeStyle = this.theme.edge;
    pen.lineWidth = 1;
    for (let y = 0; y < rows; y += this.gap ? height : rows) {
      for (let x = 0; x < columns; x += this.gap ? width : columns) {
        const [across, down] = this.gap ? [width, height] : [columns, rows];
        pen.strokeRect(this.left(x) + 0.5, this.top(y) + 0.5, across * this.cell - 1, down * this.cell - 1);
      }
    }
  }

  number(pen) {
    const { rows, columns, pixels, number } = this.picture;
    pen.font = `${Math.round(Math.min(this.cell * 0.5, 13 * this.ratio))}px system-ui, sans-serif`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++) {
        const text = number(x, y);
        if (!text) continue;
        pen.fillStyle = inkOn(pixels[y * columns + x]);
        pen.fillText(text, this.left(x) + this.cell / 2, this.top(y) + this.cell / 2);
      }
    }
  }

  // Mark cells: each mark is {at: [column, row, columns, rows]} with the colours of a `fill`, a thin `frame` or a
  // thick `line` around it. With `veiled` all other cells fade.
  mark(marks, veiled = false) {
    const pen = this.above.getContext("2d");
    pen.clearRect(0, 0, this.above.width, this.above.height);
    if (veiled) {
      pen.fillStyle = this.theme.fade;
      pen.fillRect(0, 0, this.above.width, this.above.height);
    }
    for (const { at, fill, frame, line } of marks) {
      const [x, y] = [this.left(at[0]), this.top(at[1])];
      const width = this.left(at[0] + at[2] - 1) + this.cell - x;
      const height = this.top(at[1] + at[3] - 1) + this.cell - y;
      if (fill) {
        pen.fillStyle = fill;
        pen.fillRect(x, y, Math.max(width, 1), Math.max(height, 1));
      }
      if (frame) this.thin(pen, x, y, width, height, frame);
      if (line) this.outline(pen, x, y, width, height, line);
    }
  }

  thin(pen, x, y, width, height, colour) {
    const thick = Math.max(1, Math.round(this.ratio));
    pen.strokeStyle = colour;
    pen.lineWidth = thick;
    pen.strokeRect(x + thick / 2, y + thick / 2, Math.max(width - thick, thick), Math.max(height - thick, thick));
  }

  // A line within a light one, seen on every colour; around cells too small for it, at some distance.
  outline(pen, x, y, width, height, colour) {
    const thick = 2 * this.ratio;
    const spare = Math.max(0, (4 * thick - Math.min(width, height)) / 2);
    const box = [x - spare + thick / 2, y - spare + thick / 2, width + 2 * spare - thick, height + 2 * spare - thick];
    for (const [line, broad] of [[this.theme.halo, 2 * thick], [colour, thick]]) {
      pen.strokeStyle = line;
      pen.lineWidth = broad;
      pen.strokeRect(...box);
    }
  }

  point(event) {
    const edge = this.above.getBoundingClientRect();
    const at = [(event.clientX - edge.left) * this.ratio, (event.clientY - edge.top) * this.ratio];
    const { rows, columns, width, height } = this.picture;
    const column = this.cellAt(at[0], columns, width);
    const row = this.cellAt(at[1], rows, height);
    if (column !== null && row !== null) this.pick(column, row);
  }

  // Which of `count` cells, in blocks of `side`, is at this distance from the edge; null in a gap or outside.
  cellAt(distance, count, side) {
    const block = Math.floor(distance / (side * this.cell + this.gap));
    const within = Math.floor((distance - block * (side * this.cell + this.gap)) / this.cell);
    const index = block * side + within;
    return within < side && index >= 0 && index < count ? index : null;
  }

  walk(event) {
    const { rows, columns, width, height } = this.picture;
    const steps = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
      Home: [-columns, 0],
      End: [columns, 0],
      PageUp: [0, -height],
      PageDown: [0, height],
    };
    const step = steps[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const inside = (value, count) => Math.max(0, Math.min(count - 1, value));
    this.pick(inside(this.cursor[0] + step[0], columns), inside(this.cursor[1] + step[1], rows));
  }

  pick(column, row) {
    this.cursor = [column, row];
    this.picked(column, row);
  }
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const packed = ([r, g, b]) => (0xff000000 | (b << 16) | (g << 8) | r) >>> 0; // as canvases have it in memory
const unpacked = (colour) => [colour & 255, (colour >> 8) & 255, (colour >> 16) & 255];

// Black or white, whichever is read better on a colour.
function inkOn(colour) {
  const [r, g, b] = unpacked(colour);
  return 0.299 * r + 0.587 * g + 0.114 * b < 128 ? "#fff" : "#000";
}
