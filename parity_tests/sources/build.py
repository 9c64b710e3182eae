"""Builds other projects' networks with random weights, and saves their checkpoints with an input and its output.

This runs in an environment that has those packages and nothing of ours (docs/sources.md says how to make one):

    python parity_tests/sources/build.py FOLDER [CASE …]
    python parity_tests/sources/build.py --load CASE FILE FOLDER/CASE     # whether the package takes what ours wrote

Every parameter and buffer is random. Each case becomes a folder with `checkpoint.pth` (or a whole nnU-Net model folder,
or a Keras file), `input.npy` (float64, channels-last) and the outputs `float32.npy` and `float64.npy`, computed by the
package in that precision. With all cases, FOLDER/recorded.json is what `parity_tests/sources/recorded.json` has: names
and shapes, and some values of each output, for tests that run without the packages.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import draw
import numpy as np

warnings.simplefilter("ignore")
CASES: dict[str, Callable[[Path], None]] = {}


def case(function: Callable[[Path], None]) -> Callable[[Path], None]:
    CASES[function.__name__.removeprefix("case_")] = function
    return function


def randomise(network, seed: int = 0, gain: float = 1.0) -> None:
    """Every parameter and buffer, in the order of `layout`."""
    import torch

    with torch.no_grad():
        for name, array in draw.tensors(layout(network), seed, gain).items():
            network.state_dict()[name].copy_(torch.from_numpy(np.asarray(array)))


def layout(network) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a network's tensors, each once."""
    found = [*network.named_parameters(), *network.named_buffers()]
    return [(name, tuple(tensor.shape)) for name, tensor in found]


def aliases(network) -> dict[str, str]:
    """Further names of tensors in the state_dict, and the first one."""
    firsts = {tensor.data_ptr(): name for name, tensor in [*network.named_parameters(), *network.named_buffers()]}
    names = {name: firsts[tensor.data_ptr()] for name, tensor in network.state_dict().items()}
    return {name: first for name, first in names.items() if name != first}


def record(folder: Path, network, channels: int, size: tuple[int, ...], gain: float = 1.0) -> None:
    """The input and both outputs of a PyTorch network in evaluation mode, and what its state_dict has."""
    import torch

    told = {"layout": layout(network), "aliases": aliases(network), "gain": gain}
    x = draw.image(channels, size)
    first = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    network = network.eval()
    with torch.no_grad():
        single = network(first).numpy()
        double = network.double()(first.double()).numpy()
    network.float()
    write(folder, told, x, np.moveaxis(single, 1, -1), np.moveaxis(double, 1, -1))


def write(folder: Path, told: dict, x: np.ndarray, single: np.ndarray, double: np.ndarray) -> None:
    """The files of a case, and its entry for recorded.json: layout, and a sample of the float64 output."""
    told |= {"channels": x.shape[-1], "size": x.shape[1:-1], "sample": [float(v) for v in draw.sample(double)]}
    (folder / "record.json").write_text(json.dumps(told))
    np.save(folder / "input.npy", x.astype(np.float64))
    np.save(folder / "float32.npy", single)
    np.save(folder / "float64.npy", double)


def save(folder: Path, network, channels: int, size: tuple[int, ...], gain: float = 1.0) -> None:
    """A plain state_dict, as most people save it."""
    import torch

    randomise(network, gain=gain)
    torch.save(network.state_dict(), folder / "checkpoint.pth")
    record(folder, network, channels, size, gain)


# nnU-Net: its own trainer writes the checkpoints


