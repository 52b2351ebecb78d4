"""No key and no address of a provider stands in a text that leaves the worker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoharness.core.redaction import _without_parts, printable, scrubbed, without_whole_keys

KEY = "sk-ant-Zq4mB7xW2nLk9RtY"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", KEY)
    monkeypatch.setenv("LOCAL_API_KEY", "none")
    monkeypatch.setenv("SOME_API_BASE", "http://10.1.2.3:8000/v1")
    monkeypatch.setenv("FORGOTTEN_ENDPOINT", "http://[your-host]/v1")
    monkeypatch.setenv("UNFINISHED_BASE_URL", "http://[your-host")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"Incorrect API key provided: {KEY}.", "Incorrect API key provided: ($SOME_API_KEY)."),
        (f"{KEY}{KEY}", "($SOME_API_KEY)"),
        (f"begins {KEY[:8]}****, ends ****{KEY[-8:]}", "begins ($SOME_API_KEY)****, ends ****($SOME_API_KEY)"),
        (f"ends {KEY[-7:]}", f"ends {KEY[-7:]}"),
        ("there is none", "there is none"),
        ("POST http://10.1.2.3:8000/v1/chat/completions", "POST ($SOME_API_BASE)/chat/completions"),
        ("connect to 10.1.2.3:8000: refused", "connect to ($SOME_API_BASE): refused"),
        ("POST http://[your-host]/v1/chat", "POST ($FORGOTTEN_ENDPOINT)/chat"),
        ("", ""),
    ],
    ids=["whole", "twice", "masked", "too-short-to-tell", "short-key", "address", "host", "no-address", "empty"],
)
def test_hides_keys_long_parts_of_them_and_addresses_in_errors(text: str, left: str) -> None:
    assert scrubbed(text) == left


@given(st.text("ab", min_size=8, max_size=20), st.text("abc", max_size=60))
def test_no_part_of_eight_characters_is_left(key: str, text: str) -> None:
    left = _without_parts(text, key, "*")
    assert not any(key[start : start + 8] in left for start in range(len(key) - 7))
    assert [one for one in left if one == "c"] == [one for one in text if one == "c"], "nothing else is taken out"


def test_a_terminal_gets_words_lines_and_nothing_to_obey() -> None:
    assert printable("two words,\n\tnaïve ☃\x1b[2J\r\x00") == "two words,\n\tnaïve ☃[2J"


@pytest.mark.parametrize("name", ["SERVICE_PASSWORD", "service_api_key", "APIKEY"])
def test_hides_what_a_variable_holds_whatever_its_case(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`code_digest` leaves out the same variables."""
    monkeypatch.setenv(name, "correct-horse-battery")
    assert scrubbed("refused: correct-horse-battery") == f"refused: (${name})"


def test_hides_whole_keys_alone_in_what_a_model_says() -> None:
    said = {
        "content": f"Bearer {KEY}",
        "calls": [{"arguments": f'{{"x": "{KEY}"}}'}],
        "short": KEY[:12],
        "n": [1, None],
    }
    assert without_whole_keys(said) == {
        "content": "Bearer ($SOME_API_KEY)",
        "calls": [{"arguments": '{"x": "($SOME_API_KEY)"}'}],
        "short": KEY[:12],
        "n": [1, None],
    }
