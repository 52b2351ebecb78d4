"""The layer rule of DESIGN.md, read from the import statements of every file."""

import ast
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = "autoharness"
LAYERS = (
    {"imports"},  # L0: loaded before everything else
    {"__init__", "errors", "strict_json", "system_calls"},  # L0: the rest of L0 may import these
    {
        "allowed_cpus",
        "claims",
        "environment",
        "files",
        "forgiving",
        "locks",
        "open_files",
        "outages",
    },  # L0: the machine
    {"endpoints", "exhausted"},  # L0: a part of the settings; what the machine ran out of
    {"checks"},  # L0: of the values of settings
    {"agent_api", "agent_request", "channel", "config", "lines", "mistakes", "results", "scrub"},  # L0
    {"builtin_names", "decoding", "module_names", "plain_text", "text_names", "vocabulary"},  # L0, for the scan
    {"literals", "uses"},  # L0, for the scan of edits
    {"opaque"},  # L0, for the scan of edits
    {"vault_folder"},  # L0: where the vault keeps its files
    {"repository", "settings"},  # L0: runs git; makes an experiment of what was typed
    {"controls", "databases", "lean", "overheard", "own_class", "postponed"} | {"seccomp", "throttle"},  # L0
    {"addressing", "bounded_search", "tool_sources"},  # L0, addressing on vocabulary
    {"lenient_replay", "message_order", "own_user", "same_draws", "time_limit"},  # L0, for tau
    {"told", "tool_bounds", "toolkits"},  # L0, for tau
    {"answers", "budget", "callbacks", "data", "holdout", "landlock"},  # L1
    {"outages", "progress", "records", "rows", "templates"},  # L1
    {"leaks"},  # L1
    {"scanner", "scanner_child"},  # L1, which scan in a process of its own
    {"sequential", "stats", "store", "tasks"},  # L1
    {"cli", "host_reply", "host_starter", "journal", "ledger_file", "live", "repeats", "watchdog"},  # L1
    {
        "coding_agents",
        "evaluator",
        "policy",
        "program",
        "sandbox",
        "spending",
        "suite",
        "worktree",
    },  # L1, built on those
    {"coder_reach", "ledger", "library_traces", "loop_budget"},  # L1, for coder; keeps what a policy looked at
    {"coder", "iterations", "workspace"},  # L1: coder runs programs of others, workspace shows the ledger
    {"blame", "diagnosis", "status"},  # L1, in words
    {"comparison", "learnings", "revealing", "trials", "watch"},  # L1
    {"harmless", "providers"},  # L2, for the gateway
    {"breaker"},  # L2, for the gateway
    {"tau2_flavours", "tau2_llm"},  # L2, for tau
    {"gateway", "host", "tau"},  # L2
    {"offline", "replay", "seeds", "simulation"},  # L3
    {"own_benchmark"},  # L3, which runs simulations
    {"benchmarks"},  # L3, whichever it is
    {"hosts"},  # L4, for the worker
    {"agent_link"},  # L4, a simulation's agent
    {"simulator"},  # L4, runs trials
    {"worker"},  # L4
    {"nursery"},  # L4, forks workers
    {"nursery_process"},  # L5, for the executor
    {"executor", "identity"},  # L5
    {"measure"},  # L5, which has one
    {"ray_executor"},  # L5, where the workers are elsewhere
    {"run_outcomes"},  # L6, for the bench
    {"bench"},  # L6
    {"runner"},  # L6, which has one
    {"checkup", "comparable", "contest", "nemo_results", "screen", "tables", "tau2_results"},  # L7, for commands
    {"scorecard", "witnesses"},  # L7, for benchmark and matrix
    {
        "audit",
        "choosing",
        "confirm",
        "matrix",
        "overview",
        "planning",
        "transcript",
    },  # L7, for gate, report, benchmark
    {"conversations", "costs", "exports", "plots", "task_map", "terminal"},  # L7, what a person looks at
    {"dry_run", "page"},  # L7
    {"server"},  # L7
    {"recording"},  # L7, for record
    {"benchmark", "gate", "prepare", "proposal", "record", "report"},  # L7
    {"gating"},  # L7, its command
    {"loop"},  # L8
    {"optimize"},  # L8, its command
)
LAYER = {module: number for number, modules in enumerate(LAYERS) for module in modules}
CHILD_SIDE = {"base_url", "coder_child", "host_child", "scripted_coder", "tau2_standin"}
CHILD_IMPORTS = {
    "agent_api",
    "base_url",
    "channel",
    "errors",
    "landlock",
    "sandbox",
    "seccomp",
    "strict_json",
    "system_calls",
    "tau2_standin",
}
# tau drives tau2. Two modules are for tau alone: what tau2's two packages do otherwise, and where tau2 asks an LLM
ONLY_IN = {"tau2": {"tau", "tau2_flavours", "tau2_llm"}, "litellm": {"nursery", "providers"}}
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
MOST_HELP_CPU_S = 0.5


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT / PACKAGE).with_suffix("").parts)


MODULES = {_name(path): path for path in sorted((ROOT / PACKAGE).rglob("*.py"))}
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
    """The package's modules among the imported names."""
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == PACKAGE and len(part) > 1 and part[1] in MODULES}


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


def test_every_module_stands_in_the_table() -> None:
    assert set(MODULES) == set(LAYER) | CHILD_SIDE


@pytest.mark.parametrize("module", sorted(set(MODULES) - CHILD_SIDE))
def test_a_module_imports_only_strictly_lower_layers(module: str) -> None:
    """So nothing imports the child side either, which stands in no layer."""
    lower = {name for name, layer in LAYER.items() if layer < LAYER.get(module, 0)}
    assert _own(_imports(MODULES[module].read_text())) <= lower


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


@pytest.mark.parametrize("path", [*MODULES.values(), *DOORS, *AGENT_FILES], ids=lambda path: path.name)
def test_nothing_imports_a_door(path: Path) -> None:
    assert not _tops(_imports(path.read_text())) & {door.stem for door in DOORS}


@pytest.mark.parametrize("library", ONLY_IN)
def test_only_these_modules_import_the_library(library: str) -> None:
    files = [*MODULES.values(), *DOORS]
    assert {path.stem for path in files if library in _tops(_imports(path.read_text()))} <= ONLY_IN[library]


@each_door
def test_starting_a_door_imports_nothing_heavy(door: Path) -> None:
    started = _imported_at_start(door)
    assert "errors" in started
    heavy = {name: _tops(_imports(MODULES[name].read_text(), lazy=False)) & HEAVY for name in started}
    assert not {name: libraries for name, libraries in heavy.items() if libraries}


def test_help_answers_at_once() -> None:
    def cpu_s() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    spent_s = []
    for _ in range(3):
        before_s = cpu_s()
        subprocess.run([sys.executable, "benchmark.py", "--help"], cwd=ROOT, check=True, capture_output=True)
        spent_s.append(cpu_s() - before_s)
    assert min(spent_s) <= MOST_HELP_CPU_S
