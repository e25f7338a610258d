"""An archive of the classes that Spark's JVM loads, parsed and verified once: a start that maps it takes 4 CPU s less.

It lies in the user's cache, and `lakesight setup spark`, which `make setup` runs, makes it. A JVM that finds it unfit
(another Java, other jars) loads classes as ever, and says nothing.
"""

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

from lakesight.machine import cache, java

QUIET = "-Xlog:cds=off -Xlog:cds+dynamic=off -Xlog:class+path=off"
"""What an unfit archive would have a JVM say on its stdout."""
UNUSED_DAYS = 30
"""An archive takes 200 MB, and each Python environment has its own."""


def options() -> str:
    """What a JVM is to be started with; empty if there is no archive yet."""
    archive = found()
    if archive is None:
        return ""
    with suppress(OSError):  # a cache of somebody else's
        os.utime(archive)
    return f'-Xshare:auto "-XX:SharedArchiveFile={archive}" {QUIET}'


def found() -> Path | None:
    """The archive of the Java and the Spark that are in use, if it is there and whole: a JVM crashes at half of one."""
    archives = cache().glob(f"classes-{_key()}-*.jsa")
    return next((one for one in archives if one.stem.endswith(f"-{one.stat().st_size}")), None)


def _key() -> str:
    import pyspark

    program = Path(java() or "java").resolve()
    jars = Path(pyspark.__file__).parent / "jars"
    parts = [f"{place} {place.stat().st_mtime_ns if place.exists() else 0}" for place in (program, jars)]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]


def keep(made: Path) -> Path:
    """Put an archive in its place, and its size in its name; remove those that nothing has used for a month."""
    archive = cache() / f"classes-{_key()}-{made.stat().st_size}.jsa"
    made.replace(archive)
    for other in cache().glob("classes-*.jsa"):
        with suppress(OSError):  # another set-up removed it
            if other.stat().st_mtime < time.time() - UNUSED_DAYS * 86_400:
                other.unlink()
    return archive
