"""Ray Train glue: what a failure of workers is to the user, and which one ends a run at once."""

from collections.abc import Mapping
from typing import Any

from ray.train import ControllerError, TrainingFailedError, UserCallback, WorkerGroupError

from lakesight.errors import SetupError, UserError


class EndAtUserError(UserCallback):
    """What only the user can mend would fail again: `train.max_failures` is for workers that die."""

    def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, Exception]) -> None:
        """In Ray Train's controller, which tries again unless this raises."""
        if (raised := _raised(worker_exceptions)) is not None:
            raise raised


def cause(error: TrainingFailedError) -> Exception:
    """What is for the user: what a worker raised, or that one died; else Ray's error, which has the tracebacks."""
    if isinstance(error, ControllerError) and isinstance(error.controller_failure, UserError):
        return error.controller_failure
    failures = error.worker_failures if isinstance(error, WorkerGroupError) else {}
    dead = [rank for rank, failure in failures.items() if hasattr(failure, "health_check_failure")]
    if not dead:
        return error
    return SetupError(
        f"the process of worker {', '.join(map(str, dead))} died",
        where="most often the system killed it for the memory it took",
        fix="lower train.batch_size or model.image_size; then run again: it goes on from the last checkpoint. "
        "train.max_failures replaces dead workers by itself",
    )


def _raised(failures: Mapping[int, Exception]) -> UserError | None:
    for failure in failures.values():
        raised = getattr(failure, "_base_exc", failure)  # Ray wraps it, and gives no public way back
        if isinstance(raised, UserError):
            return raised
    return None
