"""Fine-tuning beside training anew, on a few small images: which image has which part, what is frozen, the table."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import fine_tune
from benchmarks.fine_tune import ANEW, AS_IS, FROZEN, TUNED, Args, drawn, parts_of, run_keys, table
from unet_data import Dataset, membranes
from unet_spec import Checkpoint, InputError


def with_grounds(count=12, size=44):
    """Every third image has a bright ground."""
    made = membranes(count, size, 0)
    images = tuple((image // 2 + (120 if i % 3 == 0 else 0)).astype(np.uint8) for i, image in enumerate(made.images))
    return Dataset(images, made.labels, made.names, made.class_names, "grounds")


GROUND = 130


def test_no_image_has_two_parts_and_each_seed_draws_its_own():
    dataset = with_grounds()
    parts = parts_of(dataset, GROUND, 2)
    names = [set(part.names) for part in (parts.bright, parts.drawn_from, parts.scored)]
    assert [len(each) for each in names] == [4, 4, 4]
    assert set.union(*names) == set(dataset.names)
    assert parts.bright.names == dataset.names[::3]
    few = [drawn(parts.drawn_from, 2, seed).names for seed in range(6)]
    assert few[0] == drawn(parts.drawn_from, 2, 0).names
    assert len(set(few)) > 1
    assert all(len(set(each)) == 2 for each in few)


def test_data_of_one_ground_are_refused():
    with pytest.raises(InputError, match="0 images with a median from 300 and 12 below it; 1 and 4 are needed"):
        parts_of(with_grounds(), 300, 2)


@pytest.mark.slow
def test_a_table_is_made_and_taken_up_where_it_was_stopped(tmp_path, monkeypatch, capsys):
    dataset = with_grounds()
    for kind, arrays in (("images", dataset.images), ("labels", dataset.labels)):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for index, array in enumerate(arrays):
            Image.fromarray(np.squeeze(array).astype(np.uint8)).save(tmp_path / "data" / kind / f"{index:02}.png")
    args = Args(tmp_path / "data", tmp_path / "out.json", 2, GROUND, (2, 3), tile=20, before=1, steps=(1,), seeds=(0,))
    seen = []

    def watched(config, settings, training, validation, out):
        done = original(config, settings, training, validation, out)
        seen.append((settings.optimisation.weights, settings.optimisation.freeze, Checkpoint.load(out / "last")))
        assert validation is None  # no image chooses anything
        return done

    original = fine_tune.train
    monkeypatch.setattr(fine_tune, "train", watched)
    assert fine_tune.main(args) == 0
    document = json.loads(args.out.read_text())
    assert [run["variant"] for run in document["runs"]] == [AS_IS, ANEW, TUNED, FROZEN]
    before, anew, tuned, frozen = seen
    assert [each[:2] for each in (before, anew)] == [(None, ()), (None, ())]
    assert tuned[0] == frozen[0]
    assert tuned[0].endswith("bright0/last")
    assert (tuned[1], frozen[1]) == ((), ("encoder",))
    kept = [n for n in before[2].tensors if n.startswith("encoder.")]
    assert kept
    farthest = [
        max(np.abs(each[2].tensors[n] / before[2].tensors[n] - 1).max() for n in kept if n.endswith("conv1.weight"))
        for each in (frozen, tuned)
    ]
    assert farthest[0] < 1e-6 < 1e-5 < farthest[1]  # the moving average of equal numbers rounds them
    assert "| fine-tuned | 2, 1 | 1 |" in args.out.with_suffix(".md").read_text()
    assert fine_tune.main(args) == 0
    assert len(seen) == 4
    with pytest.raises(InputError, match="give another --out"):
        fine_tune.main(Args(args.data, args.out, 1, GROUND, (2, 3)))


def test_the_table_gives_means_deviations_and_each_seed():
    runs = [
        {"images": 4, "iou": 0.5, "pixel_error": 0.1}
        | {"steps": steps, "variant": variant, "seed": seed, "foreground_iou": value}
        for steps, variant, values in ((100, TUNED, (0.7, 0.8)), (0, AS_IS, (0.6, 0.6)), (100, ANEW, (0.5, 0.5)))
        for seed, value in enumerate(values)
    ]  # fmt: skip
    found = table(runs)
    assert [row[0] for row in found] == [AS_IS, ANEW, TUNED]
    assert found[2] == (TUNED, "4, 100", "2", "0.750 ± 0.071", "0.500 ± 0.000", "0.100 ± 0.000", "0.700, 0.800")
    assert found[0][1] == "none"
    assert [key["variant"] for key in run_keys(Args(None, None, seeds=(3,)))] == [AS_IS, ANEW, TUNED, FROZEN]
