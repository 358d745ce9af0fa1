"""Errors of the user, which reach a person as a sentence instead of a traceback; any error as one line of a table."""

import shlex
import sys
import traceback


class UserError(Exception):
    """Something the user gave or the machine lacks; the message says what was wrong and what would be right."""


class MissingPackage(UserError, ImportError):
    """A package that only some of the project needs is not installed; the message says what to install."""


def install(*packages: str) -> str:
    """The command that installs packages beside this project, whatever `pip` a shell would find."""
    return shlex.join([sys.executable, "-m", "pip", "install", *packages])


def one_line(error: BaseException) -> str:
    """An exception as one line for a table, of letters that can be printed and stored."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # what it raises when it is asked what it says
        text = f"{type(error).__name__}, which does not say why"
    return printable(" ".join(text.split()))[:300]


def traced(error: BaseException) -> str:
    """The traceback of an exception, of letters that can be printed and stored."""
    return "\n".join(map(printable, "".join(traceback.format_exception(error)).splitlines()))


def printable(text: str) -> str:
    """A text whose letters can all be printed and stored: others, half a surrogate pair among them, are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
