"""Train on your own folder: images/ and labels/ with files of the same names. 40 lines; every one may be changed.

python examples/train_own_folder.py my_folder run
"""

import sys
from pathlib import Path

from unet_data import open_dataset, split, write_stack
from unet_data.check import check_dataset
from unet_data.evaluate import measure
from unet_data.predict import labels, predict_image
from unet_jax import UNet, preset
from unet_jax.recipes import RECIPES
from unet_jax.runtime import JaxRuntime
from unet_jax.settings import TrainSettings
from unet_jax.train import train

if len(sys.argv) < 3:
    sys.exit(__doc__)
folder, out, steps = Path(sys.argv[1]), Path(sys.argv[2]), int([*sys.argv, 2000][3])

dataset = open_dataset(folder)
for problem in check_dataset(dataset):
    print(f"{problem.level}: {problem.where}: {problem.what}")
training, validation = split(dataset)

recipe = RECIPES["modern"]
config = preset("paper", widths=(16, 32, 64, 128), **recipe.network)
config = config.replace(in_channels=dataset.channels, out_channels=dataset.class_count)
settings = TrainSettings(**{**vars(recipe.settings), "steps": steps, "validate_every": min(250, steps)})
result = train(config, settings, training, validation, out, report=print)
if result.stopped:  # by Ctrl-C or SIGTERM; the state is saved: unet train --out OUT --resume goes on
    sys.exit(128 + result.stopped)

model = UNet.from_pretrained(out / "best")
run = JaxRuntime(model).run
print(measure(run, config, model.data, validation, objects=True))
found = labels(predict_image(run, validation.images[0], config, model.data))
write_stack(out / "example.png", found[None] * (255 // (dataset.class_count - 1)))
