"""Every table: columns, types, units, key, layout, writer, readers. The only place a schema is stated.

Spark DDL, Arrow schemas and `docs/tables.md` (`python -m lakesight.tables`) are derived from here. Two databases'
worth of names are not ours: the two `predictions_*_metrics` tables are Databricks Lakehouse Monitoring's, exactly.
Boxes are COCO `xywh` in pixels of the stored image; timestamps are UTC; sizes are pixels unless a column says bytes.
"""

from dataclasses import dataclass

import pyarrow as pa

STRING, BINARY, BOOL = pa.string(), pa.binary(), pa.bool_()
INT, LONG, DOUBLE = pa.int32(), pa.int64(), pa.float64()
TIME = pa.timestamp("us", tz="UTC")
BOX = pa.list_(DOUBLE)
WINDOW = pa.struct([("start", TIME), ("end", TIME)])
TEST = pa.struct([("statistic", DOUBLE), ("pvalue", DOUBLE)])


@dataclass(frozen=True)
class Column:
    """One column; `required` columns are NOT NULL in Delta."""

    name: str
    type: pa.DataType
    doc: str
    required: bool = False

    @property
    def field(self) -> pa.Field:
        """The Arrow field."""
        return pa.field(self.name, self.type, not self.required)


@dataclass(frozen=True, kw_only=True)
class Table:
    """One Delta table of the contract."""

    name: str
    row: str
    key: tuple[str, ...]
    writer: str
    readers: str
    columns: tuple[Column, ...]
    bytes_column: str | None = None
    """The column of image bytes: no statistics, no dictionary, small row groups."""

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema, in column order."""
        return pa.schema([column.field for column in self.columns])

    @property
    def ddl(self) -> str:
        """The Spark DDL column list, for `spark.read.schema(...)` and casts."""
        return ", ".join(f"{c.name} {spark_type(c.type)}" for c in self.columns)


def spark_type(type_: pa.DataType) -> str:
    """Spark SQL's name of an Arrow type used by the contract."""
    if pa.types.is_list(type_):
        return f"ARRAY<{spark_type(type_.value_type)}>"
    if pa.types.is_map(type_):
        return f"MAP<{spark_type(type_.key_type)}, {spark_type(type_.item_type)}>"
    if pa.types.is_struct(type_):
        fields = (f"`{f.name}`: {spark_type(f.type)}" for f in type_)
        return f"STRUCT<{', '.join(fields)}>"
    return _SCALARS[type_]


_SCALARS = {
    STRING: "STRING",
    BINARY: "BINARY",
    BOOL: "BOOLEAN",
    INT: "INT",
    LONG: "BIGINT",
    DOUBLE: "DOUBLE",
    TIME: "TIMESTAMP",
}

DATASET = Column("dataset", STRING, "data set the row belongs to", required=True)
IMAGE_ID = Column("image_id", LONG, "COCO image id; joins with `dataset`", required=True)
RUN_ID = Column("run_id", STRING, "the run that wrote the row", required=True)
MODEL_NAME = Column("model_name", STRING, "registered model, or the name given on import", required=True)
MODEL_VERSION = Column("model_version", STRING, "registry version, or a training run id", required=True)

IMAGES = Table(
    name="images",
    row="an image as it arrived",
    key=("dataset", "image_id"),
    writer="ingestion",
    readers="quality, features, serving",
    bytes_column="content",
    columns=(
        DATASET,
        IMAGE_ID,
        Column("file_name", STRING, "path inside the image folder, as COCO states it"),
        Column("source_uri", STRING, "where the file was read"),
        Column("content", BINARY, "the file's bytes, unchanged; NULL: held by reference, at `source_uri`"),
        Column("sha256", STRING, "of `content`, hex"),
        Column("pixel_hash", STRING, "XXH3-128 of size and decoded RGB pixels, hex; equal for re-encoded files"),
        Column("format", STRING, "decoder's name of the format: JPEG, PNG, ..."),
        Column("mode", STRING, "decoder's pixel mode: RGB, L, CMYK, ..."),
        Column("width", INT, "stored pixels, before EXIF orientation"),
        Column("height", INT, "stored pixels, before EXIF orientation"),
        Column("exif_orientation", INT, "EXIF tag 274, 1 if absent"),
        Column("num_frames", INT, "frames or pages of the file (of a TIFF, 1000 are counted); only the first is used"),
        Column("size_bytes", LONG, "length of `content`"),
        Column("split", STRING, "train, val, test, ... or NULL"),
        Column("shuffle_key", LONG, "hash of (dataset, image_id): any key range is a random subset"),
        Column("captured_at", TIME, "COCO `date_captured`, if it parses"),
        Column(
            "metadata", pa.map_(STRING, STRING), "further keys of the record: strings as they are, other values as JSON"
        ),
        Column("ingested_at", TIME, "when the row was written"),
        RUN_ID,
    ),
)

