"""The flags of `unet train`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from unet_jax import TrainSettings
from unet_jax.training.planning.recipes import RecipeName

from ..arguments.help import Layout
from ..arguments.processes import ProcessFlags
from .loggers import LoggerName


@dataclass(frozen=True)
class NetworkFlags:
    preset: str | None = None
    """The network: any preset that unet info lists. Default: paper."""
    config: Path | None = None
    """The network as a config .json or a checkpoint, instead of a preset; or the run.json of a run to repeat."""
    widths: tuple[int, ...] | None = None
    """Feature maps per level."""
    spatial_dims: Literal[2, 3] | None = None
    """Axes of an image: 2, or 3 for volumes. Default: from the preset or the config; 2 in all presets."""
    padding: Literal["valid", "same"] | None = None
    """Padding of a U-Net's convolutions. "valid": none, the output is smaller than the input. "same": zeros keep the
    size."""
    norm: Literal["none", "batch", "group", "instance"] | None = None
    """Normalisation in a U-Net. Default: from the recipe or the preset."""
    norm_groups: int | None = None
    """Number of groups of a group norm. It must divide every width. Default: 8, or from the config."""
    dropout: float | None = None
    """Dropout rate at the end of a U-Net's encoder. Default: from the recipe or the preset."""
    distance_head: bool = False
    """Also predict each pixel's distance to the border of its object, which separates touching objects, and tune the
    separation on the validation images. For U-Nets; the labels must number the objects."""


@dataclass(frozen=True)
class TrainArgs:
    data: tyro.conf.Positional[str] = ""
    """Labelled images. Default: those of the run in --config."""
    out: Path | None = None
    """Folder for the run. Default: a numbered folder beside the run in --config."""
    recipe: Literal["auto", "none"] | RecipeName | None = None
    """auto: network and settings are chosen from the data, this machine and --minutes. none: the options' defaults.
    paper-2015 and modern: fixed settings, and norm and dropout of a U-Net. Default: auto for a new run."""
    minutes: float | None = None
    """Duration of the run in minutes; a few timed steps give the number of steps. Default: 30 with --recipe auto,
    unless --steps is given."""
    given: tyro.conf.Suppress[tuple[str, ...]] = ()
    """Names of the flags on the command line."""
    resume: bool = False
    """Continue the run in --out. Options that you leave out keep the run's values."""
    log: tuple[LoggerName, ...] = ()
    """Also log losses, scores and overlays for these programs: in OUT/tensorboard, in OUT/mlflow.db (or
    MLFLOW_TRACKING_URI), in OUT/wandb (and on its server, with WANDB_MODE=online)."""
    report: bool = True
    """Write OUT/report.html. Needs matplotlib and jinja2."""
    json: bool = False
    """Print the result as JSON."""
    compilation_cache: str | None = None
    """Folder for compiled programs, so that a resumed run need not compile again. none: no cache. Default:
    JAX_COMPILATION_CACHE_DIR, or xla in UNET_CACHE."""
    folds: int | None = None
    """Cross-validation with this many folds: trains OUT/fold-1, OUT/fold-2, …, and prints a table of scores. Repeat the
    command to continue."""
    fold: int | None = None
    """Train only this fold of --folds, counted from 1."""
    large_pages: bool = True
    """Speed up training on a CPU under Linux by memory pages of 2 MiB; Python restarts itself to use them."""
    network: NetworkFlags = field(default_factory=NetworkFlags)
    """The network to train."""
    settings: Annotated[TrainSettings, tyro.conf.arg(name="")] = field(default_factory=TrainSettings)
    distributed: ProcessFlags = field(default_factory=ProcessFlags)
    """Several processes that train together. All run the same command, except for --process. Under srun and in an
    indexed Kubernetes job they are found; these options have precedence."""


_ADVANCED = """
    --class-numbers --spacing --pixel-size --channels --axes --class-colors --orientation --white-is-zero --palette
    --loader --workers --padding --norm --norm-groups --dropout --config --freeze
    --normalization --oversample --accumulate --optimizer --schedule --warmup --momentum --weight-decay --clip --ema
    --seed --smoothing --border-weight --border-sigma --balance --distance-weight --focal-gamma --tversky-alpha
    --tversky-beta
    --mirror --turns --rotation --scale --elastic --contrast --brightness --gamma --blur --low-resolution --noise
    --share
    --group --select --validate-every --fold --log --log-every --report
    --remat --fsdp --space --compilation-cache --large-pages --coordinator --processes --process
"""

_GROUPS = {
    "Data": """--labels --objects --distance-head --ignore --spatial-dims --class-numbers --spacing --pixel-size
        --channels --axes --class-colors --orientation --white-is-zero --palette --loader --workers""",
    "Network": "--preset --widths --padding --norm --norm-groups --dropout --weights --freeze --config",
    "Recipe": """--recipe --tile --batch --accumulate --normalization --oversample --optimizer --learning-rate --loss
        --schedule --warmup --momentum --weight-decay --clip --ema --seed""",
    "Loss": """--smoothing --border-weight --border-sigma --balance --distance-weight --focal-gamma --tversky-alpha
        --tversky-beta""",
    "Random changes of the training images": """--mirror --turns --rotation --scale --elastic --contrast --brightness
        --gamma --blur --low-resolution --noise --share""",
    "Run": "--out --minutes --steps --resume",
    "Validation": "--validate --group --select --validate-every --folds --fold",
    "Output": "--json --log --log-every --report",
    "Hardware": "--precision --remat --fsdp --space --compilation-cache --large-pages",
    "Several processes that train together": "--coordinator --processes --process",
}

HELP = Layout({title: tuple(names.split()) for title, names in _GROUPS.items()}, frozenset(_ADVANCED.split()))
"""The help of unet train, in the order in which a person decides."""
