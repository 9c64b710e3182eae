"""Random folders, damaged, mixed or oddly named: each file is used, paired, left out or refused, none in silence."""

import os
import unicodedata

import numpy as np
import pytest
import tifffile
from PIL import Image

from unet_data import open_dataset, open_stored
from unet_spec import InputError

SPELLINGS = (
    *(("images", "labels"), ("images", "masks"), ("img", "mask")),
    *(("JPEGImages", "SegmentationClass"), ("x", "x_masks")),
)
ENDINGS = (".png", ".PNG", ".tif", ".bmp", ".npy", ".gif")
SIZE = (12, 14)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, array)
    else:
        Image.fromarray(array).save(path)


def damage(path, rng):
    """Makes a file unreadable; returns whether it did."""
    content = path.read_bytes()
    kind = rng.integers(3)
    path.write_bytes((b"", b"no image at all", content[: len(content) // 2])[kind])


def random_folder(root, seed):
    """Makes a folder; returns the files that cannot be read."""
    rng = np.random.default_rng(seed)
    images, labels = SPELLINGS[rng.integers(len(SPELLINGS))]
    mixed, harm, bad = rng.random() < 0.5, (0.1, 0.5, 1)[rng.integers(3)], set()
    for i in range(int(rng.integers(2, 6))):
        under = "p1/" if rng.random() < 0.2 else ""
        name = unicodedata.normalize("NFD" if rng.random() < 0.2 else "NFC", f"{under}bild-ä{i}")
        other = unicodedata.normalize("NFC", name)
        ending = ENDINGS[rng.integers(len(ENDINGS))] if mixed else ".png"
        mask = (rng.random(SIZE) < 0.4).astype(np.uint8) * 255
        image = root / images / f"{name}{ending}"
        label = root / labels / f"{other}{'_mask' if rng.random() < 0.2 else ''}.png"
        size = (9, 9) if rng.random() < 0.03 * harm else SIZE
        save(image, rng.integers(0, 256, size, dtype=np.uint8))
        save(label, mask)
        for file in (image, label):
            if (chance := rng.random() / harm) < 0.06:
                damage(file, rng)
                bad.add(file)
            elif chance < 0.12:
                file.unlink()
                file.symlink_to("content/that/was/not/fetched")
                bad.add(file)
            elif chance < 0.15:
                file.unlink()
            elif chance < 0.18:
                save(file.with_name(f"{file.name}.copy.png"), mask)
            elif chance < 0.21:
                file.rename(file.with_suffix(".heic"))
            elif chance < 0.23:
                save(file.with_name(f"{file.stem}.tiff.png"), mask)
    for odd in ("notes.txt", f"{images}/.DS_Store", f"{labels}/Thumbs.db", "other/a.png", f"{images}/a_seg.npy"):
        if rng.random() < 0.3 * harm:
            (root / odd).parent.mkdir(exist_ok=True)
            (root / odd).write_bytes(b"odd")
            bad.add(root / odd)
    return bad


def files_of(root):
    return {os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names}


def check_accounts(root, bad):
    """Whether the folder was opened; all that must hold of it either way."""
    outcomes = []
    for opened in (open_dataset, open_stored):
        try:
            data = opened(root)
        except InputError as e:
            outcomes.append(None if "\n" not in str(e) else "several lines")
            continue
        used = [str(e.path) for e in data.entries if e.status != "left out"]
        left = {str(e.path) for e in data.entries if e.status == "left out"}
        assert len(set(used)) == len(used)
        assert not {str(file) for file in bad} & set(used)
        assert all(e.reason for e in data.entries if e.status == "left out")
        for file in files_of(root):
            inside = any(file.startswith(f"{folder}{os.sep}") for folder in left)
            assert (file in used) + (file in left or inside) == 1, file
        paired = sum(e.status == "paired" for e in data.entries)
        assert paired in (0, 2 * len(data))
        outcomes.append(data.names)
    assert outcomes[0] == outcomes[1] != "several lines"
    return outcomes[0] is not None


def run(tmp_path, seeds):
    opened = [check_accounts(tmp_path / str(seed), random_folder(tmp_path / str(seed), seed)) for seed in seeds]
    assert 0.1 < np.mean(opened) < 0.9  # the generator makes both kinds


def test_random_folders(tmp_path):
    run(tmp_path, range(20))


@pytest.mark.slow
def test_many_random_folders(tmp_path):
    run(tmp_path, range(200))
