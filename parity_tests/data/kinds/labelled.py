"""Folders of images and masks. Each maker fills the folder it is given from a random generator."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

SIDE, COUNT = 96, 6

Random = np.random.Generator


def scene(rng: Random) -> tuple[np.ndarray, np.ndarray]:
    """A grey picture (SIDE, SIDE) uint8 of bright discs, and its mask of 0 and 1."""
    y, x = np.mgrid[:SIDE, :SIDE]
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(5):
        centre, radius = rng.integers(12, SIDE - 12, 2), rng.integers(6, 11)
        mask[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2] = 1
    picture = np.clip(60 + 110 * mask + rng.normal(0, 8, mask.shape), 0, 255).astype(np.uint8)
    return picture, mask


def parts(folder: Path) -> tuple[Path, Path]:
    """The folders of the images and of the masks."""
    found = folder / "images", folder / "labels"
    for part in found:
        part.mkdir(parents=True, exist_ok=True)
    return found


def plain(folder: Path, rng: Random, names: tuple[str, ...] = tuple("abcdef")) -> None:
    images, labels = parts(folder)
    for name in names:
        picture, mask = scene(rng)
        Image.fromarray(picture).save(images / f"{name}.png")
        Image.fromarray(mask * 255).save(labels / f"{name}.png")


def palettes_that_differ(folder: Path, rng: Random) -> None:
    plain(folder, rng)
    colours = [(220, 30, 30), (30, 200, 60)]
    for number, path in enumerate(sorted((folder / "labels").iterdir())):
        index = Image.fromarray(np.asarray(Image.open(path)) // 255 ^ number % 2, "P")
        index.putpalette([v for colour in colours[:: 1 - 2 * (number % 2)] for v in colour])
        index.save(path)


def white_is_zero_labels(folder: Path, rng: Random) -> None:
    plain(folder, rng)
    for path in sorted((folder / "labels").iterdir()):
        tifffile.imwrite(path.with_suffix(".tif"), np.asarray(Image.open(path)), photometric="miniswhite")
        path.unlink()


def jpegs_with_a_preview(folder: Path, rng: Random) -> None:
    plain(folder, rng)
    for path in sorted((folder / "images").iterdir()):
        picture = Image.open(path).convert("RGB")
        preview = picture.resize((24, 24))
        picture.save(path.with_suffix(".jpg"), format="MPO", save_all=True, append_images=[preview], quality=95)
        path.unlink()


def jpegs_with_an_orientation(folder: Path, rng: Random) -> None:
    """Stored turned, with the tag by which viewers show them as the masks lie."""
    plain(folder, rng)
    for path in sorted((folder / "images").iterdir()):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path.with_suffix(".jpg"), exif=exif, quality=95)
        path.unlink()


def infrared_as_alpha(folder: Path, rng: Random) -> None:
    plain(folder, rng)
    for path in sorted((folder / "images").iterdir()):
        grey = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        bands = np.concatenate([grey, np.asarray(Image.open(path))[..., None]], -1)
        tifffile.imwrite(path.with_suffix(".tif"), bands, photometric="rgb", extrasamples=["unassalpha"])
        path.unlink()


def declared_nodata(folder: Path, rng: Random) -> None:
    plain(folder, rng)
    for path in sorted((folder / "images").iterdir()):
        values = np.asarray(Image.open(path)).astype(np.float32) / 255
        values[:8] = -9999
        tifffile.imwrite(path.with_suffix(".tif"), values, extratags=[(42113, "s", 0, "-9999", True)])
        path.unlink()


def one_ome_file_a_time_point(folder: Path, rng: Random) -> None:
    plain(folder, rng)
    names = [f"t{t}.ome.tif" for t in range(COUNT)]
    data = "".join(
        f'<TiffData FirstT="{t}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{t}</UUID></TiffData>'
        for t, name in enumerate(names)
    )
    head = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{}">'
    pixels = (
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
        f'SizeX="{SIDE}" SizeY="{SIDE}" SizeZ="1" SizeC="1" SizeT="{COUNT}">'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
    )
    for t, path in enumerate(sorted((folder / "images").iterdir())):
        xml = head.format(t) + pixels
        tifffile.imwrite(path.with_name(names[t]), np.asarray(Image.open(path)), description=xml, metadata=None)
        path.unlink()
        (folder / "labels" / path.name).rename(folder / "labels" / f"t{t}.ome.png")


def pairs_of_other_endings(folder: Path, rng: Random) -> None:
    plain(folder, rng)
    for part in parts(folder):
        for path in sorted(part.iterdir())[::2]:
            Image.open(path).save(path.with_suffix(".bmp"))
            path.unlink()


def arrays_beside_pictures(folder: Path, rng: Random) -> None:
    plain(folder, rng)
    for part in parts(folder):
        for path in sorted(part.iterdir())[::2]:
            np.save(path.with_suffix(".npy"), np.asarray(Image.open(path)))
            path.unlink()


def pairs_in_a_subfolder(folder: Path, rng: Random) -> None:
    plain(folder, rng)
    for part in parts(folder):
        (part / "patient2").mkdir()
        for path in sorted(part.iterdir())[:3]:
            path.rename(part / "patient2" / path.name)


def sorted_by_diagnosis(folder: Path, rng: Random) -> None:
    """The last third of the names has no object."""
    plain(folder, rng, tuple([f"benign {i}" for i in range(8)] + [f"normal {i}" for i in range(4)]))
    for path in sorted((folder / "labels").glob("normal*")):
        Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(path)


def time_and_depth(folder: Path, rng: Random) -> None:
    images, labels = parts(folder)
    for name in "ab":
        volumes = [[scene(rng) for _ in range(4)] for _ in range(3)]
        for part, which in ((images, 0), (labels, 1)):
            array = np.array([[plane[which] * (255 if which else 1) for plane in planes] for planes in volumes])
            tifffile.imwrite(part / f"{name}.tif", array.astype(np.uint8), imagej=True, metadata={"axes": "TZYX"})


def one_bit_beside_eight(folder: Path, rng: Random) -> None:
    plain(folder, rng)
    for path in sorted((folder / "labels").iterdir())[::2]:
        Image.open(path).convert("1").save(path)


def dangling_links(folder: Path, rng: Random) -> None:
    plain(folder, rng)
    for part in parts(folder):
        (part / "z.png").symlink_to("content/that/was/not/fetched.png")


def accents_of_two_spellings(folder: Path, rng: Random) -> None:
    plain(folder, rng)
    for part, form in zip(parts(folder), ("NFC", "NFD"), strict=True):
        (part / "a.png").rename(part / f"{unicodedata.normalize(form, 'é')}.png")


def masks_of_other_pictures(folder: Path, rng: Random) -> None:
    plain(folder, rng)
    for path in sorted((folder / "labels").iterdir()):
        Image.fromarray(np.roll(np.asarray(Image.open(path)), (41, 37), (0, 1))).save(path)


def grey_stored_as_classes_with_255(folder: Path, rng: Random) -> None:
    """0, 1 and, where nobody looked, 255."""
    plain(folder, rng)
    for path in sorted((folder / "labels").iterdir()):
        mask = np.asarray(Image.open(path)) // 255
        mask[:6] = 255
        Image.fromarray(mask).save(path)


def nifti_volumes(folder: Path, rng: Random) -> None:
    import nibabel

    cases = [[scene(rng) for _ in range(4)] for _ in range(2)]
    for part, ending, which in (("imagesTr", "_0000", 0), ("labelsTr", "", 1)):
        (folder / part).mkdir(parents=True)
        for case, planes in enumerate(cases):
            volume = np.stack([plane[which] for plane in planes], -1)
            nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), folder / part / f"case_{case}{ending}.nii.gz")
