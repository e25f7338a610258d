"""COCO results made elsewhere -> `predictions` (delta-rs). `lakesight import-detections`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.formats.json_records import Int64
from ingestion.formats.text_ids import with_numbers
from lakesight import delta
from lakesight.errors import FormatError, UserError
from lakesight.rle import runs
from lakesight.tables import IMAGES
from lakesight.warehouse import Warehouse, new_run_id
from serving.rows import fence, nest, prediction_rows

IDS = frozenset({"image_id", "category_id"})
Side = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class Rle(msgspec.Struct):
    """A compressed mask of the stored image."""

    counts: str
    size: tuple[Side, Side]
    """Height, width."""

    def __post_init__(self) -> None:
        """Its runs are as many pixels as it has."""
        height, width = self.size
        if (pixels := sum(runs(self.counts))) != height * width:
            raise ValueError(f"the runs of `counts` are {pixels} pixels, and the mask {height} x {width}")


class Result(msgspec.Struct):
    """One record of COCO's results format: a box, a mask, or both. Other keys are not looked at."""

    image_id: Int64
    category_id: Int64
    score: float
    bbox: tuple[float, float, float, float] | None = None
    """xywh, pixels; None: the extent of the mask."""
    segmentation: Rle | list[Any] | None = None
    """`[]` is none, as in COCO's own files."""

    def __post_init__(self) -> None:
        """A record says where something is."""
        if isinstance(self.segmentation, list):
            if self.segmentation:
                raise ValueError("`segmentation` has polygons; masks of results are RLE")
            self.segmentation = None
        if self.bbox is None and self.segmentation is None:
            raise ValueError("there is neither `bbox` nor `segmentation`")

    @property
    def box(self) -> Sequence[float]:
        """xywh, pixels."""
        if self.bbox is not None:
            return self.bbox
        from hotcoco import mask

        return [float(side) for side in mask.to_bbox(msgspec.to_builtins(self.segmentation))]


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What was imported."""

    run_id: str
    model_name: str
    model_version: str
    dataset: str
    splits: tuple[str | None, ...]
    num_detections: int
    """In the file."""
    num_images: int
    """Covered: images of the splits, with or without detections."""
    num_added: int
    """Images that `predictions` did not have yet from this model version."""


def import_detections(
    warehouse: Warehouse, *, results: Path, model: str, version: str, dataset: str, split: str | None = None
) -> ImportReport:
    """Write detections made elsewhere as predictions of `model` / `version`.

    All images of `split` count as scored, also those the file does not name; `split` None: the splits of the images
    it names. The order of detections inside an image is the file's.

    Raises:
        FormatError: the file is not COCO results.
        UserError: unknown images or categories; other detections are there under this model and version.
    """
    found = read_results(results)
    images = delta.read(
        warehouse, "images", columns=["image_id", "split", "height", "width"], where=pc.field("dataset") == dataset
    ).sort_by("image_id")
    covered, splits = _covered(images, found, dataset, split, results)
    _refuse_other_sizes(images, found, results)
    report = ImportReport(
        run_id=new_run_id("import"),
        model_name=model,
        model_version=version,
        dataset=dataset,
        splits=splits,
        num_detections=len(found),
        num_images=len(covered),
        num_added=0,
    )
    detections = _nest(found, covered, _categories(warehouse, dataset, found, results))
    return _commit(warehouse, report, covered, detections, results)


def read_results(path: Path) -> list[Result]:
    """The records of a COCO results file.

    Raises:
        UserError: no such file.
        FormatError: not JSON, or not a list of {image_id, category_id, bbox or segmentation (RLE), score}.
    """
    expected = 'a list of {"image_id": .., "category_id": .., "bbox": [x, y, width, height], "score": ..}'
    expected += ', or with "segmentation": {"size": [height, width], "counts": ".."}'
    try:
        return _decoded(path.read_bytes())
    except OSError as error:
        raise UserError(
            f"the results cannot be read: {error.strerror}", where=str(path), fix="check --results"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"this is not COCO results: {error}", where=str(path), expected=expected) from error


def _decoded(text: bytes) -> list[Result]:
    try:
        return msgspec.json.decode(text, type=list[Result])
    except msgspec.ValidationError:  # ids may be texts, as they are in the file whose images these are
        records = [with_numbers(bytes(raw), IDS) for raw in msgspec.json.decode(text, type=list[msgspec.Raw])]
        return msgspec.json.decode(b"[%b]" % b",".join(records), type=list[Result])


def _covered(
    images: pa.Table, found: list[Result], dataset: str, split: str | None, results: Path
) -> tuple[pa.Array, tuple[str | None, ...]]:
    """Ids of the images that the results speak for, ascending, and their splits."""
    named = pa.array(sorted({result.image_id for result in found}), pa.int64())
    mine = images if split is None else images.filter(pc.field("split") == split)
    unknown = named.filter(pc.invert(pc.is_in(named, mine["image_id"].combine_chunks())))
    if len(unknown):
        raise UserError(
            f"the results name {len(unknown)} images that data set {dataset!r}"
            + (f", split {split!r}," if split else "")
            + " does not have",
            where=f"{results}: image_id {_first(unknown.to_pylist())}",
            fix="ingest those images first, or correct --dataset or --split",
        )
    if split is not None:
        splits: tuple[str | None, ...] = (split,)
    else:
        splits = tuple(pc.unique(mine.filter(pc.field("image_id").isin(named))["split"]).to_pylist())
        mine = mine.filter(pc.is_in(mine["split"], pa.array(splits, pa.string())))
    if mine.num_rows == 0:
        raise UserError(
            "the results are empty, so they do not tell which images they are about" if not split
            else f"data set {dataset!r} has no images of split {split!r}",
            where=str(results),
            fix="name the split they cover: --split NAME",
        )  # fmt: skip
    return mine["image_id"].combine_chunks(), splits


def _refuse_other_sizes(images: pa.Table, found: list[Result], results: Path) -> None:
    """A mask is of the stored image, pixel by pixel."""
    masks = [result for result in found if result.segmentation]
    columns = images.select(["image_id", "height", "width"]).to_pydict().values() if masks else ((), (), ())
    sizes = {image_id: (height, width) for image_id, height, width in zip(*columns, strict=True)}
    for result in masks:
        assert isinstance(result.segmentation, Rle)
        if (size := result.segmentation.size) != sizes[result.image_id]:
            raise UserError(
                f"a mask is {size[0]} x {size[1]}, its image {' x '.join(map(str, sizes[result.image_id]))} pixels",
                where=f"{results}: image_id {result.image_id}",
                expected="masks of the stored images: height x width",
                fix="scale the masks to the images before importing them",
            )


def _categories(warehouse: Warehouse, dataset: str, found: list[Result], results: Path) -> dict[int, tuple[int, str]]:
    """category_id -> label, name."""
    rows = delta.read(
        warehouse, "categories", columns=["category_id", "label", "name"], where=pc.field("dataset") == dataset
    )
    known = {row["category_id"]: (row["label"], row["name"]) for row in rows.to_pylist()}
    unknown = sorted({result.category_id for result in found} - known.keys())
    if unknown:
        raise UserError(
            f"the results name {len(unknown)} categories that data set {dataset!r} does not have",
            where=f"{results}: category_id {_first(unknown)}",
            expected=f"ids of its {len(known)} categories: {_first(sorted(known))}",
            fix="results must use the data set's category ids, not a model's labels",
        )
    return known


def _first(ids: list[int]) -> str:
    return ", ".join(map(str, ids[:5])) + (", ..." if len(ids) > 5 else "")


def _nest(found: list[Result], covered: pa.Array, categories: dict[int, tuple[int, str]]) -> pa.ListArray:
    """One list of detections for each covered image."""
    place = np.searchsorted(covered.to_numpy(), np.array([r.image_id for r in found], dtype=np.int64))
    order = np.argsort(place, kind="stable")  # inside an image: the file's order
    sorted_ = [found[i] for i in order]
    return nest(
        np.bincount(place, minlength=len(covered)),
        [r.box for r in sorted_],
        scores=[r.score for r in sorted_],
        labels=[categories[r.category_id][0] for r in sorted_],
        category_ids=[r.category_id for r in sorted_],
        category_names=[categories[r.category_id][1] for r in sorted_],
        segmentations=[msgspec.json.encode(r.segmentation).decode() if r.segmentation else None for r in sorted_],
    )


def _commit(
    warehouse: Warehouse, report: ImportReport, covered: pa.Array, detections: pa.ListArray, results: Path
) -> ImportReport:
    app_id = fence(report.model_name, report.model_version, report.dataset)
    while True:
        last = delta.last_txn(warehouse, "predictions", app_id)
        new = _refuse_other(warehouse, report, covered, detections)
        count = len(new)
        if count == 0:
            return report
        scored = pa.table(
            {
                "image_id": covered.take(new),
                "detections": detections.take(new),
                "status": pa.repeat("ok", count),
                "error": pa.nulls(count, pa.string()),
                "latency_ms": pa.nulls(count, pa.float64()),
            }
        )
        rows = prediction_rows(
            scored,
            dataset=report.dataset,
            model_name=report.model_name,
            model_version=report.model_version,
            source_table=str(results),
            source_version=None,
            run_id=report.run_id,
        )
        if delta.commit(warehouse, "predictions", rows, app_id=app_id, txn=last + 1):
            return replace(report, num_added=count)


def _refuse_other(warehouse: Warehouse, report: ImportReport, covered: pa.Array, detections: pa.ListArray) -> pa.Array:
    """Places of covered images that are not in `predictions` yet; those that are must be the same.

    Raises:
        UserError: they are not.
    """
    there = delta.read(
        warehouse,
        "predictions",
        columns=["image_id", "detections"],
        where=(pc.field("dataset") == report.dataset)
        & (pc.field("model_name") == report.model_name)
        & (pc.field("model_version") == report.model_version)
        & pc.field("image_id").isin(covered),
    ).sort_by("image_id")
    known = pc.is_in(covered, there["image_id"].combine_chunks())
    same = there["detections"].combine_chunks().cast(detections.type)
    if not same.equals(detections.filter(known)):
        raise UserError(
            f"other detections are there already as {report.model_name}/{report.model_version}",
            where=f"predictions, data set {report.dataset}",
            expected="the same results again, or a version that is not taken",
            fix="choose another --version",
        )
    return pc.indices_nonzero(pc.invert(known))


def imported_version(warehouse: Warehouse, model: str) -> tuple[str, str] | None:
    """Name and version of imported detections; None if `model` (name or name/version) was not imported.

    Without a version: the one that was imported last.
    """
    name, _, version = model.partition("/")
    mine = (pc.field("model_name") == name) & (pc.field("source_table") != IMAGES.name)
    if version:
        mine &= pc.field("model_version") == version
    rows = delta.read(warehouse, "predictions", columns=["model_version", "predicted_at"], where=mine)
    if rows.num_rows == 0:
        return None
    return name, rows.sort_by("predicted_at")["model_version"][-1].as_py()
