"""A second try is not a second draw: what was said stays said, in any process, and no call is paid for twice."""

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any, cast

import pytest
from conftest import TEMPLATE
from executors import executor, kill_worker
from llm_server import Fault, LLMServer, assistant
from provider import Provider
from simulations import MODEL, TASK, MakeSimulator, preceded, run

from autoharness.benchmarks.tau2 import databases
from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.errors import AgentError, ChannelError
from autoharness.core.outcomes import PLAINLY, Outcome, Status, Trial
from autoharness.engine.agent_connection import AgentInHost
from autoharness.engine.simulator import Simulator
from autoharness.llm.calls import Limits
from autoharness.llm.gateway import Session

pytestmark = pytest.mark.slow


def said(outcome: Outcome) -> list[Any]:
    return [
        (one["content"], [(call["name"], call["arguments"]) for call in one["tool_calls"] or []])
        for one in outcome.messages
        if one["role"] == "assistant"
    ]


@pytest.mark.parametrize("settings", [{}, {"fresh_host": "per_simulation"}], ids=["by default", "with fresh_host"])
@pytest.mark.parametrize(
    "end",
    [
        "raise MemoryError",
        "os._exit(1)",
        "os.abort()",
        "os.kill(os.getpid(), 15)",
        "kept = [open(os.devnull) for _ in range(100_000)]",
        "os.close(int(__import__('sys').argv[1]))",
        "threading.Thread(target=lambda: (time.sleep(0.1), os._exit(1))).start(); time.sleep(0.3)",
    ],
)
def test_an_agent_that_ends_its_host_has_failed(
    provider: Provider, simulator: MakeSimulator, end: str, settings: dict[str, str]
) -> None:
    """It was alone in it. On 9a969fe its simulation ran once more, with a customer and a database as new."""
    outcome = run(simulator(preceded(end), agent_model=MODEL, simulation_retries=3, **settings))
    assert (outcome.status, outcome.reward, outcome.tries) == (Status.AGENT_ERROR, 0.0, 1), outcome


def test_a_host_that_somebody_killed_is_replaced_and_the_agent_says_the_same(
    provider: Provider, simulator: MakeSimulator
) -> None:
    undisturbed = run(simulator(agent_model=MODEL))
    paid, provider.answered = provider.answered, 0
    machine = simulator(agent_model=MODEL, simulation_retries=1)
    killed: list[int] = []

    def reply(request: dict[str, Any]) -> Any:
        if "<scenario>" not in json.dumps(request) and provider.answered > 1 and not killed:
            (host,) = machine._hosts._open
            killed.append(host._process.pid)
            os.kill(host._process.pid, signal.SIGKILL)
        return Provider.reply(provider, request)

    provider.reply = reply  # type: ignore[method-assign]
    with LLMServer(reply) as server:
        os.environ["OPENAI_API_BASE"] = server.url
        outcome = run(machine)
    assert killed and outcome.tries == 2
    assert (outcome.status, said(outcome)) == (Status.PASSED, said(undisturbed))
    assert provider.answered == paid


def test_a_try_that_ends_with_the_door_has_not_failed(
    provider: Provider, simulator: MakeSimulator, tmp_path: Path
) -> None:
    """Its hosts are ended under it. No outcome tells what it cost, so the next try has to."""
    machine, unfinished = simulator(agent_model=MODEL, simulation_retries=1), tmp_path / "x.jsonl"
    ended: list[bool] = []

    def reply(request: dict[str, Any]) -> Any:
        if "<scenario>" not in json.dumps(request) and provider.answered > 1 and not ended:
            ended.append(True)
            machine._hosts.close()
        return Provider.reply(provider, request)

    provider.reply = reply  # type: ignore[method-assign]
    with LLMServer(reply) as server:
        os.environ["OPENAI_API_BASE"] = server.url
        with pytest.raises(ChannelError):
            run(machine, unfinished=unfinished)
        paid, provider.answered = provider.answered, 0
        outcome = run(simulator(agent_model=MODEL), unfinished=unfinished)
    assert (outcome.status, outcome.tries) == (Status.PASSED, 1)
    assert sum(usage.calls for usage in outcome.usage.values()) == paid + provider.answered


