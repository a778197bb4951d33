// Pictures of weights on canvases. Zero and dead weights are left to the style sheet, which knows dark from light.

const canvases = (() => {
  const palettes = new Map();
  const viridis = (part) => COLOURS.viridis[Math.round(part * (COLOURS.viridis.length - 1))]; // part in [0, 1]

  /** RGBA of every code as 32-bit numbers, in the byte order of this machine. */
  function palette(layout) {
    const key = `${layout.levels} ${layout.first}`;
    if (!palettes.has(key)) {
      const colours = new Uint32Array(256);
      const bytes = new Uint8Array(colours.buffer);
      bytes.set([128, 134, 144, 150], 4 * 1); // dead: a grey veil over the paper
      bytes.set([204, 51, 17, 255], 4 * 2); // not finite
      for (let level = 0; level < layout.levels; level++) {
        const hex = viridis(level / Math.max(1, layout.levels - 1));
        const rgb = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
        bytes.set([...rgb, 255], 4 * (layout.first + level));
      }
      palettes.set(key, colours);
    }
    return palettes.get(key);
  }

  /** Paint codes, row by row; nothing is left of the former picture. */
  function paint(canvas, layout, [rows, columns], codes) {
    if (canvas.width !== columns || canvas.height !== rows) Object.assign(canvas, { width: columns, height: rows });
    const context = canvas.getContext("2d");
    if (!codes) return context.clearRect(0, 0, columns, rows);
    const image = context.createImageData(columns, rows);
    const pixels = new Uint32Array(image.data.buffer);
    const colours = palette(layout);
    for (let i = 0; i < codes.length; i++) pixels[i] = colours[codes[i]];
    context.putImageData(image, 0, 0);
  }

  /** The code under the pointer. */
  function under(canvas, event, codes) {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * canvas.width);
    const row = Math.floor(((event.clientY - box.top) / box.height) * canvas.height);
    const inside = column >= 0 && row >= 0 && column < canvas.width && row < canvas.height;
    return inside ? { row, column, code: codes[row * canvas.width + column] } : null;
  }

  return { paint, under, viridis };
})();
