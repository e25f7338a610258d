"""The members of a COCO file (pure): its lists in pieces, all else whole; what is no COCO is refused."""

from collections.abc import Iterator

from ingestion.formats.coco_annotations import LISTS, Flavour
from ingestion.formats.shallow import DEEPEST, TOO_DEEP
from ingestion.formats.windows import PIECE, Bytes, Decoders, Piece, members
from lakesight.errors import FormatError

LEFT_OUT = TOO_DEEP.decode(errors="replace").encode()
KINDS = {b"{": "object", b'"': "str", b"t": "bool", b"f": "bool", b"n": "null"}


def coco_members(data: Bytes, where: str, decoders: Decoders, size: int = PIECE) -> Iterator[Piece]:
    """The members of the object; a list of `LISTS`, each of which has a decoder, as pieces of `size` bytes.

    Raises:
        FormatError: no JSON object, a list is none, or `images` is missing. COCO's own lists of images to be tested on
            have no `annotations`.
    """
    if data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        raise _no_coco("Expected `object`, got `array`", where, "see `lakesight import-detections` for COCO results")
    has_images = False
    for piece in members(data, decoders, where, size):
        has_images |= piece.key == "images"
        if piece.key not in LISTS or piece.text.startswith(b"["):
            yield piece
        elif (piece.key, piece.text) != ("categories", b"null"):  # captions have none, which some files say so
            kind = KINDS.get(piece.text[:1], "float" if b"." in piece.text else "int")
            raise _no_coco(f"Expected `array`, got `{kind}` - at `$.{piece.key}`", where)
    if not has_images:
        raise _no_coco("Object missing required field `images`", where)


def left_out(piece: Piece) -> list[str]:
    """A note, if a part of a member of the whole file was nested too deeply to be kept."""
    if LEFT_OUT not in piece.text:
        return []
    return [f"`{piece.key}` of the file is nested more than {DEEPEST} deep: what is deeper is left out"]


def require_categories(stated: bool, flavour: Flavour, where: str) -> None:
    """All but captions have a class.

    Raises:
        FormatError: the file states no categories, and should.
    """
    if not stated and flavour != "captions":
        raise _no_coco("Object missing required field `categories`", where)


def _no_coco(why: str, where: str, fix: str = "check --annotations") -> FormatError:
    return FormatError(
        f"the annotation file is JSON but not COCO: {why}",
        where=where,
        expected="an object with the lists `images`, `categories` and, where there are any, `annotations`",
        fix=fix,
    )
