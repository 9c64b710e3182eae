// What the user sees. All work is done in worker.js.
const $ = (id) => document.getElementById(id);
const worker = new Worker("worker.js", { type: "module" });
const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.001 ? 3 : 1)} %`;
const names = { webgpu: "the graphics card (WebGPU)", wasm: "the processor (WebAssembly)" };
const kinds = ["tiff", "png", "csv", "geojson"], files = { tiff: "mask.tif", png: "mask.png", csv: "objects.csv", geojson: "objects.geojson" };
let site, name = "image", plane = 0, wanted = null;

function busy(state, text) {
  $("working").hidden = !state;
  for (const id of ["file", "sample", ...kinds]) $(id).disabled = state;
  if (text) $("status").textContent = text;
}

function begin(message, title) {
  name = title;
  $("error").hidden = true;
  $("progress").removeAttribute("value");
  busy(true, `Segmenting ${title} …`);
  worker.postMessage(message);
}

const open = (file) => file && begin({ type: "segment", file, logits: Boolean(globalThis.unetKeepLogits) }, file.name);

function show(at) { // the latest plane asked for, one at a time
  if (wanted === null) worker.postMessage({ type: "show", plane: at });
  wanted = at;
  plane = at;
  $("plane-value").textContent = `${at + 1} of ${Number($("plane").max) + 1}`;
}

function fact(term, text) {
  $("facts").append(Object.assign(document.createElement("dt"), { textContent: term }), Object.assign(document.createElement("dd"), { textContent: text }));
}

const replies = {
  site: ({ site: read }) => {
    site = read;
    document.title = $("title").textContent = site.title;
    $("about").textContent = `Finds ${new Intl.ListFormat("en").format(site.class_names)} in ${site.spatial_dims === 3 ? "volumes" : "images"}.`;
    $("status").textContent = `Loading the network (${(site.model_bytes / 2 ** 20).toFixed(1)} MiB) …`;
    for (const [term, text] of site.facts) fact(term, text);
    $("objects-made").textContent = site.objects.made;
    $("geojson").hidden = site.spatial_dims === 3; // its polygons are of images
  },
  ready: ({ backend, distance, failures }) => {
    $("check").className = "good";
    $("check").textContent = `This browser computes the example within ${distance.toExponential(1)} of the reference (bound ${site.golden.bound.toExponential(0)}), on ${names[backend]}.`;
    fact("runs on", names[backend]);
    if (failures.length) fact("not used", failures.join("; "));
    document.body.dataset.backend = backend;
    document.body.dataset.distance = distance;
    busy(false, "Ready.");
  },
  progress: ({ share, done, total }) => {
    $("progress").value = share;
    $("status").textContent = `Tile ${done} of ${total} of ${name}`;
  },
  numbering: () => { $("status").textContent = `Numbering the objects of ${name} …`; },
  cancelled: () => busy(false, "Cancelled."),
  done: ({ planes, size, notes, shares, numbered, seconds, logits }) => {
    globalThis.unetLogits = logits;
    $("result").hidden = false;
    $("plane-control").hidden = planes === 1;
    $("plane").max = planes - 1;
    $("plane").value = Math.floor(planes / 2);
    $("classes").replaceChildren(...shares.map((share, i) => {
      const row = document.createElement("tr"), head = document.createElement("th"), chip = document.createElement("span"), cells = [percent(share), i && i !== site.objects.border ? numbered[i].toLocaleString("en") : "–"];
      head.scope = "row";
      chip.className = "chip";
      chip.style.background = `rgb(${site.colors[i].join(" ")})`;
      head.append(chip, site.class_names[i]);
      row.append(head, ...cells.map((text) => Object.assign(document.createElement("td"), { className: "number", textContent: text })));
      return row;
    }));
    $("notes").replaceChildren(...notes.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
    busy(false, `${name}: ${planes > 1 ? `${planes} planes of ` : ""}${size[1]} × ${size[0]} pixels in ${seconds.toFixed(1)} s.`);
    document.body.dataset.done = Number(document.body.dataset.done ?? 0) + 1;
    show(Number($("plane").value));
  },
  shown: ({ bitmaps, plane: at, size }) => {
    for (const [id, bitmap] of [["picture", bitmaps[0]], ["overlay", bitmaps[1]], ["outlines", bitmaps[2]]]) {
      const canvas = $(id);
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      canvas.classList.toggle("small", Math.max(...size) < 600);
      canvas.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
    }
    const later = wanted;
    wanted = null;
    if (later !== at) show(later);
    else document.body.dataset.shown = at;
  },
  saved: ({ kind, blob }) => {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: `${name.replace(/\.[^.]*$/, "")}-${files[kind]}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  },
  error: ({ text, during }) => {
    $("error").textContent = text;
    $("error").hidden = false;
    if (during === "open") { $("status").textContent = ""; $("check").textContent = "It does not run here."; $("check").className = "bad"; } else busy(false, "Choose another image.");
  },
};

worker.onmessage = ({ data }) => replies[data.type](data);
worker.onerror = () => replies.error({ during: "open", text: "This page needs a current browser and a file server; opened as a file it cannot work. Try: python3 -m http.server" });
$("file").onchange = ({ target }) => { open(target.files[0]); target.value = ""; };
$("sample").onclick = () => begin({ type: "sample" }, "the example");
$("cancel").onclick = () => worker.postMessage({ type: "cancel" });
$("opacity").oninput = ({ target }) => { $("overlay").style.opacity = target.value / 100; $("opacity-value").textContent = `${target.value} %`; };
$("overlay").style.opacity = 0.5;
$("plane").oninput = ({ target }) => show(Number(target.value));
$("outlined").onchange = ({ target }) => { $("outlines").hidden = !target.checked; };
for (const kind of kinds) $(kind).onclick = () => worker.postMessage({ type: "save", kind, plane });
for (const type of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", type === "dragover");
    if (type === "drop" && !$("file").disabled) open(event.dataTransfer.files[0]);
  });
}
worker.postMessage({ type: "open", backend: new URLSearchParams(location.search).get("backend") });
