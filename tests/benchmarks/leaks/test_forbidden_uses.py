"""What has no place in an agent file is named with its line and what to write instead; ordinary Python is not."""

import ast

import pytest
from conftest import ROOT, TEMPLATE
from honest_edits import HONEST

from autoharness.benchmarks.leaks.forbidden_uses import INTERPRETER, NOBODYS, problem_of, uses

FORBIDDEN = {
    "exec('x')": "runs text as code (exec)",
    "e = exec": "runs text as code (exec)",
    "def f(run=eval): pass": "runs text as code (eval)",
    "list(map(eval, ['1']))": "runs text as code (eval)",
    "compile('1', '', 'eval')": "runs text as code (compile)",
    "exec = 1; del exec; exec('1')": "runs text as code (exec)",
    "exec = exec": "runs text as code (exec)",
    "class A:\n    exec = 1\n    def f(self): exec('1')": "runs text as code (exec)",
    "def f():\n    global eval\n    eval('1')": "runs text as code (eval)",
    "__import__('os')": "runs text as code (__import__)",
    "globals()['x']": "reaches into the interpreter (globals)",
    "vars()": "reaches into the interpreter (vars)",
    "vars(type)": "reaches into the interpreter (vars)",
    "v = vars": "reaches into the interpreter (vars)",
    "type(x).__dict__": "reaches into the interpreter (__dict__ of a type)",
    "__builtins__['exec']": "reaches into the interpreter (__builtins__)",
    "import builtins": "reaches into the interpreter (builtins)",
    "getattr(x, 'ex' + 'ec')": "reaches into the interpreter (getattr with a name that is put together)",
    "getattr(x, f'{a}{b}')": "reaches into the interpreter (getattr with a name that is put together)",
    "getattr(x, '_'.join(a))": "reaches into the interpreter (getattr with a name that is put together)",
    "import json\ngetattr(json, name)": "reaches into the interpreter (getattr of the module json",
    "getattr(x, '__globals__')": "reaches into the interpreter (getattr with '__globals__')",
    "g = getattr": "reaches into the interpreter (getattr under another name)",
    "().__class__.__bases__": "reaches into the interpreter (__bases__)",
    "object.__subclasses__()": "reaches into the interpreter (__subclasses__)",
    "type(x).mro()": "reaches into the interpreter (mro)",
    "f.__globals__": "reaches into the interpreter (__globals__)",
    "print.__self__": "reaches into the interpreter (__self__)",
    "(x for x in ()).gi_frame.f_back": "reaches into the interpreter (gi_frame)",
    "error.__traceback__.tb_frame": "reaches into the interpreter (tb_frame)",
    "'{0.__class__.__init__.__globals__}'.format(x)": "reaches into the interpreter (__globals__ in a text)",
    "import sys\nsys.modules['os']": "reaches into the interpreter (sys.modules)",
    "from sys import modules": "reaches into the interpreter (sys.modules)",
    "import sys as s\ns._getframe()": "reaches into the interpreter (sys._getframe)",
    "import sys\nx = sys": "reaches into the interpreter (sys under another name)",
    "from sys import *": "reaches into the interpreter (sys.*)",
    "import importlib.util": "reaches into the interpreter (importlib.util)",
    "from dataclasses import sys": "reaches into the interpreter (dataclasses.sys)",
    "import re\nre.sys.modules": "reaches into the interpreter (re.sys)",
    "import types\ntypes.FunctionType(c, {})": "runs text as code (types.FunctionType)",
    "from types import CodeType": "runs text as code (types.CodeType)",
    "import operator\noperator.attrgetter('x')": "reaches into the interpreter (operator.attrgetter)",
    "from operator import methodcaller": "reaches into the interpreter (operator.methodcaller)",
    "import string\nstring.Formatter()": "reaches into the interpreter (string.Formatter)",
    "from typing import get_type_hints": "runs text as code (typing.get_type_hints)",
    "import timeit": "runs text as code (timeit)",
    "import gc, ctypes": "reaches into the interpreter (gc)",
    "import marshal": "reaches into the interpreter (marshal)",
    "import pickle": "reaches into the interpreter (pickle)",
    "import autoharness.core.channel": "reaches into the interpreter (autoharness.core.channel)",
    "from autoharness.agent_api import _use": "reaches into the interpreter (autoharness.agent_api._use)",
    "open(__file__)": "reads its own file (__file__)",
    "__spec__.origin": "reads its own file (__spec__)",
    "__loader__.get_data('x')": "reads its own file (__loader__)",
    "import inspect": "reads its own file (inspect)",
    "import linecache": "reads its own file (linecache)",
    "import traceback\ntraceback.extract_stack()": "reads its own file (traceback.extract_stack)",
    "import base64": "decodes data (base64)",
    "from zlib import decompress": "decodes data (zlib)",
    "import codecs\ncodecs.decode('x', 'rot13')": "decodes data (codecs)",
    "import json\njson.codecs.encode('x', 'rot13')": "decodes data (json.codecs)",
    "b'x'.decode('rot13')": "decodes data (decode with a codec that is not utf-8)",
    "b'x'.decode(codec)": "decodes data (decode with a codec that is not utf-8)",
    "bytes.fromhex('00')": "decodes data (fromhex)",
    "int.from_bytes(b'1')": "decodes data (from_bytes)",
    "import struct": "decodes data (struct)",
    "import html\nhtml.unescape('&#65;')": "decodes data (html.unescape)",
    "import unicodedata\nunicodedata.lookup('DIGIT ONE')": "decodes data (unicodedata.lookup)",
    "text = open('tasks.json').read()": "reads or writes files (open)",
    "from pathlib import Path": "reads or writes files (pathlib)",
    "import io\nio.open('x')": "reads or writes files (io.open)",
    "import logging\nlogging.FileHandler('x')": "reads or writes files (logging.FileHandler)",
    "import os\nos.system('x')": "starts processes (os.system)",
    "from os import popen": "starts processes (os.popen)",
    "import os\nf(os)": "starts processes (os under another name)",
    "import subprocess": "starts processes (subprocess)",
    "import asyncio\nasyncio.create_subprocess_exec('x')": "starts processes (asyncio.create_subprocess_exec)",
    "from concurrent.futures import ProcessPoolExecutor": "starts processes (ProcessPoolExecutor)",
    "import urllib.request": "uses the network (urllib.request)",
    "from urllib.request import urlopen": "uses the network (urllib.request)",
    "import http.client": "uses the network (http.client)",
    "import turtle": "imports what agent files do not need (turtle)",
    "import six": "imports what agent files do not need (six)",
    "import __main__": "imports what agent files do not need (__main__)",
    "from . import agent": "imports what agent files do not need",
    **dict.fromkeys(
        [
            "if 0: exec = 1\nexec('1')",
            "for exec in []: pass\nexec('1')",
            "for exec in []: pass\nelse: exec('1')",
            "while 0: exec = 1\nexec('1')",
            "try:\n    exec = 1 / 0\nexcept ArithmeticError: pass\nexec('1')",
            "try: pass\nexcept ValueError as exec: pass\nexec('1')",
            "with suppress(Exception): exec = 1 / 0\nexec('1')",
            "exec: int\nexec('1')",
            "0 and (exec := 1)\nexec('1')",
            "match 1:\n    case [exec]: pass\nexec('1')",
            "def f():\n    [0 for exec in ()]\n    exec('1')",
            "[exec for exec in [exec]]",
            "def f():\n    exec = 1\n    def g():\n        global exec\n        exec('1')",
            "class A:\n    if 0: exec = 1\n    exec('1')",
            "class A:\n    exec = 1\n    class B:\n        exec('1')",
            "f = lambda: (lambda x=exec: 1)",
            "def f(x: '[exec(1), int][1]'): pass",
            "Optional['exec(1)']",
        ],
        "runs text as code (exec)",
    ),
    **dict.fromkeys(
        [
            "import json\nm = json",
            "import json\nf(json)",
            "import json\nlambda m=json: m",
            "import json\nfor m in [json]: pass",
            "import json.decoder as d\nm = d",
            "import json\nmatch json:\n    case A(codecs=c): pass",
            "import json\nvars(json)",
        ],
        "under another name)",
    ),
    "import re\nre.enum.bltns.eval('1')": "reaches into the interpreter (re.enum)",
    "import enum\nenum.bltns": "reaches into the interpreter (enum.bltns)",
    "from enum import bltns as b": "reaches into the interpreter (enum.bltns)",
    "from json import decoder\ndecoder.re": "reaches into the interpreter (json.decoder.re)",
    "import asyncio.base_events\nasyncio.base_events.os": "starts processes (asyncio.base_events.os)",
    "import logging\nlogging.Template": "reaches into the interpreter (logging.Template)",
    "import openai\nopenai._client.os": "starts processes (openai._client.os)",
    "import json\ngetattr(json, 'codecs')": "decodes data (getattr with 'codecs')",
    "from typing import *\nget_type_hints(x)": "runs text as code (typing.get_type_hints)",
    "match x:\n    case A(__globals__=g): pass": "reaches into the interpreter (__globals__)",
    "('{0.__glo' + 'bals__}').format(x)": "reaches into the interpreter (__globals__ in a text)",
    "Optional['x'].__args__[0]._evaluate()": "runs text as code (_evaluate)",
    **dict.fromkeys(
        [
            "n = '__glo' + 'bals__'\ngetattr(x, n)",
            "n = 'slabolg'[::-1]\ngetattr(x, n)",
            "getattr(x, 'slabolg'[::-1])",
            "N = ['', '_'.join(['', 'globals'])]\ngetattr(x, N[1])",
            "class N: x = ''.join(map(chr, [95, 95]))\ngetattr(x, N.x)",
            "for n in dir(x):\n    getattr(x, n)",
            "[getattr(x, n) for n in dir(x) if 'lobals' in n]",
            "n = f'__{x}__'\ngetattr(x, n)",
            "getattr(*x)",
        ],
        "reaches into the interpreter (getattr with a name that is put together)",
    ),
    **dict.fromkeys(["str(x, 'utf-7')", "str(x, encoding=y)"], "decodes data (str with a codec that is not utf-8)"),
    **dict.fromkeys(
        ["bytes.decode(x, 'utf-7')", "x.decode(*y)", "x.decode(**y)"],
        "decodes data (decode with a codec that is not utf-8)",
    ),
    "map(bytes.decode, x, y)": "decodes data (decode under another name)",
    "d = x.decode": "decodes data (decode under another name)",
    "memoryview(x).cast('Q')": "decodes data (memoryview)",
    "int(x, 36).to_bytes(9)": "decodes data (to_bytes)",
    "(x for x in ()).gi_code": "reaches into the interpreter (gi_code)",
    "str(license)": "reads its own file (license)",
}

