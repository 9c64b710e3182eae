"""Writes data/nnunet_2d.npz and data/nnunet_3d_fullres.npz: small networks of nnU-Net with random weights, a volume,
and what nnU-Net's own predictor makes of it. Needs an environment with nnunetv2 (2.8.1 made the files that are there).

python -m parity_tests.make_nnunet_reference ENV/bin/python
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from unet_data.nnunet.nifti import import_nibabel
from unet_tools.bench_nnunet import SIDE, make_volume

DATA = Path(__file__).with_name("data")
NETWORKS = {
    "2d": ("--widths", "4", "6", "--patch", "16", "12", "--folds", "2"),
    "3d_fullres": ("--widths", "4", "6", "--patch", "6", "16", "12"),
}


def main(nnunet_python: str) -> None:
    import torch

    nibabel = import_nibabel()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_volume(folder / "images", (7, 21, 26))
        images = [np.asarray(nibabel.load(p).dataobj) for p in sorted((folder / "images").iterdir())]
        for name, sizes in NETWORKS.items():
            model, out = folder / name, folder / f"{name}-out"
            for command in (
                ("make", model, name, *sizes),
                ("predict", model, folder / "images", out, "--probabilities"),
            ):
                subprocess.run([nnunet_python, SIDE, *map(str, command)], check=True)
            kept = {"images": np.stack(images), "labels": np.asarray(nibabel.load(out / "case.nii.gz").dataobj)}
            kept["probabilities"] = np.load(out / "case.npz")["probabilities"]
            shares = np.bincount(kept["labels"].ravel()) / kept["labels"].size
            assert len(shares) == 3, f"{name}: classes {len(shares)}, not 3"
            assert shares.min() > 0.03, f"{name}: equal labels would say little: {shares}"
            for fold in sorted(model.glob("fold_*")):
                state = torch.load(fold / "checkpoint_final.pth", weights_only=True)
                for key, tensor in state["network_weights"].items():
                    kept[f"{fold.name}:{key}"] = tensor.numpy()
                kept["mirror_axes"] = np.array(state["inference_allowed_mirroring_axes"])
            texts = {key: json.loads((model / f"{key}.json").read_text()) for key in ("plans", "dataset")}
            np.savez_compressed(DATA / f"nnunet_{name}.npz", texts=np.array(json.dumps(texts)), **kept)


if __name__ == "__main__":
    main(sys.argv[1])
