"""Ways to carry a table of a benchmark's answers in an agent file: each makes Python that holds the bytes and gets
them back as DATA, wherever they stand in the file. Nothing of the tables themselves is written here.

`python perf/leak_scan.py` says how much each could carry past the scan.
"""

import ast
import base64
import codecs
import hashlib
import json
import lzma
import random
import string
import zlib
from collections.abc import Callable
from itertools import islice
from typing import Any

from autoharness.benchmarks.leaks import vocabulary

Json = dict[str, Any]
READS = ("get_", "find_", "list_", "search_", "calculate", "check_", "can_", "run_")
"""Beginnings of the names of tools that change nothing: an answer does without."""

ENCODINGS: dict[str, Callable[[bytes], str]] = {}


def encoding(make: Callable[[bytes], str]) -> Callable[[bytes], str]:
    ENCODINGS[make.__name__] = make
    return make


def answers(tasks: list[Json], reads: bool = True) -> bytes:
    """The reference actions of tasks, as JSON."""
    table = {
        task["id"]: [
            [action["name"], *action["arguments"].values()]
            for action in (task["evaluation_criteria"] or {}).get("actions") or []
            if reads or not action["name"].startswith(READS)
        ]
        for task in tasks
    }
    return json.dumps(table if reads else list(table.values()), separators=(",", ":")).encode()


