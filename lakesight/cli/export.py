"""Tables -> files: `lakesight export FORMAT`, the way back of `ingest`."""

import enum
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lakesight import show
from lakesight.cli.options import DEFAULT_ROOT, ConfigFile, Dataset, Override, Root, dataset_name, start, tables

if TYPE_CHECKING:
    from ingestion.export.export import Format

app = typer.Typer(help="Tables -> COCO, VOC, YOLO or Petastorm files, from any version.", no_args_is_help=True)


class Images(enum.StrEnum):
    """What to do with image files."""

    COPY = "copy"
    NONE = "none"


To = Annotated[Path, typer.Option("--to", help="New folder to write.")]
At = Annotated[
    str | None,
    typer.Option("--at", help="Which tables: a time, ISO 8601; versions, images=12,...; a training run. Default: now."),
]
Where = Annotated[str | None, typer.Option("--where", help="SQL over the columns of images: \"split = 'val'\".")]
Sql = Annotated[str | None, typer.Option("--sql", help="SELECT dataset, image_id FROM ...")]
WithImages = Annotated[Images, typer.Option("--images", help="Write the image files too, or not.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an earlier export.")]


def _verb(format: "Format") -> Callable[..., None]:
    def verb(
        to: To,
        root: Root = DEFAULT_ROOT,
        dataset: Dataset = None,
        at: At = None,
        where: Where = None,
        sql: Sql = None,
        images: WithImages = Images.COPY,
        force: Force = False,
        config: ConfigFile = None,
        override: Override = None,
    ) -> None:
        from ingestion.export.export import Request, export

        settings = start(root, config, override)
        warehouse = tables(root)
        name, copy = dataset_name(warehouse, dataset), images is Images.COPY
        request = Request(dataset=name, to=to, at=at, where=where, sql=sql, images=copy, force=force)
        show.exported(export(warehouse, settings, format, request))

    return verb


app.command("coco", help="COCO JSON by flavour and split: instances with keypoints, captions, panoptic, labels.")(
    _verb("coco")
)
app.command("voc", help="Pascal VOC: Annotations/*.xml, ImageSets, JPEGImages. Boxes only.")(_verb("voc"))
app.command("yolo", help="YOLO: labels/*.txt, images, data.yaml. Boxes only, without crowds.")(_verb("yolo"))


@app.command("petastorm")
def export_petastorm(
    to: To,
    root: Root = DEFAULT_ROOT,
    dataset: Dataset = None,
    at: At = None,
    where: Annotated[
        str | None, typer.Option("--where", help="SQL over the columns of samples: \"split = 'train'\".")
    ] = None,
    sql: Sql = None,
    force: Force = False,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """`samples` -> Parquet for petastorm's make_batch_reader, a folder a split, pixels included."""
    from ingestion.export.export import Request
    from ingestion.export.petastorm import export_petastorm as run

    settings = start(root, config, override)
    warehouse = tables(root)
    request = Request(dataset=dataset_name(warehouse, dataset), to=to, at=at, where=where, sql=sql, force=force)
    show.exported(run(warehouse, settings, request))


@app.command("predictions")
def export_predictions(
    model: Annotated[str, typer.Option(help="name or name/version, as in `predictions`. Default version: the latest.")],
    to: Annotated[Path, typer.Option("--to", help="COCO results JSON to write.")],
    root: Root = DEFAULT_ROOT,
    dataset: Dataset = None,
    split: Annotated[str | None, typer.Option(help="Only images of this split.")] = None,
    force: Force = False,
) -> None:
    """Predictions -> COCO results JSON: what `import-detections` reads."""
    from serving.results import export_results as run

    start(root, None, None)
    warehouse = tables(root)
    name = dataset_name(warehouse, dataset)
    show.results_exported(run(warehouse, model=model, dataset=name, split=split, to=to, force=force))
