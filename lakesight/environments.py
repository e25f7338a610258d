"""Python environments of their own for packages that cannot share ours: `lakesight setup NAME`.

They lie under `$XDG_CACHE_HOME/lakesight` (`~/.cache/lakesight`), named by what is in them.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from lakesight.errors import SetupError, UserError
from lakesight.progress import step

REQUIREMENTS = {"datumaro": ("datumaro==1.13.12",)}
"""What each holds; datumaro needs Pillow 12."""


def python_of(name: str) -> Path:
    """The interpreter of an environment.

    Raises:
        SetupError: it has not been set up.
    """
    python = folder_of(name) / "bin" / "python"
    if not python.exists():
        raise SetupError(
            f"{name} is not set up",
            where=str(folder_of(name)),
            expected=f"an environment with {', '.join(REQUIREMENTS[name])}",
            fix=f"run `lakesight setup {name}` once: it needs the network, and a minute",
        )
    return python


def set_up(name: str) -> Path:
    """The environment's folder, made and filled from the package index if it is not there.

    Raises:
        UserError: there is no environment of that name.
        SetupError: it cannot be made.
    """
    if name not in REQUIREMENTS:
        raise UserError(f"there is no environment {name!r}", expected=f"one of {', '.join(REQUIREMENTS)}")
    folder = folder_of(name)
    if folder.exists():
        return folder
    half_made = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        with step(f"Setting up {name}"):
            _must(sys.executable, "-m", "venv", str(half_made))
            _must(str(half_made / "bin/python"), "-m", "pip", "install", "--quiet", *REQUIREMENTS[name])
            half_made.rename(folder)  # last: what was interrupted is never taken for whole
    finally:
        shutil.rmtree(half_made, ignore_errors=True)
    return folder


def folder_of(name: str) -> Path:
    """Where an environment is, or will be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    content = "\n".join((*REQUIREMENTS[name], sys.version.split()[0]))
    return cache / "lakesight" / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of such an environment to its end, whatever its exit code; output as text."""
    # What points Python at our environment must not point the other one at it.
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    return subprocess.run(command, env=clean, capture_output=True, text=True, check=False)


def _must(*command: str) -> None:
    done = run(*command)
    if done.returncode:
        raise SetupError(
            f"the environment cannot be made: {(done.stderr or done.stdout).strip()[-1000:]}",
            where=" ".join(command),
            fix="mend what it says (network, package index, disk space) and run it again",
        )
