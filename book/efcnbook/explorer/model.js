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

  const MEAN = "mean"; // in the place of a seed: all of them

  /** The seeds of a pack as one: means, and `low` and `high` of accuracies, where all measured; null of a single seed. */
  function averaged(pack) {
    if (pack.seeds.length < 2) return null;
    if (!means.has(pack)) {
      const of = (pick) => mean(pack.seeds.map(pick).filter(Boolean));
      const runs = Object.fromEntries(KINDS.filter((kind) => pack.seeds.some((one) => one.runs[kind])).map((kind) => [
        kind,
        Object.fromEntries(pack.study.relax_times.map((tw) => [tw, of((one) => one.runs[kind]?.[tw])]).filter(last)),
      ]));
      const first = pack.seeds.find((one) => one.pictures) ?? pack.seeds[0];
      const made = { cnn: of((one) => one.cnn), fcn: of((one) => one.fcn), runs, pictures: first.pictures };
      means.set(pack, { ...first, ...made, seed: MEAN, pictured: first.seed });
    }
    return means.get(pack);
  }

  const means = new WeakMap();

  /** The mean of histories at the epochs that all of them have; null of none. */
  function mean(histories) {
    if (!histories.length) return null;
    const epoch = histories[0].epoch.filter((one) => histories.every((of) => of.epoch.includes(one)));
    const each = (name) => epoch.map((one) => histories.map((of) => of[name][of.epoch.indexOf(one)]));
    const average = (values) => Array.isArray(values[0])
      ? values[0].map((_, i) => average(values.map((of) => of[i])))
      : values.every(Number.isFinite) ? values.reduce((sum, of) => sum + of, 0) / values.length : null;
    const names = Object.keys(histories[0]).filter((name) => name !== "epoch" && histories.every((of) => of[name]));
    const found = Object.fromEntries(names.map((name) => [name, each(name).map(average)]));
    const extreme = (least) => each("test_accuracy").map((of) => of.every(Number.isFinite) ? least(...of) : null);
    return { epoch, ...found, low: extreme(Math.min), high: extreme(Math.max), count: histories.length };
  }

  function label(kind, study) {
    const words = { efcn: "eFCN", control: "control: the CNN, trained on", elcn: "eLCN: local, not shared" };
    if (kind === "tuned") return `control at its own learning rate, ${study.tuned_rate}`;
    return words[kind] ?? `control at ${study.lowered} of the learning rate`;
  }

  /** `wanted` with what there is in the place of what there is not: the nearest time, else the first of all. */
  function settle(packs, wanted) {
    const pack = packs.find((one) => one.study.name === wanted.study) ?? packs[0];
    const all = averaged(pack);
    const any = all && (wanted.seed === undefined || wanted.seed === MEAN) ? all : pack.seeds[0];
    const seed = pack.seeds.find((one) => String(one.seed) === String(wanted.seed)) ?? any;
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
    const beside = Number.isFinite(control) ? `, ${compared(accuracy, control)}${apart(at)}` : "";
    const [local, others] = [value("accuracy_local"), value("accuracy_off_local")].map((part) => percent(part));
    const parts = `its local weights alone give ${local}, the others ${others}`;
    return `The eFCN of tw = ${state.tw} ${whole}${beside}. δ is ${percent(value("delta"), 2)}; ${parts}.`;
  }

  /** Between which values the lead over the control lies in the seeds, or that there is one alone. */
  function apart({ state, pack, seed }) {
    if (seed.seed !== MEAN) return ", in one seed";
    const leads = pack.seeds.flatMap((one) => {
      const [efcn, control] = ["efcn", "control"].map((kind) => one.runs[kind]?.[state.tw]);
      const find = (run) => run?.test_accuracy[run.epoch.indexOf(state.epoch)];
      return [find(efcn) - find(control)].filter(Number.isFinite);
    });
    if (leads.length < 2) return ", in one seed";
    const [low, high] = [Math.min(...leads), Math.max(...leads)].map((lead) => arithmetic.points(lead));
    return `; in ${leads.length} seeds from ${low} to ${high}`;
  }

  /** How an accuracy stands to its control's. */
  function compared(accuracy, control) {
    const difference = arithmetic.points(accuracy - control);
    if (Number(difference) === 0) return "the same as its control";
    const side = difference.startsWith("−") ? "below" : "above";
    return `${difference.replace(/^[+−]/, "")} points ${side} its control (${arithmetic.percent(control)})`;
  }

  return { KINDS, STYLE, LAYERS, MEAN, averaged, label, settle, look, sentence, best, last };
})();
