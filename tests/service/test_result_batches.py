"""Batches of lines keep every line, and come out in the order of line numbers."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from overnight.service.result_batches import LineBatch, merged

Models = dict[int, list[int]]


def batches(numbers: list[int], size: int) -> Iterator[LineBatch]:
    for start in range(0, len(numbers), size):
        part = numbers[start : start + size]
        failed = {number for number in part if number % 7 == 0}
        yield LineBatch(part, [b"%d" % number for number in part], failed)


@given(st.lists(st.integers(0, 5), max_size=400), st.integers(1, 90))
def test_models_are_merged_line_by_line(model_of: list[int], size: int) -> None:
    models: Models = {}
    for number, model in enumerate(model_of, 1):
        models.setdefault(model, []).append(number)

    merged_batches = list(merged([batches(numbers, size) for numbers in models.values()]))

    numbers = [number for batch in merged_batches for number in batch.numbers]
    assert numbers == list(range(1, len(model_of) + 1))
    assert [line for batch in merged_batches for line in batch.lines] == [
        b"%d" % n for n in numbers
    ]
    divided = [batch.divided() for batch in merged_batches]
    failed = [b"%d" % number for number in numbers if number % 7 == 0]
    assert [line for _, failures in divided for line in failures] == failed
    assert sum(len(successes) for successes, _ in divided) == len(numbers) - len(failed)


def test_many_models_are_merged_a_few_lines_at_a_time() -> None:
    models = [batches(list(range(1 + model, 50_001, 50)), 1_000) for model in range(50)]
    sizes = [len(batch.lines) for batch in merged(models)]
    assert sum(sizes) == 50_000
    assert max(sizes) <= 50 * 64


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(1, 100))
def test_parts_are_the_batch(line_bytes: list[int], part_bytes: int) -> None:
    lines = [bytes(size) for size in line_bytes]
    batch = LineBatch(range(len(lines)), lines, set())
    parts = list(batch.in_parts(part_bytes))
    assert [line for part in parts for line in part.lines] == lines
    assert [number for part in parts for number in part.numbers] == list(batch.numbers)
