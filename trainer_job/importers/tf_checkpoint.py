"""Reads TensorFlow-1 checkpoints (`<prefix>.index`, `<prefix>.data-*`) without TensorFlow.

The index is a LevelDB table (sorted keys with shared prefixes, blocks of contents, compression byte and masked CRC-32C) from
tensor names to BundleEntryProto messages: dtype, shape, shard, offset, size, CRC-32C. The data files hold raw little-endian
tensors. Format: tensorflow/core/protobuf/tensor_bundle.proto and LevelDB's doc/table_format.md.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

FOOTER, MAGIC = 48, 0xDB4775248B80FB57
DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2"}


class CheckpointError(ValueError):
    """The checkpoint is damaged or of a kind that is not supported."""


@dataclass
class Entry:
    """Where one tensor lies."""

    dtype: int = 0
    shape: list[int] = field(default_factory=list)
    shard: int = 0
    offset: int = 0
    size: int = 0
    checksum: int = 0


def read_checkpoint(prefix: Path | str) -> dict[str, np.ndarray]:
    """Tensors by name of the checkpoint `<prefix>.index`. Raises CheckpointError, or OSError for a missing file."""
    prefix = Path(prefix)
    pairs = list(_table(prefix.with_name(prefix.name + ".index").read_bytes()))
    if not pairs or pairs[0][0] != b"":
        raise CheckpointError(f"{prefix}.index has no bundle header: is it a TensorFlow checkpoint index?")
    header = {number: value for number, value in _fields(pairs[0][1]) if isinstance(value, int)}
    if header.get(2, 0):
        raise CheckpointError(f"{prefix}: big-endian checkpoints are not supported")
    shards = header.get(1, 1)
    data = [prefix.with_name(f"{prefix.name}.data-{k:05d}-of-{shards:05d}").read_bytes() for k in range(shards)]
    return {name.decode(): _tensor(name.decode(), _entry(value), data) for name, value in pairs[1:]}


def _tensor(name: str, entry: Entry, data: list[bytes]) -> np.ndarray:
    if entry.dtype not in DTYPES:
        raise CheckpointError(f"{name}: unsupported TensorFlow dtype {entry.dtype}; expected one of {sorted(DTYPES)}")
    raw = data[entry.shard][entry.offset : entry.offset + entry.size]
    if len(raw) != entry.size or _masked_crc(raw) != entry.checksum:
        raise CheckpointError(f"{name}: the data file is truncated or damaged (its checksum does not fit)")
    return np.frombuffer(raw, DTYPES[entry.dtype]).reshape(entry.shape)


def _entry(message: bytes) -> Entry:
    entry = Entry()
    for number, value in _fields(message):
        if number == 2 and isinstance(value, bytes):
            entry.shape = [_dimension(size) for key, size in _fields(value) if key == 2 and isinstance(size, bytes)]
        elif isinstance(value, int) and number in (1, 3, 4, 5, 6):
            setattr(entry, {1: "dtype", 3: "shard", 4: "offset", 5: "size", 6: "checksum"}[number], value)
    return entry


def _dimension(message: bytes) -> int:
    return next((value for number, value in _fields(message) if number == 1 and isinstance(value, int)), 0)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Protobuf wire format: (field number, value) of each field."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
        elif kind == 2:
            length, at = _varint(message, at)
            yield tag >> 3, message[at : at + length]
            at += length
        elif kind in (1, 5):
            width = 8 if kind == 1 else 4
            yield tag >> 3, int.from_bytes(message[at : at + width], "little")
            at += width
        else:
            raise CheckpointError(f"unexpected protobuf wire type {kind}")


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) pairs of a LevelDB table, in order."""
    footer = data[-FOOTER:]
    if len(data) < FOOTER or struct.unpack("<Q", footer[-8:])[0] != MAGIC:
        raise CheckpointError("not a TensorFlow checkpoint index: the table's magic number is missing")
    _, at = _handle(footer, 0)
    index, _ = _handle(footer, at)
    for _, value in _block(data, *index):
        block, _ = _handle(value, 0)
        yield from _block(data, *block)


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Entries of one block: each key repeats a prefix of the one before it; a list of restart points ends the block."""
    end = offset + size
    if end + 5 > len(data):
        raise CheckpointError("the index is truncated")
    if data[end]:
        raise CheckpointError(f"compressed index blocks (type {data[end]}) are not supported; TensorFlow writes plain ones")
    if _masked_crc(data[offset : end + 1]) != int.from_bytes(data[end + 1 : end + 5], "little"):
        raise CheckpointError("the index is damaged (its checksum does not fit)")
    block = data[offset:end]
    restarts = int.from_bytes(block[-4:], "little")
    at, stop, key = 0, len(block) - 4 * (restarts + 1), b""
    while at < stop:
        shared, at = _varint(block, at)
        unshared, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + unshared]
        at += unshared
        yield key, block[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data):
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise CheckpointError("the index is truncated inside a number")


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _crc_table()


def _masked_crc(data: bytes) -> int:
    """CRC-32C, rotated and offset as LevelDB stores it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
