"""Writes a model for the BioImage Model Zoo, which ilastik, Fiji, QuPath, deepImageJ and `bioimageio.core` read.

model.zip
  rdf.yaml              the description, specification 0.5 (written as JSON, which is YAML)
  model.onnx            the network with mirroring (`onnx.mirrored`)
  test_input.npy        an image as read
  test_output.npy       output of the float64 reference for it
  cover.png             the image and its prediction
  README.md             description
  config.json, model.safetensors: the checkpoint. The unzipped folder is a checkpoint.

Programs process an image in blocks of the sizes in the description and drop their halo; the result equals that of the
whole image. The preprocessing in the description normalises; its postprocessing computes probabilities.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_data import most_probable, prepare, probabilities
from unet_data.io.colours import colour
from unet_data.normalize import full_scale
from unet_data.windows import mirror_window
from unet_spec import Checkpoint, InputError
from unet_spec.files import writing
from unet_spec.weights.checkpoint import CONFIG, WEIGHTS

from ..onnx.emitter import OPSET, emit_onnx, onnx_bytes
from ..onnx.mirrored import BlockAxis, block_axes, mirror_inside
from ..onnx.ops import INPUT
from ..reference import FLOAT32_BOUND, Distance, default_golden_image, reference_logits, whole_input
from .zoo_card import zoo_card

if TYPE_CHECKING:
    from jaxtyping import Shaped

RDF, ONNX, TEST_INPUT, TEST_OUTPUT = "rdf.yaml", "model.onnx", "test_input.npy", "test_output.npy"
COVER, CARD, PROBABILITIES = "cover.png", "README.md", "probabilities"
SPECIFICATION = "0.5.12"  # the first that defines the padding at an image's border
_DATE = (1980, 1, 1, 0, 0, 0)  # equal checkpoints give equal files
_PAPER = "Ronneberger, Fischer, Brox 2015: U-Net, doi:10.1007/978-3-319-24574-4_28"


@dataclass(frozen=True)
class ZooEntry:
    """Facts about a model's authors and origin that the model zoo requires.

    Attributes:
        licence: Licence of the weights as SPDX identifier, such as "CC-BY-4.0".
        authors: Names of the authors.
        cite: Publications to cite, each with a DOI or an address.
        title: Name of the model, 5 to 128 letters, digits, spaces and _+-(). None: derived from the network.
        description: What the model segments. None: derived from the classes.
        scores: Validation scores by name, for the README.

    Example:
        >>> from unet_export import ZooEntry
        >>> ZooEntry("CC-BY-4.0", ("Ada Lovelace",), ("The paper, doi:10.1007/978-3-319-24574-4_28",)).check()
    """

    licence: str | None = None
    authors: Sequence[str] = ()
    cite: Sequence[str] = ()
    title: str | None = None
    description: str | None = None
    scores: Mapping[str, float] | None = None

    def check(self) -> None:
        """Raises InputError if something that the zoo requires is missing; the message names the option for it."""
        missing = [
            option
            for option, value in (
                ("--licence, such as CC-BY-4.0", self.licence),
                ('--author, such as "Ada Lovelace"', self.authors),
                (f'--cite, such as "{_PAPER}"', self.cite),
            )
            if not value
        ]
        if missing:
            raise InputError("a model for the BioImage Model Zoo needs " + "; and ".join(missing))
        for text in self.cite:
            _citation(text)
        if self.title is not None and not re.fullmatch(r"[A-Za-z0-9_+\- ()]{5,128}", self.title):
            raise InputError(f"--title {self.title!r}: the zoo requires 5 to 128 letters, digits, spaces and _+-()")
        if bad := [name for name in self.authors if not name.strip() or "/" in name or "\\" in name]:
            raise InputError(f"--author {bad[0]!r} is not the name of a person")


def write_bioimageio(
    checkpoint: Checkpoint,
    path: str | os.PathLike[str],
    entry: ZooEntry,
    *,
    calibration: Sequence[np.ndarray] | None = None,
    golden_image: Shaped[np.ndarray, "*spatial c"] | None = None,
) -> dict[str, Any]:
    """Writes a model of the BioImage Model Zoo, atomically.

    Args:
        checkpoint: The network.
        path: The .zip file.
        entry: Licence, authors, citations.
        calibration: Images (*spatial, C); the last is the test image if `golden_image` is None.
        golden_image: (*spatial, C), of any size: its middle, mirrored if it is too small, is the test image, and its
            dtype is declared in the description. None without `calibration`: a synthetic uint8 image.

    Returns:
        The description, as rdf.yaml holds it.

    Raises:
        InputError: If the network depends on the whole image, `entry` is incomplete, the image does not fit the
            network, or ONNX Runtime differs from the reference by more than `FLOAT32_BOUND`.

    Example:
        >>> from unet_export import ZooEntry, write_bioimageio
        >>> from unet_spec import Checkpoint, preset, random_tensors
        >>> config = preset("paper", widths=(4, 8))
        >>> checkpoint = Checkpoint(config, random_tensors(config.graph, 0))
        >>> entry = ZooEntry("CC0-1.0", ("Ada Lovelace",), ("The paper, https://arxiv.org/abs/1505.04597",))
        >>> rdf = write_bioimageio(checkpoint, "model.zip", entry)
        >>> rdf["outputs"][0]["axes"][2]["halo"], rdf["inputs"][0]["axes"][2]["size"]
        (10, {'min': 22, 'step': 2})
    """
    entry.check()
    config, data = checkpoint.config, checkpoint.data
    data.check_affine("the BioImage Model Zoo's software")
    checkpoint.config.check_classes_alone("the BioImage Model Zoo's software")
    axes = block_axes(config.geometry)
    model = onnx_bytes(mirror_inside(emit_onnx(config, checkpoint.tensors, data), config.geometry))
    image = default_golden_image(checkpoint, calibration) if golden_image is None else np.asarray(golden_image)
    image = _fitted(image, axes)
    prepared = prepare(image[None], config, data)
    size = image.shape[:-1]
    logits = reference_logits(checkpoint, whole_input(config.geometry, prepared[0]))[(0, *map(slice, size))]
    distance = _distance(model, prepared, logits)
    rdf = _describe(checkpoint, entry, axes, image)
    expected = _probabilities(logits, data.overlapping).astype(np.float32)
    config_json = config.to_dict() | {"data": data.to_dict()}
    from safetensors.numpy import save

    tensors = {name: np.ascontiguousarray(checkpoint.tensors[name]) for name in config.graph.params}
    contents = {
        RDF: _json(rdf),
        ONNX: model,
        TEST_INPUT: _npy(_channels_first(image)),
        TEST_OUTPUT: _npy(_channels_first(expected)),
        COVER: _cover(image, most_probable(logits)),
        CARD: zoo_card(checkpoint, rdf, axes, distance.worst_relative, entry.scores).encode(),
        CONFIG: _json(config_json),
        WEIGHTS: save(tensors, {"format": "pt"}),
    }
    with writing(Path(path)) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), content, zipfile.ZIP_DEFLATED)
    return rdf


def _fitted(image: np.ndarray, axes: tuple[BlockAxis, ...]) -> np.ndarray:
    """The middle of an image, or the mirrored image, in the smallest allowed sizes that differ between the axes."""
    if image.ndim != len(axes) + 1:
        raise InputError(f"a test image of shape {image.shape}; expected {len(axes)} axes and the channels")
    size = [axis.minimum + (i * axis.step if len(axes) == 2 else 0) for i, axis in enumerate(axes)]
    start = [(n - target) // 2 for n, target in zip(image.shape, size, strict=False)]
    return np.ascontiguousarray(mirror_window(image, start, size))


def _probabilities(logits: np.ndarray, overlapping: bool) -> np.ndarray:
    """The probabilities from the description's postprocessing: one channel per logit."""
    if overlapping or logits.shape[-1] == 1:
        return 1 / (1 + np.exp(-logits))
    return probabilities(logits)


