"""The agent templates: in a confined host each asks what the first one asks, and its framework changes no verdict."""

import functools
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from llm_server import Fault, LLMServer, assistant, tool_call
from provider import Provider

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.commands import agent_templates
from autoharness.commands.agent_templates import DEFAULT, PACKAGES
from autoharness.core.errors import AgentError, UserError
from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.core.settings import Experiment
from autoharness.engine.simulator import Simulator
from autoharness.host.pool import Hosts, confinement_of
from autoharness.host.process import AgentFile
from autoharness.llm.calls import Limits
from autoharness.llm.gateway import Session

TASK = "create_task_1"
SOLVED = (TASK, "update_task_1", "update_task_with_message_history", "impossible_task_1")
MODEL = "openai/solver"
SOURCES = {name: (ROOT / agent_templates.template_file(name)).read_text() for name in PACKAGES}
SETUP: dict[str, Any] = {"tools": [], "domain_policy": "", "llm": MODEL, "llm_args": {}, "history": []}
SETUP["random"] = "seed"
AT_ONCE = 100
OTHERS = sorted(set(PACKAGES) - {DEFAULT})

Json = dict[str, Any]
Simulate = Callable[..., Simulator]


def is_installed(name: str) -> bool:
    """`make .venv/ready` installs them all; not so every environment in which somebody runs the tests."""
    try:
        agent_templates.check_installed(name)
    except UserError:
        return False
    return True


each_framework = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if is_installed(name) else pytest.mark.skip("not installed")) for name in OTHERS],
)


