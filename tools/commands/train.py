"""Train a network in JAX. The last sixth of the data, as one block, validates; it is never trained on.

DATA is a folder with images/ and labels/, a folder with *-volume.tif and *-labels.tif, or the word synthetic.
RUN receives best/ and last/ (checkpoints), log.jsonl, run.json and state/ (for --resume).

Example: unet train data/isbi2012 --out runs/em --preset paper --widths 16 32 64 128 --steps 3000
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from unet_data import split
from unet_jax.run_folder import read_run
from unet_jax.settings import TrainSettings
from unet_jax.train import train
from unet_spec import UNetConfig
from unet_tools.console import console, print_json, print_table
from unet_tools.data import open_data
from unet_tools.networks import choose_config
from unet_tools.progress import TrainingProgress


@dataclass(frozen=True)
class Args:
    data: tyro.conf.Positional[str]
    """Labelled images."""
    out: Path
    """The run folder."""
    preset: str | None = None
    """The network: paper (the default), article, article-bilinear, same or same-bilinear."""
    config: Path | None = None
    """The network as a config .json, instead of a preset."""
    widths: tuple[int, ...] | None = None
    """Feature maps per level."""
    resume: bool = False
    """Go on with the run in --out, with its own network and settings."""
    json: bool = False
    """Print the result as JSON."""
    settings: TrainSettings = field(default_factory=TrainSettings)


def run(args: Args) -> int:
    settings = args.settings
    if args.resume and (args.out / "run.json").exists():
        config, settings = _stored(args)
        dataset = open_data(args.data, config.spatial_dims, settings.seed)
    else:
        config = choose_config(args.preset, args.config, widths=args.widths)
        dataset = open_data(args.data, config.spatial_dims, settings.seed)
        classes = dataset.class_count
        channels = config.out_channels if classes <= config.classes == 2 else classes
        config = config.replace(in_channels=dataset.channels, out_channels=channels)
    training, validation = split(dataset)
    with TrainingProgress(settings.steps, quiet=args.json) as progress:
        result = train(config, settings, training, validation, args.out, args.resume, progress.report)
    if args.json:
        values = dataclasses.asdict(result) | {"parameters": config.graph.parameter_count}
        print_json({k: v for k, v in values.items() if k != "log"})
    else:
        names = list(result.scores)
        lines = [
            (which, *(f"{s[n]:.4f}" for n in names)) for which, s in (("best", result.best), ("last", result.scores))
        ]
        print_table(f"validation on {len(validation)} images", ("checkpoint", *names), lines, right="1 2 3")
        console.print(f"next: unet predict {args.out / 'best'} IMAGE -o OUT")
    return 0


def _stored(args: Args) -> tuple[UNetConfig, TrainSettings]:
    """The run's own network and settings, with those flags over them that differ from the defaults; `train` refuses
    what would make it another run."""
    record = read_run(args.out)
    where = str(args.out / "run.json")
    config = UNetConfig.from_dict(record["network"], where)
    if args.preset or args.config or args.widths:
        config = choose_config(args.preset, args.config, config.in_channels, config.out_channels, args.widths)
    stored, default = TrainSettings.from_dict(record["settings"], where), TrainSettings()
    given = {
        f.name: getattr(args.settings, f.name)
        for f in dataclasses.fields(TrainSettings)
        if getattr(args.settings, f.name) != getattr(default, f.name)
    }
    return config, dataclasses.replace(stored, **given)
