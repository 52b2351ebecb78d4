"""Each role's model is asked on its own server, with its own key, and the keys are nowhere else. Real servers."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from llm_server import Fault, LLMServer, assistant
from provider import Provider
from solver import Solver

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.commands.checkup import _server
from autoharness.core.command_form import COMMAND_VARIABLE
from autoharness.core.endpoints import Endpoint, base_url, check_keys, of_the_container
from autoharness.core.errors import UserError
from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.core.redaction import scrubbed, without_whole_keys
from autoharness.core.setting_sources import from_settings
from autoharness.core.settings import Experiment
from autoharness.engine.benchmark_runner import TauBenchRunner
from autoharness.engine.ray_executor import _environment
from autoharness.engine.score_identity import Measure
from autoharness.engine.simulator import Simulator
from autoharness.llm.call_journal import Journal
from autoharness.llm.prices import has_price, set_prices
from autoharness.llm.providers import LiteLLM, ProviderFault, Providers
from autoharness.llm.seeds import role_seed
from autoharness.loop.coding_agents.choice import AGENTS, chosen

KEYS = {"AGENT_PASS": "Zq4mB7xW2nLk9RtYp3", "USER_PASS": "vE8sHj5cQ1uXo6DaGf"}
OTHERS_KEY = "mT0iK-wPz_yNbVrCl"
TASK = "create_task_1"
MESSAGES = [{"role": "user", "content": "Hello."}]

Json = dict[str, Any]
MakeSimulator = Callable[..., Simulator]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in variables whose names do not say so, and one that your own server must not get."""
    for name, key in {**KEYS, "OPENAI_API_KEY": OTHERS_KEY}.items():
        monkeypatch.setenv(name, key)


@pytest.fixture
def servers(tau2: Tau2) -> Iterator[list[LLMServer]]:
    """Two that solve the mock domain."""
    solver = Solver(tau2._tasks("mock").values())
    with ExitStack() as stack:
        yield [stack.enter_context(LLMServer(solver.reply)) for _ in range(2)]


def asked(server: LLMServer) -> set[tuple[str | None, str]]:
    """With which keys, for which models."""
    return {(one.authorization, one.body["model"]) for one in server.requests}


def run(simulator: Simulator) -> Outcome:
    return simulator.run(Trial(TASK, 0, 626729), diagnose=False)


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("https://host.example/v1/chat/completions", "https://host.example/v1"),
        ("HTTPS://Host.Example:443/openai/v1/", "https://host.example/openai/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_an_address_has_one_spelling(written: str, address: str) -> None:
    assert base_url(written) == address == base_url(address)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("http://anna:secret@host/v1", "a user or a password"),
        ("http://secret@host/v1", "a user or a password"),
        ("http://host/v1?key=secret", "has a ?"),
        ("http://host/v1#secret", "has a ? or a #"),
        ("host:8000/v1", "such as http://"),
        ("ftp://host/v1", "such as http://"),
        ("http:///secret", "such as http://"),
        ("http://host:secret/v1", "is no address"),
        ("http://host:8000/sec ret", "such as http://"),
        ("secret", "such as http://"),
    ],
)
def test_what_is_no_plain_address_is_refused_without_a_word_of_it(text: str, problem: str) -> None:
    with pytest.raises(UserError) as error:
        from_settings({"agent_url": text, "agent_model": "m"})
    assert problem in str(error.value) and str(error.value).startswith("agent_url ")
    assert "secret" not in str(error.value)


@given(st.text())
def test_any_text_is_an_address_of_one_spelling_or_refused(text: str) -> None:
    try:
        address = base_url(text)
    except ValueError:
        return
    assert base_url(address) == address and address.startswith(("http://", "https://"))


