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
        f"A {config['spatial_dims']}-D U-Net with widths {' '.join(map(str, config['widths']))},"
        f" {config['padding']} convolutions, norm: {config['norm']}. {classes}",
        "",
        "## Input and output",
        "",
        f"- `{manifest['input']['name']}`: float32, {_axes(manifest['input'])}. Sizes that fit: {sizes}.",
        f"- `{manifest['output']['name']}`: float32, {_axes(manifest['output'])}, smaller by"
        f" {'/'.join(map(str, manifest['margin']))} pixels per side. "
        + ("The logit of class 1; its sigmoid is a probability." if one else "Logits; softmax over C."),
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
        "- `model.onnx`: for any ONNX runtime with opset 21.",
    ]
    for engine in manifest["engines"]:
        target = ", ".join(engine["compute_capabilities"]) or "the GPU that it was built on"
        profile = engine["profile"]
        lines.append(
            f"- `engines/{engine['file']}`: {engine['backend']} {engine['version']} and no other version, compute"
            f" capability {target}; (batch, size) from {tuple(profile['min'])} to {tuple(profile['max'])}."
        )
    lines += [
        "- `golden.npz`: an image, the network's input, the logits to expect.",
        "- `manifest.json`, `parity.json`: all of this for programs, and every file's SHA-256.",
        "",
        "## How far from the reference",
        "",
        "Against the same network in NumPy, float64, on the golden image, relative to the largest logit"
        f" (bound {parity['bound']:.0e}):",
        "",
    ]
    lines += [
        f"- {r['runtime']} {r['version']}: worst {r['worst_relative']:.1e} ({r['worst_absolute']:.1e} absolute,"
        f" RMS {r['rms']:.1e})"
        for r in parity["results"]
    ]
    lines += [f"- not run: {n.get('file', n['runtime'])} ({n['reason']})" for n in parity["not_run"]]
    return "\n".join(lines) + "\n"


def _layout(config: dict[str, Any]) -> str:
    return "(N, H, W, C)" if config["spatial_dims"] == 2 else "(N, D, H, W, C)"


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
