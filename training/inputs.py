"""delta-rs and Ray Data glue: what a run learns from, pinned by table version, and looked at before anything starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from features.plan import in_order, remaining, share, shuffled
from features.snapshot import Split, read_splits
from lakesight import progress
from lakesight.config import Config
from lakesight.errors import ConfigError, TableError
from lakesight.warehouse import Warehouse
from training.balance import class_weights, repeated, repeats
from training.classes import Category, read_categories
from training.labels import Labels, read_labels
from training.preflight import class_ids, missing_classes
from training.tasks import LEARNED_FROM, Task

if TYPE_CHECKING:
    import ray.data

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
    task: Task = "detection"
    """What the model is to learn from them."""
    class_weights: tuple[float, ...] = ()
    """By label; none: all the same."""

    @property
    def masks(self) -> bool:
        """Whether masks are to be read: they are most of the annotations."""
        return self.task == "segmentation"


def read_inputs(warehouse: Warehouse, config: Config, dataset: str, versions: Mapping[str, int]) -> Inputs:
    """Pin and check what a run will read; no image bytes are read yet.

    Raises:
        TableError: the data set is unknown, a split has no images or nothing to learn from, or labels that are none.
        ConfigError: the model's configuration cannot be built for its classes, or does not go with its task.
    """
    categories = read_categories(warehouse, dataset, versions["categories"])
    train, val = read_splits(warehouse, dataset, ("train", "val"), versions["samples"])
    for name, split in (("train", train), ("val", val)):
        if not split.num_rows:
            raise _nothing(dataset, name, split, "images")
    # transformers and torch: after all that is cheap to refuse.
    from training.architectures import facts_of, network_config, num_queries

    facts = facts_of(config.model)
    task = facts.task
    _refuse_unsuited(config, task, one_size=facts.one_size)
    train, labels = _usable(dataset, "train", train, task, categories)
    val, _ = _usable(dataset, "val", val, task, categories)
    if missing := missing_classes(labels.single, categories):
        progress.note(f"no training image has {_ONE[task]} of {', '.join(missing)}: it cannot be learned")
    if config.train.oversample:
        train = repeated(train, repeats(labels, config.train.oversample, config.train.seed))
    network = network_config(config.model, categories)
    queries, most = num_queries(network), int(np.bincount(labels.single.row).max())
    if queries and most > queries:
        progress.note(f"an image has {most} boxes, the model {queries} queries: the loss drops the rest")
    return Inputs(dataset, dict(versions), categories, train, val, task, _weights(config, labels, categories))


def _weights(config: Config, labels: Labels, categories: Sequence[Category]) -> tuple[float, ...]:
    from training.architectures import facts_of

    setting = config.train.class_weights
    if setting and facts_of(config.model).criterion is None:
        raise ConfigError(
            f"{config.model.architecture} takes no class weights", where="train.class_weights", fix="train.oversample"
        )
    return class_weights(setting, labels, categories) if setting else ()


_ONE: dict[Task, str] = {"detection": "a box", "segmentation": "a mask", "classification": "the class"}


def _usable(dataset: str, name: str, split: Split, task: Task, categories: Sequence[Category]) -> tuple[Split, Labels]:
    """The rows of a split that a task can use - for classification images of one class - and what is on them."""
    labels = read_labels(split, task)
    if task == "classification":
        single = np.bincount(labels.row, minlength=split.num_rows) == 1
        if not single.all():
            progress.note(f"{name}: {(~single).sum()} images have no class, or several, and are left out")
            split = repeated(split, single.astype(np.int64))
            labels = read_labels(split, task) if split.num_rows else labels
    if not split.num_rows or not len(labels.single.row):
        raise _nothing(dataset, name, split, LEARNED_FROM[task])
    if (ids := class_ids(name, labels, categories)).verdict == "bad":
        # They would teach other classes than they are, without a word.
        raise TableError(f"{ids.check}: {ids.what}", where=f"samples@v{split.version}", fix=ids.fix)
    return split, labels


def _refuse_unsuited(config: Config, task: Task, *, one_size: bool) -> None:
    """A picture made of several is of several classes; what knows one input size takes no other."""
    augment, train = config.augment, config.train
    unsuited: dict[str, float] = {"train.multi_scale": train.multi_scale} if one_size else {}
    if task == "classification":
        unsuited |= {f"augment.{name}": getattr(augment, name) for name in ("mosaic", "mixup", "copy_paste")}
    for key, value in unsuited.items():
        if value:
            learns = "images of one size only" if key == "train.multi_scale" else "one class an image"
            raise ConfigError(f"{config.model.architecture} learns {learns}", where=key, expected="0", fix="remove it")


def _nothing(dataset: str, name: str, split: Split, what: str) -> TableError:
    return TableError(
        f"split {name!r} of data set {dataset!r} has no {what}",
        where=f"samples@v{split.version}",
        expected=f"{what} in the splits `train` and `val`",
        fix="`lakesight build` after ingesting both; without a stated split, images are dealt by build.val_fraction",
    )


def train_set(inputs: Inputs, config: Config, rank: int, world: int, step: int) -> "ray.data.Dataset":
    """What worker `rank` of `world` learns from, in its planned order, from an optimiser step (0-based) to the last."""
    from features.datasource import dataset

    settings, split = config.train, inputs.train
    rows_a_step = settings.images * settings.accumulate * world
    order = shuffled(split.rows, version=split.version, seed=settings.seed, num_rows=settings.steps * rows_a_step)
    rest = remaining(order, step * rows_a_step)
    reads = share(rest, rank=rank, world=world, batch_size=settings.images)
    return dataset(split.units, reads, masks=inputs.masks)


def val_set(inputs: Inputs) -> "ray.data.Dataset":
    """All validation images, as they lie."""
    from features.datasource import dataset

    return dataset(inputs.val.units, in_order(inputs.val.rows), masks=inputs.masks)
