"""What is stored already: gaps of workers' numbers, and the last ids of those who have none."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from block_world import block_outcome
from hypothesis import given
from hypothesis import strategies as st
from properties import examples

from shared.outcome_codec import encode_outcome
from shared.shards import ShardReader, ShardWriter
from trainer_job.ingest.marks import Marks


@examples(200)
@given(spans=st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 30), st.integers(0, 5)), max_size=20))
def test_exactly_the_numbers_that_came_are_known_in_whatever_order(spans: list[tuple[str, int, int]]) -> None:
    marks, stored = Marks(), set()
    for worker, first, more in spans:
        marks.add_range(worker, first, first + more)
        stored |= {(worker, number) for number in range(first, first + more + 1)}
    asked = {(worker, number) for worker in "abc" for number in range(1, 40)}
    assert {sender for sender in asked if marks.knows("x", sender)} == stored
    for ranges in marks._ranges.values():
        assert all(low[1] + 1 < high[0] for low, high in pairwise(ranges)), "as few as there are gaps"


def test_a_worker_without_gaps_takes_one_range_however_much_it_sends() -> None:
    marks = Marks()
    for number in range(1, 10_001):
        marks.add(f"w:{number}:0", ("w", number))
    assert marks._ranges == {"w": [[1, 10_000]]}
    assert marks._ids == {}


def test_ids_without_a_number_are_known_to_the_edge_of_the_window() -> None:
    marks = Marks(window=3)
    for name in "abcd":
        marks.add(name, None)
    assert [marks.knows(name, None) for name in "abcd"] == [False, True, True, True]
    marks.add("b", None)  # seen again: it is the newest now
    marks.add("e", None)
    assert [marks.knows(name, None) for name in "bcde"] == [True, False, True, True]


def test_shards_tell_who_numbered_what(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path)
    outcomes = [encode_outcome(block_outcome(i)) for i in range(5)]
    shard = writer.write(outcomes, [("a", 1), ("a", 2), None, ("b", 7), ("a", 4)])
    reader = ShardReader(shard)
    assert (reader.numbers, reader.unnumbered) == ({"a": [(1, 2), (4, 4)], "b": [(7, 7)]}, [2])
    marks = Marks()
    marks.add_shard(reader)
    senders = [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("b", 6), ("b", 7), None]
    assert [marks.knows("x", sender) for sender in senders] == [True, True, False, True, False, True, False]
    assert marks.knows(outcomes[2].id, None)