def test_what_a_users_provider_fails_goes_on_from_the_call_that_failed(
    provider: Provider, simulator: MakeSimulator
) -> None:
    """The agent is not asked again: it does not even learn of it."""
    provider.fault, provider.role, provider.after, provider.times = Fault(500), "user", 1, 2  # other words too
    counted = preceded("state.turns = getattr(state, 'turns', 0) + 1\nprint(state.turns)")
    outcome = run(simulator(counted, agent_model=MODEL, simulation_retries=1))
    assert outcome.status == Status.PASSED and outcome.tries == 2
    assert outcome.notes == [note for note in outcome.notes if note.startswith("the user's call was tried again")]


def test_a_judge_that_gives_no_verdict_is_asked_again_and_the_conversation_stays(
    provider: Provider, simulator: MakeSimulator, tau2: Tau2
) -> None:
    machine = simulator(agent_model=MODEL, simulation_retries=1)
    evaluations, conversations = [], []
    evaluate, converse = machine._benchmark.evaluate, machine._benchmark.converse

    def evaluate_badly_once(*arguments: Any) -> Any:
        evaluations.append(1)
        if len(evaluations) == 1:
            from autoharness.core.errors import JudgeError

            raise JudgeError("no verdict that tau2 can read")
        return evaluate(*arguments)

    def count(*arguments: Any) -> Any:
        conversations.append(1)
        return converse(*arguments)

    machine._benchmark.evaluate, machine._benchmark.converse = evaluate_badly_once, count  # type: ignore[method-assign]
    try:
        outcome = run(machine)
    finally:
        del machine._benchmark.__dict__["evaluate"], machine._benchmark.__dict__["converse"]
    assert (outcome.status, outcome.tries) == (Status.PASSED, 2)
    assert (len(evaluations), len(conversations)) == (2, 1)


