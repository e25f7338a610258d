"""Ray glue: connect to a cluster, or start a private one, quietly."""

import logging
import os

from lakesight.config import RayConfig
from lakesight.errors import SetupError


def connect(config: RayConfig) -> None:
    """Make sure this process is connected to Ray.

    Raises:
        SetupError: no cluster answers at `ray.address`.
    """
    os.environ.setdefault("RAY_worker_niceness", "0")  # the default, 15, starves beside a JVM
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its C++ side writes to our stderr, not to a logger
    import ray

    if ray.is_initialized():
        return
    options = {"address": config.address} if config.address else {"num_cpus": config.num_cpus}
    try:
        ray.init(**options, logging_level=logging.ERROR, log_to_driver=False, configure_logging=True)
    except (ConnectionError, ValueError) as error:
        raise SetupError(
            f"no Ray cluster could be reached: {error}",
            where=f"ray.address={config.address}",
            expected="`auto`, `ray://host:port`, or nothing for a private cluster",
            fix="start the cluster, or leave ray.address out",
        ) from error
    _quiet_data()


def _quiet_data() -> None:
    """Ray Data logs to files of the Ray session, and to the screen: only the first is wanted."""
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    logger = logging.getLogger("ray.data")
    logger.handlers = [handler for handler in logger.handlers if handler.get_name() != "console"]
