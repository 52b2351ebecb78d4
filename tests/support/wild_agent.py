"""An agent and a customer that make calls at random, legal and illegal ones, with values that fit and values that do
not; for test_wild_agent.py."""

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.benchmarks.tau2.domains import databases_of
from autoharness.core.errors import AgentError
from autoharness.core.strict_json import dumps, loads_object
from autoharness.host.reply import checked_reply

Json = dict[str, Any]

ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 1.0, "1", 1e308, -1e308, 5e-324, 0.1, 10**18, 10**400, 10**4299, -(10**4299)),
    *(
        "",
        " ",
        "NaN",
        "Infinity",
        "null",
        "[]",
        "{}",
        '"',
        "'",
        "\\",
        "\n",
        "\x00",
        "é",
        "\u0661",
        "\u202e",
        "😀",
        "0" * 300,
    ),
    *([], {}, [[]], [None], [{"a": [1]}], {"a": {"b": []}}, [1, 1.0, True], "2024-02-30", "2024-05-15T00:00:00Z"),
    *(
        "[" * 400,
        "{" * 100,
        '{"a":' * 80,
        "1" * 5000,
        "1e999",
        "-" * 200 + "1",
        "(" * 150 + "1" + ")" * 150,
        "9**9**9",
    ),
    *("(1/3)*3", "1/0", "0**-1", "{name}", "%s", "###STOP###", "*", "(a+)+$", "[", "credit.*card"),
]
NAMES = [
    "",
    "nothing",
    "think",
    "use_tool",
    "__init__",
    "db",
    "tools",
    "get_db_hash",
    "transfer_to_human_agents",
    "é" * 50,
]
IDS = ["", "1", "1", "same", "é", "call_" + "x" * 200]
EXTRA = ["self", "requestor", "tool_name", "kwargs", "args", "", "name"]


class Wild:
    """One conversation's worth of both."""

    waited_s = 0.0

    def __init__(self, tau2: Tau2, domain: str, task_id: str, chance: random.Random) -> None:
        self._chance = chance
        self._pool = pool(tau2, domain)
        self._known = [(one.requestor, one.name, one.arguments) for one in tau2.script(domain, task_id).steps]
        self._turns = chance.randrange(1, 8)
        self._seen: dict[str, list[Any]] = defaultdict(list)

    def start(self, tools: list[Json], domain_policy: str, llm_args: Json, history: list[Json]) -> None:
        pass

    def next(self, message: Json) -> Json:
        chance = self._chance
        self._look_at(message)
        calls = [self._call("assistant") for _ in range(chance.choice([0, 0, 1, 1, 1, 2, 5]))]
        texts = ["Hello.", "###STOP###", "é\u200b😀", "NaN", str(chance.random())]
        content = chance.choice([None, "", *texts] if calls else texts)
        reply = {"content": content, "tool_calls": calls}
        try:
            return {**checked_reply(loads_object(dumps(reply).decode())), "cost_usd": 0.0}
        except ValueError as error:  # the host's channel takes no such message
            raise AgentError(str(error)) from error

    def complete(self, role: str, request: Json) -> Json:
        """As the customer's model."""
        self._turns -= 1
        if self._turns < 0:
            return _says("###STOP###")
        names = [name for requestor, name in self._pool.parameters if requestor == "user"]
        if not names or not request.get("tools") or self._chance.random() < 0.4:
            return _says(self._chance.choice(["Hello.", "Please.", "{}", "null"]))
        made = [self._call("user") for _ in range(self._chance.choice([1, 1, 2]))]
        calls = [
            {"id": one["id"], "function": {"name": one["name"], "arguments": json.dumps(one["arguments"])}}
            for one in made
        ]
        return {"choices": [{"message": {"content": None, "tool_calls": calls}}], "cost_usd": 0.0}

    def _call(self, requestor: str) -> Json:
        chance = self._chance
        name = chance.choice([name for by, name in self._pool.parameters if by == requestor])
        if chance.random() < 0.1:
            name = chance.choice([*NAMES, *(name for _, name in self._pool.parameters)])
        arguments = {key: self._value(key) for key in self._pool.parameters.get((requestor, name), ["a"])}
        known = [(name, arguments) for by, name, arguments in self._known if by == requestor]
        if known and chance.random() < 0.4:
            name, arguments = chance.choice(known)
            arguments = dict(arguments)
        if arguments and chance.random() < 0.15:
            del arguments[chance.choice(list(arguments))]
        if arguments and chance.random() < 0.15:
            arguments[chance.choice(list(arguments))] = chance.choice(ODD)
        if chance.random() < 0.05:
            arguments[chance.choice(EXTRA)] = chance.choice(ODD)
        return {"id": chance.choice(IDS), "name": name, "arguments": arguments}

    def _look_at(self, message: Json) -> None:
        """What tools have answered is what fits: the lines of this customer, not of any."""
        for answer in message.get("tool_messages") or [message]:
            with suppress(ValueError, RecursionError):
                for key, value in _leaves(json.loads(answer.get("content") or "")):
                    self._seen[key].append(value)

    def _value(self, key: str) -> Any:
        names = (key, f"{key}s", key.removesuffix("s"))
        seen, known = (
            [one for name in names for one in values.get(name, ())] for values in (self._seen, self._pool.values)
        )
        if self._chance.random() < 0.1:
            return self._chance.choice(ODD)
        fitting = seen if seen and self._chance.random() < 0.8 else known or [1, 2, 0.5, 2.5]
        value = self._chance.choice(fitting)
        return [value] if key.endswith("_ids") and not isinstance(value, list) else value


class Pool:
    """What calls of a domain are made of."""

    def __init__(self, tau2: Tau2, domain: str) -> None:
        environment = tau2._environment(domain)
        self.parameters: dict[tuple[str, str], list[str]] = {}
        for requestor, kit in (("assistant", environment.tools), ("user", environment.user_tools)):
            for name in kit.tools if kit else ():
                method = kit.tools[name]
                self.parameters[requestor, name] = list(method.__code__.co_varnames[1 : method.__code__.co_argcount])
        values: dict[str, list[Any]] = defaultdict(list)
        for key, value in _leaves(databases_of(environment)):
            values[key].append(value)
        for script in (tau2.script(domain, task_id) for task_id in list(tau2._tasks(domain))[:120]):
            for step in script.steps:
                for key, value in step.arguments.items():
                    values[key] += [value, value]
                    values[key] += [json.dumps(value)] if isinstance(value, dict) else []
        for requestor, name in self.parameters:
            values["discoverable_tool_name" if requestor == "user" else "agent_tool_name"].append(name)
        self.values = {key: found[:2000] for key, found in values.items()}


_pools: dict[tuple[int, str], Pool] = {}


def pool(tau2: Tau2, domain: str) -> Pool:
    key = id(tau2), domain
    if key not in _pools:
        _pools[key] = Pool(tau2, domain)
    return _pools[key]


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield key.removesuffix("s") + "_id", name
            yield from _leaves(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, key)
    else:
        yield key, value


def _says(text: str) -> Json:
    return {"choices": [{"message": {"content": text}}], "cost_usd": 0.0}
