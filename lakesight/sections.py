"""The sections of a configuration: what can be set, what it is unless set, and in what range."""

import dataclasses
import re
from typing import Any, Literal

from lakesight.errors import ConfigError


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SparkConfig:
    """The Spark session."""

    master: str = "local[*]"
    """`local[*]`, `spark://...`; ignored on Databricks and with `remote`."""
    remote: str | None = None
    """Spark Connect address, `sc://host:port`."""
    driver_memory: str = "2g"
    conf: dict[str, str] = dataclasses.field(default_factory=dict)
    """Further Spark settings, as they are."""

    def __post_init__(self) -> None:
        """Raises ValueError for a name that Spark would take, and no setting can have."""
        for name in self.conf:
            _require(bool(re.fullmatch(r"[^\s.=]+(\.[^\s.=]+)*", name)), f"{name!r} is no name of a Spark conf")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RayConfig:
    """The Ray cluster."""

    address: str | None = None
    """`ray://...`, `auto`, or None: a private cluster in this process tree."""
    num_cpus: int = 4
    """Logical CPUs of the private cluster; Ray Train with two workers deadlocks below 4."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class IngestConfig:
    """Files -> tables."""

    max_pixels: int = 178_956_970
    """Images of more pixels are refused before they are decoded (Pillow's bomb limit, 1 GiB / 4 / 3 * 2)."""
    allow_orphans: bool = False
    """Set annotations of images the file does not list aside instead of refusing the file."""
    content: Literal["table", "reference"] = "table"
    """Where the bytes of an image are: in `images.content`, or only in the file that `source_uri` names."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """Rules over tables."""

    fail_on: Literal["error", "warn", "never"] = "error"
    """The least severity of a rule broken in a table that fails the check."""
    min_image_side: int = 32
    """Pixels; below, `image_large_enough` warns: the coarsest feature map of a DETR has not one cell (stride 32)."""
    max_image_pixels: int = 89_478_485
    """More is `image_small_enough` (warn): where Pillow warns of a decompression bomb (1 GiB / 4 / 3)."""
    min_aspect: float = 0.35
    """Shorter / longer side; below, `image_aspect_usual` warns (CleanVision's odd_aspect_ratio)."""
    max_image_boxes: int = 300
    """More is `image_boxes_fit` (warn): the queries of RT-DETR and D-FINE, each of which finds one box."""
    min_contrast: float = 2.0
    """Standard deviation of luma; below, `image_not_blank` warns. The least of 305 photographs measured: 14.8."""
    min_brightness: float = 10.0
    """Mean luma; below is `image_not_dark` (info). The photographs: 56 to 196."""
    max_brightness: float = 245.0
    """Above is `image_not_bright` (info); the mirror image of `min_brightness`."""
    min_sharpness: float = 5.0
    """Variance of the Laplacian (Pech-Pacheco et al. 2000); below is `image_not_blurry` (info). The photographs: from
    5.4 (microscope) and 90 (COCO) up."""
    min_entropy: float = 3.0
    """Bits of the luma histogram; below is `image_informative` (info). The photographs: from 4.8 up."""
    near_duplicate_bits: int = 3
    """Look-alikes differ in at most this many of 64 bits of `dhash` (0 to 3: what the join by bands finds). Of the
    photographs no two are closer than 5; a JPEG of other quality is 0 to 3 away."""
    min_box_pixels: float = 1.0
    """A side below this is `annotation_box_tiny` (warn)."""
    max_box_share: float = 0.95
    """Of the image; a box above is `annotation_box_partial` (warn)."""
    duplicate_box_iou: float = 0.95
    """Boxes of one class that overlap more are `annotation_box_unique` (warn): COCO's strictest match."""
    max_area_error: float = 0.1
    """Relative; `area` further from the polygon's is `annotation_area_as_polygons` (warn)."""
    min_class_annotations: int = 10
    """A class with fewer boxes is `category_has_annotations` (warn)."""
    max_class_imbalance: float = 50.0
    """Boxes of the largest class / of this one; above is `category_balanced` (warn; Datumaro's imbalance ratio)."""
    max_split_psi: float = 0.25
    """Population stability index of a split against the largest one, from which `split_classes_alike` and
    `split_box_sizes_alike` warn (Siddiqi 2006: a major shift), unless chance gives as much."""
    gallery_images: int = 6
    """Pictures a rule on the page that `check --gallery` writes."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _require(0 <= self.near_duplicate_bits <= 3, "near_duplicate_bits must be 0 to 3")
        _require(self.gallery_images > 0, "gallery_images must be positive")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """`images` + `annotations` -> `samples`."""

    val_fraction: float = 0.2
    """Share of images without a stated split that goes to val, by hash of the pixels."""
    group_by: str | None = None
    """SQL over `images`: images with an equal value share a split, e.g. `metadata['video']`, or for bursts
    `concat(metadata['camera'], date_trunc('minute', captured_at))`."""
    near_duplicate_bits: int | None = 0
    """Images whose dhash differs in at most this many of 64 bits share a split; null: only those of equal pixels."""
    stratify: bool = False
    """Spread every class over the splits as `val_fraction` says; new images may then move others."""
    folds: int = 0
    """Cross-validation: val is one of so many equal parts instead of `val_fraction`; 0: none."""
    fold: int = 0
    """Which of the `folds` is val, from 0."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _require(0 <= self.val_fraction <= 1, "val_fraction must be in [0, 1]")
        _require(self.folds == 0 or self.folds > 1, "folds must be 0 or at least 2")
        _require(0 <= self.fold < max(self.folds, 1), "fold must be in [0, folds)")
        _require((self.near_duplicate_bits or 0) in range(17), "near_duplicate_bits must be in [0, 16]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A model, built from configuration (or started from local weights)."""

    name: str = "detector"
    """Name in the model registry."""
    architecture: str = "d_fine"
    """transformers' `model_type`; the task follows: boxes, masks (`mask2former`), classes of images (`resnet`, ...)."""
    image_size: int | tuple[int, int] = 640
    """Side of a square input, or [height, width], pixels; multiples of 32 for the RT-DETR line."""
    resize: Literal["stretch", "letterbox"] = "stretch"
    """How an image comes to that size: stretched, or with its aspect ratio kept and grey around it."""
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments of the architecture's transformers configuration; nested `backbone_config` has a `model_type`."""
    pretrained: str | None = None
    """Weights to start from: a folder with `config.json` and `model.safetensors`, a `.safetensors` file, a hub name."""
    score_threshold: float = 0.05
    """Detections below are not written to `predictions`; of the classes of an image the best one always is."""
    max_detections: int = 100
    """Detections an image, best first (COCO's 100)."""
    nms_iou: float = 1.0
    """Of boxes of one class that overlap by more than this only the best is kept, in validation and in serving; 1: all
    are. DETRs are meant to do without, but a small one that was trained for minutes still repeats itself: try 0.7."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _require(min(self.input_size) > 0, "image_size must be positive")
        _require(0 <= self.score_threshold < 1, "score_threshold must be in [0, 1)")
        _require(0 < self.nms_iou <= 1, "nms_iou must be in (0, 1]")

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the network's input, pixels."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """What training images go through, anew every epoch; validation images are only resized."""

    horizontal_flip: float = 0.5
    """Chance of a mirror image."""
    vertical_flip: float = 0.5
    """Chance of an image upside down."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Magnification, drawn log-uniformly: above 1 a part of the image, below 1 the image with grey around it."""
    aspect: float = 0.0
    """How much wider or narrower at most, as a share."""
    min_visible: float = 0.35
    """Boxes of which no more than this share is left in the picture are dropped."""
    brightness: float = 0.0
    """Largest change, as a share of the full scale."""
    contrast: float = 0.0
    """Largest change, as a share."""
    saturation: float = 0.0
    """Largest change, as a share."""
    hue: float = 0.0
    """Largest change, as a share of the colour circle."""
    mosaic: float = 0.0
    """Chance that four images of the batch share the picture."""
    mixup: float = 0.0
    """Chance that another image of the batch shines through."""
    copy_paste: float = 0.0
    """Chance that objects of another image of the batch are pasted in, by their masks where these are read."""
    keypoint_swaps: tuple[tuple[int, int], ...] = ()
    """Pairs of keypoints that change names in a mirror image, by place from 0: left and right eye, ..."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("horizontal_flip", "vertical_flip", "mosaic", "mixup", "copy_paste", "min_visible"):
            _require(0 <= getattr(self, name) <= 1, f"{name} must be in [0, 1]")
        for name in ("aspect", "brightness", "contrast", "saturation", "hue"):
            _require(0 <= getattr(self, name) <= 1, f"{name} must be in [0, 1]")
        _require(0 < self.scale[0] <= self.scale[1], "scale must be positive, the smaller first")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run."""

    steps: int = 300
    """Optimiser steps in all; the learning rate follows one schedule over them."""
    batch_size: int | Literal["auto"] = 16
    """Images a worker and batch; `auto`: the power of two, up to 64, that fits into memory when the run begins."""
    accumulate: int = 1
    """Batches an optimiser step: the gradient is their mean."""
    lr: float = 1e-3
    """Highest learning rate, of everything but the backbone."""
    backbone_lr_ratio: float = 1.0
    """The backbone's learning rate as a share of `lr`; 0.1 is usual with pretrained weights."""
    layer_decay: float = 1.0
    """Every stage of the backbone has this share of the learning rate of the one above it; 1: all the same."""
    weight_decay: float = 1e-4
    schedule: Literal["cosine", "step", "one_cycle"] = "cosine"
    """After the warm-up: a cosine down; cuts at `drop_at`; or up for the first 30 % of the steps and down again."""
    warmup_steps: int = 50
    """Steps of linear warm-up; with `one_cycle` nothing is added to its own."""
    min_lr_ratio: float = 0.02
    """Where `cosine` and `one_cycle` end, as a share of `lr`."""
    drop_at: tuple[float, ...] = (0.8,)
    """Shares of `steps` at which `step` multiplies the learning rate by `drop_factor`."""
    drop_factor: float = 0.1
    clip_norm: float = 1.0
    """Largest norm of the gradient; 0: not clipped."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16`: mixed precision; weights and optimiser stay float32."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time; not every architecture can."""
    ema_decay: float = 0.0
    """Keep a moving average of the weights, validate and export it; 0: none. 0.998 suits some hundreds of steps."""
    multi_scale: float = 0.0
    """Draw every step's input size from `image_size` times 1 - this to 1 + this."""
    oversample: float = 0.0
    """Repeat images of classes that are on less than this share of the images (LVIS' repeat factor); 0: never."""
    class_weights: Literal["balanced"] | dict[str, float] | None = None
    """How much boxes of a class count in the classification loss, by name, others 1; `balanced`: rare classes more, by
    1 / sqrt(boxes), on average 1 a box. Curves show the loss as it is without."""
    freeze_backbone: Literal["none", "stem", "all"] = "none"
    """What of the backbone does not learn; the stem is what comes before its first stage."""
    freeze_batch_norm: bool = False
    """Keep transformers' frozen BatchNorm; only sensible with pretrained weights."""
    val_every: int = 150
    """Steps between validations; the last step always validates."""
    val_pictures: int = 4
    """Validation images that are drawn with boxes for MLflow at each validation."""
    patience: int = 0
    """End after this many validations without a better score; 0: never. The schedule does not know of it."""
    min_delta: float = 0.001
    """How much more counts as better, for `patience`."""
    checkpoint_every: int = 0
    """Steps between checkpoints a killed run resumes from; 0: at validations only."""
    keep_checkpoints: int = 1
    """Checkpoints on disk while a run trains, best score first; the last one is always kept besides."""
    keep_every: int = 0
    """Steps between networks that stay with the run in MLflow, for `lakesight register --step`; 0: the best only."""
    max_failures: int = 0
    """How often dead workers are replaced, from the last checkpoint, before the run fails; other errors end it."""
    seed: int = 0
    """Of weights, order, augmentation and denoising."""
    num_workers: int = 1
    """Ray Train workers."""
    threads: int = 0
    """Torch threads a worker; 0: cores / workers."""
    use_gpu: bool = False

    def __post_init__(self) -> None:
        """Check ranges."""
        _require(self.batch_size == "auto" or self.batch_size > 0, "batch_size must be positive, or auto")
        for name in ("steps", "accumulate", "lr", "num_workers", "val_every", "keep_checkpoints"):
            _require(getattr(self, name) > 0, f"{name} must be positive")
        for name in ("warmup_steps", "clip_norm", "weight_decay", "patience", "val_pictures"):
            _require(getattr(self, name) >= 0, f"{name} must not be negative")
        for name in ("checkpoint_every", "keep_every"):
            _require(getattr(self, name) >= 0, f"{name} must not be negative")
        for name in ("ema_decay", "multi_scale"):
            _require(0 <= getattr(self, name) < 1, f"{name} must be in [0, 1)")
        for name in ("backbone_lr_ratio", "layer_decay", "drop_factor", "min_lr_ratio", "oversample"):
            _require(0 <= getattr(self, name) <= 1, f"{name} must be in [0, 1]")
        _require(all(0 < share < 1 for share in self.drop_at), "drop_at must be in (0, 1)")
        if isinstance(self.class_weights, dict):
            _require(all(weight > 0 for weight in self.class_weights.values()), "class_weights must be positive")

    @property
    def images(self) -> int:
        """`batch_size` as a number.

        Raises:
            ConfigError: it is `auto`, which only `lakesight train` finds a number for.
        """
        if self.batch_size == "auto":
            raise ConfigError(
                "train.batch_size is auto",
                where="train.batch_size",
                expected="a number",
                fix="set one: only `lakesight train` finds it itself",
            )
        return self.batch_size


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """A sweep with Ray Tune."""

    scheduler: Literal["asha", "pbt", "none"] = "asha"
    """`asha` stops trials that lag behind; with `pbt` they go on from the weights of better ones, with changed
    parameters; with `none` all are trained to the end."""
    search: Literal["random", "optuna"] = "random"
    """Parameters are drawn from `space`, or proposed by Optuna's TPE from how earlier trials went."""
    trials: int = 4
    max_concurrent: int = 1
    """Trials at a time; with `pbt` all of them, for it compares trials that train."""
    grace_steps: int = 50
    """Steps before ASHA may stop a trial."""
    perturb_steps: int = 50
    """Steps between PBT's comparisons of the trials; it looks at validations only."""
    space: dict[str, dict[str, Any]] = dataclasses.field(
        default_factory=lambda: {"train.lr": {"loguniform": [1e-4, 3e-3]}}
    )
    """`section.field` -> {uniform | loguniform | randint: [low, high]} or {choice: [...]}."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("trials", "max_concurrent", "grace_steps", "perturb_steps"):
            _require(getattr(self, name) > 0, f"{name} must be positive")
        _require(bool(self.space), "space must name a parameter")
        if self.scheduler == "pbt":
            _require(self.search == "random", "search must be random with scheduler pbt, which proposes by itself")
            _require(self.trials > 1, "trials must be 2 or more with scheduler pbt, which compares them")
            _require(
                self.trials <= self.max_concurrent,
                f"max_concurrent must be {self.trials}, as trials, with scheduler pbt, which trains all at a time",
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Batch scoring."""

    batch_size: int = 32
    """Images a model call."""
    num_actors: int = 1
    commit_images: int = 10_000
    """Images a Delta commit: what a killed job loses at most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MonitorConfig:
    """Profile and drift of predictions."""

    granularity: Literal["1 hour", "1 day", "1 week"] = "1 day"
    timestamp: Literal["predicted_at", "captured_at"] = "predicted_at"
    slices: tuple[str, ...] = ()
    """SQL expressions over `images` columns, e.g. `metadata['camera']`."""
    p_value: float = 0.05
    """Of each test, after Benjamini-Hochberg over the run."""
    min_effect: float = 0.2
    """Smallest effect that counts: shift in baseline standard deviations, or total variation."""
    min_images: int = 30
    """Slices with fewer images are profiled but not tested."""
