"""Learn cells from one sequence, find and link those of another, and score them: SEG, DET, TRA. Change any line.

python examples/cell_tracking/track_cells.py DATA OUT [steps]

DATA: a folder of the Cell Tracking Challenge with 01, 01_GT, 02 and 02_GT, such as PhC-C2DH-U373 or DIC-C2DH-HeLa; or
phase-contrast or dic, for sequences that are drawn and written to OUT/data in the same layout.
"""

import sys
from pathlib import Path

from unet_data import (
    ObjectSettings,
    cell_sequence,
    challenge_scores,
    choose_object_settings,
    objects_of,
    open_dataset,
    predict_image,
    probabilities,
    split,
    with_border,
    write_sequence,
    write_truth,
)
from unet_jax import RECIPES, JaxRuntime, UNet, preset, train

if len(sys.argv) < 3:
    sys.exit(__doc__)
source, out = sys.argv[1], Path(sys.argv[2])
steps = int(sys.argv[3]) if len(sys.argv) > 3 else 300

folder = Path(source)
if source in ("phase-contrast", "dic"):
    folder = out / "data"
    for seed, name in enumerate(("01", "02")):
        cells = cell_sequence(24, 256, seed, source, diameter=40.0, cycle=30.0)
        write_truth(folder, cells.images, cells.labels, cells.tracks, name)

# Sequence 01 trains, its last sixth chooses the checkpoint and how objects are made; 02 is only scored.
frames = open_dataset(folder, kind="instance")
first = frames.subset([index for index, name in enumerate(frames.names) if name.startswith("01-")])
training, validation = split(with_border(first), "last")

# The border between cells is a class of its own, and counts more where two cells are close (the paper's weights).
recipe = RECIPES["modern"]
config = preset("paper", widths=(8, 16, 32, 64), **recipe.network)
config = config.replace(in_channels=frames.channels, out_channels=training.class_count)
settings = recipe.settings.replace(steps=steps, border_weight=10.0, validate_every=max(1, steps // 3))
settings = settings.replace(rotation=180.0, mirror=True, elastic=5.0, select="iou")  # "auto": by the AP of objects
result = train(config, settings, training, validation, out / "run")
if result.stop_signal:  # Ctrl-C or SIGTERM
    sys.exit(128 + result.stop_signal)

model = UNet.from_pretrained(out / "run" / "best")
run = JaxRuntime(model).run


def predicted(image):
    """Probabilities (H, W, classes) of one frame (H, W, C)."""
    return probabilities(predict_image(run, image, config, model.data))


maps = [predicted(image) for image in validation.images]
how, mean_ap = choose_object_settings(maps, validation.instances, ObjectSettings(border=2))  # class 2 is the border
print(f"objects are made by {how.described()}: mean AP {mean_ap:.3f} on {len(validation)} frames of 01")

found = [objects_of(predicted(image), how)[0] for image in open_dataset(folder / "02").images]
tracks = write_sequence(out / "02_RES", found)
scores = challenge_scores(out / "02_RES", folder / "02_GT")
print(f"02: {len(found)} frames, {len(tracks)} tracks, {(tracks[:, 3] > 0).sum()} of them daughters")
print("  ".join(f"{name.upper()} {scores[name]:.3f}" for name in ("seg", "det", "tra")))
print("  ".join(f"{name} {scores[name]}" for name in ("split", "missed", "false", "added_links", "deleted_links")))
