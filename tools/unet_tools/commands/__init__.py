"""One file per subcommand: a frozen dataclass `Args`, from which flags and help are made, and `run(args) -> exit
code`."""
