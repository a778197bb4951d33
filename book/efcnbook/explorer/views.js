// The linked curves. Each view is {draw(at)}: it follows the model, and says what is seen in its aria-label.

const views = (() => {
  const { STYLE, LAYERS, label, best, last } = models;
  const { percent, after } = arithmetic;
  const TW = 't<tspan dy="3" font-size="9">w</tspan>'; // the paper's symbol, in SVG
  const MARKED = 40; // measurements of a CNN of which each gets a dot; more are a line
  const AFTER = "epochs after the embedding";

  /** An element with attributes and children; children are nodes, or texts, which stay texts. */
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  /** The relax time's symbol, before and after other words. */
  function symbol(before = "", behind = "") {
    return [before, element("i", {}, "t"), element("sub", {}, "w"), behind];
  }

  /** A text as nodes, the relax time as the paper writes it. */
  function typeset(text) {
    return text.split(/\btw\b/).flatMap((part, i) => (i ? symbol("", part) : [part]));
  }

  /** A figure in `host` with its title, and a place for a legend. */
  function figure(host, name, title, unit) {
    const legend = element("ul", { class: "efcn-legend" });
    const head = element("h3", {}, title, element("small", {}, unit));
    const made = element("figure", { class: `efcn-view efcn-${name}` }, head, legend);
    host.append(made);
    return { made, head, legend };
  }

  function swatch(shape, css) {
    const line = shape === "cross" ? "" : '<path class="efcn-line" d="M1 7H25"/>';
    const mark = `<g class="efcn-marks">${charts.SHAPES[shape]?.(13, 7) ?? ""}</g>`;
    return `<svg width="26" height="14" aria-hidden="true" class="${css}">${line}${mark}</svg>`;
  }

  /** Fill a legend with [shape, css, words] or [svg, null, words]. */
  function explain(legend, entries) {
    legend.replaceChildren(...entries.map(([shape, css, words]) => {
      const item = element("li");
      item.innerHTML = css === null ? shape : swatch(shape, css);
      item.append(words);
      return item;
    }));
  }

  /** Whether the frame of a chart must be drawn again: its key or the width of its place has changed. */
  function stale(chart, host, ...key) {
    const now = JSON.stringify([host.clientWidth, ...key]);
    const changed = chart.key !== now;
    chart.key = now;
    return changed;
  }

  /** Let a pointer, pressed or dragged over a chart, choose among what `times` gives. */
  function pickable(chart, times, choose) {
    let held = false;
    const pick = (event) => held && times().length && choose(chart.pick(event, times()));
    chart.svg.addEventListener("pointerdown", (event) => {
      held = true;
      pick(event);
    });
    chart.svg.addEventListener("pointermove", pick);
    for (const end of ["pointerup", "pointerleave", "pointercancel"]) {
      chart.svg.addEventListener(end, () => { held = false; });
    }
    chart.svg.classList.add("efcn-pickable");
  }

  /** A colour of time, 0 to 1, by day and by night: neither end fades into the paper. */
  function time(part) {
    return `--light:${canvases.viridis(0.88 * part)};--dark:${canvases.viridis(0.25 + 0.75 * part)}`;
  }

  function cross(x, y, part) {
    return `<path class="efcn-time" style="${time(part)}" d="M${x - 3} ${y - 3}l6 6m0-6l-6 6"/>`;
  }

  /** Figure 3: the CNN's curve, and above each relax time the measurements of its eFCN; the chosen run stands out. */
  function dynamics(host, select) {
    const { made, legend } = figure(host, "dynamics", "The CNN and its eFCNs", "test accuracy (%)");
    const chart = charts.chart(made, 250);
    let relax = [];
    pickable(chart, () => relax, (tw) => select({ tw }));

    function crosses(at, tw) {
      const run = at.run("efcn", tw);
      const scale = arithmetic.epochScale(Math.max(1, at.study.relax_epochs));
      return (run?.epoch ?? []).map((epoch, i) => {
        const accuracy = run.test_accuracy[i];
        return Number.isFinite(accuracy) ? cross(chart.x(tw), chart.y(accuracy), Math.min(1, scale(epoch))) : "";
      }).join("");
    }

    function frame(at) {
      const { cnn, fcn } = at.seed;
      const runs = relax.map((tw) => at.run("efcn", tw)).filter(Boolean);
      const every = [cnn, ...runs].flatMap((run) => run.test_accuracy).concat(best(fcn));
      const [low, high] = arithmetic.range(every, 0.05) ?? [0, 1];
      const longest = Math.max(at.study.epochs, last(relax));
      const x = charts.epochAxis(longest, `epochs of the CNN; relax time ${TW}`, made.clientWidth);
      chart.frame(x, charts.percentAxis(Math.max(0, low - 0.02), Math.min(1, high + 0.02)), () => {
        const course = charts.line(chart, cnn.epoch, cnn.test_accuracy, "efcn-red");
        const dots = charts.marks(chart, cnn.epoch, cnn.test_accuracy, "dot", "efcn-red efcn-small");
        const points = cnn.epoch.length > MARKED ? "" : dots;
        const others = `<g class="efcn-faint">${relax.map((tw) => crosses(at, tw)).join("")}</g>`;
        const band = charts.band(chart, cnn.epoch, cnn.low, cnn.high, "efcn-red");
        return charts.level(chart, best(fcn), "efcn-brown efcn-dashed") + band + course + points + others;
      });
      const marks = [0, 0.5, 1].map((part, i) => cross(6 + 10 * i, 7, part)).join("");
      const key = `<svg width="32" height="14" aria-hidden="true">${marks}</svg>`;
      const level = fcn ? [["none", "efcn-brown efcn-dashed", "standard FCN, best"]] : [];
      explain(legend, [["dot", "efcn-red", "CNN"], ...level, [key, null, "eFCNs, from first to last epoch"]]);
    }

    return {
      draw(at) {
        const { cnn } = at.seed;
        const { tw } = at.state;
        relax = at.study.relax_times;
        if (stale(chart, made, at.study.name, at.seed.seed, at.version)) frame(at);
        const accuracies = at.run("efcn")?.test_accuracy ?? [];
        const ends = accuracies.length ? ` The one of tw = ${tw} goes ${course(accuracies)}.` : "";
        chart.draw(
          charts.cursor(chart, tw) + crosses(at, tw) + charts.here(chart, tw, at.value("test_accuracy"), "efcn-blue"),
          `Test accuracy of the CNN over ${last(cnn.epoch)} epochs, ${course(cnn.test_accuracy)}, and of eFCNs from` +
            ` ${relax.length} relax times.${ends}`,
        );
      },
    };
  }

  function course(accuracies) {
    return `from ${percent(accuracies[0])} to ${percent(last(accuracies))}`;
  }

  /** The chosen run and its controls against epochs after the embedding. */
  function afterwards(host, select) {
    const { made, legend } = figure(host, "course", "From the embedding on", "test accuracy (%)");
    const chart = charts.chart(made, 250);
    let times = [];
    pickable(chart, () => times, (epoch) => select({ epoch }));

    function frame(at, runs) {
      const top = best(at.seed.cnn);
      const every = Object.values(at.seed.runs).flatMap((times) => Object.values(times)); // one scale for all tw
      const [low, high] = arithmetic.range(every.flatMap((run) => run.test_accuracy).concat(top), 0.06) ?? [0, 1];
      const x = charts.epochAxis(at.study.relax_epochs, AFTER, made.clientWidth);
      const y = charts.percentAxis(Math.max(0, low - 0.01), Math.min(1, high + 0.01));
      chart.frame(x, y, () => charts.level(chart, top, "efcn-red efcn-thin"));
      const entries = runs.map(([kind]) => [STYLE[kind].shape, STYLE[kind].css, label(kind, at.study)]);
      explain(legend, [...entries, ["none", "efcn-red efcn-thin", "CNN, best"]]);
    }

    return {
      draw(at) {
        times = at.times;
        const runs = at.kinds.map((kind) => [kind, at.run(kind)]).filter(([, run]) => run);
        if (stale(chart, made, at.study.name, at.seed.seed, at.state.tw, at.version)) frame(at, runs);
        const curves = [...runs].reverse().map(([kind, { epoch, test_accuracy: accuracies, low, high }]) => {
          const { css, shape } = STYLE[kind];
          const band = charts.band(chart, epoch, low, high, css.split(" ")[0]);
          return band + charts.line(chart, epoch, accuracies, css) + charts.marks(chart, epoch, accuracies, shape, css);
        });
        const there = at.place < 0 ? "" : charts.cursor(chart, at.state.epoch);
        const here = charts.here(chart, at.state.epoch, at.value("test_accuracy"), "efcn-blue");
        const known = runs.filter(([kind]) => Number.isFinite(at.value("test_accuracy", kind)));
        const said = known.map(([kind]) => `${label(kind, at.study)} ${percent(at.value("test_accuracy", kind))}`);
        const now = at.place < 0 ? "nothing measured yet" : `${after(at.state.epoch)}: ${said.join(", ")}`;
        const words = `Test accuracy from the embedding at tw = ${at.state.tw} on; ${now}.`;
        chart.draw(there + curves.join("") + here, words);
      },
    };
  }

  /** Delta, or the distance to weight sharing, by layer: what has been so far, and faintly what follows. */
  function layers(host, select) {
    const { made, head, legend } = figure(host, "layers", "How far from the CNNs", "");
    const choice = element("select", { "aria-label": "Which distance" });
    choice.append(element("option", { value: "delta" }, "δ by layer (%)"));
    choice.append(element("option", { value: "sharing" }, "from weight sharing, by layer (%)"));
    head.querySelector("small").replaceWith(choice);
    const chart = charts.chart(made, 230);
    let times = [];
    let shown = null;
    pickable(chart, () => times, (epoch) => select({ epoch }));

    function frame(at, name, count) {
      const every = at.study.relax_times.map((tw) => at.run("efcn", tw)).filter(Boolean);
      const values = every.flatMap((run) => [run[name], run[`${name}_by_layer`]].flat(2));
      const top = arithmetic.range(values.concat(0), 0.001)?.[1] ?? 1; // over all runs, so that they can be compared
      const x = charts.epochAxis(at.study.relax_epochs, AFTER, made.clientWidth);
      chart.frame(x, charts.percentAxis(0, 1.04 * top));
      const entries = [...Array(count).keys()].map((i) => {
        const { shape, css } = LAYERS[i % LAYERS.length];
        return [shape, css, `layer ${i + 1}`];
      });
      explain(legend, [...entries, ["none", "efcn-ink", "all"]]);
    }

    function curve(run, ys, place, { shape, css }) {
      const until = ys.slice(0, place + 1);
      const whole = `<g class="efcn-faint">${charts.line(chart, run.epoch, ys, css)}</g>`;
      const marks = shape ? charts.marks(chart, run.epoch, until, shape, css) : "";
      return whole + charts.line(chart, run.epoch, until, css) + marks;
    }

    const view = {
      draw(at) {
        [shown, times] = [at, at.times];
        const name = choice.value;
        const run = at.run("efcn");
        const rows = run?.[`${name}_by_layer`] ?? [];
        const count = rows[0]?.length ?? 0;
        if (stale(chart, made, at.study.name, at.seed.seed, name, count, at.version)) frame(at, name, count);
        if (!rows.length) return chart.draw("", "No distances measured yet.");
        const series = [...Array(count).keys()].map((i) => rows.map((row) => row[i]));
        const drawn = series.map((ys, i) => curve(run, ys, at.place, LAYERS[i % LAYERS.length]));
        const all = curve(run, run[name], at.place, { shape: null, css: "efcn-ink" });
        const values = series.map((ys, i) => `layer ${i + 1} ${percent(ys[at.place], 2)}`);
        const what = name === "delta" ? "δ" : "Distance to weight sharing";
        const said = [...values, `all layers ${percent(run[name][at.place], 2)}`].join(", ");
        chart.draw(
          charts.cursor(chart, at.state.epoch) + drawn.join("") + all,
          `${what} of the eFCN of tw = ${at.state.tw} ${after(at.state.epoch)}: ${said}.`,
        );
      },
    };
    choice.addEventListener("change", () => shown && view.draw(shown));
    return view;
  }

  return { element, symbol, typeset, figure, explain, stale, time, dynamics, course: afterwards, layers };
})();