ANNOTATIONS = Table(
    name="annotations",
    row="a box, mask or keypoint set",
    key=("dataset", "annotation_id"),
    writer="ingestion",
    readers="quality, features",
    columns=(
        DATASET,
        Column("annotation_id", LONG, "COCO annotation id", required=True),
        IMAGE_ID,
        Column("category_id", LONG, "COCO category id (sparse); never a model label"),
        Column("bbox", BOX, "COCO xywh, pixels of the stored image; NULL: about the whole image (a class, a caption)"),
        Column("area", DOUBLE, "COCO area: of the mask where there is one, square pixels"),
        Column("iscrowd", INT, "0 or 1"),
        Column("segmentation", STRING, "COCO JSON: polygons or RLE"),
        Column("keypoints", pa.list_(DOUBLE), "COCO x, y, visibility triples"),
        Column("num_keypoints", INT, "keypoints with visibility > 0"),
        Column(
            "attributes",
            pa.map_(STRING, STRING),
            "further keys of the record: strings as they are, other values as JSON",
        ),
        Column("ingested_at", TIME, "when the row was written"),
        RUN_ID,
    ),
)

CATEGORIES = Table(
    name="categories",
    row="a class",
    key=("dataset", "category_id"),
    writer="ingestion",
    readers="quality, features, training, serving",
    columns=(
        DATASET,
        Column("category_id", LONG, "COCO category id", required=True),
        Column("name", STRING, "class name"),
        Column("supercategory", STRING, "COCO supercategory"),
        Column("label", INT, "0..C-1, contiguous, sorted by category_id: what models see"),
        Column("keypoints", pa.list_(STRING), "keypoint names"),
        Column("skeleton", STRING, "COCO JSON: pairs of keypoint numbers"),
        Column(
            "attributes",
            pa.map_(STRING, STRING),
            "further keys of the record: strings as they are, other values as JSON",
        ),
        Column("ingested_at", TIME, "when the row was written"),
        RUN_ID,
    ),
)

SOURCES = Table(
    name="sources",
    row="an annotation file or folder as it was last ingested",
    key=("dataset", "source_uri"),
    writer="ingestion",
    readers="ingestion, dashboards",
    columns=(
        DATASET,
        Column("source_uri", STRING, "the annotation file or folder", required=True),
        Column("format", STRING, "coco, coco_captions, coco_panoptic, coco_labels, voc, yolo, ..."),
        Column("image_folder", STRING, "what `file_name` is relative to"),
        Column("mask_folder", STRING, "the PNGs of a panoptic file"),
        Column("split", STRING, "split given on the command line"),
        Column("num_images", LONG, "image records"),
        Column("num_annotations", LONG, "annotation records"),
        Column("num_categories", LONG, "category records"),
        Column("category_ids", pa.list_(LONG), "its categories, in its order"),
        Column("kept", pa.map_(STRING, LONG), "its ids that the table holds, by table"),
        Column("refused", pa.map_(STRING, LONG), "records that went to quarantine, by rule"),
        Column("info", pa.map_(STRING, STRING), "COCO `info`, `licenses`, other top-level keys: texts or JSON"),
        Column("fingerprint", STRING, "sha256 of records, sizes and times of the image files, rules, settings"),
        Column("ingested_at", TIME, "when it was last ingested with a change"),
        RUN_ID,
    ),
)

ARRIVALS = Table(
    name="arrivals",
    row="a file of a watched folder, and what became of it",
    key=("dataset", "folder", "source_uri"),
    writer="ingestion",
    readers="ingestion, dashboards",
    columns=(
        DATASET,
        Column("folder", STRING, "the folder that `ingest stream` watches", required=True),
        Column("source_uri", STRING, "the file; of one that has not come, where it is looked for", required=True),
        Column("format", STRING, "what the folder is streamed as: coco, voc, yolo"),
        Column("kind", STRING, "image, annotations or other"),
        Column(
            "status",
            STRING,
            "landed; refused; waiting: an image that no annotation file names; expected: named, but not there; "
            "gone: it was there once (its rows stay, unless it was moved); ignored",
        ),
        Column("reason", STRING, "why an annotation file was refused"),
        Column("size_bytes", LONG, "when it was last looked at"),
        Column("modified_at", TIME, "its mtime then"),
        Column("changed_at", TIME, "its ctime then"),
        Column("seen_at", TIME, "when this row last changed"),
        RUN_ID,
    ),
)

