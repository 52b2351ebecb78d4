"""Plain words are told from others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoharness.benchmarks.leaks.vocabulary import is_function_word, is_plain, is_usual_pair, words_in

PLAIN = (
    "customer cancellations carefully policies unfortunately verified reservation payment retry kwargs prefix the der"
)
ODD = "xqjz lusab babad a1b2 hspx aGVsbG8 qwrt bestellnummer"


@pytest.mark.parametrize("word", PLAIN.split())
def test_words_of_english_and_python_are_plain(word: str) -> None:
    assert is_plain(word)


@pytest.mark.parametrize("word", ODD.split())
def test_other_letters_in_a_row_are_not(word: str) -> None:
    assert not all(map(is_plain, words_in(word)))


def test_names_are_taken_apart() -> None:
    assert words_in("getUserDetails get_user_details HTTPServer x1 Grüße") == [
        *("get", "user", "details", "get", "user", "details", "http", "server", "x", "grüße")
    ]


def test_function_words_follow_each_other_as_in_english() -> None:
    assert all(map(is_function_word, ["the", "of", "is", "der", "les"])) and not is_function_word("order")
    assert is_usual_pair("of", "the") and is_usual_pair("don", "t") and is_usual_pair("in", "der")
    assert not is_usual_pair("the", "of") and not is_usual_pair("is", "and") and not is_usual_pair("the", "der")


@given(st.text())
def test_any_text_has_words(text: str) -> None:
    assert all(isinstance(is_plain(word), bool) for word in words_in(text))
