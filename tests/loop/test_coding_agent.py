"""A coding agent is confined and bounded: a program that tries things stands in for one, in a real child process."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT

from autoharness.core.errors import UserError
from autoharness.core.settings import Experiment
from autoharness.host import landlock
from autoharness.loop import coding_agent as coder_module
from autoharness.loop.coding_agent import PROMPT, Coder, Ran
from autoharness.loop.coding_agents.choice import AGENTS, chosen
from autoharness.loop.coding_agents.definition import Used
from autoharness.loop.worktree import Worktree

needs_landlock = pytest.mark.skipif(not landlock.abi(), reason="the kernel has no Landlock")
needs_tcp_rules = pytest.mark.skipif(landlock.abi() < landlock.TCP_SINCE, reason="Landlock has no rules for TCP")
SECRET = "sk-a-secret-key-0123456789"


@pytest.fixture(autouse=True)
def _without_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading all libraries takes a second, and has tests of its own."""
    monkeypatch.setattr(coder_module, "settle", lambda *folders: [])


@pytest.fixture
def worktree(tmp_path: Path) -> Worktree:
    """As the loop makes one, without git."""
    made = Worktree(tmp_path / "session")
    for folder in (made.root / "agent", made.root / "workspace", made.scratch):
        folder.mkdir(parents=True)
    (made.root / "agent" / "agent.py").write_text("before\n")
    (made.root / "PROGRAM.md").write_text("Edit.\n")
    return made


def _run(
    worktree: Worktree,
    program: str,
    *arguments: str,
    timeout_s: float = 30.0,
    transcript: Path | None = None,
    **settings: str,
) -> tuple[Ran, str]:
    """Have this Python program in a coding agent's place; returns how it ended, and what it printed."""
    file = worktree.scratch / "agent.py"
    file.write_text(program)
    command = [sys.executable, str(file), *arguments]
    experiment = Experiment(coding_agent_command=command, coding_agent_timeout_s=timeout_s, **settings)  # type: ignore[arg-type]
    transcript = transcript or worktree.folder / "transcript.txt"
    ran = Coder(chosen(experiment), experiment).edit(worktree, transcript, 7)
    return ran, transcript.read_text()


@pytest.mark.slow
def test_it_works_in_its_worktree_and_is_told_what_to_do(worktree: Worktree) -> None:
    program = """
import os, pathlib, subprocess, sys
print(sys.stdin.read())
print(os.getcwd(), os.environ["AUTOHARNESS_ITERATION"], os.environ["HOME"])
subprocess.run("sed -i s/before/after/ agent/agent.py && echo done > workspace/note.md", shell=True, check=True)
pathlib.Path(os.environ["TMPDIR"], "x").write_text("its own")
"""
    ran, printed = _run(worktree, program)
    assert (ran.exit_code, ran.timed_out, ran.left_behind, ran.failed) == (0, False, 0, False), printed
    assert printed.startswith(PROMPT) and f"{worktree.root} 7 {worktree.scratch}" in printed
    assert (worktree.root / "agent" / "agent.py").read_text() == "after\n"
    assert worktree.text(Path("workspace/note.md")) == "done\n"


@pytest.mark.slow
@pytest.mark.parametrize("placeholder", ["{prompt}", "{prompt_file}"])
def test_a_command_names_where_it_wants_the_prompt(worktree: Worktree, placeholder: str) -> None:
    program = (
        "import os, sys; p = sys.argv[1]; print(sys.stdin.read(), os.path.exists(p) if p.endswith('.txt') else p)"
    )
    _, printed = _run(worktree, program, placeholder)
    assert printed.strip() == {"{prompt}": PROMPT, "{prompt_file}": "True"}[placeholder]


