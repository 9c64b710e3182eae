"""Measurements in processes of their own."""

import os
import platform

import pytest

from benchmarks.process import Apart, check_jobs, run_apart, run_each
from unet_spec import InputError


def counter(start):
    """Counts on, and tells the process; `leave` ends it, `fail` raises."""
    calls = [start]

    def count(by):
        if by == "leave":
            os._exit(7)
        if by == "fail":
            raise ValueError("no such step")
        calls[0] += by
        return calls[0], os.getpid()

    return count


def twice(count, by):
    count(by)
    return count(by)[0]


@pytest.mark.slow
def test_what_is_made_there_stays_there():
    with Apart(counter, 10) as one, Apart(counter, 0) as other:
        assert one(1)[0] == 11
        assert one(1)[0] == 12
        assert other(1)[0] == 1
        assert one.ask(twice, 5) == 22
        assert len({one(0)[1], other(0)[1], os.getpid()}) == 3


def test_what_fails_there_is_one_line_here():
    with Apart(counter, 0) as one:
        with pytest.raises(InputError, match="ValueError: no such step"):
            one("fail")
        assert one(1)[0] == 1
        with pytest.raises(InputError, match="exit code 7"):
            one("leave")


def test_a_contestant_that_cannot_be_made_says_so():
    with Apart(counter) as one, pytest.raises(InputError, match=r"TypeError: .*start"):
        one(1)


def test_a_function_runs_apart():
    assert run_apart(os.getpid) != os.getpid()
    assert run_apart(platform.machine) == platform.machine()


def where(factor, key):
    return factor * key, len(os.sched_getaffinity(0)), os.getpid()


@pytest.mark.slow
def test_each_call_has_a_core_and_a_process():
    results = dict(run_each(where, 10, [1, 2], 1))
    assert {key: value[:2] for key, value in results.items()} == {1: (10, 1), 2: (20, 1)}
    assert len({value[2] for value in results.values()} | {os.getpid()}) == 3
    with pytest.raises(InputError, match=r"--jobs is 0; it must lie in 1 …"):
        check_jobs(0)
