"""The frame of benchmarks: what is run how often, and what is made of it."""

import sys

from benchmarks.frame import peak_megabytes, side_by_side


def test_a_side_too_fast_for_the_clock_runs_several_times():
    turns = []
    result = side_by_side(
        "name",
        "what",
        ours=lambda: turns.append("ours"),
        peer=lambda: turns.append("peer") or sum(range(2_000_000)),
        peer_name="p",
        goal=1.0,
        repeats=2,
        often=3,
    )
    assert turns == ["ours", "ours", "ours", "peer"] * 3
    assert result.ratio == result.peer / result.ours
    assert 0 < result.ours < result.peer


def test_what_is_mapped_is_no_memory_of_ones_own(tmp_path):
    (tmp_path / "file").write_bytes(bytes(100_000_000))
    read, mapped = "file.read()", "mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)"
    work = "import mmap, sys, time\nfile = open(sys.argv[1], 'rb')\nheld = {}\nhash(held[::4096])\ntime.sleep(.3)"
    peaks = [peak_megabytes([sys.executable, "-c", work.format(how), str(tmp_path / "file")]) for how in (read, mapped)]
    assert min(peak.resident for peak in peaks) > 100
    assert peaks[0].own > 100 > peaks[1].own
