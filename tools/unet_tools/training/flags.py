"""The flags of `unet train`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from unet_jax import TrainSettings
from unet_jax.training.planning.recipes import RecipeName

from ..arguments.help import Layout
from .loggers import LoggerName


@dataclass(frozen=True)
class NetworkFlags:
    preset: str | None = None
    """The network: any preset that unet info knows. Default: paper."""
    config: Path | None = None
    """A network as a config .json or a checkpoint, instead of a preset; or the run.json of a run to repeat."""
    widths: tuple[int, ...] | None = None
    """Feature maps per level."""
    spatial_dims: Literal[2, 3] | None = None
    """3: for volumes. Default: from the preset or the config, 2 in all presets."""
    padding: Literal["valid", "same"] | None = None
    """Padding of a U-Net's convolutions: "valid" shrinks the output, "same" adds one zero on each side."""
    norm: Literal["none", "batch", "group", "instance"] | None = None
    """Normalisation in a U-Net. Default: from the recipe or the preset."""
    norm_groups: int | None = None
    """Groups of a group norm; a divisor of every width. Default: 8, or from the config."""
    dropout: float | None = None
    """Share of the features that a U-Net drops at the end of its encoder. Default: from the recipe or the preset."""
    distance_head: bool = False
    """Let a U-Net also predict the distance to the border of the object, which parts objects that touch, and choose on
    the validation images how objects are made. Needs labels that number objects."""


@dataclass(frozen=True)
class ProcessFlags:
    coordinator: str = ""
    """Address of process 0, as host:port."""
    processes: int = 1
    """Number of processes."""
    process: int = 0
    """Rank of this process, from 0."""


@dataclass(frozen=True)
class TrainArgs:
    data: tyro.conf.Positional[str] = ""
    """Labelled images. Default: from the run of --config."""
    out: Path | None = None
    """The run folder. Default: beside the run of --config, numbered."""
    recipe: Literal["auto", "none"] | RecipeName | None = None
    """auto: network and settings follow from the data, this machine and the time. none: the defaults of the options.
    The others set all of them, and for a U-Net norm and dropout. Default: auto for a new run."""
    minutes: float | None = None
    """Time of the whole run; a few steps are timed to see how many it holds. Default: 30 with --recipe auto, where
    --steps is not given."""
    given: tyro.conf.Suppress[tuple[str, ...]] = ()
    """The flags of the command line, by name."""
    resume: bool = False
    """Continue the run in --out. Options that you leave out keep the run's values."""
    log: tuple[LoggerName, ...] = ()
    """Also log losses, scores and overlays to OUT/tensorboard, OUT/mlflow.db (or MLFLOW_TRACKING_URI) or OUT/wandb (and
    its server, with WANDB_MODE=online)."""
    report: bool = True
    """Write OUT/report.html, where matplotlib and jinja2 are installed."""
    json: bool = False
    """Print the result as JSON."""
    compilation_cache: str | None = None
    """Folder that keeps compiled programs, so that a resumed run compiles nothing again; none: nowhere. Default: xla in
    UNET_CACHE, or what JAX_COMPILATION_CACHE_DIR says."""
    folds: int | None = None
    """Cross-validation: a run for each of so many folds, in OUT/fold-1, …, and a table of scores. Repeat the command to
    continue."""
    fold: int | None = None
    """Of --folds, train only this one, from 1 on."""
    large_pages: bool = True
    """On Linux, restart Python with memory in pages of 2 MiB, in which training on a CPU is faster."""
    network: NetworkFlags = field(default_factory=NetworkFlags)
    """The network to train."""
    settings: Annotated[TrainSettings, tyro.conf.arg(name="")] = field(default_factory=TrainSettings)
    distributed: ProcessFlags = field(default_factory=ProcessFlags)
    """Several processes that train together; all run the same command, but for --process."""


_ADVANCED = """
    --class-numbers --channels --axes --class-colors --orientation --white-is-zero --palette --loader --workers
    --padding --norm --norm-groups --dropout --config --freeze
    --normalization --oversample --accumulate --optimizer --schedule --warmup --momentum --weight-decay --clip --ema
    --seed --smoothing --border-weight --border-sigma --balance --distance-weight --focal-gamma --tversky-alpha
    --tversky-beta
    --mirror --turns --rotation --scale --elastic --contrast --brightness --gamma --blur --low-resolution --noise
    --share
    --group --select --validate-every --fold --log --log-every --report
    --remat --fsdp --space --compilation-cache --large-pages --coordinator --processes --process
"""

_GROUPS = {
    "Data": """--labels --objects --distance-head --ignore --spatial-dims --class-numbers --channels --axes
        --class-colors --orientation --white-is-zero --palette --loader --workers""",
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