ORDINARY = [
    "super().__init__()",
    "x.__class__.__name__",
    "self.__class__(1)",
    "type(x).__name__, x.__dict__, x.__doc__, f.__name__",
    "def f(open): return open(1)",
    "def f():\n    open = True\n    return open",
    "open = False\nif open:\n    pass",
    "class A:\n    def open(self): return self.vars\n    def compile(self): return self.eval",
    "[eval for eval in range(3)]",
    "lambda vars: vars",
    "def f():\n    try:\n        pass\n    except ValueError as open:\n        print(open)",
    "import re\nre.compile('a')",
    "import json, logging, dataclasses, datetime, random, hashlib, textwrap, string, math, time",
    "import dataclasses\ndataclasses.fields(x)",
    "import logging\nlogging.basicConfig(level=logging.INFO)\nlogging.getLogger(__name__)",
    "import os\nmodel = os.environ.get('AGENT_MODEL') or os.getenv('AGENT_MODEL')",
    "import sys\nprint('x', file=sys.stderr)",
    "import io\nio.StringIO()",
    "import asyncio\nasyncio.run(f())",
    "from concurrent.futures import ThreadPoolExecutor",
    "import types\ntypes.SimpleNamespace(a=1)",
    "import ast\nast.literal_eval('[1]')",
    "import traceback\ntraceback.format_exc()",
    "import urllib.parse\nurllib.parse.quote('x')",
    "getattr(message, 'content', None), hasattr(message, 'tool_calls'), setattr(x, 'y', 1)",
    "for name in ('a', 'b'):\n    getattr(x, name)",
    "getattr(x, one.name), getattr(self, f'handle_{kind}'), getattr(self, 'on_' + kind)",
    "'x'.encode('utf-8').decode(), 'x'.encode(), b'x'.decode('ascii', 'ignore')",
    "def f(): return __name__",
    "from openai import OpenAI",
    "from autoharness.agent_api import generate\nfrom autoharness import agent_api",
    "from tau2.agent.llm_agent import LLMAgent",
    "if __name__ == '__main__':\n    pass",
    "x = 1 << 3 ^ 4, ord('a'), chr(97), hash('x')",
    "from __future__ import annotations",
    "for open in range(3):\n    print(open)",
    "if x:\n    open = 1\nelse:\n    open = 2\nprint(open)",
    "class A:\n    @property\n    def open(self): return 1\n    @open.setter\n    def open(self, value): pass",
    "class A:\n    def compile(self): pass\n    build = compile",
    "license = 'x'\nprint(license)",
    "vars(self), vars(state).items()",
    '"""What x.__dict__ and x.__class__ are."""',
    "import urllib.parse as p\np.quote('x'), p.unquote('x')",
    "import collections.abc, concurrent.futures, xml.etree.ElementTree as ET\nET.fromstring, collections.abc.Mapping",
    "import itertools\nhasattr(itertools, 'batched')",
    "from typing import *\nfrom enum import *\nx: Any = Enum",
    "import ast\nast.parse('1 + 2', mode='eval').body, ast.BinOp, ast.unparse(x)",
    "import traceback, sys\ntraceback.format_exception(e), sys.getrecursionlimit()",
    "import shlex, numpy, pandas, pydantic",
    "def first(x, *names): return next(getattr(x, n) for n in names)",
    "def get(x, key, default=None): return getattr(x, key, default)",
    "for name in dir(self):\n    if name.startswith('on_'): getattr(self, name)()",
    "name = call.name.replace('-', '_')\ngetattr(self, name), getattr(self, names[0]), getattr(self, name[3:])",
    "method = f'handle_{kind}'\ngetattr(self, method)",
    "def f(x: 'list[Call] | None', y: \"Literal['a (b)', 'c']\") -> 'State': pass",
    "x: Annotated[str, 'the id (as a text)', Field(description='of it (all)')]",
    "str(b'x', 'utf-8'), str(b'x', encoding='utf-8'), bytes(3), str(x)",
    "map(str.upper, x), functools.partial(json.dumps, indent=1)",
]


