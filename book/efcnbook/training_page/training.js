// The page: its controls, the worker behind them, and what has been measured. Every page of this kind in the document
// that is not yet alive is started.

const epochsOf = (epoch) => (epoch ? `after ${arithmetic.epochs(epoch)}` : "as it starts");

class Training {
  constructor(host) {
    this.setup = JSON.parse(host.dataset.setup);
    Object.assign(this, { host, cnn: [], runs: [], weight: null, owner: "", running: null, job: 0 });
    this.root = element("div", { class: "efcn-root" });
    host.append(this.root);
    this.makeControls();
    this.said = this.root.appendChild(element("p", { class: "efcn-said", role: "status" }));
    const grid = this.root.appendChild(element("div", { class: "efcn-views" }));
    this.charts = makeCharts(grid);
    this.picture = makePicture(grid, this.setup.channels, () => this.draw());
    this.table = makeTable(this.root);
    const { channels, seed, rate, batch } = this.setup;
    const made = `${channels} channels, seed ${seed}, plain SGD at a learning rate of ${rate}, ${batch} images in a step.`;
    this.root.append(element("p", { class: "efcn-made" }, made));
    this.say("Nothing is trained yet: choose tw, the epoch at which the CNN is rewritten, and press Train.");
    this.started = this.start();
    new ResizeObserver(() => this.fit()).observe(this.root);
  }

  makeControls() {
    const { lastTime } = this.setup;
    this.slider = efcnExplorer.slider(`efcn-${Math.random().toString(36).slice(2)}`, symbol("Rewrite at "));
    this.times = Array.from({ length: lastTime + 1 }, (_, epoch) => epoch);
    this.tw = Math.min(2, lastTime);
    this.slider.input.addEventListener("input", () => {
      this.tw = this.slider.input.valueAsNumber;
      this.draw();
    });
    const button = (words, act) => {
      const made = element("button", { type: "button", class: "efcn-button" }, words);
      made.addEventListener("click", act);
      return made;
    };
    const trainButton = button("Train", () => this.train());
    this.stopButton = button("Stop", () => this.stop());
    this.clearButton = button("Clear", () => this.clear());
    this.count = element("span", { class: "efcn-count" });
    const buttons = element("div", { class: "efcn-buttons" }, trainButton, this.stopButton, this.clearButton);
    buttons.append(this.count);
    const group = { class: "efcn-sliders", role: "group", "aria-label": "Training" };
    const sliders = element("div", group, this.slider.box, buttons);
    for (const type of ["keydown", "keyup"]) {
      sliders.addEventListener(type, (event) => event.stopPropagation()); // JupyterLab and books have shortcuts
    }
    this.root.append(sliders);
  }

  /** Start the worker; resolves when it has been given the images. */
  async start() {
    const source = this.host.querySelector(".efcn-worker").textContent;
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    this.worker = new Worker(address);
    this.worker.onmessage = ({ data }) => this.take(data);
    this.worker.onerror = ({ message }) => this.say(`The training has failed: ${message}`);
    const { images, start, ...setup } = this.setup;
    const [bytes, weights] = await Promise.all([images, start].map(arithmetic.inflate));
    this.worker.postMessage({ setup, bytes, start: new Float64Array(weights.buffer) });
  }

  async train() {
    await this.started;
    this.runs = this.runs.filter(({ tw }) => tw !== this.tw); // it would come out the same
    this.running = this.tw;
    this.tell({ tw: this.tw });
    this.say(this.cnn.length > this.tw ? "The CNN has been there: it is rewritten." : `The CNN learns, until epoch ${this.tw}.`);
    this.draw();
  }

  /** Give the worker another job, which ends the one it has. */
  tell(what) {
    this.job++;
    this.worker.postMessage({ ...what, job: this.job });
  }

  stop() {
    this.tell({});
    this.finish("Stopped.");
  }

  clear() {
    this.tell({});
    Object.assign(this, { running: null, runs: [] });
    this.say("Cleared. The CNN is kept: it need not be trained again.");
    this.draw();
  }

  /** A message of the worker: a measurement, or the end of a run. */
  take({ of, tw, job, weight, milliseconds, ...point }) {
    if (of !== "cnn" && job !== this.job) return; // sent before it was told to stop
    if (of === "end") return this.finish("Done.");
    if (of === "cnn") this.cnn.push(point);
    else if (point.epoch > tw) lastOf(this.runs).points.push(point);
    else {
      this.runs.push({ tw, points: [point] });
      this.say(`Rewritten: ${this.sizes()}. It gives the same answers, and trains on; so does the CNN, on the same images.`);
    }
    if (of === "efcn") lastOf(this.runs).weight = weight;
    if (of === "efcn" || lastOf(this.runs)?.tw !== this.running) {
      this.weight = weight;
      this.owner = of === "efcn" ? this.named(tw, point.epoch) : `CNN, ${epochsOf(point.epoch)}`;
      if (point.epoch) this.count.textContent = `epoch ${point.epoch}: ${Math.round(milliseconds)} ms`;
    }
    this.scheduled ??= requestAnimationFrame(() => this.draw());
  }

  sizes() {
    const { channels } = this.setup;
    return `${(channels * 9).toLocaleString("en")} weights became a matrix of ${(channels * 4096).toLocaleString("en")}`;
  }

  named(tw, epoch) {
    return `eFCN of tw = ${tw}, ${arithmetic.after(epoch - tw)}`;
  }

  finish(word) {
    const run = this.runs.find(({ tw }) => tw === this.running);
    this.running = null;
    this.say(run ? `${word} ${this.result(run)}` : word);
    this.draw();
  }

  result({ tw, points }) {
    const { epoch, accuracy, delta, local } = lastOf(points);
    const cnn = this.cnn[epoch] ? ` The CNN, trained as long: ${percent(this.cnn[epoch].accuracy)}.` : "";
    const alone = `test accuracy ${percent(accuracy)}, with local weights alone ${percent(local)}, δ ${percent(delta)}.`;
    return `${this.named(tw, epoch)}: ${alone}${cnn}`;
  }

  say(text) {
    this.said.replaceChildren(...typeset(text));
  }

  draw() {
    cancelAnimationFrame(this.scheduled);
    this.scheduled = null;
    this.slider.show(this.times, this.tw, symbol("", ` = ${arithmetic.epochs(this.tw)}`));
    this.stopButton.disabled = this.running === null;
    this.clearButton.disabled = !this.runs.length;
    this.charts.draw(this);
    if (this.weight) this.picture.draw(this);
    this.table.draw(this);
  }

  /** Draw again when the width has changed. */
  fit() {
    if (this.width === this.root.clientWidth) return;
    this.width = this.root.clientWidth;
    const bar = document.querySelector(".bd-header-article"); // the book's, which stays at the top
    this.root.style.setProperty("--efcn-top", `${bar?.offsetHeight ?? 0}px`);
    this.draw();
  }
}

for (const host of document.querySelectorAll(".efcn-training:not(:has(.efcn-root))")) {
  host.efcnTraining = new Training(host);
}
