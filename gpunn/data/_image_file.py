"""What is looked at in an image file before Pillow sees it.

A picture's pixels are bounded by its header. What stands beside them is not: a PNG's texts unpack to 64 MB, the tags
of a JPEG or a TIFF may all name the same bytes, which are copied for each of them. Pixels need none of that, so it is
left out or counted.
"""

from __future__ import annotations

import io
import os
import struct

from gpunn._files import open_file
from gpunn.errors import DataError

# Each is read by a piece of code of its own. Of the others some start programs (EPS: Ghostscript), and all are rare.
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Bytes of a value by its type, TIFF 6.0 section 2 and its supplements.
_TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TILE_WIDTH, _TILE_LENGTH = 322, 323


class Malformed(Exception):
    """The file is not what its first bytes say; the message says how."""


def pixels_of(path: str | os.PathLike[str], most: int | None) -> tuple[io.BytesIO, int]:
    """An image file's bytes without what no pixel needs, and how many pixels it may have.

    Parameters
    ----------
    path : path-like
    most : int or None
        What the user allows; None allows 2 million and five for four bytes of the file. A pixel takes up to eight
        bytes while it is decoded and converted, which makes ten times the file and 16 MB.

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
    allowed = 2_000_000 + len(raw) * 5 // 4 if most is None else most
    if raw.startswith(_PNG):
        raw = _png(raw)
    elif raw.startswith(b"\xff\xd8"):
        raw = _jpeg(raw)
    elif raw.startswith(_TIFF):
        _check_tiff(raw, allowed)
    return io.BytesIO(raw), allowed


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


def _jpeg(raw: bytes) -> bytes:
    """Without comments and applications' segments but JFIF's and Adobe's, which say what the colours are (T.81, B)."""
    kept, place = [raw[:2]], 2
    while place + 4 <= len(raw):
        if raw[place] != 0xFF:
            raise Malformed(f"it has no marker at byte {place}")
        marker = raw[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
            continue
        if marker == 0xDA:  # the scans: nothing but pixels from here on
            break
        (length,) = struct.unpack_from(">H", raw, place + 2)
        if length < 2:
            raise Malformed(f"it has a segment of {length} bytes")
        if marker in (0xE0, 0xEE) or not (0xE1 <= marker <= 0xEF or marker == 0xFE):
            kept.append(raw[place : place + 2 + length])
        place += 2 + length
    kept.append(raw[place:])
    return b"".join(kept)


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
