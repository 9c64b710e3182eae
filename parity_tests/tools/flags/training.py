"""The flags of `unet train`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from unet_data import Measurement, TargetSpacing
from unet_jax import TrainResult, TrainSettings
from unet_spec import DataSpec, preset

from .arrivals import GONE, Command, Watch
from .reading import DATA, MODERN, reading

MEASURED = Measurement({"pixel_accuracy": 0.5, "iou": 0.5}, np.ones((2, 2), int), {}, ("a", "b"))
NETWORK = preset("paper", widths=(2, 4), dropout=0.0)


def train(watch: Watch) -> None:
    point = SimpleNamespace(data=DataSpec())
    result = TrainResult(Path("RUN"), {}, {}, [], None)
    watch.stub("unet_tools.training.beginning.open_data", DATA)
    planned = SimpleNamespace(network=NETWORK, settings=TrainSettings(), choices=(), minutes=None)
    watch.stub("unet_tools.commands.train.plan_run", planned, only="args")
    watch.stub("unet_tools.commands.train.write_plan", only="")
    watch.stub("unet_tools.training.beginning.choose_spacing", TargetSpacing(()), only="asked")
    watch.stub("unet_tools.training.beginning.choose_config", NETWORK)
    watch.stub("unet_tools.training.beginning.check_loader", only="")
    watch.stub("unet_tools.commands.train.cached_programs", nullcontext(), only="flag")
    watch.stub("unet_tools.training.beginning.divide", (DATA, DATA, "how"), only="validate group")
    watch.stub("unet_tools.commands.train.announce", only="")
    watch.stub("unet_tools.training.beginning.with_border", DATA, only="")
    watch.stub("unet_tools.commands.train.choose_objects", only="")
    watch.stub("unet_tools.commands.train.train", result, only="config settings out resume")
    watch.stub("unet_tools.training.outcome.from_pretrained", point, only="")
    watch.stub("unet_tools.training.outcome.JaxRuntime", SimpleNamespace(run="run"), only="")
    watch.stub("unet_tools.training.outcome.measure_in_detail", MEASURED, only="")
    watch.stub("unet_tools.report.run.write_run_report", only="")
    watch.stub("jax.distributed.initialize", only="coordinator_address num_processes process_id")
    watch.stub("unet_tools.training.outcome.print_table", only="")
    watch.stub("unet_tools.training.outcome.print_json", only="")


def settings(of: str, /, **values) -> dict[str, tuple[str, dict]]:
    """Rows of settings that are passed only to `train`: the words on the command line and the value, or both as one
    text."""
    rows = {}
    for name, value in values.items():
        words = "" if value is True else str(value)
        rows[f"--{name.replace('_', '-')}"] = (words, {f"train.settings.{of}.{name}": value})
    return rows


def also(rows: dict[str, tuple[str, dict]], **more: dict) -> dict[str, tuple[str, dict]]:
    """Rows with further effects, by flag."""
    return {flag: (words, found | more.get(flag[2:], {})) for flag, (words, found) in rows.items()}


ROWS = {
    "--recipe": (
        "modern",
        {"train.config.norm": "batch", "train.settings.loss.loss": "cross_entropy+dice",
         "train.settings.loss.smoothing": 0.05}
        | {f"train.settings.optimisation.{name}": value for name, value in MODERN.items()},
    ),
    "--out": ("OTHER", {"train.out": "OTHER"}),
    "--resume": ("", {"train.resume": True}),
    "--no-report": ("", {"write_run_report": GONE}),
    "--json": ("", {"print_json": "called", "print_table": GONE}),
    "--preset": ("same", {"choose_config.preset_name": "same"}),
    "--compilation-cache": ("FOLDER", {"cached_programs.flag": "FOLDER"}),
    "--config": ("own.json", {"choose_config.source": "own.json"}),
    "--widths": ("4 8", {"train.config.widths": (4, 8)}),
    "--spatial-dims": ("3", {"train.config.spatial_dims": 3, "open_data.spatial_dims": 3}),
    "--padding": ("same", {"train.config.padding": "same"}),
    "--norm": ("batch", {"train.config.norm": "batch"}),
    "--norm-groups": ("1", {"train.config.norm_groups": 1}),
    "--dropout": ("0.25", {"train.config.dropout": 0.25}),
    "--coordinator": ("h:2", {"initialize.coordinator_address": "h:2"}),
    "--processes": ("4", {"initialize.num_processes": 4}),
    "--process": (
        "1",
        {"initialize.process_id": 1}
        | dict.fromkeys(("measure_in_detail", "JaxRuntime", "from_pretrained", "write_run_report"), GONE)
        | {"print_table": GONE},
    ),
    **also(
        settings("data", tile=100, ignore=255, labels="instance", normalization="image", loader="grain", workers=5),
        ignore={"open_data.ignore": 255},
        labels={"open_data.kind": "instance"},
        loader={"open_data.stored": True},
    ),
    **settings("data", normalization="percentile", oversample=0.5),
    **also(settings("data", class_numbers="1-3"), **{"class-numbers": {"open_data.class_numbers": "1-3"}}),
    **also(settings("data", spacing="5,1,1"), spacing={"choose_spacing.asked": "5,1,1"}),
    **reading("train.settings", "open_data"),
    **also(settings("data", objects=True), objects={"with_border": "called", "choose_objects": "called"}),
    **also(
        settings(
            "optimisation", steps=50, batch=6, accumulate=3, optimizer="sgd", learning_rate=0.5, schedule="constant",
            warmup=0.25, momentum=0.5, weight_decay=0.75, clip=3.5, ema=0.125, seed=3,
        ),
        seed={"open_data.seed": 3},
    ),
    "--weights": (
        "/FOLDER", {"choose_config.source": "/FOLDER", "train.settings.optimisation.weights": "/FOLDER"}
    ),
    "--freeze": ("encoder head", {"train.settings.optimisation.freeze": ("encoder", "head")}),
    **settings(
        "loss", loss="dice", focal_gamma=0.5, tversky_alpha=0.125, tversky_beta=0.25, smoothing=0.125,
        border_weight=5.0, border_sigma=3.5, balance=True, distance_weight=2.5,
    ),
    **also(
        settings("validation", validate="2/5", group="a.", select="dice", validate_every=7, log_every=3),
        validate={"divide.validate": "2/5"},
        group={"divide.group": "a."},
    ),
    **settings("hardware", precision="bfloat16", remat=True, fsdp=True, space=2),
    "--no-mirror": ("", {"train.settings.augmentation.mirror": False}),
    "--turns": ("", {"train.settings.augmentation.turns": True}),
    **settings("augmentation", elastic=3.5, rotation=25.0, contrast=0.125, brightness=0.375),
    **settings("augmentation", scale=0.25, blur=1.5, low_resolution=0.75, gamma=0.5, noise=0.1, share=0.3),
}  # fmt: skip

TRAIN = Command(
    "train PATH --out RUN --recipe none", train,
    {"open_data.name": "PATH", "train.out": "RUN", "train.resume": False, "measure_in_detail": "called",
     "exit code": 0},
    ROWS,
    needs={"--accumulate": "--batch 6", "--norm-groups": "--norm group --norm-groups 2"}
    | dict.fromkeys(("--coordinator", "--processes", "--process"), "--coordinator h:1 --processes 2"),
    elsewhere={
        "--minutes": "tools/training/plans/test_planned.py",
        "--distance-head": "tools/commands/test_train_objects.py",
        "--log": "tools/training/loggers/test_tensorboard.py",
        "--large-pages": "tools/test_cli.py",
        "--folds": "tools/training/test_folds.py",
        "--fold": "tools/training/test_folds.py",
    },
)  # fmt: skip

REPORT = Command(
    "report RUN", lambda watch: watch.stub("unet_tools.commands.report.run", 0, only=""), {"exit code": 0}, {},
    elsewhere=dict.fromkeys(("--data", "--json"), "tools/commands/test_report.py"),
)  # fmt: skip

COMPLETION = Command(
    "completion bash", lambda watch: watch.stub("unet_tools.commands.completion.script", "", only=""),
    {"exit code": 0}, {},
)  # fmt: skip
