// The worker: it trains when it is told {tw, job}, until it is told another job, and tells what it finds after each epoch.
// The first message brings {setup, bytes, start}. The CNN's states are kept: it is trained once.

let [setup, train, test, orders] = [];
let cnns = []; // the CNN after each epoch
let job = 0;

onmessage = ({ data }) => {
  job = data.job;
  if (data.setup) prepare(data);
  else if ("tw" in data) run(data.tw, data.job);
};

/** Normalise the images, a byte for each pixel, then one for each label; make the orders; take the CNN's start. */
function prepare({ setup: given, bytes, start }) {
  setup = given;
  const count = bytes.length / (PIXELS + 1);
  const images = Float64Array.from(bytes.subarray(0, count * PIXELS), (value) => (value - setup.mean) / setup.deviation);
  const labels = bytes.subarray(count * PIXELS);
  const part = (from, to) => ({ images: images.subarray(from * PIXELS, to * PIXELS), labels: labels.subarray(from, to) });
  [train, test] = [part(0, setup.train), part(setup.train, count)];
  orders = ordersOf(setup.train, setup.lastTime + setup.epochs, setup.seed);
  cnns = [cnnOf(setup.channels, start)];
  tell({ of: "cnn", epoch: 0 }, cnns[0]);
}

/** The CNN until `tw`, rewritten; from there on the eFCN, and the CNN beside it on the same batches. */
async function run(tw, mine) {
  const others = () => new Promise((done) => setTimeout(done)); // messages that wait are taken
  for (let epoch = cnns.length; epoch <= tw; epoch++) {
    trainCnn(epoch);
    await others();
    if (job !== mine) return;
  }
  const efcn = embedded(cnns[tw]);
  tell({ of: "efcn", tw, job: mine, epoch: tw }, efcn);
  for (let epoch = tw + 1; epoch <= tw + setup.epochs; epoch++) {
    const start = performance.now();
    epochOf(efcn, train, orders[epoch - 1], setup.batch, setup.rate);
    tell({ of: "efcn", tw, job: mine, epoch }, efcn, start);
    if (epoch === cnns.length) trainCnn(epoch);
    await others();
    if (job !== mine) return;
  }
  postMessage({ of: "end", job: mine });
}

function trainCnn(epoch) {
  const start = performance.now();
  const next = copied(cnns[epoch - 1]);
  epochOf(next, train, orders[epoch - 1], setup.batch, setup.rate);
  cnns.push(next);
  tell({ of: "cnn", epoch }, next, start);
}

/** What is measured of a network, its weights, and the milliseconds since `start`, in which all was computed. */
function tell(what, net, start = performance.now()) {
  const measured = measure(net, test);
  const weight = net.isDense ? net.weight.slice() : embedded(net).weight;
  postMessage({ ...what, ...measured, weight, milliseconds: performance.now() - start }, [weight.buffer]);
}
