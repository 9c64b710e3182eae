"""Measurements in a separate process, with its own threads and memory."""

from __future__ import annotations

import multiprocessing
import operator
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from unet_spec import InputError


def run_apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments) in a new process. Raises InputError if it fails there."""
    with Apart(_same, function) as made:
        return made(*arguments)


def _same(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


class Apart:
    """The function that `make(*arguments)` returns, made and called in a new process.

    A context manager: the process ends with the block. Everything that is passed must be picklable.
    """

    def __init__(self, make: Callable[..., Callable[..., Any]], *arguments: Any):
        spawn = multiprocessing.get_context("spawn")
        self._pipe, end = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(end, make, arguments))
        self._process.start()
        end.close()  # only the child has this end now: if the child dies, `recv` here ends

    def __call__(self, *arguments: Any) -> Any:
        return self.ask(operator.call, *arguments)

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls `function(made, *arguments)` in the process. Raises InputError with the message of its exception."""
        try:
            self._pipe.send((function, arguments))
            failed, answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            raise InputError(f"the process ended with exit code {self._process.exitcode}") from None
        if failed:
            raise InputError(answer)
        return answer

    def close(self) -> None:
        self._pipe.close()  # this ends the child
        self._process.join(10)
        self._process.kill()
        self._process.join()

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(pipe: Any, make: Callable[..., Callable[..., Any]], arguments: tuple[Any, ...]) -> None:
    made = None
    while True:
        try:
            function, given = pipe.recv()
        except EOFError:
            return  # the parent has closed the pipe
        try:
            made = make(*arguments) if made is None else made
            pipe.send((False, function(made, *given)))
        except Exception as e:
            pipe.send((True, f"{type(e).__name__}: {e}"))


def check_jobs(jobs: int) -> None:
    """Raises InputError if `jobs` is below 1 or above the number of cores."""
    cores = len(os.sched_getaffinity(0))
    if not 1 <= jobs <= cores:
        raise InputError(f"--jobs is {jobs}; it must lie in 1 … {cores}, the cores of this machine")


def run_each(
    function: Callable[[Any, Any], Any], args: Any, keys: Sequence[Any], jobs: int
) -> Iterator[tuple[Any, Any]]:
    """Each key and its `function(args, key)`, in the order in which the calls finish.

    Each call runs in a new process, on one core that no other call uses at that time.

    Args:
        function: a function of a module; it, `args` and `keys` must be picklable.
        args: the first argument of every call.
        keys: the second argument of each call.
        jobs: number of calls at the same time, at most the number of cores.
    """
    context = multiprocessing.get_context("spawn")  # a fork of a process that has threads may hang
    with context.Manager() as manager, ProcessPoolExecutor(jobs, context, max_tasks_per_child=1) as pool:
        cores = manager.Queue()
        for core in sorted(os.sched_getaffinity(0), reverse=True)[:jobs]:
            cores.put(core)
        coming = {pool.submit(_pinned, function, args, key, cores): key for key in keys}
        yield from ((coming[done], done.result()) for done in as_completed(coming))


def _pinned(function: Callable[[Any, Any], Any], args: Any, key: Any, cores: Any) -> Any:
    core = cores.get()
    try:
        os.sched_setaffinity(0, {core})  # before JAX and PyTorch start their threads
        return function(args, key)
    finally:
        cores.put(core)
