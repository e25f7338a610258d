"""Delta -> decoded images: against the decoder alone, against Ray Data as its documentation has it, against HF."""

import importlib.util
import io
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from benchmarks.frame import Result, in_time, side_by_side
from features.plan import in_order
from features.reading import encoded
from features.resize import resize
from features.snapshot import Split, read_splits
from features.torch_dataset import PlannedBatches
from lakesight import cluster, delta
from lakesight.decode import Pixels, decode
from lakesight.malloc import keep_memory
from lakesight.opencv import one_thread
from lakesight.sections import RayConfig
from lakesight.tables import SAMPLES
from lakesight.warehouse import create_warehouse

HEIGHT, WIDTH = 480, 640
DETR = (800, 1066)
"""What DETR makes of it: shorter side 800."""
BATCH = 32
log = logging.getLogger(__name__)


def run(num_images: int = 1024, repeats: int = 5) -> Iterator[Result]:
    """Generated JPEGs of 640 x 480, quality 90, in a `samples` table."""
    with tempfile.TemporaryDirectory() as scratch:
        split = generate(Path(scratch), num_images)
        contents = [c for unit in split.units for c in unit.read(["content"])["content"].to_pylist()]
        mean = sum(map(len, contents)) / len(contents) / 1000
        yield side_by_side(
            "loader",
            f"{num_images} shuffled images of {mean:.0f} kB: Delta -> decoded",
            ours=lambda: loop(split),
            peer=lambda: bare(contents),
            peer_name="the decoder alone, bytes in memory",
            goal=0.92,
            repeats=repeats,
        )
        yield from _detr(contents[: num_images // 8], repeats)
        yield in_time(
            "loader",
            "the first decoded batch, from the split on",
            run=lambda: next(iter(_planned(split))),
            seconds=1.0,
            repeats=repeats,
        )
        yield from _ray(split, repeats)


def _detr(contents: list[bytes], repeats: int) -> Iterator[Result]:
    keep_memory()  # both as `Collate` does; the peer gains by the first, too
    one_thread()
    goals = {"DetrImageProcessorPil": 10.0, "DetrImageProcessor": 3.5}
    if importlib.util.find_spec("torchvision") is None:
        log.warning("torchvision is not installed: its processor is not compared")
        del goals["DetrImageProcessor"]
    for name, goal in goals.items():
        yield side_by_side(
            "loader",
            f"{len(contents)} images -> uint8 of {DETR[0]} x {DETR[1]}",
            ours=lambda: _each(lambda content: resize(decode(content), *DETR), contents),
            peer=huggingface(name, contents),
            peer_name=f"transformers' {name}",
            goal=goal,
            repeats=repeats,
            note="normalising is left to the device",
        )


def _ray(split: Split, repeats: int) -> Iterator[Result]:
    with cluster.connected(RayConfig(num_cpus=4)):
        for decoder, one in {"Pillow": by_pillow, "our decoder": decode}.items():
            naive = partial(naive_ray, split, one)
            assert through_ray(split) == naive() == split.num_rows, "an image is missing"
            yield side_by_side(
                "loader",
                f"{split.num_rows} images through Ray Data -> decoded batches",
                ours=lambda: through_ray(split),
                peer=naive,
                peer_name=f"ray.data.read_parquet + map_batches({decoder})",
                goal=2.2,
                repeats=repeats,
                note="the process tree",
            )
        yield in_time(
            "loader",
            "the first decoded batch through Ray, its processes started",
            run=lambda: next(iter(_ray_batches(split))),
            seconds=1.0,
            repeats=repeats,
        )


def generate(root: Path, num_images: int, seed: int = 0) -> Split:
    """`samples` with one split of pictures of smooth colours, edges and some noise."""
    rng = np.random.default_rng(seed)
    warehouse = create_warehouse(root)
    delta.create_tables(warehouse)
    empty = dict.fromkeys(SAMPLES.arrow.names)
    rows = [
        empty
        | {"dataset": "bench", "run_id": "bench", "image_id": i, "split": "train", "width": WIDTH, "height": HEIGHT}
        | {"content": picture(rng), "annotations": [], "num_annotations": 0}
        for i in range(num_images)
    ]
    delta.commit(warehouse, "samples", pa.Table.from_pylist(rows, SAMPLES.arrow), app_id="bench", txn=1)
    (split,) = read_splits(warehouse, "bench", ["train"])
    return split


def picture(rng: np.random.Generator) -> bytes:
    """A JPEG about as large as COCO's: detail at every scale."""
    pixels = np.full((HEIGHT, WIDTH, 3), 128.0, np.float32)
    for level in range(1, 8):
        side = 2**level
        coarse = rng.integers(0, 256, (side * 3 // 4 or 1, side, 3), dtype=np.uint8)
        pixels += (resize(coarse, HEIGHT, WIDTH).astype(np.float32) - 128) / level
    pixels += rng.normal(0, 6, pixels.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def loop(split: Split) -> None:
    """One epoch, as training reads it, each batch decoded and let go."""
    for _ in _planned(split):
        pass


def _planned(split: Split) -> PlannedBatches[list[Pixels]]:
    return PlannedBatches(split, _decoded, steps=split.num_rows // BATCH, batch_size=BATCH, seed=0)


def _decoded(rows: pa.Table) -> list[Pixels]:
    return [decode(content) for content in encoded(rows["content"]) if content is not None]


def _stacked(contents: Sequence[Any], one: Callable[[Any], Pixels]) -> Pixels:
    """[N, H, W, 3]; each picture is let go at once: 32 of them at a time would cost half as much again."""
    pixels = np.empty((len(contents), HEIGHT, WIDTH, 3), np.uint8)
    for place, content in enumerate(contents):
        pixels[place] = one(content)
    return pixels


def bare(contents: list[bytes]) -> None:
    """The same pictures from memory."""
    for start in range(0, len(contents), BATCH):
        _ = [decode(content) for content in contents[start : start + BATCH]]


def huggingface(name: str, contents: list[bytes]) -> Callable[[], object]:
    """Its processor with its own defaults, on opened files."""
    import torch
    import transformers

    torch.set_num_threads(1)  # threads that spin while they wait count as work
    processor = getattr(transformers, name)()
    return lambda: _each(
        lambda content: processor(Image.open(io.BytesIO(content)).convert("RGB"), return_tensors="pt"), contents
    )


def _each(make: Callable[[bytes], object], contents: list[bytes]) -> None:
    """Make the input of each image and let it go: 64 at a time are more memory than malloc keeps for the next."""
    for content in contents:
        make(content)


def through_ray(split: Split) -> int:
    """Bytes through Ray, decoded in the collate function; returns the number of images."""
    return sum(map(len, _ray_batches(split)))


def _ray_batches(split: Split) -> Iterable[Any]:
    from ray.data.collate_fn import ArrowBatchCollateFn

    from features.datasource import dataset

    class Stack(ArrowBatchCollateFn):
        def __call__(self, batch: pa.Table) -> Pixels:  # type: ignore[override]  # no tensors needed
            return _stacked(encoded(batch["content"]), decode)

    data = dataset(split.units, in_order(split.rows), ["content"])
    return data.iter_torch_batches(batch_size=BATCH, collate_fn=Stack())


def naive_ray(split: Split, one: Callable[[bytes], Pixels]) -> int:
    """As tutorials do it: read, decode in `map_batches`, iterate over tensors; returns the number of images."""
    import ray.data

    def decode_all(batch: dict[str, Any]) -> dict[str, Any]:
        return {"image": _stacked(batch["content"], one)}

    files = sorted({unit.path for unit in split.units})
    data = ray.data.read_parquet(files, columns=["content"]).map_batches(decode_all, batch_size=BATCH)  # type: ignore[arg-type]  # numpy batches
    return sum(len(batch["image"]) for batch in data.iter_torch_batches(batch_size=BATCH))


def by_pillow(content: bytes) -> Pixels:
    """[H, W, 3], as Ray's documentation decodes an image."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
