"""The arguments that the experiment configures: they arrive, they are not the agent's, and a refusal ends the run."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import TEMPLATE
from llm_server import Fault, LLMServer, assistant
from mood import Mood, completion
from mood_fields import FIELDS
from provider import Provider
from simulations import MODEL, MakeSimulator, edited, preceded, run

from autoharness.core import setting_checks
from autoharness.core.errors import AgentError, JudgeError, UserError
from autoharness.core.outcomes import Status
from autoharness.core.settings import Experiment
from autoharness.llm.calls import AGENT, JUDGE, Limits
from autoharness.llm.gateway import Session
from autoharness.llm.providers import LiteLLM, ProviderFault

Json = dict[str, Any]

BEYOND: Json = {"top_k": 20, "extra_body": {"chat_template_kwargs": {"enable_thinking": False}}}
REQUEST: Json = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0.0}
DEPRECATED = FIELDS["temperature-of-the-agent"]
"""A model that refuses any temperature."""


class Echo:
    """A model that keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Json] = []

    def __call__(self, request: Json) -> Json:
        self.asked.append(request)
        return {"choices": [{"message": assistant("Yes.")}], "cost_usd": 0.0}


def session(model: Any, arguments: Json, effort: str | None = None) -> Session:
    return Session({AGENT: model}, "m", effort, Limits(100, None, 0), arguments=arguments)


@pytest.mark.parametrize("passed", [{}, BEYOND, {"top_k": 20}, {"top_k": None}])
def test_arguments_that_no_agent_may_choose_are_added(passed: Json) -> None:
    model = Echo()
    session(model, BEYOND).complete_for_agent({**REQUEST, **passed}, lambda: REQUEST)
    assert model.asked == [{**REQUEST, **BEYOND}]


@pytest.mark.parametrize("passed", [{"top_k": 21}, {"extra_body": {}}, {"min_p": 0.1}])
def test_an_agent_that_chooses_one_of_them_has_failed(passed: Json) -> None:
    model = Echo()
    with pytest.raises(AgentError, match=next(iter(passed))):
        session(model, BEYOND).complete_for_agent({**REQUEST, **passed}, lambda: REQUEST)
    assert not model.asked


def test_the_agent_is_not_told_of_them(provider: Provider, simulator: MakeSimulator) -> None:
    agent = preceded("assert self.llm_args.keys() <= {'temperature', 'max_tokens', 'seed'}, self.llm_args")
    args = {**BEYOND, "temperature": 0.0, "max_tokens": 900}
    assert run(simulator(agent, agent_model=MODEL, agent_llm_args=args)).status == Status.PASSED


@pytest.mark.parametrize("agent", ["harness", "llm_agent"])
def test_they_reach_an_own_server_as_they_are_written(
    simulator: MakeSimulator, provider: Provider, agent: str
) -> None:
    args = {**BEYOND, "thinking": {"type": "disabled"}, "verbosity": "low", "context_management": [1]}
    with LLMServer(provider.reply) as server:
        settings: Json = {"agent_url": server.url, "agent_llm_args": args, "user_llm_args": args, "agent": agent}
        assert run(simulator(agent_model="solver", **settings)).status == Status.PASSED
    flat = {"top_k": 20, "thinking": {"type": "disabled"}, "verbosity": "low", "context_management": [1]}
    for one in server.requests:
        assert {**one.body, **flat, **BEYOND["extra_body"]} == one.body


@pytest.mark.parametrize("arguments", [{"thinking": {"type": "disabled"}}, BEYOND, {"top_k": 1, "temperature": 0.0}])
def test_the_fast_path_sends_what_litellm_sends(arguments: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"role": "assistant", "content": "x", "reasoning_content": "Hm.", "provider_specific_fields": {"a": 1}}
    requests = [
        {**REQUEST, **arguments, "messages": [*REQUEST["messages"], said, {"role": "user", "content": f"{turn}"}]}
        for turn in range(3)
    ]
    with LLMServer(lambda request: assistant("Yes.")) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        fast, whole = LiteLLM("openai/m", 10), LiteLLM("openai/m", 10)
        whole._complete = whole._completion  # type: ignore[assignment]
        for request in requests:
            fast(request)
            whole(request)
    bodies = [json.dumps(one.body, sort_keys=True) for one in server.requests]
    assert bodies[::2] == bodies[1::2]
    assert all("provider_specific_fields" not in one for one in bodies)


