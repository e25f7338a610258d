"""delta-rs and Ray Data glue: what a run learns from, pinned by table version, and looked at before anything starts."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.plan import in_order, remaining, share, shuffled
from features.snapshot import Split, read_splits
from lakesight.config import Config
from lakesight.errors import ConfigError, TableError
from lakesight.warehouse import Warehouse
from training.balance import class_weights, repeated, repeats
from training.classes import Category, read_categories
from training.labels import read_labels
from training.preflight import missing_classes

if TYPE_CHECKING:
    import ray.data

log = logging.getLogger(__name__)
TABLES = ("samples", "categories")
"""Tables a run reads."""


@dataclass(frozen=True)
class Inputs:
    """A data set at named table versions."""

    dataset: str
    versions: dict[str, int]
    categories: list[Category]
    train: Split
    val: Split
    class_weights: tuple[float, ...] = ()
    """By label; none: all the same."""


def read_inputs(warehouse: Warehouse, config: Config, dataset: str, versions: Mapping[str, int]) -> Inputs:
    """Pin and check what a run will read; no image bytes are read yet.

    Raises:
        TableError: the data set is unknown, or a split has no images or no boxes.
        ConfigError: the model's configuration cannot be built for its classes.
    """
    categories = read_categories(warehouse, dataset, versions["categories"])
    train, val = read_splits(warehouse, dataset, ("train", "val"), versions["samples"])
    for name, split in (("train", train), ("val", val)):
        _refuse_empty(dataset, name, split)
    # transformers and torch: after all that is cheap to refuse.
    from training.architectures import ARCHITECTURES, network_config, num_queries

    labels = read_labels(train)
    if missing := missing_classes(labels, categories):
        log.warning("no training image has a box of %s: it cannot be learned", ", ".join(missing))
    if config.train.oversample:
        train = repeated(train, repeats(labels, config.train.oversample, config.train.seed))
    queries, most = num_queries(network_config(config.model, categories)), max(train.num_boxes)
    if most > queries:
        log.warning("an image has %d boxes, the model %d queries: the loss drops the rest", most, queries)
    setting = config.train.class_weights
    if setting and ARCHITECTURES[config.model.architecture].criterion is None:
        raise ConfigError(
            f"{config.model.architecture} takes no class weights", where="train.class_weights", fix="train.oversample"
        )
    weights = class_weights(setting, labels, categories) if setting else ()
    return Inputs(dataset, dict(versions), categories, train, val, weights)


def _refuse_empty(dataset: str, name: str, split: Split) -> None:
    what = "images" if not split.num_rows else "boxes"
    if split.num_rows and any(split.num_boxes):
        return
    raise TableError(
        f"split {name!r} of data set {dataset!r} has no {what}",
        where=f"samples@v{split.version}",
        expected="images with boxes in the splits `train` and `val`",
        fix="`lakesight build` after ingesting both; without a stated split, images are dealt by build.val_fraction",
    )


def train_set(inputs: Inputs, config: Config, rank: int, world: int, step: int) -> "ray.data.Dataset":
    """What worker `rank` of `world` learns from, in its planned order, from an optimiser step (0-based) to the last."""
    from features.datasource import dataset

    settings, split = config.train, inputs.train
    rows_a_step = settings.images * settings.accumulate * world
    order = shuffled(split.rows, version=split.version, seed=settings.seed, num_rows=settings.steps * rows_a_step)
    rest = remaining(order, step * rows_a_step)
    return dataset(split.units, share(rest, rank=rank, world=world, batch_size=settings.images))


def val_set(inputs: Inputs) -> "ray.data.Dataset":
    """All validation images, as they lie."""
    from features.datasource import dataset

    return dataset(inputs.val.units, in_order(inputs.val.rows))
