"""What is looked at in an image file before Pillow sees it.

A picture's pixels are bounded by its header. What stands beside them is not: a PNG's texts unpack to 64 MB, the tags
of a JPEG or a TIFF may all name the same bytes, which are copied for each of them. Pixels need none of that, so it is
left out or counted.
"""

from __future__ import annotations

import io
import os
import re
import struct
from typing import NamedTuple

from gpunn._files import open_file
from gpunn.errors import DataError, shortened

# Each is read by a piece of code of its own. Of the others some start programs (EPS: Ghostscript), and all are rare.
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_SEGMENTS, _SCANS = 1000, 100
_COMMENTS = 1000
_COLOURS = 1024
# Bytes that a pixel takes while it is decoded and converted: four, and four of the converted image. WebP's decoder has
# three more images of its own.
_BYTES, _WEBP_BYTES = 8, 18
_FREE = 15_500_000
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Bytes of a value by its type, TIFF 6.0 section 2 and its supplements.
_TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TILE_WIDTH, _TILE_LENGTH = 322, 323


class Malformed(Exception):
    """The file is not what its first bytes say; the message says how."""


class ImageFile(NamedTuple):
    """What may be decoded.

    Attributes
    ----------
    data : io.BytesIO
        The file without what no pixel needs.
    most_pixels : int
        How many it may have.
    by_rows : bool
        Whether it is a JPEG that is decoded row by row, and so takes less memory where it is decoded smaller.
    """

    data: io.BytesIO
    most_pixels: int
    by_rows: bool


def read_file(path: str | os.PathLike[str], most: int | None) -> ImageFile:
    """An image file's bytes without what no pixel needs, and how many pixels it may have.

    Parameters
    ----------
    path : path-like
    most : int or None
        What the user allows; None allows as many as decoding, converting and resizing can do in ten times the file
        and 16 MB.

    Raises
    ------
    DataError
        If the file cannot be read.
    Malformed
        If it is damaged so that this can be seen without decoding it.
    """
    try:
        with open_file(path) as file:
            raw = file.read()
    except FileNotFoundError as error:
        raise DataError(f"expected an image; there is no file {path}.") from error
    except OSError as error:
        raise DataError(f"{path}: expected an image; {error.strerror or error}.") from error
    size, each, by_rows = len(raw), float(_BYTES), False
    if raw.startswith(_PNG):
        raw = _png(raw)
    elif raw.startswith(b"\xff\xd8"):
        raw, beside = _jpeg(raw)
        each, by_rows = max(each, 4.5 + beside), not beside  # they are gone when it is converted
    elif raw.startswith(b"RIFF"):
        each = _WEBP_BYTES
    elif raw.startswith(b"BM"):
        _check_bmp(raw)
    elif raw.startswith((b"P1", b"P2", b"P3")):
        raw = _without_comments(raw)
    allowed = int((_FREE + 10 * size) / each) if most is None else most
    if raw.startswith(_TIFF):
        _check_tiff(raw, allowed)
    elif raw.startswith(b"RIFF"):
        width, height = _webp_size(raw)  # its decoder takes the memory for the image when it is opened
        if width * height > allowed:
            raise too_large(path, allowed, width, height)
    return ImageFile(io.BytesIO(raw), allowed, by_rows)


def too_large(path: str | os.PathLike[str], allowed: int, width: int, height: int) -> DataError:
    """The error for an image of too many pixels."""
    return DataError(
        f"{shortened(path, 250)}: expected at most {allowed:,} pixels in a file of this size; it has {width} x "
        f"{height}. Scale it down, or allow it with max_pixels= or --max-pixels."
    )


