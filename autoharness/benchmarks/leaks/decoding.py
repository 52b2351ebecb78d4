"""Decodes texts, bytes and numbers by what Python's library offers, in several layers, to find hidden text.

Reversed, rot13 (texts, not packed bytes); base 16, 32, 64 and 85, uuencode; zlib, gzip, bz2 and lzma; escapes of
Python, JSON, HTML, URLs and mail; UTF-7, UTF-16, UTF-32, punycode and EBCDIC; numbers as characters or bytes, in a
list or in a row. Reading bytes as text, or text as bytes, is not a layer. It stops after a limited amount of text,
whatever it is given: a few bytes may unpack to a lot.

It does not find what a program has to compute: a key, a sum, every second character, an alphabet of its own.
"""

import base64
import binascii
import bz2
import codecs
import html
import lzma
import quopri
import re
import unicodedata
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_to_bytes

_DEEPEST = 4
MOST_CHARS = 2_000_000
"""Limit of decoded text for one file; each piece costs `_OVERHEAD` more, for the time it takes."""
_OVERHEAD = 50
_MOST_UNPACKED = 500_000
_SHORTEST = 5
_MOST_MEMORY = 64 * 1024 * 1024
_HIGHEST_CHAR = 0x110000
_LONGEST_NUMBER = 4000
"""Digits: Python does not read longer ones."""
_NUMBER = r"(?:0[xob])?[0-9a-fA-F]+"
_NUMBERS = re.compile(rf"[\s,:;|/.\-\[(]*(?:{_NUMBER}[\s,:;|/.-]+){{3,}}{_NUMBER}[\s,:;|/.\-\])]*")
_DIGITS = re.compile(r"[0-9]{12,20000}")
_QUOTED = re.compile(r"""[bB]?(["'])(.*)\1""", re.DOTALL)
_ENDS_OF_PACKED = (b"\x78", b"\x8b\x1f", b"hZB", b"\0ZXz7\xfd", b"\0\0\x5d")
"""How zlib, gzip, bz2 and lzma data begin, reversed."""
_RAW_LZMA = [{"id": lzma.FILTER_LZMA2}]

Value = str | bytes


class Decoder:
    """Decodes the values of one file, until it has made `MOST_CHARS` characters."""

    def __init__(self) -> None:
        self._left = MOST_CHARS

    @property
    def is_spent(self) -> bool:
        return self._left <= 0

    def readings(self, value: Value) -> Iterator[str]:
        """The texts that a value may stand for: first itself, then what it decodes to, what that decodes to, ..."""
        value = _told(value)
        seen, layer = {value}, [value]
        for _ in range(_DEEPEST + 1):
            yield from (one if isinstance(one, str) else one.decode(errors="ignore") for one in layer)
            decoded = [_told(new) for one in layer if len(one) >= _SHORTEST for new in _decoded(one)]
            layer = []
            for new in dict.fromkeys(decoded):
                if new not in seen and not self.is_spent:
                    self._left -= len(new) + _OVERHEAD
                    layer.append(new)
            seen.update(layer)

    def readings_of_numbers(self, numbers: Sequence[int]) -> Iterator[str]:
        """The texts that numbers may stand for: characters, bytes, or the bytes of each number in a row."""
        for value in _of_numbers(numbers):
            yield from self.readings(value)


def _told(value: Value) -> Value:
    """The value as text, if it is text."""
    with suppress(UnicodeDecodeError):
        text = value if isinstance(value, str) else value.decode()
        return text if all(char.isprintable() or char.isspace() for char in text) else value
    return value


def _decoded(value: Value) -> Iterator[Value]:
    """One layer. Bytes that are not text are reversed only if they end as packed data begins: most mean nothing."""
    if isinstance(value, str) or value.endswith(_ENDS_OF_PACKED):
        yield value[::-1]
    if isinstance(value, str):
        yield from _steps(value, _OF_TEXT)
        if _NUMBERS.fullmatch(value):
            yield from _numbers_in(value)
        if _DIGITS.fullmatch(value):
            yield from _digits(value)
        with suppress(UnicodeEncodeError):
            yield from _steps(value.encode("latin-1"), _OF_BYTES)
    else:
        yield from _steps(value, _OF_BYTES)


def _steps(value: Any, steps: Sequence[Callable[[Any], Value]]) -> Iterator[Value]:
    for step in steps:
        with suppress(ValueError, binascii.Error, EOFError, OSError, zlib.error, lzma.LZMAError, MemoryError):
            if new := step(value):
                yield new


def _numbers_in(text: str) -> Iterator[Value]:
    found = [one for one in re.findall(_NUMBER, text) if len(one) < _LONGEST_NUMBER]
    for base in (10, 16, 8, 2):
        with suppress(ValueError):
            yield from _of_numbers([_number(one, base) for one in found])


def _number(text: str, base: int) -> int:
    """The number in this base, unless its prefix says another one."""
    return int(text, 0 if text[:2].lower() in ("0x", "0o", "0b") and base != 16 else base)


def _digits(text: str) -> Iterator[Value]:
    """Numbers without anything between them: all of one length, or one long number."""
    for size, base in ((3, 10), (3, 8), (8, 2), (2, 10)):
        with suppress(ValueError):
            yield from _of_numbers([int(text[at : at + size], base) for at in range(0, len(text), size)])
    if len(text) < _LONGEST_NUMBER:
        yield from _of_numbers([int(text)])


