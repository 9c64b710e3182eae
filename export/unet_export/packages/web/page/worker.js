// The network, in a worker: the page stays free. Messages in: open, segment, sample, show, save, cancel.
import { adaptChannels, parseNpy, readImage, Unreadable, writeTiff } from "./files.js";
import { findObjects } from "./objects.js";
import { geojson, table } from "./outlines.js";
import { segment } from "./tiles.js";

const ORT = new URL("vendor/onnxruntime-web/", self.location.href).href;
const WIDEST = 4096; // pixels of a canvas' edge that every browser draws
const OUTLINE = [255, 225, 0, 255];
let site, session, ort, backend, image, labels, objects, stop = false;

const geotiff = async () => { await import("./vendor/geotiff/geotiff.js"); return self.GeoTIFF; };
const load = async (name) => {
  const answer = await fetch(name);
  if (!answer.ok) throw new Unreadable(`${name} is missing in this folder (${answer.status}).`);
  return answer.arrayBuffer();
};

async function open(wanted) {
  site = JSON.parse(new TextDecoder().decode(await load("site.json")));
  postMessage({ type: "site", site });
  const model = await load(site.model);
  const failures = [];
  for (const name of await backends(wanted)) {
    try {
      const distance = await start(name, model);
      if (!(distance <= site.golden.bound)) throw new Error(`${distance.toExponential(1)} from the reference`);
      postMessage({ type: "ready", backend, distance, failures });
      return;
    } catch (e) { failures.push(`${name}: ${String(e?.message ?? e).split("\n")[0]}`); }
  }
  throw new Unreadable(`The network does not run in this browser. ${failures.join("; ")}`);
}

async function backends(wanted) {
  if (wanted) return [wanted];
  const adapter = site.webgpu && (await navigator.gpu?.requestAdapter().catch(() => null));
  return adapter ? ["webgpu", "wasm"] : ["wasm"];
}

async function start(name, model) {
  ort = await import(ORT + (name === "webgpu" ? "ort.webgpu.min.mjs" : "ort.wasm.min.mjs"));
  ort.env.wasm.wasmPaths = ORT;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(8, navigator.hardwareConcurrency || 1) : 1;
  ort.env.logLevel = "error";
  session = await ort.InferenceSession.create(model, { executionProviders: [name] });
  backend = name;
  const [golden, expected] = await Promise.all(["image", "logits"].map(async (part) => parseNpy(await load(site.golden[part]))));
  const { logits } = await segment({ data: golden.data, size: golden.shape.slice(0, -1), channels: site.in_channels }, site, run, { logits: true });
  let worst = 0, largest = 0;
  for (let i = 0; i < logits.length; i++) {
    const difference = Math.abs(logits[i] - expected.data[i]);
    worst = difference > worst || Number.isNaN(difference) ? difference : worst;
    largest = Math.max(largest, Math.abs(expected.data[i]));
  }
  return logits.length === expected.data.length ? worst / largest : Infinity;
}

async function run(tensor, size) {
  const given = new ort.Tensor("float32", tensor, [1, site.in_channels, ...size]);
  const { logits } = await session.run({ image: given });
  const found = logits.data;
  logits.dispose?.();
  return found;
}

async function segmentImage(read, wantLogits) {
  stop = false;
  image = adaptChannels(read, site.in_channels);
  const notes = [...image.notes];
  const [height, width] = image.size, volume = site.spatial_dims === 3;
  const steps = volume ? 1 : image.planes, pixels = image.data.length / (volume ? 1 : image.planes);
  if (volume && image.planes === 1) notes.push("This is one plane; the network expects a volume and sees the plane mirrored.");
  const all = new Uint8Array(image.planes * height * width), numbers = new Uint32Array(all.length), pages = [], logits = [];
  const began = performance.now();
  for (let p = 0; p < steps; p++) {
    const part = { data: image.data.subarray(p * pixels, (p + 1) * pixels), size: volume ? [image.planes, height, width] : image.size, channels: image.channels };
    const found = await segment(part, site, run, {
      logits: wantLogits,
      objects: true,
      cancelled: () => stop,
      progress: (share, done, total) => postMessage({ type: "progress", share: (p + share) / steps, done: p * total + done, total: steps * total }),
    });
    if (!found) { labels = null; return postMessage({ type: "cancelled" }); }
    all.set(found.labels, p * height * width);
    postMessage({ type: "numbering" });
    const own = findObjects(found.values, [volume ? image.planes : 1, height, width], !volume, site.objects);
    numbers.set(own.labels, p * height * width);
    pages.push(own.rows);
    if (wantLogits) logits.push(found.logits);
  }
  labels = all;
  objects = { labels: numbers, pages };
  const counts = new Array(site.classes).fill(0), numbered = new Array(site.classes).fill(0);
  for (const label of labels) counts[label]++;
  for (const { type } of pages.flat()) numbered[type]++;
  postMessage({ type: "done", planes: image.planes, size: image.size, notes, logits, shares: counts.map((n) => n / labels.length), numbered, seconds: (performance.now() - began) / 1000 });
}

