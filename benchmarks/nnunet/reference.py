"""nnU-Net's own predictor on an untrained network, for `benchmarks.nnunet.compare`.

Runs in nnU-Net's environment: it imports nnunetv2 and none of our packages.

python benchmarks/nnunet/reference.py make MODEL 2d|3d_fullres WIDTHS...   a trained-model folder, as nnU-Net leaves it
python benchmarks/nnunet/reference.py predict MODEL IMAGES OUT --threads N [--probabilities] [--float32]
[--channels-last]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from pathlib import Path

for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ.setdefault(name, "/nonexistent")

import torch  # noqa: E402
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # noqa: E402
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans  # noqa: E402
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager  # noqa: E402

SPACING = {"2d": [0.8, 0.8], "3d_fullres": [2.5, 0.8, 0.8]}


def plans(widths: list[int], patch: list[int], configuration: str, kind: str) -> dict:
    """Hand-written plans like the planner's: anisotropic in 3-D, with first kernels and strides of one slice."""
    dims, stages = len(patch), len(widths)
    flat = dims == 3
    kernels = [[1, 3, 3] if flat and stage == 0 else [3] * dims for stage in range(stages)]
    strides = [[1] * dims] + [[1, 2, 2] if flat and stage == 0 else [2] * dims for stage in range(stages - 1)]
    residual = kind == "ResidualEncoderUNet"
    arch = {
        "n_stages": stages,
        "features_per_stage": widths,
        "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
        "kernel_sizes": kernels,
        "strides": strides,
        ("n_blocks_per_stage" if residual else "n_conv_per_stage"): [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    resampling = {"is_seg": False, "order_z": 0, "force_separate_z": None}
    config = {
        "data_identifier": f"nnUNetPlans_{configuration}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": patch,
        "median_image_size_in_voxels": [float(n) for n in patch],
        "spacing": SPACING[configuration],
        "normalization_schemes": ["ZScoreNormalization", "CTNormalization"],
        "use_mask_for_norm": [True, False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling | {"order": 3},
        "resampling_fn_seg_kwargs": resampling | {"is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": resampling | {"order": 1},
        "architecture": {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{kind}",
            "arch_kwargs": arch,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": False,
    }
    measured = {"max": 300.0, "mean": 40.0, "median": 41.0, "min": -90.0, "percentile_00_5": -60.0}
    measured |= {"percentile_99_5": 160.0, "std": 35.0}
    return {
        "dataset_name": "Dataset999_Synthetic",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [2.5, 0.8, 0.8],
        "original_median_shape_after_transp": [24, 96, 96],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {configuration: config},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": measured, "1": measured},
    }


DATASET = {
    "channel_names": {"0": "T1", "1": "CT"},
    "labels": {"background": 0, "organ": 1, "tumour": 2},
    "numTraining": 1,
    "file_ending": ".nii.gz",
}


def make(folder: Path, configuration: str, widths: list[int], patch: list[int], kind: str, folds: int) -> None:
    """Writes a trained-model folder. Every parameter is random, and scaled as in a trained network.

    The rows of the heads sum to zero, because maps after a norm and a ReLU have a positive mean, which would favour one
    class everywhere.
    """
    values = plans(widths, patch, configuration, kind)
    manager = PlansManager(values)
    config = manager.get_configuration(configuration)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(values, indent=1))
    (folder / "dataset.json").write_text(json.dumps(DATASET, indent=1))
    for fold in range(folds):
        generator = torch.Generator().manual_seed(fold)
        network = get_network_from_plans(
            config.network_arch_class_name,
            config.network_arch_init_kwargs,
            config.network_arch_init_kwargs_req_import,
            len(DATASET["channel_names"]),
            len(DATASET["labels"]),
            deep_supervision=True,
        )
        with torch.no_grad():
            for name, tensor in network.named_parameters():
                noise = torch.randn(tensor.shape, generator=generator)
                if "seg_layers" in name and tensor.ndim > 1:
                    noise -= noise.mean(1, keepdim=True)
                if tensor.ndim > 1:
                    tensor.copy_(noise * (2 / tensor[0].numel()) ** 0.5)
                elif name.endswith("norm.weight"):
                    tensor.copy_(1 + 0.2 * noise)
                else:
                    tensor.copy_(0.2 * noise)
        (folder / f"fold_{fold}").mkdir(exist_ok=True)
        checkpoint = {"network_weights": network.state_dict(), "trainer_name": "nnUNetTrainer"}
        checkpoint["init_args"] = {"configuration": configuration, "fold": fold}
        checkpoint["inference_allowed_mirroring_axes"] = tuple(range(len(patch)))
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")


def predict(
    model: Path, images: Path, out: Path, threads: int, probabilities: bool, float32: bool, channels_last: bool
) -> None:
    """Prints seconds, from NIfTI to NIfTI, and the process's peak memory in bytes."""
    torch.set_num_threads(threads)
    if float32:  # nnU-Net's float16 sums become float32, to see its result without their rounding
        torch.half = torch.float32
    folds = tuple(sorted(p.name.removeprefix("fold_") for p in model.glob("fold_*")))
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), folds)
    if channels_last:  # other kernels for the same network, which differ in the last bits
        flat = len(predictor.configuration_manager.patch_size) == 2
        predictor.network.to(memory_format=torch.channels_last if flat else torch.channels_last_3d)
    out.mkdir(parents=True, exist_ok=True)
    start, before = time.perf_counter(), time.process_time()
    predictor.predict_from_files_sequential(str(images), str(out), save_probabilities=probabilities)
    seconds, cpu = time.perf_counter() - start, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print("RESULT " + json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    maker = commands.add_parser("make")
    maker.add_argument("folder", type=Path)
    maker.add_argument("configuration", choices=list(SPACING))
    maker.add_argument("--widths", type=int, nargs="+", required=True)
    maker.add_argument("--patch", type=int, nargs="+", required=True)
    maker.add_argument("--kind", default="PlainConvUNet", choices=["PlainConvUNet", "ResidualEncoderUNet"])
    maker.add_argument("--folds", type=int, default=1)
    predictor = commands.add_parser("predict")
    for name in ("model", "images", "out"):
        predictor.add_argument(name, type=Path)
    predictor.add_argument("--threads", type=int, default=1)
    predictor.add_argument("--probabilities", action="store_true")
    predictor.add_argument("--float32", action="store_true")
    predictor.add_argument("--channels-last", action="store_true")
    values = vars(parser.parse_args())
    {"make": make, "predict": predict}[values.pop("command")](**values)


if __name__ == "__main__":
    sys.exit(main())
