"""A remedy that a message names works."""

import re

import numpy as np
import pytest

from unet_data import label_rule
from unet_data.labels.advice import advice, some, without_gaps
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


GREY = (*range(0, 250, 5), 255)


@pytest.mark.parametrize(
    ("values", "begins", "named"),
    [
        (GREY, "grey levels between 0 and 255", ["--labels instance"]),
        (GREY[1:], "write class indices", ["--class-numbers 0-255", "--labels instance"]),
        ((0, 5, 9), "write class indices", ["--labels semantic", "--labels instance"]),
        ((0, 1, 254), "write class indices", ["--labels semantic", "--labels instance"]),
        ((0, 2, 255), "write class indices", ["--class-numbers 0,2,255", "--labels instance"]),
        ((0, 1, 300), "write class indices", ["--class-numbers 0,1,300", "--labels instance"]),
        ((0, *range(300, 333)), "write class indices", ["--class-numbers 0-332", "--labels instance"]),
        ((0, 1, 2, 255), "if 255 marks", ["--ignore 255", "--labels semantic", "--labels instance"]),
        ((1, 2), "no pixel is 0", ["--class-numbers 1,2", "--labels instance"]),
        ((2, 5, 9), "no pixel is 0", ["--class-numbers 2,5,9", "--labels instance"]),
        (
            tuple(range(1, 33)),
            "no pixel is 0",
            [f"--class-numbers {','.join(map(str, range(1, 33)))}", "--labels instance"],
        ),
        (tuple(range(1, 34)), "write class indices", ["--labels semantic", "--labels instance"]),
        ((5,), "write class indices", ["--labels semantic", "--labels instance"]),
    ],
)
def test_the_remedies_for_numbers(values, begins, named):
    message = advice(np.array(values))
    assert message.startswith(begins)
    assert re.findall(r"--(?:labels|class-numbers|ignore) [^\s;]*[^\s;,]", message) == named


def test_numbers_in_a_message():
    assert some(np.arange(8)) == "0, 1, 2, 3, 4, 5, 6, 7"
    assert some(np.arange(3, 12)) == "3, 4, 5, 6, 7, 8, 9, 10, ... (9 different values, up to 11)"
    assert [without_gaps(np.arange(n)) for n in (1, 32, 33)] == [True, True, False]
    assert not without_gaps(np.array([0, 2]))
