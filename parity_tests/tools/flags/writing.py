"""The flags of the commands that write: predict, convert, export, demo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from unet_data import FileFacts
from unet_spec.families.ensemble import EnsembleConfig
from unet_tools.conversion.formats import Weights
from unet_tools.training.demo import DemoResult

from .arrivals import GONE, Command, Watch
from .reading import DATA, FINDING, NETWORK, POINT, as_json, in_command, loading, printed, reading


def predict(watch: Watch) -> None:
    done = SimpleNamespace(finished=True, shape=(3,), seconds=1.0, pixels=3, facts=FileFacts())
    in_command(watch, "predict", find_plans=None, open_network=NETWORK, check_prediction=None)
    record = {"image": "a.tif", "out": "out.tif", "shape": [3], "seconds": 1.0, "megapixels_per_second": 1.0}
    watch.stub("unet_tools.commands.predict.image_record", record | {"finished": True, "classes": {}}, only="")
    watch.stub("unet_tools.commands.predict.write_overlay")
    watch.stub("unet_tools.commands.predict.predict_file", done, only="source target settings")
    watch.stub("unet_tools.commands.predict.print_json", only="output")


def _settings(**changes) -> dict:
    """The arguments of the check before the computation, and of the computation."""
    callees = ("predict_file", "check_prediction")
    return {f"{callee}.settings.{name}": value for callee in callees for name, value in changes.items()}


PREDICT = Command(
    "predict FOLDER a.tif -o out.tif", predict,
    {"open_network.path": "FOLDER", "predict_file.source": "a.tif", "predict_file.target": "out.tif", "exit code": 0},
    {
        "--out": ("b.png", {f"{callee}.target": "b.png" for callee in ("predict_file", "check_prediction")}),
        "--runtime": ("jax", {"open_network.name": "jax"}),
        "--output": ("logits", _settings(output="logits")),
        "--dtype": ("uint8", _settings(dtype="uint8")),
        "--memory": ("64MiB", _settings(memory=64 * 2**20)),
        "--tile": ("20x92x92", _settings(tile=(20, 92, 92))),
        "--halo": ("7", _settings(halo=7)),
        "--strips": ("", _settings(strips=True) | {"open_network.name": "torch"}),
        "--augment": ("turns", _settings(augment="turns")),
        "--blend": ("", _settings(blend=True)),
        "--samples": ("5", _settings(samples=5)),
        "--seed": ("3", _settings(seed=3)),
        "--shard": ("2/5", _settings(shard=(2, 5))),
        "--overwrite": ("", _settings(overwrite=True)),
        "--overlay": (
            "",
            {"write_overlay": "called", "write_overlay.source": "a.tif", "write_overlay.result": "out.tif",
             "write_overlay.target": "out-overlay.png", "write_overlay.spatial_dims": 2,
             "write_overlay.reading.channels": "auto", "write_overlay.reading.orientation": "apply",
             "write_overlay.reading.white_is_zero": "auto", "write_overlay.reading.palette": "auto",
             "write_overlay.reading.axes": "", "write_overlay.reading.class_colors": "",
             "write_overlay.reading.pixel_size": ""},
        ),
        **reading("predict_file.settings", "check_prediction.settings"),
        "--json": ("", {"print_json": "called"}),
    },
    needs={"--dtype": "--output probabilities"},
    elsewhere={
        **dict.fromkeys(("--table", "--outlines", "--object-settings"), "tools/commands/test_predict_objects.py"),
        "--dask": "tools/prediction/test_cluster.py",
        **dict.fromkeys(("--slurm", "--jobs"), "tools/prediction/test_slurm.py"),
    },
)  # fmt: skip


def predict_nnunet(watch: Watch) -> None:
    cases = {"case": ([Path("case_0000.nii.gz")], Path("out.nii.gz"))}
    in_command(watch, "predict", find_plans="plans")
    for name, answer in {"choose_cases": cases, "open_folds": [NETWORK], "predict_nifti": _Done()}.items():
        watch.stub(f"unet_tools.prediction.nnunet_folder.{name}", answer)
    watch.stub("unet_tools.prediction.nnunet_folder.print_json", only="")


@dataclass(frozen=True)
class _Done:
    shape: tuple[int, ...] = (3, 4, 5)
    seconds: float = 1.5


PREDICT_NNUNET = Command(
    "predict MODEL case_0000.nii.gz -o out", predict_nnunet,
    {"find_plans.folder": "MODEL", "choose_cases.images": (Path("case_0000.nii.gz"),), "predict_nifti.mirror": True,
     "predict_nifti.networks": [NETWORK], "exit code": 0},
    {
        "--no-mirror": ("", {"predict_nifti.mirror": False}),
        "--runtime": ("onnx", {"open_folds.runtime": "onnx"}),
        "--output": ("probabilities", {"predict_nifti.kind": "probabilities"}),
        "--overwrite": ("", {"choose_cases.overwrite": True}),
        "--skip-existing": ("", {"choose_cases.skip_existing": True}),
        "--json": ("", {"print_json": "called"}),
    },
)  # fmt: skip


def convert(watch: Watch) -> None:
    in_command(
        watch,
        "convert",
        choose_config=POINT.config,
        is_zoo_model=False,
        exported_checkpoint=None,
    )
    watch.stub("unet_tools.commands.convert._pruned", POINT, only="level")
    watch.stub("unet_tools.commands.convert.stated", POINT, only="mean std class_names classes fields")
    watch.stub("unet_tools.conversion.nnunet_models.is_model", False, only="")
    watch.stub("unet_tools.conversion.formats.read", Weights(POINT, "flax"))
    watch.stub("unet_tools.conversion.formats.write", only="path dest form")
    watch.stub("unet_tools.commands.convert.print_json", only="")


CONVERT = Command(
    "convert FOLDER out.pth", convert,
    {"read.path": "FOLDER", "read.form": None, "write.path": "out.pth", "write.form": "pytorch"},
    {
        "--from": ("orbax", {"read.form": "orbax"}),
        "--to": ("milesial", {"write.form": "milesial"}),
        "--preset": ("same", {"choose_config.preset_name": "same"}),
        "--config": ("own.json", {"choose_config.source": "own.json"}),
        "--prune": ("2", {"_pruned": "called", "_pruned.level": 2}),
        "--key": ("model_ema", {"read.key": "model_ema"}),
        "--mean": ("0.5 0.4", {"stated.mean": ("0.5", "0.4")}),
        "--std": ("imagenet", {"stated.std": ("imagenet",)}),
        "--class-names": ("a b", {"stated.class_names": ("a", "b")}),
        "--classes": ("overlapping", {"stated.classes": "overlapping"}),
        "--set": ("padding=same", {"stated.fields": ("padding=same",)}),
        "--json": ("", {"print_json": "called"}),
    },
)  # fmt: skip


def ensemble(watch: Watch) -> None:
    loading(watch, "ensemble")
    saved = SimpleNamespace(
        config=EnsembleConfig.of(POINT.config, 1), data=POINT.data, save=lambda folder, extra: kept(folder)
    )

    def kept(folder: Path) -> None:
        watch.arrived["save"] = str(folder)

    in_command(watch, "ensemble", find_members=[Path("FOLDER")])
    watch.stub("unet_tools.commands.ensemble.join", SimpleNamespace(checkpoint=saved, notes=()), only="names")
    watch.stub("unet_tools.commands.ensemble.model_card", "", only="licence")
    watch.stub("unet_tools.commands.ensemble.print_json", only="")


ENSEMBLE = Command(
    "ensemble FOLDER -o OUT", ensemble,
    {"find_members.paths": (Path("FOLDER"),), "load": ("FOLDER",), "join.names": [Path("FOLDER")], "save": "OUT"},
    {
        "--out": ("OTHER", {"save": "OTHER"}),
        "--licence": ("cc0-1.0", {"model_card.licence": "cc0-1.0"}),
        "--json": ("", {"print_json": "called"}),
    },
)  # fmt: skip


def export(watch: Watch) -> None:
    loading(watch, "export")
    in_command(watch, "export", find_plans=None, write_package=0)
    watch.stub("unet_tools.arguments.data.open_data", DATA, only="name spatial_dims")
    watch.stub("unet_tools.commands.export.read_image", "golden", only="path")
    bundle = SimpleNamespace(engines=(), digest="")
    watch.stub("unet_tools.commands.export.write_bundle", bundle, only="folder settings calibration golden_image")
    watch.stub("unet_tools.commands.export.check_bundle", [FINDING], only="folder")
    watch.stub("unet_tools.commands.export.add_models", [], only="source repository")
    watch.stub("unet_tools.commands.export.check_free", only="repository")
    printed(watch, "export")
    watch.stub("unet_tools.commands.export.print_findings", only="")


def _engine(**changes) -> dict:
    return {f"write_bundle.settings.engine_settings.{name}": value for name, value in changes.items()}


EXPORT = Command(
    "export FOLDER -o BUNDLE", export,
    {"load": ("FOLDER",), "write_bundle.folder": "BUNDLE", "check_bundle.folder": "BUNDLE", "exit code": 0},
    {
        "--out": ("OTHER", {"write_bundle.folder": "OTHER", "check_bundle.folder": "OTHER"}),
        "--precision": ("fp16 int8", {"write_bundle.settings.precisions": ("fp16", "int8")}),
        "--calibrate": (
            "PATH",
            {"open_data": "called", "open_data.name": "PATH", "open_data.spatial_dims": 2,
             "write_bundle.calibration": DATA.images},
        ),
        "--engines": ("False", {"write_bundle.settings.engines": False}),
        "--bake": ("normalize argmax", {"write_bundle.settings.fused_steps": ("normalize", "argmax")}),
        "--golden": (
            "a.png", {"read_image": "called", "read_image.path": "a.png", "write_bundle.golden_image": "golden"}
        ),
        "--licence": ("MIT", {"write_bundle.settings.licence": "MIT"}),
        "--name": ("cells", {"write_bundle.settings.name": "cells"}),
        "--triton": (
            "models",
            {"add_models": "called", "add_models.source": "BUNDLE/triton", "add_models.repository": "models",
             "check_free": "called", "check_free.repository": "models"},
        ),
        "--triton-objects": ("False", {"write_bundle.settings.triton_objects": False}),
        "--profile": ("latency", _engine(profile="latency")),
        "--compute-capabilities": ("86 89", _engine(compute_capabilities=("86", "89"))),
        "--workspace-mib": ("64", _engine(workspace_mib=64)),
        "--timing-cache": ("kept", _engine(timing_cache="kept")),
        "--version-compatible": ("", _engine(version_compatible=True)),
        "--hardware-compatible": ("", _engine(hardware_compatible=True)),
        "--title": ("Name", {"write_package.request.flags.title": "Name"}),
        "--author": ("A B", {"write_package.request.flags.author": ("A", "B")}),
        "--cite": ("C D", {"write_package.request.flags.cite": ("C", "D")}),
        "--scores": ("s.json", {"write_package.request.flags.scores": "s.json"}),
        "--npm": ("libs", {"write_package.request.flags.npm": "libs"}),
        "--json": ("", {"print_json": "called", "print_table": GONE, "print_findings": GONE}),
    },
    needs=dict.fromkeys(("--title", "--author", "--cite", "--scores", "--npm"), "--to bioimageio"),
    elsewhere={"--to": "tools/conversion/test_other_software.py", "--sign": "tools/commands/test_check.py"}
    | dict.fromkeys(("--opset", "--size"), "tools/conversion/test_framework_exports.py"),
)  # fmt: skip


def demo(watch: Watch) -> None:
    in_command(watch, "demo", open_data=DATA, choose_config=POINT.config, narrow=POINT.config)
    result = DemoResult(Path("demo"), Path("report"), {}, [], {}, {}, True)
    watch.stub("unet_tools.commands.demo.run_demo", result, only="out settings npm")
    watch.stub("unet_tools.commands.demo._print", only="")
    watch.stub("unet_tools.commands.demo.print_json", only="")


CHOSEN = ("choose_config.source", "choose_config.in_channels", "choose_config.out_channels")
DEMO = Command(
    "demo", demo, {"open_data.name": "synthetic", "run_demo.out": "demo", "narrow.name": "paper", "exit code": 0},
    {
        "--data": ("PATH", {"open_data.name": "PATH"}),
        "--out": ("here", {"run_demo.out": "here"}),
        "--preset": ("same", {"narrow.name": "same"}),
        "--widths": (
            "5 6",
            {"narrow": GONE, "narrow.name": GONE, "choose_config": "called", "choose_config.widths": (5, 6),
             "choose_config.preset_name": "paper"} | dict.fromkeys(CHOSEN),
        ),
        "--steps": (
            "50", {"run_demo.settings.optimisation.steps": 50, "run_demo.settings.validation.validate_every": 10}
        ),
        "--seed": ("3", {"open_data.seed": 3, "run_demo.settings.optimisation.seed": 3}),
        "--npm": ("libs", {"run_demo.npm": "libs"}),
        "--json": as_json("_print"),
    },
)  # fmt: skip
