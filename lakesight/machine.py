"""What the user's machine has for us: a folder for caches, and Java."""

import os
import shutil
from pathlib import Path


def cache() -> Path:
    """Our folder in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lakesight"


def java() -> str | None:
    """The program that Spark starts: that of JAVA_HOME, or else the first one on the PATH."""
    home = os.environ.get("JAVA_HOME")
    return f"{home}/bin/java" if home else shutil.which("java")
