"""What confines an agent host, what is said where a kernel lacks a part of it, what a host of its own is worth."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkout import Checkout
from conftest import ROOT, TEMPLATE
from llm_server import LLMServer, assistant
from lone_host import SETUP, LoneHost

from autoharness.core.errors import AgentError, HostDied, HostFailed
from autoharness.core.outcomes import Trial
from autoharness.engine.simulator import Simulator
from autoharness.host import landlock, sandbox
from autoharness.host.pool import Hosts
from autoharness.host.process import AgentFile, Host
from autoharness.host.starter import Confinement

HELLO = {"role": "user", "content": "Hello"}
ALL_LAYERS = {"limits", "privileges", "files", "signals", "calls"}

needs_the_newest = pytest.mark.skipif(landlock.abi() < landlock.SCOPES_SINCE, reason="this kernel lacks a layer")


def complete(request: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [{"index": 0, "finish_reason": "stop", "message": assistant("Hello, " + request["model"])}]}


def answering(expression: str, imports: str = "") -> str:
    """The template, with the value of an expression as what it says."""
    return (
        f"{TEMPLATE}\n{imports}\ndef answer(self, message, state):\n"
        f"    return AssistantMessage(content=str({expression})), state\n"
        "HarnessAgent.generate_next_message = answer\n"
    )


def ask(host: Host) -> str:
    host.call("start", complete, **SETUP)
    return str(host.call("next", complete, message=HELLO)["content"])


@needs_the_newest
def test_every_layer_is_in_force_here(tmp_path: Path) -> None:
    host = LoneHost(AgentFile(TEMPLATE, "m", None), 10, Confinement("sandbox", tmp_path))
    try:
        assert host.layers == dict.fromkeys(ALL_LAYERS, "")
    finally:
        host.close()


def test_another_system_lacks_layers_and_goes_on(tmp_path: Path) -> None:
    """Linux's calls are others there, or none. In a process of its own, since what is in force stays."""
    code = (
        "import sys; sys.platform = 'darwin'\nfrom autoharness.host import sandbox\n"
        f"setup = dict(folder={str(tmp_path)!r}, private=[], memory_mb=4096, landlock_abi=99, seccomp=True)\n"
        f"confined = sandbox.confine(sandbox.Library(setup), *[{str(tmp_path)!r}] * 2, port=1)\n"
        "print(sandbox.own_network(setup), *confined.items(), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "this system has none",
        "('limits', '')",
        "('privileges', '')",
        "('files', 'the kernel has no Landlock')",
        "('tcp', 'Landlock ABI 4 or newer, and here is none')",
        "('signals', 'Landlock ABI 6 or newer, and here is none')",
        "('calls', 'this system has no seccomp')",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("missing", "layers"),
    [("landlock", ["files", "signals"]), ("landlock,seccomp", ["files", "signals", "calls"])],
)
def test_what_an_older_kernel_does_not_enforce_is_said(prepared: Checkout, missing: str, layers: list[str]) -> None:
    done = on_an_older_kernel(prepared, missing, "benchmark.py", "--num-tasks", "1")
    assert done.returncode == 0, done.stderr
    assert f"isolation sandbox without {', '.join(layers)}\n" in done.stderr
    assert f"isolation: sandbox without {', '.join(layers)}\n" in done.stdout
    said = [line for line in done.stderr.splitlines() if "not enforced: " in line]
    assert [line.split("not enforced: ")[1].split()[0] for line in said] == layers
    newest = max(prepared.kept.glob("runs/*/run-*.json"), key=lambda path: path.stat().st_mtime)
    record = json.loads(newest.read_text())
    assert [layer for layer, why in record["layers"].items() if why] == layers


def test_what_is_required_and_missing_is_no_run(prepared: Checkout) -> None:
    with (prepared.root / "experiment_config.yaml").open("a") as config:
        config.write("isolation: required\n")
    before = prepared.contents()
    done = on_an_older_kernel(prepared, "landlock", "benchmark.py")
    assert done.returncode == 3
    assert done.stderr.startswith("error: isolation: required, but not enforced: files (the kernel has no Landlock")
    assert done.stderr.count("\n") == 1
    trials = [path for path, _ in prepared.contents().items() - before.items() if "/trials/" in path]
    assert not trials


@needs_the_newest
def test_what_is_required_and_there_runs(prepared: Checkout) -> None:
    with (prepared.root / "experiment_config.yaml").open("a") as config:
        config.write("isolation: required\n")
    done = prepared.run("benchmark.py", "--num-tasks", "1")
    assert done.returncode == 0 and "isolation sandbox\n" in done.stderr
    assert "1 of 1 simulations are in the store already" in done.stderr  # the sandbox is the same one


def on_an_older_kernel(checkout: Checkout, missing: str, *command: str) -> Any:
    return checkout.run(str(ROOT / "tests" / "support" / "older_kernel.py"), missing, sys.executable, *command)