def _distance(model: bytes, prepared: np.ndarray, logits: np.ndarray) -> Distance:
    from ..runtimes.onnx_runtime import open_session, run_session

    (actual,) = run_session(open_session(model, "fp32", ONNX), ["logits"], {INPUT: _channels_first(prepared[0])})
    distance = Distance.between(np.moveaxis(actual[0], 0, -1), logits)
    if distance.worst_relative > FLOAT32_BOUND:
        raise InputError(
            f"the error of ONNX Runtime is {distance.worst_relative:.1e} of the reference's largest logit; the bound "
            f"is {FLOAT32_BOUND:.0e}; no model was written"
        )
    return distance


def _describe(checkpoint: Checkpoint, entry: ZooEntry, axes: tuple[BlockAxis, ...], image: np.ndarray) -> Any:
    config, data = checkpoint.config, checkpoint.data
    names = ["z", "y", "x"][-config.spatial_dims :]
    classes = list(data.class_names) or [f"class {i}" for i in range(data.class_count(config))]
    channels = [f"channel {i}" for i in range(config.in_channels)]
    batch = {"type": "batch"}
    image_axes = [batch, {"type": "channel", "channel_names": channels}] + [
        {"type": "space", "id": name, "size": {"min": axis.minimum, "step": axis.step}}
        for name, axis in zip(names, axes, strict=True)
    ]
    alone = config.out_channels == 1 or data.overlapping  # each logit has its own sigmoid
    output_axes = [batch, {"type": "channel", "channel_names": classes[-config.out_channels :]}] + [
        {"type": "space", "id": name, "halo": axis.halo, "size": {"tensor_id": INPUT, "axis_id": name}}
        for name, axis in zip(names, axes, strict=True)
    ]
    activation = {"id": "sigmoid"} if alone else {"id": "softmax", "kwargs": {"axis": "channel"}}
    segmented = ", ".join(classes)
    title = entry.title or f"{config.architecture} {config.spatial_dims}D".replace("++", " plus plus")
    return {
        "format_version": SPECIFICATION,
        "type": "model",
        "name": title if len(title) >= 5 else f"{title} network",
        "description": entry.description or f"Segments {config.spatial_dims}-D images into {segmented}.",
        "authors": [{"name": name} for name in entry.authors],
        "cite": [_citation(text) for text in entry.cite],
        "license": entry.licence,
        "tags": ["unet", "segmentation", "semantic-segmentation", f"{config.spatial_dims}d", "onnx"],
        "documentation": {"source": CARD},
        "covers": [{"source": COVER}],
        "attachments": [{"source": CONFIG}, {"source": WEIGHTS}],
        "inputs": [
            {
                "id": INPUT,
                "axes": image_axes,
                "test_tensor": {"source": TEST_INPUT},
                "data": {"type": image.dtype.name},
                "pad": {"mode": "reflect"},
                "preprocessing": _preprocessing(checkpoint, image.dtype),
            }
        ],
        "outputs": [
            {
                "id": PROBABILITIES,
                "axes": output_axes,
                "test_tensor": {"source": TEST_OUTPUT},
                "data": {"type": "float32", "range": [0.0, 1.0]},
                "postprocessing": [activation],
            }
        ],
        "weights": {"onnx": {"source": ONNX, "opset_version": OPSET}},
        "config": {
            "bioimageio": {
                "model_parameter_count": config.graph.parameter_count,
                "reproducibility_tolerance": [{"relative_tolerance": 1e-3, "absolute_tolerance": 1e-4}],
            },
            "unet-twins": {"checkpoint_digest": checkpoint.digest()},
        },
    }


