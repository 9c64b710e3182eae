"""One mask file an object."""

from pathlib import Path

import numpy as np

from unet_data.labels.joined import join_objects

from ..io.helpers import refused


def test_objects_are_numbered_in_the_order_of_their_files():
    masks = {Path("a"): np.array([[255, 255, 0]]), Path("b"): np.array([[0, 0, 1]])}
    numbers, facts = join_objects(list(masks), masks.__getitem__)
    assert numbers.tolist() == [[1, 1, 2]]
    assert facts.left_out == ()
    masks[Path("c")] = np.array([[0, 9, 9]])
    numbers, facts = join_objects(list(masks), masks.__getitem__)
    assert numbers.tolist() == [[1, 3, 3]]
    assert facts.left_out == ("pixels covered by another object",)
    assert "read as one object (--labels overlapping, if it is the mask of a class)" in facts.read_as[0]
    masks[Path("d")] = np.ones((2, 3))
    assert refused(join_objects, list(masks), masks.__getitem__).startswith("d: has shape (2, 3)")
