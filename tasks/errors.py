"""The one class of error that is the user's to mend.

A `UserError` is one line that names the culprit and the remedy; the command line prints it and exits with 2.
"""


class UserError(ValueError):
    """Bad input: a setting, a file or a request that cannot be served. Its text is one line."""
