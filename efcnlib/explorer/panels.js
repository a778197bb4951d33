// The views that are no curves: masked accuracies as bars, the pictures of weights, the table.

const panels = (() => {
  const { element, figure } = views;
  const { percent } = arithmetic;
  const BARS = [
    ["test_accuracy", "efcn", "all weights", "efcn-blue"],
    ["accuracy_local", "efcn", "off-local masked out", "efcn-blue efcn-pale"],
    ["accuracy_off_local", "efcn", "local masked out", "efcn-blue efcn-pale"],
    ["test_accuracy", "control", "control", "efcn-red"],
  ];

  /** Test accuracy of the eFCN, of its parts alone, and of its control. */
  function masks(host) {
    const { made, legend } = figure(host, "masks", "What which weights do", "test accuracy (%)");
    legend.remove();
    const bars = BARS.map(([, , words, css]) => {
      const [bar, value] = [element("i", { class: css }), element("b")];
      const row = element("div", { class: "efcn-bar" }, element("span", {}, words), element("div", { class: "efcn-track" }, bar), value);
      return { row, bar, value };
    });
    const note = element("p", { class: "efcn-note", "aria-hidden": "true" });
    const box = element("div", { role: "img", class: "efcn-bars" }, ...bars.map(({ row }) => row));
    made.append(box, note);
    return {
      draw(at) {
        const all = Object.values(at.seed.runs).flatMap((times) => Object.values(times)).flatMap((run) => run.test_accuracy);
        const most = Math.ceil(10 * Math.max(0.1, ...all.filter(Number.isFinite)) - 1e-9) / 10;
        const chance = 1 / at.study.classes;
        box.style.setProperty("--chance", `${(100 * chance) / most}%`);
        const values = BARS.map(([name, kind]) => at.value(name, kind));
        bars.forEach(({ row, bar, value }, i) => {
          row.hidden = !Number.isFinite(values[i]);
          bar.style.width = `${(100 * (values[i] || 0)) / most}%`;
          value.textContent = Number.isFinite(values[i]) ? (100 * values[i]).toFixed(1) : "";
        });
        note.textContent = `The bars' ends are at ${percent(most, 0)}; the dotted line is guessing, ${percent(chance, chance < 0.1 ? 1 : 0)}.`;
        const said = BARS.map(([, , words], i) => `${words} ${percent(values[i])}`).filter((_, i) => Number.isFinite(values[i]));
        box.setAttribute("aria-label", `Test accuracy: ${said.join(", ")}; guessing gives ${percent(chance)}.`);
      },
    };
  }

  /** The unflattened filters of two output pixels, and the block they belong to. */
  function pictures(host) {
    const boxes = {
      corner: ["Filter of the corner output", "filter", "input pixels, padding included"],
      centre: ["Filter of the central output", "filter", "input pixels, padding included"],
      heat: ["The whole block", "heat", ""],
    };
    const { made, legend } = figure(host, "pictures", "The weights", "ln |w| from the first input to the first output channel");
    legend.remove();
    const note = element("p", { class: "efcn-note efcn-which" });
    const grid = element("div", { class: "efcn-grid3" });
    const read = element("output", { class: "efcn-read", "aria-live": "off" });
    const bar = element("canvas", { "aria-hidden": "true" });
    const [low, high] = [element("span"), element("span")];
    const scale = element("div", { class: "efcn-scale" }, element("span", {}, "ln |w|"), low, bar, high);
    for (const [css, words] of [["efcn-zero", "zero so far"], ["efcn-dead", "dead: zero for ever"]]) {
      scale.append(element("span", { class: "efcn-key" }, element("i", { class: css }), words));
    }
    made.append(note, grid, scale, read);
    let shown = null;
    const canvas = {};
    for (const [name, [title, , axis]] of Object.entries(boxes)) {
      canvas[name] = element("canvas", { role: "img", class: `efcn-${name}` });
      const caption = element("figcaption", {}, title, element("small", {}, axis));
      grid.append(element("figure", { class: `efcn-picture efcn-of-${name}` }, canvas[name], caption));
      canvas[name].addEventListener("pointermove", (event) => tell(name, event));
      canvas[name].addEventListener("pointerleave", () => { read.textContent = ""; });
    }
    const words = grid.querySelector(".efcn-of-heat small");

    function tell(name, event) {
      const pixel = shown?.codes && canvases.under(canvas[name], event, shown.codes[name]);
      if (!pixel) return;
      const value = arithmetic.logarithm(shown.layout, pixel.code);
      const what = ["zero so far", "dead: zero for ever", "not a number"][pixel.code];
      const where = name === "heat" ? "" : `input pixel (${pixel.row}, ${pixel.column}): `;
      read.textContent = value === null ? `${where}${what}` : `${where}ln |w| ≈ ${value.toFixed(1).replace("-", "−")}, |w| ≈ ${Math.exp(value).toPrecision(1)}`;
    }

    function sizes(layout) {
      return { corner: layout.filter, centre: layout.filter, heat: layout.heat };
    }

    return {
      /** `bytes` are the seed's, undefined as long as they are not unpacked, null where they cannot be. */
      draw(at, bytes) {
        const layout = at.pack.pictures;
        const moment = at.picture;
        made.classList.toggle("efcn-empty", !moment || !bytes);
        let codes = null;
        if (moment && bytes) {
          const ranges = arithmetic.whereIs(layout, at.seed.pictures.times, at.study.relax_times, at.state.tw, moment.place);
          codes = Object.fromEntries(Object.entries(ranges).map(([name, [from, to]]) => [name, bytes.subarray(from, to)]));
        }
        shown = { layout, codes };
        for (const [name, size] of Object.entries(sizes(layout))) {
          canvases.paint(canvas[name], layout, size, codes?.[name]);
          canvas[name].setAttribute("aria-label", describe(name, boxes[name][0], at, layout, codes));
        }
        const steps = Uint8Array.from({ length: layout.levels }, (_, i) => layout.first + i);
        canvases.paint(bar, layout, [1, layout.levels], steps);
        low.textContent = `≤ ${layout.low.toFixed(1).replace("-", "−")}`;
        high.textContent = layout.high.toFixed(1).replace("-", "−");
        words.textContent = `${layout.rows[0]} rows of output pixels, down; ${layout.rows[1]} rows of input pixels, across; root mean squares of cells`;
        note.textContent = which(at, bytes);
      },
    };
  }

  /** Which moment the pictures belong to. */
  function which(at, bytes) {
    if (bytes === null) return "This browser is too old to unpack the pictures: it lacks DecompressionStream.";
    if (!at.picture) {
      const other = at.pack.seeds.find((seed) => seed.pictures);
      if (at.seed.pictures || !other) return "No picture of this run.";
      return `No pictures of seed ${at.state.seed}, to keep the page small: choose seed ${other.seed}.`;
    }
    const nearest = at.picture.epoch === at.state.epoch ? "" : ", the nearest that was kept";
    return `Seed ${at.state.seed}, tw = ${at.state.tw}, ${arithmetic.after(at.picture.epoch)}${nearest}.`;
  }

  function describe(name, title, at, layout, codes) {
    if (!codes) return `${title}: no picture.`;
    let [zero, moved, sum] = [0, 0, 0];
    for (const code of codes[name]) {
      if (code === 0) zero++;
      if (code < layout.first) continue;
      moved++;
      sum += arithmetic.logarithm(layout, code);
    }
    const mean = moved ? `, ${moved} are not, of mean ln |w| ${(sum / moved).toFixed(1).replace("-", "−")}` : "";
    return `${title}, ${arithmetic.after(at.picture.epoch)}: ${zero} of ${codes[name].length} ${name === "heat" ? "cells" : "weights"} are zero so far${mean}.`;
  }

  const COLUMNS = [
    ["epochs", (run, i) => run.epoch[i]],
    ["eFCN", (run, i) => percent(run.test_accuracy[i])],
    ["control", (run, i, control) => percent(control?.test_accuracy[control.epoch.indexOf(run.epoch[i])])],
    ["off-local masked out", (run, i) => percent(run.accuracy_local?.[i])],
    ["local masked out", (run, i) => percent(run.accuracy_off_local?.[i])],
    ["δ", (run, i) => percent(run.delta?.[i], 2)],
    ["from weight sharing", (run, i) => percent(run.sharing?.[i], 2)],
    ["train loss (nats)", (run, i) => (Number.isFinite(run.train_loss?.[i]) ? run.train_loss[i].toPrecision(3) : "not a number")],
  ];

  /** All numbers of the chosen run. */
  function table(host) {
    const caption = element("caption");
    const body = element("tbody");
    const head = element("tr", {}, ...COLUMNS.map(([title]) => element("th", { scope: "col" }, title)));
    const made = element("table", {}, caption, element("thead", {}, head), body);
    const scroll = element("div", { class: "efcn-scroll", tabindex: "0", role: "region", "aria-label": "Numbers of the chosen run" }, made);
    host.append(element("details", { class: "efcn-table" }, element("summary", {}, "The chosen run in numbers"), scroll));
    let key = "";
    return {
      draw(at) {
        const now = JSON.stringify([at.state.study, at.state.seed, at.state.tw, at.version]);
        const [run, control] = [at.run("efcn"), at.run("control")];
        if (now !== key) {
          caption.textContent = `Study ${at.state.study}, seed ${at.state.seed}, tw = ${at.state.tw}: test accuracies and distances`;
          body.replaceChildren(...at.times.map((_, i) => element("tr", {}, ...COLUMNS.map(([, write], j) => element(j ? "td" : "th", j ? {} : { scope: "row" }, String(write(run, i, control)))))));
        }
        key = now;
        [...body.rows].forEach((row, i) => (i === at.place ? row.setAttribute("aria-current", "true") : row.removeAttribute("aria-current")));
      },
    };
  }

  return { masks, pictures, table };
})();