@pytest.fixture(scope="module")
def hosts(tau2: Tau2, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Confined as by default, one for each agent file, shared by all tests: frameworks take a second to import."""
    folder = tmp_path_factory.mktemp("hosts")
    agents = {name: AgentFile(source, MODEL, None) for name, source in SOURCES.items()}
    made = Hosts(agents, 60, confinement_of(Experiment(domain="mock"), folder, tau2.folders))
    yield made
    made.close()


@pytest.fixture
def simulator(tau2: Tau2, hosts: Hosts) -> Simulate:
    def make(**settings: object) -> Simulator:
        defaults = {"domain": "mock", "agent_model": MODEL, "llm_retries": 0, "simulation_retries": 0}
        return Simulator(tau2, Experiment(**defaults | settings), hosts)  # type: ignore[arg-type]

    return make


@pytest.fixture
def provider(tau2: Tau2, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Provider, LLMServer]]:
    provider = Provider(tau2)
    with LLMServer(provider.reply) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "the-key")
        yield provider, server


def run(simulator: Simulator, name: str, task_id: str = TASK, seed: int = 1) -> Outcome:
    return simulator.run(Trial(task_id, 0, seed, name), diagnose=False)


def run_all(simulator: Simulator, name: str, tasks: list[str], seeds: range) -> list[Outcome]:
    """At once, in one host."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda one: run(simulator, name, *one), [(t, seed) for t in tasks for seed in seeds]))


@pytest.mark.slow
@each_framework
def test_the_llm_is_asked_what_the_first_template_asks_and_tasks_are_solved(
    tau2: Tau2, provider: tuple[Provider, LLMServer], simulator: Simulate, name: str
) -> None:
    """Eight at a time: no conversation has a message of another one, and no client retries or adds an argument."""
    asked, ended, tasks = {}, {}, tau2.facts("mock").splits["base"]
    for template in (DEFAULT, name):
        provider[1].requests.clear()
        outcomes = run_all(simulator(), template, tasks, range(2))
        ended[template] = [(one.trial.task_id, one.trial.seed, one.status, one.reward) for one in outcomes]
        asked[template] = sorted(json.dumps(one.body, sort_keys=True) for one in provider[1].requests)
    assert asked[name] == asked[DEFAULT]
    assert ended[name] == ended[DEFAULT]
    assert {(task_id, seed, Status.PASSED, 1.0) for task_id in SOLVED for seed in range(2)} <= set(ended[name])
    assert len(asked[name]) > 2 * 2 * len(tasks)


@pytest.fixture(scope="module")
def clerk_talks(tau2: Tau2, hosts: Hosts) -> Callable[[str], list[Any]]:
    """What comes of some tasks of airline, with a clerk that makes mistakes and one of the templates."""
    tasks = tau2.facts("airline").splits["train"][:8]
    experiment = Experiment(domain="airline", agent_model="offline/clerk", simulation_retries=0)

    @functools.cache
    def talk(name: str) -> list[Any]:
        outcomes = run_all(Simulator(tau2, experiment, hosts), name, tasks, range(2))
        return [(one.status, one.reward, [_said(message) for message in one.messages]) for one in outcomes]

    return talk


def _said(message: Json) -> Any:
    calls = [(call["name"], call["arguments"]) for call in message.get("tool_calls") or []]
    return message["role"], message.get("content"), calls


@pytest.mark.slow
@each_framework
def test_conversations_with_a_model_that_makes_mistakes_are_those_of_the_first_template(
    clerk_talks: Callable[[str], list[Any]], name: str
) -> None:
    """Unknown tools, malformed arguments and empty answers too: the frameworks neither hide nor mend them."""
    assert clerk_talks(name) == clerk_talks(DEFAULT)
    assert {status for status, _, _ in clerk_talks(name)} == {Status.PASSED, Status.FAILED, Status.AGENT_ERROR}


@pytest.mark.slow
@each_framework
def test_a_hundred_conversations_may_wait_for_their_llm_at_once(hosts: Hosts, name: str) -> None:
    """Whatever a framework has open meanwhile, such as an event loop."""
    everybody = threading.Barrier(AT_ONCE, timeout=60)

    def complete(request: Json) -> Json:
        everybody.wait()
        return {"choices": [{"message": {"role": "assistant", "content": request["messages"][-1]["content"]}}]}

    def converse(number: int) -> str:
        with hosts.host(name) as host:
            host.call("start", complete, **SETUP)
            said = host.call("next", complete, message={"role": "user", "content": f"I am {number}"})
        return str(said["content"])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert list(pool.map(converse, range(AT_ONCE))) == [f"I am {number}" for number in range(AT_ONCE)]


@pytest.mark.slow
@each_framework
def test_an_outage_is_infrastructure_and_no_framework_tries_again(
    provider: tuple[Provider, LLMServer], simulator: Simulate, name: str
) -> None:
    asked = []
    for template in (DEFAULT, name):
        provider[1].requests.clear()
        provider[0].fault, provider[0].after, provider[0].times = Fault(503), 1, 10**6
        outcome = run(simulator(), template)
        assert (outcome.status, outcome.reward) == (Status.PROVIDER_ERROR, None), outcome.detail
        asked.append(len(provider[1].requests))
    assert asked[0] == asked[1]


@each_framework
@pytest.mark.parametrize("arguments", ['{"user_id": ', '["user_1"]', '{"user_id": NaN}'])
def test_malformed_tool_arguments_are_the_agents_fault(
    provider: tuple[Provider, LLMServer], simulator: Simulate, name: str, arguments: str
) -> None:
    provider[0].fault = assistant(tool_calls=[tool_call("create_task", arguments)])
    outcome = run(simulator(), name)
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert "MalformedToolCall" in outcome.detail or arguments != '{"user_id": '


@each_framework
def test_a_refusal_says_why(provider: tuple[Provider, LLMServer], simulator: Simulate, name: str) -> None:
    """The gateway's words come through the framework's exceptions. Budget and effort are not the agent file's."""
    for settings, words in (
        ({"max_llm_calls": 1}, "budget of the simulation spent: 1 LLM calls"),
        ({"agent_llm_args": {"reasoning_effort": "high"}}, "reasoning effort is not set, and it is fixed"),
    ):
        outcome = run(simulator(**settings), name)
        assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
        assert words in outcome.detail


@each_framework
def test_another_model_is_refused(hosts: Hosts, name: str) -> None:
    session = Session({}, MODEL, None, Limits(10, None, 0))

    def complete(request: Json) -> Json:
        return session.complete_for_agent(request, dict)

    with hosts.host(name) as host:
        host.call("start", complete, **SETUP | {"llm": "openai/stronger"})
        with pytest.raises(AgentError, match="the experiment's model is openai/solver, not 'openai/stronger'"):
            host.call("next", complete, message={"role": "user", "content": "Hi"})


def test_no_network_is_opened_for_a_framework(hosts: Hosts) -> None:
    assert not {"tcp", "network"} & hosts.layers().keys()


def test_a_missing_package_is_one_line_that_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tau_bench", "openai_sdk"):
        agent_templates.check_installed(name)
    monkeypatch.setitem(PACKAGES, "agent_framework", ("not-to-be-found",))
    with pytest.raises(UserError, match=r"not-to-be-found .*pip install 'auto-harness\[agent-framework\]'"):
        agent_templates.check_installed("agent_framework")


def test_every_template_is_known_by_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert {file.stem for file in Path("agent/templates").glob("*.py")} == set(PACKAGES)
    for name, source in SOURCES.items():
        assert agent_templates.template_of(source.encode()) == name
        assert agent_templates.template_of(f"{source}#".encode()) == ""
