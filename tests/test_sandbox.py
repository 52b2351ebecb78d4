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

from autoharness import landlock
from autoharness.errors import AgentError, HostDied, HostFailed
from autoharness.host import AgentFile, Confinement, Host
from autoharness.hosts import Hosts
from autoharness.results import Trial
from autoharness.worker import Simulator

SETUP: dict[str, Any] = {"tools": [], "domain_policy": "Be kind.", "llm": "m", "llm_args": {}, "history": []}
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


def ask(host: Host, simulation: str = "one") -> str:
    host.call(simulation, "start", complete, **SETUP)
    return str(host.call(simulation, "next", complete, message=HELLO)["content"])


@needs_the_newest
def test_every_layer_is_in_force_here(tmp_path: Path) -> None:
    host = Host(AgentFile(TEMPLATE, "m", None), 10, Confinement("sandbox", tmp_path))
    try:
        assert host.layers == dict.fromkeys(ALL_LAYERS, "")
    finally:
        host.close()


def test_another_system_lacks_layers_and_goes_on(tmp_path: Path) -> None:
    """Linux's calls are others there, or none. In a process of its own, since what is in force stays."""
    code = (
        "import sys; sys.platform = 'darwin'\nfrom autoharness import sandbox\n"
        f"setup = dict(agent_folder={str(tmp_path)!r}, scratch={str(tmp_path)!r}, private=[], memory_mb=4096,\n"
        "             landlock_abi=99, seccomp=True)\n"
        "print(sandbox.own_network(setup), *sandbox.confine(setup, port=1).items(), sep='\\n')"
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
    newest = max(prepared.vault.glob("runs/*/run-*.json"), key=lambda path: path.stat().st_mtime)
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
    return checkout.run(str(ROOT / "tests" / "older_kernel.py"), missing, sys.executable, *command)


@pytest.mark.parametrize(("fresh_host", "shared"), [("per_worker", True), ("per_simulation", False)])
def test_a_fresh_host_knows_nothing_of_other_simulations(
    simulator: Callable[..., Simulator], fresh_host: str, shared: bool
) -> None:
    source = TEMPLATE + (
        "\nmet = []\nfirst = HarnessAgent.get_init_state\n"
        "def begin(self, message_history=None):\n    met.append(1)\n"
        "    if len(met) > 1: raise ValueError('we met before')\n    return first(self, message_history)\n"
        "HarnessAgent.get_init_state = begin\n"
    )
    machine = simulator(source, agent_model="offline/clerk", fresh_host=fresh_host)
    outcomes = [machine.run(Trial("create_task_1", number, number), False) for number in (0, 1)]
    assert ["we met before" in outcome.detail for outcome in outcomes] == [False, shared], outcomes


def test_what_is_heard_in_a_held_out_task_does_not_come_up_in_a_train_task(
    simulator: Callable[..., Simulator],
) -> None:
    """Or an agent file could repeat it where a trace is written down for all to read."""
    source = TEMPLATE + (
        "\nheard = []\ndef turn(self, message, state):\n    heard.append(str(message.content))\n"
        "    return AssistantMessage(content=str(len(heard))), state\nHarnessAgent.generate_next_message = turn\n"
    )
    machine = simulator(source, agent_model="offline/clerk", max_steps=8)

    def first_words(train: bool) -> str:
        messages = machine.run(Trial("create_task_1", 0, 0), diagnose=train).messages
        return str([message["content"] for message in messages if message["role"] == "assistant"][1])

    assert first_words(train=False) == "1"
    assert first_words(train=False) != "1", "held-out tasks share a host"
    assert first_words(train=True) == "1"


def test_a_host_that_is_confined_otherwise_than_the_run_says_does_not_run(tmp_path: Path) -> None:
    agents = {"": AgentFile(TEMPLATE, "m", None)}
    hosts = Hosts(agents, 10, Confinement("sandbox", tmp_path), layers={"files": "the kernel has no Landlock"})
    with pytest.raises(HostFailed, match="not confined as others are"), hosts.alone(""):
        pass
    assert not list(tmp_path.iterdir())


def test_a_host_that_cannot_be_started_is_infrastructure(tmp_path: Path) -> None:
    """Such as on a full disk: nobody's score."""
    with pytest.raises(HostFailed, match="did not start"):
        Host(AgentFile(TEMPLATE, "m", None), 10, Confinement("sandbox", tmp_path / "nowhere"))


def test_the_agent_is_told_nothing_of_the_task(simulator: Callable[..., Simulator]) -> None:
    """Not its id, and nothing that two trials of a task have in common."""
    source = TEMPLATE + (
        "\nimport sys\ndef begin(self, message_history=None):\n"
        "    names = sys.modules['__main__']._simulation.get()\n"
        "    raise ValueError(f'{names} {sys.argv[1:]}')\nHarnessAgent.get_init_state = begin\n"
    )
    machine = simulator(source, agent_model="offline/clerk")
    details = [machine.run(Trial("create_task_1", 0, 0), False).detail for _ in range(2)]
    tokens = {detail.split("ValueError: ")[1].split()[0] for detail in details}
    assert len(tokens) == 2 and all(len(token) == 32 for token in tokens)
    assert not any("create_task" in detail for detail in details)


def test_the_kind_of_a_file_can_be_guessed(tmp_path: Path) -> None:
    """Python reads /etc/mime.types for that, and raises where it is there and out of reach."""
    source = answering("__import__('mimetypes').guess_type('a.txt')[0]")
    host = Host(AgentFile(source, "m", None), 10, Confinement("sandbox", tmp_path))
    try:
        assert ask(host) == "text/plain"
    finally:
        host.close()


def test_out_of_memory_is_the_end_of_the_host_not_of_its_other_simulations(tmp_path: Path) -> None:
    source = answering("bytearray(10**9) and 1")
    host = Host(AgentFile(source, "m", None), 10, Confinement("sandbox", tmp_path, memory_mb=512))
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
        return Host(AgentFile(source, "m", None), 20, Confinement("sandbox", tmp_path, **settings))

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
            with pytest.raises(AgentError, match="no such simulation is running"):
                ask(host)
        finally:
            host.close()

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