@pytest.mark.parametrize("train", [False, True])
def test_a_simulation_finds_nothing_of_other_simulations(simulator: Callable[..., Simulator], train: bool) -> None:
    """Otherwise an agent could try in one trial what it does in the next, or tell a trace what it has heard."""
    source = TEMPLATE + (
        "\nimport os, pathlib\nmet = []\nfirst = HarnessAgent.get_init_state\n"
        "def begin(self, message_history=None):\n    met.append(1)\n"
        "    found = os.listdir('.') + os.listdir(os.environ['HOME']) + met[1:]\n"
        "    if found: raise ValueError(f'we met before: {found}')\n"
        "    pathlib.Path('note').write_text('I was here')\n    return first(self, message_history)\n"
        "HarnessAgent.get_init_state = begin\n"
    )
    machine = simulator(source, agent_model="offline/clerk")
    outcomes = [machine.run(Trial("create_task_1", number, number), train) for number in (0, 1)]
    assert not any("we met before" in outcome.detail for outcome in outcomes), outcomes


def test_a_host_that_is_confined_otherwise_than_the_run_says_does_not_run(tmp_path: Path) -> None:
    agents = {"": AgentFile(TEMPLATE, "m", None)}
    hosts = Hosts(agents, 10, Confinement("sandbox", tmp_path), layers={"files": "the kernel has no Landlock"})
    with pytest.raises(HostFailed, match="not confined as others are"), hosts.host(""):
        pass
    hosts.close()
    assert not list(tmp_path.iterdir())


def test_a_host_that_cannot_be_started_is_infrastructure(tmp_path: Path) -> None:
    """Such as on a full disk: nobody's score."""
    with pytest.raises(HostFailed, match="did not start"):
        LoneHost(AgentFile(TEMPLATE, "m", None), 10, Confinement("sandbox", tmp_path / "nowhere"))


def test_the_agent_is_told_nothing_of_the_task(simulator: Callable[..., Simulator]) -> None:
    """Not its id, nor its trial's number or seed: that would say what the trial is for."""
    source = TEMPLATE + (
        "\nimport os, sys\ndef begin(self, message_history=None):\n"
        "    raise ValueError(f'{sorted(self.llm_args)} {sorted(os.environ)} {os.getcwd()} {sys.argv[1:]}')\n"
        "HarnessAgent.get_init_state = begin\n"
    )
    machine = simulator(source, agent_model="offline/clerk", agent_llm_args={"temperature": 0.5})
    told = [machine.run(Trial("create_task_1", number, 626729), False).detail for number in (0, 7)]
    assert all("['temperature'] ['AGENT_MODEL', 'AGENT_REASONING_EFFORT', 'HOME'" in one for one in told), told
    assert not any("create_task" in one or "626729" in one for one in told)


def test_the_kind_of_a_file_can_be_guessed(tmp_path: Path) -> None:
    """Python reads /etc/mime.types for that, and raises where it is there and out of reach."""
    source = answering("__import__('mimetypes').guess_type('a.txt')[0]")
    host = LoneHost(AgentFile(source, "m", None), 10, Confinement("sandbox", tmp_path))
    try:
        assert ask(host) == "text/plain"
    finally:
        host.close()


def test_of_the_system_s_libraries_it_reads_those_that_can_be_loaded_and_nothing_beside_them(tmp_path: Path) -> None:
    loaded = "ctypes.CDLL(ctypes.util.find_library('z') or 'libz.so.1')"
    beside = Path("/usr/lib/os-release")
    host = LoneHost(
        AgentFile(answering(loaded, "import ctypes.util"), "m", None), 10, Confinement("sandbox", tmp_path)
    )
    other = LoneHost(
        AgentFile(answering(f"open('{beside}').read()"), "m", None), 10, Confinement("sandbox", tmp_path)
    )
    try:
        assert "libz" in ask(host)
        if not beside.exists() or host.layers["files"]:
            pytest.skip(f"no {beside} here, or {host.layers['files']}")
        with pytest.raises(AgentError, match="PermissionError"):
            ask(other)
    finally:
        host.close()
        other.close()


def test_without_a_list_of_libraries_it_reads_their_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sandbox, "_LINKER_CACHE", str(tmp_path / "ld.so.cache"))  # musl has none
    assert (Path("/usr/lib"), landlock.READ) in set(sandbox.library_rules([]))