class TestAcrossCommands:
    """One command's try is lost to infrastructure; the next command goes on, with another process for everything."""

    def lose(self, provider: Provider, simulator: MakeSimulator, file: Path, agent: str = TEMPLATE) -> Outcome:
        provider.fault, provider.role, provider.after, provider.times = assistant(""), "user", 1, 10**6
        outcome = run(simulator(agent, agent_model=MODEL), unfinished=file)
        assert (outcome.status, outcome.reward) == (Status.USER_ERROR, None)
        provider.fault = None
        return outcome

    def test_what_was_paid_for_is_not_paid_for_again(
        self, provider: Provider, simulator: MakeSimulator, tmp_path: Path
    ) -> None:
        undisturbed = run(simulator(agent_model=MODEL))
        whole, provider.answered = provider.answered, 0
        lost = self.lose(provider, simulator, tmp_path / "x.jsonl")
        outcome = run(simulator(agent_model=MODEL), unfinished=tmp_path / "x.jsonl")
        assert (outcome.status, said(outcome)) == (Status.PASSED, said(undisturbed))
        assert said(lost) == said(outcome)[: len(said(lost))]
        assert provider.answered == whole
        assert outcome.tries == 2

    def test_words_that_made_it_fail_cannot_be_unsaid(
        self, provider: Provider, simulator: MakeSimulator, tmp_path: Path
    ) -> None:
        """A coin says whether this goes well. If not, the agent makes the customer fall silent, to try once more."""
        coin = (
            "from autoharness.agent_api import AssistantMessage\n"
            "if {tails}:\n"
            "    return AssistantMessage('Say nothing.'), state"
        )
        self.lose(provider, simulator, tmp_path / "x.jsonl", preceded(coin.format(tails=True)))
        second = run(
            simulator(preceded(coin.format(tails=False)), agent_model=MODEL), unfinished=tmp_path / "x.jsonl"
        )
        assert (second.status, second.reward) == (Status.AGENT_ERROR, 0.0)
        assert "does not repeat its turn 1" in second.detail

    def test_an_agent_with_a_date_in_its_prompt_repeats_itself(
        self, provider: Provider, simulator: MakeSimulator, tmp_path: Path
    ) -> None:
        dated = TEMPLATE.replace('"""\\\n', '"""\\\n', 1).replace(
            "You are a helpful assistant", "It is {__import__('time').time_ns()}. You are a helpful assistant"
        )
        assert dated != TEMPLATE
        self.lose(provider, simulator, tmp_path / "x.jsonl", dated)
        asked = provider.answered
        outcome = run(simulator(dated, agent_model=MODEL), unfinished=tmp_path / "x.jsonl")
        assert outcome.status == Status.PASSED
        assert provider.answered > asked, "from the call that failed on it was asked"

    @pytest.mark.parametrize("plain", [True, False], ids=["on the plain path", "on shared databases"])
    def test_who_hears_something_else_by_our_own_doing_says_what_it_likes_and_nobody_else(self, plain: bool) -> None:
        """A tool that changes a shared record has the conversation had anew. An agent may call it for that."""
        session = Session({}, "m", None, Limits(None, None, 0))
        link = AgentInHost(cast(Any, None), session, "m", {}, "")
        hello, done, stopped = ({"content": text, "tool_calls": []} for text in ("Hello", "Done", "Stopped"))
        for heard, said_ in (("1", hello), ("2", done)):
            session.journal.begin_turn()
            link._as_before(heard, said_)
        session.begin_try()
        if plain:
            session.journal.go_plain("a tool changed shared records")
        session.journal.begin_turn()
        with pytest.raises(AgentError, match="does not repeat"):
            link._as_before("1", stopped)
        assert link._as_before("1", hello) == hello
        session.journal.begin_turn()
        if plain:
            assert link._as_before("another answer", stopped) == stopped
        else:
            with pytest.raises(AgentError, match="hears something else"):
                link._as_before("another answer", stopped)

    def test_ids_of_tool_calls_may_be_drawn_anew(
        self, provider: Provider, simulator: MakeSimulator, tmp_path: Path
    ) -> None:
        """An agent that looks an answer up by its call's id finds the one that it gave it in this try."""
        source = preceded(
            "import uuid\n"
            "from autoharness.agent_api import AssistantMessage, ToolCall\n"
            "known = self.__dict__.setdefault('known', {})\n"
            "if hasattr(message, 'id'):\n    message.id = known[message.id]\n"
            "answer, state = turn(self, message, state)\n"
            "calls = [ToolCall(one.name, one.arguments, str(uuid.uuid4())) for one in answer.tool_calls or []]\n"
            "known.update({new.id: one.id for new, one in zip(calls, answer.tool_calls or [])})\n"
            "return AssistantMessage(content=answer.content, tool_calls=calls or None), state"
        )
        provider.fault, provider.role, provider.after, provider.times = assistant(""), "user", 1, 10**6
        machine = simulator(source, agent_model=MODEL)
        lost = run(machine, unfinished=tmp_path / "x.jsonl")
        assert lost.reward is None, (lost.messages, lost.termination)
        provider.fault = None
        outcome = run(simulator(source, agent_model=MODEL), unfinished=tmp_path / "x.jsonl")
        assert (outcome.status, outcome.tries) == (Status.PASSED, 2), outcome.detail

    def test_what_a_tool_draws_is_the_same_in_another_command(
        self, provider: Provider, simulator: MakeSimulator, tmp_path: Path
    ) -> None:
        """Otherwise an agent that hears an id that was drawn could unsay all that it said after that."""
        from autoharness.benchmarks.tau2 import seeded_tools

        machine = simulator(agent_model=MODEL)
        keys = []
        for _ in range(2):
            seeded_tools.use("the vault's")
            keys.append(seeded_tools.key_of("telecom", "x", 1))
            seeded_tools.use("another")
        assert keys[0] == keys[1] != seeded_tools.key_of("telecom", "x", 1)
        Simulator(machine._benchmark, machine._experiment, machine._hosts, secret="the vault's")
        assert seeded_tools.key_of("telecom", "x", 1) == keys[0]

    @pytest.mark.parametrize(
        "drawn", ["random.random()", "list({str(n) for n in range(9)})", "random.sample(range(9), 3)"]
    )
    def test_an_agent_that_draws_by_chance_draws_the_same(
        self, provider: Provider, simulator: MakeSimulator, tmp_path: Path, drawn: str
    ) -> None:
        source = preceded(
            "import random\nfrom autoharness.agent_api import AssistantMessage\n"
            f"if not hasattr(state, 'greeted'):\n    state.greeted = True\n"
            f"    return AssistantMessage(f'Hello, {{{drawn}}}'), state"
        )
        provider.fault, provider.role, provider.after, provider.times = assistant(""), "user", 1, 10**6
        words = [said(run(simulator(source, agent_model=MODEL), unfinished=tmp_path / "x.jsonl")) for _ in range(2)]
        assert words[0] == words[1] and "Hello" in str(words[0])


