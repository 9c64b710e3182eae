"""The networks of unet-weights: the data that each is trained on, how it is trained, and what its card says of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unet_data import Dataset
from unet_jax import RECIPES, TrainSettings, train
from unet_jax.training.run.folder import images_digest, read_run
from unet_spec import InputError, NetworkConfig, preset


@dataclass(frozen=True)
class Subject:
    """A network of the package, in words.

    Attributes:
        folder: folder of its labelled images, within the data folder.
        purpose: what it segments.
        data: which images, and who made them.
        data_licence: data licence of the images; None of them is in the package.
        cite: what to cite.
        limits: what it has not seen.
    """

    folder: str
    purpose: str
    data: str
    data_licence: str
    cite: tuple[str, ...]
    limits: str


SUBJECTS = {
    "nuclei": Subject(
        "dsb2018",
        "Nuclei in fluorescence microscopy: bright nuclei on a dark or grey ground, some 10 to 40 pixels wide. "
        "It takes RGB; a grey image needs `--channels repeat`.",
        "Images of 256 x 256 pixels of the 2018 Data Science Bowl, stage 1, corrected edition. They are stored as RGB, "
        "all three channels alike; the labels number the nuclei, and the network learns nucleus against background.",
        "CC0-1.0",
        ("Caicedo et al., Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl, 2019.",),
        "Images of one experiment are on both sides of the split, so that images of another microscope will score "
        "lower. Stained tissue (purple, pink) and bright-field images were not seen. Nuclei that touch are separated "
        "only by how objects are made of the probabilities (`--output objects`).",
    ),
    "membranes": Subject(
        "isbi2012",
        "Membranes in electron microscopy: cells (class 1) and the membranes between them (class 0), at 4 nm a pixel.",
        "Slices of 512 x 512 pixels of the ISBI 2012 stack: serial-section TEM of the ventral nerve cord of a "
        "Drosophila larva, 4 x 4 x 50 nm.",
        "published for research; cite both papers",
        (
            "Cardona et al., An integrated micro- and macroarchitectural analysis of the Drosophila brain by "
            "computer-assisted serial section electron microscopy, PLoS Biology, 2010.",
            "Arganda-Carreras et al., Crowdsourcing the creation of image segmentation algorithms for connectomics, "
            "Frontiers in Neuroanatomy, 2015.",
        ),
        "One stack of one animal: other tissues, stainings, microscopes and pixel sizes were not seen. The slices that "
        "are scored are of the same stack as those that trained.",
    ),
}


@dataclass(frozen=True)
class Parts:
    """Images that train, that choose the checkpoint, and that choose nothing: the first two thirds, a sixth each."""

    training: Dataset
    validation: Dataset
    test: Dataset


def parts_of(dataset: Dataset) -> Parts:
    """The three parts, in the order of the images, so that neighbouring slices stay together. Raises InputError if
    there are fewer than 6 images."""
    count = len(dataset)
    if count < 6:
        raise InputError(f"{dataset.source}: has {count} images; two thirds, a sixth and a sixth need 6 or more")
    first, second = count - 2 * (count // 6), count - count // 6
    return Parts(*(dataset.subset(range(*ends)) for ends in ((0, first), (first, second), (second, count))))


def settings_of(steps: int, seed: int) -> TrainSettings:
    """The recipe modern, and nothing else."""
    return RECIPES["modern"].settings.replace(steps=steps, seed=seed)


def network_of(dataset: Dataset, widths: tuple[int, ...]) -> NetworkConfig:
    network = RECIPES["modern"].network
    return preset("paper", widths=widths, in_channels=dataset.channels, out_channels=dataset.class_count, **network)


def train_run(parts: Parts, config: NetworkConfig, settings: TrainSettings, run: Path) -> None:
    """Trains into a run folder, or continues the run in it. Raises InputError if that is another run."""
    result = train(config, settings, parts.training, parts.validation, run, resume=(run / "run.json").exists())
    if result.stop_signal is not None:
        raise InputError("stopped; the same command goes on from there")


def check_run(parts: Parts, run: Path) -> TrainSettings:
    """The settings of a run that exists. Raises InputError unless it trained and validated on these very parts, so that
    the images to be scored had no part in it."""
    record = read_run(run)
    for name, part in (("images", parts.training), ("validation", parts.validation)):
        if record[name] != [len(part), images_digest(part)]:
            raise InputError(
                f"{run} has other {'training' if name == 'images' else 'validation'} images than the {len(part)} of "
                f"{part.source} that are to be; the images to be scored may have had a part in it"
            )
    return TrainSettings.from_dict(record["settings"], str(run / "run.json"))
