// What grows while the page trains: three charts with fixed axes, the weights of one output pixel, the table of runs.
// A run is {tw, points: [{epoch, accuracy, delta, local, offLocal}], weight}; its epochs count from the CNN's start.

const { arithmetic, charts, canvases, views } = efcnExplorer;
const { element, symbol, typeset } = views;
const { percent } = arithmetic;
const LOWEST = 0.8; // accuracy at which the first chart begins
const HIGHEST = 0.4; // delta at which the second one ends, unless a run goes beyond
const LOGARITHMS = [-7, 1]; // of |w| between which colours differ
const PLACES = { "in the centre": 27, "at the edge": 24, "in the corner": 0 }; // output pixels, row by row

const column = (points, name) => points.map((point) => point[name]);
const lastOf = (list) => list[list.length - 1];

/** What is drawn inside in the colour of a relax time, on the scale on which the book colours times. */
function tinted(tw, lastTime, inside) {
  return `<g class="efcn-tinted" style="${views.time(arithmetic.epochScale(lastTime)(tw))}">${inside}</g>`;
}

/** A chart of the CNN and the runs; `series` lists [name, css], `range` gives the axis' ends for all runs. */
function growingChart(host, name, title, unit, series, range, hasCnn) {
  const { made, legend } = views.figure(host, name, title, unit);
  const chart = charts.chart(made, 220);
  const clip = `efcn-${Math.random().toString(36).slice(2)}`;

  function frame({ lastTime, epochs }, [low, high]) {
    const last = lastTime + epochs;
    const x = { scale: arithmetic.linearScale(0, last), ticks: arithmetic.roundTicks(0, last, 5), label: "epochs of training" };
    chart.frame(x, charts.percentAxis(low, high, 5), () => {
      const size = `width="${chart.right() - chart.left}" height="${chart.bottom - chart.top}"`;
      return `<clipPath id="${clip}"><rect x="${chart.left}" y="${chart.top}" ${size}/></clipPath>`;
    });
  }

  return {
    legend,
    draw({ setup, cnn, runs, tw }, label) {
      const ends = range(runs);
      if (views.stale(chart, made, ends)) frame(setup, ends);
      const course = hasCnn ? charts.line(chart, column(cnn, "epoch"), column(cnn, "accuracy"), "efcn-red efcn-cnn") : "";
      const lines = runs.map((run, i) => {
        const width = i === runs.length - 1 ? "" : "efcn-thin";
        const each = series.map(([what, css]) =>
          charts.line(chart, column(run.points, "epoch"), column(run.points, what), `${css} ${width}`),
        );
        return tinted(run.tw, setup.lastTime, each.join(""));
      });
      chart.draw(`${charts.cursor(chart, tw)}<g clip-path="url(#${clip})">${course}${lines.join("")}</g>`, label);
    },
  };
}

function makeCharts(host) {
  const run = `<svg width="26" height="14" aria-hidden="true">${tinted(2, 20, '<path class="efcn-line" d="M1 7H25"/>')}</svg>`;
  const dashed = run.replace("efcn-line", "efcn-line efcn-dashed");
  const beyond = (runs) => runs.some(({ points }) => points.some(({ delta }) => delta > HIGHEST));
  const accuracy = growingChart(
    host, "accuracy", "Does it get better?", `test accuracy (%), from ${100 * LOWEST} on`,
    [["accuracy", ""]], () => [LOWEST, 1], true,
  );
  const delta = growingChart(
    host, "delta", "How far does it go?", "δ (%), share of the weights’ norm that is off-local",
    [["delta", ""]], (runs) => [0, beyond(runs) ? 1 : HIGHEST], false,
  );
  const masked = growingChart(
    host, "masked", "Which weights matter?", "test accuracy (%) with a part of the weights",
    [["local", ""], ["offLocal", "efcn-dashed"]], () => [0, 1], false,
  );
  views.explain(accuracy.legend, [["none", "efcn-red", "CNN, trained on"], [run, null, "eFCNs"]]);
  views.explain(delta.legend, [[run, null, "eFCNs, in the colours of the table"]]);
  views.explain(masked.legend, [[run, null, "local alone"], [dashed, null, "off-local alone"]]);

  return {
    draw(at) {
      const end = lastOf(lastOf(at.runs)?.points ?? []);
      const now = end ? ` The latest eFCN, of tw = ${lastOf(at.runs).tw}, after epoch ${end.epoch}:` : " No eFCN yet.";
      const cnn = at.cnn.length ? `CNN after epoch ${lastOf(at.cnn).epoch}: ${percent(lastOf(at.cnn).accuracy)}.` : "";
      accuracy.draw(at, `Test accuracy. ${cnn}${now}${end ? ` ${percent(end.accuracy)}.` : ""}`);
      delta.draw(at, `Delta.${now}${end ? ` ${percent(end.delta)}.` : ""}`);
      const parts = end ? ` local weights alone ${percent(end.local)}, off-local alone ${percent(end.offLocal)}.` : "";
      masked.draw(at, `Test accuracy with a part of the weights.${now}${parts}`);
    },
  };
}