@pytest.mark.slow
@needs_landlock
def test_tau2_is_out_of_its_reach_wherever_it_lies(worktree: Worktree, tmp_path: Path) -> None:
    """In an environment inside what the coding agent is installed in, say."""
    installed = tmp_path / "installed"
    (
        tasks := installed / "venvs" / "one" / "lib" / "python3.12" / "site-packages" / "tau2" / "tasks.json"
    ).parent.mkdir(parents=True)
    (beside := tasks.parent.parent / "other.py").write_text("of another package")
    tasks.write_text("the answers")
    (program := installed / "bin" / "agent").parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat '{beside}' '{tasks}'\n")
    program.chmod(0o755)
    experiment = Experiment(coding_agent_command=[str(program)])
    Coder(chosen(experiment), experiment).edit(worktree, worktree.folder / "transcript.txt", 7)
    printed = (worktree.folder / "transcript.txt").read_text()
    assert "of another package" in printed and "Permission denied" in printed and "the answers" not in printed


@pytest.mark.slow
@needs_landlock
def test_the_vault_the_checkout_the_tasks_and_the_home_are_out_of_its_reach(
    worktree: Worktree, tmp_path: Path, tau2: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tau2 as package

    vault = tmp_path / "vault"
    (vault / "trials").mkdir(parents=True)
    (vault / "trials" / "one.json").write_text("{}")
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    tasks = next(Path(package.__file__).parent.parent.rglob("telecom/tasks.json"))
    inside = [vault / "trials" / "one.json", ROOT / "pyproject.toml", ROOT / "tests" / "conftest.py", tasks]
    inside += [Path.home() / ".bashrc", Path(f"/proc/{os.getpid()}/environ"), Path(f"/proc/{os.getpid()}/mem")]
    program = f"""
import os, pathlib
for name in {[str(path) for path in inside if path.exists()]}:
    try:
        open(name).read(1)
        print("READ", name)
    except (PermissionError, OSError) as error:
        print("refused", name)
for name in ("{ROOT}", "{vault}", "{Path.home()}"):
    try:
        print("LISTED", name, os.listdir(name)[:3])
    except PermissionError:
        print("refused", name)
for name in ("PROGRAM.md", ".git", "{tmp_path}/elsewhere", "{vault}/planted", "/etc/planted", "/tmp/planted"):
    try:
        pathlib.Path(name).write_text("x")
        print("WROTE", name)
    except OSError:
        print("refused", name)
try:
    os.kill({os.getpid()}, 0)
    print("SIGNALLED")
except PermissionError:
    print("refused to signal")
"""
    ran, printed = _run(worktree, program)
    assert ran.exit_code == 0 and printed.count("refused") >= 13, printed
    allowed = [] if landlock.abi() >= landlock.SCOPES_SINCE else ["SIGNALLED"]
    bad = [line for line in printed.splitlines() if line[:4].isupper() and line not in allowed]
    assert not bad


@pytest.mark.slow
def test_it_is_given_its_provider_and_nothing_else_of_the_environment(
    worktree: Worktree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", SECRET)
    monkeypatch.setenv("OPENAI_API_BASE", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("DATABASE_PASSWORD", "not for it")
    _, printed = _run(worktree, "import json, os; print(json.dumps(dict(os.environ)))")
    environment = json.loads(printed)
    assert environment["OPENAI_API_BASE"] == "http://127.0.0.1:9/v1"
    assert environment["GROQ_API_KEY"] == "($GROQ_API_KEY)", "the transcript has no keys"
    assert not {"AUTOHARNESS_VAULT", "DATABASE_PASSWORD", "PYTHONPATH"} & environment.keys()


@pytest.mark.slow
def test_it_is_not_given_the_key_to_a_server_of_ones_own(worktree: Worktree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", SECRET)
    monkeypatch.setenv("MY_API_KEY", "another-key")
    server = {"agent_model": "m", "agent_url": "http://h/v1", "agent_api_key_name": "MY_API_KEY"}
    _, printed = _run(worktree, "import json, os; print(json.dumps(dict(os.environ)))", **server)
    environment = json.loads(printed)
    assert "GROQ_API_KEY" in environment and "MY_API_KEY" not in environment


FORKS = """
import os, subprocess, sys, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            time.sleep(600)
        os._exit(0)
time.sleep(%s)
"""


def _sleepers(worktree: Worktree) -> list[str]:
    """The processes that run a program from the worktree's scratch folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if str(worktree.scratch / "agent.py") in line]


@pytest.mark.slow
def test_what_it_leaves_behind_is_ended_and_counted(worktree: Worktree) -> None:
    ran, _ = _run(worktree, FORKS % "0.2")
    assert (ran.exit_code, ran.left_behind, _sleepers(worktree)) == (0, 3, [])


@pytest.mark.slow
def test_one_that_hangs_is_ended_with_all_that_it_started(worktree: Worktree) -> None:
    started = time.monotonic()
    ran, _ = _run(worktree, FORKS % "600", timeout_s=2.0)
    assert ran.timed_out and ran.exit_code is None and time.monotonic() - started < 20
    assert _sleepers(worktree) == []


@pytest.mark.slow
def test_where_what_supervises_it_is_killed_that_is_said_and_not_waited_for(worktree: Worktree) -> None:
    """By the kernel, say, where memory runs out."""
    kill = "import os, signal, time\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(600)"
    experiment = Experiment(coding_agent_command=[sys.executable, "-c", kill])
    coder = Coder(chosen(experiment), experiment)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("autoharness.host.landlock.abi", lambda: 0)  # the confined one may not signal it
        ran = coder.edit(worktree, worktree.folder / "transcript.txt", 1)
    assert ran.left_behind is None and not ran.timed_out and ran.seconds < 60


@pytest.mark.slow
def test_one_that_asks_finds_nobody_there(worktree: Worktree) -> None:
    ran, printed = _run(worktree, "input('which one? ')", "{prompt}")
    assert ran.exit_code == 1 and "EOFError" in printed and ran.last_words.startswith("EOFError")


@pytest.mark.slow
def test_killed_with_us_it_does_not_go_on(worktree: Worktree) -> None:
    """SIGKILL of the door: nobody is left to end the agent but the process in between."""
    door = f"""
import sys
sys.path[:0] = ["{ROOT}", "{ROOT}/tests", "{ROOT}/tests/support", "{ROOT}/tests/loop"]
from pathlib import Path
from test_coding_agent import FORKS, _run, coder_module
from autoharness.loop.worktree import Worktree
coder_module.settle = lambda *folders: []
_run(Worktree(Path("{worktree.folder}")), FORKS % "600", timeout_s=600)
"""
    process = subprocess.Popen([sys.executable, "-c", door], cwd=ROOT)
    until = time.monotonic() + 60
    while len(_sleepers(worktree)) < 4 and time.monotonic() < until:
        time.sleep(0.05)
    assert len(_sleepers(worktree)) >= 4
    process.send_signal(signal.SIGKILL)
    process.wait()
    while _sleepers(worktree) and time.monotonic() < until:
        time.sleep(0.05)
    assert _sleepers(worktree) == []


def test_one_that_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    experiment = Experiment(coding_agent="claude")
    with pytest.raises(
        UserError, match=r"claude is not installed .*: npm install --global @anthropic-ai/claude-code"
    ):
        Coder(chosen(experiment), experiment)


def test_what_is_not_enforced_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "codex").write_text("#!/bin/sh\n")
    (tmp_path / "codex").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    experiment = Experiment(coding_agent="codex")
    said = " ".join(Coder(chosen(experiment), experiment).not_enforced)
    assert (
        "the network is open" in said and "its log-in is open to it: ~/.codex" in said and "no limit of turns" in said
    )
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    said = " ".join(Coder(chosen(experiment), experiment).not_enforced)
    assert "it is given OPENAI_API_KEY" in said and "log-in" not in said and SECRET not in said
    monkeypatch.setattr(landlock, "abi", lambda: 0)  # no kernel of this machine lacks it
    assert "the kernel has no Landlock" in " ".join(Coder(chosen(experiment), experiment).not_enforced)
    scripted = Experiment(agent_model="offline/clerk")
    monkeypatch.undo()
    assert "network" not in " ".join(Coder(chosen(scripted), scripted).not_enforced)


@pytest.mark.slow
@needs_landlock
@pytest.mark.parametrize("interpreter", ["/bin/sh", "/usr/bin/env sh"])
def test_a_program_in_bin_opens_nothing_else(worktree: Worktree, tmp_path: Path, interpreter: str) -> None:
    """What belongs to a program is not the root of everything, nor the checkout that it lies in."""
    (tmp_path / "secret").write_text("held out")
    program = worktree.scratch / "agent.sh"
    read = f"cat {tmp_path}/secret {ROOT}/pyproject.toml {Path.home()}/.bashrc && echo READ"
    program.write_text(f"#!{interpreter}\n{read}\n")
    program.chmod(0o755)
    for command in ([str(program)], ["/bin/sh", "-c", read]):
        experiment = Experiment(coding_agent_command=command)
        ran = Coder(chosen(experiment), experiment).edit(worktree, worktree.folder / "transcript.txt", 1)
        assert ran.exit_code == 1
    printed = (worktree.folder / "transcript.txt").read_text()
    assert "READ" not in printed and printed.count("Permission denied") == 6


@pytest.mark.slow
@needs_landlock
def test_services_terminals_and_shared_memory_of_this_machine_are_out_of_its_reach(
    worktree: Worktree, tmp_path: Path
) -> None:
    service = socket.socket(socket.AF_UNIX)
    service.bind(str(tmp_path / "service"))
    service.listen()
    _, terminal = os.openpty()
    program = f"""
import ctypes, os, socket
def tried(what, act):
    try:
        act()
        print("DONE", what)
    except OSError as error:
        print("refused", what, error.strerror)
tried("connect", lambda: socket.socket(socket.AF_UNIX).connect("{tmp_path}/service"))
tried("terminal", lambda: os.open("{os.ttyname(terminal)}", os.O_RDWR))
tried("shared file", lambda: open("/dev/shm/left", "w"))
if ctypes.CDLL(None).shmget(1234, 4096, 0o1600) >= 0: print("DONE shared memory")
tried("tcp", socket.socket)
socket.socketpair()
"""
    ran, printed = _run(worktree, program)
    assert ran.exit_code == 0 and printed.count("refused") == 3, printed
    assert [line for line in printed.splitlines() if line.startswith("DONE")] == ["DONE tcp"]


@pytest.mark.slow
@needs_tcp_rules
def test_it_connects_to_the_ports_of_its_provider_and_to_no_others(
    worktree: Worktree, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as provider, socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{provider.getsockname()[1]}/v1")
        program = f"""
import socket
for name, port in dict(provider={provider.getsockname()[1]}, other={other.getsockname()[1]}).items():
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5)
        print("reached", name)
    except PermissionError:
        print("refused", name)
for port in (0, 8080):
    try:
        socket.create_server(("127.0.0.1", port))
        print("serves at", port)
    except PermissionError:
        print("serves not at", port)
"""
        _, printed = _run(worktree, program)
    assert printed.split("\n")[:4] == ["reached provider", "refused other", "serves at 0", "serves not at 8080"]


@pytest.mark.parametrize(
    ("variables", "arguments", "more"),
    [
        ({}, [], []),
        ({"OPENAI_BASE_URL": "https://models.example/v1"}, [], []),
        ({"OPENAI_BASE_URL": "http://models.example/v1"}, [], [80]),
        ({"OPENAI_API_BASE": "http://user:word@[::1]:8000/v1"}, [], [8000]),
        ({"https_proxy": "http://proxy:3128"}, [], [3128]),
        ({"HTTP_PROXY": "proxy:3129"}, [], [3129]),
        ({"ALL_PROXY": "socks5h://proxy"}, [], [1080]),
        ({"HTTPS_PROXY": "user:word@proxy:3130"}, [], [3130]),
        ({"no_proxy": "localhost:5432"}, [], []),
        ({"DATABASE_URL": "postgres://localhost:5432/x"}, [], []),
        ({}, ["-c", 'base_url="http://localhost:11434/v1"'], [11434]),
        ({"OPENAI_BASE_URL": "http://h:99999"}, [], []),
    ],
    ids=str,
)
def test_its_ports_are_those_of_the_addresses_that_it_is_told(
    variables: dict[str, str], arguments: list[str], more: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.lower().endswith(("_proxy", "_base", "_url"))]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    experiment = Experiment(coding_agent_command=[sys.executable], coding_agent_args=arguments)
    coder = Coder(chosen(experiment), experiment)
    ports = sorted([53, 443, *more])
    assert coder._reach.ports(coder._given()) == ports
    said = f"listen at these TCP ports answer it: {', '.join(map(str, ports))}"
    assert landlock.abi() < landlock.TCP_SINCE or any(line.endswith(said) for line in coder.not_enforced)


@pytest.mark.slow
@needs_landlock
def test_one_that_needs_no_network_has_none(worktree: Worktree) -> None:
    program = """
import socket
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    try:
        socket.socket(type=kind)
        print("DONE")
    except PermissionError:
        print("refused")
"""
    (worktree.scratch / "agent.py").write_text(program)
    agent = replace(AGENTS["scripted"], arguments=lambda experiment, scratch: [str(scratch / "agent.py")])
    Coder(agent, Experiment()).edit(worktree, worktree.folder / "transcript.txt", 1)
    assert (worktree.folder / "transcript.txt").read_text() == "refused\nrefused\n"


@pytest.mark.parametrize(
    ("version", "said", "not_said"),
    [
        (0, ["the kernel has no Landlock", "services of this machine by TCP: databases, notebooks, Ray"], []),
        (
            2,
            ["signal other processes", "services of this machine by TCP: databases, notebooks, Ray"],
            ["no Landlock"],
        ),
        (4, ["signal other processes", "answer it: 53, 443"], ["databases"]),
        (6, ["answer it: 53, 443", "services of this machine by UDP"], ["signal", "databases"]),
    ],
)
def test_what_a_kernel_cannot_do_is_said_for_what_it_means(
    version: int, said: list[str], not_said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: version)  # no kernel of this machine is that old
    experiment = Experiment(coding_agent_command=[sys.executable])
    lines = " ".join(Coder(chosen(experiment), experiment).not_enforced)
    assert all(one in lines for one in said) and not any(one in lines for one in not_said), lines


@pytest.mark.slow
def test_what_reading_leaves_behind_is_taken_away_before_each_edit(
    worktree: Worktree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where something stays, it is said with the rest."""
    told: list[object] = []

    def settle(private: object, *folders: object) -> list[str]:
        told.append((private, (worktree.folder / "transcript.txt").exists()))
        return ["a disk tells"]

    monkeypatch.setattr(coder_module, "settle", settle)
    file = worktree.scratch / "agent.py"
    file.write_text("print('here')")
    experiment = Experiment(coding_agent_command=[sys.executable, str(file)])
    coder = Coder(chosen(experiment), experiment, ["/benchmark"])
    coder.edit(worktree, worktree.folder / "transcript.txt", 1)
    assert told == [(("/benchmark",), False)]
    assert f"{coder.agent.name}: a disk tells" in coder.not_enforced


HOPS = """
import os, time
until = time.monotonic() + 8
if os.fork():
    os._exit(0)
os.setsid()
null = os.open(os.devnull, os.O_RDWR)
os.dup2(null, 1), os.dup2(null, 2)
while time.monotonic() < until:
    if os.fork():
        os._exit(0)
time.sleep(600)
"""


@pytest.mark.slow
def test_one_that_forks_and_ends_all_the_time_does_not_escape(worktree: Worktree) -> None:
    """It stands in no list of processes that is read one after the other."""
    ran, _ = _run(worktree, HOPS)
    assert ran.exit_code == 0 and ran.seconds < 30
    time.sleep(0.5)
    assert _sleepers(worktree) == []


@pytest.mark.slow
def test_a_line_without_an_end_does_not_fill_our_memory(worktree: Worktree) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ran, printed = _run(worktree, "import sys\nwhile True: sys.stdout.write('x' * 1_000_000)")
    assert ran.too_long and not ran.timed_out and ran.exit_code is None and len(printed) <= 21_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A small disk with nothing but a large file on it."""
    (place := tmp_path / "small").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this account may mount nothing")
    with suppress(OSError):
        (place / "filler").write_bytes(bytes(1_000_000))
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


PRINTS = """
import pathlib, time
for number in range(2000):
    print(f"line {number}", "x" * 100, flush=True)
pathlib.Path("workspace/note.md").write_text("printed")
while not pathlib.Path("workspace/go").exists():
    time.sleep(0.01)
"""


@pytest.mark.slow
def test_a_full_disk_keeps_no_coding_agent_waiting_and_is_one_plain_line(worktree: Worktree, full: Path) -> None:
    (worktree.root / "workspace" / "go").touch()
    transcript = full / "transcript.txt"
    with pytest.raises(UserError) as raised:
        _run(worktree, PRINTS, transcript=transcript)
    assert worktree.text(Path("workspace/note.md")) == "printed"
    assert str(raised.value).startswith(f"{transcript}: cannot be written: No space left on device: make room there")
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_what_a_full_disk_did_not_take_is_written_when_there_is_room(worktree: Worktree, full: Path) -> None:
    def make_room() -> None:
        while not worktree.text(Path("workspace/note.md")):
            time.sleep(0.01)
        subprocess.run(["mount", "-o", "remount,size=1m", str(full)], check=True)
        (worktree.root / "workspace" / "go").touch()

    helper = threading.Thread(target=make_room)
    helper.start()
    ran, printed = _run(worktree, PRINTS, transcript=full / "transcript.txt")
    helper.join()
    assert ran.exit_code == 0
    assert [line.split()[1] for line in printed.splitlines()] == [str(number) for number in range(2000)]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("claude", '{"type":"result","total_cost_usd":NaN,"usage":{"input_tokens":1}}'),
        ("claude", '{"type":"result","total_cost_usd":-1000,"usage":{"input_tokens":1}}'),
        ("claude", '{"type":"result","total_cost_usd":"9 dollars","usage":{"input_tokens":1}}'),
        ("claude", '{"type":"result","usage":[1]}'),
        ("codex", '{"type":"turn.completed","usage":{"input_tokens":"x"}}'),
        ("opencode", '{"type":"step_finish","part":[]}'),
        ("opencode", '{"type":"step_finish","part":{"tokens":{"input":-5}}}'),
        ("gemini", '{"type":"result","stats":[3]}'),
        ("aider", "Tokens: 1.2.3 sent, 4 received"),
        ("aider", "Tokens: 1 sent," * 100_000),
    ],
    ids=lambda value: value[:50],
)
def test_figures_that_make_no_sense_say_nothing(name: str, line: str, tmp_path: Path) -> None:
    """They come from a process that its model can write into: none may pass for a cost, or end the loop."""
    coder = Coder(replace(AGENTS[name], program=sys.executable), Experiment())
    started = time.monotonic()
    used = coder._used(line, tmp_path)
    assert used.cost_usd is None and used.tokens >= 0 and time.monotonic() - started < 5


@pytest.mark.parametrize("kind", ["pipe", "nested", "link"])
def test_a_trajectory_that_is_a_trap_says_nothing(kind: str, tmp_path: Path) -> None:
    trajectory = tmp_path / "trajectory.json"
    if kind == "pipe":
        os.mkfifo(trajectory)
    elif kind == "link":
        trajectory.symlink_to("/dev/zero")
    else:
        trajectory.write_text("[" * 1_000_000)
    coder = Coder(replace(AGENTS["mini"], program=sys.executable), Experiment())
    assert coder._used("", tmp_path) == Used()