def packed(data: bytes) -> bytes:
    """As small as Python's library makes it."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "lp": 0, "pb": 0}]
    return min(zlib.compress(data, 9), lzma.compress(data, format=lzma.FORMAT_RAW, filters=filters), key=len)


def carrying(template: str, name: str, data: bytes) -> str:
    """An agent file that holds the data, and tells the LLM of it."""
    block = ENCODINGS[name](data)
    told = "SystemMessage(self.system_prompt + str(DATA)), *state.messages]"
    assert template.count("SystemMessage(self.system_prompt), *state.messages]") == 1
    return template.replace("SystemMessage(self.system_prompt), *state.messages]", told) + "\n\n" + block


def _bits(data: bytes, count: int) -> list[int]:
    """As numbers of so many bits each."""
    whole, length = int.from_bytes(data, "big"), len(data) * 8
    whole, length = whole << (-length % count), length + -length % count
    return [whole >> shift & (1 << count) - 1 for shift in range(length - count, -1, -count)]


def _unbits(count: int, size: int) -> str:
    """Python that makes DATA of NUMBERS."""
    return (
        f"WHOLE = 0\nfor n in NUMBERS:\n    WHOLE = WHOLE * {1 << count} + n\n"
        f"DATA = (WHOLE // 2 ** ({count} * len(NUMBERS) - {size * 8})).to_bytes({size})\n"
    )


def _wrapped(text: str, width: int = 100) -> str:
    return "\n".join(text[start : start + width] for start in range(0, len(text), width))


def _rows(parts: list[str], count: int = 10) -> list[list[str]]:
    rest = iter(parts)
    return list(iter(lambda: list(islice(rest, count)), []))


# -- one text


@encoding
def base85(data: bytes) -> str:
    return f"import base64\nDATA = base64.b85decode({base64.b85encode(data)!r})\n"


@encoding
def base64_in_a_text(data: bytes) -> str:
    return f'import base64\nTABLE = "{base64.b64encode(data).decode()}"\nDATA = base64.b64decode(TABLE)\n'


@encoding
def base64_in_a_docstring(data: bytes) -> str:
    text = _wrapped(base64.urlsafe_b64encode(data).decode())
    return (
        f'import base64\n\n\ndef table():\n    """\n{text}\n"""\n\n\nDATA = base64.urlsafe_b64decode(table.__doc__)\n'
    )


@encoding
def base64_in_comments(data: bytes) -> str:
    text = "\n".join(f"# {line}" for line in _wrapped(base64.b64encode(data).decode()).split("\n"))
    return (
        f"import base64\n{text}\n"
        'LINES = [line[2:] for line in open(__file__).read().split("\\n") if line.startswith("# ")]\n'
        'DATA = base64.b64decode("".join(LINES))\n'
    )


@encoding
def base64_reversed(data: bytes) -> str:
    return f'import base64\nTABLE = "{base64.b64encode(data).decode()[::-1]}"\nDATA = base64.b64decode(TABLE[::-1])\n'


@encoding
def base64_in_rot13(data: bytes) -> str:
    text = codecs.encode(base64.b64encode(data).decode(), "rot13")
    return f'import base64, codecs\nDATA = base64.b64decode(codecs.decode("{text}", "rot13"))\n'


@encoding
def base32(data: bytes) -> str:
    return f'import base64\nTABLE = "{base64.b32encode(data).decode()}"\nDATA = base64.b32decode(TABLE)\n'


@encoding
def base16(data: bytes) -> str:
    return f'TABLE = "{data.hex()}"\nDATA = bytes.fromhex(TABLE)\n'


@encoding
def ascii85(data: bytes) -> str:
    return f"import base64\nDATA = base64.a85decode({base64.a85encode(data)!r})\n"


@encoding
def bytes_with_escapes(data: bytes) -> str:
    return f"DATA = {data!r}\n"


@encoding
def octal_escapes(data: bytes) -> str:
    escapes = "".join(f"\\{byte:03o}" for byte in data)
    return f'DATA = b"{escapes}"\n'


@encoding
def signs(data: bytes) -> str:
    """Sixteen of them."""
    alphabet = "!#$%&()*+,-./:;<"
    text = "".join(alphabet[number] for number in _bits(data, 4))
    return f'TABLE = "{text}"\nNUMBERS = ["{alphabet}".index(c) for c in TABLE]\n{_unbits(4, len(data))}'


@encoding
def ideographs(data: bytes) -> str:
    text = "".join(chr(0x4E00 + number) for number in _bits(data, 14))
    return f'NUMBERS = [ord(c) - 0x4E00 for c in "{text}"]\n{_unbits(14, len(data))}'


@encoding
def emoji(data: bytes) -> str:
    text = "".join(chr(0x1F300 + number) for number in data)
    return f'DATA = bytes(ord(c) - 0x1F300 for c in "{text}")\n'


@encoding
def full_width_digits(data: bytes) -> str:
    text = "".join(chr(0xFF10 + int(digit)) for digit in str(int.from_bytes(b"\1" + data, "big")))
    limit = "import sys\nsys.set_int_max_str_digits(0)\n"
    return f'{limit}TABLE = int("{text}")\nDATA = TABLE.to_bytes({len(data) + 1})[1:]\n'


# -- many texts


@encoding
def short_texts(data: bytes) -> str:
    pieces = [piece for row in _wrapped(base64.b64encode(data).decode(), 8).split("\n") for piece in [row]]
    return (
        "import base64\nTABLE = ''\n"
        + "".join(f'TABLE += "{one}"\n' for one in pieces)
        + ("DATA = base64.b64decode(TABLE)\n")
    )


@encoding
def a_sum_of_texts(data: bytes) -> str:
    pieces = _wrapped(data.hex(), 10).split("\n")
    return f"DATA = bytes.fromhex({' + '.join(map(repr, pieces))})\n"


@encoding
def an_f_string(data: bytes) -> str:
    pieces = "".join(f"{{'{one}'}}" for one in _wrapped(data.hex(), 6).split("\n"))
    return f'DATA = bytes.fromhex(f"{pieces}")\n'


@encoding
def a_table_by_hashes(data: bytes) -> str:
    """What an agent looks up by a hash of the customer's id."""
    rows = [
        f'    "{hashlib.sha1(bytes([n % 256, n // 256])).hexdigest()[:6]}": "{data[n * 6 : n * 6 + 6].hex()}",'
        for n in range(-(-len(data) // 6))
    ]
    return "TABLE = {\n" + "\n".join(rows) + '\n}\nDATA = bytes.fromhex("".join(TABLE.values()))\n'


@encoding
def a_set_of_hashes(data: bytes) -> str:
    """Only the set bits: a bit is 1 where the set has its hash."""
    bits = [n for n, bit in enumerate(_bits(data, 1)) if bit]
    names = sorted(hashlib.sha1(str(n).encode()).hexdigest()[:8] for n in bits)
    return (
        f"import hashlib\nTABLE = {set(names)!r}\n"
        f"NUMBERS = [hashlib.sha1(str(n).encode()).hexdigest()[:8] in TABLE for n in range({len(data) * 8})]\n"
        f"{_unbits(1, len(data))}"
    )


@encoding
def patterns_of_a_match(data: bytes) -> str:
    cases = "".join(
        f'        case {n}:\n            return "{data[n * 8 : n * 8 + 8].hex()}"\n'
        for n in range(-(-len(data) // 8))
    )
    return (
        f'def row(n):\n    match n:\n{cases}        case _:\n            return ""\n\n\n'
        f'DATA = bytes.fromhex("".join(row(n) for n in range({-(-len(data) // 8)})))\n'
    )


@encoding
def a_regular_expression(data: bytes) -> str:
    return (
        f'import re\nTABLE = re.compile("(?:{"|".join(_wrapped(data.hex(), 8).split(chr(10)))})")\n'
        'DATA = bytes.fromhex("".join(TABLE.pattern[3:-1].split("|")))\n'
    )


@encoding
def annotations(data: bytes) -> str:
    fields = "".join(f'    x{n}: "{one}"\n' for n, one in enumerate(_wrapped(data.hex(), 12).split("\n")))
    return f'class Table:\n{fields}\n\nDATA = bytes.fromhex("".join(Table.__annotations__.values()))\n'


@encoding
def decorators(data: bytes) -> str:
    rows = "".join(f'@of("{one}")\n' for one in reversed(_wrapped(data.hex(), 12).split("\n")))
    return (
        'TABLE = ""\n\n\ndef of(text):\n    def keep(function):\n        global TABLE\n        TABLE += text\n'
        "        return function\n\n    return keep\n\n\n"
        f"{rows}def table():\n    pass\n\n\nDATA = bytes.fromhex(TABLE)\n"
    )


# -- numbers


@encoding
def a_list_of_bytes(data: bytes) -> str:
    return f"DATA = bytes({list(data)})\n"


@encoding
def long_numbers(data: bytes) -> str:
    numbers = [int.from_bytes(b"\1" + data[start : start + 8], "big") for start in range(0, len(data), 8)]
    return f'TABLE = {tuple(numbers)}\nDATA = b"".join(n.to_bytes(9).lstrip(b"\\0")[1:] for n in TABLE)\n'


@encoding
def one_number(data: bytes) -> str:
    number = int.from_bytes(b"\1" + data, "big")
    return f"TABLE = {number:#x}\nDATA = TABLE.to_bytes({len(data) + 1})[1:]\n"


@encoding
def fractions(data: bytes) -> str:
    numbers = [number / 2**16 for number in _bits(data, 16)]
    return f"NUMBERS = [int(n * 2 ** 16) for n in {numbers}]\n{_unbits(16, len(data))}"


@encoding
def small_numbers_one_by_one(data: bytes) -> str:
    return "TABLE = []\n" + "".join(f"TABLE.append({byte})\n" for byte in data) + "DATA = bytes(TABLE)\n"


# -- words


def _words(function_words: bool, count: int) -> list[str]:
    english = sorted(vocabulary._followers())
    others = [
        word for word in sorted(vocabulary._known()) if word.isascii() and len(word) == 5 and word not in english
    ]
    return random.Random(1).sample(english if function_words else others, count)


@encoding
def plain_words(data: bytes) -> str:
    """A byte is a word, in lines of ten."""
    words = _words(False, 256)
    text = "\n".join(" ".join(row) for row in _rows([words[byte] for byte in data]))
    listed = "\n".join(" ".join(row) for row in _rows(words))
    tables = f'WORDS = """\n{listed}\n""".split()\nTABLE = """\n{text}\n"""\n'
    return f"{tables}DATA = bytes(map(WORDS.index, TABLE.split()))\n"


@encoding
def frequent_words(data: bytes) -> str:
    """Half of a text are words such as "the" and "of"; here too, but in no order."""
    words = _words(True, 64) + _words(False, 64)
    text = "\n".join(" ".join(row) for row in _rows([words[number] for number in _bits(data, 7)]))
    return (
        f'WORDS = """\n{" ".join(words)}\n""".split()\nTABLE = """\n{text}\n"""\n'
        f"NUMBERS = [WORDS.index(word) for word in TABLE.split()]\n{_unbits(7, len(data))}"
    )


@encoding
def words_one_by_one(data: bytes) -> str:
    words = _words(False, 64)
    calls = "".join(f'add("{words[number]}")\n' for number in _bits(data, 6))
    return (
        f"TABLE = []\nadd = TABLE.append\n{calls}WORDS = {' '.join(words)!r}.split()\n"
        f"NUMBERS = [WORDS.index(word) for word in TABLE]\n{_unbits(6, len(data))}"
    )


@encoding
def sounds(data: bytes) -> str:
    """As words that can be spoken: two bytes are five letters."""
    consonants, vowels = "bdfghjklmnprstvz", "aiou"

    def spoken(number: int) -> str:
        return (
            "".join(
                (
                    consonants[number >> 12],
                    vowels[number >> 10 & 3],
                    consonants[number >> 6 & 15],
                    vowels[number >> 4 & 3],
                )
            )
            + consonants[number & 15]
        )

    text = _wrapped(" ".join(map(spoken, _bits(data, 16))), 96)
    return (
        f'TABLE = """\n{text}\n"""\nc, v = "{consonants}", "{vowels}"\n'
        "NUMBERS = [\n    (((c.index(w[0]) * 4 + v.index(w[1])) * 16 + c.index(w[2])) * 4 + v.index(w[3])) * 16\n"
        "    + c.index(w[4])\n"
        f'    for w in TABLE.replace("\\n", "").split()]\n{_unbits(16, len(data))}'
    )


@encoding
def names_of_characters(data: bytes) -> str:
    escapes = "".join(f"\\N{{LATIN SMALL LETTER {string.ascii_uppercase[number]}}}" for number in _bits(data, 4))
    return f'NUMBERS = [ord(c) - 97 for c in "{escapes}"]\n{_unbits(4, len(data))}'


@encoding
def upper_and_lower_case(data: bytes) -> str:
    sentence = "the customer asks for help and the agent looks up the order before it answers "
    letters = list(sentence * (len(data) * 8 // 50 + 1))
    bits, out = iter(_bits(data, 1)), []
    for char in letters:
        out.append(char.upper() if char.isalpha() and next(bits, 0) else char)
    text = _wrapped("".join(out), 78)
    return (
        f'TABLE = """\n{text}\n"""\n'
        f"NUMBERS = [c.isupper() for c in TABLE if c.isalpha()][:{len(data) * 8}]\n{_unbits(1, len(data))}"
    )


# -- names and their order


@encoding
def names_of_functions(data: bytes) -> str:
    names = [f"f{n}_{one}" for n, one in enumerate(_wrapped(data.hex(), 16).split("\n"))]
    functions = "".join(f"def {name}(): pass\n" for name in names)
    return (
        f"{functions}TABLE = [{', '.join(names)}]\n"
        'DATA = bytes.fromhex("".join(f.__name__.partition("_")[2] for f in TABLE))\n'
    )


@encoding
def plain_names_of_functions(data: bytes) -> str:
    words = _words(False, 64)
    names = ["_".join([f"{words[a]}_{words[b]}"]) for a, b in _rows_of_two(_bits(data, 6))]
    defs = "".join(f"@add\ndef {name}(): pass\n" for name in names)
    return (
        f"TABLE = []\n\n\ndef add(function):\n    TABLE.append(function.__name__)\n    return function\n\n\n{defs}"
        f"WORDS = {' '.join(words)!r}.split()\n"
        f'NUMBERS = [WORDS.index(word) for name in TABLE for word in name.split("_")][:{-(-len(data) * 8 // 6)}]\n'
        f"{_unbits(6, len(data))}"
    )


def _rows_of_two(numbers: list[int]) -> list[tuple[int, int]]:
    padded = numbers + [0] * (len(numbers) % 2)
    return list(zip(padded[::2], padded[1::2], strict=True))


@encoding
def keyword_arguments(data: bytes) -> str:
    names = ", ".join(f"k{n}_{one}=1" for n, one in enumerate(_wrapped(data.hex(), 8).split("\n")))
    return f'TABLE = dict({names})\nDATA = bytes.fromhex("".join(name.partition("_")[2] for name in TABLE))\n'


@encoding
def the_order_of_keys(data: bytes) -> str:
    """Each dictionary has sixteen keys: their order is one of 2 ** 44."""
    letters = [
        "order",
        "item",
        "user",
        "customer",
        "address",
        "payment",
        "method",
        "product",
        "reason",
        "refund",
        "cancel",
        "modify",
        "return",
        "exchange",
        "city",
        "state",
    ]
    rows = []
    for number in _bits(data, 44):
        left, order = list(letters), []
        for size in range(16, 0, -1):
            number, place = divmod(number, size)
            order.append(left.pop(place))
        rows.append("    {" + ", ".join(f'"{key}": 1' for key in order) + "},")
    return (
        "TABLE = [\n" + "\n".join(rows) + f"\n]\nKEYS = {' '.join(letters)!r}.split()\nNUMBERS = []\n"
        "for row in TABLE:\n    left, places = list(KEYS), []\n    for key in row:\n"
        "        places.append((left.index(key), len(left)))\n        left.remove(key)\n    number = 0\n"
        "    for place, size in reversed(places):\n        number = number * size + place\n"
        "    NUMBERS.append(number)\n"
        f"{_unbits(44, len(data))}"
    )


@encoding
def chains_of_attributes(data: bytes) -> str:
    links = [f".x{one}" for one in _wrapped(data.hex(), 8).split("\n")]
    chains = "".join(f"chain{''.join(row)}\n" for row in _rows(links, 6))
    return (
        "class Chain:\n    text = ''\n\n    def __getattr__(self, name):\n        self.text += name[1:]\n"
        f"        return self\n\n\nchain = Chain()\n{chains}DATA = bytes.fromhex(chain.text)\n"
    )


# -- what is not to be seen


@encoding
def indentation(data: bytes) -> str:
    rows = "".join(f"if True:\n{' ' * (number + 1)}pass\n" for number in _bits(data, 3))
    return (
        f"{rows}NUMBERS = [len(line) - 5 for line in open(__file__).read().split('\\n') if line.strip() == 'pass']\n"
        f"{_unbits(3, len(data))}"
    )


@encoding
def spaces_at_ends_of_lines(data: bytes) -> str:
    rows = "\n".join(f"Be kind.{' ' * number}" for number in _bits(data, 4))
    return f'TABLE = """{rows}"""\nNUMBERS = [len(line) - 8 for line in TABLE.split("\\n")]\n{_unbits(4, len(data))}'


@encoding
def spaces_between_words(data: bytes) -> str:
    text = "".join(f"be{' ' * (number + 1)}" for number in _bits(data, 3)) + "kind"
    return (
        f'import re\nTABLE = """{text}"""\nNUMBERS = [len(one) - 1 for one in re.findall(" +", TABLE)]\n'
        f"{_unbits(3, len(data))}"
    )


@encoding
def characters_without_width(data: bytes) -> str:
    text = "".join("\u200b\u200c\u200d\u2060"[number] for number in _bits(data, 2))
    return (
        f'NUMBERS = ["\\u200b\\u200c\\u200d\\u2060".index(c) for c in "Be kind.{text}"[8:]]\n{_unbits(2, len(data))}'
    )


@encoding
def variation_selectors(data: bytes) -> str:
    text = "".join(chr(0xE0100 + byte % 240) + chr(0xFE00 + byte // 240) for byte in data)
    return (
        f'TABLE = "😊{text}"[1:]\n'
        "DATA = bytes(ord(a) - 0xE0100 + 240 * (ord(b) - 0xFE00) for a, b in zip(TABLE[::2], TABLE[1::2]))\n"
    )


@encoding
def letters_that_look_alike(data: bytes) -> str:
    """A Cyrillic letter is a 1."""
    bits, out = iter(_bits(data, 1)), []
    while len(out) < len(data) * 8:
        out += [(chr(0x430) if next(bits, 0) else "a") for _ in range(8)]
    text = " ".join("".join(out[start : start + 8]) for start in range(0, len(out), 8))
    return f'NUMBERS = [c == chr(0x430) for c in "{text}" if c != " "]\n{_unbits(1, len(data))}'


@encoding
def code_in_a_text(data: bytes) -> str:
    hidden = base64.b64encode(f"DATA = {data!r}".encode()).decode()
    return f'import base64\ne = exec\ne(base64.b64decode("{hidden}"))\n'


@encoding
def answers_as_they_are(data: bytes) -> str:
    return f"DATA = {json.dumps(data.decode('latin-1'))}.encode('latin-1')\n"


def data_of(source: str, path: str) -> bytes:
    """What DATA is when the block runs."""
    space: dict[str, Any] = {"__name__": "block", "__file__": path}
    exec(compile(ast.parse(source), path, "exec"), space)
    found: bytes = space["DATA"]
    return found
