"""The command `unet`: finds the subcommand, parses its flags, and turns errors into one line and an exit code.

Frameworks are imported only when the subcommand is known, so that `unet --help` is fast. Exit codes: 0 done; 1 a check
failed, or a result cannot be written; 2 bad input.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

COMMANDS = {
    "info": "print layers, sizes, parameters and geometry of a network",
    "train": "train a network in JAX",
    "report": "measure the best checkpoint of a run again, and rewrite its report",
    "data": "find common mistakes in a data set before training, or convert annotations",
    "evaluate": "measure a checkpoint on labelled images",
    "ensemble": "combine checkpoints of one network into an ensemble",
    "predict": "segment images of any size, in any runtime",
    "plan": "print the training that fits your images, or the time and memory of a prediction or step",
    "convert": "convert weights from one format to another, bit for bit",
    "export": "write a bundle for deployment: ONNX, TensorRT engines, manifest, parity record",
    "check": "check that every installed runtime computes the same network",
    "diff": "find the first layer where two networks diverge, forward or backward",
    "bench": "measure the speed of a bundle in every installed runtime",
    "demo": "run the whole workflow end to end, and write a report",
    "completion": "print a script with which bash or zsh completes commands and options",
}

OFTEN_MEANT = {
    "--lr": "it is --learning-rate",
    "--batch-size": "it is --batch",
    "--epochs": "tiles are drawn at random, so a training is counted in --steps, or in --minutes",
    "--patch-size": "it is --tile",
    "--checkpoint": "give the checkpoint without a flag",
    "--gpus": "all devices that JAX finds are used; CUDA_VISIBLE_DEVICES chooses among GPUs",
}
"""Flags of other programs, and their counterparts here."""

LARGE_PAGES = ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")


def usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: unet COMMAND ...",
            "",
            "One U-Net, written down once, provably the same network in JAX, PyTorch, ONNX and TensorRT.",
            "",
            *lines,
            "",
            "unet COMMAND --help lists its options.",
            "Exit codes: 0 done, 1 a check failed or a result cannot be written, 2 bad input.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line (None: that of this process) and returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"unet-twins {version('unet-twins')}")
        return 0
    name, *rest = arguments
    if any("://" in word and ("?" in word or "@" in word) for word in rest):
        from unet_data.io.stores.signed import unsigned_word

        rest = [unsigned_word(word) for word in rest]
    if name not in COMMANDS:
        import difflib

        from unet_spec.untrusted import text

        close = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(COMMANDS)}"
        print(text.one_line(f"unet: no command {name!r}{hint}"), file=sys.stderr)
        return 2
    if argv is None and name == "train" and "--no-large-pages" not in rest:
        use_large_pages()
    return _run(name, rest)


def use_large_pages() -> None:
    """On Linux, restarts this program, once, with memory pages of 2 MiB, unless GLIBC_TUNABLES is set, even to "".

    On a CPU, XLA allocates and frees the memory of every step. With pages of 4 KiB this takes a large part of the step
    of a narrow network (docs/results/training_speed.md). glibc reads the variable only at program start.
    """
    if sys.platform == "linux" and LARGE_PAGES[0] not in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | dict([LARGE_PAGES]))


def _run(name: str, arguments: list[str]) -> int:
    import contextlib
    import io
    from importlib import import_module

    import tyro

    from unet_spec.door import EXTRAS
    from unet_spec.errors import InputError, OutputError
    from unet_spec.untrusted import text

    from .arguments.sizes import registry

    try:
        command = import_module(f"unet_tools.commands.{name}")
        # One flag, such as a recipe, may change the defaults of many others.
        default = {"default": command.defaults(arguments)} if hasattr(command, "defaults") else {}
        if asked := {"-h", "--help", "--help-all"}.intersection(arguments):
            from .arguments.help import parser_of, render

            layout = getattr(command, "HELP", None)
            parser = parser_of(command.Args, default.get("default"))
            print(render(name, command.__doc__ or "", parser, layout, "--help-all" in asked))
            return 0
        errors = io.StringIO()
        try:
            with contextlib.redirect_stderr(errors):
                args = tyro.cli(
                    command.Args,
                    **default,
                    prog=f"unet {name}",
                    description=command.__doc__,
                    args=arguments,
                    config=(tyro.conf.OmitArgPrefixes,),
                    registry=registry(),
                )
        except SystemExit as e:
            if e.code == 0:
                return 0
            for flag, advice in OFTEN_MEANT.items():
                if any(argument.partition("=")[0] == flag for argument in arguments):
                    raise InputError(f"unet {name} has no {flag}: {advice} (unet {name} --help)") from None
            raise InputError(f"{one_line(errors.getvalue())} (unet {name} --help)") from None
        return command.run(args)
    except ModuleNotFoundError as e:
        package = (e.name or "").split(".")[0]
        if package not in EXTRAS:
            raise
        print(f"unet: {package} is not installed; pip install 'unet-twins[{EXTRAS[package]}]'", file=sys.stderr)
    except InputError as e:
        print(text.one_line(f"unet: {e}"), file=sys.stderr)
        return 1 if isinstance(e, OutputError) else 2
    except KeyboardInterrupt:
        print("unet: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of the pipe, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 2


def one_line(box: str) -> str:
    """Shortens tyro's error message, a box of several lines, to one line: the text between the first two rules, and the
    suggested flag. On a terminal that has only ASCII, the title stands above the first rule."""
    import re

    lines = [line.strip("│ ") for line in box.splitlines()]
    lines = [line for line in lines if line]
    rules = [i for i, line in enumerate(lines) if line[0] in "╭╰" or not line.strip("─-")]
    lines = lines[rules[0] + 1 :] if rules else lines
    ends = (i for i, line in enumerate(lines) if i and (line[0] in "╰─" or not line.strip("-") or "Got errors" in line))
    lines = lines[: next(ends, None)]
    meant = re.search(r"Perhaps you meant:[│|\s]*(--[\w.-]+)", box)
    hint = f"; did you mean {meant[1]}?" if meant else ""
    return re.sub(r"^Error parsing [a-z]\w*: ", "", " ".join(lines)) + hint


if __name__ == "__main__":
    sys.exit(main())
