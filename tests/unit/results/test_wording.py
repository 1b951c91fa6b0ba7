import pytest

from taskdepth.results.wording import spans


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([3], "3"), ([0, 1, 2, 5], "0–2, 5"), ([5, 4, 9], "4–5, 9"), ([1, 3, 5], "1, 3, 5")],
)
def test_spans(numbers: list[int], text: str) -> None:
    assert spans(numbers) == text
