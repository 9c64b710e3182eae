"""Measures a network on a labelled data set."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from unet_spec import DataSpec, InputError, NetworkConfig
from unet_spec.ops import draw_noise

from ..datasets.border_class import BORDER_CLASSES
from ..datasets.border_weights import cells_of
from ..datasets.dataset import Dataset
from ..datasets.label_rule import IGNORED, class_counts
from ..inference.output import most_probable, probabilities
from ..inference.predict import predict_output, sample_image
from ..inference.stitch import Run
from ..io.formats.channels import advice
from ..labels.masks import unpack_masks
from ..labels.regions import regions
from ..objects.settings import ObjectSettings
from ..objects.whole import objects_of
from ..windows import bands
from .clustering import overlap, v_info, v_rand
from .confusion import confusion, dice, iou, pixel_accuracy
from .energy import mean_energy_distance
from .instances import object_map
from .matching import instance_scores
from .overlapping import score_masks
from .thinning import thin_borders
from .warping import warping_error

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""They are dense near 1, where most of a network's probabilities lie and many borders become closed."""


def measure(
    run: Run,
    config: NetworkConfig,
    data: DataSpec,
    dataset: Dataset,
    objects: bool = False,
    warp: bool = False,
    each: Callable[[np.ndarray, np.ndarray], None] | None = None,
    separate: ObjectSettings | None = None,
) -> dict[str, float]:
    """Measures a network on labelled images, each segmented as a whole.

    Scores are those of the images' own pixels, also if the network expects another pixel size.

    Pixels whose label is IGNORED do not count in any score. For objects they are background in both truth and
    prediction, so they cut an object in two (unless the label files number it as one).

    Args:
        run, config, data: the network, as in `predict_image`.
        dataset: data set with labels.
        objects: also compute `object_scores`, if there are two classes and class 1 is the objects.
        warp: with two classes, also compute the warping error of the most probable classes (2-D only; takes about a
            second per image).
        each: called with the logits (*spatial, K) and the label (*spatial) of every image, in order; if classes may
            overlap, the label is packed by `unet_data.pack_masks`.
        separate: also compute "ap_mean" of `instance_scores`, of the objects that these settings make, if the labels
            number objects.

    Returns:
        pixel_accuracy, pixel_error, iou and dice, in 0..1 over all pixels of all images. iou and dice are means over
        the classes that occur in the labels; NaN if there is only one. If classes may overlap, the result of
        `measure_overlapping`.

    Raises:
        InputError: the data set has no labels, or other channels, axes or classes than the network, or all of its
            pixels are ignored; or classes may overlap in only one of the two.

    Example:
        >>> from unet_data import measure, membranes
        >>> from unet_spec import DataSpec, preset
        >>> bright = lambda images: np.concatenate([0.5 - images, images - 0.5], -1)  # stands for a network
        >>> scores = measure(bright, preset("same"), DataSpec(), membranes(1, 64, seed=0))
        >>> scores["pixel_accuracy"] > 0.7
        True
    """
    if dataset.labels is None:
        raise InputError(f"{dataset.source} has no labels to compare with")
    check_overlap(data, dataset)
    check_fits(config, dataset)
    if data.overlapping:
        pairs = zip(dataset.images, dataset.labels, strict=True)
        masks = (
            (np.asarray(i), unpack_masks(np.asarray(m), dataset.class_count), dataset.file_facts(n))
            for n, (i, m) in enumerate(pairs)
        )
        labels = dataset.labels
        given = None if each is None else lambda logits, index: each(logits, np.asarray(labels[index]))
        return score_masks(run, config, data, masks, given)
    matrix = np.zeros((config.classes, config.classes), np.int64)
    tables, warped, separated = [], [], []
    for index, (image, truth) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
        label = np.asarray(truth)  # if images stay in their files, only one is in memory
        output = predict_output(run, np.asarray(image), config, data, facts=dataset.file_facts(index))
        logits = output[..., : config.out_channels]
        if each is not None:
            each(logits, label)
        guess = most_probable(logits)
        matrix += confusion(guess, label, config.classes, IGNORED)
        counted = label != IGNORED
        if objects and config.classes == 2:
            chance = np.where(counted, probabilities(logits)[..., 1], 0)
            tables.append(_tables(chance, cells_of(dataset, index), THRESHOLDS))
        if warp and config.classes == 2 and label.ndim == 2 and counted.any():
            warped.append(warping_error(label > 0, guess > 0, counted=counted))
        if separate is not None and dataset.instances is not None:
            separated.append(objects_of(object_map(output, label, config), separate, label.ndim)[0])
    accuracy = pixel_accuracy(matrix)
    present = matrix.sum(1) > 0
    scores = {"pixel_accuracy": accuracy, "pixel_error": 1 - accuracy}
    for name, score in (("iou", iou), ("dice", dice)):
        scores[name] = float(score(matrix).per_class[present].mean()) if present.sum() > 1 else math.nan
    if tables:
        scores |= _mean_scores(tables, THRESHOLDS)
    if separated:
        truths = (np.asarray(instances) for instances in dataset.instances or ())
        scores["ap_mean"] = instance_scores(truths, separated)["ap_mean"]
    return scores | ({"warping_error": float(np.mean(warped))} if warped else {})


