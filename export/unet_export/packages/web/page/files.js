// Reads images and writes masks. An image is {data, planes, size: [y, x], channels}: planes follow each other in data.

export class Unreadable extends Error {}

export async function readImage(file, geotiff) {
  const name = file.name.toLowerCase();
  if (name.endsWith(".npy")) return readNpy(await file.arrayBuffer());
  if (/\.tiff?$/.test(name)) return readTiff(await file.arrayBuffer(), await geotiff());
  return readPicture(file);
}

const kinds = { u1: Uint8Array, u2: Uint16Array, f4: Float32Array, f8: Float64Array };

export function parseNpy(buffer) {
  const bytes = new Uint8Array(buffer), view = new DataView(buffer);
  if (bytes.length < 12 || String.fromCharCode(...bytes.subarray(1, 6)) !== "NUMPY") throw new Unreadable("This is no .npy file.");
  const wide = bytes[6] > 1, length = wide ? view.getUint32(8, true) : view.getUint16(8, true), start = (wide ? 12 : 10) + length;
  const header = new TextDecoder().decode(bytes.subarray(wide ? 12 : 10, start));
  const dtype = /'descr':\s*'([^']*)'/.exec(header)?.[1] ?? "", shape = (/'shape':\s*\(([^)]*)\)/.exec(header)?.[1] ?? "").split(",").map((n) => n.trim()).filter(Boolean).map(Number);
  if (/'fortran_order':\s*True/.test(header)) throw new Unreadable("This .npy file is in Fortran order; save it with numpy.ascontiguousarray.");
  const Kind = kinds[dtype.slice(1)];
  if (!Kind || dtype[0] === ">") throw new Unreadable(`This .npy file holds ${dtype}; expected uint8, uint16, float32 or float64.`);
  const count = shape.reduce((product, n) => product * n, 1);
  if (bytes.length - start < count * Kind.BYTES_PER_ELEMENT) throw new Unreadable("This .npy file is cut off.");
  return { data: new Kind(buffer.slice(start, start + count * Kind.BYTES_PER_ELEMENT)), shape };
}

function readNpy(buffer) {
  const { data, shape } = parseNpy(buffer);
  if (shape.length < 2 || shape.length > 4) throw new Unreadable(`This array has ${shape.length} axes; expected 2 to 4.`);
  // (H, W), (H, W, C) with at most 4 channels, (Z, H, W), (Z, H, W, C)
  const coloured = shape.length === 4 || (shape.length === 3 && shape[2] <= 4);
  const channels = coloured ? shape[shape.length - 1] : 1, spatial = coloured ? shape.slice(0, -1) : shape;
  return { data, planes: spatial.length === 3 ? spatial[0] : 1, size: spatial.slice(-2), channels, notes: [] };
}

async function readTiff(buffer, { fromArrayBuffer }) {
  let tiff, first;
  try { tiff = await fromArrayBuffer(buffer); first = await tiff.getImage(0); } catch (e) { throw new Unreadable(`This TIFF file cannot be read (${e.message}).`); }
  const count = await tiff.getImageCount(), size = [first.getHeight(), first.getWidth()], channels = first.getSamplesPerPixel();
  const notes = [], pages = [];
  let left = 0;
  for (let i = 0; i < count; i++) {
    const page = await tiff.getImage(i);
    if (page.getHeight() !== size[0] || page.getWidth() !== size[1] || page.getSamplesPerPixel() !== channels) { left++; continue; }
    pages.push(await page.readRasters({ interleave: true }));
  }
  const described = Number(/^ImageJ=[^]*?\nimages=(\d+)/.exec(value(first, "ImageDescription") ?? "")?.[1] ?? 0);
  if (described > count) notes.push(`ImageJ wrote ${described} planes in one; only the first was read. Save the stack in smaller parts.`);
  if (left) notes.push(`${left} pages of another size were left out.`);
  const bits = first.getBitsPerSample(), Kind = pages[0].constructor;
  if (!Object.values(kinds).includes(Kind) || ![8, 16, 32, 64].includes(bits)) throw new Unreadable(`This TIFF file holds ${bits}-bit ${Kind.name.replace("Array", "")} values; expected 8 or 16 bits, unsigned, or floats.`);
  const data = new Kind(pages.length * size[0] * size[1] * channels);
  pages.forEach((page, i) => data.set(page, i * page.length));
  const photometric = value(first, "PhotometricInterpretation");
  if (photometric === 3) throw new Unreadable("This TIFF file has a colour palette; save it in grey or RGB.");
  if (photometric === 0) {
    const top = { Uint8Array: 255, Uint16Array: 65535 }[Kind.name];
    if (top) { for (let i = 0; i < data.length; i++) data[i] = top - data[i]; notes.push("White is zero in this file: its values were inverted."); }
  }
  return { data, planes: pages.length, size, channels, notes };
}

