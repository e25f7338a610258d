"""Ray glue: score the images that a model version has not scored yet -> `predictions`. `lakesight predict`."""

import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from lakesight import cluster, delta
from lakesight.config import Config
from lakesight.progress import Advance, step
from lakesight.warehouse import Warehouse, new_run_id
from serving.pending import Pending, find_pending
from serving.rows import fence, prediction_rows
from training.register import ModelRef, resolve


@dataclass(frozen=True, kw_only=True)
class PredictReport:
    """What was scored by this call."""

    run_id: str
    model_name: str
    model_version: str
    dataset: str
    split: str | None
    num_images: int
    """Of the data set and split."""
    num_scored: int
    """By this call; the others were scored before."""
    num_failed: int
    """Of those: images the model could not score."""
    num_commits: int
    elapsed_s: float


@dataclass
class _Job:
    """One call, and how far it is."""

    model: ModelRef
    dataset: str
    split: str | None
    run_id: str = field(default_factory=lambda: new_run_id("predict"))
    num_images: int = 0
    num_scored: int = 0
    num_failed: int = 0
    num_commits: int = 0


def predict(
    warehouse: Warehouse, config: Config, *, model: str, dataset: str, split: str | None = None
) -> PredictReport:
    """Score every image of a data set that the model version has not scored, each exactly once.

    `model`: name, name@alias, name/version, or a training run id. Several calls at once, or one after a crash, share
    the work: rows come in commits of `predict.commit_images` images, each refused if somebody committed in between,
    whereupon what is left is looked up again.

    Raises:
        UserError: no such model, or no images of that split.
    """
    started = time.monotonic()
    job = _Job(resolve(warehouse, model), dataset, split)
    while not _score_rest(warehouse, config, job):
        pass
    return PredictReport(
        run_id=job.run_id,
        model_name=job.model.name,
        model_version=job.model.version,
        dataset=dataset,
        split=split,
        num_images=job.num_images,
        num_scored=job.num_scored,
        num_failed=job.num_failed,
        num_commits=job.num_commits,
        elapsed_s=time.monotonic() - started,
    )


def _score_rest(warehouse: Warehouse, config: Config, job: _Job) -> bool:
    """Score and commit what is left; False as soon as somebody else committed for this model and data set."""
    app_id = fence(job.model.name, job.model.version, job.dataset)
    last = delta.last_txn(warehouse, "predictions", app_id)
    pending = find_pending(warehouse, job.model.name, job.model.version, job.dataset, job.split)
    job.num_images = pending.num_images
    if pending.num_pending == 0:
        return True
    with (
        step(f"Score {pending.num_pending:,} images", pending.num_pending) as advance,
        cluster.connected(config.ray),
        closing(_score(config, job.model, pending)) as batches,
    ):
        for txn, scored in enumerate(_chunks(_counted(batches, advance), config.predict.commit_images), last + 1):
            if not delta.commit(warehouse, "predictions", _rows(job, scored, pending), app_id=app_id, txn=txn):
                return False
            job.num_commits += 1
            job.num_scored += scored.num_rows
            job.num_failed += pc.sum(pc.equal(scored["status"], "error")).as_py()
    return True


def _score(config: Config, model: ModelRef, pending: Pending) -> Generator[pa.Table]:
    """Batches of (image_id, detections, status, error, latency_ms), as the actors finish them."""
    import mlflow
    import ray.data

    from features import datasource
    from serving.scorer import Scorer

    images = datasource.dataset(pending.units, pending.reads, ["image_id", "content"])
    scored = images.map_batches(
        Scorer,
        fn_constructor_args=[model.uri, mlflow.get_tracking_uri()],
        batch_size=config.predict.batch_size,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=config.predict.num_actors),
        num_cpus=1,
    )
    yield from scored.iter_batches(batch_size=None, batch_format="pyarrow")


def _counted(batches: Iterable[pa.Table], advance: Advance) -> Iterator[pa.Table]:
    done = 0
    for batch in batches:
        done += batch.num_rows
        advance(done)
        yield batch


def _chunks(batches: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """The same rows in tables of `size` rows; the last has the rest."""
    waiting: list[pa.Table] = []
    for batch in batches:
        waiting.append(batch)
        while sum(table.num_rows for table in waiting) >= size:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, size)
            waiting = [joined.slice(size)]
    if any(table.num_rows for table in waiting):
        yield pa.concat_tables(waiting)


def _rows(job: _Job, scored: pa.Table, pending: Pending) -> pa.Table:
    return prediction_rows(
        scored,
        dataset=job.dataset,
        model_name=job.model.name,
        model_version=job.model.version,
        source_table="images",
        source_version=pending.version,
        run_id=job.run_id,
    )
