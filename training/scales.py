"""Multi-scale training: which input sizes there are, and which one a step takes (pure). A size is (height, width)."""

import numpy as np

Size = tuple[int, int]


def sizes(size: Size, spread: float, multiple: int) -> tuple[Size, ...]:
    """Around `size`, of about its shape: its shorter side within `spread` of what it is, smallest first.

    Sides are multiples of `multiple` (of 8 at least), pixels; `size` itself is always one of them.
    """
    unit = max(multiple, 8)
    shorter = min(size)
    near = range(unit, int(shorter * (1 + spread)) + 1, unit)
    found = {_shaped(size, side, unit) for side in near if side >= shorter * (1 - spread) and side != shorter}
    return tuple(sorted({size, *found}))


def _shaped(size: Size, shorter: int, unit: int) -> Size:
    """The size of about the same shape whose shorter side is `shorter`."""
    height, width = (max(round(side * shorter / min(size) / unit), 1) * unit for side in size)
    return height, width


def draw_size(choices: tuple[Size, ...], seed: int, step: int) -> Size:
    """The size of a step: the same on every worker, and after a resumption."""
    return choices[np.random.default_rng([seed, step]).integers(len(choices))]
