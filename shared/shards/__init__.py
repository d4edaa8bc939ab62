"""Outcomes on disk: shards that are written whole, never changed, and read through memory maps.

A shard is a folder `shard-<n>/`:
    outcomes.jsonl   one outcome per line: {"id", "kind", "at": {image name: byte offset in images.bin}, "digests", "meta"}
                     (outcomes.jsonl.gz where that is more than a quarter of the images)
    images.bin       raw little-endian pixels in C order, each distinct image once, 64-byte aligned
    index.json       {"v", "ids", "kinds", "digests", "numbers"}: what is in it, without parsing every line. numbers: ranges of
                     those that each worker gave its outcomes; "unnumbered": rows of outcomes without one (where missing: all)
Meta and images are the bytes that the outcome was encoded into where it was made. Version 1 knew no kinds: all are grasps.
It is written in a hidden folder, flushed to the disk and then renamed, so a reader never sees half a shard.

`shard-<first>-<last>-<generation>/` stands in place of all shards of these numbers from the moment that it is there: with those
of their outcomes that are kept, in their order. Its index tells besides which numbers the shards of its rows had ("origins":
[number, rows] ...), who numbered outcomes that are not kept any more ("numbers"), and how many those are ("removed").
"""

from shared.shards.names import UNFINISHED, current_names, shard_folders, shard_number, shard_span
from shared.shards.reader import DAMAGED_KIND, ShardError, ShardReader, ShardRow, digest, text_of
from shared.shards.rewriting import finish_removals, rewrite
from shared.shards.writer import Sender, ShardWriter, numbering, write_rows

__all__ = [
    "DAMAGED_KIND",
    "UNFINISHED",
    "Sender",
    "ShardError",
    "ShardReader",
    "ShardRow",
    "ShardWriter",
    "current_names",
    "digest",
    "finish_removals",
    "numbering",
    "rewrite",
    "shard_folders",
    "shard_number",
    "shard_span",
    "text_of",
    "write_rows",
]
