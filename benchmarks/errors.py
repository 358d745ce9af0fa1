"""Errors of the user, which reach a person as a sentence instead of a traceback; any error as one line of a table."""


class UserError(Exception):
    """Something the user gave or the machine lacks; the message says what was wrong and what would be right."""


class MissingPackage(UserError, ImportError):
    """A package that only some of the project needs is not installed; the message says what to install."""


def one_line(error: BaseException) -> str:
    """An exception as one line for a table."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
