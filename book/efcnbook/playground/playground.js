// The playground: its controls, its four pictures, and what is marked in them. Every playground of the page that is not
// yet alive is started; what stood there without JavaScript makes room.

const INVITATION = "Point at a weight, a pixel or a filter entry; or reach a picture with Tab, and walk with the arrow keys.";
const POINTED = 8; // CSS pixels: weights of this side can be pointed at
const LENS_ROWS = 7; // rows in the magnifier
const GLYPHS = { input: "∗", filter: "=" }; // what stands behind a picture

class Playground {
  constructor(root) {
    Object.assign(this, JSON.parse(root.dataset.setup)); // choice, ranges, largest, colours
    this.root = root;
    this.name = `efcn-${Math.random().toString(36).slice(2)}`; // no other playground of the page has it
    this.panels = {};
    this.live = element("div", { class: "efcn-live" });
    this.controls();
    this.note = this.live.appendChild(element("p", { class: "efcn-note", id: `${this.name}-note`, role: "status" }));
    this.pictures();
    this.counts = this.live.appendChild(element("dl", { class: "efcn-counts" }));
    root.querySelector(".efcn-still").replaceWith(this.live);
    this.update();
    this.follow();
  }

  controls() {
    const group = element("div", { class: "efcn-controls", role: "group", "aria-label": "The convolution" });
    this.inputs = {};
    for (const [name, [words, least, most]] of Object.entries(this.ranges)) {
      const id = `${this.name}-${name}`;
      const input = element("input", { id, type: "number", inputmode: "numeric", min: least, max: most, step: 1 });
      input.value = this.choice[name];
      input.setAttribute("aria-describedby", `${this.name}-note`);
      input.addEventListener("input", () => this.update());
      this.inputs[name] = input;
      const label = element("label", { for: id }, words);
      const stepper = element("div", { class: "efcn-stepper" }, this.step(input, words, -1), input, this.step(input, words, 1));
      group.append(element("div", { class: "efcn-control" }, label, stepper));
    }
    this.live.append(group);
  }

  // A button beside a number; keys step inside the number itself.
  step(input, words, by) {
    const label = `${words}, one ${by < 0 ? "less" : "more"}`;
    const button = element("button", { type: "button", tabindex: -1, "aria-label": label }, by < 0 ? "−" : "+");
    button.addEventListener("click", () => {
      input.value = Math.min(input.max, Math.max(input.min, Math.round(Number(input.value)) + by));
      this.update();
    });
    return button;
  }

  pictures() {
    const images = element("div", { class: "efcn-images" });
    const sentence = element("p", { class: "efcn-sentence", id: `${this.name}-said`, "aria-live": "polite" });
    this.stage = this.live.appendChild(element("div", { class: "efcn-stage" }, images, sentence));
    for (const name of ["input", "filter", "output", "matrix"]) {
      const title = element("p", { class: "efcn-title" });
      const cell = (name === "matrix" ? this.stage : images).appendChild(element("div", { class: `efcn-${name}` }, title));
      const panel = new Panel(cell, (column, row) => this.pick(name, column, row));
      panel.box.setAttribute("aria-describedby", sentence.id);
      panel.box.addEventListener("keydown", (event) => event.key === "Escape" && this.clear());
      this.panels[name] = Object.assign(panel, { title });
      if (GLYPHS[name]) images.append(element("span", { class: "efcn-glyph", "aria-hidden": "true" }, GLYPHS[name]));
    }
    this.sentence = sentence;
    this.magnifier();
    this.legend = this.stage.appendChild(element("p", { class: "efcn-legend" }));
    this.legend.append(element("span", { class: "efcn-swatch efcn-off" }), "off-local: zero at first");
    this.deadKey = element("span", {}, element("span", { class: "efcn-swatch efcn-dead" }), "dead: reads padding");
    this.legend.append(this.deadKey);
  }

  // A part of the matrix, larger, where its weights are too small to be pointed at.
  magnifier() {
    const title = element("p", { class: "efcn-title" }, "A part of the matrix, magnified");
    const cell = this.panels.matrix.box.parentElement.appendChild(element("div", { class: "efcn-lens" }, title));
    this.lens = new Panel(cell, (column, row) => this.pick("matrix", column + this.part.first[0], row + this.part.first[1]));
    this.lens.box.setAttribute("aria-describedby", this.sentence.id);
  }

