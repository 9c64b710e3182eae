"""Which commands read which files, and how these are changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import arrays, bytes_, images, json_, models
from .bytes_ import Change, pick

COMMANDS = ("info", "predict", "plan", "evaluate", "data", "convert", "check", "diff", "export", "train")
PREDICT = "predict {base}/net {in}/NAME -o {out}/r.tif --runtime onnx"
CHECK = "data check {in}/NAME"  # of images alone: they are read, and have no labels
DATA = ("data check {in}/NAME", "evaluate {base}/net {in}/NAME --runtime onnx")
NET = (
    "info {in}/net",
    "plan {in}/net --image 500",
    "predict {in}/net {base}/i.png -o {out}/r.png --runtime onnx",
    "convert {in}/net {out}/x.safetensors",
    "info {in}/net --json",
)
BUNDLE = (
    "predict {in}/bundle {base}/i.png -o {out}/r.npy --runtime onnx",
    "evaluate {in}/bundle {base}/data",
    "check {in}/bundle",
)
MONAI = "convert {in}/NAME {out}/ours --from monai-unet"  # which the file is not
NNUNET = ("predict {in}/nnunet {base}/cases -o {out}/r --runtime onnx --no-mirror",)


@dataclass(frozen=True)
class Subject:
    """A kind of input.

    Attributes:
        kind: its name in the table.
        sources: of which the material has one or several; one is copied.
        changed: files in the copy, of which one is changed; "" for the source itself.
        change: of a file's bytes.
        commands: of which one is run. {in}, {out}: the case's folders; {base}: of the material; NAME: the source.
        after: called with the copy, the changed file's name and its content before.
        strict: whether a change that is marked with ! has to be refused.
        folder: changes a folder where it lies, instead of `change`.
        slow: comes up less often.
        refused: those of the commands that refuse the whole input too.
    """

    kind: str
    sources: tuple[str, ...]
    commands: tuple[str, ...]
    change: Callable[[np.random.Generator, bytes], Change] = bytes_.change
    changed: tuple[str, ...] = ("",)
    after: Callable[[Path, str], None] | None = None
    strict: bool = True
    folder: Callable[[np.random.Generator, Path], str] | None = None
    slow: bool = False
    refused: tuple[str, ...] = ()


def reseal(bundle: Path, name: str) -> None:
    """Writes the digest of a changed file into the manifest, as an attacker would."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    content = (bundle / name).read_bytes()
    manifest["files"][name] = manifest["files"].get(name, {}) | {"sha256": hashlib.sha256(content).hexdigest()}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


TIFS = ("plain", "deflate", "tiled", "big", "white", "imagej", "motorola", "predicted", "pages")
ZARRS = ("v2", "v2-raw", "v3", "v3-raw", "v3-gzip", "v3-blosc", "v3-shards", "ome")

