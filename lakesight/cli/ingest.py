"""Files -> tables: `lakesight ingest FORMAT`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lakesight import show
from lakesight.cli.options import (
    DEFAULT_ROOT,
    ConfigFile,
    FirstPixel,
    Format,
    Override,
    Root,
    pixel,
    seconds,
    start,
)
from lakesight.places import is_file

Dataset = Annotated[str, typer.Option(help="Name the data set goes by in all tables.")]
CHUNK_MB = 256
"""Of a COCO file in one piece: the driver takes six times as much memory."""
Force = Annotated[bool, typer.Option("--force", help="Read every file, even if nothing has changed.")]
Split = Annotated[str | None, typer.Option(help="Split of the images that the files give none.")]

app = typer.Typer(help="Files -> images, annotations, categories.", no_args_is_help=True)


@app.command("coco")
def ingest_coco(
    images: Annotated[Path, typer.Option(help="Folder of the images.")],
    annotations: Annotated[Path, typer.Option(help="COCO JSON: instances, keypoints, captions, panoptic.")],
    dataset: Dataset,
    split: Annotated[str | None, typer.Option(help="train, val, test, ...")] = None,
    masks: Annotated[Path | None, typer.Option(help="Folder of panoptic PNGs; default: named like the JSON.")] = None,
    chunk_mb: Annotated[int, typer.Option(min=1, help="Larger files are read so many MB at a time.")] = CHUNK_MB,
    force: Force = False,
    root: Root = DEFAULT_ROOT,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """COCO of any flavour -> images, annotations, categories; what is wrong goes to quarantine."""
    from ingestion.chunks import ingest_coco_in_chunks
    from ingestion.load import ingest_coco as ingest_whole

    settings = start(root, config, override)
    large = is_file(annotations) and annotations.stat().st_size > chunk_mb * 2**20
    run = partial(ingest_coco_in_chunks, chunk_bytes=chunk_mb * 2**20) if large else ingest_whole
    work = partial(run, root, settings, images=images, annotations=annotations, masks=masks)
    show.ingested(work(dataset=dataset, split=split, force=force))


@app.command("voc")
def ingest_voc(
    folder: Annotated[Path, typer.Option(help="Folder with Annotations, JPEGImages, ImageSets.")],
    dataset: Dataset,
    annotations: Annotated[Path | None, typer.Option(help="Folder of the XML files, if another.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the images, if another.")] = None,
    split_file: Annotated[list[Path] | None, typer.Option(help="Instead of ImageSets/Main; SPLIT.txt each.")] = None,
    split: Split = None,
    first_pixel: FirstPixel = 1,
    force: Force = False,
    root: Root = DEFAULT_ROOT,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """Pascal VOC XML -> images, annotations, categories."""
    from ingestion.formats.read_voc import read_voc
    from ingestion.load import ingest
    from ingestion.tasks import tasks_of

    settings = start(root, config, override)
    read = partial(
        read_voc, folder=folder, annotations=annotations, images=images, split_files=split_file or (),
        dataset=dataset, split=split, first_pixel=pixel(first_pixel), in_tasks=tasks_of(root, settings.spark),
    )  # fmt: skip
    show.ingested(ingest(root, settings, dataset, read, force=force))


@app.command("yolo")
def ingest_yolo(
    data: Annotated[Path, typer.Option(help="data.yaml: path, train, val, test, names.")],
    dataset: Dataset,
    force: Force = False,
    root: Root = DEFAULT_ROOT,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """YOLO boxes, polygons or keypoints -> images, annotations, categories."""
    from ingestion.formats.read_yolo import read_yolo
    from ingestion.load import ingest
    from ingestion.tasks import tasks_of

    settings = start(root, config, override)
    read = partial(read_yolo, data=data, dataset=dataset, in_tasks=tasks_of(root, settings.spark))
    show.ingested(ingest(root, settings, dataset, lambda _: read(), force=force))


@app.command("folders")
def ingest_folders(
    images: Annotated[Path, typer.Option(help="Folder with a folder of images per class, or per split and class.")],
    dataset: Dataset,
    split: Split = None,
    force: Force = False,
    root: Root = DEFAULT_ROOT,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """Image folders per class -> images, annotations of whole images, categories."""
    from ingestion.formats.read_folders import read_folders
    from ingestion.load import ingest

    read = partial(read_folders, images=images, dataset=dataset, split=split)
    show.ingested(ingest(root, start(root, config, override), dataset, read, force=force))


@app.command("tfrecord")
def ingest_tfrecord(
    folder: Annotated[Path, typer.Option(help="Folder of *.tfrecord or *.record files, and a label map.")],
    dataset: Dataset,
    split: Split = None,
    force: Force = False,
    root: Root = DEFAULT_ROOT,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """TFRecord files of TensorFlow's Object Detection API -> images, annotations, categories."""
    from ingestion.formats.read_tfrecord import read_tfrecord
    from ingestion.load import ingest

    read = partial(read_tfrecord, root=root, folder=folder, dataset=dataset, split=split)
    show.ingested(ingest(root, start(root, config, override), dataset, read, force=force))


@app.command("datumaro")
def ingest_datumaro(
    format_: Annotated[
        str, typer.Option("--format", help="cvat, label_me, open_images, kitti, mot_seq, vott_csv, ...")
    ],
    folder: Annotated[Path, typer.Option(help="Folder of the data set.")],
    dataset: Dataset,
    split: Split = None,
    force: Force = False,
    root: Root = DEFAULT_ROOT,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """Any format that datumaro reads -> images, annotations, categories; once before: `lakesight setup datumaro`."""
    from ingestion.formats.read_datumaro import read_datumaro
    from ingestion.load import ingest

    read = partial(read_datumaro, folder=folder, format_=format_, dataset=dataset, split=split)
    show.ingested(ingest(root, start(root, config, override), dataset, read, force=force))


@app.command("stream")
def ingest_stream(
    watch: Annotated[Path, typer.Option(help="Folder that images and annotation files arrive in.")],
    dataset: Dataset,
    format_: Format = "coco",
    split: Split = None,
    first_pixel: FirstPixel = 1,
    continuous: Annotated[bool, typer.Option("--continuous", help="Go on until Ctrl-C or SIGTERM.")] = False,
    interval: Annotated[str, typer.Option(help="Between two looks, with --continuous: 500ms, 10s, 5m, 1h.")] = "10s",
    force: Force = False,
    root: Root = DEFAULT_ROOT,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """What has come into a folder since the last time -> the tables; files that wait are listed in `arrivals`."""
    from ingestion.stream import stream as run

    settings = start(root, config, override)
    every_s = seconds(interval) if continuous else None
    work = partial(run, root, settings, watch=watch, dataset=dataset, split=split, format_=format_)
    work(first_pixel=pixel(first_pixel), every_s=every_s, force=force, tell=show.streamed)
