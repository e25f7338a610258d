"""Offending images as one HTML page that needs nothing else: thumbnails in it, boxes drawn over them (pure)."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from PIL import Image

from lakesight.decode import to_rgb

SIDE = 320
"""Pixels of a thumbnail's longer side."""
_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--paper:#fff;--frame:#eef1f4}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa4af;--paper:#14181d;--frame:#22282f}}
body{font:14px/1.4 system-ui,sans-serif;margin:2rem auto;padding:0 1rem;max-width:1100px;color:var(--ink);
background:var(--paper);overflow-wrap:anywhere}
h2{margin:2rem 0 .2rem;font-size:1.05rem}p{margin:.1rem 0 .6rem;color:var(--soft)}
.row{display:grid;grid-template-columns:repeat(auto-fill,minmax(200px,1fr));gap:12px}figure{margin:0;min-width:0}
svg,.none{width:100%;height:190px;background:var(--frame);display:block}
.none{display:flex;align-items:center;justify-content:center;color:var(--soft)}
figcaption{font-size:12px;overflow-wrap:anywhere;margin-top:4px}
.tag{border-radius:3px;padding:0 5px;color:#fff;font-size:12px}.error{background:#c62828}.warn{background:#b26a00}
.info{background:#456}.quarantine{background:#5b3f8c}
rect{fill:none;vector-effect:non-scaling-stroke;stroke:#35d05a;stroke-width:1.5}
rect.bad{stroke:#ff3b30;stroke-width:3}
"""


@dataclass(frozen=True)
class Box:
    """`xywh` in pixels of the stored image; `bad`: the one that breaks the rule."""

    xywh: tuple[float, float, float, float]
    bad: bool


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One offender: `content` are the bytes of its image, None where there are none to be had."""

    name: str
    observed: str
    content: bytes | None
    boxes: tuple[Box, ...] = ()
    quarantined: bool = False


@dataclass(frozen=True, kw_only=True)
class Section:
    """A rule and some of what breaks it."""

    rule: str
    severity: str
    message: str
    fix: str
    count: int
    pictures: tuple[Picture, ...]


def page(title: str, sections: Sequence[Section], max_pixels: int) -> str:
    """The page; images of more than `max_pixels` are not decoded."""
    body = "".join(_section(section, max_pixels) for section in sections) or "<p>No rule is broken.</p>"
    view = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head = f"{view}<title>{escape(title)}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body><h1>{escape(title)}</h1>{body}</body></html>\n"


def _section(section: Section, max_pixels: int) -> str:
    tag = f'<span class="tag {section.severity}">{section.severity}</span>'
    figures = "".join(_figure(picture, max_pixels) for picture in section.pictures)
    return (
        f"<h2>{tag} {escape(section.rule)}: {section.count:,}</h2>"
        f'<p>{escape(section.message)}. To do: {escape(section.fix)}.</p><div class="row">{figures}</div>'
    )


def _figure(picture: Picture, max_pixels: int) -> str:
    refused = '<span class="tag quarantine">quarantine</span> ' if picture.quarantined else ""
    caption = f"{refused}<b>{escape(picture.name)}</b><br>{escape(picture.observed)}"
    return f"<figure>{_drawing(picture, max_pixels)}<figcaption>{caption}</figcaption></figure>"


def _drawing(picture: Picture, max_pixels: int) -> str:
    small = thumbnail(picture.content, max_pixels) if picture.content else None
    if small is None:
        return '<div class="none">no picture to show</div>'
    data, width, height = small
    href = "data:image/jpeg;base64," + base64.b64encode(data).decode()
    image = f'<image href="{href}" width="{width}" height="{height}" preserveAspectRatio="none"/>'
    # Boxes that are wrong may lie outside: they are shown as far as there is room beside the image.
    return f'<svg viewBox="0 0 {width} {height}">{image}{"".join(map(_rect, picture.boxes))}</svg>'


def _rect(box: Box) -> str:
    if not all(map(math.isfinite, box.xywh)):
        return ""
    x, y, width, height = box.xywh
    kind = ' class="bad"' if box.bad else ""
    # A box without extent is drawn as a line.
    return f'<rect{kind} x="{x:g}" y="{y:g}" width="{max(width, 0.5):g}" height="{max(height, 0.5):g}"/>'


def thumbnail(content: bytes, max_pixels: int) -> tuple[bytes, int, int] | None:
    """(JPEG of the first frame, width and height of the image in stored pixels), or None if it does not decode."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
            if width * height > max_pixels:
                return None
            image.draft("RGB", (SIDE, SIDE))
            small = Image.fromarray(to_rgb(image))
    except Exception:  # Pillow's decoders raise every kind there is; such an image is shown as none
        return None
    small.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=80)
    return out.getvalue(), width, height
