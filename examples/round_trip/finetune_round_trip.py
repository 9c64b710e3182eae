"""One network in four frameworks: PyTorch trains it, JAX continues, PyTorch continues, and an engine is built from it.

python examples/round_trip/finetune_round_trip.py out [data/dsb2018] [steps]

Each step opens the folder that the step before saved. After each, the accuracy is measured on images that were not
trained on, in both frameworks: it must be the same.
"""

import os
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import torch
from flax import nnx

import unet_export
import unet_jax
import unet_torch
from unet_data import Normalization, Sampler, measure, open_dataset, split
from unet_jax import JaxRuntime
from unet_spec import Checkpoint, DataSpec, InputError, preset
from unet_torch import TorchRuntime

out = Path(sys.argv[1])
source = sys.argv[2] if len(sys.argv) > 2 else Path(os.environ.get("UNET_DATA", "data")) / "dsb2018"
steps = int(sys.argv[3]) if len(sys.argv) > 3 else 150

dataset = open_dataset(source)
training, validation = split(dataset)
normal = Normalization.from_dataset(training)
config = preset("same", widths=(8, 16, 32), in_channels=dataset.channels, out_channels=dataset.class_count)
tile = (128, 128)


def batches(first: int):
    """Images (N, H, W, C), prepared, and labels (N, H, W); another part of an endless sequence for each step."""
    sampler = Sampler(training, tile, config.geometry.output_shape(tile), batch=4, seed=0)
    for number in range(first, first + steps):
        images, labels = sampler.batch(number)
        yield normal.apply(images), labels.astype(np.int32)


def train_in_torch(model: unet_torch.Network, first: int) -> unet_torch.Network:
    optimizer = torch.optim.AdamW(model.train().parameters(), 3e-3)
    for images, labels in batches(first):
        logits = model(torch.from_numpy(np.moveaxis(images, -1, 1).copy()))
        loss = unet_torch.losses.cross_entropy(logits, torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def train_in_jax(model: unet_jax.Network, first: int) -> unet_jax.Network:
    model.train()
    optimizer = nnx.Optimizer(model, optax.adamw(3e-3), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, images, labels):
        loss, grads = nnx.value_and_grad(lambda m: unet_jax.losses.cross_entropy(m(images), labels))(model)
        optimizer.update(model, grads)
        return loss

    for images, labels in batches(first):
        step(model, optimizer, jax.numpy.asarray(images), jax.numpy.asarray(labels))
    model.eval()
    return model


def report(what: str, run, where: str) -> None:
    scores = measure(run, config, data, validation)
    print(f"{what:<28} in {where:<12} accuracy {scores['pixel_accuracy']:.5f}, IoU {scores['iou']:.5f}")


data = DataSpec(normal.mean, normal.std, dataset.class_names)

model = unet_torch.create(config, seed=0)
model.data = data
train_in_torch(model, 0).save_pretrained(out / "1-torch")
report(f"1. {steps} steps of PyTorch", TorchRuntime(unet_torch.from_pretrained(out / "1-torch")).run, "PyTorch")
report("", JaxRuntime(unet_jax.from_pretrained(out / "1-torch")).run, "JAX")

train_in_jax(unet_jax.from_pretrained(out / "1-torch"), steps).save_pretrained(out / "2-jax")
report(f"2. {steps} more of JAX", JaxRuntime(unet_jax.from_pretrained(out / "2-jax")).run, "JAX")
report("", TorchRuntime(unet_torch.from_pretrained(out / "2-jax")).run, "PyTorch")

train_in_torch(unet_torch.from_pretrained(out / "2-jax"), 2 * steps).save_pretrained(out / "3-torch")
report(f"3. {steps} more of PyTorch", TorchRuntime(unet_torch.from_pretrained(out / "3-torch")).run, "PyTorch")
report("", JaxRuntime(unet_jax.from_pretrained(out / "3-torch")).run, "JAX")

bundle = unet_export.write_bundle(Checkpoint.load(out / "3-torch"), out / "4-bundle")
print(f"4. engines built: {', '.join(engine.file for engine in bundle.engines) or 'none'}")
report("", unet_export.load(bundle, "onnx").runtime.run, "ONNX Runtime")
try:
    report("", unet_export.load(bundle, "tensorrt").runtime.run, "TensorRT")
except InputError as reason:
    print(f"{'':<28} in TensorRT     not run: {reason}")
