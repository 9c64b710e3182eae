"""What an operation says of itself, against what it computes."""

from __future__ import annotations

import numpy as np
import pytest

from unet_spec.ops import Conv, ConvTranspose, CropLike, MaxPool, SizeError, Upsample


@pytest.mark.parametrize(
    "op",
    [
        Conv(1, 1, (3,), (1,), (0,)),
        Conv(1, 1, (3,), (1,), (1,)),
        Conv(1, 1, (5,), (2,), (2,)),
        ConvTranspose(1, 1, (2,), (2,)),
        ConvTranspose(1, 1, (3,), (2,)),
        MaxPool((2,)),
        Upsample(2, False),
        Upsample(3, False),
        Upsample(2, True),
    ],
    ids=str,
)
def test_what_an_operation_needs_is_what_changes_it(op):
    """One axis, one channel, positive weights: an output depends on exactly its `input_intervals`."""
    n = 12
    params = {k: np.full(p.shape, 0.5) for k, p in op.parameters().items()}
    x = np.linspace(1, 2, n).reshape(1, n, 1)
    base = op.compute(params, x)
    assert base.shape[1] == op.output_size(0, n)
    seen: dict[int, set[int]] = {o: set() for o in range(base.shape[1])}
    for i in range(n):
        bumped = x.copy()
        bumped[0, i] += 100.0
        for o in np.flatnonzero(np.abs(op.compute(params, bumped) - base)[0, :, 0] > 1e-9):
            seen[int(o)].add(i)
    for o, inputs in seen.items():
        ((low, high),) = op.input_intervals(0, (o, o + 1), n)
        inside = set(range(max(low, 0), min(high, n)))
        assert inputs <= inside, (o, inputs, (low, high))
        if not (isinstance(op, Upsample) and op.align_corners):  # there, a bound suffices
            assert len(inside - inputs) <= (1 if isinstance(op, Upsample) else 0), (o, inputs, (low, high))


def test_a_crop_may_reach_to_the_last_pixel_and_no_farther():
    assert CropLike(2).output_size(0, 7, 5) == 5
    with pytest.raises(SizeError, match="5 pixels from 2 on cannot be cut from 6"):
        CropLike(2).output_size(0, 6, 5)
