"""README.md of a bundle: what a person needs to know before running it."""

from __future__ import annotations

from typing import Any


def model_card(manifest: dict[str, Any], parity: dict[str, Any]) -> str:
    """Markdown, from the manifest and the parity record; nothing in it is not in those."""
    config, tiling, data = manifest["config"], manifest["tiling"], manifest["data"]
    names = manifest["class_names"]
    classes = f"Classes: {', '.join(names) if names else manifest['classes']}."
    one = manifest["output"]["channels"] == 1
    sizes = ", ".join(
        f"{axis}: {size['minimum']} + {size['step']} k"
        for axis, size in zip(manifest["input"]["axes"][2:], manifest["sizes"], strict=True)
    )
    lines = [
        "# U-Net bundle",
        "",
        f"{_network(config)} {classes}",
        "",
        "## Input and output",
        "",
        f"- `{manifest['input']['name']}`: float32, {_axes(manifest['input'])}. Sizes that fit: {sizes}.",
        f"- `{manifest['output']['name']}`: float32, {_axes(manifest['output'])}, smaller by"
        f" {'/'.join(map(str, manifest['margin']))} pixels per side. "
        + ("The logit of class 1; its sigmoid is a probability." if one else "Logits; softmax over C."),
        *_noise(manifest.get("noise")),
        "- Preparation: integer images divided by the largest value of their dtype"
        + (
            f", then (x − {_row(data['mean'])}) / {_row(data['std'])} per channel."
            if data["mean"]
            else "; no normalisation."
        ),
        "- Any size: " + _tiling(tiling),
        "",
        "## Use",
        "",
        "```python",
        "import unet_export",
        f'logits = unet_export.load("this/folder")(images)  # {_layout(config)}, any size; logits likewise',
        "```",
        "",
        "## Files",
        "",
    ]
    for entry in manifest["precisions"]:
        kept = [*entry["kept_float32"], *entry["kept_for_builder"]]
        lines.append(
            f"- `{entry['file']}`: {entry['precision']}, for any ONNX runtime that has the type"
            + (f"; in float32: {', '.join(kept)}." if kept else ".")
        )
    if baked := manifest["baked"]:
        lines.append(
            f"- `{baked['file']}`: {baked['precision']} with {', '.join(baked['steps'])} inside:"
            f" `{baked['input']['name']}` {baked['input']['dtype']} {_axes(baked['input'])} to"
            f" `{baked['output']['name']}` {baked['output']['dtype']} ({', '.join(baked['output']['axes'])}),"
            " sizes as above."
        )
    for engine in (*manifest["engines"], *(baked["engines"] if baked else ())):
        target = ", ".join(engine["compute_capabilities"]) or "the GPU that it was built on"
        profile = engine["profile"]
        lines.append(
            f"- `engines/{engine['file']}`: {engine['backend']} {engine['version']} and no other version,"
            f" {engine['precision']}, compute capability"
            f" {target}; (batch, size) from {tuple(profile['min'])} to {tuple(profile['max'])}."
        )
    lines += [
        "- `triton/`: a model repository for NVIDIA Triton: bytes of any size in, labels and probabilities out.",
        "- `golden.npz`: an image, the network's input, the logits to expect.",
        "- `manifest.json`, `parity.json`: all of this for programs, and every file's SHA-256.",
        "",
        "## How far from the reference",
        "",
        "Against the same network in NumPy, float64; errors relative to its largest logit"
        f" (bound of float32: {parity['bound']:.0e}). A simulation computes what the file says, value by value, on the"
        " images given to calibrate; it stands in for a GPU.",
        "",
        "| runtime | precision | worst | RMS | same labels | at least |",
        "|---|---|---|---|---|---|",
    ]
    for r in parity["results"]:
        least = f"{r['least_label_agreement']:.1%}" if "least_label_agreement" in r else ""
        lines.append(
            f"| {r['runtime']} {r.get('version', '')} | {r['precision']} | {r['worst_relative']:.1e}"
            f" | {r['rms'] / (r['reference_max'] or 1):.1e} | {r['label_agreement']:.3%} | {least} |"
        )
    lines += ["", *(f"- not run: {_what(n)} ({n['reason']})" for n in parity["not_run"])]
    lines += [
        "",
        "## Limits",
        "",
        "- It tells apart what its training images showed; on other stains, microscopes or scales, measure first.",
        "- An engine runs on the GPUs and the version in its name only; `unet_export.load` says why it skips one.",
        f"- Licence of the weights: {manifest['licence'] or 'not stated; ask whoever gave them to you'}.",
        f"- Weights: checkpoint {manifest['checkpoint_digest'][:16]}…",
    ]
    return "\n".join(lines) + "\n"


def _network(config: dict[str, Any]) -> str:
    dims = f"{config.get('spatial_dims', 2)}-D"
    if config["architecture"] == "unet":
        widths = " ".join(map(str, config["widths"]))
        return f"A {dims} U-Net with widths {widths}, {config['padding']} convolutions, norm: {config['norm']}."
    said = {"architecture", "in_channels", "out_channels", "spatial_dims"}
    values = {key: value for key, value in config.items() if key not in said}
    told = ", ".join(f"{k} {' '.join(map(str, v)) if isinstance(v, list) else v}" for k, v in values.items())
    return f"A {dims} {config['architecture']}: {told}."


def _what(entry: dict[str, Any]) -> str:
    return entry.get("file") or f"{entry['runtime']} {entry.get('precision', '')}".strip()


def _layout(config: dict[str, Any]) -> str:
    return "(N, H, W, C)" if config.get("spatial_dims", 2) == 2 else "(N, D, H, W, C)"


def _noise(noise: dict[str, Any] | None) -> list[str]:
    if noise is None:
        return []
    return [
        f"- `{noise['name']}`: float32, (S, {noise['features']}), standard normal. Left out, it is {noise['default']}."
        " One image with S rows of noise gives S hypotheses."
    ]


def _row(values: Any) -> str:
    """(0.5,) as "0.5", (0.5, 0.25) as "[0.5, 0.25]"."""
    texts = [f"{value:.6g}" for value in values]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _axes(tensor: dict[str, Any]) -> str:
    axes = [f"C = {tensor['channels']}" if axis == "C" else axis for axis in tensor["axes"]]
    return f"({', '.join(axes)})"


def _tiling(tiling: dict[str, Any]) -> str:
    if not tiling["exact"]:
        return "mirror the border and run the image in one piece; this network sees all of it, so no tile is exact."
    tile, stride = ("x".join(map(str, tiling[key])) for key in ("tile", "stride"))
    return f"tiles of {tile} every {stride} pixels, the border mirrored, reproduce the whole image exactly."
