"""PLY and PCD files to points (N, 3) float32. Every function raises only ImageError."""

import numpy as np

from grasp_client.imaging.clouds import points_of
from grasp_client.imaging.limits import ImageError

_PLY_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4", "double": "f8"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4"},
    "float64": "f8",
}
_PCD_TYPES = {"F": "f", "I": "i", "U": "u"}


def read_ply(data: bytes) -> np.ndarray:
    """The vertices of a PLY file, ASCII or binary, that come first in it."""
    header, found, body = data.partition(b"end_header")
    lines = [line.split() for line in header.decode("ascii", "replace").splitlines()]
    form = next((line[1] for line in lines if line[:1] == ["format"]), "")
    first = next((k for k, line in enumerate(lines) if line[:1] == ["element"]), len(lines))
    if not found or form not in ("ascii", "binary_little_endian", "binary_big_endian") or lines[first : first + 1] == []:
        raise _unreadable("PLY", "a header with format, element and end_header")
    fields: list[tuple[str, str]] = []
    order = ">" if form == "binary_big_endian" else "<"
    for line in lines[first + 1 :]:
        if line[:1] == ["element"]:
            break
        if line[:1] == ["property"] and len(line) == 3 and line[1] in _PLY_TYPES:
            fields.append((line[2], order + _PLY_TYPES[line[1]]))
    body = body[body.find(b"\n") + 1 :]
    count = lines[first][2] if len(lines[first]) == 3 and lines[first][1] == "vertex" else ""
    return _table("PLY", fields, body, count, form == "ascii")


def read_pcd(data: bytes) -> np.ndarray:
    """The points of a PCD file, `DATA ascii` or `binary`."""
    header: dict[str, list[str]] = {}
    rest = data
    while rest and "DATA" not in header:
        line, _, rest = rest.partition(b"\n")
        name, *words = line.decode("ascii", "replace").split() or ["#"]
        header[name] = words
    sizes, kinds = header.get("SIZE", []), header.get("TYPE", [])
    counts = header.get("COUNT") or ["1"] * len(sizes)
    form = header.get("DATA", [""])[0]
    if form not in ("ascii", "binary"):
        raise _unreadable("PCD", "DATA ascii or binary (not compressed: `pcl_convert_pcd_ascii_binary in.pcd out.pcd 1`)")
    fields = [
        (name if count == "1" else f"{name}{k}", f"<{_PCD_TYPES.get(kind, 'f')}{size}")
        for name, size, kind, count in zip(header.get("FIELDS", []), sizes, kinds, counts, strict=False)
        for k in range(int(count) if count.isdigit() else 1)
    ]
    return _table("PCD", fields, rest, (header.get("POINTS") or [""])[0], form == "ascii")


def _table(kind: str, fields: list[tuple[str, str]], body: bytes, count: str, text: bool) -> np.ndarray:
    names = [name for name, _ in fields]
    if not count.isdigit() or not {"x", "y", "z"} <= set(names):
        raise _unreadable(kind, "vertices first, with x, y and z")
    try:
        if text:
            rows = np.array([line.split()[: len(names)] for line in body.splitlines()[: int(count)]], dtype=np.float64)
            columns = [rows[:, names.index(axis)] for axis in "xyz"]
        else:
            table = np.frombuffer(body, np.dtype(fields), count=int(count))
            columns = [table[axis].astype(np.float64) for axis in "xyz"]
    except (ValueError, TypeError, IndexError) as error:
        raise _unreadable(kind, f"{count} complete rows of {' '.join(names)}") from error
    return points_of(np.stack(columns, axis=1))


def _unreadable(kind: str, expected: str) -> ImageError:
    return ImageError(400, "undecodable_cloud", f"the {kind} file cannot be read: expected {expected}")
