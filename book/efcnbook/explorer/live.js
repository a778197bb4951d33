// The explorer where there is a kernel behind it: what is being trained grows into the packs, which Python sends.

/** `packs` with one more relax time: `growing` holds its study, seed, tw, and what was measured so far by kind of run. */
function grown(packs, growing) {
  const { study, seed, tw, runs } = growing;
  if (tw === undefined) return packs;
  const times = (old) => [...new Set([...old, tw])].sort((a, b) => a - b);
  const merged = (old) => {
    const added = Object.entries(runs).map(([kind, history]) => [kind, { ...old[kind], [tw]: history }]);
    return { ...old, ...Object.fromEntries(added) };
  };
  return packs.map((pack) => pack.study.name !== study ? pack : {
    ...pack,
    study: { ...pack.study, relax_times: times(pack.study.relax_times) },
    seeds: pack.seeds.map((one) => one.seed !== seed ? one : { ...one, runs: merged(one.runs) }),
  });
}

function render({ model, el }) {
  const packs = () => grown(model.get("packs"), model.get("growing"));
  const onSelect = (state) => {
    model.set("selection", state); // kept in the kernel, so that another tab shows the same
    model.save_changes();
  };
  const explorer = efcnExplorer.mount(el, packs(), { ...model.get("selection"), onSelect });
  const update = () => explorer.update(packs());
  const select = () => {
    const [wanted, now] = [model.get("selection"), explorer.state()];
    if (Object.entries(wanted).some(([name, value]) => now[name] !== value)) explorer.select(wanted);
  };
  model.on("change:packs change:growing", update);
  model.on("change:selection", select);
  el.efcnExplorer = explorer;
  // The notebook's other explorer shows less than this one: live.css folds it as long as this one is there.
  let notebook = null;
  const placing = setInterval(() => { // it is put into the notebook some time after it is made, and no event says when
    notebook = el.closest(".jp-NotebookPanel");
    if (!notebook) return;
    notebook.classList.add("efcn-live");
    clearInterval(placing);
  }, 100);
  return () => {
    clearInterval(placing);
    notebook?.classList.remove("efcn-live");
    model.off("change:packs change:growing", update);
    model.off("change:selection", select);
    explorer.unmount();
  };
}

export default { render };
