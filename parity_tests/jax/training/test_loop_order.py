"""The order of events in the training loop, without a training: all that it calls is replaced."""

import math
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from unet_jax.training import loop
from unet_jax.training.run.diagnose import NotFinite
from unet_jax.training.run.train_state_folder import SavedScores
from unet_spec import InputError

from .small_runs import SMALL


class Events(list):
    """Stands for what the loop calls; each call is an event."""

    def __init__(self, steps, signalled=None, saved=None, measured=0, **settings):
        super().__init__()
        self.settings = SMALL.replace(steps=steps, **settings)
        state = {"step": saved or 0}
        self.evaluator = SimpleNamespace(saved=SavedScores(measured=measured), model="network")
        self.evaluator.evaluate = lambda *weights: self.append(("evaluated", *weights)) or {"iou": 0.5}
        self.trainer = SimpleNamespace(
            state={"step": 0},
            batches=lambda done: ((step, f"batch {step}") for step in range(done + 1, steps + 1)),
            step=lambda batch: self.append(batch),
            loss_and_failure=lambda: (6.0, -1),
            weights_to_validate=lambda: ("params", "stats"),
        )
        self.log = SimpleNamespace(
            path=Path("run") / "log.jsonl", records=[{"step": 3}],
            restart=lambda *given: self.append(("restarted", *given)),
            start_clock=lambda done: self.append(("clock", done)),
            add_loss=lambda done, loss, rate: self.append(("loss", done, loss)),
            add_scores=lambda done, scores: self.append(("scores", done, scores)),
        )  # fmt: skip
        self.states = SimpleNamespace(
            folder="state", latest=lambda: saved, check=lambda: None,
            restore=lambda like: (state, SavedScores(measured=measured)),
            save=lambda done, state, scores: self.append(("saved", done, scores.measured)),
        )  # fmt: skip
        self.asked = []

        def agreed(at_log_point):
            self.asked.append(at_log_point)
            return len(self.asked) == signalled

        self.stop = SimpleNamespace(agreed=agreed, signal=None)

    def run(self, resume=False, callbacks=()):
        parts = (self.settings, self.trainer, self.evaluator, self.states, self.log, self.stop, None, callbacks)
        return loop._Loop(*parts).run(resume)

    def of(self, *kinds):
        return [event for event in self if event[0] in kinds]


def test_a_run_logs_validates_and_saves_at_its_steps():
    """The loss is the mean of the steps since the last line, which are fewer at the end; the clock starts anew."""
    events = Events(7, log_every=2, validate_every=3)
    assert events.run() == 7
    assert events.of("loss") == [("loss", 2, 3.0), ("loss", 4, 3.0), ("loss", 6, 3.0), ("loss", 7, 6.0)]
    assert events.of("saved") == [("saved", 3, 3), ("saved", 6, 6), ("saved", 7, 7)]
    assert events.of("scores") == [("scores", step, {"iou": 0.5}) for step in (3, 6, 7)]
    assert events.of("evaluated") == [("evaluated", "params", "stats")] * 3
    assert events.of("clock") == [("clock", 0), ("clock", 3), ("clock", 6), ("clock", 7)]
    assert events[0] == ("restarted", 0, False)
    assert events.asked == [False, True, True, True, False, True]  # at the points of the log; not after the last step


@pytest.mark.parametrize(("signalled", "saved"), [(2, [(2, 0)]), (3, [(3, 3)]), (4, [(3, 3), (4, 3)])])
def test_a_signal_ends_the_run_after_its_step_which_is_saved_once(signalled, saved):
    events = Events(7, signalled, log_every=7, validate_every=3)
    assert events.run() == signalled
    assert events.of("saved") == [("saved", *each) for each in saved]
    assert [event for event in events if isinstance(event, str)] == [f"batch {n}" for n in range(1, signalled + 1)]


@pytest.mark.parametrize(
    ("saved", "measured", "again"), [(3, 0, True), (3, 3, False), (3, -1, False), (2, 0, False), (7, 6, True)]
)
def test_a_resumed_run_validates_where_it_was_ended_before_its_validation(saved, measured, again):
    events = Events(7, saved=saved, measured=measured, log_every=9, validate_every=3)
    assert events.run(resume=True) == 7
    assert events[0] == ("restarted", saved, again)
    assert (("scores", saved, {"iou": 0.5}) in events[:5]) == again
    assert [event for event in events if isinstance(event, str)] == [f"batch {n}" for n in range(saved + 1, 8)]
    events = Events(7, saved=saved, measured=measured, log_every=9, validate_every=3)
    events.run(resume=False)
    assert events[0] == ("restarted", 0, False)  # a state is restored only by --resume


@pytest.mark.parametrize(
    ("answers", "before", "after"),
    [
        ((None, False), None, None),
        ((False, True), None, signal.SIGTERM),
        ((True,), signal.SIGINT, signal.SIGINT),
        ((np.float32(1) > 0,), None, signal.SIGTERM),
        ((1,), None, None),
    ],
)
def test_a_callback_that_answers_true_ends_the_run(answers, before, after):
    events, given = Events(3, log_every=9, validate_every=9), []
    events.stop.signal = before
    callbacks = [lambda *found, answer=answer: given.append(found) or answer for answer in answers]
    events.run(callbacks=callbacks)
    assert given == [({"step": 3}, "network")] * len(answers)
    assert events.stop.signal == after


@pytest.mark.parametrize("failed", [0, 4])
@pytest.mark.parametrize("cause", [None, NotFinite("the output of head", True), NotFinite("the gradient of a", False)])
def test_a_failure_names_the_step_and_what_helps(failed, cause):
    """Counted from 1. The state before it is saved, unless it is the first; a lower rate on resuming does not help
    where the weights were too large before the step."""
    events = Events(7, log_every=1)
    events.trainer.loss_and_failure = lambda: (math.nan, failed)
    events.trainer.state_before_failure = dict
    events.trainer.image_names = lambda step: [f"a{step}", "b"]
    events.trainer.cause_of_failure = lambda step: cause
    with pytest.raises(InputError) as caught:
        events.run()
    said = f"the loss or its gradient is not finite in step {failed + 1} (batch of a{failed}, b)"
    said += f": first in {cause.where}; " if cause else "; "
    said += "state has the state before it; " if failed else ""
    if failed and cause and cause.weights_too_large:
        said += "its weights are already too large: start a new run with a lower learning_rate or clip above 0"
    else:
        said += "a lower learning_rate or clip above 0 usually helps; both can be changed with --resume"
    assert str(caught.value) == said
    assert events.of("saved") == ([("saved", failed, 0)] if failed else [])
