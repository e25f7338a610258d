"""A TFRecord file -> the features of its `tf.train.Example`s (pure): `lakesight ingest tfrecord`. No TensorFlow.

A record is the length of its data (8 bytes), a checksum of these, the data, and a checksum of that. Sources:
tensorflow/core/lib/io/record_writer.h (framing), tensorflow/core/example/example.proto and feature.proto.
"""

import struct
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple, Protocol, TypeAlias

from ingestion.formats.broken import Broken

MAX_RECORD_BYTES = 2**30
"""What a record may say of its length."""
HEAD_BYTES = 12
TAIL_BYTES = 4
"""Of a record, around its data."""


class Bytes(Protocol):
    """A file opened for reading."""

    def read(self, size: int, /) -> bytes:
        """So many bytes, or as many as there are."""
        ...

    def seek(self, offset: int, /) -> int:
        """Go to a place, counted in bytes (of a packed file: unpacked)."""
        ...


Values: TypeAlias = list[bytes] | list[float] | list[int]
Features: TypeAlias = dict[str, Values]


class Record(NamedTuple):
    """A record, or what is wrong with it; where in its file it begins, and the checksum of its data."""

    features: Features | Broken
    offset: int = 0
    checksum: bytes = b""


def records(file: Bytes) -> Iterator[Record]:
    """All records from the file's beginning on; behind a length that is wrong nothing can be read."""
    offset = 0
    while True:
        try:
            data = _data(file)
        except (OSError, EOFError, zlib.error) as error:  # the latter two: gzip's
            yield Record(Broken(f"the file cannot be read any further: {error}"))
            return
        except Broken as error:
            yield Record(error)
            return
        if data is None:
            return
        yield Record(_features(*data), offset, data[1])
        offset += HEAD_BYTES + len(data[0]) + TAIL_BYTES


def features_at(file: Bytes, offset: int, checksum: bytes) -> Features:
    """The features of the record that begins at `offset`.

    Raises:
        Broken: there is none, or another one.
        OSError, EOFError, zlib.error: the file cannot be read.
    """
    file.seek(offset)
    data = _data(file)
    if data is None or data[1] != checksum:
        raise Broken("the file has changed since its images were read")
    features = _features(*data)
    if isinstance(features, Broken):
        raise features
    return features


def _data(file: Bytes) -> tuple[bytes, bytes] | None:
    """(a record's data, the checksum it should have); None: the file has ended."""
    head = file.read(HEAD_BYTES)
    if not head:
        return None
    if len(head) < HEAD_BYTES:
        raise Broken("the file is cut short: it ends in the length of this record")
    if not is_head(head):
        raise Broken("its length has another checksum, so the rest of the file cannot be read")
    (length,) = struct.unpack("<Q", head[:8])
    if length > MAX_RECORD_BYTES:
        raise Broken(f"it has more than {MAX_RECORD_BYTES:,} bytes, and the rest of the file is not read")
    data = file.read(length + TAIL_BYTES)
    if len(data) < length + TAIL_BYTES:
        raise Broken(f"the file is cut short: {length + TAIL_BYTES:,} bytes should follow, and {len(data):,} do")
    return data[:length], data[length:]


def is_head(head: bytes) -> bool:
    """Whether these bytes are a length and its checksum."""
    return len(head) == HEAD_BYTES and _checksum(head[:8]) == head[8:]


def _features(data: bytes, checksum: bytes) -> Features | Broken:
    from google.protobuf.message import DecodeError

    if _checksum(data) != checksum:
        return Broken("it has another checksum: some of its bytes are not as they were written")
    try:
        features = _example_class().FromString(data).features.feature
    except (DecodeError, UnicodeDecodeError):
        return Broken("it is no tf.train.Example")
    return {one.key: _values(one.value) for one in features}


def _values(feature: Any) -> Values:
    kind = feature.WhichOneof("kind")
    return list(getattr(feature, kind).value) if kind else []


def _checksum(data: bytes) -> bytes:
    """CRC-32C, turned right by 15 bits, and a constant added."""
    import google_crc32c

    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


@cache
def _example_class() -> Any:
    """The class of `tf.train.Example`, from its definition in code: nothing is generated, and no name is taken."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    package = "lakesight.tfrecord"
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")

    def add(to: Any, name: str, number: int, kind: int | str, *, many: bool = False, **more: Any) -> None:
        typed = {"type": kind} if isinstance(kind, int) else {"type": field.TYPE_MESSAGE, "type_name": kind}
        to.field.add(
            name=name, number=number, label=field.LABEL_REPEATED if many else field.LABEL_OPTIONAL, **typed, **more
        )

    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    lists = {"Bytes": field.TYPE_BYTES, "Float": field.TYPE_FLOAT, "Int64": field.TYPE_INT64}
    for number, (name, kind) in enumerate(lists.items(), start=1):
        add(file.message_type.add(name=f"{name}List"), "value", 1, kind, many=True)
        add(feature, f"{name.lower()}_list", number, f".{package}.{name}List", oneof_index=0)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")  # as a map is written
    add(entry, "key", 1, field.TYPE_STRING)
    add(entry, "value", 2, f".{package}.Feature")
    add(features, "feature", 1, f".{package}.Features.FeatureEntry", many=True)
    add(file.message_type.add(name="Example"), "features", 1, f".{package}.Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Example"))
