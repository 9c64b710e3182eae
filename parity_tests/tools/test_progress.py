"""One bar for several images: the number of the image, and the time left."""

from types import SimpleNamespace

from unet_tools import progress
from unet_tools.progress import ImagesProgress, OneOfProgress, PixelProgress, TrainingProgress


def test_the_line_counts_images_and_tells_the_time_left(monkeypatch):
    lines, now = [], [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(ImagesProgress, "_show", lambda self, done, text, name: lines.append((done, text)))
    with ImagesProgress(60) as bar:
        image = OneOfProgress(bar, 2)
        image.planned("tiles", 1000, 0)
        now[0] = 10.0
        image.written(0, 500)  # two and a half of 60 in 10 seconds
    assert lines == [(0, "1 of 60"), (2.5, "3 of 60, 0:03:50 left")]


def test_tiles_of_an_earlier_run_count(monkeypatch):
    found = []
    monkeypatch.setattr(ImagesProgress, "report", lambda self, done: found.append(done))
    image = OneOfProgress(ImagesProgress(2), 1)
    image.planned("tiles", 100, 75)
    image.written(0, 25)
    assert found == [0, 2.0]


def training(monkeypatch, *records, quiet=False):
    """The printed text of these reports, one per second, without a terminal."""
    lines, now = [], [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    monkeypatch.setattr(progress.notes, "print", lambda text, **_: lines.append(text))
    with TrainingProgress(10, batch=4, quiet=quiet) as bar:
        for record in records:
            now[0] += 1
            bar.report(record)
    return lines


RECORDS = [
    {"step": 0, "compiling": "the step"},
    {"step": 0, "compiled": 61.4, "kept": False},
    {"step": 2, "loss": 0.5, "learning_rate": 1e-3, "steps_per_second": 2.5},
    {"step": 4, "pixel_accuracy": 0.9, "pixel_error": 0.1, "iou": 0.7, "v_rand": 0.8, "v_rand_threshold": 0.3,
     "validation_loss": 0.4},
    {"step": 4, "loss": 0.3, "steps_per_second": 2.5},
]  # fmt: skip


def test_a_training_says_what_is_compiled_how_it_goes_and_how_long_it_takes(monkeypatch):
    assert training(monkeypatch, *RECORDS) == [
        "compiling the step, once; this may take minutes",
        "compiled in 61 s",
        "step 2 of 10: loss 0.5000, learning rate 1.0e-03, 10.0 images/s, 0:00:04 left",
        "step 4: pixel accuracy 0.9000  iou 0.7000  v rand 0.8000  validation loss 0.4000",
        "step 4 of 10: loss 0.3000, validation loss 0.4000, 10.0 images/s, 0:00:04 left",
    ]
    assert training(monkeypatch, *RECORDS, quiet=True) == []
    kept = {"step": 0, "compiled": 2.0, "kept": True}
    assert training(monkeypatch, kept) == ["compiled in 2 s, since an earlier run compiled it"]


def test_a_terminal_counts_the_seconds_of_compiling(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    bar = TrainingProgress(10)
    bar.report(RECORDS[0])
    [task] = bar._bar.tasks
    now[0] = 142.0
    assert (task.fields["text"], progress._Seconds().render(task).plain) == ("compiling the step", "42 s")
    bar.report(RECORDS[1])
    assert (task.fields["text"], progress._Seconds().render(task).plain) == ("", "")


def pixels(monkeypatch, every=0.0, quiet=False):
    """The printed text of an image of 8 megapixels, 2 of them from an earlier run, and the task of its bar."""
    lines, now = [], [50.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(progress, "LINE_EVERY", every)
    monkeypatch.setattr(progress.notes, "print", lambda text, **_: lines.append(text))
    with PixelProgress("a.tif", quiet) as bar:
        bar.warn("dark")
        assert bar._bar.tasks[0].total == 0  # unknown before the plan
        bar.planned("4 tiles", 8_000_000, 2_000_000)
        [task] = bar._bar.tasks
        for number in range(3):
            now[0] += 4000
            bar.written(number, 2_000_000)
        bar.labelled(1, 5)
        return lines, task


def test_an_image_says_how_many_megapixels_are_done_how_fast_and_how_long_it_takes(monkeypatch):
    lines, task = pixels(monkeypatch)
    assert lines == [
        "warning: dark",
        "4 tiles",
        "a.tif: 4.0 of 8.0 megapixels, 0.00 per second, 2:13:20 left",
        "a.tif: 6.0 of 8.0 megapixels, 0.00 per second, 1:06:40 left",
        "a.tif: 8.0 of 8.0 megapixels, 0.00 per second, 0:00:00 left",
        "a.tif: objects of block 2 of 5",
    ]
    assert (task.total, task.completed, task.description) == (8_000_000, 8_000_000, "a.tif")
    assert pixels(monkeypatch, every=4001)[0][2:] == [lines[3]]  # a line each time that the interval has passed
    assert pixels(monkeypatch, quiet=True)[0] == ["warning: dark"]


def test_megapixels_per_second_leave_out_those_of_an_earlier_run(monkeypatch):
    lines, now = [], [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(PixelProgress, "_show", lambda self, done, text, name: lines.append(text))
    bar = PixelProgress("a.tif")
    bar.planned("tiles", 30_000_000, 10_000_000)
    now[0] = 4.0
    bar.written(0, 5_000_000)
    assert lines == ["15.0 of 30.0 megapixels, 1.25 per second, 0:00:12 left"]


def test_a_step_after_a_validation_is_timed_from_the_first_step(monkeypatch):
    """Seconds of a step are those since compiling, by the steps since then."""
    lines = training(
        monkeypatch,
        {"step": 5, "compiled": 1.0, "kept": False},
        {"step": 5, "loss": 1.0, "steps_per_second": 0.5},
        {"step": 7, "loss": 1.0, "steps_per_second": 0.5},
        {"step": 7, "iou": 0.5, "adapted_rand_error": 0.1},
    )
    assert lines[1:] == [
        "step 5 of 10: loss 1.0000, 2.0 images/s",
        "step 7 of 10: loss 1.0000, 2.0 images/s, 0:00:03 left",
        "step 7: iou 0.5000",
    ]
