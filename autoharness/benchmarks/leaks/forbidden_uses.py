"""Finds forbidden uses in an agent file: modules, builtins and attributes that it must not use.

It reads the program as text, so everything that it refuses could be written in a way that it does not see. It is no
protection; the agent host's confinement is. It says at once, and at no cost, what would fail there, or keep a reader
from seeing what the file does.
"""

import ast
import builtins
import re
from collections.abc import Iterator, Set
from contextlib import suppress
from typing import NamedTuple

from autoharness.benchmarks.leaks.builtin_names import builtin_loads
from autoharness.benchmarks.leaks.dynamic_names import TextNames, beginning, is_worked_out
from autoharness.benchmarks.leaks.module_names import FINE, Modules, Taken
from autoharness.benchmarks.leaks.source_text import oddities, parsed

FILES = "reads or writes files"
PROCESSES = "starts processes"
SYSTEM = f"{FILES}, or {PROCESSES}"
NETWORK = "uses the network"
CODE = "runs text as code"
INTERPRETER = "reaches into the interpreter"
OWN_FILE = "reads its own file"
DECODES = "decodes data"
ELSEWHERE = "imports what agent files do not need"

NOBODYS = frozenset({CODE, INTERPRETER, OWN_FILE, DECODES, ELSEWHERE, FILES, SYSTEM})
"""Kinds that no edit needs, not even a user's: they keep a reader from seeing what the file does; and a file's times
tell an agent where it is."""
INSTEAD = {
    FILES: "write the text into agent.py, and keep what is learned in HarnessState",
    PROCESSES: "do it in this process; threads and asyncio work",
    NETWORK: "ask the model, by generate or openai_options",
    CODE: "write the code itself",
    INTERPRETER: "call the object's own methods, by their names",
    OWN_FILE: "put the text into a variable",
    DECODES: "write the text as it is",
    ELSEWHERE: "json, re, dataclasses, datetime, logging and the like are there; another package is for a baseline",
}

