"""The little English grammar that the demo sentences need."""

from __future__ import annotations

from collections.abc import Sequence

_IRREGULAR_PLURALS = {
    "child": "children", "cod": "cod", "fish": "fish", "goose": "geese", "knife": "knives",
    "mouse": "mice", "pike": "pike", "salmon": "salmon", "sheep": "sheep", "trout": "trout",
    "tuna": "tuna",
}  # fmt: skip

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def words(text: str) -> tuple[str, ...]:
    """The words of a list that is written as one string."""
    return tuple(text.split())


def a(noun: str) -> str:
    """`noun` with its indefinite article.

    >>> a("apple"), a("pear")
    ('an apple', 'a pear')
    """
    return f"{'an' if noun[0] in 'aeiouAEIOU' else 'a'} {noun}"


def plural(noun: str) -> str:
    """The plural of `noun`.

    >>> [plural(noun) for noun in ("dog", "cherry", "bus", "potato", "mouse")]
    ['dogs', 'cherries', 'buses', 'potatoes', 'mice']
    """
    if noun in _IRREGULAR_PLURALS:
        return _IRREGULAR_PLURALS[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    if noun.endswith(("s", "sh", "ch", "x", "ato")):
        return f"{noun}es"
    return f"{noun}s"


def capital(text: str) -> str:
    """`text` with a capital first letter, the rest untouched."""
    return text[:1].upper() + text[1:]


def listing(items: Sequence[str]) -> str:
    """`items` with commas and an `and`.

    >>> listing(["Anna"]), listing(["Anna", "Ben"]), listing(["Anna", "Ben", "Clara"])
    ('Anna', 'Anna and Ben', 'Anna, Ben and Clara')
    """
    *front, last = items
    return f"{', '.join(front)} and {last}" if front else last


def number(value: int) -> str:
    """`value`, 0 to 99, in words.

    >>> number(7), number(40), number(42)
    ('seven', 'forty', 'forty-two')
    """
    if value < len(_ONES):
        return _ONES[value]
    tens, ones = divmod(value, 10)
    return f"{_TENS[tens]}-{_ONES[ones]}" if ones else _TENS[tens]