RULE_ERROR = pa.struct(
    [("rule", STRING), ("column", STRING), ("severity", STRING), ("message", STRING), ("observed", STRING)]
)
QUARANTINE = Table(
    name="quarantine",
    row="a record that was refused, with every reason",
    key=("record_hash",),
    writer="ingestion, quality",
    readers="quality",
    columns=(
        DATASET,
        Column("table_name", STRING, "the table it was meant for", required=True),
        Column("source_uri", STRING, "file it came from"),
        Column("record", STRING, "the record as its file states it, or as JSON (no image bytes)"),
        Column("typed", STRING, "its columns as JSON, for replay; NULL: it is not as its format says"),
        Column(
            "record_hash", STRING, "sha256 of dataset, table, record and rules: one refusal is one row", required=True
        ),
        Column("errors", pa.list_(RULE_ERROR), "all rules it broke"),
        RUN_ID,
        Column("quarantined_at", TIME, "when it was refused"),
    ),
)

QUALITY_RESULTS = Table(
    name="quality_results",
    row="one rule on one table version",
    key=("run_id", "rule", "dataset"),
    writer="quality",
    readers="dashboards",
    columns=(
        RUN_ID,
        Column("suite", STRING, "Great Expectations suite, one a table (and one for splits)"),
        Column("rule", STRING, "rule name", required=True),
        DATASET,
        Column(
            "table_name",
            STRING,
            "table that was checked; `splits`: a figure of each split, from images and annotations",
        ),
        Column("table_version", LONG, "its Delta version"),
        Column("column", STRING, "column the rule is about"),
        Column("severity", STRING, "error, warn or info"),
        Column("success", BOOL, "no unexpected row"),
        Column("element_count", LONG, "rows looked at, quarantined ones included"),
        Column("unexpected_count", LONG, "rows that break the rule, quarantined ones included"),
        Column("unexpected_percent", DOUBLE, "0 to 100"),
        Column("observed_value", STRING, "an example, or the value of a data-set rule"),
        Column("details", STRING, "JSON: rows in the table and in quarantine, Great Expectations' count, the fix"),
        Column("rules_hash", STRING, "sha256 of all rules, with thresholds and severities"),
        Column("checked_at", TIME, "when it was checked"),
    ),
)

IMAGE_PROPERTIES = Table(
    name="image_properties",
    row="what the pixels of an image say",
    key=("dataset", "image_id"),
    writer="ingestion",
    readers="quality, serving",
    columns=(
        DATASET,
        IMAGE_ID,
        Column("sha256", STRING, "of the image the figures belong to"),
        Column("brightness", DOUBLE, "mean luma (Rec. 601), 0 to 255"),
        Column("contrast", DOUBLE, "standard deviation of luma"),
        Column("sharpness", DOUBLE, "variance of the Laplacian of luma, on at most 2^16 pixels"),
        Column("entropy", DOUBLE, "of the luma histogram, bits, 0 to 8"),
        Column("colorfulness", DOUBLE, "Hasler and Suesstrunk 2003, M3, on at most 2^16 pixels"),
        Column("aspect_ratio", DOUBLE, "width / height"),
        Column("dhash", STRING, "64-bit difference hash, hex; near duplicates differ in few bits"),
        Column("computed_at", TIME, "when it was computed"),
        RUN_ID,
    ),
)