def _webp_size(raw: bytes) -> tuple[int, int]:
    """Width and height in the header of a WebP file (RFC 9649, section 2)."""
    kind, head = raw[12:16], raw[20:30]
    if len(head) == 10:
        if kind == b"VP8X":
            return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
        if kind == b"VP8L":
            bits = int.from_bytes(head[1:5], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        if kind == b"VP8 ":
            return int.from_bytes(head[6:8], "little") & 0x3FFF, int.from_bytes(head[8:10], "little") & 0x3FFF
    raise Malformed("it is no WebP")


def _png(raw: bytes) -> bytes:
    """The chunks that make pixels (PNG specification, third edition, section 5.3)."""
    kept, place = [_PNG], len(_PNG)
    while place + 8 <= len(raw):
        (length,) = struct.unpack_from(">I", raw, place)
        end = place + 12 + length
        if raw[place + 4 : place + 8] in _PNG_PIXELS:
            kept.append(raw[place:end])
        place = end
    return b"".join(kept)


def _jpeg(raw: bytes) -> tuple[bytes, float]:
    """Without comments and applications' segments but JFIF's and Adobe's, which say what the colours are (T.81, B).

    Also the bytes a pixel that the decoder keeps beside the image: where a scan does not hold all components, or not
    all of their bits, it collects the coefficients of the whole image, two bytes each.
    """
    kept, place, beside, components, progressive = [raw[:2]], 2, 0.0, 0, False
    while place + 4 <= len(raw):
        if raw[place] != 0xFF:
            raise Malformed(f"it has no marker at byte {place}")
        marker = raw[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
            continue
        (length,) = struct.unpack_from(">H", raw, place + 2)
        if length < 2:
            raise Malformed(f"it has a segment of {length} bytes")
        segment = raw[place : place + 2 + length]
        if marker == 0xDA:  # the scans: nothing but pixels from here on
            in_parts = len(segment) > 4 and segment[4] < components
            # Each walks through the whole image, however few bytes it has.
            if raw.count(b"\xff\xda", place) > _SCANS:
                raise Malformed(f"it has more than {_SCANS} scans")
            kept.append(raw[place:])
            return b"".join(kept), beside if in_parts or progressive else 0.0
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame's header
            progressive = marker & 3 == 2
            components, beside = _coefficients(segment)
        if marker in (0xE0, 0xEE) or not (0xE1 <= marker <= 0xEF or marker == 0xFE):
            kept.append(segment)
            if len(kept) > _SEGMENTS:
                raise Malformed(f"it has more than {_SEGMENTS} segments before its pixels")
        place += 2 + length
    raise Malformed("it ends before its pixels")


def _coefficients(frame: bytes) -> tuple[int, float]:
    """Components, and bytes of coefficients a pixel, of a JPEG frame's header."""
    if len(frame) < 10 or len(frame) < 10 + 3 * frame[9]:
        raise Malformed("it has a header of a frame that is cut short")
    factors = [(frame[at] >> 4, frame[at] & 15) for at in range(11, 10 + 3 * frame[9], 3)]
    blocks = max((h for h, _ in factors), default=1) * max((v for _, v in factors), default=1)
    return frame[9], 2 * sum(h * v for h, v in factors) / max(1, blocks)


def _check_bmp(raw: bytes) -> None:
    """Refuse a palette that takes Pillow seconds: its length is a number in the header, whatever follows."""
    (header,) = struct.unpack_from("<I", raw.ljust(50, b"\0"), 14)
    (colours,) = struct.unpack_from("<I", raw.ljust(50, b"\0"), 46)
    if header >= 36 and colours > _COLOURS:
        raise Malformed(f"it states a palette of {colours} colours; one byte a pixel tells 256")


def _without_comments(raw: bytes) -> bytes:
    """A PPM whose pixels are text: Pillow copies all that follows for each comment."""
    if raw.count(b"#") > _COMMENTS:
        raise Malformed(f"it has more than {_COMMENTS} comments")
    return re.sub(rb"#[^\r\n]*", b"", raw)


def _check_tiff(raw: bytes, allowed: int) -> None:
    """Refuse tags that share bytes and tiles larger than any image that is read."""
    if raw[2:4] in (b"+\0", b"\0+"):
        raise Malformed("it is a BigTIFF; save it as TIFF or PNG")
    order = "<" if raw[:2] == b"II" else ">"
    try:
        (place,) = struct.unpack_from(f"{order}I", raw, 4)
        (count,) = struct.unpack_from(f"{order}H", raw, place)
    except struct.error as error:
        raise Malformed("it ends before its tags") from error
    taken, tile = 0, [0, 0]
    if place + 2 + 12 * count > len(raw):
        raise Malformed("it ends within its tags")
    for start in range(place + 2, place + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(f"{order}HHI", raw, start)
        length = _TIFF_BYTES.get(kind, 8) * values
        if length > 4 and struct.unpack_from(f"{order}I", raw, start + 8)[0] + length > len(raw):
            raise Malformed(f"it ends before the value of its tag {tag}")
        taken += length
        if tag in (_TILE_WIDTH, _TILE_LENGTH):
            tile[tag - _TILE_WIDTH] = struct.unpack_from(order + ("H" if kind == 3 else "I"), raw, start + 8)[0]
    if taken > len(raw) + 4 * count:
        raise Malformed(f"its tags take {taken} bytes of {len(raw)}")
    if tile[0] * tile[1] > max(allowed, 1 << 16):
        raise Malformed(f"its tiles have {tile[0]} x {tile[1]} pixels; it may have {allowed} in all")
