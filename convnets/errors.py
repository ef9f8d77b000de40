"""The two ways in which a script ends early, and how messages are worded."""

import unicodedata

OBEYED = ("Cc", "Zl", "Zp")  # categories of characters that a terminal obeys: control characters, ends of lines
DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # which let a name look like another one


class UserError(Exception):
    """Something the reader can mend. Its text is one line: what is wrong, and what to do. Exit code 2."""

    def __str__(self):
        return printable(super().__str__())  # names and contents of files may hold what a terminal obeys


class NotFinite(UserError):
    """A loss or a weight is no longer a finite number."""


class Stopped(Exception):
    """The reader, or the system, asked a training to stop. `exit_code` is 130 (Ctrl-C) or 143 (SIGTERM)."""

    def __init__(self, message, exit_code):
        super().__init__(message)
        self.exit_code = exit_code


def printable(text):
    """Return a text with a space in the place of each line break and other control character."""
    return "".join(" " if unicodedata.category(each) in OBEYED or each in DIRECTIONS else each for each in text)


def one_line(error):
    """Return an error's text in one line of printable characters, and not too long."""
    return " ".join(printable(str(error)[:10_000]).split())[:300] or type(error).__name__


def count(number, thing):
    """Return a number of things in words: "1 epoch", "2 epochs"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def duration(seconds):
    """Return seconds in words: "40 seconds", "13 minutes"."""
    return count(round(seconds), "second") if seconds < 90 else f"{seconds / 60:.0f} minutes"


def some(names, most=3):
    """Return the first names as text, and how many more there are: "a, b, c and 2 more"."""
    names = [str(name) for name in names]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
