"""The command line; `lakesight.cli.app` is its entry point."""

import os

# Arrow's own allocator keeps what each of its threads has freed: 100 MB in an ingest of 2 MB at a time, and it is no
# faster here than the system's. It is read when Arrow is loaded; who imports a stage keeps a choice of their own.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
