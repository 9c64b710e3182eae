// Overlap-tile, as unet_spec.tiling.tiles plans it: stitched tiles are the result of the whole image.

// One axis: {minimum, step, margin, halo: [low, high], tile, fixed}. tile null: the image in one piece; fixed: no other size.
export function planAxis(image, { minimum, step, margin, halo, tile, fixed }) {
  const needed = Math.max(image + 2 * margin, fixed ? tile : 1);
  const canvas = Math.max(minimum, needed + ((((minimum - needed) % step) + step) % step));
  if (tile === null || tile >= canvas) return { tile: canvas, margin, starts: [0], edges: [0, image] };
  const stride = Math.floor((tile - 2 * margin - halo[0] - halo[1]) / step) * step;
  const starts = [];
  for (let start = 0; start < canvas - tile; start += stride) starts.push(start);
  const ends = starts.map((start) => Math.min(start + tile - 2 * margin - halo[1], image));
  starts.push(canvas - tile);
  while (ends.length && ends[ends.length - 1] >= image) { ends.pop(); starts.pop(); }
  return { tile, margin, starts, edges: [0, ...ends, image] };
}

// Positions start … start + length - 1 of an axis, mirrored; the edge pixel is not repeated.
export function mirror(start, length, size) {
  const index = new Int32Array(length);
  if (size === 1) return index;
  const period = 2 * (size - 1);
  for (let i = 0; i < length; i++) {
    const at = (((start + i) % period) + period) % period;
    index[i] = Math.min(at, period - at);
  }
  return index;
}

const scales = new Map([[Uint8Array, 255], [Uint8ClampedArray, 255], [Uint16Array, 65535]]);

// What objects are made of, 0..255: the probability of class 1 where there are two classes, else those of all classes;
// with a predicted distance, all of them and the distance.
function quantised(found, from, plane, site, values, to) {
  const K = site.out_channels, logit = (k) => (K === 1 ? (k ? found[from] : 0) : found[k * plane + from]);
  const distance = site.objects.distance !== undefined, first = site.classes === 2 && !distance ? 1 : 0;
  let highest = -Infinity, sum = 0;
  for (let k = 0; k < site.classes; k++) highest = Math.max(highest, logit(k));
  for (let k = 0; k < site.classes; k++) sum += Math.exp(logit(k) - highest);
  for (let k = first; k < site.classes; k++) values[to++] = Math.round((255 * Math.exp(logit(k) - highest)) / sum);
  if (distance) values[to] = Math.round(255 * Math.min(Math.max(found[K * plane + from], 0), 1));
}

// Runs a network over an image {data, size: [..., y, x], channels}, data interleaved. run(tensor, size) gives logits
// (K, *size - 2 margin). Returns labels, and logits (*size, K) and values that objects are made of if they are asked for.
export async function segment(image, site, run, { progress = () => {}, logits = false, objects = false, cancelled = () => false } = {}) {
  const { data, channels } = image;
  const size = image.size.length === 2 ? [1, ...image.size] : image.size;
  const flat = { minimum: 1, step: 1, margin: 0, halo: [0, 0], tile: null, fixed: false };
  const axes = image.size.length === 2 ? [flat, ...site.axes] : site.axes;
  const plans = axes.map((axis, i) => planAxis(size[i], axis));
  const tile = plans.map((plan) => plan.tile);
  const out = plans.map((plan) => plan.tile - 2 * plan.margin);
  const K = site.out_channels, count = size[0] * size[1] * size[2];
  const labels = new Uint8Array(count), C = site.output_channels, kept = logits ? new Float32Array(count * C) : null;
  const V = site.objects.values, values = objects ? new Uint8Array(count * V) : null;
  const scale = scales.get(data.constructor) ?? 1;
  const means = Array.from({ length: channels }, (_, c) => (site.mean[c] ?? 0) * scale);
  const stds = Array.from({ length: channels }, (_, c) => (site.std[c] ?? 1) * scale);
  const plane = tile[0] * tile[1] * tile[2], outPlane = out[0] * out[1] * out[2];
  const total = plans.reduce((product, plan) => product * plan.starts.length, 1);
  const ranges = plans.map((plan) => plan.starts.map((_, i) => i));
  let done = 0;
  for (const a of ranges[0]) for (const b of ranges[1]) for (const c of ranges[2]) {
    if (cancelled()) return null;
    const at = [a, b, c];
    const [zs, ys, xs] = plans.map((plan, i) => mirror(plan.starts[at[i]] - plan.margin, plan.tile, size[i]));
    const tensor = new Float32Array(channels * plane);
    for (let ch = 0; ch < channels; ch++) {
      let to = ch * plane;
      for (const z of zs) for (const y of ys) {
        const row = (z * size[1] + y) * size[2];
        for (let x = 0; x < xs.length; x++) tensor[to++] = (data[(row + xs[x]) * channels + ch] - means[ch]) / stds[ch];
      }
    }
    const found = await run(tensor, tile.slice(3 - image.size.length));
    const low = plans.map((plan, i) => plan.edges[at[i]]), high = plans.map((plan, i) => plan.edges[at[i] + 1]);
    const shift = plans.map((plan, i) => plan.starts[at[i]]);
    for (let z = low[0]; z < high[0]; z++) for (let y = low[1]; y < high[1]; y++) {
      let from = ((z - shift[0]) * out[1] + y - shift[1]) * out[2] + low[2] - shift[2];
      let to = (z * size[1] + y) * size[2] + low[2];
      for (let x = low[2]; x < high[2]; x++, from++, to++) {
        let best = 0;
        if (K === 1) best = found[from] > 0 ? 1 : 0;
        else for (let k = 1; k < K; k++) if (found[k * outPlane + from] > found[best * outPlane + from]) best = k;
        labels[to] = best;
        if (kept) for (let k = 0; k < C; k++) kept[to * C + k] = found[k * outPlane + from];
        if (values) quantised(found, from, outPlane, site, values, to * V);
      }
    }
    progress(++done / total, done, total);
  }
  return { labels, logits: kept, values };
}
