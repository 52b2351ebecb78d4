"""A recording answers as long as the conversation goes as recorded, and otherwise says where it left."""

import json
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoharness.core.errors import UserError
from autoharness.llm.replay import LeftTheRecording, Replay, _same, checksum

Json = dict[str, Any]
TASK = "7"
SPEAKERS = {"agent": "assistant", "user": "user"}


def _conversation(turns: list[list[int]]) -> list[Json]:
    """The agent's greeting, then each side in turn: calls of as many tools at once as `turns` says, then a text."""
    messages: list[Json] = [{"role": "assistant", "content": "Hi!"}]
    for turn, rounds in enumerate(turns):
        speaker = "assistant" if turn % 2 else "user"
        for calls in rounds:
            ids = [f"call-{len(messages)}-{number}" for number in range(calls)]
            wanted = [{"id": id_, "name": "look", "arguments": {"at": id_}, "requestor": speaker} for id_ in ids]
            messages.append({"role": speaker, "content": None, "tool_calls": wanted})
            for id_ in ids:
                result = json.dumps({"id": id_, "found": [1, 2]})
                messages.append({"role": "tool", "id": id_, "requestor": speaker, "content": result})
        messages.append({"role": speaker, "content": f"turn {turn}", "tool_calls": None})
    return messages


CONVERSATION = _conversation([[], [2, 1], [1], []])
"""0 Hi!  1 user  2 agent's two calls  5 its call  7 its text  8 user's call  10 user  11 agent"""


def _results(messages: list[Json]) -> Json:
    return {"info": {}, "simulations": [{"task_id": TASK, "trial": 0, "messages": messages}]}


def _file(folder: Path, messages: list[Json]) -> Path:
    path = folder / "results.json"
    path.write_text(json.dumps(_results(messages)))
    return path


def _folder(folder: Path, messages: list[Json]) -> Path:
    run = folder / "run"
    (run / "simulations").mkdir(parents=True)
    (simulation,) = _results(messages)["simulations"]
    (run / "results.json").write_text(json.dumps({"info": {}}))
    (run / "simulations" / "one.json").write_text(json.dumps(simulation))
    return run


def _folder_with_one_file(folder: Path, messages: list[Json]) -> Path:
    (folder / "run").mkdir()
    return _file(folder / "run", messages).parent


each_format = pytest.mark.parametrize("make", [_file, _folder, _folder_with_one_file])


def _chat(messages: list[Json], role: str) -> list[Json]:
    """What a role has seen of a conversation, as it asks its LLM: its own words are the assistant's."""
    speaker = SPEAKERS[role]
    chat: list[Json] = [{"role": "system", "content": "Be kind."}]
    for message in messages:
        if message["role"] == speaker:
            calls = [
                {"id": call["id"], "function": {"name": call["name"], "arguments": json.dumps(call["arguments"])}}
                for call in message.get("tool_calls") or []
            ]
            chat.append({"role": "assistant", "content": message["content"], "tool_calls": calls or None})
        elif message["role"] == "tool" and message["requestor"] == speaker:
            chat.append({"role": "tool", "content": message["content"], "tool_call_id": message["id"]})
        elif message["role"] != "tool" and not message.get("tool_calls"):
            chat.append({"role": "user", "content": message["content"]})
    return chat


