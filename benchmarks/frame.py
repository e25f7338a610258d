"""The frame of all benchmarks: ours and a peer, interleaved, in CPU seconds of the process tree."""

import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lakesight.progress import step

TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True, kw_only=True)
class Result:
    """One ratio: how many times the CPU seconds of ours the peer takes."""

    name: str
    what: str
    ours: float
    """CPU seconds, median."""
    peer: float
    """CPU seconds, median."""
    peer_name: str
    ratio: float
    goal: float
    met: bool
    note: str


def side_by_side(
    name: str,
    what: str,
    *,
    ours: Callable[[], object],
    peer: Callable[[], object],
    peer_name: str,
    goal: float,
    repeats: int = 5,
    note: str = "",
) -> Result:
    """Run both `repeats` times in turn, after one run of each that is not counted; the medians and their ratio."""
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    with step(f"{name}: {what}", 2 * (repeats + 1)) as advance:
        for turn in range(repeats + 1):
            for place, (side, run) in enumerate((("ours", ours), ("peer", peer))):
                seconds[side].append(_cpu_seconds_of(run))
                advance(2 * turn + place + 1)
    mine, theirs = (statistics.median(seconds[side][1:]) for side in ("ours", "peer"))
    ratio = theirs / mine
    return Result(
        name=name,
        what=what,
        ours=mine,
        peer=theirs,
        peer_name=peer_name,
        ratio=ratio,
        goal=goal,
        met=ratio >= goal,
        note=note,
    )


def _cpu_seconds_of(run: Callable[[], object]) -> float:
    before = tree_cpu_seconds()
    run()
    return max(tree_cpu_seconds() - before, 1 / TICKS)


def tree_cpu_seconds() -> float:
    """User and system seconds of this process, its living descendants (a JVM, Ray's workers) and the reaped ones."""
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        pid = int(stat.parent.name)
        children.setdefault(int(fields[1]), []).append(pid)
        ticks[pid] = sum(map(int, fields[11:15]))
    waiting, total = [os.getpid()], 0
    while waiting:
        pid = waiting.pop()
        total += ticks.get(pid, 0)
        waiting += children.get(pid, [])
    return total / TICKS