def found_in(source: str) -> list[str]:
    return [use.what for use in uses(ast.parse(source))]


@pytest.mark.parametrize(("source", "what"), FORBIDDEN.items())
def test_what_has_no_place_in_an_agent_file_is_found(source: str, what: str) -> None:
    assert any(what in one for one in found_in(source)), found_in(source)


@pytest.mark.parametrize("source", [*ORDINARY, *HONEST.values()])
def test_ordinary_python_is_let_through(source: str) -> None:
    assert found_in(source) == []


@pytest.mark.parametrize("path", sorted((ROOT / "agent").rglob("*.py")), ids=lambda path: path.stem)
def test_the_templates_are_let_through(path: object) -> None:
    assert problem_of(path.read_text(), "class HarnessAgent: pass") == ""  # type: ignore[attr-defined]


def test_a_refusal_says_the_line_the_thing_and_what_to_write_instead() -> None:
    found = problem_of(f"{TEMPLATE}\n\nimport base64\n", TEMPLATE)
    assert found == f"line {TEMPLATE.count(chr(10)) + 3}: it decodes data (base64): write the text as it is"


def test_what_the_kept_version_does_is_no_news() -> None:
    old = f"{TEMPLATE}\n\nimport base64\nTEXT = open('x').read()\n"
    assert problem_of(f"{old}# more\n", old) == ""
    assert "zlib" in problem_of(f"{old}import zlib\n", old)


