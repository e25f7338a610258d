"""The frame of benchmarks: what is run how often, and what is made of it."""

from benchmarks.frame import side_by_side


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
