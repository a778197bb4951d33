// The explorer: choices above, linked views below. Put together with the files before it by page.py.

const { element, symbol, typeset } = views;
const PACE = 700; // milliseconds between two measured epochs while it plays
const ICONS = { play: "M4 2.5v11l9-5.5z", pause: "M4 3h3v10H4zM9 3h3v10H9z" };

/**
 * Show `packs` in `element`; `options` may hold study, seed, tw and epoch to begin with, onSelect(state), and share()
 * for a button, which it answers with what to say.
 * Returns {update(packs), select({study, seed, tw, epoch}), state(), ready, unmount()}.
 */
function mount(host, packs, options = {}) {
  check(packs);
  const prefix = `efcn-${Math.random().toString(36).slice(2, 10)}`;
  const root = element("div", { class: "efcn-root" });
  const controls = makeControls(prefix);
  const said = element("p", { class: "efcn-said", "aria-live": "polite" });
  const grid = element("div", { class: "efcn-views" });
  root.append(controls.choices, controls.sliders, said, grid);
  if (options.share) controls.choices.append(sharing(options.share));
  host.append(root);
  const select = (choice) => { stop(); choose(choice); };
  const charted = [views.dynamics, views.course, views.layers].map((view) => view(grid, select));
  charted.push(panels.masks(grid));
  const pictures = panels.pictures(grid);
  const table = panels.table(root);
  const made = element("p", { class: "efcn-made" });
  root.append(made);

  let settled = models.settle(packs, options);
  let version = 0;
  let playing = null;
  const unpacked = new Map(); // bytes by their base64 text; null where the browser cannot

  function draw() {
    const at = { ...models.look(settled), version };
    controls.show(packs, settled);
    said.replaceChildren(...typeset(models.sentence(at)));
    for (const view of charted) view.draw(at);
    pictures.draw(at, bytesOf(settled.seed));
    table.draw(at);
    made.replaceChildren(...caption(at));
  }

  function bytesOf(seed) {
    return seed.pictures ? unpacked.get(seed.pictures.data) : undefined;
  }

  /** Unpack the pictures of every seed, those in sight first; resolves when all are there. */
  async function unpack() {
    const seeds = [settled.seed, ...packs.flatMap((pack) => pack.seeds)].filter((seed) => seed.pictures);
    const texts = new Set(seeds.map((seed) => seed.pictures.data));
    for (const text of unpacked.keys()) if (!texts.has(text)) unpacked.delete(text);
    for (const text of texts) {
      if (unpacked.has(text)) continue;
      unpacked.set(text, typeof DecompressionStream === "undefined" ? null : await arithmetic.inflate(text));
      if (root.isConnected && settled.seed.pictures?.data === text) draw();
    }
  }

  function choose(choice) {
    const moved = { ...settled.state, ...choice };
    settled = models.settle(packs, moved);
    draw();
    options.onSelect?.({ ...settled.state });
  }

  function stop() {
    clearInterval(playing);
    playing = null;
    controls.playing(false);
    said.setAttribute("aria-live", "polite");
  }

  function play() {
    if (settled.times.length < 2) return;
    if (settled.place >= settled.times.length - 1) choose({ epoch: settled.times[0] });
    said.setAttribute("aria-live", "off"); // one sentence at the end, and not one for each step
    controls.playing(true);
    playing = setInterval(() => {
      const next = settled.place + 1;
      if (next < settled.times.length) choose({ epoch: settled.times[next] });
      if (settled.place >= settled.times.length - 1) stop();
    }, PACE);
  }

  const toggle = () => (playing === null ? play() : stop());
  controls.listen({
    study: (index) => select({ study: packs[index].study.name }),
    seed: (seed) => select({ seed }),
    tw: (index) => select({ tw: settled.pack.study.relax_times[index] }),
    epoch: (index) => select({ epoch: settled.times[index] }),
    toggle,
  });
  let width = 0;
  const resized = new ResizeObserver(() => {
    if (root.clientWidth === width) return;
    width = root.clientWidth;
    const bar = document.querySelector(".bd-header-article"); // the book's, which stays at the top
    root.style.setProperty("--efcn-top", `${bar?.offsetHeight ?? 0}px`);
    draw();
  });
  draw();
  resized.observe(root);
  const self = {
    root,
    ready: unpack(),
    state: () => ({ ...settled.state }),
    select: (choice) => { select(choice); return self.state(); },
    /** Show other or grown packs; who looks at the last epoch goes on to the new last one. */
    update(others) {
      check(others);
      const follows = settled.place === settled.times.length - 1;
      packs = others;
      version++;
      settled = models.settle(packs, follows && playing === null ? { ...settled.state, epoch: null } : settled.state);
      draw();
      self.ready = unpack();
      return self.ready;
    },
    unmount() {
      stop();
      resized.disconnect();
      root.remove();
    },
  };
  return self;
}

/** A button that shares what is looked at, and then says how that went. */
function sharing(share) {
  const words = "Share this view";
  const button = element("button", { type: "button", class: "efcn-share" }, words);
  const said = element("span", { role: "status" });
  button.addEventListener("click", async () => {
    said.textContent = await share();
    setTimeout(() => { said.textContent = ""; }, 3000);
  });
  return element("span", { class: "efcn-sharing" }, button, said);
}

function check(packs) {
  const whole = packs?.length && packs.every((pack) => pack.seeds.length);
  if (!whole) throw new Error("no study to explore: give packs with seeds");
}