def measure_samples(
    run: Callable[[np.ndarray, np.ndarray], np.ndarray],
    config: NetworkConfig,
    data: DataSpec,
    dataset: Dataset,
    samples: int,
    seed: int = 0,
) -> dict[str, float]:
    """Measures the samples of a network with a latent variable.

    Both scores leave out IGNORED pixels, and images in which all pixels are ignored.

    Args:
        run: `run` of a runtime, with noise.
        config, data: config and data spec of the network.
        dataset: data set with labels.
        samples: number of samples per image.
        seed: random seed of the noise.

    Returns:
        energy_distance: the generalised energy distance of the hypotheses from the label, in 0..2. diversity: the mean
        distance of two hypotheses (`unet_data.metrics.energy`). Both are means over the images.

    Raises:
        InputError: as `measure`, and if the network has no latent variable.

    Example:
        >>> from unet_data import measure_samples, membranes
        >>> from unet_spec import DataSpec, preset
        >>> noisy = lambda images, noise: images - 0.5 + noise[:, :1, None, None]  # one image and S noises to S logits
        >>> data = membranes(1, 64, seed=0)
        >>> sorted(measure_samples(noisy, preset("probabilistic-unet"), DataSpec(), data, samples=4))
        ['diversity', 'energy_distance']
    """
    if dataset.labels is None:
        raise InputError(f"{dataset.source} has no labels to compare with")
    check_fits(config, dataset)
    hypotheses, truths = [], []
    for index, (image, truth) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
        label = np.asarray(truth)
        counted = label != IGNORED
        if not counted.any():
            continue
        noise = draw_noise(config.graph, samples, seed, index)
        logits = sample_image(run, np.asarray(image), config, data, noise, facts=dataset.file_facts(index))
        hypotheses.append(most_probable(logits)[:, counted])
        truths.append(label[counted][None])
    distance, diversity = mean_energy_distance(hypotheses, truths, config.classes)
    return {"energy_distance": distance, "diversity": diversity}


def object_scores(
    chances: Iterable[np.ndarray], truths: Iterable[np.ndarray], thresholds: Sequence[float] = THRESHOLDS
) -> dict[str, float]:
    """V_Rand and V_Info after border thinning, and the adapted Rand error without it.

    V_Rand and V_Info are means over the images at the threshold that is best for each, as in the ranking of ISBI 2012.
    The adapted Rand error is that at the threshold 0.5.

    Args:
        chances: for each image, the probability of class 1, (H, W) or (D, H, W), in 0..1.
        truths: for each image, the objects, numbered from 1, 0 elsewhere. Images without objects do not count.
        thresholds: a pixel is inside an object if its probability is above the threshold.

    Returns:
        v_rand, v_rand_threshold, v_info, v_info_threshold, adapted_rand_error; NaN if no image counts.

    Example:
        >>> from unet_data import membrane_instances, membranes, object_scores
        >>> perfect = [label.astype(float) for label in membranes(2, 64, seed=0).labels]
        >>> round(object_scores(perfect, membrane_instances(2, 64, seed=0))["v_rand"], 3)
        1.0
    """
    return _mean_scores([_tables(c, t, thresholds) for c, t in zip(chances, truths, strict=True)], thresholds)


class _Tables(NamedTuple):
    """Scores of one image: V_Rand and V_Info after border thinning at each threshold, and the adapted Rand error."""

    rand: list[float]
    info: list[float]
    error: float


