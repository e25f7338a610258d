"""Delta and torch glue: a batch of a split as the model sees it -> a PNG: `lakesight samples show`."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from lakesight import delta
from lakesight.config import Config
from lakesight.errors import TableError, UserError
from lakesight.progress import step as progress
from lakesight.warehouse import Warehouse


@dataclass(frozen=True)
class PreviewReport:
    """What is on a sheet."""

    path: Path
    image_ids: list[int]
    version: int


def preview(
    warehouse: Warehouse,
    config: Config,
    *,
    dataset: str,
    split: str = "train",
    step: int = 0,
    masks: bool = False,
    output: Path,
) -> PreviewReport:
    """The batch that one worker trains on at a step (0-based) of a run of this configuration, as a contact sheet.

    Only `train` is augmented.

    Raises:
        TableError: the split has no images.
        UserError: the file cannot be written.
    """
    from PIL import Image

    from features.collate import Collate
    from features.sheet import contact_sheet
    from features.snapshot import read_splits
    from features.torch_dataset import PlannedBatches

    (rows,) = read_splits(warehouse, dataset, [split])
    if not rows.num_rows:
        raise TableError(
            f"split {split!r} of data set {dataset!r} has no images",
            where=f"samples@v{rows.version}",
            fix="correct --split, or run `lakesight build`",
        )
    settings = config.train
    with progress("Reading a batch"):
        augment = config.augment if split == "train" else None
        size, how = config.model.input_size, config.model.resize
        collate = Collate(size, resize=how, augment=augment, seed=settings.seed, masks=masks)
        images = min(settings.images, rows.num_rows)
        batches = PlannedBatches(rows, collate, steps=step + 1, batch_size=images, seed=settings.seed, masks=masks)
        batches.load_state_dict({"version": rows.version, "seed": settings.seed, "rows": step * images})
        batch = next(iter(batches))
        sheet = contact_sheet(batch, _names(warehouse, dataset))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sheet).save(output, "PNG")
    except OSError as error:
        raise UserError(
            f"the sheet cannot be written: {error.strerror}", where=str(output), fix="choose --output"
        ) from error
    return PreviewReport(output, batch.image_ids, rows.version)


def _names(warehouse: Warehouse, dataset: str) -> list[str]:
    """Of the classes, by label."""
    rows = delta.read(warehouse, "categories", columns=["label", "name"], where=pc.field("dataset") == dataset)
    names: list[str] = rows.sort_by("label")["name"].to_pylist()
    return names
