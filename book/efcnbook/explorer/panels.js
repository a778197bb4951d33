// The views that are no curves: masked accuracies as bars, the pictures of weights, the table.

const panels = (() => {
  const { element, figure, typeset } = views;
  const { percent } = arithmetic;
  const TITLES = {
    corner: "Filter of the corner output",
    centre: "Filter of the central output",
    heat: "The whole block",
  };
  const BARS = [
    ["test_accuracy", "efcn", "eFCN, all weights", "efcn-blue"],
    ["accuracy_local", "efcn", "off-local masked out", "efcn-blue efcn-pale"],
    ["accuracy_off_local", "efcn", "local masked out", "efcn-blue efcn-pale"],
    ["test_accuracy", "control", "control", "efcn-red"],
    ["test_accuracy", "lowered", "control, lower rate", "efcn-orange"],
    ["test_accuracy", "elcn", "eLCN", "efcn-green"],
  ];

  /** Test accuracy of the eFCN, of its parts alone, and of its controls. */
  function masks(host) {
    const { made, legend } = figure(host, "masks", "Which weights matter", "test accuracy (%)");
    legend.remove();
    const bars = BARS.map(([, , words, css]) => {
      const [bar, value] = [element("i", { class: css }), element("b")];
      const track = element("div", { class: "efcn-track" }, bar);
      return { row: element("div", { class: "efcn-bar" }, element("span", {}, words), track, value), bar, value };
    });
    const note = element("p", { class: "efcn-note", "aria-hidden": "true" });
    const box = element("div", { role: "img", class: "efcn-bars" }, ...bars.map(({ row }) => row));
    made.append(box, note);

    /** The accuracy at a bar's full length: the next ten per cent above all of the seed's. */
    function longest(seed) {
      const runs = Object.values(seed.runs).flatMap((times) => Object.values(times));
      const every = runs.flatMap((run) => run.test_accuracy).filter(Number.isFinite);
      return Math.ceil(10 * Math.max(0.1, ...every) - 1e-9) / 10;
    }

    return {
      draw(at) {
        const most = longest(at.seed);
        const chance = 1 / at.study.classes;
        box.style.setProperty("--chance", `${(100 * chance) / most}%`);
        const values = BARS.map(([name, kind]) => at.value(name, kind));
        bars.forEach(({ row, bar, value }, i) => {
          row.hidden = !Number.isFinite(values[i]);
          bar.style.width = `${(100 * (values[i] || 0)) / most}%`;
          value.textContent = row.hidden ? "" : (100 * values[i]).toFixed(1);
        });
        note.textContent = `Full length is ${percent(most, 0)}. Dotted: guessing, ${percent(chance, 0)}.`;
        const known = BARS.map(([, , words], i) => [words, values[i]]).filter(([, value]) => Number.isFinite(value));
        const said = known.map(([words, value]) => `${words} ${percent(value)}`).join(", ");
        box.setAttribute("aria-label", `Test accuracy: ${said}; guessing gives ${percent(chance, 0)}.`);
      },
    };
  }

  /** The unflattened filters of two output pixels, and the block they belong to. */
  function pictures(host) {
    const unit = "ln |w| from the first input to the first output channel";
    const { made, legend } = figure(host, "pictures", "The weights of the first layer", unit);
    legend.remove();
    const note = element("p", { class: "efcn-note" });
    const grid = element("div", { class: "efcn-grid3" });
    const read = element("output", { class: "efcn-read", "aria-live": "off" });
    const { scale, measure } = scaleBar();
    made.append(note, grid, scale, read);
    const [canvas, small] = [{}, {}];
    let shown = null;
    for (const [name, title] of Object.entries(TITLES)) {
      canvas[name] = element("canvas", { role: "img", class: `efcn-${name}` });
      small[name] = element("small");
      const caption = element("figcaption", {}, title, small[name]);
      grid.append(element("figure", { class: `efcn-picture efcn-of-${name}` }, canvas[name], caption));
      canvas[name].addEventListener("pointermove", (event) => tell(name, event));
      canvas[name].addEventListener("pointerleave", () => { read.textContent = ""; });
    }

    function tell(name, event) {
      const pixel = shown?.codes && canvases.under(canvas[name], event, shown.codes[name]);
      read.textContent = pixel ? words(shown.layout, name, pixel) : "";
    }

    return {
      /** `bytes` are the seed's, undefined as long as they are not unpacked, null where they cannot be. */
      draw(at, bytes) {
        const layout = at.pack.pictures;
        let codes = null;
        if (at.picture && bytes) {
          const { tw } = at.state;
          const places = arithmetic.whereIs(layout, at.seed.pictures.times, at.study.relax_times, tw, at.picture.place);
          codes = Object.fromEntries(Object.entries(places).map(([name, ends]) => [name, bytes.subarray(...ends)]));
        }
        shown = { layout, codes };
        const sizes = { corner: layout.filter, centre: layout.filter, heat: layout.heat };
        for (const [name, size] of Object.entries(sizes)) {
          canvases.paint(canvas[name], layout, size, codes?.[name]);
          canvas[name].setAttribute("aria-label", describe(name, at, layout, codes));
          small[name].textContent = `${layout.filter.join(" × ")} input pixels, padding included`;
        }
        small.heat.textContent =
          `down: ${layout.rows[0]} rows of output pixels; across: ${layout.rows[1]} rows of input pixels;` +
          " root mean square weights of cells";
        measure(layout);
        note.replaceChildren(...typeset(which(at, bytes)));
      },
    };
  }

  /** The scale of the colours, and what stands for no number. */
  function scaleBar() {
    const bar = element("canvas", { "aria-hidden": "true" });
    const [low, high] = [element("span"), element("span")];
    const scale = element("div", { class: "efcn-scale" }, element("span", {}, "ln |w|"), low, bar, high);
    for (const [css, meaning] of [["efcn-zero", "zero so far"], ["efcn-dead", "dead: always zero"]]) {
      scale.append(element("span", { class: "efcn-key" }, element("i", { class: css }), meaning));
    }
    const measure = (layout) => {
      const steps = Uint8Array.from({ length: layout.levels }, (_, i) => layout.first + i);
      canvases.paint(bar, layout, [1, layout.levels], steps);
      low.textContent = `≤ ${signed(layout.low)}`;
      high.textContent = signed(layout.high);
    };
    return { scale, measure };
  }

  const signed = (number) => number.toFixed(1).replace("-", "−");

  /** The value under the pointer. */
  function words(layout, name, { row, column, code }) {
    const where = name === "heat" ? "" : `input pixel ${row}, ${column}: `;
    const value = arithmetic.logarithm(layout, code);
    if (value === null) return where + ["zero so far", "dead: always zero", "not a number"][code];
    return `${where}ln |w| ≈ ${signed(value)}, |w| ≈ ${Number(Math.exp(value).toPrecision(1))}`;
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
    return `Seed ${at.seed.pictured ?? at.state.seed}, tw = ${at.state.tw}, ${arithmetic.after(at.picture.epoch)}${nearest}.`;
  }

  function describe(name, at, layout, codes) {
    if (!codes) return `${TITLES[name]}: no picture.`;
    let [zero, moved, sum] = [0, 0, 0];
    for (const code of codes[name]) {
      zero += code === 0;
      if (code < layout.first) continue;
      moved += 1;
      sum += arithmetic.logarithm(layout, code);
    }
    const what = name === "heat" ? "cells" : "weights";
    const mean = moved ? `; ${moved} are not, their mean ln |w| is ${signed(sum / moved)}` : "";
    const count = `${zero} of ${codes[name].length} ${what} are zero so far`;
    return `${TITLES[name]}, ${arithmetic.after(at.picture.epoch)}: ${count}${mean}.`;
  }

  const COLUMNS = [
    ["epochs after", (run, i) => String(run.epoch[i])],
    ["eFCN", (run, i) => percent(run.test_accuracy[i])],
    ["control", (run, i, control) => percent(control?.test_accuracy[control.epoch.indexOf(run.epoch[i])])],
    ["off-local masked out", (run, i) => percent(run.accuracy_local?.[i])],
    ["local masked out", (run, i) => percent(run.accuracy_off_local?.[i])],
    ["δ", (run, i) => percent(run.delta?.[i], 2)],
    ["from weight sharing", (run, i) => percent(run.sharing?.[i], 2)],
    ["train loss (nats)", (run, i) => run.train_loss?.[i]?.toPrecision(3) ?? "not a number"],
  ];

  /** All numbers of the chosen run. */
  function table(host) {
    const caption = element("caption");
    const body = element("tbody");
    const head = element("tr", {}, ...COLUMNS.map(([title]) => element("th", { scope: "col" }, title)));
    const made = element("table", {}, caption, element("thead", {}, head), body);
    const about = { class: "efcn-scroll", tabindex: "0", role: "region", "aria-label": "Numbers of the chosen run" };
    const summary = element("summary", {}, "The chosen run in numbers");
    host.append(element("details", { class: "efcn-table" }, summary, element("div", about, made)));
    let key = "";

    function row(at, i) {
      const [first, ...others] = COLUMNS.map(([, write]) => write(at.run("efcn"), i, at.run("control")));
      const cells = others.map((text) => element("td", {}, text));
      return element("tr", {}, element("th", { scope: "row" }, first), ...cells);
    }

    return {
      draw(at) {
        const { study, seed, tw } = at.state;
        const now = JSON.stringify([study, seed, tw, at.version]);
        if (now !== key) {
          caption.textContent = `Study ${study}, ${seed === models.MEAN ? "mean of the seeds" : `seed ${seed}`}, tw = ${tw}: test accuracies and distances`;
          body.replaceChildren(...at.times.map((_, i) => row(at, i)));
        }
        key = now;
        for (const [i, line] of [...body.rows].entries()) {
          if (i === at.place) line.setAttribute("aria-current", "true");
          else line.removeAttribute("aria-current");
        }
      },
    };
  }

  return { masks, pictures, table };
})();
