"""A COCO file as parts that are COCO files of their own (pure): some annotations, their images, all categories."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ingestion.formats.coco_annotations import LISTS, Flavour, flavours_in, one_flavour
from ingestion.formats.windows import Bytes, members
from lakesight.errors import FormatError


class _Ids(msgspec.Struct):
    id: Any = None
    image_id: Any = None


class _PlainIds(msgspec.Struct, gc=False):
    image_id: int
    id: int | None = None


@dataclass
class Survey:
    """What a file says besides its annotations, and what these are."""

    images: dict[bytes, list[bytes]] = field(default_factory=dict)
    """By the JSON of their id; of an id that comes again the records stay together, to be judged together."""
    categories: list[bytes] = field(default_factory=list)
    others: dict[str, bytes] = field(default_factory=dict)
    lists: set[str] = field(default_factory=set)
    flavour: Flavour = "instances"


def survey(data: Bytes, where: str, window: int, *, allow_orphans: bool) -> Survey:
    """All but the annotations; `window`: bytes in memory at a time.

    Raises:
        FormatError: no JSON object, annotations of images that the file does not list, or of several flavours.
    """
    rest, annotated = Survey(), set[bytes]()
    kinds: Counter[Flavour] = Counter()
    for key, text in members(data, LISTS, where, window):
        if key in LISTS and not text.startswith(b"["):
            _require_null_categories(key, text, where)
            continue
        rest.lists.add(key)
        if key == "images":
            for image in _items(text):
                rest.images.setdefault(_id_of(image), []).append(image)
        elif key == "categories":
            rest.categories += _items(text)
        elif key == "annotations":
            kinds += flavours_in(text)
            annotated |= set(_image_ids(text))
        else:
            rest.others[key] = text
    orphans = annotated - rest.images.keys()
    if orphans and not allow_orphans:
        raise FormatError(
            f"{len(orphans)} image(s) have annotations, and the file does not list them",
            where=f"{where}: image_id {', '.join(sorted(o.decode() for o in orphans)[:3])}",
            expected="every `image_id` of `annotations` in `images`",
            fix="correct the file, or set these annotations aside with --set ingest.allow_orphans=true",
        )
    rest.flavour = one_flavour(kinds, where)
    return rest


def _require_null_categories(key: str, text: bytes, where: str) -> None:
    """Captions have no categories, which some files say with a null."""
    if (key, text) != ("categories", b"null"):
        raise FormatError(
            f"the annotation file is JSON but not COCO: `{key}` is no list",
            where=where,
            expected="an object with the lists `images`, `annotations` and `categories`",
            fix="check --annotations",
        )


def parts(data: Bytes, rest: Survey, where: str, window: int) -> Iterator[tuple[bytes, int]]:
    """(COCO file, bytes done); the last has the images without annotations."""
    left = dict(rest.images)
    done = 0
    for key, text in members(data, LISTS, where, window):
        done += len(text)
        if key == "annotations":
            named = dict.fromkeys(_image_ids(text))
            yield _file(rest, [record for image in named for record in rest.images.get(image, [])], text), done
            for image in named:
                left.pop(image, None)
    if left or not done:
        yield _file(rest, [record for records in left.values() for record in records], b"[]"), len(data)


def _file(rest: Survey, images: Sequence[bytes], annotations: bytes) -> bytes:
    lists = {"images": _list(images), "annotations": annotations, "categories": _list(rest.categories)}
    stated = {key: value for key, value in (lists | rest.others).items() if key in rest.lists | rest.others.keys()}
    return b"{" + b",".join(msgspec.json.encode(key) + b":" + value for key, value in stated.items()) + b"}"


def _list(items: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


def _items(text: bytes) -> list[bytes]:
    return [bytes(raw) for raw in msgspec.json.decode(text, type=list[msgspec.Raw])]


def _image_ids(annotations: bytes) -> list[bytes]:
    """The image ids of a list of annotations, as JSON, without those of records whose ids are none: they go along."""
    try:
        plain = msgspec.json.decode(annotations, type=list[_PlainIds])
        return [_key(image_id) for image_id in dict.fromkeys(one.image_id for one in plain)]
    except msgspec.ValidationError:  # some record has no such ids, or is no object
        found = [one for item in _items(annotations) if (one := _ids(item))]
    return [_key(one.image_id) for one in found if _is_id(one.image_id) and (_is_id(one.id) or one.id is None)]


def _ids(record: bytes) -> _Ids | None:
    try:
        return msgspec.json.decode(record, type=_Ids)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _id_of(image: bytes) -> bytes:
    """The JSON of an image's id, or of the record that has none: it is refused where it is read."""
    one = _ids(image)
    return _key(one.id) if one and _is_id(one.id) else image


def _is_id(value: Any) -> bool:
    return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


def _key(value: float) -> bytes:
    return msgspec.json.encode(int(value))