def _says_it_all_again(path: Path, messages: list[Json]) -> None:
    for role, speaker in SPEAKERS.items():
        replay = Replay(path, TASK, 0, role)
        for index, message in enumerate(messages):
            if message["role"] == speaker:
                answer = replay({"messages": _chat(messages[:index], role)})["choices"][0]["message"]
                assert _chat([message], role)[1]["content"] == answer["content"]
                calls = [(c["id"], c["name"], c["arguments"]) for c in message.get("tool_calls") or []]
                assert calls == [
                    (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
                    for call in answer["tool_calls"] or []
                ]


@each_format
def test_agent_and_user_say_again_what_was_recorded(make: Any, tmp_path: Path) -> None:
    _says_it_all_again(make(tmp_path, CONVERSATION), CONVERSATION)


@settings(max_examples=50, deadline=None)
@given(turns=st.lists(st.lists(st.integers(1, 3), max_size=3), max_size=6))
def test_so_they_do_with_any_recording(turns: list[list[int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    messages = _conversation(turns)
    _says_it_all_again(_file(tmp_path_factory.mktemp("recording"), messages), messages)


def _ask(folder: Path, chat: list[Json], role: str = "agent", task_id: str = TASK, trial: int = 0) -> Json:
    return Replay(_file(folder, CONVERSATION), task_id, trial, role)({"messages": chat})


def test_an_answer_is_a_chat_completion_that_costs_nothing(tmp_path: Path) -> None:
    function = {"name": "look", "arguments": '{"at": "call-8-0"}'}
    calls = [{"id": "call-8-0", "type": "function", "function": function}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    assert _ask(tmp_path, _chat(CONVERSATION[:8], "user"), "user") == {
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "cost_usd": 0.0,
    }


def test_each_trial_of_a_task_is_a_conversation_of_its_own(tmp_path: Path) -> None:
    greetings = ("Hi!", "Hello!")
    messages = [[{"role": "assistant", "content": greeting}] for greeting in greetings]
    simulations = [{"task_id": TASK, "trial": trial, "messages": said} for trial, said in enumerate(messages)]
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"simulations": simulations}))
    answers = [Replay(path, TASK, trial, "agent")({"messages": []})["choices"][0]["message"] for trial in (0, 1)]
    assert tuple(answer["content"] for answer in answers) == greetings


def test_fields_that_a_file_leaves_out_have_their_defaults(tmp_path: Path) -> None:
    """The first trial; a tool result for the agent; a call without an id."""
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [{"name": "look", "arguments": {}}]},
        {"role": "tool", "id": "", "content": "found"},
        {"role": "assistant", "content": "Done."},
    ]
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"simulations": [{"task_id": 7, "messages": messages}]}))
    replay = Replay(path, TASK, 0, "agent")
    called = replay({"messages": []})["choices"][0]["message"]
    assert [call["id"] for call in called["tool_calls"]] == [""]
    said = replay({"messages": [called, {"role": "tool", "content": "found"}]})["choices"][0]["message"]
    assert said["content"] == "Done."


@pytest.mark.parametrize(
    ("role", "index", "change", "expected"),
    [
        (
            "agent",
            2,
            {"content": "Hello there"},
            "message 2 of task 7, trial 0 in results.json: the user said 'turn 0'",
        ),
        ("agent", 5, {"content": "{}"}, "message 5 of task 7, trial 0 in results.json: the tool said '"),
        ("user", 10, {"content": None}, "message 10 of task 7, trial 0 in results.json: the tool said '"),
        ("user", 1, {"content": "Good day!"}, "the assistant said 'Hi!', now 'Good day!'"),
    ],
    ids=["user-text", "tool-result", "users-tool-result", "agent-text"],
)
def test_something_else_said_leaves_the_recording_and_the_message_names_the_place(
    role: str, index: int, change: Json, expected: str, tmp_path: Path
) -> None:
    chat = _chat(CONVERSATION[:index], role)
    chat[-1] |= change
    with pytest.raises(LeftTheRecording, match=r"^left the recording: ") as error:
        _ask(tmp_path, chat, role)
    assert expected in str(error.value)
    assert not error.value.retryable


def test_a_difference_deep_in_a_long_text_is_shown_from_shortly_before_it(tmp_path: Path) -> None:
    messages = deepcopy(CONVERSATION)
    messages[1]["content"] = "a" * 1000 + "x" * 1000
    chat = _chat(messages[:2], "agent")
    chat[-1]["content"] = "a" * 1000 + "y" * 1000
    with pytest.raises(LeftTheRecording) as error:
        Replay(_file(tmp_path, messages), TASK, 0, "agent")({"messages": chat})
    shown = [f"...{'a' * 30}{letter * 70}" for letter in "xy"]
    assert str(error.value).endswith(f"the user said {shown[0]!r}, now {shown[1]!r}")


@pytest.mark.parametrize(
    ("then", "now", "tolerant", "goes_on"),
    [
        ("Error: pydantic 2.12 says no", "Error: pydantic 2.14 says no", True, True),
        ("Error: pydantic 2.12 says no", "Error: pydantic 2.14 says no", False, False),
        ("Error: pydantic 2.12 says no", "done", True, False),
        ("done", "Error: pydantic 2.14 says no", True, False),
        ("done", "done, otherwise", True, False),
    ],
    ids=["both-fail", "not-tolerant", "fails-no-more", "fails-now", "another-answer"],
)
def test_with_tolerance_a_tool_may_word_its_error_otherwise(
    then: str, now: str, tolerant: bool, goes_on: bool, tmp_path: Path
) -> None:
    """And nothing else: what it answers decides what the recorded agent did next."""
    messages = deepcopy(CONVERSATION)
    place = next(index for index, message in enumerate(messages) if message["role"] == "tool")
    messages[place] |= {"content": then, "error": then.startswith("Error")}
    replay = Replay(_file(tmp_path, messages), TASK, 0, "agent", tolerant)
    messages[place] = messages[place] | {"content": now}
    after = next(index for index in range(place, len(messages)) if messages[index]["role"] == "assistant")
    request = {"messages": _chat(messages[:after], "agent")}
    if goes_on:
        assert replay(request)["choices"]
        return
    with pytest.raises(LeftTheRecording):
        replay(request)