def test_a_deep_program_is_looked_through_without_recursion() -> None:
    deep = "x = " + "(" * 90 + "exec" + ")" * 90 + "\n" + "if x:\n".join(" " * n for n in range(90)) + "pass"
    assert found_in(deep) == ["runs text as code (exec)"]


@pytest.mark.parametrize(
    "source", ["-" * 100_000 + "1", "x = " + "+".join(["'a'"] * 30_000), "(" * 300, "\0", "x = '\ud800'"]
)
def test_a_file_that_breaks_the_parser_is_named(source: str) -> None:
    assert "the file is no Python" in problem_of(source, TEMPLATE)


def test_what_hides_and_what_looks_at_files_is_refused_by_the_gate_too() -> None:
    hiding = {"import base64", "exec('x')", "import inspect", "import gc", "import pathlib", "open('x')"}
    hiding |= {"import os\nos.stat('x')", "from os import _exit"}
    assert all(use.kind in NOBODYS for source in hiding for use in uses(ast.parse(source)))
    open_ones = ["import subprocess", "import socket"]
    assert not any(use.kind in NOBODYS for source in open_ones for use in uses(ast.parse(source)))


@pytest.mark.parametrize(
    "code",
    [
        "import random\nrandom._os.stat('x')",
        "import random as r\nlook = r._os",
        "from random import _os",
        "import threading\nthreading._sys.modules['builtins'].exec('1')",
        "import random\ngetattr(random, '_os')",
    ],
)
def test_what_a_module_keeps_to_itself_is_refused(code: str) -> None:
    """random._os is os, and threading._sys all of the interpreter."""
    assert [use.kind for use in uses(ast.parse(code))][:1] == [INTERPRETER]


def test_what_a_module_says_of_itself_is_not() -> None:
    assert list(uses(ast.parse("import json\nprint(json.__name__, json.__doc__)"))) == []
