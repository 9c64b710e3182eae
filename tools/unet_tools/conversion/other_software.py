"""Packages for other software: `unet export --to`."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from unet_data import read_image
from unet_export import ZooEntry, write_bioimageio, write_cpp, write_web
from unet_spec import Checkpoint, InputError
from unet_spec.untrusted.strict_json import read_json, read_lines

from ..arguments.data import calibration_images
from ..console import console, notes, print_json

Package = Literal["bioimageio", "web", "cpp"]


@dataclass(frozen=True)
class PackageFlags:
    """For --to: texts that the other software shows to its users."""

    title: str | None = None
    """Title of the web page, or name of the model in the zoo, with --to. Default: derived from the network."""
    author: tuple[str, ...] = ()
    """Names of the model's authors, with --to."""
    cite: tuple[str, ...] = ()
    """References that users should cite, each with a DOI or a URL, with --to."""
    scores: Path | None = None
    """Scores for the README, with --to: a JSON file from `unet evaluate --json`. Default for last/ of a run: the run's
    scores."""

    npm: Path = Path("node_modules")
    """Folder in which npm installed onnxruntime-web and geotiff, for --to web."""

    def given(self) -> str | None:
        """The first given option."""
        return next((f"--{f.name}" for f in fields(self) if getattr(self, f.name) != f.default), None)


@dataclass(frozen=True)
class PackageRequest:
    """The options of `unet export --to`."""

    checkpoint: Path
    out: Path
    flags: PackageFlags
    licence: str | None
    calibrate: str | None
    golden: Path | None


def write_package(kind: Package, request: PackageRequest, as_json: bool) -> int:
    """Writes the package and prints a summary. Returns the exit code. Raises InputError."""
    checkpoint = Checkpoint.load(request.checkpoint)
    images = None
    if request.calibrate is not None:
        images = calibration_images(request.calibrate, checkpoint)
    golden = None if request.golden is None else read_image(request.golden)
    if kind == "web":
        return _web(checkpoint, request, images, golden, as_json)
    if kind == "cpp":
        return _cpp(checkpoint, request, images, golden, as_json)
    return _bioimageio(checkpoint, request, images, golden, as_json)


def _cpp(checkpoint: Checkpoint, request: PackageRequest, images, golden, as_json: bool) -> int:
    if given := request.flags.given() or (request.licence and "--licence"):
        raise InputError(f"{given} has no effect with --to cpp; leave it out")
    facts = write_cpp(checkpoint, request.out, calibration=images, golden_image=golden)
    if as_json:
        print_json({"folder": str(request.out), "network": facts})
        return 0
    build = f"cmake -S {request.out} -B build -DUNET_ENGINE=openvino && cmake --build build"
    console.print(f"{request.out}: {build} && build/segment {request.out} --check", soft_wrap=True)
    return 0


def _web(checkpoint: Checkpoint, request: PackageRequest, images, golden, as_json: bool) -> int:
    flags = request.flags
    if given := replace(flags, title=None, npm=PackageFlags.npm).given():
        raise InputError(f"{given} is for --to bioimageio, and has no effect with --to web; leave it out")
    shown = {"title": flags.title, "licence": request.licence, "calibration": images, "golden_image": golden}
    site = write_web(checkpoint, request.out, flags.npm, **shown)
    if as_json:
        print_json({"folder": str(request.out), "site": site})
        return 0
    if golden is None and not images:
        notes.print("the page's example image is synthetic; --golden IMAGE uses your image")
    size = sum(p.stat().st_size for p in request.out.rglob("*") if p.is_file())
    console.print(f"{request.out}: {size / 2**20:.0f} MiB; look at it: python3 -m http.server -d {request.out}")
    return 0


def _bioimageio(checkpoint: Checkpoint, request: PackageRequest, images, golden, as_json: bool) -> int:
    if request.out.suffix != ".zip":
        raise InputError(f"--to bioimageio writes one file; name it .zip, such as -o {request.out.with_suffix('.zip')}")
    flags = request.flags
    scores = _scores(flags.scores, request.checkpoint)
    entry = ZooEntry(request.licence, flags.author, flags.cite, flags.title, scores=scores)
    rdf = write_bioimageio(checkpoint, request.out, entry, calibration=images, golden_image=golden)
    image, output = rdf["inputs"][0], rdf["outputs"][0]
    if as_json:
        print_json({"file": str(request.out), "rdf": rdf})
        return 0
    if golden is None and not images:
        notes.print("the test image is synthetic; --golden IMAGE uses your image and its dtype")
    if scores is None:
        notes.print("no validation scores are known; --scores FILE reads them from unet evaluate --json")
    halo = {axis["id"]: axis["halo"] for axis in output["axes"] if "halo" in axis}
    sizes = {axis["id"]: f"{axis['size']['min']} + {axis['size']['step']} k" for axis in image["axes"][2:]}
    console.print(f"{request.out}: {image['data']['type']} images; blocks of {_row(sizes)}; halo {_row(halo)}")
    return 0


def _row(values: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _scores(file: Path | None, checkpoint: Path) -> dict[str, float] | None:
    """Scores from a JSON file, or, for the last/ of a run, from the last validation in its log."""
    log = checkpoint.parent / "log.jsonl"
    if file is not None:
        values = read_json(file)
    elif checkpoint.name == "last" and log.is_file():
        records = [record for _, record in read_lines(log) if isinstance(record, dict)]
        values = next((r for r in reversed(records) if "pixel_accuracy" in r), None)
    else:
        return None
    if not isinstance(values, dict):
        return None
    numbers = {k: float(v) for k, v in values.items() if isinstance(v, int | float) and k != "step"}
    if file is not None and not numbers:
        raise InputError(
            f"{file} contains no scores; expected a JSON object with numbers, as unet evaluate --json prints"
        )
    return numbers or None
