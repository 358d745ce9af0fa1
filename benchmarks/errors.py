"""The one exception that reaches a person as a sentence instead of a traceback."""


class UserError(Exception):
    """Something the user gave or the machine lacks; the message says what was wrong and what would be right."""


class MissingPackage(UserError, ImportError):
    """A package that only some of the project needs is not installed; the message says what to install."""
