"""One file a subcommand: a frozen dataclass `Args`, which makes flags and help, and `run(args) -> exit code`."""
