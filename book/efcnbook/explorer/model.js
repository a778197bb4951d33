// What is looked at: one study, seed, relax time and epoch of what the packs hold; and the words for it.

const models = (() => {
  const KINDS = ["efcn", "control", "tuned", "lowered", "elcn"];
  const STYLE = {
    efcn: { shape: "dot", css: "efcn-blue" },
    control: { shape: "ring", css: "efcn-red efcn-dashed" },
    tuned: { shape: "square", css: "efcn-purple efcn-dotted" },
    lowered: { shape: "diamond", css: "efcn-orange efcn-dotted" },
    elcn: { shape: "triangle", css: "efcn-green efcn-dashdot" },
  };
  const LAYERS = [
    { shape: "dot", css: "efcn-blue" },
    { shape: "square", css: "efcn-red efcn-dashed" },
    { shape: "triangle", css: "efcn-green efcn-dashdot" },
    { shape: "diamond", css: "efcn-purple efcn-dotted" },
    { shape: "ring", css: "efcn-orange" },
  ];
  const last = (values) => values[values.length - 1];
  const best = (history) => (history ? Math.max(...history.test_accuracy.filter(Number.isFinite)) : NaN);

  function label(kind, study) {
    const words = { efcn: "eFCN", control: "control: the CNN, trained on", elcn: "eLCN: local, not shared" };
    if (kind === "tuned") return `control at its own learning rate, ${study.tuned_rate}`;
    return words[kind] ?? `control at ${study.lowered} of the learning rate`;
  }

  /** `wanted` with what there is in the place of what there is not: the nearest time, else the first of all. */
  function settle(packs, wanted) {
    const pack = packs.find((one) => one.study.name === wanted.study) ?? packs[0];
    const seed = pack.seeds.find((one) => one.seed === wanted.seed) ?? pack.seeds[0];
    const relax = pack.study.relax_times;
    const tw = relax[arithmetic.nearest(relax, wanted.tw ?? relax[Math.floor(relax.length / 2)])];
    const times = seed.runs.efcn?.[tw]?.epoch ?? [];
    const place = arithmetic.nearest(times, wanted.epoch ?? Infinity);
    const at = wanted.epoch === undefined || wanted.epoch === null ? times.length - 1 : place;
    const epoch = at < 0 ? null : times[at];
    return { state: { study: pack.study.name, seed: seed.seed, tw, epoch }, pack, seed, times, place: at };
  }

  /** All that the views draw, of settled choices. */
  function look({ state, pack, seed, times, place }) {
    const run = (kind, tw = state.tw) => seed.runs[kind]?.[tw] ?? null;
    const kinds = KINDS.filter((kind) => seed.runs[kind]);
    const value = (name, kind = "efcn") => {
      const history = run(kind);
      const at = kind === "efcn" ? place : history ? history.epoch.indexOf(state.epoch) : -1;
      return history?.[name]?.[at] ?? NaN;
    };
    return { state, pack, study: pack.study, seed, times, place, run, kinds, value, picture: picture(seed, state) };
  }

  /** The kept picture nearest to the chosen time: its place and epoch; null of none. */
  function picture(seed, state) {
    const times = seed.pictures?.times[state.tw] ?? [];
    const place = arithmetic.nearest(times, state.epoch ?? 0);
    return place < 0 ? null : { place, epoch: times[place] };
  }

  /** One sentence or three on the chosen moment, for eyes and for screen readers. */
  function sentence(at) {
    const { state, value } = at;
    if (at.place < 0) return `The eFCN of tw = ${state.tw} has not been measured yet.`;
    const [accuracy, control] = [value("test_accuracy"), value("test_accuracy", "control")];
    const { percent } = arithmetic;
    const whole = `has, ${arithmetic.after(state.epoch)}, a test accuracy of ${percent(accuracy)}`;
    const beside = Number.isFinite(control) ? `, ${compared(accuracy, control)}` : "";
    const [local, others] = [value("accuracy_local"), value("accuracy_off_local")].map((part) => percent(part));
    const parts = `its local weights alone give ${local}, the others ${others}`;
    return `The eFCN of tw = ${state.tw} ${whole}${beside}. δ is ${percent(value("delta"), 2)}; ${parts}.`;
  }

  /** How an accuracy stands to its control's. */
  function compared(accuracy, control) {
    const difference = arithmetic.points(accuracy - control);
    if (Number(difference) === 0) return "the same as its control";
    const side = difference.startsWith("−") ? "below" : "above";
    return `${difference.replace(/^[+−]/, "")} points ${side} its control (${arithmetic.percent(control)})`;
  }

  return { KINDS, STYLE, LAYERS, label, settle, look, sentence, best, last };
})();
