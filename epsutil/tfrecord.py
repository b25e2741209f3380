"""Read TensorFlow's record files and protocol buffers without TensorFlow.

A record file is a sequence of records: length (8 bytes), its checksum (4), data, its checksum (4),
numbers little-endian. The checksums are not compared: a source's SHA-256 covers the whole file.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from epsutil.sources import SourceError


def read(file: Path) -> Iterator[bytes]:
    """Yield the data of each record of a file.

    Raises
    ------
    epsutil.sources.SourceError
        The file ends within a record.
    """
    size = file.stat().st_size
    with (
        file.open("rb") as stream,
        tqdm(
            desc=file.name, total=size, unit="B", unit_scale=True, leave=False, delay=2
        ) as progress,
    ):
        while head := stream.read(12):
            length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else size
            if stream.tell() + length + 4 > size:
                raise SourceError(f"{file} is truncated or no record file: its last record is cut")
            yield stream.read(length)
            stream.read(4)
            progress.update(12 + length + 4)


def fields(message: bytes) -> dict[int, list[Any]]:
    """Return the values of a protocol buffer's fields, in order, by the fields' numbers.

    Sub-messages and texts stay bytes, 64-bit numbers are read as floats.

    Raises
    ------
    ValueError
        The message is cut, or holds a kind of field that none of our benchmarks has.
    """
    found: dict[int, list[Any]] = {}
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        value: Any
        if tag & 7 == 0:
            value, place = _varint(message, place)
        elif tag & 7 == 1:
            (value,) = struct.unpack("<d", message[place : place + 8].ljust(8))
            place += 8
        elif tag & 7 == 2:
            length, place = _varint(message, place)
            value, place = message[place : place + length], place + length
        else:
            raise ValueError(f"a field of wire type {tag & 7}")
        if place > len(message):
            raise ValueError("the message is cut")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """Read a number in base 128, lowest digit first; return it and where it ends."""
    number = shift = 0
    while place < len(message):
        byte = message[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return number, place
    raise ValueError("the message is cut")