LIBRARIES = {
    "numpy": "numpy.linalg.svd(numpy.random.rand(300, 300))[0].shape and numpy.zeros(10_000_000).sum()",
    "pandas": "pandas.DataFrame({'a': [1, 2]}).to_csv('x.csv') or pandas.read_csv('x.csv').shape",
    "pyarrow.parquet": "pyarrow.parquet.write_table(pyarrow.table({'a': [1]}), 'x.parquet') or "
    "pyarrow.parquet.read_table('x.parquet', memory_map=True).shape",
    "sklearn.ensemble": "sklearn.ensemble.RandomForestClassifier(n_jobs=2).fit([[0], [1]], [0, 1]).n_classes_",
    "openai": "openai.OpenAI(api_key='x').base_url",
    "langgraph.graph": "langgraph.graph.StateGraph(dict)",
    "asyncio": "asyncio.run(asyncio.wait_for(asyncio.to_thread(len, 'abc'), 10))",
    "concurrent.futures": "sum(concurrent.futures.ThreadPoolExecutor(8).map(len, ['a'] * 100))",
    "sqlite3": "sqlite3.connect('x.db').execute('create table a (b)').connection.commit()",
    "tempfile": "tempfile.TemporaryFile().write(b'x')",
    "ssl": "ssl.create_default_context()",
    "zoneinfo": "zoneinfo.ZoneInfo('Europe/Berlin')",
    "locale": "locale.setlocale(locale.LC_ALL, 'C.UTF-8')",
    "hashlib": "hashlib.scrypt(b'a', salt=b'b', n=2, r=1, p=1)",
    "time": "(time.thread_time(), time.process_time(), time.clock_gettime(time.CLOCK_BOOTTIME))",
    "signal": "signal.raise_signal(signal.SIGURG)",
    "os": "(os.sched_getaffinity(0), os.cpu_count(), os.getpgid(0), os.kill(os.getpid(), 0))",
    "resource": "resource.getrlimit(resource.RLIMIT_CPU)",
    "mmap": "mmap.mmap(-1, 4096).madvise(mmap.MADV_DONTNEED)",
    "fcntl": "fcntl.lockf(open('lock', 'w'), fcntl.LOCK_EX)",
}


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_libraries_go_on_working(tmp_path: Path, library: str) -> None:
    pytest.importorskip(library)
    host = LoneHost(
        AgentFile(answering(LIBRARIES[library], f"import {library}"), "m", None),
        60,
        Confinement("sandbox", tmp_path, memory_mb=4096),
    )
    try:
        ask(host)
    finally:
        host.close()


def test_out_of_memory_is_the_end_of_the_host(tmp_path: Path) -> None:
    source = answering("bytearray(10**9) and 1")
    host = LoneHost(AgentFile(source, "m", None), 10, Confinement("sandbox", tmp_path, memory_mb=512))
    try:
        with pytest.raises(HostDied, match=r"out of memory: agent.py:.*MemoryError"):
            ask(host)
    finally:
        host.close()


class TestBaseUrl:
    """A framework's own client, here OpenAI's, through the host's server."""

    CALL = (
        "openai.OpenAI(base_url=openai_endpoint()[0], api_key={key}, max_retries=0)"
        ".chat.completions.create(model='m', messages=[dict(role='user', content='Hi')]).choices[0].message.content"
    )
    IMPORTS = "import socket\nimport openai\nfrom autoharness.agent_api import openai_endpoint"

    def host(self, tmp_path: Path, expression: str, **settings: Any) -> Host:
        source = answering(expression, self.IMPORTS)
        return LoneHost(AgentFile(source, "m", None), 20, Confinement("sandbox", tmp_path, **settings))

    def test_a_client_of_its_own(self, tmp_path: Path) -> None:
        host = self.host(tmp_path, self.CALL.format(key="openai_endpoint()[1]"), base_url=True)
        try:
            assert ask(host) == "Hello, m"
            assert not host.layers["calls"]
        finally:
            host.close()

    def test_a_stray_caller_is_refused(self, tmp_path: Path) -> None:
        host = self.host(tmp_path, self.CALL.format(key="'somebody else'"), base_url=True)
        try:
            with pytest.raises(AgentError, match="the key is not the one of"):
                ask(host)
        finally:
            host.close()

    @pytest.mark.slow
    @needs_the_newest
    @pytest.mark.parametrize("place", ["('127.0.0.1', server)", "('127.0.0.2', own)", "('10.0.0.1', own)"])
    def test_nothing_else_is_in_reach(self, tmp_path: Path, place: str) -> None:
        with LLMServer(lambda request: assistant("Hello")) as server:
            ports = (
                f"(own := int(openai_endpoint()[0].split(':')[2][:-3]), server := {server.url.split(':')[2][:-3]})"
            )
            expression = f"{ports} and socket.create_connection({place}, timeout=5)"
            host = self.host(tmp_path, expression, base_url=True)
            try:
                if host.layers["network"]:
                    pytest.skip(f"no network of its own: {host.layers['network']}")
                with pytest.raises(AgentError, match=r"PermissionError|refused|unreachable"):
                    ask(host)
                assert not server.requests
            finally:
                host.close()

    def test_there_is_none_unless_the_experiment_has_one(self, tmp_path: Path) -> None:
        host = self.host(tmp_path, "openai_endpoint()")
        try:
            with pytest.raises(AgentError, match="LLMError: there is no base URL here: set agent_base_url"):
                ask(host)
        finally:
            host.close()
