// Numbers in, numbers and words out: nothing here knows of a page. Tested under Node.

const arithmetic = (() => {
  /** Place of the measured time nearest to `time`; the earlier of two that are equally near; -1 of none. */
  function nearest(times, time) {
    let best = -1;
    for (let i = 0; i < times.length; i++) {
      if (best < 0 || Math.abs(times[i] - time) < Math.abs(times[best] - time)) best = i;
    }
    return best;
  }

  /** Epochs to write at an axis up to `last`: 0, 1, 2, 5, 10, ...; 0, 1, 3, 10, ... where that would be too many. */
  function epochTicks(last, few = last >= 100) {
    const ticks = [0];
    for (let power = 1; power <= last; power *= 10) {
      for (const first of few ? [1, 3] : [1, 2, 5]) if (first * power <= last) ticks.push(first * power);
    }
    return ticks;
  }

  /** Epochs -> [0, 1]: logarithmic from 1 on, as they were chosen, and linear from 0 to 1. */
  function epochScale(last) {
    const at = (epoch) => (epoch < 1 ? epoch / 3 : 1 / 3 + Math.log10(epoch));
    const whole = at(Math.max(last, 1));
    return (epoch) => at(epoch) / whole;
  }

  /** [low, high] -> [0, 1]; a range without width lies in the middle. */
  function linearScale(low, high) {
    return (value) => (high > low ? (value - low) / (high - low) : 0.5);
  }

  /** Round numbers, 1, 2 or 5 times a power of ten apart, within [low, high]; at most `count` steps. */
  function roundTicks(low, high, count) {
    if (!(high > low)) return [low];
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((first) => first * power >= rough * (1 - 1e-9));
    const ticks = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) {
      ticks.push(Number((i * step).toPrecision(12)));
    }
    return ticks;
  }

  /** The range of the finite ones among `values`, widened to at least `least`; null of none. */
  function range(values, least = 0) {
    const finite = values.filter(Number.isFinite);
    if (!finite.length) return null;
    const [low, high] = [Math.min(...finite), Math.max(...finite)];
    const more = Math.max(0, least - (high - low)) / 2;
    return [low - more, high + more];
  }

  /** A fraction in per cent, "45.3 %"; "not a number" where training went astray. */
  function percent(fraction, digits = 1) {
    return Number.isFinite(fraction) ? `${minus((100 * fraction).toFixed(digits))}\u00a0%` : "not a number";
  }

  /** A difference of fractions in points, "+1.2". */
  function points(difference, digits = 1) {
    if (!Number.isFinite(difference)) return "not a number";
    const text = (100 * difference).toFixed(digits);
    return Number(text) > 0 ? `+${text}` : minus(text);
  }

  /** With a minus sign that is as wide as a plus, and none before zero. */
  function minus(text) {
    return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
  }

  function epochs(count) {
    return count === 1 ? "1 epoch" : `${count} epochs`;
  }

  /** A time after the embedding in words. */
  function after(epoch) {
    return epoch === 0 ? "just after the embedding" : `after ${epochs(epoch)}`;
  }

  /** Bytes of deflated, base64 text. */
  async function inflate(text) {
    const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /** Where the pictures of relax time `tw`, the `place`-th that was kept, lie among a seed's bytes. */
  function whereIs(layout, times, relaxTimes, tw, place) {
    const filter = layout.filter[0] * layout.filter[1];
    const heat = layout.heat[0] * layout.heat[1];
    let before = place;
    for (const other of relaxTimes) {
      if (other === tw) break;
      before += (times[other] ?? []).length;
    }
    const start = before * (2 * filter + heat);
    const ends = [start, start + filter, start + 2 * filter, start + 2 * filter + heat];
    return { corner: ends.slice(0, 2), centre: ends.slice(1, 3), heat: ends.slice(2, 4) };
  }

  /** ln|w| in the middle of a code's step; null of a code that stands for no number. */
  function logarithm(layout, code) {
    if (code < layout.first) return null;
    return layout.low + ((code - layout.first + 0.5) / layout.levels) * (layout.high - layout.low);
  }

  return {
    nearest, epochTicks, epochScale, linearScale, roundTicks, range, percent, points, epochs, after, inflate, whereIs,
    logarithm,
  };
})();
