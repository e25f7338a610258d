"""Python environments of their own for packages that cannot share ours: `lakesight setup NAME`.

They lie under `$XDG_CACHE_HOME/lakesight` (`~/.cache/lakesight`), named by what is in them.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from lakesight.errors import SetupError, UserError
from lakesight.machine import cache
from lakesight.progress import step


@dataclass(frozen=True)
class Environment:
    """What an environment holds."""

    requirements: tuple[str, ...]
    borrows: bool = False
    """Whether it holds nothing but these, and finds what else they need in ours, behind its own."""


ENVIRONMENTS = {
    "datumaro": Environment(("datumaro==1.13.12",)),  # needs Pillow 12
    "petastorm": Environment(
        (
            "petastorm==0.13.1", "pyarrow==14.0.2", "numpy==1.26.4", "pandas==2.1.4", "setuptools==69.5.1",
            "dill==0.4.1", "diskcache==5.6.3", "future==1.0.0", "psutil==7.2.2", "pyzmq==27.3.0",
        ),
        borrows=True,  # torch, which works with either NumPy: 3 GB that need not be there twice
    ),
}  # fmt: skip


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
            expected=f"an environment with {ENVIRONMENTS[name].requirements[0]}",
            fix=f"run `lakesight setup {name}` once: it needs the network, and a minute",
        )
    return python


def set_up(name: str) -> Path:
    """The environment's folder, made and filled from the package index if it is not there.

    Raises:
        UserError: there is no environment of that name.
        SetupError: it cannot be made.
    """
    if name not in ENVIRONMENTS:
        raise UserError(f"there is no environment {name!r}", expected=f"one of spark, {', '.join(ENVIRONMENTS)}")
    folder = folder_of(name)
    if folder.exists():
        return folder
    half_made = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        with step(f"Setting up {name}"):
            _must(sys.executable, "-m", "venv", str(half_made))
            _fill(half_made, ENVIRONMENTS[name])
            half_made.rename(folder)  # last: what was interrupted is never taken for whole
    except OSError:
        if not folder.exists():  # else another process has made the same meanwhile
            raise
    finally:
        shutil.rmtree(half_made, ignore_errors=True)
    return folder


def folder_of(name: str) -> Path:
    """Where an environment is, or will be."""
    environment = ENVIRONMENTS[name]
    lent = (str(_ours()),) if environment.borrows else ()
    content = "\n".join((*environment.requirements, sys.version.split()[0], *lent))
    return cache() / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of such an environment to its end, whatever its exit code; output as text."""
    # What points Python at our environment must not point the other one at it.
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    return subprocess.run(command, env=clean, capture_output=True, text=True, check=False)


def _fill(folder: Path, environment: Environment) -> None:
    python = str(folder / "bin/python")
    alone = ("--no-deps",) if environment.borrows else ()
    _must(python, "-m", "pip", "install", "--quiet", *alone, *environment.requirements)
    if environment.borrows:
        done = _must(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
        # A path file's folders come last on sys.path: what both have is taken from the environment itself.
        (Path(done.stdout.strip()) / "borrowed.pth").write_text(f"{_ours()}\n", encoding="utf-8")


def _ours() -> Path:
    """Where our packages are."""
    return Path(sysconfig.get_path("purelib")).resolve()


def _must(*command: str) -> "subprocess.CompletedProcess[str]":
    done = run(*command)
    if done.returncode:
        raise SetupError(
            f"the environment cannot be made: {(done.stderr or done.stdout).strip()[-1000:]}",
            where=" ".join(command),
            fix="mend what it says (network, package index, disk space) and run it again",
        )
    return done
