"""Segments an image layer tile by tile, with progress; can be cancelled."""

from __future__ import annotations

import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from unet_data.inference.network import OpenNetwork
from unet_data.inference.output import Output, on_own_pixels
from unet_data.inference.plan import plan_tiled
from unet_data.inference.prepare import looks_foreign
from unet_data.inference.stitch import compute_tiles
from unet_data.objects.settings import ObjectSettings, settings_for
from unet_data.objects.table import Columns
from unet_data.spacing.grids import grids_of, noted
from unet_data.spacing.target import TargetSpacing
from unet_spec.tiling.planner import Plan

from .layers import LayerImages
from .results import LayerData, classes_layer, masks_layers, objects_layer, probabilities_layers
from .work import Cancelled, Step

ResultKind = Literal["classes", "objects", "probabilities"]


@dataclass(frozen=True)
class Prediction:
    """Result for a layer.

    Attributes:
        layers: layers to add to the viewer.
        summary: summary in one line.
        warnings: warnings about the images.
        shares: text with the share of each class; empty if classes overlap.
    """

    layers: list[LayerData]
    summary: str
    warnings: list[str] = field(default_factory=list)
    shares: dict[str, str] = field(default_factory=dict)


def predict_layer(
    network: OpenNetwork,
    images: LayerImages,
    kind: ResultKind = "classes",
    cancel: threading.Event | None = None,
    objects: ObjectSettings | None = None,
) -> Generator[Step, None, Prediction]:
    """Computes the result layers of an image layer. Yields a step before the first and after each tile.

    Args:
        network: the opened network.
        images: images of the layer; each is normalised separately, as in `unet predict`.
        kind: "classes" (class numbers, or masks of overlapping classes), "objects" (numbered from 1 over all images,
            with measurements) or "probabilities".
        cancel: if set, no further tile is computed.
        objects: settings of the object separation. None: those stored with the network, or the defaults.

    Returns:
        The layers, as the generator's return value.

    Raises:
        InputError: the images do not fit the network, or its classes do not define objects.
        Cancelled: `cancel` was set.
    """
    config, data = network.config, network.data
    making = settings_for(data, config, objects) if kind == "objects" else None
    output = {
        "classes": Output("labels", overlapping=data.overlapping, distance=config.distance_head),
        "probabilities": Output("probabilities", overlapping=data.overlapping, distance=config.distance_head),
        "objects": Output("objects", "uint8", distance=config.distance_head),
    }[kind]
    pixel, dtype = output.pixel(config)
    grids = grids_of(images.spatial, images.facts, TargetSpacing.of(data))
    plan = plan_tiled(network, images.spatial if grids is None else grids.target)
    total, done = len(images) * len(plan.tiles), 0
    yield Step(0, total, f"{len(images)} x {'x'.join(map(str, images.spatial))}: {plan.describe()}")
    result = np.zeros((*images.leading, *images.spatial, *(() if making else pixel)), np.uint32 if making else dtype)
    notes = noted(images.facts, images.spatial, data).read_as
    odd = [f"{images.name}: {note}" for note in notes if grids is None]
    unstated = len(odd)
    pages: list[Columns] = []
    count = 0
    for index in range(len(images)):
        image = images[index]
        if (note := looks_foreign(image, data)) and len(odd) == unstated:
            odd.append(f"{images.name}: {note}")
        page = np.empty((*images.spatial, *pixel), dtype)
        outputs = None if grids is None else np.empty((*grids.target, config.output_channels), np.float32)
        for tile, logits in _tiles(network, image if grids is None else grids.image(image), plan):
            if outputs is None:
                page[tile.target] = output.of(logits)
            else:
                outputs[tile.target] = logits
            done += 1
            yield Step(done, total, f"tile {done} of {total}")
            if cancel is not None and cancel.is_set():
                raise Cancelled
        if grids is not None and outputs is not None:
            page = output.of(on_own_pixels(outputs, grids, config, data.overlapping))
        if making is not None:
            yield Step(done, total, "numbering objects")
            page, columns = _objects(page, image, making, config.spatial_dims, data.names(config), count)
            count += len(columns["object"])
            pages.append(columns)
        result[images.place(index)] = page
    place, name = images.placed(), f"{images.name} {kind}"
    names = data.names(config)
    if making is not None:
        columns = {key: np.concatenate([each[key] for each in pages]) for key in pages[0]}
        return Prediction([objects_layer(result, columns, name, place)], f"{count} objects", odd)
    if kind == "probabilities":
        single = not pixel
        return Prediction(probabilities_layers(result, names, name, place, single), "probabilities of the classes", odd)
    if data.overlapping:
        return Prediction(masks_layers(result, names, name, place), f"masks of {', '.join(names)}", odd)
    counts = np.bincount(result.ravel(), minlength=len(names))
    shares = {own: f"{count / result.size:.1%}" for own, count in zip(names, counts, strict=True)}
    summary = ", ".join(f"{own} {share}" for own, share in shares.items())
    return Prediction([classes_layer(result, names, name, place)], summary, odd, shares)


def _tiles(network: OpenNetwork, image: np.ndarray, plan: Plan) -> Generator[tuple[Any, np.ndarray], None, None]:
    prepared = network.prepare(image[None])[0]
    numbers = range(len(plan.tiles))
    tiles = compute_tiles(network.run, prepared, plan.tiles, network.config.output_channels, numbers, batch=plan.batch)
    for tile, _, logits in tiles:
        yield tile, logits


def _objects(
    values: np.ndarray, image: np.ndarray, settings: ObjectSettings, dims: int, names: tuple[str, ...], before: int
) -> tuple[np.ndarray, Columns]:
    """The objects of an image, numbered from `before` + 1, and a table row for each."""
    from unet_data.objects.table import measure_objects
    from unet_data.objects.whole import objects_of

    labels, classes = objects_of(values, settings, dims)
    columns = measure_objects(labels, image, len(classes))
    columns |= {"object": columns["object"] + before, "class": np.asarray([names[c] for c in classes], object)}
    return np.where(labels > 0, labels + np.uint32(before), 0).astype(np.uint32), columns