  // Bring the magnifier to a weight; it is there only for small weights.
  magnify(column, row) {
    const { picture, theme, cell, ratio } = this.panels.matrix;
    const holder = this.lens.box.parentElement;
    holder.hidden = cell / ratio >= POINTED;
    if (holder.hidden) return;
    const columns = Math.floor(holder.clientWidth / MOST.lens.cell);
    this.part = partOf(picture, this.layout, column, row, [columns, LENS_ROWS]);
    this.lens.show(this.part, theme, "Part of the matrix, magnified. Arrow keys move over it.");
  }

  // Take what the controls hold: draw it, or say what is wrong with it and leave the pictures as they are.
  update() {
    const texts = Object.fromEntries(Object.entries(this.inputs).map(([name, input]) => [name, input.value]));
    const problem = problemWith(texts, this.ranges, this.largest);
    for (const [name, input] of Object.entries(this.inputs)) {
      if (problem?.name === name) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    }
    this.live.classList.toggle("efcn-wrong", Boolean(problem));
    if (problem) {
      this.note.textContent = `${problem.sentence} The pictures show the last choice that could be drawn.`;
      return;
    }
    this.layout = layoutOf(numbersOf(texts));
    this.note.textContent = sayChoice(this.layout);
    this.count();
    this.draw();
    this.clear();
  }

  count() {
    const { weights, local, live, convolution } = countsOf(this.layout);
    const times = weights / convolution;
    const many = `${times < 10 ? times.toPrecision(2) : thousands(Math.round(times))} times that`;
    const rows = [
      ["weights of the filter", thousands(convolution)],
      ["weights of the matrix", `${thousands(weights)}, ${many}`],
      ["of these local", `${thousands(local)}, ${shareOf(local, weights)}`],
      ["of these live", `${thousands(live)}, ${shareOf(live, weights)}`],
    ];
    this.counts.replaceChildren(
      ...rows.map(([term, value]) => element("div", {}, element("dt", {}, term), element("dd", {}, value))),
    );
  }

  draw() {
    const theme = themeOf(this.root);
    this.markers = markersOf(this.layout, theme, this.colours);
    const pictures = picturesOf(this.layout, theme, this.colours);
    for (const [name, panel] of Object.entries(this.panels)) {
      panel.title.textContent = pictures[name].title;
      panel.show(pictures[name], theme, `${pictures[name].title}. Arrow keys move over it.`);
    }
    this.deadKey.hidden = !this.layout.padding;
    this.magnify(0, 0);
  }

  clear() {
    this.picked = null;
    for (const panel of this.shown()) panel.mark([]);
    this.sentence.textContent = INVITATION;
  }

  shown() {
    return [...Object.values(this.panels), ...(this.lens.box.parentElement.hidden ? [] : [this.lens])];
  }

  pick(name, column, row) {
    this.picked = [name, column, row];
    const { sentence, marks, veiled } = MARKED[name](this.layout, this.markers, column, row);
    for (const [other, panel] of Object.entries(this.panels)) panel.mark(marks[other], veiled && other === "matrix");
    this.markPart(name === "matrix" && [column, row], marks.matrix, veiled);
    if (this.sentence.textContent !== sentence) this.sentence.textContent = sentence;
  }

  // Mark the same in the magnifier, which follows a weight that is picked elsewhere.
  markPart(weight, marks, veiled) {
    if (this.lens.box.parentElement.hidden) return;
    const { first, columns, rows } = this.part;
    const isOutside = weight && !inside([...weight, 1, 1], first, [columns, rows]).length;
    if (weight && (isOutside || !this.lens.box.matches(":hover, :focus"))) this.magnify(...weight);
    const within = (mark) => inside(mark.at, this.part.first, [columns, rows]).map((at) => ({ ...mark, at }));
    this.lens.mark(marks.flatMap(within), veiled);
  }

  redraw() {
    const picked = this.picked;
    this.draw();
    if (picked) this.pick(...picked);
    else this.clear();
  }

  // Draw again when the width, the screen or the theme changes.
  follow() {
    let width = this.live.clientWidth;
    new ResizeObserver(() => {
      if (this.live.clientWidth === width) return;
      width = this.live.clientWidth;
      this.redraw();
    }).observe(this.live);
    const watcher = new MutationObserver(() => (this.root.isConnected ? this.redraw() : watcher.disconnect()));
    const attributeFilter = ["data-theme", "data-jp-theme-light"];
    for (const node of [document.documentElement, document.body]) watcher.observe(node, { attributeFilter });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }
}

for (const still of document.querySelectorAll(".efcn-playground .efcn-still")) {
  new Playground(still.closest(".efcn-playground"));
}