/** Study and seed, relax time and epoch, and the play button. */
function makeControls(prefix) {
  const field = (name, words) => {
    const input = element("select", { id: `${prefix}-${name}` });
    return { input, box: element("label", { for: `${prefix}-${name}` }, words, input) };
  };
  const [study, seed] = [field("study", "Study"), field("seed", "Seed")];
  const choices = element("div", { class: "efcn-choices" }, study.box, seed.box);
  const tw = slider(`${prefix}-tw`, symbol("Relax time "));
  const epoch = slider(`${prefix}-epoch`, ["Training"]);
  const pressed = { "aria-pressed": "false", "aria-label": "Play the training" };
  const button = element("button", { type: "button", class: "efcn-play", ...pressed });
  const icon = '<svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true"><path/></svg>';
  button.innerHTML = icon;
  button.querySelector("path").setAttribute("d", ICONS.play);
  epoch.box.prepend(button);
  const group = { class: "efcn-sliders", role: "group", "aria-label": "What is looked at" };
  const sliders = element("div", group, tw.box, epoch.box);
  return {
    choices,
    sliders,
    playing(on) {
      button.setAttribute("aria-pressed", String(on));
      button.querySelector("path").setAttribute("d", on ? ICONS.pause : ICONS.play);
    },
    show(packs, { state, pack, times, place }) {
      fill(study.input, packs.map((one, i) => [i, one.study.name]), packs.indexOf(pack));
      const all = pack.seeds.length > 1 ? [[models.MEAN, `mean of ${pack.seeds.length}`]] : [];
      fill(seed.input, [...all, ...pack.seeds.map((one) => [one.seed, String(one.seed)])], state.seed);
      const relax = pack.study.relax_times;
      tw.show(relax, relax.indexOf(state.tw), symbol("", ` = ${arithmetic.epochs(state.tw)}`));
      const moment = state.epoch === 0 ? "at the embedding" : arithmetic.after(state.epoch);
      epoch.show(times, place, [place < 0 ? "not measured yet" : moment]);
      button.disabled = times.length < 2;
    },
    listen(on) {
      study.input.addEventListener("change", () => on.study(Number(study.input.value)));
      seed.input.addEventListener("change", () => {
        on.seed(seed.input.value === models.MEAN ? models.MEAN : Number(seed.input.value));
      });
      tw.input.addEventListener("input", () => on.tw(tw.input.valueAsNumber));
      epoch.input.addEventListener("input", () => on.epoch(epoch.input.valueAsNumber));
      button.addEventListener("click", on.toggle);
      sliders.addEventListener("keydown", (event) => {
        if (event.key !== " " || event.target === button) return; // the button answers by itself
        event.preventDefault();
        on.toggle();
      });
      for (const type of ["keydown", "keyup"]) {
        sliders.addEventListener(type, (event) => event.stopPropagation()); // JupyterLab and books have shortcuts
      }
    },
  };
}

/** A slider over places in a list of epochs, its value in words above it, the epochs below. */
function slider(id, words) {
  const input = element("input", { type: "range", id, min: "0", step: "1" });
  const value = element("span", { class: "efcn-value" }); // no output: the slider itself says its value
  const ticks = element("div", { class: "efcn-ticks", "aria-hidden": "true" });
  const head = element("div", { class: "efcn-head" }, element("label", { for: id }, ...words), value);
  const box = element("div", { class: "efcn-slider" }, element("div", { class: "efcn-range" }, head, input, ticks));
  let key = "";
  return {
    box,
    input,
    show(list, place, text) {
      value.replaceChildren(...text);
      input.max = String(Math.max(0, list.length - 1));
      input.value = String(Math.max(0, place));
      input.disabled = list.length < 2;
      input.setAttribute("aria-valuetext", value.textContent);
      if (key !== list.join()) {
        ticks.replaceChildren(...list.map((epoch, i) => {
          const tick = element("span", {}, String(epoch));
          tick.style.setProperty("--at", list.length > 1 ? i / (list.length - 1) : 0);
          return tick;
        }));
        key = list.join();
      }
      const [end, every] = [list.length - 1, Math.ceil((26 * list.length) / (ticks.clientWidth || 320))];
      [...ticks.children].forEach((tick, i) => {
        const touches = Math.abs(i - place) < every || (i !== end && (i % every !== 0 || end - i < every));
        tick.classList.toggle("efcn-now", i === place);
        tick.classList.toggle("efcn-quiet", i !== place && touches);
      });
      input.style.setProperty("--part", list.length > 1 ? Math.max(0, place) / (list.length - 1) : 0);
    },
  };
}

function fill(input, entries, chosen) {
  const key = JSON.stringify(entries);
  if (input.dataset.key !== key) {
    input.replaceChildren(...entries.map(([value, words]) => element("option", { value }, words)));
    input.dataset.key = key;
    input.disabled = entries.length < 2;
  }
  input.value = String(chosen);
}

/** For how many epochs the CNN was trained, and the standard FCN, if there is one. */
function trained(study, fcn) {
  const [cnn, other] = [study.epochs, study.fcn_epochs ?? study.epochs].map(arithmetic.epochs);
  if (!fcn) return `CNN trained for ${cnn}`;
  return cnn === other ? `CNN and standard FCN trained for ${cnn}` : `CNN trained for ${cnn}, standard FCN for ${other}`;
}

/** What was run, on what. */
function caption({ study, seed, state }) {
  const [train, test] = [study.train_images, study.test_images].map((count) => count.toLocaleString("en"));
  const words = [
    `: ${study.title}`,
    state.seed === models.MEAN ? "lines: mean of the seeds, bands: minimum to maximum" : `seed ${state.seed}`,
    trained(study, seed.fcn),
    `eFCN and control for ${study.relax_epochs} after the embedding`,
    `${study.channels} channels`,
    `${train} training and ${test} test images`,
    `on ${seed.device}.`,
  ];
  return ["Study ", element("b", {}, study.name), words.join("; ")];
}
