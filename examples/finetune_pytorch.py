"""Fine-tune a checkpoint that was trained in JAX with PyTorch, and come back: the same weights, bit for bit, both ways.

python examples/finetune_pytorch.py run/best my_folder run/finetuned
"""

import sys

import numpy as np
import torch

import unet_jax
import unet_torch
from unet_data import Normalization, Sampler, open_dataset, split
from unet_torch import losses

if len(sys.argv) < 4:
    sys.exit(__doc__)
checkpoint, folder, out = sys.argv[1:4]
steps = int(sys.argv[4]) if len(sys.argv) > 4 else 200

model = unet_torch.UNet.from_pretrained(checkpoint)
training, _ = split(open_dataset(folder))
normal = Normalization(model.data.mean, model.data.std)
tile = tuple(grid.below(252) or grid.minimum for grid in model.config.geometry.grids)
inner = model.config.geometry.output_shape(tile)
sampler = Sampler(training, tile, inner, batch=4, seed=0)  # batch norm needs more than one tile

model.train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
for step in range(steps):
    images, labels = sampler.batch(step)
    x = torch.from_numpy(np.moveaxis(normal.apply(images), -1, 1).copy())
    loss = losses.cross_entropy(model(x), torch.from_numpy(labels))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 10 == 0:
        print(step, float(loss.detach()))
model.eval()
model.save_pretrained(out)

back = unet_jax.tensors(unet_jax.UNet.from_pretrained(out))
for name, tensor in model.state_dict().items():
    assert np.array_equal(back[name], tensor.numpy()), name
print(f"{out}: the same {len(back)} tensors in JAX")