_MODULES = {
    FILES: "pathlib shutil tempfile glob fileinput mmap sqlite3 dbm shelve zipfile tarfile fcntl mailbox netrc",
    PROCESSES: "subprocess multiprocessing pty signal",
    NETWORK: "socket ssl ftplib smtplib socketserver xmlrpc imaplib poplib webbrowser requests httpx aiohttp urllib3",
    CODE: "code codeop runpy timeit trace profile cProfile pdb bdb doctest rlcompleter",
    INTERPRETER: "ctypes cffi importlib imp builtins gc marshal pickle copyreg pkgutil zipimport unittest",
    OWN_FILE: "inspect linecache tokenize dis pyclbr pydoc symtable",
    DECODES: "zlib bz2 lzma gzip base64 binascii codecs quopri uu struct array encodings compression plistlib",
}
_KIND_OF_MODULE = {name: kind for kind, names in _MODULES.items() for name in names.split()}
_PARTLY = {
    "html": (DECODES, "escape"),
    "http": (NETWORK, "HTTPStatus"),
    "io": (FILES, "StringIO BytesIO TextIOBase"),
    "os": (SYSTEM, "environ getenv linesep sep"),
    "sys": (
        INTERPRETER,
        "stderr stdout maxsize maxunicode version version_info exc_info float_info getsizeof getrecursionlimit intern"
        " platform",
    ),
    "traceback": (OWN_FILE, "format_exc print_exc format_exception print_exception format_exception_only"),
    "urllib": (NETWORK, "parse"),
}
"""Modules of which only these names are fine."""
_NOT_OF = {
    "asyncio": (PROCESSES, "create_subprocess_exec create_subprocess_shell subprocess"),
    "concurrent": (PROCESSES, "process interpreters"),
    "logging": (FILES, "FileHandler handlers config"),
    "operator": (INTERPRETER, "attrgetter methodcaller"),
    "string": (INTERPRETER, "Formatter"),
    "types": (CODE, "FunctionType LambdaType CodeType MethodType ModuleType CellType"),
    "typing": (CODE, "get_type_hints ForwardRef evaluate_forward_ref"),
    "unicodedata": (DECODES, "lookup"),
}
"""Modules that are fine except these names."""
_PACKAGES = frozenset(
    """
    tau2 openai agents agent_framework langgraph langchain langchain_core langchain_openai pydantic typing_extensions
    numpy pandas
    """.split()  # noqa: SIM905
)
"""Packages outside Python's library: those of the templates, and related ones."""
_OURS, _API = "autoharness", "autoharness.agent_api"
_BUILTINS = {
    **dict.fromkeys(("exec", "eval", "compile", "__import__"), CODE),
    **dict.fromkeys(("globals", "locals", "vars", "breakpoint", "__builtins__"), INTERPRETER),
    **dict.fromkeys(("__file__", "__spec__", "__loader__", "__cached__", "help", "license", "credits"), OWN_FILE),
    "memoryview": DECODES,
    "open": FILES,
}
_BY_NAME = frozenset(("getattr", "setattr", "delattr", "hasattr"))
_ATTRIBUTES = {
    INTERPRETER: """
        __base__ __bases__ __builtins__ __closure__ __code__ __defaults__ __func__ __get__ __getattribute__
        __globals__ __import__ __kwdefaults__ __mro__ __objclass__ __reduce__ __reduce_ex__ __self__ __subclasses__
        __wrapped__ mro _getframe _current_frames ag_code ag_frame cr_code cr_frame gi_code gi_frame tb_frame f_back
        f_builtins f_code f_globals f_locals co_code co_consts co_names
        """,
    OWN_FILE: "__cached__ __file__ __loader__ __path__ __spec__",
    DECODES: "fromhex from_bytes to_bytes frombuffer a85decode b64decode b85decode unhexlify decompress",
    PROCESSES: "create_subprocess_exec create_subprocess_shell subprocess_exec subprocess_shell ProcessPoolExecutor",
    NETWORK: "create_connection create_server open_connection open_unix_connection start_server start_unix_server",
    CODE: "get_type_hints _evaluate _eval_type",
}
_KIND_OF_ATTRIBUTE = {name: kind for kind, names in _ATTRIBUTES.items() for name in names.split()}
_IN_TEXT = re.compile(
    r"__(?:base|bases|builtins|closure|code|func|getattribute|globals|import|loader|mro|reduce|reduce_ex"
    r"|self|spec|subclasses|wrapped)__"
)
"""Names that `str.format` and `getattr` find by a text."""
_COMMON_WORDS = {"array", "code", "profile", "signal", "struct", "trace"}
_MODULES_OF_OTHERS = frozenset({*_KIND_OF_MODULE, *_PARTLY}) - _COMMON_WORDS
"""Names under which other modules and packages hold these modules."""
_MOST_PROBLEMS = 3
_PLAIN_CODECS = {"utf-8", "utf8", "utf_8", "ascii", "us-ascii", "latin-1", "latin1", "iso-8859-1"}


class Use(NamedTuple):
    line: int
    kind: str
    what: str
    """The kind, and the thing in brackets: "reads or writes files (open)"."""

    @property
    def instead(self) -> str:
        return INSTEAD.get(self.kind, INSTEAD[FILES])


def uses(tree: ast.Module) -> Iterator[Use]:
    """Forbidden uses in an agent file. A name that the file gives to something of its own is fine."""
    for node, kind, what in _found(tree):
        yield Use(getattr(node, "lineno", 0), kind, f"{kind} ({what})")


Found = tuple[ast.AST, str, str]
"""(place, kind, thing)"""


