"""Train on your own folder: images/ and labels/ with files of the same names. Change any line.

python examples/train_own_folder/train_own_folder.py my_folder run [steps]
"""

import sys
from pathlib import Path

from unet_data import check_dataset, measure, most_probable, open_dataset, predict_image, split, write_stack
from unet_jax import RECIPES, JaxRuntime, UNet, preset, train

if len(sys.argv) < 3:
    sys.exit(__doc__)
folder, out = Path(sys.argv[1]), Path(sys.argv[2])
steps = int(sys.argv[3]) if len(sys.argv) > 3 else 2000

dataset = open_dataset(folder)
for problem in check_dataset(dataset):
    print(f"{problem.level}: {problem.where}: {problem.what}")
training, validation = split(dataset)

recipe = RECIPES["modern"]
config = preset("paper", widths=(16, 32, 64, 128), **recipe.network)
config = config.replace(in_channels=dataset.channels, out_channels=dataset.class_count)
settings = recipe.settings.replace(steps=steps, validate_every=min(250, steps))
result = train(config, settings, training, validation, out, report=print)
if result.stop_signal:  # Ctrl-C or SIGTERM; the state is saved: unet train --out OUT --resume goes on
    sys.exit(128 + result.stop_signal)

model = UNet.from_pretrained(out / "best")
run = JaxRuntime(model).run
print(measure(run, config, model.data, validation, objects=True))
found = most_probable(predict_image(run, validation.images[0], config, model.data))
write_stack(out / "example.png", found[None] * (255 // (dataset.class_count - 1)))
