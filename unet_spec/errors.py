"""The one exception that a user is meant to read."""


class InputError(ValueError):
    """Something that was given to us is wrong: a file, a size, a dtype, a setting.

    The message is one line that says what is wrong, where, and what would be right. The command line prints it
    without a traceback and ends with exit code 2; anything else that escapes is a bug of ours.
    """
