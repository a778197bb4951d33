// Curves as inline SVG, drawn at the size they have, so that letters stay legible on a phone.

const charts = (() => {
  const MARGIN = { top: 8, right: 14, bottom: 38, left: 36 };
  const SHAPES = {
    dot: (x, y) => `<circle cx="${x}" cy="${y}" r="3"/>`,
    ring: (x, y) => `<circle cx="${x}" cy="${y}" r="3.2" class="efcn-hollow"/>`,
    square: (x, y) => `<rect x="${x - 2.8}" y="${y - 2.8}" width="5.6" height="5.6"/>`,
    triangle: (x, y) => `<path d="M${x - 3.6} ${y + 2.8}h7.2l-3.6-6.4z"/>`,
    diamond: (x, y) => `<path d="M${x} ${y - 4}l4 4-4 4-4-4z"/>`,
    cross: (x, y) => `<path d="M${x - 3} ${y - 3}l6 6m0-6l-6 6" class="efcn-hollow"/>`,
  };
  const round = (value) => Math.round(10 * value) / 10;

  /** A chart in `host`: what rarely changes lies in "base", what follows each step in "live". */
  function chart(host, height) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("role", "img");
    svg.innerHTML = '<g class="efcn-base"></g><g class="efcn-live"></g>';
    host.append(svg);
    const [base, live] = svg.children;
    const self = { svg, width: 0, height, x: null, y: null, times: [] };

    /** Axes: `x` and `y` have a scale to [0, 1] and ticks, `x` a label, `y` a way to write its ticks. */
    self.frame = (x, y, inside = () => "") => {
      self.width = Math.max(240, Math.round(host.clientWidth) || 320);
      svg.setAttribute("width", self.width);
      svg.setAttribute("height", height);
      svg.setAttribute("viewBox", `0 0 ${self.width} ${height}`);
      const [left, right, top, bottom] = [MARGIN.left, self.width - MARGIN.right, MARGIN.top, height - MARGIN.bottom];
      self.x = (value) => round(left + 8 + x.scale(value) * (right - left - 16));
      self.y = (value) => round(bottom - y.scale(value) * (bottom - top));
      const rows = y.ticks.map((tick) => {
        const at = self.y(tick);
        const number = `<text x="${left - 6}" y="${at}" dy="0.32em" class="efcn-end">${y.write(tick)}</text>`;
        return `<path class="efcn-grid" d="M${left} ${at}H${right}"/>${number}`;
      });
      const columns = x.ticks.map((tick) => {
        const number = `<text x="${self.x(tick)}" y="${bottom + 17}" class="efcn-middle">${tick}</text>`;
        return `<path class="efcn-tick" d="M${self.x(tick)} ${bottom}v4"/>${number}`;
      });
      const axis = `<path class="efcn-axis" d="M${left} ${bottom}H${right}"/>`;
      const label = `<text x="${right}" y="${height - 4}" class="efcn-end efcn-label">${x.label}</text>`;
      base.innerHTML = rows.join("") + columns.join("") + axis + label;
      base.insertAdjacentHTML("beforeend", inside());
    };
    self.draw = (inside, label) => {
      live.innerHTML = inside;
      svg.setAttribute("aria-label", label);
    };
    /** The one of `times` nearest to a place on the screen. */
    self.pick = (event, times) => {
      const at = event.clientX - svg.getBoundingClientRect().left;
      return times[arithmetic.nearest(times.map(self.x), at)];
    };
    self.top = MARGIN.top;
    self.bottom = height - MARGIN.bottom;
    self.left = MARGIN.left;
    self.right = () => self.width - MARGIN.right;
    return self;
  }

  /** A level line at y. */
  function level(self, y, kind) {
    if (!Number.isFinite(y)) return "";
    return `<path class="efcn-line ${kind}" d="M${self.left} ${self.y(y)}H${self.right()}"/>`;
  }

  /** A line through the finite ones of the points [x, y]; it is broken at the others. */
  function line(self, xs, ys, kind) {
    let path = "";
    let pen = "M";
    xs.forEach((x, i) => {
      if (!Number.isFinite(ys[i])) return void (pen = "M");
      path += `${pen}${self.x(x)} ${self.y(ys[i])}`;
      pen = "L";
    });
    return `<path class="efcn-line ${kind}" d="${path}"/>`;
  }

  /** The space between two lines, where both are finite. */
  function band(self, xs, lows, highs, kind) {
    const there = [...xs.keys()].filter((i) => Number.isFinite(lows?.[i]) && Number.isFinite(highs?.[i]));
    if (there.length < 2) return "";
    const edge = (places, ys) => places.map((i) => `${self.x(xs[i])} ${self.y(ys[i])}`).join("L");
    return `<path class="efcn-band ${kind}" d="M${edge(there, lows)}L${edge(there.reverse(), highs)}Z"/>`;
  }

  function marks(self, xs, ys, shape, kind) {
    const each = xs.map((x, i) => (Number.isFinite(ys[i]) ? SHAPES[shape](self.x(x), self.y(ys[i])) : ""));
    return `<g class="efcn-marks ${kind}">${each.join("")}</g>`;
  }

  /** A cursor over the whole height at x. */
  function cursor(self, x) {
    return `<path class="efcn-cursor" d="M${self.x(x)} ${self.top}V${self.bottom}"/>`;
  }

  /** The measurement that is looked at. */
  function here(self, x, y, kind) {
    if (!Number.isFinite(y)) return "";
    const centre = `cx="${self.x(x)}" cy="${self.y(y)}"`;
    return `<circle class="efcn-halo" ${centre} r="7"/><circle class="efcn-here ${kind}" ${centre} r="5"/>`;
  }

  /** Epochs as an axis, with fewer ticks where the chart is narrow; the label is SVG. */
  function epochAxis(last, label, width) {
    const scale = arithmetic.epochScale(last);
    const ticks = arithmetic.epochTicks(last, last >= 100 || width < 300);
    return { scale, ticks, label };
  }

  /** Fractions as an axis in per cent between `low` and `high`. */
  function percentAxis(low, high, count = 7) {
    const ticks = arithmetic.roundTicks(100 * low, 100 * high, count).map((tick) => tick / 100);
    const write = (tick) => String(Number((100 * tick).toFixed(4)));
    return { scale: arithmetic.linearScale(low, high), ticks, write };
  }

  return { chart, level, line, band, marks, cursor, here, epochAxis, percentAxis, SHAPES };
})();