SAMPLE_ANNOTATION = pa.struct(
    [
        ("annotation_id", LONG),
        ("category_id", LONG),
        ("label", INT),
        ("bbox", BOX),
        ("area", DOUBLE),
        ("iscrowd", INT),
        ("segmentation", STRING),
        ("keypoints", pa.list_(DOUBLE)),
    ]
)
SAMPLES = Table(
    name="samples",
    row="a training example: an image and its annotations",
    key=("dataset", "image_id"),
    writer="features",
    readers="training, ingestion (export)",
    bytes_column="content",
    columns=(
        DATASET,
        IMAGE_ID,
        Column("file_name", STRING, "as in `images`"),
        Column("source_uri", STRING, "as in `images`"),
        Column("sha256", STRING, "as in `images`"),
        Column("content", BINARY, "the file's bytes; NULL: held by reference, at `source_uri`"),
        Column("width", INT, "stored pixels"),
        Column("height", INT, "stored pixels"),
        Column("exif_orientation", INT, "EXIF tag 274"),
        Column(
            "annotations",
            pa.list_(SAMPLE_ANNOTATION),
            "sorted by annotation_id; crowd boxes included, and classes of the whole image (bbox NULL)",
        ),
        Column("num_annotations", INT, "length of `annotations`"),
        Column("split", STRING, "train, val, test: as stated, else by hash"),
        Column("shuffle_key", LONG, "as in `images`"),
        Column("fingerprint", STRING, "sha256 of all that a model would see: image, annotations, labels, split"),
        Column("built_at", TIME, "when the row was written"),
        RUN_ID,
    ),
)

TRAINING_RUNS = Table(
    name="training_runs",
    row="a training run that ended",
    key=("run_id",),
    writer="training",
    readers="quality, dashboards",
    columns=(
        RUN_ID,
        Column("mlflow_run_id", STRING, "the MLflow run with parameters and curves"),
        MODEL_NAME,
        DATASET,
        Column("table_versions", pa.map_(STRING, LONG), "Delta version of every table that was read"),
        Column("config", STRING, "resolved configuration, JSON"),
        Column("config_hash", STRING, "sha256 of data set, table versions and configuration: equal hash, equal run"),
        Column("metrics", pa.map_(STRING, DOUBLE), "last value of every metric"),
        Column("model_uri", STRING, "MLflow model"),
        Column("status", STRING, "finished or failed"),
        Column("error", STRING, "why it failed"),
        Column("started_at", TIME, ""),
        Column("ended_at", TIME, ""),
    ),
)

DECISION = pa.struct([("step", INT), ("action", STRING), ("source_trial_id", STRING), ("params", STRING)])
TUNE_TRIALS = Table(
    name="tune_trials",
    row="a trial of a sweep",
    key=("run_id", "trial_id"),
    writer="training",
    readers="dashboards",
    columns=(
        RUN_ID,
        Column("trial_id", STRING, "Ray Tune's trial id", required=True),
        DATASET,
        Column("table_versions", pa.map_(STRING, LONG), "Delta version of every table that was read"),
        Column("params", STRING, "parameters, JSON; with PBT the last ones"),
        Column("metric", STRING, "what is optimised"),
        Column("value", DOUBLE, "its last value; NULL if it failed"),
        Column("iterations", INT, "reports made before the scheduler stopped the trial"),
        Column("steps", INT, "optimiser steps done"),
        Column(
            "decisions",
            pa.list_(DECISION),
            "what the scheduler did: `stop` after a step, or `exploit`: go on from another trial's step, with `params`",
        ),
        Column("status", STRING, "Ray Tune's status: TERMINATED, ERROR, ..."),
        Column("error", STRING, "why it failed"),
        Column("mlflow_run_id", STRING, "child run in MLflow"),
        Column("ended_at", TIME, ""),
    ),
)

EVALUATIONS = Table(
    name="evaluations",
    row="one number of an evaluation",
    key=(
        "model_name",
        "model_version",
        "dataset",
        "split",
        "table_version",
        "iou_type",
        "metric",
        "iou",
        "area_range",
        "max_detections",
        "category_id",
        "run_id",
    ),
    writer="quality",
    readers="training, dashboards",
    columns=(
        RUN_ID,
        MODEL_NAME,
        MODEL_VERSION,
        DATASET,
        Column("split", STRING, "images looked at; `all` for every split"),
        Column("table_version", LONG, "Delta version of `annotations`"),
        Column("predictions_version", LONG, "Delta version of `predictions`"),
        Column("iou_type", STRING, "bbox, segm or keypoints; `class`: classes of whole images"),
        Column(
            "metric",
            STRING,
            "AP or AR, COCO's definition; of classes accuracy, F1, precision, recall (over all: macro)",
        ),
        Column("iou", STRING, "0.50:0.95, 0.50 or 0.75; NULL for classes"),
        Column("area_range", STRING, "all, small, medium, large (COCO's 32^2 and 96^2)"),
        Column("max_detections", INT, "1, 10 or 100 an image"),
        Column("category_id", LONG, "NULL: mean over classes"),
        Column("value", DOUBLE, "0 to 1; NULL where COCO says -1 (nothing to find)"),
        Column("ci_low", DOUBLE, "2.5 % quantile of a bootstrap over images, if asked for"),
        Column("ci_high", DOUBLE, "97.5 % quantile"),
        Column("evaluated_at", TIME, "when"),
    ),
)