@pytest.mark.parametrize(
    ("chat", "counts"),
    [
        (
            [*_chat(CONVERSATION[:2], "agent"), {"role": "user", "content": "And?"}],
            "1 messages came before it, now 2",
        ),
        (_chat(CONVERSATION[:4], "agent"), "2 messages came before it, now 1"),
    ],
    ids=["too-many", "too-few"],
)
def test_more_or_fewer_messages_than_recorded_leave_it(chat: list[Json], counts: str, tmp_path: Path) -> None:
    with pytest.raises(LeftTheRecording, match=rf"message \d of task 7, trial 0 in results.json: {counts}"):
        _ask(tmp_path, chat)


def test_a_conversation_that_goes_on_after_the_recording_leaves_it(tmp_path: Path) -> None:
    chat = [*_chat(CONVERSATION, "agent"), {"role": "user", "content": "One more thing"}]
    with pytest.raises(LeftTheRecording, match=r"task 7, trial 0 in results\.json ends after 5 messages"):
        _ask(tmp_path, chat)


@pytest.mark.parametrize("indent", [None, 2])
def test_a_result_that_differs_in_its_formatting_alone_is_the_same(indent: int | None, tmp_path: Path) -> None:
    chat = _chat(CONVERSATION[:5], "agent")
    result = json.loads(chat[-1]["content"])
    chat[-1]["content"] = json.dumps(dict(reversed(result.items())), indent=indent)
    assert _ask(tmp_path, chat)["choices"][0]["message"]["tool_calls"][0]["id"] == "call-5-0"


@pytest.mark.parametrize(("task_id", "trial"), [("8", 0), ("7", 1)], ids=["task", "trial"])
def test_a_simulation_that_was_not_recorded_leaves_it_at_once(task_id: str, trial: int, tmp_path: Path) -> None:
    with pytest.raises(LeftTheRecording, match=f"task {task_id}, trial {trial} in results.json is not in it"):
        _ask(tmp_path, _chat(CONVERSATION[:2], "agent"), task_id=task_id, trial=trial)


def test_a_recording_is_no_judge(tmp_path: Path) -> None:
    with pytest.raises(LeftTheRecording, match="name a judge_model"):
        _ask(tmp_path, [{"role": "user", "content": "Did it go well?"}], role="judge")


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"null", b"[]", b"{}", b'{"simulations": 3}', b'{"simulations": [{"task_id": "7"}]}'],
    ids=["empty", "binary", "null", "list", "no-simulations", "number", "no-messages"],
)
def test_a_file_that_is_no_results_file_is_the_users_to_mend(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "any.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^replay/{path}: not a tau2 results file ") as error:
        Replay(path, TASK, 0, "agent")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["missing.json", "."], ids=["no-file", "folder-without-results"])
def test_so_is_a_file_that_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No such file"):
        Replay(tmp_path / name, TASK, 0, "agent")


@each_format
def test_the_checksum_is_that_of_the_content(make: Any, tmp_path: Path) -> None:
    changed = [*CONVERSATION[:-1], {"role": "assistant", "content": "Bye."}]
    sums = []
    for name, messages in (("one", CONVERSATION), ("two", CONVERSATION), ("three", changed)):
        (tmp_path / name).mkdir()
        sums.append(checksum(make(tmp_path / name, messages)))
    assert sums[0] == sums[1] != sums[2]


def test_a_checksum_of_nothing_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^replay/.*missing\.json: No such file"):
        checksum(tmp_path / "missing.json")


def test_a_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    """Every simulation asks for it, once for each role."""

    def read_bytes() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    path = _file(tmp_path, [*CONVERSATION, {"role": "assistant", "content": "x" * 20_000_000}])
    time.sleep(0.1)  # until a later change shows in its times
    greeting = Replay(path, TASK, 0, "agent")({"messages": []})
    before = read_bytes()
    assert Replay(path, TASK, 0, "agent")({"messages": []}) == greeting
    assert read_bytes() - before < 20_000_000
    _file(tmp_path, [{"role": "assistant", "content": "Good day!"}])
    assert Replay(path, TASK, 0, "agent")({"messages": []}) != greeting


@pytest.mark.parametrize("pair", [("1", "true"), ("[0]", "[false]"), ("1", "1.5")], ids=str)
def test_values_that_python_calls_equal_are_not_the_same(pair: tuple[str, str]) -> None:
    assert not _same(*pair)
    assert _same(pair[0], f" {pair[0]} ")
