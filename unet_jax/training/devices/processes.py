"""Training with several processes: work that process 0 does for all."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from unet_spec import InputError


def run_on_process_zero(work: Callable[[], None]) -> None:
    """Runs `work` in process 0; the others block until it has finished. All must call it.

    In process 0, exceptions of `work` are raised again. The other processes then raise InputError; otherwise they would
    wait forever.
    """
    if jax.process_count() == 1:
        return work()
    from jax.experimental import multihost_utils

    failure: BaseException | None = None
    if jax.process_index() == 0:
        try:
            work()
        except BaseException as e:
            failure = e
    done = bool(multihost_utils.broadcast_one_to_all(np.bool_(failure is None)))
    if failure is not None:
        raise failure
    if not done:
        raise InputError("process 0 failed; see its log")
