// The linked views. Each is {draw(at)}: it follows the model, and says what is seen in its aria-label.

const views = (() => {
  const { STYLE, LAYERS, label, best, last } = models;
  const { percent } = arithmetic;

  /** An element with attributes and children; children are nodes, or texts, which stay texts. */
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  /** A figure in `host` with its title, and a place for a legend. */
  function figure(host, name, title, unit) {
    const legend = element("ul", { class: "efcn-legend" });
    const head = element("h4", {}, title, element("small", {}, unit));
    const made = element("figure", { class: `efcn-view efcn-${name}` }, head, legend);
    host.append(made);
    return { made, head, legend };
  }

  function swatch(shape, css) {
    const line = shape === "cross" ? "" : '<path class="efcn-line" d="M1 7H25"/>';
    return `<svg width="26" height="14" aria-hidden="true" class="${css}">${line}<g class="efcn-marks">${charts.SHAPES[shape]?.(13, 7) ?? ""}</g></svg>`;
  }

  function explain(legend, entries) {
    const key = JSON.stringify(entries);
    if (legend.dataset.key === key) return;
    legend.dataset.key = key;
    legend.replaceChildren(...entries.map(([shape, css, words]) => {
      const item = element("li", {});
      item.innerHTML = swatch(shape, css);
      item.append(words);
      return item;
    }));
  }

  /** Whether the frame of a chart must be drawn again: its key or the width of its place has changed. */
  function stale(chart, host, ...key) {
    const now = JSON.stringify([host.clientWidth, ...key]);
    const changed = chart.key !== now || chart.drawnFor !== key[0];
    chart.key = now;
    return changed;
  }

  /** Let a pointer, pressed or dragged over a chart, choose among what `times` gives. */
  function pickable(chart, times, choose) {
    let held = false;
    const pick = (event) => times().length && choose(chart.pick(event, times()));
    chart.svg.addEventListener("pointerdown", (event) => { held = true; pick(event); });
    chart.svg.addEventListener("pointermove", (event) => held && (event.buttons || event.pointerType === "touch") && pick(event));
    for (const end of ["pointerup", "pointerleave", "pointercancel"]) chart.svg.addEventListener(end, () => { held = false; });
    chart.svg.classList.add("efcn-pickable");
  }

  /** Figure 3: the CNN's curve, and above each relax time the measurements of its eFCN; the chosen run stands out. */
  function dynamics(host, select) {
    const { made, legend } = figure(host, "dynamics", "The way there", "test accuracy (%)");
    const chart = charts.chart(made, 250);
    let relax = [];
    pickable(chart, () => relax, (tw) => select({ tw }));
    const crosses = (at, tw) => {
      const run = at.run("efcn", tw);
      const longest = Math.max(1, at.study.relax_epochs);
      return (run?.epoch ?? []).map((epoch, i) => {
        const part = arithmetic.epochScale(longest)(epoch);
        const colours = [0.88 * part, 0.25 + 0.75 * part].map((place) => COLOURS.viridis[Math.round(255 * Math.min(1, place))]);
        return `<g class="efcn-time" style="--light:${colours[0]};--dark:${colours[1]}">${charts.marks(chart, [tw], [run.test_accuracy[i]], "cross", "")}</g>`;
      }).join("");
    };
    return {
      draw(at) {
        const { cnn, fcn } = at.seed;
        relax = at.study.relax_times;
        if (stale(chart, made, at.study.name, at.seed.seed, at.version)) {
          const runs = relax.map((tw) => at.run("efcn", tw)).filter(Boolean);
          const [low, high] = arithmetic.range([cnn, ...runs].flatMap((run) => run.test_accuracy).concat(best(fcn)), 0.05) ?? [0, 1];
          const x = charts.epochAxis(Math.max(at.study.epochs, last(relax)), "epochs of the CNN; relax time tw", made.clientWidth);
          const y = charts.percentAxis(Math.max(0, low - 0.02), Math.min(1, high + 0.02));
          chart.frame(x, y, () => {
            const level = Number.isFinite(best(fcn)) ? `<path class="efcn-line efcn-brown efcn-dashed" d="M${chart.left} ${chart.y(best(fcn))}H${chart.right()}"/>` : "";
            const all = `<g class="efcn-faint">${relax.map((tw) => crosses(at, tw)).join("")}</g>`;
            return level + charts.line(chart, cnn.epoch, cnn.test_accuracy, "efcn-red") + charts.marks(chart, cnn.epoch, cnn.test_accuracy, "dot", "efcn-red efcn-small") + all;
          });
          explain(legend, [["dot", "efcn-red", "CNN"], ["cross", "efcn-blue", "eFCNs, dark to light: epochs after embedding"], ...(level(fcn))]);
        }
        const { tw } = at.state;
        const now = charts.here(chart, tw, at.value("test_accuracy"), "efcn-blue");
        const run = at.run("efcn");
        const course = run ? ` The eFCN of tw = ${tw} goes from ${percent(run.test_accuracy[0])} to ${percent(last(run.test_accuracy))}.` : "";
        chart.draw(
          charts.cursor(chart, tw) + crosses(at, tw) + now,
          `Test accuracy of the CNN over ${last(cnn.epoch)} epochs, from ${percent(cnn.test_accuracy[0])} to ${percent(last(cnn.test_accuracy))}, with the eFCNs of ${relax.length} relax times above it.${course}`,
        );
      },
    };
  }

  function level(fcn) {
    return fcn ? [["none", "efcn-brown efcn-dashed", "standard FCN, best"]] : [];
  }

  /** The chosen run and its controls against epochs after the embedding. */
  function course(host, select) {
    const { made, legend } = figure(host, "course", "From the embedding on", "test accuracy (%)");
    const chart = charts.chart(made, 250);
    let times = [];
    pickable(chart, () => times, (epoch) => select({ epoch }));
    return {
      draw(at) {
        times = at.times;
        const runs = at.kinds.map((kind) => [kind, at.run(kind)]).filter(([, run]) => run);
        if (stale(chart, made, at.study.name, at.seed.seed, at.state.tw, at.version)) {
          const top = best(at.seed.cnn);
          const [low, high] = arithmetic.range(runs.flatMap(([, run]) => run.test_accuracy).concat(top), 0.06) ?? [0, 1];
          const x = charts.epochAxis(at.study.relax_epochs, "epochs after the embedding", made.clientWidth);
          const y = charts.percentAxis(Math.max(0, low - 0.01), Math.min(1, high + 0.01));
          chart.frame(x, y, () => `<path class="efcn-line efcn-red efcn-thin" d="M${chart.left} ${chart.y(top)}H${chart.right()}"/>`);
          explain(legend, [...runs.map(([kind]) => [STYLE[kind].shape, STYLE[kind].css, label(kind, at.study)]), ["none", "efcn-red efcn-thin", "CNN, best"]]);
        }
        const curves = [...runs].reverse().map(([kind, run]) => {
          const { css, shape } = STYLE[kind];
          return charts.line(chart, run.epoch, run.test_accuracy, css) + charts.marks(chart, run.epoch, run.test_accuracy, shape, css);
        });
        const now = at.place < 0 ? "" : charts.cursor(chart, at.state.epoch);
        const said = runs.map(([kind]) => `${label(kind, at.study)} ${percent(at.value("test_accuracy", kind))}`).join(", ");
        chart.draw(
          now + curves.join("") + charts.here(chart, at.state.epoch, at.value("test_accuracy"), "efcn-blue"),
          `Test accuracy against epochs after the embedding at tw = ${at.state.tw}; ${at.place < 0 ? "nothing measured" : `${arithmetic.after(at.state.epoch)}: ${said}`}.`,
        );
      },
    };
  }

  /** Delta, or the distance to weight sharing, by layer: what has been so far, and faintly what follows. */
  function layers(host, select) {
    const { made, head, legend } = figure(host, "layers", "How far from the CNNs", "");
    const choice = element("select", { "aria-label": "Which distance" });
    choice.append(element("option", { value: "delta" }, "δ by layer (%)"), element("option", { value: "sharing" }, "distance to weight sharing (%)"));
    head.querySelector("small").append(choice);
    const chart = charts.chart(made, 230);
    let times = [];
    let shown = null;
    pickable(chart, () => times, (epoch) => select({ epoch }));
    const view = {
      draw(at) {
        shown = at;
        times = at.times;
        const name = choice.value;
        const run = at.run("efcn");
        const count = run?.[`${name}_by_layer`]?.[0]?.length ?? 0;
        if (stale(chart, made, at.study.name, at.seed.seed, name, count, at.version)) {
          const every = at.study.relax_times.map((tw) => at.run("efcn", tw)).filter(Boolean);
          const top = arithmetic.range(every.flatMap((one) => [one[name], one[`${name}_by_layer`]].flat(2)).concat(0), 0.001)?.[1] ?? 1;
          const x = charts.epochAxis(at.study.relax_epochs, "epochs after the embedding", made.clientWidth);
          chart.frame(x, charts.percentAxis(0, 1.04 * top));
          const entries = LAYERS.slice(0, count).map(({ shape, css }, i) => [shape, css, `layer ${i + 1}`]);
          explain(legend, [...entries, ["none", "efcn-ink", "all"]]);
        }
        if (!run) return chart.draw("", "No distances measured yet.");
        const series = [...Array(count).keys()].map((i) => [LAYERS[i % LAYERS.length], run[`${name}_by_layer`].map((row) => row[i])]);
        series.push([{ shape: null, css: "efcn-ink" }, run[name]]);
        const curves = series.map(([{ shape, css }, ys]) => {
          const until = ys.slice(0, at.place + 1);
          const solid = charts.line(chart, run.epoch, until, css) + (shape ? charts.marks(chart, run.epoch, until, shape, css) : "");
          return `<g class="efcn-faint">${charts.line(chart, run.epoch, ys, css)}</g>${solid}`;
        });
        const values = series.map(([, ys], i) => `${i < count ? `layer ${i + 1}` : "all layers"} ${percent(ys[at.place], 2)}`);
        const what = name === "delta" ? "δ" : "Distance to weight sharing";
        chart.draw(charts.cursor(chart, at.state.epoch) + curves.join(""), `${what} of tw = ${at.state.tw}, ${arithmetic.after(at.state.epoch)}: ${values.join(", ")}.`);
      },
    };
    choice.addEventListener("change", () => shown && view.draw(shown));
    return view;
  }

  return { element, figure, explain, stale, dynamics, course, layers };
})();
