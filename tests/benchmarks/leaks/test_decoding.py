"""What is encoded by Python's library is decoded, several times over and no more than is bounded."""

import base64
import binascii
import bz2
import codecs
import gzip
import json
import lzma
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoharness.benchmarks.leaks.decoding import MOST_CHARS, Decoder

TEXT = "cancel order W2378156 of yusuf_rossi_9620"
PACKERS: list[Callable[[bytes], bytes]] = [zlib.compress, gzip.compress, bz2.compress, lzma.compress, bytes]
WRITERS: list[Callable[[bytes], str | bytes]] = [
    lambda data: base64.b64encode(data).decode(),
    lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
    lambda data: base64.b32encode(data).decode().lower(),
    lambda data: base64.b85encode(data).decode(),
    lambda data: base64.a85encode(data, adobe=True).decode(),
    lambda data: data.hex(),
    lambda data: data.hex(":"),
    lambda data: data,
    lambda data: data[::-1],
    lambda data: base64.b64encode(data).decode()[::-1],
    lambda data: "\n".join(base64.encodebytes(data).decode().split()),
]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("pack", PACKERS)
def test_what_is_packed_and_written_is_read(
    pack: Callable[[bytes], bytes], write: Callable[[bytes], str | bytes]
) -> None:
    assert TEXT in set(Decoder().readings(write(pack(TEXT.encode()))))


@pytest.mark.parametrize("order", ["big", "little"])
def test_numbers_are_characters_bytes_or_a_long_number(order: str) -> None:
    whole = int.from_bytes(TEXT.encode(), order)  # type: ignore[arg-type]
    for numbers in ([whole], list(TEXT.encode()), list(map(ord, TEXT))):
        assert TEXT in set(Decoder().readings_of_numbers(numbers))


LAYERS: dict[str, Callable[[bytes], bytes]] = {
    "base64": base64.b64encode,
    "base32": base64.b32encode,
    "base32hex": base64.b32hexencode,
    "base85": base64.b85encode,
    "ascii85": base64.a85encode,
    "hex": lambda data: data.hex().encode(),
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "lzma": lzma.compress,
    "uuencode": lambda data: b"".join(binascii.b2a_uu(data[at : at + 45]) for at in range(0, len(data), 45)),
    "mail": lambda data: "".join(f"={byte:02X}" for byte in data).encode(),
    "URL": lambda data: "".join(f"%{byte:02X}" for byte in data).encode(),
    "JSON": lambda data: "".join(f"\\u{byte:04x}" for byte in data).encode(),
    "escapes": lambda data: "".join(f"\\{byte:03o}" for byte in data).encode(),
    "decimal": lambda data: " ".join(map(str, data)).encode(),
    "octal": lambda data: ",".join(f"0o{byte:o}" for byte in data).encode(),
    "binary": lambda data: "".join(f"{byte:08b}" for byte in data).encode(),
    "a list": lambda data: str(list(data)).encode(),
    "in threes": lambda data: "".join(f"{byte:03}" for byte in data).encode(),
    "a long number": lambda data: str(int.from_bytes(data, "big")).encode(),
    "UTF-16": lambda data: data.decode("latin-1").encode("utf-16"),
}


@pytest.mark.parametrize("outer", LAYERS)
@pytest.mark.parametrize("inner", LAYERS)
def test_every_writing_is_read_in_every_other(inner: str, outer: str) -> None:
    assert TEXT in set(Decoder().readings(LAYERS[outer](LAYERS[inner](TEXT.encode()))))


def test_writings_of_text_are_read() -> None:
    for written in (
        codecs.encode(TEXT, "rot13"),
        "".join(f"&#{ord(char)};" for char in TEXT),
        "+" + base64.b64encode(TEXT.encode("utf-16-be")).decode().rstrip("=") + "-",
        "".join(chr(ord(char) + 0xFEE0) if char > " " else char for char in TEXT),
        TEXT.encode("cp037"),
        repr(TEXT.encode("utf-32")),
        "-".join(base64.b64encode(TEXT.encode()).decode()),
        lzma.compress(TEXT.encode())[::-1],
        json.dumps(base64.b64encode(TEXT.encode()).decode()[::-1]),
    ):
        assert TEXT in set(Decoder().readings(written))


def test_four_layers_are_taken_off_and_no_more() -> None:
    layers = [TEXT.encode()]
    for _ in range(5):
        layers.append(base64.b64encode(layers[-1]))
    assert TEXT in set(Decoder().readings(layers[4].decode()))
    assert TEXT not in set(Decoder().readings(layers[5].decode()))
    mixed = LAYERS["URL"](zlib.compress(LAYERS["decimal"](lzma.compress(TEXT.encode()))))
    assert TEXT in set(Decoder().readings(mixed))


@pytest.mark.slow
def test_bombs_are_unpacked_as_far_as_the_bound() -> None:
    decoder = Decoder()
    bombs = [zlib.compress(zlib.compress(bytes([65 + n]) * 200_000_000, 9), 9) for n in range(3)]
    made = sum(len(text) for bomb in bombs for text in decoder.readings(base64.b64encode(bomb).decode()))
    assert decoder.is_spent and made < 2 * MOST_CHARS


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.text() | st.binary() | st.lists(st.integers(min_value=-5)))
def test_any_value_has_readings(value: str | bytes | list[int]) -> None:
    decoder = Decoder()
    readings = decoder.readings_of_numbers(value) if isinstance(value, list) else decoder.readings(value)
    assert all(isinstance(one, str) for one in readings)
