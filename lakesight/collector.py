"""Python's collector of reference cycles, told to go through all objects less often.

By itself it does so whenever a quarter more objects have lasted than before: nine times while PyTorch, Lightning and
transformers are imported, which is a fifth of the CPU time of that, and nothing is found. Young objects are looked at
as often as ever.
"""

import gc

ROUNDS = 100
"""Looks at the middle-aged between two at all; CPython's default is 10."""


def look_at_all_seldom() -> None:
    """Set it for this process: a command of ours or a worker of a Ray of ours, never one that a user calls us from."""
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, ROUNDS)