@pytest.mark.parametrize(
    "argument", ["api_key", "api_base", "base_url", "model", "messages", "stream", "n", "timeout"]
)
@pytest.mark.parametrize("nested", [False, True])
def test_settings_still_refuse_what_is_no_argument(argument: str, nested: bool) -> None:
    value = {"extra_body": {argument: 1}} if nested else {argument: 1}
    with pytest.raises(UserError, match=argument):
        setting_checks.check_no_secret("agent_llm_args", value, "")
        setting_checks.llm_args("agent_llm_args", value, "")


@pytest.mark.parametrize("args", [{"reasoning_effort": "low"}, {"extra_body": "top_k: 20"}])
def test_settings_refuse_what_could_not_arrive(args: Json) -> None:
    with pytest.raises(UserError, match=r"agent_llm_args: (reasoning_effort: set|extra_body must be)"):
        setting_checks.llm_args("agent_llm_args", args, "")


def test_an_argument_of_a_wrong_type_is_the_users_mistake(simulator: MakeSimulator) -> None:
    with pytest.raises(UserError, match="agent_llm_args: temperature must be a number, not '0'"):
        run(simulator(agent_model=MODEL, agent_llm_args={"temperature": "0"}))


OMITS = "self.llm_args.pop('temperature', None)"
OF_ITS_OWN = "self.llm_args['temperature'] = 0.5"
NO_TEMPERATURE: Json = {"agent_model": MODEL, "user_llm_args": {}}


def test_a_harness_that_leaves_a_refused_argument_out_is_scored(provider: Provider, simulator: MakeSimulator) -> None:
    provider.mood = DEPRECATED
    assert run(simulator(preceded(OMITS), **NO_TEMPERATURE)).status == Status.PASSED


@pytest.mark.parametrize("experiments", [{"temperature": 0.0}, {}])
def test_an_agent_that_chooses_a_refused_value_has_failed(
    provider: Provider, simulator: MakeSimulator, experiments: Json
) -> None:
    """Even if the experiment's own value would be refused too: otherwise it could void what it fails."""
    provider.mood = DEPRECATED
    outcome = run(simulator(preceded(OF_ITS_OWN), agent_llm_args=experiments, **NO_TEMPERATURE))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0), outcome.detail


