"""Whether something is at a path that a user or a file names (no engine).

`Path.is_file` and its like raise where a name is too long or a folder is locked; here that is "no".
"""

import os
from pathlib import Path


def is_file(path: Path) -> bool:
    """Whether a file is there that can be seen."""
    return os.path.isfile(path)  # noqa: PTH113 - see above


def is_folder(path: Path) -> bool:
    """Whether a folder is there that can be seen."""
    return os.path.isdir(path)  # noqa: PTH112


def is_there(path: Path) -> bool:
    """Whether anything is there that can be seen."""
    return os.path.exists(path)  # noqa: PTH110