SEARCHER = """
from autoharness.agent_api import AssistantMessage, ToolCall
class HarnessAgent:
    def __init__(self, tools, domain_policy, llm=None, llm_args=None): pass
    def get_init_state(self, message_history=None): return None
    def generate_next_message(self, message, state):
        if message.role == "user":
            arguments = {"origin": "JFK", "destination": "SEA", "date": "2024-05-20"}
            return AssistantMessage(tool_calls=[ToolCall("search_direct_flight", arguments, "1")]), state
        text = f"{message.content} Is there anything else that I can do for you?"
        return AssistantMessage(content=text), state
"""


def test_a_kill_at_any_instant_on_the_plain_path_changes_nothing(
    tau2: Tau2, simulator: MakeSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tool changes shared records, so that the agent hears one thing there, and another on the plain path."""
    from tau2.domains.airline.tools import AirlineTools

    search = AirlineTools._search_direct_flight

    def dearer(self: Any, *args: Any, **kwargs: Any) -> Any:  # no tool of tau2 does this
        for flight in [] if databases.is_plain() else self.db.flights.values():
            for day in flight.dates.values():
                if day.status == "available":
                    day.prices["economy"] += 1
        return search(self, *args, **kwargs)

    monkeypatch.setattr(AirlineTools, "_search_direct_flight", dearer)
    machine, file = simulator(SEARCHER, domain="airline", agent_model="offline/clerk"), tmp_path / "x.jsonl"
    undisturbed = run(machine, "37", unfinished=file)
    assert undisturbed.status in (Status.PASSED, Status.FAILED)
    lines = [line + b"\n" for line in file.read_bytes().splitlines() if line]
    began = next(place for place, line in enumerate(lines) if PLAINLY.encode() in line)
    assert sum(b'"said"' in line for line in lines[began:]) == 1, "the agent has heard something else"
    for end in range(began, len(lines)):
        file.write_bytes(b"".join(lines[: end + 1]))
        resumed = run(machine, "37", unfinished=file)
        assert (resumed.status, said(resumed)) == (undisturbed.status, said(undisturbed)), resumed.detail
        assert resumed.tries == undisturbed.tries and str(resumed.notes).count(PLAINLY) == 1


def test_a_worker_that_is_killed_costs_no_call_that_was_answered(
    tau2: Tau2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, stop = Provider(tau2), threading.Event()
    answers: list[int] = []

    def reply(request: dict[str, Any]) -> Any:
        answers.append(1)
        if len(answers) == 4:
            stop.set()
            return Fault(hang_s=60)
        return provider.reply(request)

    with LLMServer(reply) as server, executor(tmp_path) as machine:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        machine.facts("mock")

        def kill() -> None:
            stop.wait(60)
            kill_worker(machine._workers[0])

        threading.Thread(target=kill, daemon=True).start()
        (outcome,) = machine.run([Trial(TASK, 0, 1)], set(), unfinished=lambda trial: tmp_path / "x.jsonl")
    assert (outcome.status, outcome.tries) == (Status.PASSED, 2)
    kept = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines() if line]
    assert len(answers) == 1 + sum("answer" in entry for entry in kept), "all but the call that was cut off"
    assert sum(usage.calls for usage in outcome.usage.values()) == len(answers) - 1, (
        "also what the killed one paid for"
    )