/** The row of the matrix that makes one output pixel, an image for each channel, and the choice of the pixel. */
function makePicture(host, channels, redraw) {
  const { made, head, legend } = views.figure(host, "row", "What does one output pixel read?", "ln |w| of its weights");
  legend.remove();
  const choice = element("select", { "aria-label": "Output pixel" });
  choice.append(...Object.keys(PLACES).map((words) => element("option", {}, words)));
  choice.addEventListener("change", redraw);
  head.append(choice);
  const cells = Array.from({ length: 64 }, (_, q) => `<rect x="${q % 8}" y="${Math.floor(q / 8)}" width="1" height="1"/>`);
  const image = `<svg viewBox="-0.1 -0.1 8.2 8.2">${cells.join("")}<path class="efcn-field"/></svg>`;
  const box = element("div", { class: "efcn-channels", role: "img" });
  box.innerHTML = image.repeat(channels);
  const images = [...box.children].map((svg) => [...svg.children]);
  const note = element("p", { class: "efcn-note" });
  const stops = [0, 0.25, 0.5, 0.75, 1].map((part) => canvases.viridis(part)).join(", ");
  const bar = `<i class="efcn-bar" style="background:linear-gradient(90deg, ${stops})"></i>`;
  const key = element("p", { class: "efcn-scale" });
  key.innerHTML = `≤ ${String(LOGARITHMS[0]).replace("-", "−")} ${bar} ${LOGARITHMS[1]}, <i class="efcn-zero"></i> zero`;
  made.append(note, box, key);

  const colour = (weight) => {
    if (weight === 0) return "";
    const part = (Math.log(Math.abs(weight)) - LOGARITHMS[0]) / (LOGARITHMS[1] - LOGARITHMS[0]);
    return Number.isFinite(part) ? canvases.viridis(Math.min(1, Math.max(0, part))) : "var(--red)";
  };

  return {
    draw({ weight, owner }) {
      const p = PLACES[choice.value];
      const [top, left] = [Math.max(0, Math.floor(p / 8) - 1), Math.max(0, (p % 8) - 1)];
      const [bottom, right] = [Math.floor(p / 8) + 2, (p % 8) + 2];
      images.forEach((parts, channel) => {
        const row = weight.subarray((channel * 64 + p) * 64);
        for (let q = 0; q < 64; q++) parts[q].style.fill = colour(row[q]);
        parts[64].setAttribute("d", `M${left} ${top}H${right}V${bottom}H${left}Z`);
      });
      const each = channels > 1 ? ", an image for each channel" : "";
      note.replaceChildren(...typeset(`${owner}${each}. Framed: the receptive field.`));
      box.setAttribute("aria-label", `Weights of the output pixel ${choice.value}, ${owner}.`);
    },
  };
}

/** All runs, one a row, the latest first. */
function makeTable(host) {
  const heads = [symbol(), ["epochs"], ["eFCN"], ["CNN"], ["δ"], ["local"], ["off-local"]];
  const head = element("tr", {}, ...heads.map((words) => element("th", { scope: "col" }, ...words)));
  const body = element("tbody");
  const caption = element("caption", {}, 
    "After so many epochs as an eFCN: test accuracy, that of the CNN trained as long, δ, test accuracy with local and with"
      + " off-local weights alone.",
  );
  const table = element("table", {}, caption, element("thead", {}, head), body);
  const scroll = element("div", { class: "efcn-scroll", role: "region", "aria-label": "The runs", tabindex: 0 }, table);
  host.append(scroll);

  return {
    draw({ setup, cnn, runs }) {
      scroll.hidden = !runs.length;
      body.replaceChildren(...[...runs].reverse().map((run) => {
        const end = lastOf(run.points);
        const row = element("tr", { "data-tw": run.tw });
        const line = tinted(run.tw, setup.lastTime, '<path class="efcn-line" d="M1 6H17"/>');
        row.innerHTML = `<th scope="row"><svg width="18" height="12" aria-hidden="true">${line}</svg> ${run.tw}</th>`;
        const shares = [end.accuracy, cnn[end.epoch]?.accuracy, end.delta, end.local, end.offLocal];
        const texts = [end.epoch - run.tw, ...shares.map((share) => (share === undefined ? "" : percent(share)))];
        row.append(...texts.map((text) => element("td", {}, String(text))));
        return row;
      }));
    },
  };
}
