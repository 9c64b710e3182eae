"""A remedy that a message names works."""

import re

import numpy as np
import pytest

from unet_data import label_rule
from unet_spec import InputError


@pytest.mark.parametrize("values", [(0, 128, 255), (1, 2), (1, 2, 3, 255), (0, 1, 2, 255), (0, 5, 9), (4, 7)])
def test_every_flag_that_a_refusal_names_reads_the_labels(values):
    raw = np.array(values, np.uint8)
    with pytest.raises(InputError) as caught:
        label_rule([raw], ["m"])
    message = str(caught.value)
    flags = re.findall(r"--(labels|class-numbers|ignore) (\S+)", message)
    assert flags
    flags = [(flag, value.rstrip(";")) for flag, value in flags]
    ignore = next((int(v) for f, v in flags if f == "ignore"), None)
    for flag, value in flags:
        kind = value if flag == "labels" else "auto"
        listed = value if flag == "class-numbers" else ""
        kind_needs = ignore if 255 in values else None
        rule = label_rule([raw], ["m"], kind, kind_needs, listed)  # type: ignore[arg-type]
        assert len(np.unique(rule.apply(raw))) > 1
