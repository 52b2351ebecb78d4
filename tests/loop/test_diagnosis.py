"""What the coding agent reads: failures by what went wrong, the worst of each kind, and what was tried."""

from typing import Any

from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.loop.diagnosis import diagnosis, groups_of, what_went_wrong, worst
from autoharness.loop.learnings import recent, section, write_section
from autoharness.vault.iterations import Edit, Iteration
from autoharness.vault.spending import Spent


def _check(name: str, match: bool) -> dict[str, Any]:
    action = {"requestor": "assistant", "name": name, "arguments": {}}
    return {"action": action, "action_match": match}


def _failed(task: str = "1", status: Status = Status.FAILED, **fields: Any) -> Outcome:
    return Outcome(Trial(task, 0, 1), status, 0.0, **fields)


def _called(*names: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": None, "tool_calls": [{"name": name, "arguments": {}} for name in names]}]


def test_the_kinds_of_failure() -> None:
    handed_over = _failed(messages=_called("transfer_to_human_agents"), reward_info={"action_checks": []})
    assert "handed over to a human agent" in what_went_wrong(handed_over)
    asked_for = {"action_checks": [_check("transfer_to_human_agents", True), _check("cancel", False)]}
    assert what_went_wrong(_failed(messages=_called("transfer_to_human_agents"), reward_info=asked_for)).endswith(
        ": cancel"
    )
    error = _failed(status=Status.AGENT_ERROR, detail="MalformedToolCall: arguments that do not parse: {")
    assert what_went_wrong(error) == "the agent's own error: MalformedToolCall"
    assert what_went_wrong(_failed(termination="max_steps")) == "the conversation ended with max_steps"
    untold = {"communicate_checks": [{"info": "5", "met": False}]}
    assert "not told" in what_went_wrong(_failed(reward_info=untold, termination="user_stop"))
    assert "database differs" in what_went_wrong(_failed(database_diff=[{"path": "a"}]))
    assert what_went_wrong(_failed()) == "something else that was checked"


def test_the_largest_group_comes_first_and_each_has_its_worst() -> None:
    steps = [_failed(task, termination="max_steps") for task in ("10", "9", "8")]
    groups = groups_of([_failed("1"), *steps, _failed("2", termination="too_many_errors")])
    assert [len(some) for some in groups.values()] == [3, 1, 1]
    assert [one.trial.task_id for one in worst(groups)] == ["8", "1", "2", "9", "10"] or [
        one.trial.task_id for one in worst(groups)
    ] == ["8", "2", "1", "9", "10"]
    assert worst({}) == []


def _iteration(number: int, end: str, **fields: Any) -> Iteration:
    return Iteration(number, "", "", "", "scripted", end=end, **fields)


def test_the_page_tells_what_was_tried_what_it_broke_and_whether_predictions_came_true() -> None:
    before, after = {"1": 0.0, "2": 1.0}, {"1": 1.0, "2": 0.0}
    edit = Edit("a", note="hand over less\nbecause", fixes=["1"], breaks=[])
    earlier = [
        _iteration(n, "rejected", before=before, after=after, edit=edit, reasons=["-1.0 tasks ahead"]) for n in (1, 2)
    ]
    passed = Outcome(Trial("2", 0, 1), Status.PASSED, 1.0)
    lost = Outcome(Trial("3", 0, 1), Status.PROVIDER_ERROR, None)
    page = diagnosis([_failed("1", messages=_called("x")), passed, lost], earlier)
    for words in (
        "1 of 2 train tasks failed",
        "1 simulations could not be evaluated: infrastructure",
        "- iteration 2, rejected: hand over less",
        "  - -1.0 tasks ahead",
        "train: 1 fixed, 1 broken, of 2 that were run with it",
        "prediction: 1 tasks broke that it did not name",
        "predictions so far: 2 of the 2 tasks",
        "broken again and again by edits that were not kept: `2` (2 times)",
        "# Task 1",
    ):
        assert words in page, page


def test_a_long_conversation_is_shortened_in_its_middle() -> None:
    talk = [{"role": "user", "content": f"word {number} " * 40} for number in range(400)]
    page = diagnosis([_failed("1", messages=talk)], [])
    assert len(page) < 20_000 and "characters left out: see its trace.md" in page
    assert "word 0 " in page and "word 399 " in page


def test_a_section_is_written_once_and_what_a_person_wrote_stays(tmp_path: Any) -> None:
    file = tmp_path / "workspace" / "learnings.md"
    iteration = _iteration(1, "refused", edit=Edit("a", note="an idea"), reasons=["line 3: it opens files"])
    write_section(iteration, None, "", Spent(), file)
    file.write_text(f"{file.read_text()}\nmine\n")
    write_section(iteration, None, "", Spent(), file)
    write_section(_iteration(10, "no edit"), None, "", Spent(), file)
    text = file.read_text()
    assert text.count("## Iteration 1: refused") == 1 and "\nmine\n" in text and "## Iteration 10: no edit" in text


def test_a_section_that_a_kill_cut_short_is_finished(tmp_path: Any) -> None:
    file = tmp_path / "workspace" / "learnings.md"
    write_section(_iteration(1, "no edit"), None, "", Spent(), file)
    before = file.read_text()
    iteration = _iteration(2, "refused", edit=Edit("a", note="an idea"), reasons=["line 3: it opens files"])
    write_section(iteration, None, "", Spent(), file)
    whole = file.read_text()
    assert whole == f"{before}\n{section(iteration, None, '', Spent())}"
    heading_ends = whole.index("\n", len(before) + 1) + 1
    for cut in [len(before), *range(heading_ends, len(whole) + 1)]:
        file.write_text(whole[:cut])
        write_section(iteration, None, "", Spent(), file)
        assert file.read_text() == whole


def test_the_coding_agent_is_given_the_sections_that_come_last(tmp_path: Any) -> None:
    file = tmp_path / "workspace" / "learnings.md"
    assert recent(file) == ""
    write_section(_iteration(1, "no edit"), None, "", Spent(), file)
    assert recent(file) == file.read_text()
    for number in range(2, 40):
        edit = Edit("a", note="an idea\n" * 100)
        write_section(_iteration(number, "refused", edit=edit), None, "", Spent(), file)
    told = recent(file)
    head, _, sections = told.partition("\n\n## Iteration ")
    assert head == "# Learnings\n\n(What is older is left out here.)" and len(told) < 33_000
    assert file.read_text().endswith(f"\n\n## Iteration {sections}") and sections.count("## Iteration") > 10


def test_a_diff_with_fences_does_not_break_out_of_its_own() -> None:
    text = section(_iteration(1, "rejected", edit=Edit("a")), None, "--- a\n+++ b\n+```\n+# Heading\n", Spent())
    assert "````diff" in text and text.rstrip().endswith("````")