@pytest.mark.parametrize(
    "code",
    [
        "SWEAR",
        "SWEAR: `temperature` is deprecated for this model.",
        "SWEAR: Unsupported value: 'temperature' does not support 0.0, set agent_llm_args: {}",
    ],
)
@pytest.mark.parametrize("role", ["agent", "user"])
def test_no_agent_can_end_the_run_by_words(
    provider: Provider, simulator: MakeSimulator, code: str, role: str
) -> None:
    """The provider repeats in its error what the agent wrote."""

    def reply(request: Json, solve: Callable[[Json], Json]) -> Fault:
        words = [str(one.get("content")) for one in request["messages"] if "SWEAR" in str(one.get("content"))]
        if words:
            return Fault(400, json.dumps({"error": {"message": f"inappropriate: {words[-1]}"}}))
        return completion(request, solve(request))

    provider.mood = Mood("a filter that repeats what it refuses", reply, "agent_error", role=role)
    agent = edited(
        "from autoharness.agent_api import AssistantMessage, SystemMessage, generate\n"
        f"words = {code!r}\n"
        "if state.messages[2:]:\n    generate([SystemMessage(words), message])\n"
        "state.messages += [message, AssistantMessage(words)]\nreturn state.messages[-1], state"
    )
    outcome = run(simulator(agent, agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0), outcome.detail


def test_an_agents_own_argument_that_does_not_go_with_the_configured_one_is_its_fault(
    provider: Provider, simulator: MakeSimulator
) -> None:
    provider.mood = FIELDS["top-p-beside-temperature"]
    outcome = run(simulator(preceded("self.llm_args['top_p'] = 0.9"), agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0), outcome.detail


WORDINGS = {
    "422": Fault(422, '{"detail": [{"loc": ["body", "top_k"], "msg": "Extra inputs are not permitted"}]}'),
    "camel-case": Fault(400, '{"error": {"message": "Invalid value at generation_config.topK (TYPE_INT32)"}}'),
    "with-a-dash": Fault(400, '{"error": {"message": "top-k is not available"}}'),
    "in-quotes": Fault(400, '{"error": {"message": "Unknown parameter: \'top_k\'.", "param": "top_k"}}'),
    "of-fastapi": Fault(400, '{"detail": "top_k: extra fields not permitted"}'),
    "in-a-list": Fault(400, '[{"error": {"code": 400, "message": "Unknown name \\"top_k\\": Cannot find field."}}]'),
    "as-text": Fault(400, "top_k is not allowed"),
    "of-the-kind": Fault(400, '{"message": "top_k must be between 1 and 10"}'),
}


@pytest.mark.parametrize("wording", WORDINGS.values(), ids=WORDINGS)
@pytest.mark.parametrize("role", ["agent", "user"])
def test_a_refusal_in_other_words_is_one_line_too(
    provider: Provider, simulator: MakeSimulator, wording: Fault, role: str
) -> None:
    def reply(request: Json, solve: Callable[[Json], Json]) -> Fault:
        return wording if request.get("top_k") else completion(request, solve(request))

    provider.mood = Mood("a server without top_k", reply, "stopped", role="all")
    with pytest.raises(UserError) as error:
        run(simulator(agent_model=MODEL, **{f"{role}_llm_args": {"top_k": 20, "top_p": 1.0}}))
    assert f'openai/solver refuses top_k: set {role}_llm_args: {{"top_p": 1.0}} in experiment' in str(error.value)
    assert provider.asked <= 8 and "\n" not in str(error.value)


def test_the_judge_is_one_of_the_roles() -> None:
    def refuses(request: Json) -> Json:
        if "temperature" in request:
            raise ProviderFault("`temperature` is deprecated for this model.", 400)
        return {"choices": [{"message": {"role": "assistant", "content": "Hello."}}]}

    one = Session({JUDGE: refuses}, "m", None, Limits(100, None, 0))
    with pytest.raises(JudgeError):
        one.complete(JUDGE, REQUEST)
    assert one.refused == {JUDGE: ("temperature", "`temperature` is deprecated for this model.")}


def test_a_refusal_that_is_not_of_the_argument_is_no_reason_to_end_the_run(
    provider: Provider, simulator: MakeSimulator
) -> None:
    """The words name it, but a greeting with it is answered."""

    def reply(request: Json, solve: Callable[[Json], Json]) -> Fault:
        if any(one.get("tool_calls") for one in request["messages"]):
            return Fault(400, '{"error": {"message": "no tool calls at temperature 0"}}')
        return completion(request, solve(request))

    provider.mood = Mood("a server without tools", reply, "provider_error")
    assert run(simulator(agent_model=MODEL)).status == Status.PROVIDER_ERROR


def test_an_error_whose_fields_have_the_names_of_arguments_is_no_reason_to_end_the_run(
    provider: Provider, simulator: MakeSimulator
) -> None:
    loading = Fault(400, '{"error": {"message": "The model is being loaded", "type": "invalid_request_error"}}')
    provider.fault, provider.times = loading, 9
    outcome = run(simulator(agent_model=MODEL, agent_llm_args={"thinking": {"type": "disabled"}}))
    assert outcome.status == Status.PROVIDER_ERROR


def test_the_defaults_are_as_they_were() -> None:
    """Keys of trials depend on them."""
    experiment = Experiment()
    assert experiment.agent_llm_args == experiment.user_llm_args == {"temperature": 0.0}
    assert experiment.judge_llm_args is None


@pytest.mark.parametrize("seeds", ["tau2", "per_role"])
def test_a_server_that_repeats_the_request_does_not_tell_the_agent_its_seed(
    provider: Provider, simulator: MakeSimulator, seeds: str
) -> None:
    """It would tell which trial this is."""

    def reply(request: Json, solve: Callable[[Json], Json]) -> Json | Fault:
        said = json.dumps(
            {"error": {"message": f"not understood: {json.dumps(request)[-60:]} seed={request['seed']}"}}
        )
        return Fault(400, said) if "BE EVIL" in json.dumps(request) else solve(request)

    provider.mood = Mood("FastAPI", reply, "agent_error")
    evil = TEMPLATE.replace("You are a helpful assistant", "BE EVIL")
    outcome = run(simulator(evil, agent_model=MODEL, seeds=seeds))
    assert outcome.status == Status.AGENT_ERROR
    assert "seed=(seed)" in outcome.detail
