"""Ray glue: connect to a cluster, or start a private one, quietly."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from lakesight.errors import SetupError
from lakesight.logs import stderr_to
from lakesight.sections import RayConfig

_ENVIRONMENT = {
    "RAY_worker_niceness": "0",  # the default, 15, starves beside a JVM
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # its C++ side writes to our stderr, not to a logger
    # Threads that spin while they wait make a training step 10 to 50 times as long where cores are shared.
    "OMP_WAIT_POLICY": "PASSIVE",
    # How soon the end of a run is seen, beside how soon a dead worker is.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_preload_python_modules": "lakesight.ray_worker",  # in each worker; one that lacks it starts all the same
}
"""Ray reads it when it is imported. What is set already stays."""
WATCHER = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
"""A process for each group of workers, which looks whether their machine is about to be taken away."""
READERS_END_S = 30
"""They end with the batch they are at."""


@contextmanager
def connected(config: RayConfig) -> Iterator[None]:
    """Ray while the block runs: the one this process has, or one that is connected to, or started, for the block.

    It is not kept for the next: the processes of a private cluster hold memory, and a verb leaves nothing running
    (docs/decisions/008-ray-ends-with-the-verb.md).

    Raises:
        SetupError: no cluster answers at `ray.address`.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield
        return
    _connect(config)
    try:
        with nullcontext() if config.address else _unwatched():
            yield
    finally:
        _end_readers()
        ray.shutdown()


@contextmanager
def _unwatched() -> Iterator[None]:
    """Ray Train without its watcher, which costs a CPU second a run: nobody takes away the machine we are on."""
    before = os.environ.get(WATCHER)
    os.environ.setdefault(WATCHER, "0")
    try:
        yield
    finally:
        if before is None:
            del os.environ[WATCHER]


def _end_readers() -> None:
    """Ray Data's threads (2.60) of an iteration that was broken off: without Ray they would end the whole process."""
    for thread in threading.enumerate():
        if thread.name == "iter_threaded":
            thread.join(READERS_END_S)


@contextmanager
def same_interrupt() -> Iterator[None]:
    """Ctrl-C in the block is one, and does after it what it did before.

    Ray Train and Ray Tune take it for the length of a run and do not give it back: the next one would end the process,
    for a run that is over, and Ray Train's handler holds the run's controller.

    Raises:
        KeyboardInterrupt: Ray Train was ended by it, and would end the process as if all were well.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt from error
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def _connect(config: RayConfig) -> None:
    import ray

    # Without an address Ray would join a cluster that somebody has started on this machine.
    options = {"address": config.address} if config.address else {"address": "local", "num_cpus": config.num_cpus}
    try:
        with stderr_to(Path(os.devnull)):  # it says there that it obeys RAY_BACKEND_LOG_LEVEL
            ray.init(**options, logging_level=logging.ERROR, log_to_driver=False, configure_logging=True)
    except (ConnectionError, ValueError) as error:
        raise SetupError(
            f"no Ray cluster could be reached: {error}",
            where=f"ray.address={config.address}",
            expected="`auto`, `ray://host:port`, or nothing for a private cluster",
            fix="start the cluster, or leave ray.address out",
        ) from error
    _quiet_data()
    _log_as_ours()


def _quiet_data() -> None:
    """Ray Data logs to files of the Ray session, and to the screen: only the first is wanted."""
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    logger = logging.getLogger("ray.data")
    logger.handlers = [handler for handler in logger.handlers if handler.get_name() != "console"]


def _log_as_ours() -> None:
    """To the log file: Ray Tune tells of every failed trial in a traceback, which would bury the one message."""
    logger = logging.getLogger("ray")
    logger.handlers.clear()
    logger.propagate = True
