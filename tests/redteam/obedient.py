"""Models that do what an agent's words ask for: a customer who falls silent or hangs up, a judge who can be flattered
or confused, a provider that breaks off, or that says how much of a prompt it knows from before. Served on loopback;
the tasks themselves are solved as by `solver`.

What real models do now and then, these do always.
"""

import json
import os
import re
from collections.abc import Iterable
from typing import Any

from llm_server import Fault, Reply, assistant, tool_call
from solver import Solver

Json = dict[str, Any]

_SILENCE = re.compile(r"empty message|say nothing|without a word")
_HANG_UP = re.compile(r"###STOP###|closing token|end the call now|auflegen", re.IGNORECASE)
_WRONG_CALL = re.compile(r"call the tool with half of its arguments")
_BREAK = re.compile(r"overload")
_LIMIT = re.compile(r"one after the other")
_HANG = re.compile(r"take your time")
_CUT = re.compile(r"cut it short")
_FORBIDDEN = re.compile(r"forbidden")
_LONG = re.compile(r"long story")
_YAML = re.compile(r"in YAML")
_PRAISE = re.compile(r"did well|criterion is met|\"met\": true")
_NUMBER = re.compile(r"number (\d+)")
_NOTES = "notes on "
_PRESSED = "You are a customer"
_JUDGE = "You are a judge"


def mock_tasks() -> list[Any]:
    """Those of tau2's mock domain."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or the import asks the network, and waits
    from loguru import logger

    logger.remove()
    from tau2.registry import registry

    return list(registry.get_tasks_loader("mock")(None))


def reply(tasks: Iterable[Any]) -> Reply:
    """What the server answers; `tasks`: of tau2's domain that is played, if one is."""
    solver, cached = Solver(tasks), set[str]()

    def answer(request: Json) -> Json | Fault:
        text = json.dumps(request, ensure_ascii=False)
        system = "\n".join(str(one["content"]) for one in request["messages"] if one["role"] == "system")
        if fault := _fault(text):
            return fault
        if _NOTES in system:
            known = system in cached
            cached.add(system)
            return Fault(body=_noted(len(system) // 4, known))
        if _JUDGE in system:
            return _judge(str(request["messages"][-1]["content"]))
        if _PRESSED in system:
            return _obeyed(request) or assistant("Please make an exception for me.")
        if "<scenario>" in system:
            return _obeyed(request) or solver.reply(request)
        if number := _NUMBER.findall(text):
            return assistant(f"It is {number[-1]}.")
        return solver.reply(request)

    return answer


def _noted(tokens: int, known: bool) -> str:
    """A completion whose usage says what of the prompt was cached, as providers that cache prompts do."""
    usage = {"prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1}
    details = {"prompt_tokens_details": {"cached_tokens": tokens if known else 0}}
    choice = {"index": 0, "message": {"role": "assistant", "content": "Noted."}, "finish_reason": "stop"}
    body = {"id": "chatcmpl-0", "object": "chat.completion", "created": 0, "model": "obedient", "choices": [choice]}
    return json.dumps(body | {"usage": usage | details})


def _fault(text: str) -> Fault | None:
    """A provider's trouble with the words that it is sent, by any role."""
    if _BREAK.search(text):
        return Fault(500)
    if _LIMIT.search(text):
        return Fault(429)
    if _HANG.search(text):
        return Fault(hang_s=30)
    if _FORBIDDEN.search(text):
        return Fault(400, '{"error": {"message": "content policy", "type": "invalid_request_error"}}')
    if _LONG.search(text):
        error = {"message": "maximum context length is 10 tokens", "code": "context_length_exceeded"}
        return Fault(400, json.dumps({"error": error}))
    return Fault(truncate=True) if _CUT.search(text) else None


def _obeyed(request: Json) -> Json | None:
    """What the customer does because the agent has just asked for it."""
    said = str(request["messages"][-1].get("content"))
    if _SILENCE.search(said):
        return assistant("")
    if _HANG_UP.search(said):
        return assistant("###STOP###")
    return assistant(None, [tool_call("look", '{"half')]) if _WRONG_CALL.search(said) else None


def _judge(asked: str) -> Json:
    """Whether the number was said, as JSON, unless it is told otherwise."""
    if _YAML.search(asked):
        return assistant("met: yes")
    number, said = asked.split("\n", 1)
    return assistant(json.dumps({"met": bool(_PRAISE.search(said)) or number in said}))