def _tables(chance: np.ndarray, truth: np.ndarray, thresholds: Sequence[float]) -> _Tables | None:
    if not (truth > 0).any():
        return None
    tables = [overlap(thin_borders(regions(chance > t)), truth) for t in thresholds]
    error = 1 - v_rand(overlap(regions(chance > 0.5), truth))
    return _Tables([v_rand(table) for table in tables], [v_info(table) for table in tables], error)


def _mean_scores(images: Sequence[_Tables | None], thresholds: Sequence[float]) -> dict[str, float]:
    counted = [tables for tables in images if tables is not None]
    if not counted:
        return dict.fromkeys(
            ("v_rand", "v_rand_threshold", "v_info", "v_info_threshold", "adapted_rand_error"), math.nan
        )
    scores = {}
    for name, values in (("v_rand", [t.rand for t in counted]), ("v_info", [t.info for t in counted])):
        means = np.mean(values, 0)
        best = int(np.argmax(means))
        scores |= {name: float(means[best]), f"{name}_threshold": thresholds[best]}
    return scores | {"adapted_rand_error": float(np.mean([t.error for t in counted]))}


def commonest_class_accuracy(dataset: Dataset) -> float:
    """The pixel accuracy of predicting the most frequent class everywhere, a baseline. NaN if classes may overlap.

    Args:
        dataset: data set with labels.

    Example:
        >>> from unet_data import commonest_class_accuracy, membranes
        >>> 0.5 < commonest_class_accuracy(membranes(2, 64, seed=0)) < 1
        True
    """
    if dataset.overlapping:
        return math.nan
    counts = sum(class_counts(label, dataset.class_count) for label in dataset.labels or ())
    return float(np.max(counts) / np.sum(counts))


def check_overlap(data: DataSpec, dataset: Dataset) -> None:
    """Raises InputError if classes may overlap in only one of network and labels, or if their names differ."""
    source, option = dataset.source, "--labels overlapping"
    if data.overlapping and not dataset.overlapping:
        raise InputError(
            f"the network's classes may overlap, the labels of {source} have one class per pixel: give a "
            f"mask for each class, with {option} (in Python, kind='overlapping', or measure_overlapping)"
        )
    if dataset.overlapping and not data.overlapping:
        raise InputError(
            f"the labels of {source} are masks of classes that may overlap, the network predicts one "
            f"class per pixel (softmax): train a network with {option}"
        )
    named = [n for n in dataset.class_names if not re.fullmatch(r"class \d+", n)]
    if data.overlapping and data.class_names and named and dataset.class_names != data.class_names:
        raise InputError(
            f"{source}: has masks of the classes {', '.join(dataset.class_names)}, the network has "
            f"{', '.join(data.class_names)}; they must be equal, in this order"
        )


def check_fits(config: NetworkConfig, dataset: Dataset) -> None:
    """Raises InputError if a data set does not suit a network.

    That is so if axes or channels differ, the data set has more classes, its labels number objects but the network has
    more than two classes, or all pixels are ignored.
    """
    source = dataset.source
    if dataset.spatial_dims != config.spatial_dims:
        raise InputError(f"{source} holds {dataset.spatial_dims}-D images, the network is {config.spatial_dims}-D")
    if dataset.channels != config.in_channels:
        more = advice(dataset.channels, config.in_channels)
        raise InputError(f"{source} has {dataset.channels} channels, the network takes {config.in_channels}{more}")
    if dataset.overlapping and dataset.class_count != config.out_channels:
        raise InputError(
            f"{source} has masks of {dataset.class_count} classes, the network has a probability for each of "
            f"{config.out_channels}"
        )
    if dataset.labels is not None and not dataset.overlapping and dataset.class_count > config.classes:
        raise InputError(f"{source} has {dataset.class_count} classes, the network predicts {config.classes}")
    if dataset.instances is not None and config.classes > 2 and dataset.class_names != BORDER_CLASSES:
        raise InputError(
            f"{source}: the labels number objects of one class, the network predicts {config.classes} classes"
        )
    if dataset.labels is None or (dataset.ignore is None and dataset.nodata is None):
        return
    if all((label[band] == IGNORED).all() for label in dataset.labels for band in bands(label.shape)):
        several = f"the labels of {dataset.names[0]}" + (f" … {dataset.names[-1]}" if len(dataset) > 1 else "")
        why = "without data" if dataset.ignore is None else f"{dataset.ignore} everywhere, which is ignored"
        raise InputError(f"{source}: {several} are {why}; no pixel is counted")
