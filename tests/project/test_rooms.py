"""The chain of rooms (docs/architecture.md), read from the import statements of every file."""

import ast
import collections
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = "autoharness"
CHAIN = (
    {""},  # the package's own folder
    {"core"},
    {"agent_api"},
    {"vault", "host", "llm", "benchmarks"},
    *({"engine"}, {"gate"}, {"loop"}, {"report"}, {"commands"}),
)
"""The rooms: each imports only those before it, and siblings do not import each other."""
PLACE = {room: place for place, rooms in enumerate(CHAIN) for room in rooms}
CHILD_SIDE = {
    "host.openai_server",
    "host.child",
    "host.tau2_standin",
    "loop.coding_agent_child",
    "loop.scripted_agent",
}
CHILD_IMPORTS = {
    *("agent_api", "core.channel", "core.errors", "core.strict_json"),
    *(
        "host.openai_server",
        "host.landlock",
        "host.sandbox",
        "host.seccomp",
        "host.system_calls",
        "host.tau2_standin",
    ),
}
MOST_FILES, MOST_LINES = 20, 350
ONLY_IN = {"tau2": ("benchmarks.tau2.",), "litellm": ("engine.forkserver", "llm.prices", "llm.providers")}
HEAVY = {
    "dotenv",
    "git",
    "jinja2",
    "litellm",
    "matplotlib",
    "numpy",
    "openpyxl",
    "pydantic",
    "ray",
    "rich",
    "tau2",
    "yaml",
}
FRAMEWORKS = {
    "openai_sdk": {"openai"},
    "agent_framework": {"agent_framework", "openai"},
    "langgraph": {"langchain_core", "langchain_openai", "langgraph"},
}
"""What the agent templates of these names import besides."""
MOST_DOOR_LINES = 15


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT / PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def _room(module: str) -> str:
    return module.partition(".")[0] if "." in module or module in PLACE else ""


MODULES = {_name(path): path for path in sorted((ROOT / PACKAGE).rglob("*.py"))}
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}
DOORS = sorted(ROOT.glob("*.py"))
AGENT_FILES = sorted((ROOT / "agent").rglob("*.py"))
each_module = pytest.mark.parametrize("module", MODULES)
each_door = pytest.mark.parametrize("door", DOORS, ids=lambda path: path.name)
each_agent_file = pytest.mark.parametrize("path", AGENT_FILES, ids=lambda path: path.name)


def _nodes(tree: ast.AST, lazy: bool) -> Iterator[ast.AST]:
    """Every node; without `lazy` only those that run when the file is imported."""
    for node in ast.iter_child_nodes(tree):
        if lazy or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from _nodes(node, lazy)


def _imports(source: str, lazy: bool = True) -> set[str]:
    """The dotted names that are imported: `from a.b import c` gives a.b.c; a relative one is the package's."""
    found: set[str] = set()
    for node in _nodes(ast.parse(source), lazy):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = (PACKAGE if node.level else "", node.module or "")
            found |= {".".join(filter(None, [*origin, alias.name])) for alias in node.names}
    return found


