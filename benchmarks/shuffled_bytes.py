"""Shuffled image bytes out of Delta, against formats that were made for it, each as its documentation has it."""

import importlib.metadata
import importlib.util
import logging
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.frame import Result, side_by_side
from benchmarks.loader import BATCH, generate
from features.reading import encoded
from features.snapshot import Split
from features.torch_dataset import PlannedBatches

GOAL = 1 / 0.9
EPOCHS = 5
"""A run: one epoch is too short for the clock."""
BUFFER = 256
"""Images that a peer shuffles among."""
log = logging.getLogger(__name__)


def run(num_images: int = 1024, repeats: int = 5) -> Iterator[Result]:
    """The same bytes in every format, on local disk; one process; peers that are not installed are left out."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        split = generate(folder / "delta", num_images)
        for name, write in PEERS.items():
            if importlib.util.find_spec(name) is None:
                log.warning("%s is not installed: not compared", name)
                continue
            read = write(split, folder / name)
            assert read() == ours(split) == sum(map(len, _contents(split))), f"{name} lacks bytes"
            yield side_by_side(
                "shuffled_bytes",
                f"{num_images} images {EPOCHS} times, shuffled, each byte looked at, not decoded",
                ours=partial(_often, partial(ours, split)),
                peer=partial(_often, read),
                peer_name=version_of(name),
                goal=GOAL,
                repeats=repeats,
            )


def version_of(module: str) -> str:
    """The distribution that a module comes from, and its version."""
    name = importlib.metadata.packages_distributions()[module][0]
    return f"{name} {importlib.metadata.version(name)}"


def _often(read: Callable[[], int]) -> None:
    for _ in range(EPOCHS):
        read()


def _looked_at(content: bytes | memoryview) -> int:
    """Its size. Bytes that are pointed to, as ours are, cost nothing until someone looks at them."""
    zlib.adler32(content)
    return len(content)


def ours(split: Split) -> int:
    """One epoch; returns the number of bytes."""
    steps = split.num_rows // BATCH
    batches = PlannedBatches(split, _encoded, steps=steps, batch_size=BATCH, seed=0, columns=["content"])
    return sum(_looked_at(content) for batch in batches for content in batch)


def _encoded(rows: pa.Table) -> list[memoryview]:
    return [content for content in encoded(rows["content"]) if content is not None]


def _contents(split: Split) -> Iterator[bytes]:
    for unit in split.units:
        yield from unit.read(["content"])["content"].to_pylist()


def _litdata(split: Split, folder: Path) -> Callable[[], int]:
    from litdata import StreamingDataset
    from litdata.streaming.writer import BinaryWriter

    folder.mkdir()
    writer = BinaryWriter(str(folder), chunk_bytes=64 * 2**20)
    for number, content in enumerate(_contents(split)):
        writer[number] = content
    writer.done()
    writer.merge()
    return lambda: sum(_looked_at(content) for content in StreamingDataset(str(folder), shuffle=True, seed=0))


def _webdataset(split: Split, folder: Path) -> Callable[[], int]:
    import webdataset

    folder.mkdir()
    with webdataset.ShardWriter(str(folder / "%04d.tar"), maxsize=64 * 2**20, verbose=0) as shards:
        for number, content in enumerate(_contents(split)):
            shards.write({"__key__": f"{number:08}", "jpg": content})
    files = sorted(str(path) for path in folder.glob("*.tar"))

    def read() -> int:
        data = webdataset.WebDataset(files, shardshuffle=len(files), seed=0).shuffle(BUFFER)
        return sum(_looked_at(sample["jpg"]) for sample in data)

    return read


def _datasets(split: Split, folder: Path) -> Callable[[], int]:
    import datasets

    files = sorted({unit.path for unit in split.units})

    def read() -> int:
        data: Any = datasets.load_dataset(
            "parquet", data_files=files, split="train", streaming=True, columns=["content"]
        )
        return sum(_looked_at(row["content"]) for row in data.shuffle(seed=0, buffer_size=BUFFER))

    return read


def _streaming(split: Split, folder: Path) -> Callable[[], int]:
    samples = mds(_contents(split), folder, shard_bytes=64 * 2**20)
    return lambda: sum(_looked_at(sample["content"]) for sample in samples)


def mds(contents: Iterable[bytes], folder: Path, *, shard_bytes: int) -> Iterable[dict[str, bytes]]:
    """MosaicML's format in `folder`; each iteration is an epoch, in the order it shuffles by unless told otherwise."""
    from streaming import MDSWriter, StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    with MDSWriter(out=str(folder), columns={"content": "bytes"}, size_limit=shard_bytes) as shards:
        for content in contents:
            shards.write({"content": content})
    clean_stale_shared_memory()  # of a run that was killed
    samples: Iterable[dict[str, bytes]] = StreamingDataset(local=str(folder), shuffle=True, batch_size=BATCH)
    return samples


PEERS = {"litdata": _litdata, "streaming": _streaming, "webdataset": _webdataset, "datasets": _datasets}
"""By the module's name; the first two are not in the `bench` extra: `docs/features.md` says how to get them."""