@pytest.mark.parametrize("pasted", ["sk-abc-secret", "nvapi-secret", "hf_secret", "AKIA secret", "$SECRET"])
def test_a_key_in_place_of_its_variables_name_is_refused_and_not_repeated(pasted: str) -> None:
    with pytest.raises(UserError, match="agent_api_key_name must be the name of an environment variable") as error:
        from_settings({"agent_url": "http://host/v1", "agent_api_key_name": pasted})
    assert pasted not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"user_api_key_name": "USER_PASS"}, "user_api_key_name: set user_url too"),
        ({"agent_model": "offline/clerk", "agent_url": "http://h"}, "offline/clerk is asked on no server"),
        ({"agent_model": "offline/clerk", "judge_url": "http://h"}, "offline/judge is asked on no server"),
        ({"agent_model": "replay/x.json", "agent_url": "http://h"}, "replay/x.json is asked on no server"),
        ({"user_llm_args": {"base_url": "http://h"}}, "user_llm_args: base_url: set user_url instead"),
        ({"agent_llm_args": {"api_base": "http://h"}}, "agent_llm_args: api_base: set agent_url instead"),
        ({"user_llm_args": {"extra_headers": {"Authorization": "Bearer x"}}}, "Authorization would be written down"),
    ],
)
def test_a_key_without_a_server_and_a_server_without_a_model_are_mistakes(settings: Json, message: str) -> None:
    with pytest.raises(UserError) as error:
        from_settings(settings)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        *((f"http://{host}/v1", True) for host in ("127.0.0.1:8000", "localhost", "[::1]:1", "127.3.2.1")),
        *((f"http://{host}/v1", False) for host in ("host.docker.internal:8000", "10.0.0.1", "localhost.example")),
    ],
)
def test_a_loopback_address_in_a_container_is_named(url: str, told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not list(of_the_container({"agent_url": url}))
    monkeypatch.setenv(COMMAND_VARIABLE, "docker compose run --rm autoeval python")
    lines = list(of_the_container({"agent_url": url}))
    assert ["agent_url: " in line and "host.docker.internal" in line for line in lines] == [True] * told


def test_an_endpoint_is_another_roles_where_the_model_is() -> None:
    a, u = "http://a/v1", "http://u/v1"
    cases: list[tuple[Json, list[str | None]]] = [
        ({}, [a, a, a]),
        ({"user_model": "u"}, [a, None, None]),
        ({"user_model": "u", "user_url": u}, [a, u, u]),
        ({"user_url": u}, [a, u, u]),
        ({"judge_model": "j"}, [a, a, None]),
        ({"judge_url": u}, [a, a, u]),
    ]
    for settings, expected in cases:
        experiment = from_settings({"agent_url": a, "agent_model": "m", **settings})
        found = [experiment.endpoint_of(role) for role in ("agent", "user", "judge")]
        assert [endpoint and endpoint.url for endpoint in found] == expected, settings


def test_a_role_falls_back_on_another_ones_key_only_with_its_server() -> None:
    settings = {"agent_url": "http://a", "agent_api_key_name": "AGENT_PASS", "user_url": "http://u"}
    experiment = from_settings({"agent_model": "m", **settings})
    assert [str(experiment.endpoint_of(role)) for role in ("agent", "user")] == [
        "http://a (key in AGENT_PASS)",
        "http://u (without a key)",
    ]


@pytest.mark.parametrize("model", ["my-model", "meta/my-model", "openai/my-model", "anthropic/my-model"])
def test_each_role_is_asked_on_its_own_server_with_its_own_key(
    servers: list[LLMServer], simulator: MakeSimulator, model: str
) -> None:
    """The same name at both: neither throttle nor client nor key is shared."""
    outcome = run(
        simulator(
            agent_model=model,
            agent_url=servers[0].url,
            agent_api_key_name="AGENT_PASS",
            user_url=servers[1].url,
            user_api_key_name="USER_PASS",
        )
    )
    assert (outcome.status, outcome.detail) == (Status.PASSED, "")
    assert asked(servers[0]) == {(f"Bearer {KEYS['AGENT_PASS']}", model)}
    assert asked(servers[1]) == {(f"Bearer {KEYS['USER_PASS']}", model)}
    assert all("<scenario>" in json.dumps(one.body) for one in servers[1].requests)


def test_the_judge_is_asked_on_its_own_server(servers: list[LLMServer], simulator: MakeSimulator) -> None:
    """With a seed of its own where that is wanted. Few tasks have a judge, so it is asked as tau2 would ask it."""
    where = {"agent_model": "m", "agent_url": servers[0].url, "agent_api_key_name": "AGENT_PASS"}
    judge = {"judge_model": "j", "judge_url": servers[1].url, "judge_api_key_name": "USER_PASS"}
    servers[1].reply = lambda request: assistant("Met.")
    trial = Trial(TASK, 0, 626729)
    for seeds in ("tau2", "per_role"):
        session = simulator(**where, **judge, seeds=seeds)._session(trial, True, Journal())
        session.complete("judge", {"messages": MESSAGES})
    assert asked(servers[1]) == {(f"Bearer {KEYS['USER_PASS']}", "j")} and not servers[0].requests
    assert [one.body.get("seed") for one in servers[1].requests] == [None, role_seed(300, TASK, 0, "judge")]


def test_a_server_without_a_key_is_not_sent_another_ones(servers: list[LLMServer], simulator: MakeSimulator) -> None:
    assert run(simulator(agent_model="my-model", agent_url=servers[0].url)).status == Status.PASSED
    assert asked(servers[0]) == {("Bearer none", "my-model")}


def test_a_role_without_a_server_is_asked_as_ever(
    servers: list[LLMServer], simulator: MakeSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", servers[1].url)
    settings = {"agent_model": "m", "agent_url": servers[0].url, "user_model": "openai/m"}
    assert run(simulator(**settings)).status == Status.PASSED
    assert asked(servers[0]) == {("Bearer none", "m")}
    assert asked(servers[1]) == {(f"Bearer {OTHERS_KEY}", "m")}


def test_a_redirect_to_another_server_takes_no_key_along(servers: list[LLMServer]) -> None:
    away = Fault(307, headers={"Location": f"{servers[1].url}/chat/completions"})
    servers[0].reply, servers[1].reply = lambda request: away, lambda request: assistant("Hello.")
    model = LiteLLM("m", 10, Endpoint(servers[0].url, "AGENT_PASS"))
    for _ in range(3):  # litellm's, then the fast path
        model({"messages": MESSAGES})
    assert [one.authorization for one in servers[0].requests] == [f"Bearer {KEYS['AGENT_PASS']}"] * 3
    assert [one.authorization for one in servers[1].requests] == [None] * 3


def test_the_lean_path_is_taken_and_learns_a_new_key(
    servers: list[LLMServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    servers[0].reply = lambda request: assistant("Hello.")
    model = LiteLLM("m", 10, Endpoint(servers[0].url, "AGENT_PASS"))
    whole: list[Json] = []
    completion = model._litellm.completion
    monkeypatch.setattr(model._litellm, "completion", lambda **given: whole.append(given) or completion(**given))
    for _ in range(4):
        model({"messages": MESSAGES})
    assert (len(whole), len(servers[0].requests)) == (1, 4)
    monkeypatch.setenv("AGENT_PASS", "Sd2gJ9-lFe7aUhMx4")
    servers[0].reply = lambda request: (
        assistant("Hello.")
        if servers[0].requests[-1].authorization == "Bearer Sd2gJ9-lFe7aUhMx4"
        else Fault(401, '{"error": {"message": "no"}}')
    )
    assert model({"messages": MESSAGES})["choices"], "a refused key is read again"


def test_a_wrong_key_is_infrastructure_and_is_not_repeated(
    tau2: Tau2, servers: list[LLMServer], simulator: MakeSimulator
) -> None:
    """A server that repeats the key it refuses."""
    provider = Provider(tau2)
    key = KEYS["AGENT_PASS"]
    refusal = f"wrong key {key}, {key[:10]}***, at {servers[0].url}"
    provider.fault, provider.role = Fault(401, json.dumps({"error": {"message": refusal}})), "agent"
    servers[0].reply = provider.reply
    outcome = run(simulator(agent_model="m", agent_url=servers[0].url, agent_api_key_name="AGENT_PASS"))
    assert (outcome.status, outcome.reward) == (Status.PROVIDER_ERROR, None)
    assert "wrong key ($AGENT_PASS), ($AGENT_PASS)***, at (server)" in outcome.detail


def test_what_a_model_says_of_a_key_is_not_kept(servers: list[LLMServer]) -> None:
    servers[0].reply = lambda request: assistant(f"Your key is {KEYS['AGENT_PASS']}.")
    model = LiteLLM("m", 10, Endpoint(servers[0].url, "AGENT_PASS"))
    answer = model({"messages": MESSAGES})
    assert answer["choices"][0]["message"]["content"] == "Your key is ($AGENT_PASS)."


def test_an_unreachable_server_is_infrastructure_and_its_address_is_not_named() -> None:
    with pytest.raises(ProviderFault) as fault:
        LiteLLM("m", 10, Endpoint("http://127.0.0.1:9/v1"))({"messages": MESSAGES})
    assert fault.value.retryable and "127.0.0.1:9" not in str(fault.value)


def test_a_rate_limit_of_one_server_does_not_slow_the_other(servers: list[LLMServer]) -> None:
    limited: list[str] = []
    providers = Providers(lambda model, pause_s: limited.append(model))
    endpoints = [Endpoint(server.url, "AGENT_PASS") for server in servers]
    one, other = (providers.model("m", 10, 0, endpoint) for endpoint in endpoints)
    again = providers.model("m", 10, 0, Endpoint(servers[0].url, "USER_PASS"))
    servers[0].reply = lambda request: Fault(429, '{"error": {"message": "slow down"}}', {"Retry-After": "30"})
    servers[1].reply = lambda request: assistant("Hello.")
    with pytest.raises(ProviderFault, match="slow down"):
        one({"messages": MESSAGES})
    began = time.monotonic()
    assert other({"messages": MESSAGES})["choices"] and time.monotonic() - began < 10
    assert limited == [f"m at {endpoints[0]}"]
    assert again is not one, "another key has another limit"


def test_prices_are_those_of_the_name_as_it_is_written(servers: list[LLMServer]) -> None:
    set_prices({"some/priced-model": {"input": 1.0, "output": 1.0}})
    assert has_price("some/priced-model") and not has_price("some/unpriced-model")
    servers[0].reply = lambda request: assistant("Hello.")
    model = LiteLLM("some/priced-model", 10, Endpoint(servers[0].url))
    costs = [model({"messages": MESSAGES}) for _ in range(2)]  # litellm's, then the fast path's
    for answer in costs:
        assert answer["cost_usd"] == pytest.approx(answer["usage"]["total_tokens"] / 1e6)


@pytest.mark.parametrize(
    "model", ["gpt-99", "openai/gpt-99", "gemini/gemini-99-pro", "anthropic/claude-99", "my-own"]
)
def test_a_model_that_litellm_has_never_heard_of_has_no_price(servers: list[LLMServer], model: str) -> None:
    """Its answers do not cost nothing: a limit in dollars could not be kept."""
    assert not has_price(model)
    servers[0].reply = lambda request: assistant("Hello.")
    asked = LiteLLM(model, 10, Endpoint(servers[0].url))
    assert [asked({"messages": MESSAGES})["cost_usd"] for _ in range(2)] == [None, None]


def test_models_of_this_autumn_have_prices_and_models_on_this_machine_are_free() -> None:
    known = [
        "gpt-5.6",
        "anthropic/claude-opus-5",
        "gemini/gemini-3.5-flash",
        "deepseek/deepseek-v4-flash",
        "ollama/any",
    ]
    assert [model for model in known if not has_price(model)] == []


def test_a_key_that_is_not_set_is_one_line() -> None:
    check_keys({"agent": Endpoint("http://h/v1", "AGENT_PASS"), "user": Endpoint("http://h/v1")}, {})
    with pytest.raises(UserError) as error:
        check_keys({"agent": Endpoint("http://h/v1", "NOT_SET")}, {})
    assert str(error.value) == "agent: no key for http://h/v1: NOT_SET is not set: echo 'NOT_SET=...' >> .env"


def test_coding_agents_are_not_given_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for a variable of the very name that the agent's own key has."""
    monkeypatch.setenv("MY_API_KEY", "a-key")
    named = {"agent_model": "m", "agent_url": "http://h", "agent_api_key_name": "MY_API_KEY"}
    for name in ("mini", "opencode", "aider"):
        agent = chosen(from_settings({"coding_agent": name, **named}))
        assert not agent.needs("MY_API_KEY") and "MY_API_KEY" not in agent.key_names
        assert agent.needs("OPENAI_API_KEY") and "OPENAI_API_KEY" in agent.key_names
        assert AGENTS[name].needs("MY_API_KEY"), "without such a setting"
    assert not chosen(from_settings({"coding_agent_command": ["x"], **named})).needs("MY_API_KEY")
    codex = chosen(from_settings({"coding_agent": "codex", **named, "agent_api_key_name": "OPENAI_API_KEY"}))
    assert codex.needs("OPENAI_API_KEY")


def test_mini_does_not_take_the_name_of_a_model_on_a_server_of_its_own(tmp_path: Path) -> None:
    experiment = Experiment(coding_agent="mini", agent_model="m", agent_url="http://h")
    with pytest.raises(UserError, match="mini needs a model of its own, since agent_model is m on a server"):
        chosen(experiment).arguments(experiment, tmp_path)


def test_workers_on_other_machines_get_the_keys() -> None:
    experiment = Experiment(agent_model="m", agent_url="http://h", agent_api_key_name="AGENT_PASS")
    assert _environment(experiment)["AGENT_PASS"] == KEYS["AGENT_PASS"]
    assert "AGENT_PASS" not in _environment(Experiment())


def test_the_server_is_part_of_the_measure_and_the_keys_name_is_not() -> None:
    splits = {"train": ["0"], "test": ["1"]}
    facts = {"splits": splits, "flavour": "f", "version": "1", "data_checksum": "c", "layers": {}}

    def measure(**settings: Any) -> str:
        return Measure(from_settings({"agent_model": "m", **settings}), facts).id

    one = measure(agent_url="http://h:1/v1")
    assert len({one, measure(), measure(agent_url="http://h:2/v1"), measure(user_url="http://h:1/v1")}) == 4
    assert one == measure(agent_url="http://h:1/v1/chat/completions", agent_api_key_name="AGENT_PASS")


@pytest.mark.slow
def test_a_run_asks_the_server_and_writes_the_key_nowhere(
    servers: list[LLMServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither does it where a server repeats the key that it refuses. Without the key nothing is run."""
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    key, solve = KEYS["AGENT_PASS"], servers[0].reply
    refusal = Fault(401, json.dumps({"error": {"message": f"Incorrect API key provided: {key}"}}))
    refused: list[int] = []

    def reply(request: dict[str, Any]) -> Any:
        """The first simulation's user is refused, as often as it asks, and once with other words."""
        if "<scenario>" in str(request) and len(refused) < 5:
            refused.append(1)
            return refusal
        return solve(request)

    servers[0].reply = reply
    template = ROOT / "agent" / "templates" / "tau_bench.py"
    named = {"agent_model": "m", "agent_url": servers[0].url, "agent_api_key_name": "AGENT_PASS"}
    runner = TauBenchRunner(
        domain="mock", agent_file=template, max_concurrency=1, llm_retries=0, simulation_retries=0, **named
    )
    with runner.open() as bench:
        monkeypatch.delenv("AGENT_PASS")
        with pytest.raises(UserError, match=r"^agent: no key for .*: AGENT_PASS is not set"):
            bench.run(bench.measure.train, "test")
        assert not servers[0].requests and not list(bench.store.runs())
        monkeypatch.setenv("AGENT_PASS", key)
        run = bench.run(bench.measure.train, "test")
        bench.export(run)
    statuses = [outcome.status for outcome in run.outcomes]
    assert statuses.count(Status.USER_ERROR) == 1 and Status.PASSED in statuses
    assert asked(servers[0]) == {(f"Bearer {key}", "m")}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"trials", "runs", "workspace"} <= {part for path in files for part in path.parts}
    written = b"".join(path.read_bytes() for path in files) + "".join(capfd.readouterr()).encode()
    assert b"($AGENT_PASS)" in written and b"AGENT_PASS" in written
    assert not [start for start in range(len(key) - 7) if key[start : start + 8].encode() in written]


def test_the_check_up_says_where_a_model_is_asked_and_what_is_missing() -> None:
    assert _server("user", "m", Endpoint("http://h/v1", "USER_PASS")).line == (
        "ok    user model: m at http://h/v1 (key in USER_PASS)"
    )
    assert _server("agent", "m", Endpoint("http://h/v1", "NOT_SET")).line == (
        "FAIL  agent model: m at http://h/v1: NOT_SET is not set; echo 'NOT_SET=...' >> .env"
    )


def test_the_agents_process_has_neither_key_nor_address(servers: list[LLMServer], simulator: MakeSimulator) -> None:
    template = (ROOT / "agent" / "templates" / "tau_bench.py").read_text()
    spy = template + (
        "\n\nimport os\n\nask = HarnessAgent.generate_next_message\n\n\ndef spy(self, message, state):\n"
        "    raise ValueError('sees ' + ' '.join(sorted(os.environ)))\n\n\n"
        "HarnessAgent.generate_next_message = spy\n"
    )
    outcome = run(simulator(spy, agent_model="m", agent_url=servers[0].url, agent_api_key_name="AGENT_PASS"))
    assert outcome.status == Status.AGENT_ERROR and "sees " in outcome.detail
    assert "AGENT_PASS" in os.environ and "PASS" not in outcome.detail


def test_what_no_experiment_names_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_WORD_OF_MINE", "a-word-that-is-no-key-0123")
    assert scrubbed("a-word-that-is-no-key-0123") == "a-word-that-is-no-key-0123"
    assert without_whole_keys("a-word-that-is-no-key-0123") == "a-word-that-is-no-key-0123"
