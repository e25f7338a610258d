"""Image files -> `images`: what `lakesight ingest coco` does with them, and a bare loop over the same files.

Both run warm: the JVM's start is not counted. A second run over the unchanged files is compared with the first; and the
memory that half of them take (JVM and Python workers together) with that of ten times as many.
"""

import hashlib
import io
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.frame import Result, compare_memory, side_by_side
from ingestion.load import ingest_coco
from lakesight import delta
from lakesight.config import Config
from lakesight.sections import SparkConfig
from lakesight.warehouse import Warehouse

SHARE = 0.6
"""Of the bare loop's files a CPU second; ingest also describes and deduplicates the images, and judges the records."""
AGAIN = 10.0
BOUNDED = 0.8
"""Of the memory for ten times as many images, what a tenth takes: the same, but for the noise of a JVM's heap."""
ANNOTATIONS, HALF, TEN_HALVES = "instances.json", "half.json", "ten_halves.json"
SETTINGS = Config(spark=SparkConfig(driver_memory="2g"))


def run(num_images: int = 5_000, repeats: int = 5) -> Iterator[Result]:
    """`num_images` generated JPEGs of 640 x 480."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        generate(folder / "files", num_images)
        roots = iter(folder / f"root{turn}" for turn in range(3 * (repeats + 3)))
        assert ours(folder, next(roots)) == bare(folder) == num_images, "an image is missing"
        yield side_by_side(
            "images",
            f"{num_images:,} JPEG files of 640 x 480 into a Delta table",
            ours=lambda: ours(folder, next(roots)),
            peer=lambda: bare(folder),
            peer_name="a loop: read, hash, decode, write parquet",
            goal=SHARE,
            repeats=repeats,
            note="ours also measures and deduplicates them",
        )
        again = next(roots)
        ours(folder, again)
        yield side_by_side(
            "images_again",
            f"the same {num_images:,} files, nothing changed",
            ours=lambda: ours(folder, again),
            peer=lambda: ours(folder, next(roots)),
            peer_name="the first ingest",
            goal=AGAIN,
            repeats=repeats,
            note="sizes and times of files are looked at, not bytes",
        )
        command = [sys.executable, "-m", "benchmarks.images", str(folder)]
        again_and_again(folder, num_images)
        yield compare_memory(
            "images_memory",
            f"{5 * num_images:,} JPEG files, peak of memory",
            ours=[*command, TEN_HALVES, str(folder / "ten")],
            peer=[*command, HALF, str(folder / "one")],
            peer_name="a tenth of the files",
            goal=BOUNDED,
            note="JVM and Python workers together",
        )


def generate(folder: Path, num_images: int) -> None:
    """Smooth noise with sensor noise on it, quality 90: some 80 kB each, none twice."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    sensor = rng.normal(0, 4, (480, 640, 3))
    for number in range(num_images):
        coarse = rng.normal(128, 40, (30, 40, 3)).astype(np.float32)
        pixels = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC) + np.roll(sensor, number, axis=1)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:06d}.jpg", quality=90)
    list_images(folder.parent / ANNOTATIONS, [f"{number:06d}.jpg" for number in range(num_images)])


def again_and_again(folder: Path, num_images: int) -> None:
    """Lists of half of the files, and of the same ten times: under other names, since they are read all the same."""
    names = [f"{number:06d}.jpg" for number in range(num_images // 2)]
    for turn, name in itertools.product(range(9), names):
        (folder / "files" / f"{turn}_{name}").hardlink_to(folder / "files" / name)
    list_images(folder / HALF, names)
    list_images(folder / TEN_HALVES, [*names, *(f"{turn}_{name}" for turn in range(9) for name in names)])


def list_images(path: Path, names: list[str]) -> None:
    """A COCO file of images without annotations."""
    images = [{"id": i, "file_name": name, "width": 640, "height": 480} for i, name in enumerate(names)]
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))


def ours(folder: Path, root: Path, name: str = ANNOTATIONS) -> int:
    """Ingest into `root` what the file `name` lists; returns the images that are there."""
    files, annotations = folder / "files", folder / name
    ingest_coco(root, SETTINGS, images=files, annotations=annotations, dataset="bench", split=None)
    return delta.count(Warehouse(root.resolve()), "images")


def bare(folder: Path) -> int:
    """One parquet file of bytes, hash and size; returns its rows."""
    rows = []
    for path in sorted((folder / "files").iterdir()):
        content = path.read_bytes()
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        sha256 = hashlib.sha256(content).hexdigest()
        rows.append({"file_name": path.name, "content": content, "sha256": sha256, "shape": pixels.shape})
    pq.write_table(pa.Table.from_pylist(rows), folder / "bare.parquet")
    return len(rows)


if __name__ == "__main__":
    ours(Path(sys.argv[1]), Path(sys.argv[3]), sys.argv[2])
