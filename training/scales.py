"""Multi-scale training: which input sides there are, and which one a step takes (pure)."""

import numpy as np


def sides(image_size: int, spread: float, multiple: int) -> tuple[int, ...]:
    """Multiples of `multiple` (of 8 at least) within `spread` of `image_size`, pixels; it is always one of them."""
    unit = max(multiple, 8)
    low, high = image_size * (1 - spread), image_size * (1 + spread)
    return tuple(sorted({image_size, *(side for side in range(unit, int(high) + 1, unit) if side >= low)}))


def draw_side(choices: tuple[int, ...], seed: int, step: int) -> int:
    """The side of a step: the same on every worker, and after a resumption."""
    return int(choices[np.random.default_rng([seed, step]).integers(len(choices))])