def nnunet(folder: Path, arch: str, kwargs: dict, configuration: str, channels: int, size: tuple[int, ...]) -> None:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ[name] = str(folder / "work" / name)
    os.environ.update(nnUNet_compile="f")
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    dims = len(size)
    norm, conv = f"torch.nn.modules.instancenorm.InstanceNorm{dims}d", f"torch.nn.modules.conv.Conv{dims}d"
    kwargs = {
        **kwargs,
        "conv_op": conv,
        "norm_op": norm,
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
        "conv_bias": True,
    }
    plans = {
        "dataset_name": "Dataset999_Test",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1.0] * 3,
        "original_median_shape_after_transp": [16] * 3,
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {},
        "configurations": {
            configuration: {
                "data_identifier": f"nnUNetPlans_{configuration}",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": list(size),
                "median_image_size_in_voxels": list(size),
                "spacing": [1.0] * dims,
                "normalization_schemes": ["ZScoreNormalization"] * channels,
                "use_mask_for_norm": [False] * channels,
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
                "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": {
                    "is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
                "architecture": {
                    "network_class_name": f"dynamic_network_architectures.architectures.unet.{arch}",
                    "arch_kwargs": kwargs,
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
                "batch_dice": True,
            }
        },
    }  # fmt: skip
    dataset = {
        "channel_names": {str(i): "MRI" for i in range(channels)},
        "labels": {"background": 0, "one": 1, "two": 2},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    model = folder / "model"
    seen = folder / "work" / "nnUNet_preprocessed" / plans["dataset_name"] / f"nnUNetPlans_{configuration}"
    seen.mkdir(parents=True)
    (seen / "none.npz").touch()  # the trainer looks at the files' endings before it builds the network
    for fold in (0, 1):
        (model / f"fold_{fold}").mkdir(parents=True)
        trainer = nnUNetTrainer(
            {**plans, "continue_training": False}, configuration, fold, dataset, torch.device("cpu")
        )
        trainer.initialize()
        network = trainer.network
        randomise(network, fold)
        trainer.inference_allowed_mirroring_axes = tuple(range(dims))
        trainer.logger.log("train_losses", np.float32(0.5), 0)
        trainer.save_checkpoint(str(model / f"fold_{fold}" / "checkpoint_final.pth"))
        if fold == 0:
            network.decoder.deep_supervision = False
            record(folder, network, channels, size)
    (model / "plans.json").write_text(json.dumps(plans))
    (model / "dataset.json").write_text(json.dumps(dataset))


@case
def case_nnunet_plain_2d(folder: Path) -> None:
    kwargs = {
        "n_stages": 4,
        "features_per_stage": [4, 6, 8, 8],
        "kernel_sizes": [[3, 3]] * 4,
        "strides": [[1, 1], [2, 2], [2, 2], [2, 2]],
        "n_conv_per_stage": [2, 2, 2, 2],
        "n_conv_per_stage_decoder": [2, 2, 2],
    }
    nnunet(folder, "PlainConvUNet", kwargs, "2d", 1, (32, 48))


@case
def case_nnunet_plain_3d(folder: Path) -> None:
    kwargs = {
        "n_stages": 3,
        "features_per_stage": [4, 5, 6],
        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        "n_conv_per_stage": [2, 1, 3],
        "n_conv_per_stage_decoder": [2, 1],
    }
    nnunet(folder, "PlainConvUNet", kwargs, "3d_fullres", 2, (6, 16, 20))


@case
def case_nnunet_residual_2d(folder: Path) -> None:
    kwargs = {
        "n_stages": 4,
        "features_per_stage": [4, 6, 8, 8],
        "kernel_sizes": [[3, 3]] * 4,
        "strides": [[1, 1], [2, 2], [2, 2], [2, 2]],
        "n_blocks_per_stage": [1, 3, 2, 2],
        "n_conv_per_stage_decoder": [1, 1, 1],
    }
    nnunet(folder, "ResidualEncoderUNet", kwargs, "2d", 1, (32, 48))


@case
def case_nnunet_residual_3d(folder: Path) -> None:
    kwargs = {
        "n_stages": 3,
        "features_per_stage": [4, 6, 8],
        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        "n_blocks_per_stage": [1, 2, 2],
        "n_conv_per_stage_decoder": [1, 1],
    }
    nnunet(folder, "ResidualEncoderUNet", kwargs, "3d_fullres", 1, (6, 16, 20))


# MONAI


@case
def case_monai_basicunet_2d(folder: Path) -> None:
    from monai.networks.nets import BasicUNet

    save(folder, BasicUNet(2, 1, 2, features=(4, 5, 6, 8, 10, 7)), 1, (32, 48))


@case
def case_monai_basicunet_3d(folder: Path) -> None:
    from monai.networks.nets import BasicUNet

    network = BasicUNet(3, 2, 3, features=(2, 4, 6, 8, 10, 3), norm=("batch", {"eps": 1e-5}), bias=False)
    save(folder, network, 2, (16, 16, 32))


@case
def case_monai_dynunet_plain(folder: Path) -> None:
    from monai.networks.nets import DynUNet

    kernels, strides = [[3, 3], [3, 1], [3, 3], [5, 3]], [[1, 1], [2, 2], [1, 2], [2, 2]]
    save(folder, DynUNet(2, 1, 2, kernels, strides, strides[1:], filters=[4, 5, 6, 8]), 1, (16, 32))


@case
def case_monai_dynunet_residual(folder: Path) -> None:
    from monai.networks.nets import DynUNet

    kernels, strides = [[1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]], [[1, 1, 1], [1, 2, 2], [2, 2, 2], [1, 2, 2]]
    network = DynUNet(
        3, 2, 3, kernels, strides, strides[1:], filters=[4, 4, 6, 8], deep_supervision=True, deep_supr_num=2,
        res_block=True, trans_bias=True, norm_name="batch",
    )  # fmt: skip
    save(folder, network, 2, (4, 16, 24))


@case
def case_monai_unet_plain(folder: Path) -> None:
    from monai.networks.nets import UNet

    save(folder, UNet(2, 1, 2, channels=(4, 6, 8), strides=(2, 2)), 1, (16, 24))


@case
def case_monai_unet_residual(folder: Path) -> None:
    from monai.networks.nets import UNet

    network = UNet(3, 2, 3, channels=(4, 6, 8, 8), strides=(2, 2, 2), num_res_units=2, norm="batch")
    save(folder, network, 2, (8, 16, 24))


@case
def case_monai_attention_unet(folder: Path) -> None:
    from monai.networks.nets import AttentionUnet

    save(folder, AttentionUnet(2, 2, 3, (4, 6, 8), (2, 2)), 2, (16, 24))


# segmentation_models.pytorch


def smp(folder: Path, encoder: str, channels: int, classes: int, gain: float = 1.0) -> None:
    import segmentation_models_pytorch

    network = segmentation_models_pytorch.Unet(
        encoder, encoder_weights=None, in_channels=channels, classes=classes, decoder_channels=(20, 16, 12, 8, 6)
    )
    save(folder, network, channels, (32, 64), gain)


@case
def case_smp_resnet18(folder: Path) -> None:
    smp(folder, "resnet18", 3, 1)


@case
def case_smp_resnet50(folder: Path) -> None:
    smp(folder, "resnet50", 1, 2, 0.8)


# Keras: the U-Net of zhixuhao/unet, in its functional form, at a narrow width


def keras_unet(folder: Path, file: str, width: int) -> None:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    from keras import layers

    def build(dtype: str):
        conv = {"padding": "same", "activation": "relu", "dtype": dtype}
        x = inputs = keras.Input((None, None, 1), dtype=dtype)
        skips = []
        for level in range(5):
            for _ in range(2):
                x = layers.Conv2D(width * 2**level, 3, **conv)(x)
            if level >= 3:
                x = layers.Dropout(0.5, dtype=dtype)(x)
            if level < 4:
                skips.append(x)
                x = layers.MaxPooling2D(dtype=dtype)(x)
        for level in reversed(range(4)):
            up = layers.Conv2D(width * 2**level, 2, **conv)(layers.UpSampling2D(2, dtype=dtype)(x))
            x = layers.Concatenate(dtype=dtype)([skips.pop(), up])
            for _ in range(2):
                x = layers.Conv2D(width * 2**level, 3, **conv)(x)
        x = layers.Conv2D(2, 3, **conv)(x)
        return keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid", dtype=dtype)(x))

    network = build("float32")
    names = [f"{i // 2}.{'bias' if i % 2 else 'kernel'}" for i in range(len(network.get_weights()))]
    told = [(name, w.shape) for name, w in zip(names, network.get_weights(), strict=True)]
    network.set_weights(list(draw.tensors(told).values()))
    network.save(folder / file)
    twin = build("float64")
    twin.set_weights([w.astype(np.float64) for w in network.get_weights()])
    x = draw.image(1, (32, 48))
    single, double = network.predict(x, verbose=0), twin.predict(x.astype(np.float64), verbose=0)
    write(folder, {"layout": told, "aliases": {}, "gain": 1.0}, x, single, double)


@case
def case_keras_h5(folder: Path) -> None:
    keras_unet(folder, "checkpoint.h5", 3)


@case
def case_keras_keras(folder: Path) -> None:
    keras_unet(folder, "checkpoint.keras", 2)


def load(name: str, back: Path, folder: Path) -> None:
    """Loads what ours wrote into the case's network, and holds its float32 output against the recorded one, exactly.

    `save` is where a case's network is complete, so it is put in its place."""
    import torch

    wanted = np.load(folder / "float32.npy")
    x = np.load(folder / "input.npy").astype(np.float32)
    if name.startswith("keras"):
        os.environ["KERAS_BACKEND"] = "torch"
        import keras

        found = keras.models.load_model(back, compile=False).predict(x, verbose=0)
    elif name.startswith("nnunet"):
        found = load_nnunet(back, x)
    else:
        networks: list = []
        globals()["save"] = lambda folder, network, *rest: networks.append(network)
        CASES[name](folder)
        networks[0].load_state_dict(torch.load(back, weights_only=True), strict=True)
        with torch.no_grad():
            found = np.moveaxis(networks[0].eval()(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy(), 1, -1)
    assert np.array_equal(found, wanted), np.abs(found - wanted).max()


def load_nnunet(back: Path, x: np.ndarray) -> np.ndarray:
    """As nnU-Net's own predictor loads a trained-model folder."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(back), (0, 1), "checkpoint_final.pth")
    predictor.network.load_state_dict(predictor.list_of_parameters[0])
    with torch.no_grad():
        return np.moveaxis(predictor.network.eval()(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy(), 1, -1)


def main(target: Path, names: list[str]) -> None:
    for name in names or CASES:
        folder = target / name
        folder.mkdir(parents=True)
        CASES[name](folder)
        print(name, flush=True)
    records = {name: json.loads((target / name / "record.json").read_text()) for name in names or CASES}
    lines = (f"{json.dumps(name)}: {json.dumps(told)}" for name, told in records.items())
    (target / "recorded.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    if sys.argv[1] == "--load":
        load(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        main(Path(sys.argv[1]), sys.argv[2:])