function picture(plane, size, step, [height, width]) {
  const { data, channels } = image, base = plane * image.size[0] * image.size[1] * channels;
  const out = new Uint8ClampedArray(height * width * 4), colour = channels >= 3 ? [0, 1, 2] : [0, 0, 0];
  let low = 0, high = 255;
  if (!(data instanceof Uint8Array) || channels < 3) { // contrast: from the lowest 0.5 % to the highest
    const end = base + size[0] * size[1] * channels, every = Math.max(1, Math.floor((end - base) / 50000));
    const seen = [];
    for (let i = base; i < end; i += every) seen.push(data[i]);
    seen.sort((a, b) => a - b);
    low = seen[Math.floor(seen.length * 0.005)]; high = seen[Math.ceil(seen.length * 0.995) - 1];
  }
  const gain = high > low ? 255 / (high - low) : 1;
  for (let y = 0, to = 0; y < height; y++) for (let x = 0; x < width; x++, to += 4) {
    const at = base + (y * step * size[1] + x * step) * channels;
    for (let c = 0; c < 3; c++) out[to + c] = (data[at + colour[c]] - low) * gain;
    out[to + 3] = 255;
  }
  return out;
}

function coloured(plane, size, step, [height, width]) {
  const out = new Uint8ClampedArray(height * width * 4), base = plane * size[0] * size[1];
  for (let y = 0, to = 0; y < height; y++) for (let x = 0; x < width; x++, to += 4) {
    const label = labels[base + y * step * size[1] + x * step];
    out.set(site.colors[label], to);
    out[to + 3] = 255;
  }
  return out;
}

// The pixels of objects that touch another object, or none, across an edge.
function outlined(plane, size, step, [height, width]) {
  const out = new Uint8ClampedArray(height * width * 4), base = plane * size[0] * size[1];
  const at = (y, x) => (y < 0 || x < 0 || y >= height || x >= width ? 0 : objects.labels[base + y * step * size[1] + x * step]);
  for (let y = 0, to = 0; y < height; y++) for (let x = 0; x < width; x++, to += 4) {
    const own = at(y, x);
    if (own && (at(y - 1, x) !== own || at(y + 1, x) !== own || at(y, x - 1) !== own || at(y, x + 1) !== own)) out.set(OUTLINE, to);
  }
  return out;
}

async function show(plane) {
  const size = image.size, step = Math.ceil(Math.max(...size) / WIDEST);
  const shown = size.map((n) => Math.floor((n + step - 1) / step));
  const bitmaps = await Promise.all([picture, coloured, outlined].map((draw) => createImageBitmap(new ImageData(draw(plane, size, step, shown), shown[1], shown[0]))));
  postMessage({ type: "shown", plane, bitmaps, size: shown }, bitmaps);
}

async function save(kind, plane) {
  const volume = site.spatial_dims === 3;
  if (kind === "csv") return postMessage({ type: "saved", kind, blob: table(objects.pages, site.class_names, volume) });
  if (kind === "geojson") return postMessage({ type: "saved", kind, blob: geojson(objects.pages, objects.labels, image.size, site.class_names) });
  if (kind === "tiff") return postMessage({ type: "saved", kind, blob: writeTiff(labels, image.planes, image.size) });
  const [height, width] = image.size, canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(new ImageData(coloured(plane, image.size, 1, image.size), width, height), 0, 0);
  postMessage({ type: "saved", kind, blob: await canvas.convertToBlob({ type: "image/png" }) });
}

const actions = {
  open: ({ backend: wanted }) => open(wanted),
  segment: async ({ file, logits }) => segmentImage(await readImage(file, geotiff), logits),
  sample: async () => {
    const { data, shape } = parseNpy(await load(site.golden.image));
    await segmentImage({ data, planes: shape.length === 4 ? shape[0] : 1, size: shape.slice(-3, -1), channels: site.in_channels, notes: [] }, false);
  },
  show: ({ plane }) => show(plane),
  save: ({ kind, plane }) => save(kind, plane),
  cancel: () => { stop = true; },
};

self.onmessage = async ({ data }) => {
  try { await actions[data.type](data); } catch (e) {
    const text = e instanceof Unreadable ? e.message : `This did not work: ${String(e?.message ?? e).split("\n")[0]}`;
    postMessage({ type: "error", during: data.type, text });
  }
};