def _tops(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def _own(names: set[str]) -> set[str]:
    """The package's modules among the imported names: each is a module, or stands in one."""
    inside = {name.removeprefix(f"{PACKAGE}.") for name in names if name.startswith(f"{PACKAGE}.")}
    parts = {one for name in inside for one in (name, name.rpartition(".")[0])}
    return {one for one in parts if one in MODULES and one not in PACKAGES}


def _imported_at_start(door: Path) -> set[str]:
    """The package's modules that starting a door imports, straight or through others."""
    found: set[str] = set()
    fresh = _own(_imports(door.read_text(), lazy=False))
    while fresh:
        found |= fresh
        fresh = _own(set().union(*(_imports(MODULES[name].read_text(), lazy=False) for name in fresh))) - found
    return found


@pytest.mark.parametrize(
    ("source", "lazy", "expected"),
    [
        ("import a.b, c", True, {"a.b", "c"}),
        ("from a.b import c, d", True, {"a.b.c", "a.b.d"}),
        ("from . import store", True, {"autoharness.store"}),
        ("from .store import find", True, {"autoharness.store.find"}),
        ("def f():\n  if x:\n    import a", True, {"a"}),
        ("def f():\n  import a", False, set()),
        ("class C:\n  def f(self):\n    import a", False, set()),
        ("try:\n  import a\nfinally:\n  import b", False, {"a", "b"}),
    ],
    ids=["import", "from", "relative", "relative-from", "in-a-function", "not-yet", "method", "conditional"],
)
def test_finds_every_import_statement(source: str, lazy: bool, expected: set[str]) -> None:
    assert _imports(source, lazy) == expected


@each_module
def test_a_room_imports_only_rooms_before_it_in_the_chain(module: str) -> None:
    room, rooms = _room(module), {_room(name) for name in _own(_imports(MODULES[module].read_text()))}
    assert all(other == room or PLACE[other] < PLACE[room] for other in rooms)


@pytest.mark.slow
def test_no_two_modules_import_each_other_straight_or_through_others() -> None:
    graph = {name: _own(_imports(path.read_text())) for name, path in MODULES.items()}
    assert set(graphlib.TopologicalSorter(graph).static_order()) >= set(graph) - PACKAGES


def test_rooms_and_files_stay_small_and_the_files_that_make_rooms_are_empty() -> None:
    """The child sides import through those files."""
    rooms = collections.Counter(path.parent for path in MODULES.values())
    assert not {room.name: files for room, files in rooms.items() if files > MOST_FILES}
    lines = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert not {name: count for name, count in lines.items() if count > MOST_LINES}
    assert not [name for name in PACKAGES - {"__init__"} if lines[name]]


def test_nothing_imports_what_only_child_processes_run() -> None:
    parents = {name: _own(_imports(path.read_text())) for name, path in MODULES.items() if name not in CHILD_SIDE}
    assert not {name: own & CHILD_SIDE for name, own in parents.items() if own & CHILD_SIDE}


@pytest.mark.parametrize("module", sorted(CHILD_SIDE))
def test_the_child_side_imports_the_standard_library_and_little_of_the_package(module: str) -> None:
    names = _imports(MODULES[module].read_text())
    assert _own(names) <= CHILD_IMPORTS
    assert _tops(names) <= sys.stdlib_module_names | {PACKAGE}


@each_agent_file
def test_the_agent_imports_only_agent_api_the_standard_library_and_its_framework(path: Path) -> None:
    names = _imports(path.read_text())
    allowed = sys.stdlib_module_names | FRAMEWORKS.get(path.stem, set())
    foreign = {name for name in names if name.partition(".")[0] not in allowed}
    assert all(f"{name}.".startswith(f"{PACKAGE}.agent_api.") for name in foreign)


@each_door
def test_a_door_is_short_and_imports_one_module_of_the_package(door: Path) -> None:
    assert len(_own(_imports(door.read_text()))) == 1
    assert len(door.read_text().splitlines()) <= MOST_DOOR_LINES


@pytest.mark.slow
@pytest.mark.parametrize("path", [*MODULES.values(), *DOORS, *AGENT_FILES], ids=lambda path: path.name)
def test_nothing_imports_a_door(path: Path) -> None:
    assert not _tops(_imports(path.read_text())) & {door.stem for door in DOORS}


@pytest.mark.parametrize("library", ONLY_IN)
def test_only_these_modules_import_the_library(library: str) -> None:
    files = MODULES | {door.name: door for door in DOORS}
    found = {name for name, path in files.items() if library in _tops(_imports(path.read_text()))}
    assert not {name for name in found if not name.startswith(ONLY_IN[library])}


@pytest.mark.slow
@each_door
def test_starting_a_door_imports_nothing_heavy(door: Path) -> None:
    started = _imported_at_start(door)
    assert "core.errors" in started
    heavy = {name: _tops(_imports(MODULES[name].read_text(), lazy=False)) & HEAVY for name in started}
    assert not {name: libraries for name, libraries in heavy.items() if libraries}


def test_help_answers_at_once() -> None:
    """It loads nothing that takes long to load; `.env` is read."""
    command = [sys.executable, "-X", "importtime", "benchmark.py", "--help"]
    timed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stderr
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in timed.splitlines()}
    assert "autoharness" in loaded and loaded & HEAVY <= {"dotenv"}