def _of_numbers(numbers: Sequence[int]) -> Iterator[Value]:
    if all(0 <= number < _HIGHEST_CHAR for number in numbers):
        yield "".join(map(chr, numbers))
    if all(0 <= number < 256 for number in numbers):
        yield bytes(numbers)
    elif all(number >= 0 for number in numbers):
        sizes = [(number.bit_length() + 7) // 8 for number in numbers]
        yield b"".join(number.to_bytes(size, "big") for number, size in zip(numbers, sizes, strict=True))
        yield b"".join(number.to_bytes(size, "little") for number, size in zip(numbers, sizes, strict=True))


def _packed(text: str, alphabet: str, shortest: int = 8) -> str:
    """The text without white space, if all of it is in the alphabet; otherwise ""."""
    packed = "".join(text.split())
    return packed if len(packed) >= shortest and re.fullmatch(f"[{alphabet}]+", packed) else ""


def _base64(text: str) -> bytes:
    packed = _packed(text.rstrip("= \n").replace("-", "+").replace("_", "/"), "A-Za-z0-9+/")
    whole = packed[: len(packed) - (len(packed) % 4 == 1)]
    return base64.b64decode(whole + "=" * (-len(whole) % 4))


def _base32(text: str) -> bytes:
    packed = _packed(text.upper().rstrip("= \n"), "A-Z2-7", 10)
    return base64.b32decode(packed + "=" * (-len(packed) % 8))


def _base16(text: str) -> bytes:
    return bytes.fromhex(_packed(text.replace("0x", "").replace("\\x", ""), "0-9A-Fa-f", 12))


def _base85(text: str) -> bytes:
    return base64.b85decode(_packed(text, r"0-9A-Za-z!#$%&()*+\-;<=>?@^_`{|}~"))


def _ascii85(text: str) -> bytes:
    return base64.a85decode(_packed(text.strip().removeprefix("<~").removesuffix("~>"), r"!-uz"))


def _base32hex(text: str) -> bytes:
    packed = _packed(text.upper().rstrip("= \n"), "0-9A-V", 10)
    return base64.b32hexdecode(packed + "=" * (-len(packed) % 8))


def _uuencoded(text: str) -> bytes:
    lines = [line for line in text.split("\n") if line.strip() and line != "end" and not line.startswith("begin ")]
    return b"".join(map(binascii.a2b_uu, lines))


def _escapes(text: str) -> str:
    if "\\" not in text:
        return ""
    with warnings.catch_warnings(action="ignore"):  # of strange escapes
        return text.encode("latin-1", "backslashreplace").decode("unicode_escape")


def _quoted(text: str) -> str:
    """The text inside quotation marks."""
    found = _QUOTED.fullmatch(text.strip())
    return found[2] if found else ""


def _separated(text: str) -> str:
    """Single characters with the same one between them."""
    return text[::2] if len(set(text[1::2])) == 1 else ""


def _utf_7(text: str) -> str:
    return text.encode("ascii").decode("utf-7") if re.search(r"\+[A-Za-z0-9/]", text) else ""


def _punycode(text: str) -> str:
    return text.encode("ascii").decode("punycode") if re.fullmatch(r"[ -~]*-[a-z0-9]*|[a-z0-9]{12,}", text) else ""


def _wide(codec: str) -> Callable[[bytes], str]:
    return lambda value: value.decode(codec).removeprefix("\ufeff") if b"\0" in value else ""


def _ebcdic(value: bytes) -> str:
    text = "" if value.isascii() else value.decode("cp037")
    return text if text.isprintable() else ""


def _unpacked(window: int) -> Callable[[bytes], bytes]:
    def unpacked(value: bytes) -> bytes:
        packed = zlib.decompressobj(window)
        found = packed.decompress(value, _MOST_UNPACKED)
        return found if window > 0 or packed.eof else b""  # without a header, any bytes may look like a beginning

    return unpacked


def _lzma(value: bytes) -> bytes:
    return lzma.LZMADecompressor(memlimit=_MOST_MEMORY).decompress(value, _MOST_UNPACKED)


def _raw_lzma(value: bytes) -> bytes:
    return lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=_RAW_LZMA).decompress(value, _MOST_UNPACKED)


_OF_TEXT: list[Callable[[str], Value]] = [
    *(_base64, _base32, _base32hex, _base16, _base85, _ascii85, _uuencoded),
    *(_escapes, _quoted, _separated, _utf_7, _punycode),
    lambda text: codecs.encode(text, "rot13"),
    lambda text: html.unescape(text) if "&" in text else "",
    lambda text: unquote_to_bytes(text) if "%" in text else "",
    lambda text: quopri.decodestring(text.encode("ascii")) if "=" in text else "",
    lambda text: "" if text.isascii() else unicodedata.normalize("NFKC", text),
]
_OF_BYTES: list[Callable[[bytes], Value]] = [
    *(_unpacked(window) for window in (zlib.MAX_WBITS, zlib.MAX_WBITS + 16, -zlib.MAX_WBITS)),
    lambda value: bz2.BZ2Decompressor().decompress(value, _MOST_UNPACKED),
    *(_lzma, _raw_lzma, _ebcdic),
    lambda value: value.decode().encode("latin-1"),
    *(_wide(codec) for codec in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")),
]
