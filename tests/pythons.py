"""Other Pythons on this machine, and environments of them."""

import shutil
import subprocess
import sys
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


def environment(folder: Path, python: str, *packages: str) -> str:
    """Make an environment of an interpreter, with pip; return its interpreter.

    Packages may be options of `uv pip install`, too.
    """
    uv, home = [sys.executable, "-m", "uv"], str(folder / "bin" / "python")
    subprocess.run([*uv, "venv", "-q", "--seed", "-p", python, str(folder)], check=True)
    install = [*uv, "pip", "install", "-q", "--python", home, *packages]
    subprocess.run(install, check=True)
    return home
