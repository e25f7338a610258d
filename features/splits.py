"""Which images go to train and which to val, where nobody has said so (pure).

Images that show nearly the same - equal pixels, close dhash, one burst or camera by a key of the user's - form a group
and stay together: a copy of a training image in val would be graded as if it were new.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from hashlib import sha256
from itertools import combinations

FLAT = {0, 2**64 - 1}
"""dhashes of pictures without structure: they are equal without the pictures being so."""


def group(
    pixel_hashes: Sequence[str], keys: Sequence[Hashable | None], dhashes: Sequence[str | None], bits: int | None
) -> list[int]:
    """Of each image, the number of its group: linked by equal pixels, equal key (not None), or dhash.

    `dhashes`: 64 bits, hex; linked if at most `bits` differ (None: not by dhash).
    """
    parent = list(range(len(pixel_hashes)))
    for first, second in _links(pixel_hashes, keys, dhashes, bits):
        low, high = sorted((_root(parent, first), _root(parent, second)))
        parent[high] = low
    return [_root(parent, image) for image in range(len(parent))]


def _root(parent: list[int], image: int) -> int:
    while parent[image] != image:
        parent[image] = parent[parent[image]]
        image = parent[image]
    return image


def _links(
    pixel_hashes: Sequence[str], keys: Sequence[Hashable | None], dhashes: Sequence[str | None], bits: int | None
) -> Iterable[tuple[int, int]]:
    yield from _equal(pixel_hashes)
    yield from _equal(keys)
    if bits is None:
        return
    codes = [None if text is None or int(text, 16) in FLAT else int(text, 16) for text in dhashes]
    yield from _equal(codes)
    # Codes that differ in at most `bits` bits are equal in one of `bits + 1` bands.
    first_with = {code: image for image, code in reversed(list(enumerate(codes))) if code is not None}
    width = -(-64 // (bits + 1))
    for band in range(bits + 1 if bits else 0):
        buckets: dict[int, list[int]] = defaultdict(list)
        for code in first_with:
            buckets[code >> (band * width) & (1 << width) - 1].append(code)
        for bucket in buckets.values():
            for one, other in combinations(bucket, 2):
                if (one ^ other).bit_count() <= bits:
                    yield first_with[one], first_with[other]


def _equal(values: Sequence[Hashable | None]) -> Iterable[tuple[int, int]]:
    seen: dict[Hashable, int] = {}
    for image, value in enumerate(values):
        if value is not None:
            yield seen.setdefault(value, image), image


def deal(groups: Sequence[int], pixel_hashes: Sequence[str], shares: Sequence[float]) -> list[int]:
    """Of each image, its bin (0-based): by the pixel hashes of its group alone, so that new images move none.

    `shares`: of each bin, adding up to 1.
    """
    where = {name: _place(hash_, shares) for name, hash_ in _name(groups, pixel_hashes).items()}
    return [where[group] for group in groups]


def _name(groups: Sequence[int], pixel_hashes: Sequence[str]) -> dict[int, str]:
    """Of each group, hex digits that are evenly spread: its pixel hash; of several hashes the least, hashed again.

    The least of several is small more often than not.
    """
    hashes: dict[int, set[str]] = defaultdict(set)
    for group, hash_ in zip(groups, pixel_hashes, strict=True):
        hashes[group].add(hash_)
    return {
        group: next(iter(some)) if len(some) == 1 else sha256(min(some).encode()).hexdigest()
        for group, some in hashes.items()
    }


def _place(hash_: str, shares: Sequence[float]) -> int:
    point, end = int(hash_[:8], 16) / 2**32, 0.0
    for number, share in enumerate(shares):
        end += share
        if point < end:
            return number
    return len(shares) - 1


def deal_stratified(
    groups: Sequence[int], pixel_hashes: Sequence[str], labels: Sequence[Sequence[int]], shares: Sequence[float]
) -> list[int]:
    """Of each image, its bin: every class is spread as `shares` say, as far as groups allow; rare classes go first.

    `labels`: of each image, its classes, once a box. Iterative stratification (Sechidis et al. 2011) over groups. New
    images may move others: pin a split by stating it.
    """
    content: dict[int, Counter[int]] = {group: Counter() for group in groups}
    for group, classes in zip(groups, labels, strict=True):
        content[group].update(classes)
        content[group][_IMAGE] += 1
    total = sum(content.values(), Counter())
    wanted = [{label: share * count for label, count in total.items()} for share in shares]
    names = _name(groups, pixel_hashes)
    where: dict[int, int] = {}
    for group in sorted(content, key=lambda g: (min(total[label] for label in content[g]), names[g])):
        rarest = min(content[group], key=lambda label: (total[label], label))
        bins = range(len(shares))
        where[group] = max(bins, key=lambda b: (wanted[b][rarest], wanted[b][_IMAGE], -b))
        for label, count in content[group].items():
            wanted[where[group]][label] -= count
    return [where[group] for group in groups]


_IMAGE = -1
"""Counts images beside the classes: an image without boxes is spread as well."""


def leaks(groups: Sequence[int], splits: Sequence[str]) -> list[int]:
    """Groups that lie in more than one split, in order."""
    found: dict[int, set[str]] = defaultdict(set)
    for group, split in zip(groups, splits, strict=True):
        found[group].add(split)
    return sorted(group for group, names in found.items() if len(names) > 1)


def choose(groups: Sequence[int], stated: Sequence[str | None], bins: Sequence[int], val_bin: int) -> list[str]:
    """Of each image its split: as stated; else as the first stated one of its group; else val in `val_bin`."""
    of_group: dict[int, str] = {}
    for group, split in zip(groups, stated, strict=True):
        if split is not None:
            of_group.setdefault(group, split)
    dealt = ("val" if number == val_bin else "train" for number in bins)
    return [split or of_group.get(group, default) for group, split, default in zip(groups, stated, dealt, strict=True)]