DETECTION = pa.struct(
    [
        ("label", INT),
        ("category_id", LONG),
        ("category_name", STRING),
        ("score", DOUBLE),
        ("bbox", BOX),
        ("segmentation", STRING),
    ]
)
PREDICTIONS = Table(
    name="predictions",
    row="one image scored by one model version",
    key=("dataset", "image_id", "model_name", "model_version"),
    writer="serving",
    readers="quality, dashboards",
    columns=(
        DATASET,
        IMAGE_ID,
        MODEL_NAME,
        MODEL_VERSION,
        Column(
            "detections",
            pa.list_(DETECTION),
            "bbox: COCO xywh, pixels of the stored image, NULL for a class of the whole image; segmentation: COCO JSON "
            "(RLE of the stored image), NULL where the model gives no masks; sorted as the model gave them",
        ),
        Column("status", STRING, "ok or error"),
        Column("error", STRING, "why the image could not be scored"),
        Column("latency_ms", DOUBLE, "model time of the image's batch / images in it; NULL if imported"),
        Column("source_table", STRING, "table the image was read from, or the imported file"),
        Column("source_version", LONG, "its Delta version"),
        Column("predicted_at", TIME, "when"),
        RUN_ID,
    ),
)

_MONITORED = (
    MODEL_VERSION,
    Column("slice_key", STRING, "slicing expression; NULL: whole table"),
    Column("slice_value", STRING, "its value; NULL: whole table"),
    Column("column_name", STRING, "column, or `:table`", required=True),
    Column("data_type", STRING, "Spark type of the column"),
)
PROFILE_METRICS = Table(
    name="predictions_profile_metrics",
    row="the profile of one column in one window and slice (Databricks Lakehouse Monitoring's columns)",
    key=(
        "window",
        "granularity",
        "model_version",
        "log_type",
        "slice_key",
        "slice_value",
        "column_name",
        "monitor_version",
    ),
    writer="serving",
    readers="dashboards",
    columns=(
        Column("window", WINDOW, "[start, end) of the rows' timestamps"),
        Column("granularity", STRING, "1 day, 1 hour, ..."),
        Column("log_type", STRING, "INPUT or BASELINE"),
        *_MONITORED,
        Column("logging_table_commit_version", LONG, "Delta version of `predictions`"),
        Column("monitor_version", LONG, "version of the monitor's definition"),
        Column("count", LONG, "rows"),
        Column("num_nulls", LONG, ""),
        Column("avg", DOUBLE, ""),
        Column("min", DOUBLE, ""),
        Column("max", DOUBLE, ""),
        Column("stddev", DOUBLE, ""),
        Column("median", DOUBLE, ""),
        Column("quantiles", pa.list_(DOUBLE), "1000 equal steps on Databricks; here 0, .01, ..., 1"),
        Column("num_zeros", LONG, ""),
        Column("num_nan", LONG, ""),
        Column("min_length", DOUBLE, "of strings"),
        Column("max_length", DOUBLE, "of strings"),
        Column("avg_length", DOUBLE, "of strings"),
        Column("distinct_count", LONG, ""),
        Column("frequent_items", pa.list_(pa.struct([("item", STRING), ("count", LONG)])), "most frequent first"),
        Column("percent_null", DOUBLE, "0 to 100"),
        Column("percent_zeros", DOUBLE, "0 to 100"),
        Column("percent_distinct", DOUBLE, "0 to 100"),
        Column("non_null_columns", pa.list_(STRING), "of `:table` rows"),
    ),
)
DRIFT_METRICS = Table(
    name="predictions_drift_metrics",
    row="how one column's distribution moved (Databricks Lakehouse Monitoring's columns)",
    key=(
        "window",
        "window_cmp",
        "drift_type",
        "granularity",
        "model_version",
        "slice_key",
        "slice_value",
        "column_name",
        "monitor_version",
    ),
    writer="serving",
    readers="dashboards",
    columns=(
        Column("window", WINDOW, ""),
        Column("window_cmp", WINDOW, "window compared with; NULL for the baseline"),
        Column("drift_type", STRING, "CONSECUTIVE or BASELINE"),
        Column("granularity", STRING, ""),
        *_MONITORED,
        Column("monitor_version", LONG, "version of the monitor's definition"),
        Column("count_delta", DOUBLE, "rows in window - in window_cmp"),
        Column("avg_delta", DOUBLE, ""),
        Column("percent_null_delta", DOUBLE, ""),
        Column("percent_zeros_delta", DOUBLE, ""),
        Column("percent_distinct_delta", DOUBLE, ""),
        Column("non_null_columns_delta", pa.struct([("added", INT), ("missing", INT)]), "of `:table` rows"),
        Column("js_distance", DOUBLE, "Jensen-Shannon distance, categorical columns"),
        Column("ks_test", TEST, "two-sample Kolmogorov-Smirnov, numeric columns"),
        Column("wasserstein_distance", DOUBLE, "numeric columns, in the column's unit"),
        Column("population_stability_index", DOUBLE, "numeric columns"),
        Column("chi_squared_test", TEST, "categorical columns"),
        Column("tv_distance", DOUBLE, "total variation, categorical columns"),
        Column("l_infinity_distance", DOUBLE, "categorical columns"),
    ),
)
VISION_DRIFT_METRICS = Table(
    name="vision_drift_metrics",
    row="a drift test on what Lakehouse Monitoring does not look at: pixels and boxes",
    key=("run_id", "scope", "metric", "slice_key", "slice_value"),
    writer="serving",
    readers="dashboards",
    columns=(
        RUN_ID,
        MODEL_NAME,
        MODEL_VERSION,
        DATASET,
        Column("baseline", STRING, "data set and split compared with"),
        Column("slice_key", STRING, "slicing expression; NULL: whole data set"),
        Column("slice_value", STRING, "its value"),
        Column("scope", STRING, "image, prediction or box", required=True),
        Column("metric", STRING, "the figure that was tested", required=True),
        Column("method", STRING, "the test"),
        Column("effect", DOUBLE, "Wasserstein distance / standard deviation of the baseline, or total variation"),
        Column("effect_threshold", DOUBLE, "effect that chance alone rarely gives at these sample sizes"),
        Column("p_value", DOUBLE, "Benjamini-Hochberg adjusted over the run's tests"),
        Column("p_threshold", DOUBLE, ""),
        Column("is_drift", BOOL, "effect and p value both cross"),
        Column("n_baseline", LONG, "images in the baseline"),
        Column("n_current", LONG, "images in the slice"),
        Column("table_versions", pa.map_(STRING, LONG), "Delta version of every table that was read"),
        Column("computed_at", TIME, ""),
    ),
)
ALERTS = Table(
    name="alerts",
    row="a threshold that was crossed, with the evidence",
    key=("alert_id",),
    writer="serving",
    readers="dashboards",
    columns=(
        Column("alert_id", STRING, "sha256 of source, subject and run", required=True),
        RUN_ID,
        Column("source", STRING, "table the evidence is in"),
        DATASET,
        MODEL_NAME,
        MODEL_VERSION,
        Column("slice_key", STRING, ""),
        Column("slice_value", STRING, ""),
        Column("metric", STRING, ""),
        Column("value", DOUBLE, ""),
        Column("threshold", DOUBLE, ""),
        Column("severity", STRING, "warn or error"),
        Column("message", STRING, "one sentence for a person"),
        Column("evidence", STRING, "JSON"),
        Column("raised_at", TIME, ""),
    ),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        IMAGES, ANNOTATIONS, CATEGORIES, SOURCES, ARRIVALS, QUARANTINE, QUALITY_RESULTS, IMAGE_PROPERTIES, SAMPLES,
        TRAINING_RUNS, TUNE_TRIALS, EVALUATIONS, PREDICTIONS, PROFILE_METRICS, DRIFT_METRICS, VISION_DRIFT_METRICS,
        ALERTS,
    )
}  # fmt: skip


def markdown() -> str:
    """`docs/tables.md`, whole."""
    parts = ["# Tables\n", "Generated by `python -m lakesight.tables > docs/tables.md`; a test compares.\n"]
    for table in TABLES.values():
        parts.append(f"## `{table.name}`\n\nOne row is {table.row}. Key: `{', '.join(table.key)}`.")
        parts.append(f"Written by {table.writer}; read by {table.readers}.\n")
        parts.append("| column | type | what |\n|---|---|---|")
        for column in table.columns:
            null = " NOT NULL" if column.required else ""
            parts.append(f"| `{column.name}` | {spark_type(column.type)}{null} | {column.doc} |")
        parts.append("")
    return "\n".join(parts)


if __name__ == "__main__":
    print(markdown())  # noqa: T201 - this is the command's output
