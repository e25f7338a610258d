"""Contracts every stage shares: tables, configuration, sessions, Delta access, errors, boxes."""

import os

# delta-rs brings an allocator of its own, which keeps what is freed for 10 s: 30 MB and more, where a table is written
# once a second. It reads this when it is loaded, so it is set before anything else is imported.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:50,muzzy_decay_ms:0")
