"""The flags of the commands that print: info, plan, data, evaluate."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from unet_data import Measurement, membranes
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.checking.findings import Finding

from .arrivals import GONE, Command, Watch

CONFIG = preset("paper", widths=(2, 3), dropout=0.0)
POINT = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0), DataSpec((0.5,), (0.2,)))
DATA = membranes(3, 24, 0)
FINDING = Finding("JAX", "float32", "reference", ok=True)
MODERN = {"batch": 4, "learning_rate": 2e-3, "warmup": 0.05, "weight_decay": 1e-2, "ema": 0.99}
"""The changes of the recipe "modern" in the optimisation."""
NETWORK = SimpleNamespace(config=CONFIG, data=POINT.data, run="run", name="onnx")


def loading(watch: Watch, command: str) -> None:
    """`Checkpoint.load` returns POINT for any path, and the paths are recorded."""

    def load(path):
        watch.arrived["load"] = (*watch.arrived.get("load", ()), str(path))
        return POINT

    watch.patch.setattr(f"unet_tools.commands.{command}.Checkpoint", SimpleNamespace(load=load))


def in_command(watch: Watch, command: str, **answers) -> None:
    for name, answer in answers.items():
        watch.stub(f"unet_tools.commands.{command}.{name}", answer)


def printed(watch: Watch, command: str, table: str = "print_table") -> None:
    """Records whether a table or JSON was printed."""
    watch.stub(f"unet_tools.commands.{command}.{table}", only="")
    watch.stub(f"unet_tools.commands.{command}.print_json", only="")


def as_json(table: str = "print_table") -> tuple[str, dict]:
    return "", {table: GONE, "print_json": "called"}


def info(watch: Watch) -> None:
    in_command(watch, "info", choose_config=CONFIG, mermaid="")
    watch.stub("unet_tools.commands.info.facts", {}, only="size")
    printed(watch, "info", "_print_layers")
    watch.stub("unet_tools.commands.info._print_torchinfo", only="")


INFO = Command(
    "info FOLDER", info, {"choose_config.source": "FOLDER", "facts": "called"},
    {
        "--preset": ("same", {"choose_config.preset_name": "same"}),
        "--in-channels": ("3", {"choose_config.in_channels": 3}),
        "--out-channels": ("4", {"choose_config.out_channels": 4}),
        "--widths": ("5 6", {"choose_config.widths": (5, 6)}),
        "--input": ("44 60", {"facts.size": (44, 60)}),
        "--style": ("torchinfo", {"_print_layers": GONE, "_print_torchinfo": "called"}),
        "--json": as_json("_print_layers"),
    },
)  # fmt: skip


def plan(watch: Watch) -> None:
    from unet_spec.tiling.planner import plan_image

    in_command(watch, "plan", choose_config=CONFIG)
    watch.stub("unet_tools.commands.plan.plan_image", plan_image, only="image runtime limits")
    watch.stub("unet_tools.commands.plan.print_json", only="")


PLAN = Command(
    "plan FOLDER --image 300", plan, {"choose_config.source": "FOLDER", "plan_image.image": (300, 300)},
    {
        "--image": ("200 300", {"plan_image.image": (200, 300)}),
        "--preset": ("same", {"choose_config.preset_name": "same"}),
        "--widths": ("5 6", {"choose_config.widths": (5, 6)}),
        "--runtime": ("torch", {"plan_image.runtime": "torch"}),
        "--memory": ("64MiB", {"plan_image.limits.budget": 64 * 2**20}),
        "--tile": ("92", {"plan_image.limits.tile": (92, 92)}),
        "--halo": ("40", {"plan_image.limits.halo": 40}),
        "--json": ("", {"print_json": "called"}),
    },
)  # fmt: skip


def reading(*callees: str) -> dict[str, tuple[str, dict]]:
    """Flags of reading, which callees receive in an argument or field `reading`."""
    values = {"channels": "all", "orientation": "ignore", "white_is_zero": "stored", "palette": "index"}
    values |= {"class_colors": "#000000,#800000", "axes": "TZYX", "pixel_size": "5,1,1mm"}
    return {
        f"--{name.replace('_', '-')}": (value, {f"{callee}.reading.{name}": value for callee in callees})
        for name, value in values.items()
    }


def plan_train(watch: Watch) -> None:
    cost = {"fits": True, "batch": 1, "precision": "float32", "remat": False}
    in_command(watch, "plan", choose_config=CONFIG)
    watch.stub("unet_tools.commands.plan.prepare_compiler", only="device")
    watch.stub("unet_tools.commands.plan.plan_step", (cost, False))
    watch.stub("unet_tools.commands.plan.search", [(cost, False)], only="")
    watch.stub("unet_tools.commands.plan.print_cost", only="")
    watch.stub("unet_tools.commands.plan.print_json", only="")


def plan_data(watch: Watch) -> None:
    watch.stub("unet_tools.training.beginning.open_parts", (CONFIG, DATA, DATA, DATA, "how"), only="")
    watch.stub("unet_tools.training.plans.planned.plan_run", SimpleNamespace(to_dict=dict), only="args")
    watch.stub("unet_tools.training.plans.planned.print_plan", only="")
    watch.stub("unet_tools.commands.plan.print_json", only="")


def _planned(**changes) -> dict:
    return {f"plan_run.args.{name.replace('__', '.')}": value for name, value in changes.items()}


PLAN_DATA = Command(
    "plan FOLDER", plan_data,
    _planned(data="FOLDER", recipe="auto", settings__optimisation__batch=4) | {"exit code": 0},
    {
        "--minutes": ("7.5", _planned(minutes=7.5)),
        "--steps": ("50", _planned(settings__optimisation__steps=50, given=("steps",))),
        "--tile": ("20x92x92", _planned(settings__data__tile=(20, 92, 92), given=("tile",))),
        "--widths": ("5 6", _planned(network__widths=(5, 6))),
        "--preset": ("same", _planned(network__preset="same")),
        "--spatial-dims": ("3", _planned(network__spatial_dims=3)),
        "--labels": ("instance", _planned(settings__data__labels="instance")),
        "--ignore": ("255", _planned(settings__data__ignore=255)),
        "--class-numbers": ("1-3", _planned(settings__data__class_numbers="1-3")),
        "--spacing": ("5,1,1", _planned(settings__data__spacing="5,1,1", given=("spacing",))),
        "--validate": ("2/5", _planned(settings__validation__validate="2/5")),
        "--group": ("a.", _planned(settings__validation__group="a.")),
        "--json": ("", {"print_json": "called", "print_plan": GONE}),
        **reading("plan_run.args.settings"),
    },
)  # fmt: skip


def _step(group: str, **changes) -> dict:
    return {f"plan_step.settings.{group}.{name}": value for name, value in changes.items()}


PLAN_TRAIN = Command(
    "plan FOLDER --train", plan_train, {"choose_config.source": "FOLDER", "plan_step.device": "here", "exit code": 0},
    {
        "--recipe": (
            "modern", _step("optimisation", **MODERN) | _step("loss", loss="cross_entropy+dice", smoothing=0.05)
        ),
        "--device": ("tpu-v5e:2x4", {"plan_step.device": "tpu-v5e:2x4", "prepare_compiler.device": "tpu-v5e:2x4"}),
        "--tile": ("92", _step("data", tile=92)),
        "--batch": ("6", _step("optimisation", batch=6)),
        "--accumulate": ("3", _step("optimisation", accumulate=3)),
        "--precision": ("bfloat16", _step("hardware", precision="bfloat16")),
        "--remat": ("", _step("hardware", remat=True)),
        "--fsdp": ("", _step("hardware", fsdp=True)),
        "--space": ("2", _step("hardware", space=2)),
        "--json": ("", {"print_json": "called", "print_cost": GONE}),
    },
    needs={"--accumulate": "--batch 6"},
    elsewhere={
        "--train": "tools/training/plans/test_step_plan.py",
        "--search": "tools/training/plans/test_step_plan.py",
    },
)  # fmt: skip


def data(watch: Watch) -> None:
    in_command(watch, "data", open_data=DATA, check_dataset=[])
    watch.stub("unet_tools.commands.data.account_for", [], only="verbose")
    printed(watch, "data")


CHECK_DATA = Command(
    "data check PATH", data, {"open_data.name": "PATH", "open_data.stored": None, "exit code": 0},
    {
        "--spatial-dims": ("3", {"open_data.spatial_dims": 3}),
        "--tile": ("20x44x44", {"check_dataset.tile": (20, 44, 44)}),
        "--ignore": ("255", {"open_data.ignore": 255}),
        "--labels": ("instance", {"open_data.kind": "instance"}),
        "--class-numbers": ("1-3", {"open_data.class_numbers": "1-3"}),
        **reading("open_data"),
        "--verbose": ("", {"account_for.verbose": True}),
        "--validate": ("2/5", {"check_dataset.validate": "2/5"}),
        "--group": ("a.", {"check_dataset.group": "a."}),
        "--json": ("", {"print_json": "called", "account_for": GONE, "account_for.verbose": GONE}),
    },
)  # fmt: skip


def convert_data(watch: Watch) -> None:
    done = SimpleNamespace(images=1, objects=1, classes=("background",), overlaps=0, crowds=0)
    watch.patch.setattr("unet_tools.commands.data.asdict", vars)
    in_command(watch, "data", convert_coco=done)
    watch.stub("unet_tools.commands.data.print_json", only="")


CONVERT_DATA = Command(
    "data convert a/b.json --out OUT", convert_data,
    {"convert_coco.annotations": "a/b.json", "convert_coco.images": "a", "convert_coco.instances": False,
     "convert_coco.masks": False},
    {
        "--out": ("OTHER", {"convert_coco.out": "OTHER"}),
        "--images": ("c", {"convert_coco.images": "c"}),
        "--labels": ("overlapping", {"convert_coco.masks": True}),
    },
)  # fmt: skip


def evaluate(watch: Watch) -> None:
    found = {"measure_in_detail": Measurement({"iou": 0.5}, np.ones((2, 2), int), {}, ("a", "b"))}
    in_command(watch, "evaluate", open_network=NETWORK, open_data=DATA, choose=(DATA, None), augmented="views")
    for name, answer in (found | {"measure_samples": {"iou": 0.5}}).items():
        watch.stub(f"unet_tools.commands.evaluate.{name}", answer, only="run samples count seed objects warp")
    printed(watch, "evaluate")


EVALUATE = Command(
    "evaluate FOLDER PATH", evaluate,
    {"open_network.path": "FOLDER", "open_data.name": "PATH", "measure_in_detail.run": "run", "choose.subset": "all",
     "measure_in_detail.objects": True, "measure_in_detail.warp": True},
    {
        "--subset": ("validation", {"choose.subset": "validation"}),
        "--validate": ("2/5", {"choose.validate": "2/5"}),
        "--group": ("a.", {"choose.group": "a."}),
        "--augment": (
            "turns",
            {"augmented": "called", "augmented.run": "run", "augmented.symmetry": "turns",
             "augmented.overlapping": False, "augmented.distance": False, "measure_in_detail.run": "views"},
        ),
        "--ignore": ("255", {"open_data.ignore": 255}),
        "--labels": ("instance", {"open_data.kind": "instance"}),
        "--class-numbers": ("1-3", {"open_data.class_numbers": "1-3"}),
        **reading("open_data"),
        "--samples": (
            "5",
            {"measure_samples": "called", "measure_samples.run": "run", "measure_samples.samples": 5,
             "measure_samples.seed": 0},
        ),
        "--seed": ("3", {"open_data.seed": 3, "measure_samples.seed": 3}),
        "--runtime": ("torch", {"open_network.name": "torch"}),
        "--json": as_json(),
    },
    needs={"--seed": "--samples 5"},
    elsewhere=dict.fromkeys(("--choose-objects", "--report"), "tools/commands/test_evaluate_objects.py")
    | {"--surface": "tools/commands/test_evaluate.py"}
    | {"--calibrate": "tools/prediction/test_calibrated.py"}
    | dict.fromkeys(
        ("--shard", "--dask", "--slurm", "--jobs", "--parts"), "tools/prediction/test_evaluation.py"
    ),
)  # fmt: skip
