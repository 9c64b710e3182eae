"""A training loop of your own, of the parts that `unet_jax.train` is made of. Run it again with more steps: it goes on.

python examples/own_loop/own_loop.py my_folder run [steps]
"""

import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint as ocp
from flax import nnx

from unet_data import Normalization, Sampler, measure, normalization_of, open_dataset, split
from unet_jax import JaxRuntime, TrainSettings, augment, create, make_objective, preset

if len(sys.argv) < 3:
    sys.exit(__doc__)
folder, out, steps = sys.argv[1], Path(sys.argv[2]).resolve(), int((*sys.argv, 1000)[3])
training, validation = split(open_dataset(folder))
settings = TrainSettings().replace(batch=2, loss="cross_entropy+dice", elastic=5.0)
config = preset("same", widths=(8, 16, 32), in_channels=training.channels, out_channels=training.class_count)
model = create(config, seed=0)
model.data = replace(normalization_of(training), class_names=training.class_names)
images = tuple(Normalization.of(model.data, image).apply(image) for image in training.images)

tile, how = settings.data.tile_shape(config), settings.augmentation
output = config.geometry.output_shape(tile)  # smaller than the tile where convolutions are not padded
sampler = Sampler(replace(training, images=images), how.window(tile), output, settings.optimisation.batch, seed=0)
optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
graphdef, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
objective = make_objective(graphdef, settings)  # or any function (params, stats, …) to (loss, stats)
state = {"params": params, "stats": stats, "opt": optimizer.init(params), "ema": (params, stats), "step": jnp.int32(0)}


@jax.jit
def step(state, images, labels):
    warp, drop = jax.random.split(jax.random.fold_in(jax.random.key(0), state["step"]))
    images, labels, _ = augment(warp, images, labels, tile, how)
    gradient = jax.value_and_grad(objective, has_aux=True)
    (loss, stats), grads = gradient(state["params"], state["stats"], images, labels, None, drop)
    moves, opt = optimizer.update(grads, state["opt"], state["params"])
    params = optax.apply_updates(state["params"], moves)
    ema = optax.incremental_update((params, stats), state["ema"], jnp.maximum(0.01, 9 / (10 + state["step"])))
    return {"params": params, "stats": stats, "opt": opt, "ema": ema, "step": state["step"] + 1}, loss


states = ocp.CheckpointManager(out / "state", options=ocp.CheckpointManagerOptions(max_to_keep=1))
if (done := states.latest_step()) is not None:
    state = states.restore(done, args=ocp.args.StandardRestore(state))
for number in range(done or 0, steps):  # batch k follows from (seed, k): a resumed run sees what it would have seen
    state, loss = step(state, *sampler.batch(number))
    print(number + 1, float(loss))
states.save(steps, args=ocp.args.StandardSave(state))
states.close()
model = nnx.merge(graphdef, *state["ema"])
model.save_pretrained(out / "best")
print(measure(JaxRuntime(model).run, config, model.data, validation))