SUBJECTS = (
    Subject("PNG", ("i.png",), (PREDICT,), images.png),
    Subject("PNG in a data set", ("data",), DATA, images.png, ("images/0.png", "labels/1.png")),
    Subject(
        "PNG with a palette",
        ("palette.png",),
        (f"{PREDICT} --palette index", CHECK),
        images.png,
        refused=(CHECK,),
    ),
    Subject("JPEG", ("i.jpg",), (PREDICT, CHECK), images.jpeg, strict=False, refused=(CHECK,)),
    Subject(
        "JPEG in colour",
        ("rgb.jpg",),
        (PREDICT.replace("/net", "/colour"), CHECK),
        images.jpeg,
        strict=False,
        refused=(CHECK,),
    ),
    Subject(
        "TIFF",
        tuple(f"{t}.tif" for t in TIFS),
        (PREDICT, PREDICT.replace("onnx", "onnx --tile 32")),
        images.tiff,
        strict=False,
    ),
    Subject("TIFF in a data set", ("tifs",), DATA, images.tiff, ("images/0.tif", "labels/1.tif"), strict=False),
    Subject("OME-TIFF", ("ome.ome.tif",), (PREDICT,), images.tiff, strict=False),
    Subject("npy", ("i.npy",), (PREDICT,), images.npy),
    Subject("npy in a data set", ("arrays",), DATA, images.npy, ("images/0.npy", "labels/1.npy")),
    Subject("zarr", tuple(f"{z}.zarr" for z in ZARRS), (PREDICT, PREDICT.replace(".tif", ".zarr")), folder=arrays.zarr),
    Subject(
        "NIfTI",
        ("plain",),
        ("predict {base}/nnunet {in}/NAME/case_0000.nii -o {out}/r.nii --runtime onnx --no-mirror",),
        arrays.nifti,
        ("case_0000.nii", "case_0001.nii"),
        strict=False,
    ),
    Subject(
        "NIfTI, gzip",
        ("cases",),
        ("predict {base}/nnunet {in}/NAME -o {out}/r.nii.gz --runtime onnx --no-mirror",),
        arrays.nifti,
        ("case_0000.nii.gz",),
    ),
    Subject("checkpoint config.json", ("net",), NET, json_.change, ("config.json",)),
    Subject("checkpoint model.safetensors", ("net",), NET[2:4], models.safetensors, ("model.safetensors",)),
    Subject("safetensors to convert", ("w.safetensors",), ("convert {in}/NAME {out}/ours",), models.safetensors),
    Subject("bundle manifest.json", ("bundle",), BUNDLE, json_.change, ("manifest.json",)),
    Subject(
        "bundle, any file",
        ("bundle",),
        BUNDLE,
        bytes_.change,
        ("golden.npz", "model.onnx", "parity.json"),
        strict=False,
    ),
    Subject("bundle golden.npz resealed", ("bundle",), ("check {in}/bundle",), models.npz, ("golden.npz",), reseal),
    Subject("bundle model.onnx resealed", ("bundle",), BUNDLE, models.onnx, ("model.onnx",), reseal, strict=False),
    Subject(
        "bundle parity.json resealed",
        ("bundle",),
        ("check {in}/bundle",),
        json_.change,
        ("parity.json",),
        reseal,
        strict=False,
    ),
    Subject("nnunet.json", ("nnunet",), NNUNET, json_.change, ("nnunet.json",), strict=False),
    Subject(
        "nnU-Net plans.json",
        ("Trainer__nnUNetPlans__2d",),
        ("convert {in}/NAME {out}/ours",),
        json_.change,
        ("plans.json", "dataset.json"),
        strict=False,
    ),
    Subject(
        "nnU-Net .pth",
        ("Trainer__nnUNetPlans__2d",),
        ("convert {in}/NAME {out}/ours",),
        models.pth,
        ("fold_0/checkpoint_final.pth",),
    ),
    Subject(
        ".pth",
        ("w.pth",),
        (
            "convert {in}/NAME {out}/ours",
            "convert {in}/NAME {out}/ours.safetensors --preset same",
            MONAI,
        ),
        models.pth,
        refused=(MONAI,),
    ),
    Subject(
        "run.json",
        ("run",),
        (
            "train {base}/data --out {in}/run --resume --steps 2 --no-large-pages",
            "train {base}/data --config {in}/run/run.json --out {out}/x --steps 1 --no-large-pages --no-report",
        ),
        json_.change,
        ("run.json",),
        strict=False,
        slow=True,
    ),
    Subject(
        "log.jsonl",
        ("run",),
        ("train --out {in}/run --resume --report --no-large-pages",),
        bytes_.change,
        ("log.jsonl",),
        strict=False,
        slow=True,
    ),
)

NUMBERS = (
    ("plan {base}/net --image @", 1),
    ("plan {base}/net --image @ @", 2),
    ("plan {base}/net --image 500 --tile @", 1),
    ("plan {base}/net --image 500 --memory @", 1),
    ("plan {base}/net --image 500 --halo @", 1),
    ("info --preset paper --input @", 1),
    ("info --preset same --widths @ @", 2),
    ("info --preset same --in-channels @", 1),
    ("info --preset same --out-channels @ --widths 2 3", 1),
    ("predict {base}/net {base}/i.png -o {out}/r.png --runtime onnx --tile @", 1),
    ("predict {base}/net {base}/i.png -o {out}/r.png --runtime onnx --halo @", 1),
    ("predict {base}/net {base}/i.png -o {out}/r.png --runtime onnx --memory @", 1),
    ("predict {base}/net {base}/i.png -o {out}/r.png --runtime onnx --shard @/@", 2),
    ("predict {base}/net {base}/i.png -o {out}/r.png --runtime onnx --samples @", 1),
    ("data check {base}/data --tile @", 1),
    ("data check {base}/data --ignore @", 1),
    ("evaluate {base}/net {base}/data --runtime onnx --ignore @", 1),
    ("evaluate {base}/net {base}/data --runtime onnx --samples @", 1),
)
VALUES = (
    "0",
    "1",
    "-1",
    "2",
    "17",
    "1e3",
    "1.5",
    "nan",
    "inf",
    "",
    " ",
    "x",
    "99999999999999999999",
    "9" * 400,
    "2147483648",
    "1000000007",
    "65536",
    "0x10",
    "１２",
    "1_0",
    "-0",
    "1/0",
    "1GiB",
    "1e30GiB",
    "0.0000001k",
    "-5M",
    "9" * 40 + "T",
    "\x1b[31m",
    "a\nb",
    "é",
    "--json",
    "[1]",
    "5 5",
)


def numbers(rng: np.random.Generator) -> tuple[str, list[str]]:
    """A command with strange numbers: what was done, its arguments."""
    command, count = pick(rng, NUMBERS)
    values = [str(pick(rng, VALUES)) for _ in range(count)]
    words = []
    left = iter(values)
    for word in command.split():
        while "@" in word:
            word = word.replace("@", next(left), 1)
        words.append(word)
    return f"{words[0]} {values}"[:60], words
