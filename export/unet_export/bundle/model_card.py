"""README.md of a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from unet_spec import DataSpec
from unet_spec.untrusted.text import code, markdown

from .manifest import SBOM

_EXTRAS = {
    "nnunet.json": "nnU-Net's plans: normalisation, resampling, sliding window, labels. `unet predict` follows "
    "them. The preparation above and this folder's `triton/` are those of the network alone: "
    "serve the `triton/` beside the folds instead, whose model `nnunet` follows the plans."
}


def model_card(
    manifest: dict[str, Any], parity: dict[str, Any], extras: Sequence[str] = (), objects: bool = False
) -> str:
    """The text in Markdown. extras: names of further files. objects: whether the repository for Triton has a step that
    separates objects."""
    layout = "(N, H, W, C)" if manifest["config"].get("spatial_dims", 2) == 2 else "(N, D, H, W, C)"
    return "\n".join(
        [
            "# U-Net bundle",
            "",
            f"{_network(manifest['config'])} {_classes(manifest)}",
            "",
            "## Input and output",
            "",
            *_input_and_output(manifest),
            "",
            "## Use",
            "",
            "```python",
            "import unet_export",
            f'logits = unet_export.load("this/folder")(images)  # {layout}, any size; logits likewise',
            "```",
            "",
            "## Files",
            "",
            *_files(manifest, objects),
            "",
            "## Error against the reference",
            "",
            *_distances(parity),
            "",
            "## Limits",
            "",
            "- It was trained on certain images only; for other stains, microscopes or scales, measure it first.",
            "- An engine runs only on the GPUs and with the version in its name; `unet_export.load` "
            "reports why it skips an engine.",
            f"- Licence of the weights: {markdown(manifest['licence'] or 'not stated; ask whoever gave them to you')}.",
            f"- Weights: checkpoint {manifest['checkpoint_digest'][:16]}…",
            *(f"- {code(name)}: {_EXTRAS.get(name, 'comes with the checkpoint.')}" for name in extras),
            "",
        ]
    )


def _classes(manifest: dict[str, Any]) -> str:
    names = manifest["class_names"]
    return f"Classes: {', '.join(map(markdown, names)) if names else manifest['classes']}."


def _network(config: dict[str, Any]) -> str:
    dims = f"{config.get('spatial_dims', 2)}-D"
    if config["architecture"] == "unet":
        widths = " ".join(map(str, config["widths"]))
        return f"A {dims} U-Net with widths {widths}, {config['padding']} convolutions, norm: {config['norm']}."
    described = {"architecture", "in_channels", "out_channels", "spatial_dims"}
    values = {key: value for key, value in config.items() if key not in described}
    text = ", ".join(f"{k} {' '.join(map(str, v)) if isinstance(v, list) else v}" for k, v in values.items())
    return f"A {dims} {config['architecture']}: {text}."


def _input_and_output(manifest: dict[str, Any]) -> Iterator[str]:
    image, logits, data = manifest["input"], manifest["output"], manifest["data"]
    pairs = zip(image["axes"][2:], manifest["sizes"], strict=True)
    sizes = ", ".join(f"{axis}: {size['minimum']} + {size['step']} k" for axis, size in pairs)
    yield f"- `{image['name']}`: float32, {_axes(image)}. Sizes that fit: {sizes}."
    margin = "/".join(map(str, manifest["margin"]))
    one = "The logit of class 1; its sigmoid is a probability."
    meaning = one if logits["channels"] == 1 else "Logits; softmax over C."
    if manifest["config"].get("distance_head"):
        share = "the predicted distance to the border of the object, as a share of its largest"
        meaning = (
            f"{one if logits['channels'] == 2 else 'Logits; softmax over all channels but the last.'} Last: {share}."
        )
    if data.get("overlapping"):
        meaning = "One logit for each class, which may overlap; the sigmoid of each is its probability."
    yield f"- `{logits['name']}`: float32, {_axes(logits)}, smaller by {margin} pixels per side. {meaning}"
    if noise := manifest.get("noise"):
        yield (
            f"- `{noise['name']}`: float32, (S, {noise['features']}), standard normal. If it is left out, "
            f"it is {noise['default']}. One image with S rows of noise gives S segmentations."
        )
    spec = DataSpec.from_dict(data, "the manifest")
    yield f"- Preparation: integer images divided by the largest value of their dtype{spec.describe()}."
    if size := spec.describe_spacing():
        yield f"- Pixel size expected: {markdown(size)}. `unet predict` resamples images and results; others must."
    if read := spec.describe_reading():
        yield f"- Files as read in training: {markdown(read)}."
    yield f"- Any size: {_tiling(manifest['tiling'])}"


def _axes(tensor: dict[str, Any]) -> str:
    axes = [f"C = {tensor['channels']}" if axis == "C" else axis for axis in tensor["axes"]]
    return f"({', '.join(axes)})"


def _tiling(tiling: dict[str, Any]) -> str:
    if not tiling["exact"]:
        return (
            "mirror the border and run the image in one piece; tiles are not exact, since each output "
            "depends on the whole image."
        )
    tile, stride = ("x".join(map(str, tiling[key])) for key in ("tile", "stride"))
    return f"tiles of {tile} every {stride} pixels, the border mirrored, reproduce the whole image exactly."


def _files(manifest: dict[str, Any], objects: bool) -> Iterator[str]:
    for entry in manifest["precisions"]:
        float32_layers = [*entry["kept_float32"], *entry["kept_for_builder"]]
        exempt = f"; in float32: {', '.join(float32_layers)}." if float32_layers else "."
        yield f"- {code(entry['file'])}: {entry['precision']}, for any ONNX runtime that has the type{exempt}"
    fused = manifest["baked"]
    if fused:
        image, result = fused["input"], fused["output"]
        yield (
            f"- `{fused['file']}`: {fused['precision']} with {', '.join(fused['steps'])} fused in: `{image['name']}`"
            f" {image['dtype']} {_axes(image)} to `{result['name']}` {result['dtype']} ({', '.join(result['axes'])}),"
            " sizes as above."
        )
    for engine in (*manifest["engines"], *(fused["engines"] if fused else ())):
        target = ", ".join(engine["compute_capabilities"]) or "the GPU that it was built on"
        smallest, largest = (tuple(engine["profile"][end]) for end in ("min", "max"))
        yield (
            f"- {code('engines/' + engine['file'])}: {engine['backend']} {engine['version']} and no other version,"
            f" {engine['precision']}, compute capability {target}; (batch, size) from {smallest} to {largest}."
        )
    yield (
        "- `triton/`: a model repository for NVIDIA Triton: the input is an 8-bit image of any size, "
        "the outputs are labels and probabilities"
        + (
            ", and numbered objects with their classes; the server's Python needs `pip install unet-twins`."
            if objects
            else "."
        )
    )
    yield "- `golden.npz`: a test image, the network's input and the expected logits."
    yield "- `manifest.json`, `parity.json`: the same facts for programs, and the SHA-256 of every file."
    yield f"- `{SBOM}`: a software bill of materials (CycloneDX): files, packages and licence."


def _simulated(parity: dict[str, Any]) -> str:
    """How the reduced precisions were compared; "" if there are none."""
    counts = [r["inputs"] for r in parity["results"] if r["runtime"] == "simulation"]
    if not counts:
        return ""
    images = "one image" if max(counts) == 1 else f"{max(counts)} images"
    return (
        "A simulation computes the reduced precision of the file, value by value; it needs no GPU. "
        f"It was compared on {images}."
    )


def _distances(parity: dict[str, Any]) -> Iterator[str]:
    yield (
        "Against the same network in NumPy, float64; errors relative to its largest logit "
        f"(bound of float32: {parity['bound']:.0e}). {_simulated(parity)}".strip()
    )
    yield ""
    yield "| runtime | precision | worst | RMS | same labels | at least |"
    yield "|---|---|---|---|---|---|"
    for r in parity["results"]:
        minimum = f"{r['least_label_agreement']:.1%}" if "least_label_agreement" in r else ""
        runtime = markdown(f"{r['runtime']} {r.get('version', '')}")
        yield (
            f"| {runtime} | {r['precision']} | {r['worst_relative']:.1e}"
            f" | {r['rms'] / (r['reference_max'] or 1):.1e} | {r['label_agreement']:.3%} | {minimum} |"
        )
    yield ""
    for entry in parity["not_run"]:
        what = entry.get("file") or f"{entry['runtime']} {entry.get('precision', '')}".strip()
        yield f"- not run: {markdown(what)} ({markdown(entry['reason'])})"