def _found(tree: ast.Module) -> Iterator[Found]:
    nodes = list(ast.walk(tree))
    modules, texts = Modules(nodes), TextNames(nodes)
    called = {id(node.func): node for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        yield from _of_node(node, called)
        if isinstance(node, ast.Call):
            yield from _of_call(node, modules, texts)
    for taken in modules.taken():
        yield from _of_taken(taken)
    for name in builtin_loads(tree, _BUILTINS.keys()):
        if not (name.id == "vars" and _is_dict_of_one(called.get(id(name)))):
            yield name, _BUILTINS[name.id], name.id
    for name in builtin_loads(tree, _BY_NAME):
        yield from [(name, INTERPRETER, f"{name.id} under another name")] if id(name) not in called else []
    owners = {id(call.args[0]) for call in called.values() if _name_of(call.func) in _BY_NAME and call.args}
    for place, path in modules.handed_on():
        if id(place) not in owners:
            yield place, _PARTLY.get(path, (INTERPRETER,))[0], f"{path} under another name"


def _of_node(node: ast.AST, called: dict[int, ast.Call]) -> Iterator[Found]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from _of_import(node, alias.name, [])
    elif isinstance(node, ast.ImportFrom):
        names = [alias.name for alias in node.names]
        yield from _of_import(node, "." * node.level + (node.module or ""), names)
        yield from ((node, _KIND_OF_ATTRIBUTE[name], name) for name in names if name in _KIND_OF_ATTRIBUTE)
    elif isinstance(node, ast.Attribute):
        yield from _of_attribute(node, called)
    elif isinstance(node, ast.MatchClass):
        yield from ((node, _KIND_OF_ATTRIBUTE[name], name) for name in node.kwd_attrs if name in _KIND_OF_ATTRIBUTE)
    elif isinstance(node, ast.Constant | ast.BinOp):
        yield from ((node, INTERPRETER, f"{found} in a text") for found in _IN_TEXT.findall(_joined(node))[:1])
    elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
        yield from _of_type(node.annotation)
    elif isinstance(node, ast.Subscript):
        yield from _of_type(node.slice)


def _joined(node: ast.AST) -> str:
    """The value of a text, or of a sum of texts."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = [node.right]
        left: ast.expr = node.left
        while isinstance(left, ast.BinOp) and isinstance(left.op, ast.Add):
            parts.append(left.right)
            left = left.left
        parts.append(left)
        return "".join(
            one.value if isinstance(one, ast.Constant) and isinstance(one.value, str) else " " for one in parts[::-1]
        )
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _of_type(annotation: ast.expr) -> Iterator[Found]:
    """A text in the place of a type may be run: it is code as well."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Constant) and "(" in str(node.value):
            with suppress(SyntaxError, ValueError):
                inside = parsed(str(node.value).strip())
                yield from ((node, kind, what) for _, kind, what in _found(inside))


def _of_import(node: ast.stmt, module: str, names: list[str]) -> Iterator[Found]:
    top = module.partition(".")[0]
    if top == _OURS:
        if module != _API and names != [_API.partition(".")[2]]:
            yield node, INTERPRETER, module
    elif top in _KIND_OF_MODULE:
        yield node, _KIND_OF_MODULE[top], module
    elif names == ["*"] and module in _PARTLY:
        yield node, _PARTLY[module][0], f"{module}.*"
    elif top not in FINE and top not in _PACKAGES:
        yield node, ELSEWHERE, top or "a file beside it"


def _of_taken(taken: Taken) -> Iterator[Found]:
    """What is wrong with one name of an otherwise fine module."""
    top, what = taken.module.partition(".")[0], f"{taken.module}.{taken.name}"
    kind, fine = _PARTLY.get(taken.module, ("", ""))
    unwanted, names = _NOT_OF.get(top, ("", ""))
    if top in _KIND_OF_MODULE:
        return  # the import says so
    if kind and taken.name not in fine.split():
        yield taken.node, kind, what
    elif taken.name in names.split():
        yield taken.node, unwanted, what
    elif taken.name in _MODULES_OF_OTHERS and (top != _OURS or taken.module == _API):  # json.codecs is codecs
        yield taken.node, _KIND_OF_MODULE.get(taken.name) or _PARTLY[taken.name][0], what
    elif taken.is_inside or (top == _OURS and taken.name.startswith("_")):
        yield taken.node, INTERPRETER, what


def _of_attribute(node: ast.Attribute, called: dict[int, ast.Call]) -> Iterator[Found]:
    if node.attr in _KIND_OF_ATTRIBUTE:
        yield node, _KIND_OF_ATTRIBUTE[node.attr], node.attr
    elif node.attr == "__dict__" and _is_type(node.value):
        yield node, INTERPRETER, "__dict__ of a type"
    elif node.attr in ("decode", "encode") and id(node) not in called and isinstance(node.ctx, ast.Load):
        yield node, DECODES, f"{node.attr} under another name"


def _is_type(node: ast.expr) -> bool:
    """Whether it is one of Python's own types."""
    name = _name_of(node.func if isinstance(node, ast.Call) else node)
    return name == "type" or (isinstance(node, ast.Name) and isinstance(getattr(builtins, name, None), type))


def _is_dict_of_one(call: ast.Call | None) -> bool:
    """`vars(x)` is only `x.__dict__`; without an argument it gives all names."""
    if call is None or len(call.args) != 1 or call.keywords:
        return False
    return not isinstance(call.args[0], ast.Starred) and not _is_type(call.args[0])


def _name_of(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _of_call(node: ast.Call, modules: Modules, texts: TextNames) -> Iterator[Found]:
    name = _name_of(node.func)
    if name in _BY_NAME and len(node.args) > 1:
        yield from (
            (node, kind, what) for kind, what in _of_getattr(name, node.args[0], node.args[1], modules, texts)
        )
    elif name in _BY_NAME and any(isinstance(one, ast.Starred) for one in node.args):
        yield node, INTERPRETER, f"{name} with a name that is put together"
    elif isinstance(node.func, ast.Attribute) and node.func.attr in ("decode", "encode"):
        is_of_type = _is_type(node.func.value)  # bytes.decode(text, codec)
        yield from _of_codec(node, node.func.attr, 1 if is_of_type else 0)
    elif name in ("str", "bytes", "bytearray"):
        yield from _of_codec(node, name, 1)


def _of_codec(call: ast.Call, what: str, place: int) -> Iterator[Found]:
    """The codec is the argument at this place, or a named one."""
    named = [one.value for one in call.keywords if one.arg in ("encoding", None)]
    for codec in [*call.args[place : place + 1], *named]:
        if not (isinstance(codec, ast.Constant) and str(codec.value).lower() in _PLAIN_CODECS):
            yield call, DECODES, f"{what} with a codec that is not utf-8"


def _of_getattr(
    call: str, owner: ast.expr, name: ast.expr, modules: Modules, texts: TextNames
) -> Iterator[tuple[str, str]]:
    """A computed name, or one that is looked up in a module, may be any; one that begins with `handle_` may not."""
    path = modules.path(owner)
    if path and not isinstance(name, ast.Constant):
        yield INTERPRETER, f"{call} of the module {path} with a name that is put together"
        return
    if path and isinstance(name, ast.Constant):
        for _, kind, _ in _of_taken(Taken(owner, path, str(name.value))):
            yield kind, f"{call} with {name.value!r}"
    for text, is_itself in texts.of(name):
        if isinstance(text, ast.Constant):
            if text.value in _KIND_OF_ATTRIBUTE:
                yield _KIND_OF_ATTRIBUTE[text.value], f"{call} with {text.value!r}"
        elif is_worked_out(text) or _may_be_any(text, is_itself):
            yield INTERPRETER, f"{call} with a name that is put together"


def _may_be_any(text: ast.expr, is_itself: bool) -> bool:
    """Whether a computed text may be one of the refused names."""
    begins = beginning(text)
    if not begins and not is_itself:
        return False
    return not begins.strip("_") or any(one.startswith(begins) for one in (*_KIND_OF_ATTRIBUTE, *_BUILTINS))


def problem_of(source: str, incumbent: str) -> str:
    """Why an agent file is not even tried: at most three reasons; "" if it is.

    What the incumbent has does not count. Of one that cannot be parsed, no use is known.
    """
    try:
        known = {use.what for use in uses(parsed(incumbent))}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        known = set()  # that is not the edit's fault: it may mend it
    had = {odd.what for odd in oddities(incumbent)}
    problems = [f"line {odd.line} {odd.what}" for odd in oddities(source) if odd.what not in had]
    try:
        problems += _problems_of(parsed(source), known)
    except SyntaxError as error:
        problems.append(f"the file is no Python: SyntaxError, line {error.lineno}: {error.msg}"[:200])
    except (ValueError, RecursionError, MemoryError) as error:
        problems.append(f"the file is no Python: {error.__class__.__name__}: {str(error)[:120]}")
    return "; ".join(problems[:_MOST_PROBLEMS])


def _problems_of(tree: ast.Module, known: Set[str]) -> list[str]:
    if "HarnessAgent" not in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}:
        return ["the file defines no class HarnessAgent"]
    new = {use.what: use for use in reversed(list(uses(tree))) if use.what not in known}
    return [f"line {use.line}: it {use.what}: {use.instead}" for use in sorted(new.values())]
