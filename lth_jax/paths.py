"""Paths: where the files and folders are that a user names."""

import os
from pathlib import Path

from lth_jax.errors import RunError


def local(named: Path | str, option: str = "path") -> Path:
    """Return the absolute path of what a user names, on a command line or in Python.

    A shell leaves `~` as it is after `--workdir=`: here, too, it is the home folder.

    Raises:
        RunError: it is no path of this machine; `option` is what it was given as.

    Example:
        >>> local("~/runs/a[0.1]") == Path.home() / "runs" / "a[0.1]"
        True
    """
    text = os.fspath(named)
    found = os.path.expanduser(text)
    if not text:
        raise RunError(f"{option}: it is empty; name a file or a folder")
    if "://" in text:
        raise RunError(
            f"{option}: {text} is no folder; mount what it names, and name the folder "
            "where it is mounted"
        )
    if text != text.encode(errors="ignore").decode():
        raise RunError(f"{option}: {text!r} is not in UTF-8; give it another name")
    if found.startswith("~"):
        raise RunError(f"{option}: {text}: there is no such user; for a name, ./{text}")
    return Path(found).absolute()
