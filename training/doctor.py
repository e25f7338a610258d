"""torch glue: why is my AP 0? Looks at what a run would learn from, and tries one batch. `lakesight doctor`."""

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from features.plan import Read, in_order
from features.snapshot import Split
from lakesight import delta, progress
from lakesight.config import Config
from lakesight.warehouse import Warehouse
from training import inputs, preflight
from training.inputs import Inputs
from training.labels import Labels, read_labels
from training.preflight import Finding
from training.tasks import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from features.collate import Batch

STEPS = 40
"""On one batch, at the run's highest learning rate."""
MUST_LOSE = 0.1
NUM_IMAGES = 8


def diagnose(warehouse: Warehouse, config: Config, *, dataset: str) -> list[Finding]:
    """Every check on the data set's splits, the network, and one batch of training images.

    Raises:
        UserError: what `lakesight train` would refuse.
    """
    with progress.hidden():  # its notes are findings here
        material = inputs.read_inputs(warehouse, config, dataset, delta.versions(warehouse, *inputs.TABLES))
    with progress.step("look at annotations"):
        labels = {
            name: read_labels(split, material.task)
            for name, split in (("train", material.train), ("val", material.val))
        }
        found = list(_annotations(config, material, labels))
    with progress.step(f"train on one batch, {STEPS} steps"):
        found += _network(config, material, labels["train"])
    return found


def _annotations(config: Config, material: Inputs, labels: Mapping[str, Labels]) -> Iterator[Finding]:
    from training.architectures import ARCHITECTURES, network_config, num_queries

    queries = num_queries(network_config(config.model, material.categories))
    learns = ARCHITECTURES[config.model.architecture].learns_from_empty
    for name, found in labels.items():
        yield from preflight.findings(
            name,
            found,
            material.categories,
            size=config.model.input_size,
            queries=queries,
            learns_from_empty=learns,
        )


def _network(config: Config, material: Inputs, labels: Labels) -> Iterator[Finding]:
    import torch

    from training.architectures import ARCHITECTURES, build_network
    from training.groups import trainable_counts

    torch.set_num_threads(config.train.threads or os.cpu_count() or 1)
    torch.manual_seed(config.train.seed)
    network = build_network(config.model, config.train, material.categories)
    for part, (learns, every) in trainable_counts(network, ARCHITECTURES[config.model.architecture].backbone).items():
        what = f"{learns:,} of {every:,} parameters learn"
        scratch = part == "backbone" and not learns and not config.model.pretrained
        fix = "from scratch a frozen backbone stays noise: train.freeze_backbone=none, or model.pretrained"
        yield Finding(f"network: {part}", "bad" if scratch else "good", what, fix if scratch else "")
    yield _one_batch(network, _batch(config, material, labels), config.train.lr, material.task)


def _one_batch(network: "PreTrainedModel", batch: "Batch", lr: float, task: Task) -> Finding:
    """Whether it can be learned by heart."""
    from training.detector import why_unmatched

    name, fix = "network: one batch", "another train.lr; see what else is bad here"
    try:
        losses = _losses(network, batch, lr, task)
    except ValueError as error:
        if not (why := why_unmatched(error)):
            raise
        return Finding(name, "bad", f"no loss: {why}; image_ids {batch.image_ids}", fix)
    what = f"loss {losses[0]:.2f} at first, {losses[-1]:.2f} after {STEPS} steps on one batch"
    if 1 - losses[-1] / losses[0] >= MUST_LOSE:
        return Finding(name, "good", what)
    return Finding(name, "bad", what, fix)


def _batch(config: Config, material: Inputs, labels: Labels) -> "Batch":
    """The first images with something to learn from, as the model sees them."""
    from features.collate import Collate
    from features.reading import read_rows

    filled = np.split(np.bincount(labels.single.row, minlength=material.train.num_rows) > 0, _ends(material.train))
    rows = [rows[keep] for rows, keep in zip(material.train.rows, filled, strict=True)]
    reads = [Read(read.unit, read.rows[:NUM_IMAGES], read.epoch) for read in in_order(rows)]
    masks = material.masks
    tables = [read_rows(material.train.units[read.unit], read, masks=masks) for read in reads[:NUM_IMAGES]]
    return Collate(config.model.input_size, resize=config.model.resize, masks=masks)(
        pa.concat_tables(tables).slice(0, NUM_IMAGES)
    )


def _ends(split: Split) -> Any:
    """Where each unit's rows end among the split's, but the last."""
    return np.cumsum([len(rows) for rows in split.rows])[:-1]


def _losses(network: "PreTrainedModel", batch: "Batch", lr: float, task: Task) -> list[float]:
    """Of `STEPS` steps on a batch."""
    import torch

    from training.pyfunc import normalise
    from training.targets import targets

    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=lr)
    losses = []
    for _ in range(STEPS):
        loss = network(pixel_values=normalise(batch.pixels), **targets(batch, task)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses
