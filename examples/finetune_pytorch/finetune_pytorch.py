"""Fine-tune a checkpoint in PyTorch, wherever it was trained. The result is a checkpoint that JAX opens, too.

python examples/finetune_pytorch/finetune_pytorch.py run/best my_folder run/finetuned [steps]
"""

import sys
from dataclasses import replace

import numpy as np
import torch

import unet_torch
from unet_data import Normalization, Sampler, measure, open_dataset, split
from unet_torch import TorchRuntime, losses

if len(sys.argv) < 4:
    sys.exit(__doc__)
checkpoint, folder, out = sys.argv[1:4]
steps = int(sys.argv[4]) if len(sys.argv) > 4 else 200

training, validation = split(open_dataset(folder))
model = unet_torch.from_pretrained(checkpoint, out_channels=training.class_count)
normal = tuple(Normalization.of(model.data, image).apply(image) for image in training.images)  # as the weights expect
tile = tuple(grid.below(252) or grid.minimum for grid in model.config.geometry.grids)
inner = model.config.geometry.output_shape(tile)
sampler = Sampler(replace(training, images=normal), tile, inner, batch=4, seed=0)  # batch norm needs more than one tile


def report(when: str) -> None:
    scores = measure(TorchRuntime(model).run, model.config, model.data, validation)
    print(f"{when}: pixel accuracy {scores['pixel_accuracy']:.3f}, IoU {scores['iou']:.3f}")


report("before")
model.train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
for step in range(steps):
    images, labels = sampler.batch(step)
    x = torch.from_numpy(np.moveaxis(images, -1, 1).copy())
    loss = losses.cross_entropy(model(x), torch.from_numpy(labels))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 0:
        print(step, float(loss.detach()))
model.eval()
report("after")
model.save_pretrained(out)
print(f"{out} opens in both: unet_torch.from_pretrained({out!r}), unet_jax.from_pretrained({out!r})")
