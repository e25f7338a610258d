"""Ray Train glue: a finished run once more, from what it recorded: are the numbers the same? `lakesight reproduce`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lakesight.sections import RayConfig
from lakesight.warehouse import Warehouse
from training import fit, runs, tracking
from training.register import finished_run

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Reproduction:
    """A run beside its repetition."""

    run_id: str
    again: str
    metrics: dict[str, tuple[float | None, float | None]]
    """Name -> value then, value now; None: there is none."""
    surroundings: list[str]
    """What is not as it was: packages, machine. The first place to look where numbers differ."""

    @property
    def equal(self) -> bool:
        """Whether every number is the same, to the last bit."""
        return all(before == now for before, now in self.metrics.values())


def reproduce(warehouse: Warehouse, run_id: str, ray: RayConfig) -> Reproduction:
    """Train again: same configuration, seed and table versions. It is a run like any other, in MLflow and the tables.

    Raises:
        UserError: no such finished run; its table versions cannot be read any more.
    """
    row = finished_run(warehouse, run_id)
    config = replace(runs.config(row), ray=ray)
    again = fit.train(warehouse, config, dataset=row["dataset"], force=True, versions=row["table_versions"])
    names = sorted({*row["metrics"], *again.metrics})
    metrics = {name: (row["metrics"].get(name), again.metrics.get(name)) for name in names}
    client = tracking.connect(warehouse)
    return Reproduction(run_id, again.run_id, metrics, list(_changed(client, row["mlflow_run_id"])))


def _changed(client: "MlflowClient", mlflow_run_id: str) -> Iterator[str]:
    """Packages and machine that are not what the run's tags say."""
    for tag, then in client.get_run(mlflow_run_id).data.tags.items():
        now = tracking.surroundings().get(tag)
        if tag.startswith(tracking.WITH) and now != then:
            yield f"{tag.removeprefix(tracking.WITH)} was {then} and is {now}"