const value = (page, tag) => page.fileDirectory.getValue?.(tag) ?? page.fileDirectory[tag];

async function readPicture(file) {
  const head = new Uint8Array(await file.slice(0, 33).arrayBuffer()), notes = [];
  if (head[0] === 0x89 && head[24] === 16) notes.push("Browsers read 16-bit PNG files with 8 bits; a TIFF or .npy file keeps all of them.");
  let bitmap;
  try { bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" }); } catch { throw new Unreadable(`${file.name} cannot be read; expected PNG, JPEG, TIFF or .npy.`); }
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height), context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const rgba = context.getImageData(0, 0, bitmap.width, bitmap.height).data, pixels = rgba.length / 4;
  let grey = true, opaque = true;
  for (let i = 0; i < rgba.length; i += 4) {
    grey &&= rgba[i] === rgba[i + 1] && rgba[i] === rgba[i + 2];
    opaque &&= rgba[i + 3] === 255;
  }
  if (!opaque) notes.push("Transparency was ignored.");
  const channels = grey ? 1 : 3, data = new Uint8Array(pixels * channels);
  for (let i = 0; i < pixels; i++) for (let c = 0; c < channels; c++) data[i * channels + c] = rgba[4 * i + c];
  return { data, planes: 1, size: [bitmap.height, bitmap.width], channels, notes };
}

// To the channels that a network takes: colour to grey, grey to colour, alpha left out. Each is noted.
export function adaptChannels(image, wanted) {
  const { data, channels } = image, pixels = data.length / channels, Kind = data.constructor;
  if (channels === wanted) return image;
  const adapted = new Kind(pixels * wanted), notes = [...image.notes];
  if (wanted === 1 && (channels === 3 || channels === 4)) {
    for (let i = 0; i < pixels; i++) { const at = i * channels; adapted[i] = round(Kind, 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2]); }
    notes.push("The colour image was turned to grey: the network takes one channel.");
  } else if (channels === 1 || channels === 2 && wanted === 1) {
    for (let i = 0; i < pixels; i++) for (let c = 0; c < wanted; c++) adapted[i * wanted + c] = data[i * channels];
    if (wanted > 1) notes.push(`The grey image was repeated in ${wanted} channels.`);
    if (channels === 2) notes.push("The second channel was left out.");
  } else if (channels === 4 && wanted === 3) {
    for (let i = 0; i < pixels; i++) for (let c = 0; c < 3; c++) adapted[3 * i + c] = data[4 * i + c];
    notes.push("The fourth channel was left out.");
  } else throw new Unreadable(`This image has ${channels} channels; the network takes ${wanted}.`);
  return { ...image, data: adapted, channels: wanted, notes };
}

const round = (Kind, value) => (Kind === Float32Array || Kind === Float64Array ? value : Math.round(value));

// An uncompressed TIFF of 8 bits, a page a plane.
export function writeTiff(labels, planes, [height, width]) {
  const entries = 9, block = 2 + 12 * entries + 4, pixels = height * width, head = 8;
  const buffer = new ArrayBuffer(head + planes * (block + pixels)), view = new DataView(buffer), bytes = new Uint8Array(buffer);
  bytes.set([0x49, 0x49, 42, 0]); view.setUint32(4, head, true);
  for (let p = 0; p < planes; p++) {
    const start = head + p * (block + pixels);
    let at = start;
    view.setUint16(at, entries, true); at += 2;
    for (const [tag, type, value] of [[256, 4, width], [257, 4, height], [258, 3, 8], [259, 3, 1], [262, 3, 1], [273, 4, start + block], [277, 3, 1], [278, 4, height], [279, 4, pixels]]) {
      view.setUint16(at, tag, true); view.setUint16(at + 2, type, true); view.setUint32(at + 4, 1, true);
      type === 3 ? view.setUint16(at + 8, value, true) : view.setUint32(at + 8, value, true);
      at += 12;
    }
    view.setUint32(at, p + 1 < planes ? start + block + pixels : 0, true);
    bytes.set(labels.subarray(p * pixels, (p + 1) * pixels), start + block);
  }
  return new Blob([buffer], { type: "image/tiff" });
}
