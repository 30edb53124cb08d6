"""Other Pythons on this machine."""

import shutil
import subprocess
from pathlib import Path


def installed(version: str) -> str | None:
    """Return an interpreter of a version, as "3.13", that works; None without one."""
    # Those that pyenv puts in the path may not work.
    of_pyenv = Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
    for path in (shutil.which(f"python{version}"), *map(str, sorted(of_pyenv))):
        if (
            path
            and not subprocess.run([path, "-c", ""], capture_output=True).returncode
        ):
            return path
    return None
