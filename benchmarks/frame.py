"""The frame of all benchmarks: ours and a peer, interleaved, in CPU seconds of the process tree."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lakesight.progress import step

TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True, kw_only=True)
class Result:
    """One ratio: how many times what ours costs the peer takes."""

    name: str
    what: str
    ours: float
    """In `unit`; the median."""
    peer: float
    """In `unit`; the median."""
    peer_name: str
    ratio: float
    goal: float
    met: bool
    note: str
    unit: str


def side_by_side(
    name: str,
    what: str,
    *,
    ours: Callable[[], object],
    peer: Callable[[], object],
    peer_name: str,
    goal: float,
    repeats: int = 5,
    often: int = 1,
    note: str = "",
) -> Result:
    """Run both `repeats` times in turn, after one run of each that is not counted; the medians and their ratio.

    `often`: times that ours runs in a row for one run of the peer, where the clock ticks too slowly for one of ours.
    """
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    with step(f"{name}: {what}", 2 * (repeats + 1)) as advance:
        for turn in range(repeats + 1):
            for place, (side, run, times) in enumerate((("ours", ours, often), ("peer", peer, 1))):
                seconds[side].append(_cpu_seconds_of(run, times))
                advance(2 * turn + place + 1)
    mine, theirs = (statistics.median(seconds[side][1:]) for side in ("ours", "peer"))
    return _result(name, what, mine, theirs, peer_name, goal, note, "CPU s")


def _result(
    name: str, what: str, ours: float, peer: float, peer_name: str, goal: float, note: str, unit: str
) -> Result:
    ratio = peer / ours
    return Result(
        name=name,
        what=what,
        ours=ours,
        peer=peer,
        peer_name=peer_name,
        ratio=ratio,
        goal=goal,
        met=ratio >= goal,
        note=note,
        unit=unit,
    )


def compare_memory(
    name: str,
    what: str,
    *,
    ours: Sequence[str],
    peer: Sequence[str],
    peer_name: str,
    goal: float,
    note: str = "",
) -> Result:
    """Run each command once and compare the peaks of memory of its processes together, MB."""
    with step(f"{name}: {what}"):
        mine, theirs = peak_megabytes(ours).resident, peak_megabytes(peer).resident
    return _result(name, what, mine, theirs, peer_name, goal, note, "MB")


def in_time(name: str, what: str, *, run: Callable[[], object], seconds: float, repeats: int = 5) -> Result:
    """Run once uncounted, then `repeats` times; the median of the clock's seconds against a bound."""
    taken = []
    with step(f"{name}: {what}", repeats + 1) as advance:
        for turn in range(repeats + 1):
            before = time.perf_counter()
            run()
            taken.append(time.perf_counter() - before)
            advance(turn + 1)
    return _result(name, what, statistics.median(taken[1:]), seconds, "the bound", 1.0, "by the clock", "s")


def counted(
    name: str, what: str, *, ours: float, peer: float, peer_name: str, goal: float, unit: str, note: str = ""
) -> Result:
    """Two figures that are no costs of a run but, like them, better the lower they are."""
    return _result(name, what, ours, peer, peer_name, goal, note, unit)


def within(name: str, what: str, *, command: Sequence[str], megabytes: float) -> Result:
    """Run a command once and compare the peak of memory of its own, libraries and all, with a bound."""
    with step(f"{name}: {what}"):
        peak = peak_megabytes(command)
    note = f"its own: no file that is mapped, as libraries' code is; with these {peak.resident:.0f} MB"
    return _result(name, what, peak.own, megabytes, "the bound", 1.0, note, "MB")


class Peak(NamedTuple):
    """The most memory of a command and its children at one time, MB."""

    resident: float
    own: float
    """Without what is mapped from files, which the system takes back when it needs it."""


def peak_megabytes(command: Sequence[str]) -> Peak:
    """The peaks of a command, looked at 50 times a second.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        resident = own = 0
        while process.poll() is None:
            sizes = [_memory(pid) for pid in _tree(process.pid)]
            resident, own = max(resident, sum(size[0] for size in sizes)), max(own, sum(size[1] for size in sizes))
            time.sleep(0.02)
        assert process.stderr is not None
        error = process.stderr.read()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command), stderr=error)
    return Peak(resident / 1e6, own / 1e6)


def _memory(pid: int) -> tuple[int, int]:
    """Resident bytes, and those of them that are no file's."""
    try:
        resident, shared = map(int, Path(f"/proc/{pid}/statm").read_text().split()[1:3])
    except OSError:
        return 0, 0  # it has just ended
    page = os.sysconf("SC_PAGE_SIZE")
    return resident * page, (resident - shared) * page


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _cpu_seconds_of(run: Callable[[], object], times: int) -> float:
    before = tree_cpu_seconds()
    for _ in range(times):
        run()
    return max(tree_cpu_seconds() - before, 1 / TICKS) / times


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
