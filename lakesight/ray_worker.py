"""What each worker of a Ray of ours imports first (`lakesight/cluster.py`); Ray takes a module, not a function."""

from lakesight.collector import look_at_all_seldom

look_at_all_seldom()
