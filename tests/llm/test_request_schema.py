"""What an agent may ask for, and what would reach another model, the internet or litellm's own switches."""

from typing import Any

import pytest
from conftest import TEMPLATE

from autoharness.agent_api import AssistantMessage, SystemMessage, ToolCall, ToolMessage, UserMessage, to_chat
from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.llm.request_schema import problem_of

HELLO = {"role": "user", "content": "Hello"}
FUNCTION = {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": FUNCTION}
CALL = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}

TAKEN: dict[str, dict[str, Any]] = {
    "plain": {},
    "nothing-said": {"temperature": None, "tools": None, "stop": None},
    "sampling": {"temperature": 0, "top_p": 0.5, "seed": 1, "stop": ["a", "b"], "max_tokens": 10**9},
    "tools": {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False},
    "no-tools": {"tools": []},
    "one-tool": {"tools": [{"type": "function", "function": {"name": "x", "strict": True}}]},
    "named-tool": {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "look"}}},
    "json": {"response_format": {"type": "json_object"}},
    "json-schema": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}, "strict": True}}
    },
    "calls": {"messages": [HELLO, {"role": "assistant", "content": None, "tool_calls": [CALL]}]},
    "words-and-calls": {"messages": [{"role": "assistant", "content": "x", "tool_calls": [CALL]}]},
    "empty-words": {"messages": [{"role": "assistant", "content": ""}]},
    "as-a-client-sends-back-an-answer": {
        "messages": [
            {"role": "assistant", "content": "x", "tool_calls": None, "refusal": None, "function_call": None}
        ]
    },
    "tool-answer": {"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]},
}


@pytest.mark.parametrize("request_", TAKEN.values(), ids=TAKEN)
def test_takes_what_a_harness_needs(request_: dict[str, Any]) -> None:
    assert problem_of({"messages": [HELLO]} | request_) == ""


@pytest.mark.parametrize("domain", ["airline", "retail", "telecom", "mock"])
def test_takes_the_tools_of_every_domain_and_every_message_of_an_agent(tau2: Tau2, domain: str) -> None:
    messages = [
        SystemMessage("Be nice."),
        UserMessage("Hello"),
        AssistantMessage(tool_calls=[ToolCall("look", {"at": "it"}, "1")]),
        ToolMessage("1", "It is nice."),
        AssistantMessage("It is nice."),
    ]
    assert TEMPLATE and problem_of({"messages": to_chat(messages), "tools": tau2.facts(domain).tools}) == ""


ARGUMENTS = """
    extra_body extra_headers extra_query api_base base_url api_key api_version custom_llm_provider organization proxy
    metadata litellm_metadata fallbacks context_window_fallback_dict model_list mock_response mock_tool_calls client
    functions function_call n logprobs stream stream_options timeout num_retries max_retries drop_params hf_model_name
    allowed_openai_params additional_drop_params web_search_options thinking reasoning verbosity modalities audio
    prediction service_tier store user cache caching tags deployment_id input_cost_per_token output_cost_per_token
    logit_bias prompt_id guardrails mcp_servers enable_json_schema_validation base_model
"""


@pytest.mark.parametrize("name", ARGUMENTS.split())
@pytest.mark.parametrize("value", ["reasoning_effort", {"reasoning_effort": "high"}, 100, None], ids=repr)
def test_any_other_argument_is_refused_by_name(name: str, value: Any) -> None:
    assert problem_of({"messages": [HELLO], name: value}) == f"the gateway does not take {name!r}"


def _tool(**more: Any) -> dict[str, Any]:
    return {"tools": [TOOL, TOOL | more]}


def _message(**more: Any) -> dict[str, Any]:
    return {"messages": [HELLO, HELLO | more]}


def _call(**more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "assistant", "tool_calls": [CALL | more]}]}


IMAGE = [{"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}]
REFUSED: dict[str, dict[str, Any]] = {
    "web-search": {"tools": [{"type": "web_search"}]},
    "web-search-as-a-function": _tool(type="web_search_20250305"),
    "code-interpreter": {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
    "mcp": {"tools": [{"type": "mcp", "server_label": "x", "server_url": "https://example.com"}]},
    "computer": _tool(type="computer_20250124"),
    "google-search": {"tools": [{"googleSearch": {}}]},
    "google-search-beside-a-function": _tool(googleSearch={}),
    "url-context": {"tools": [{"urlContext": {}}]},
    "no-type": {"tools": [{"function": FUNCTION}]},
    "no-name": {"tools": [{"type": "function", "function": {}}]},
    "cached-tool": _tool(cache_control={"type": "ephemeral"}),
    "callers-of-a-tool": _tool(function=FUNCTION | {"allowed_callers": ["code_execution_20250825"]}),
    "tools-are-no-list": {"tools": {"0": TOOL}},
    "choice-of-a-providers-tool": {"tool_choice": {"type": "web_search"}},
    "choice-of-more": {"tool_choice": {"type": "function", "function": {"name": "x"}, "model": "y"}},
    "choice-of-nonsense": {"tool_choice": "computer"},
    "format-of-litellms": {"response_format": {"type": "json_object", "response_schema": {}}},
    "format-of-nonsense": {"response_format": {"type": "audio"}},
    "image": _message(content=IMAGE),
    "image-beside-a-call": {"messages": [{"role": "assistant", "content": IMAGE, "tool_calls": [CALL]}]},
    "image-from-a-tool": {"messages": [{"role": "tool", "tool_call_id": "1", "content": IMAGE}]},
    "text-parts": _message(content=[{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]),
    "cached-message": _message(cache_control={"type": "ephemeral"}),
    "prefix": {"messages": [{"role": "assistant", "content": "x", "prefix": True}]},
    "thinking": {"messages": [{"role": "assistant", "content": "x", "thinking_blocks": [{"type": "thinking"}]}]},
    "provider-fields": _message(provider_specific_fields={"x": 1}),
    "audio": {"messages": [{"role": "assistant", "audio": {"id": "x"}}]},
    "container": _message(type="container_upload"),
    "users-call": _message(tool_calls=[CALL]),
    "developer": _message(role="developer"),
    "nothing-to-say": {"messages": [{"role": "assistant", "content": None, "tool_calls": []}]},
    "empty-call": {"messages": [{"role": "assistant", "tool_calls": [{}]}]},
    "call-is-a-number": {"messages": [{"role": "assistant", "tool_calls": [7]}]},
    "call-of-a-providers-tool": _call(type="web_search_call"),
    "call-with-more": _call(provider_specific_fields={"x": 1}),
    "call-without-text": _call(function={"name": "x", "arguments": {}}),
    "stop-is-a-list-of-numbers": {"stop": [1]},
    "true-is-no-number": {"max_tokens": True},
    "text-is-no-number": {"temperature": "hot"},
}


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
def test_anything_else_is_refused_in_a_line_that_names_the_argument(request_: dict[str, Any]) -> None:
    problem = problem_of({"messages": [HELLO]} | request_)
    assert problem.startswith(f"{next(iter(request_))} must be ") and ", not " in problem
    assert "\n" not in problem and len(problem) < 400


def test_of_a_list_the_line_shows_the_element_that_is_wrong() -> None:
    assert "not {'type': 'web_search'}" in problem_of({"messages": [HELLO], "tools": [TOOL, {"type": "web_search"}]})


@pytest.mark.parametrize("request_", [None, [], "Hello", {}, {"messages": []}, {"messages": None}], ids=repr)
def test_a_request_without_messages_is_none(request_: Any) -> None:
    assert problem_of(request_) == "a chat completion request needs messages"
