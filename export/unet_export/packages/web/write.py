"""Writes a static web page that segments images in the browser. Any file server can serve it; it needs no other
server and no network access.

site/
  index.html, style.css, app.js   the page
  worker.js, tiles.js, files.js   the network's work: exact overlap-tile, images in, masks out
  objects.js, outlines.js         numbered objects, as unet_data.objects makes them; their table and outlines
  site.json                       the network: sizes, tiles, normalisation, classes, how objects are made
  model.onnx                      float32
  golden_image.npy, golden_logits.npy   an example, and the output of the float64 reference
  vendor/                         onnxruntime-web and geotiff, with their licences
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_data import prepare
from unet_data.io.colours import colour
from unet_data.objects.parts import ratio_of
from unet_data.objects.settings import settings_for
from unet_spec import Checkpoint, InputError
from unet_spec.files import replacing_folder
from unet_spec.tiling.tiles import tile_below

from ...bundle.describe import default_tile
from ...onnx.emitter import emit_onnx, onnx_bytes
from ...onnx.planes import can_planes, over_planes
from ...reference import FLOAT32_BOUND, default_golden_image, reference_logits, whole_input

if TYPE_CHECKING:
    from jaxtyping import Shaped

SITE, MODEL = "site.json", "model.onnx"
_PAGE = ("index.html", "style.css", "app.js", "worker.js", "tiles.js", "files.js", "objects.js", "outlines.js")
_ORT = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
_INSTALL = "npm install onnxruntime-web@1.30.0 geotiff@3.0.5"
_TILE_3D = 64
_MIT = """MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def write_web(
    checkpoint: Checkpoint,
    folder: str | os.PathLike[str],
    node_modules: str | os.PathLike[str],
    *,
    title: str | None = None,
    licence: str | None = None,
    calibration: Sequence[np.ndarray] | None = None,
    golden_image: Shaped[np.ndarray, "*spatial c"] | None = None,
) -> dict[str, Any]:
    """Writes the folder of a page, atomically. An existing page of this function is replaced.

    Args:
        checkpoint: The network.
        folder: A new or empty folder, or a folder of this function.
        node_modules: npm's folder with onnxruntime-web and geotiff, whose files are copied.
        title: Title of the page. None: derived from the classes.
        licence: Licence of the weights, shown on the page.
        calibration: Images (*spatial, C); the example is the middle of the last one if `golden_image` is None.
        golden_image: The example (*spatial, C). None without `calibration`: a synthetic image.

    Returns:
        The content of site.json.

    Raises:
        InputError: onnxruntime-web or geotiff is missing, the folder contains anything else, the classes overlap, the
            normalisation uses more than mean and std, or the stored settings of objects or the example do not fit the
            network.

    Example:
        >>> from unet_export import write_web
        >>> from unet_spec import Checkpoint, InputError, preset, random_tensors
        >>> config = preset("same", widths=(4, 8))
        >>> try:
        ...     write_web(Checkpoint(config, random_tensors(config.graph, 0)), "site", "no/node_modules")
        ... except InputError as e:
        ...     print(str(e)[:75])
        the page needs no/node_modules/onnxruntime-web/dist/ort.wasm.min.mjs; run n
    """
    path, modules = Path(folder), Path(node_modules)
    checkpoint.data.check_affine("the web page")
    _check_target(path)
    config, data = checkpoint.config, checkpoint.data
    if data.overlapping:
        raise InputError("the page supports one class per pixel; the classes of this network overlap")
    if config.classes > 256:
        raise InputError(f"the page's masks are uint8, which is too small for {config.classes} classes")
    objects = _objects(checkpoint)
    vendored = libraries(modules)
    model = emit_onnx(config, checkpoint.tensors, data)
    tile = default_tile(config.geometry)
    flat = config.spatial_dims == 2
    if not flat and tile is not None:
        tile = tile_below(config.geometry, _TILE_3D)
    by_planes = not flat and tile is not None and can_planes(model, config)
    if by_planes:
        assert tile is not None
        model = over_planes(model, config, tile)
    content = onnx_bytes(model)
    image = default_golden_image(checkpoint, calibration) if golden_image is None else np.asarray(golden_image)
    prepared = prepare(image[None], config, data)
    size = image.shape[:-1]
    logits = reference_logits(checkpoint, whole_input(config.geometry, prepared[0]))[(0, *map(slice, size))]
    site = {**_site(checkpoint, tile, by_planes, title, licence, content), "objects": objects}
    with replacing_folder(path) as new:
        page = resources.files("unet_export.packages.web").joinpath("page")
        for name in _PAGE:
            (new / name).write_bytes(page.joinpath(name).read_bytes())
        (new / MODEL).write_bytes(content)
        for name, array in (("image", image), ("logits", logits.astype(np.float32))):
            (new / f"golden_{name}.npy").write_bytes(_npy(array))
        for target, source in vendored.items():
            (new / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, new / target)
        (new / "vendor/onnxruntime-web/LICENSE").write_text(_MIT, encoding="utf-8")
        (new / SITE).write_text(json.dumps(site, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return site


def _check_target(path: Path) -> None:
    if path.is_file():
        raise InputError(f"cannot write a page to {path}: it is a file")
    if path.is_dir() and any(path.iterdir()) and not (path / SITE).is_file():
        raise InputError(f"cannot write a page to {path}: it is neither empty nor such a page, so it is not replaced")


def libraries(modules: Path) -> dict[str, Path]:
    """Files of other projects, by their names in the folder. Raises InputError if they are not installed."""
    ort, geotiff = modules / "onnxruntime-web", modules / "geotiff"
    files = {f"vendor/onnxruntime-web/{name}": ort / "dist" / name for name in _ORT}
    files |= {f"vendor/onnxruntime-web/{name}": ort / name for name in ("README.md", "package.json")}
    files |= {"vendor/geotiff/geotiff.js": geotiff / "dist-browser/geotiff.js"}
    files |= {f"vendor/geotiff/{name}": geotiff / name for name in ("LICENSE", "package.json")}
    if missing := [source for source in files.values() if not source.is_file()]:
        raise InputError(f"the page needs {missing[0]}; run {_INSTALL} and give its folder as --npm node_modules")
    return files


def _objects(checkpoint: Checkpoint) -> dict[str, Any]:
    """The page's settings for separating objects. Raises InputError if the stored settings do not fit the network."""
    config, data = checkpoint.config, checkpoint.data
    settings = settings_for(data, config)
    origin = "the defaults" if data.objects is None else "as stored with the network"
    per = "" if config.spatial_dims == 3 else ", in each plane by itself"
    return {
        **settings.to_dict(),
        "steps": [1, *settings.steps(2)] if config.spatial_dims == 2 else list(settings.steps(3)),
        "ratio": ratio_of(settings),
        "values": config.classes + 1 if config.distance_head else 1 if config.classes == 2 else config.classes,
        "made": f"Objects are made as by unet predict --output objects{per}: {settings.described()} ({origin}). Sizes "
        "are in pixels. Where a probability lies within rounding of a threshold, a pixel may differ.",
    }


def _site(
    checkpoint: Checkpoint,
    tile: tuple[int, ...] | None,
    fixed: bool,
    title: str | None,
    licence: str | None,
    model: bytes,
) -> dict[str, Any]:
    config, data, geometry = checkpoint.config, checkpoint.data, checkpoint.config.geometry
    names = list(data.class_names) or [f"class {i}" for i in range(config.classes)]
    exact = "equal the whole image" if geometry.shift_invariant else "none: the image is run in one piece"
    axes = [
        {
            "minimum": geometry.grid(a).minimum,
            "step": geometry.grid(a).step,
            "margin": geometry.margin(a),
            "halo": list(geometry.halo(a)) if geometry.shift_invariant else [0, 0],
            "tile": None if tile is None else tile[a],
            "fixed": fixed,
        }
        for a in range(config.spatial_dims)
    ]
    return {
        "format": "unet-page",
        "title": title or f"Segment {names[-1]}",
        "spatial_dims": config.spatial_dims,
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "output_channels": config.output_channels,
        "classes": config.classes,
        "class_names": names,
        "colors": [list(colour(i)) for i in range(config.classes)],
        "mean": list(data.mean),
        "std": list(data.std),
        "axes": axes,
        "webgpu": config.spatial_dims == 2 or fixed,  # WebGPU has no 3-D convolutions
        "model": MODEL,
        "model_bytes": len(model),
        "golden": {"image": "golden_image.npy", "logits": "golden_logits.npy", "bound": FLOAT32_BOUND},
        "facts": [
            ["network", f"{config.architecture}, {config.spatial_dims}-D, {config.graph.parameter_count:,} parameters"],
            ["tiles", f"{' × '.join(map(str, tile))}; they {exact}" if tile else exact],
            ["licence of the weights", licence or "not stated; ask whoever gave them to you"],
            ["checkpoint", checkpoint.digest()[:16]],
            ["contains", "ONNX Runtime Web (MIT), geotiff.js (MIT); see vendor/"],
        ],
    }


def _npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, np.ascontiguousarray(array))
    return content.getvalue()
