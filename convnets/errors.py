"""The two ways in which a script ends early, and how errors are told."""


class UserError(Exception):
    """Something the reader can mend. Its text is one line: what is wrong, and what to do. Exit code 2."""


class NotFinite(UserError):
    """A loss or a weight is no longer a finite number."""


class Stopped(Exception):
    """The reader, or the system, asked a training to stop. `exit_code` is 130 (Ctrl-C) or 143 (SIGTERM)."""

    def __init__(self, message, exit_code):
        super().__init__(message)
        self.exit_code = exit_code


def one_line(error):
    """An error's text without its line breaks and other control characters, and not too long."""
    text = "".join(character if character.isprintable() else " " for character in str(error)[:10_000])
    return " ".join(text.split())[:300] or type(error).__name__
