"""`unet evaluate` on several machines: they write the network's outputs into a folder, from which scores are computed.

Each machine computes some of the images. The name of an output file is a hash of network and input, so that the joining
command finds it instead of running the network. Its scores equal those of one machine, bit for bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from unet_data import Dataset, OpenNetwork, sample_image
from unet_data.inference.plan import check_whole_image
from unet_data.inference.predict import predict_output
from unet_data.inference.stitch import Run
from unet_data.io.stores.signed import Secret, adopt, known
from unet_data.spacing.grids import grids_of
from unet_data.spacing.target import TargetSpacing
from unet_spec import InputError
from unet_spec.files import first_line, writing
from unet_spec.ops import draw_noise

from ..console import notes
from ..progress import ImagesProgress
from .cluster import Outcome, cluster, on_cluster
from .many import refuse
from .slurm import command_line, write_jobs


class Recorded:
    """A network whose outputs are stored in a folder, so that each is computed once, by the first machine.

    Example:
        >>> twice = Recorded(lambda images: 2 * images, "network", Path("outputs"))
        >>> float(twice(np.ones((1, 2, 2, 1))).sum()), len(list(Path("outputs").iterdir()))
        (8.0, 1)
    """

    def __init__(self, run: Callable[..., np.ndarray], identity: str, folder: Path):
        self.run, self.identity, self.folder = run, identity, folder
        self._used: set[Path] = set()

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """Same as `run`. Raises InputError if a file of the folder is damaged."""
        digest = hashlib.sha256(self.identity.encode())
        for array in inputs:
            digest.update(f"{array.shape} {array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).data)
        path = self.folder / f"{digest.hexdigest()}.npy"
        self._used.add(path)
        try:
            return np.load(path, allow_pickle=False)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, EOFError) as e:
            raise InputError(f"{path}: cannot be read ({first_line(e)}); delete it and repeat the command") from None
        found = self.run(*inputs)
        with writing(path) as temporary, temporary.open("wb") as file:
            np.save(file, found)
        return found

    def remove(self) -> None:
        """Deletes the used outputs, and the folder if it is then empty."""
        for path in self._used:
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()


@dataclass(frozen=True)
class Opened:
    """The computation of an evaluation: a network, with `run` and views, on the images of a data set."""

    network: OpenNetwork
    run: Callable[..., np.ndarray]
    views: Run
    dataset: Dataset


def check_size(opened: Opened, number: int) -> None:
    """Raises InputError if the network needs an image as a whole, and the available memory is too small for that."""
    network, dataset = opened.network, opened.dataset
    shape = dataset.images[number].shape[:-1]
    grids = grids_of(shape, dataset.file_facts(number), TargetSpacing.of(network.data))
    try:
        check_whole_image(network, shape if grids is None else grids.target)
    except InputError as e:
        raise InputError(f"{dataset.names[number]}: {e}") from None


def compute(opened: Opened, numbers: Iterable[int], samples: int, seed: int) -> list[dict[str, Any]]:
    """Runs the network on some images to record its outputs. Returns a record per image: {"image": name}, with "error"
    if it failed."""
    records = []
    config, data = opened.network.config, opened.network.data
    for number in numbers:
        name = opened.dataset.names[number]
        try:
            image = np.asarray(opened.dataset.images[number])
            facts = opened.dataset.file_facts(number)
            check_size(opened, number)
            predict_output(opened.views, image, config, data, facts=facts)
            if samples:
                noise = draw_noise(config.graph, samples, seed, number)
                sample_image(opened.run, image, config, data, noise, facts=facts)
            records.append({"image": name})
        except InputError as e:
            records.append({"image": name, "error": str(e) if name in str(e) else f"{name}: {e}"})
    return records


@dataclass(frozen=True)
class Share:
    """A task for a worker: an image of an evaluation. `args`: arguments of `unet evaluate`, with a folder in
    `parts`. `secrets`: those of signed addresses."""

    args: Any
    number: int
    name: str
    secrets: dict[str, Secret] = field(default_factory=known, repr=False)


def work(share: Share) -> Outcome:
    """Runs a task on a worker."""
    adopt(share.secrets)
    try:
        [record] = compute(_opened(share.args), [share.number], share.args.samples, share.args.seed)
    except InputError as e:
        record = {"error": str(e)}
    return Outcome(None, record.get("error", ""))


@lru_cache(maxsize=1)
def _opened(args: Any) -> Opened:
    """Opens network and data set once for all tasks of a worker."""
    from ..commands.evaluate import opened

    return opened(args)


def on_dask(args: Any, names: list[str]) -> None:
    """Computes all images on a cluster.

    Args:
        args: arguments of `unet evaluate`, with a folder in `parts`.
        names: names of the images.

    Raises:
        InputError: the cluster is not available, or images failed; each error is reported once.
    """
    own = replace(args, dask=None, checkpoint=args.checkpoint.absolute(), data=_absolute(args.data))
    with cluster(args.dask) as client, ImagesProgress(len(names), args.json) as bar:
        shares = [Share(own, number, name) for number, name in enumerate(names)]
        found = on_cluster(client, shares, bar.report, work, lambda share: share.name)
    report([{"image": n} | ({"error": o.error} if o.error else {}) for n, o in zip(names, found, strict=True)])


def report(records: list[dict[str, Any]]) -> None:
    """Prints the failures of several images, each once, then raises InputError if there are any."""
    for message in dict.fromkeys(record["error"] for record in records if "error" in record):
        if len(records) > 1:
            notes.print(message, style="red")
    refuse("image", records, "repeat the command")


def _absolute(data: str) -> str:
    return str(Path(data).absolute()) if Path(data).exists() else data


@contextlib.contextmanager
def outputs(args: Any) -> Iterator[Path | None]:
    """The folder of the outputs: --parts, or a temporary folder in the working directory for --dask; None if one
    machine computes everything.

    Raises:
        InputError: the flags cannot be combined.
    """
    if args.shard is not None and (args.parts is None or args.dask is not None):
        missing = "needs --parts, a folder for what is computed" if args.parts is None else "and --dask: give only one"
        raise InputError(f"--shard {missing}")
    if args.parts is not None or args.dask is None:
        yield None if args.parts is None else args.parts.absolute()
        return
    try:
        temporary = tempfile.TemporaryDirectory(prefix="unet-evaluate-", dir=".")
    except OSError as e:
        raise InputError(
            f"--dask needs a folder that all workers can write to: give --parts ({first_line(e)})"
        ) from None
    with temporary as name:
        yield Path(name).absolute()


def write_slurm(args: Any) -> int:
    """Writes the scripts of a SLURM job array, and prints the commands to submit them. Raises InputError."""
    if args.shard is not None or args.dask is not None:
        raise InputError("give only one of --slurm, --shard and --dask; --slurm divides the work itself")
    again = replace(args, parts=(args.parts or args.slurm.with_suffix(".parts")).absolute())
    for line in write_jobs(args.slurm, command_line(again, "evaluate", ("slurm", "jobs")), args.jobs, True):
        print(line)
    return 0