def _preprocessing(checkpoint: Checkpoint, dtype: np.dtype) -> list[dict[str, Any]]:
    """One product and one sum per channel: (x / full scale − mean) / std."""
    data, scale = checkpoint.data, full_scale(dtype) if dtype.kind == "u" else 1.0
    gains = [1 / (scale * s) for s in data.std] or [1 / scale]
    offsets = [-m / s for m, s in zip(data.mean, data.std, strict=True)] or [0.0]
    kwargs = {"gain": gains, "offset": offsets, "axis": "channel"}
    if len(gains) == 1:
        kwargs = {"gain": gains[0], "offset": offsets[0]}
    as_float = {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}
    return [as_float, {"id": "scale_linear", "kwargs": kwargs}, as_float]


def _citation(text: str) -> dict[str, str]:
    """ "Somebody 2020, doi:10.1/x" or "…, https://…" as an entry of `cite`. Raises InputError."""
    if doi := re.search(r"10\.\d{4,9}/[^\s,;]+", text):
        key, place = "doi", doi[0]
    elif address := re.search(r"https?://[^\s,;]+", text):
        key, place = "url", address[0]
    else:
        raise InputError(f"--cite {text!r} has no DOI and no URL; give one, such as {_PAPER!r}")
    words = re.sub(r"(doi:|https?://(dx\.)?doi\.org/)?\s*" + re.escape(place), "", text).strip(" ,;.")
    return {"text": words or place, key: place.rstrip(".")}


def _cover(image: np.ndarray, labels: np.ndarray) -> bytes:
    """A PNG with the image, and beside it the image overlaid with the colours of its classes."""
    from PIL import Image

    if labels.ndim == 3:
        image, labels = image[len(image) // 2], labels[len(labels) // 2]
    edge = min(labels.shape)
    image, labels = image[:edge, :edge], labels[:edge, :edge]
    grey = image.astype(np.float64).mean(-1)
    grey = 255 * (grey - grey.min()) / max(np.ptp(grey), 1e-9)
    plain = np.repeat(grey[..., None], 3, -1)
    colors = np.array([colour(n) for n in range(256)], np.float64)[labels.astype(np.intp) % 256]
    painted = np.where((labels > 0)[..., None], 0.55 * plain + 0.45 * colors, plain)
    cover = Image.fromarray(np.concatenate([plain, painted], 1).round().astype(np.uint8))
    scale = min(512 / edge, max(1, round(256 / edge)))
    if scale != 1:
        cover = cover.resize((2 * round(edge * scale), round(edge * scale)), Image.Resampling.BICUBIC)
    content = io.BytesIO()
    cover.save(content, "PNG", optimize=True)
    return content.getvalue()


def _channels_first(image: np.ndarray) -> np.ndarray:
    """(*spatial, C) to (1, C, *spatial)."""
    return np.ascontiguousarray(np.moveaxis(image, -1, 0)[None])


def _npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def _json(values: Any) -> bytes:
    return (json.dumps(values, indent=2, allow_nan=False) + "\n").encode()
