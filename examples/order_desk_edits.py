"""Edits of agent/agent.py for the order desk (`make demo-real`): some help a small model, some do not, one cheats."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Edit:
    """One idea. `apply` turns the agent file's text into the edited one; ValueError if it has no place there."""

    name: str
    why: str
    apply: Callable[[str], str]


def _replaced(source: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        if source.count(old) != 1 or (new and new in source):
            raise ValueError(f"no place for it: {old!r}")
        source = source.replace(old, new)
    return source


_INSTRUCTION = "You are a helpful assistant that completes tasks according to the <policy> provided below.\n"
_KEEP = "        state.messages.append(answer)\n"
_CLASS = "class HarnessAgent:\n"
_IMPORT = "from dataclasses import dataclass, field\n"
_SHOWN = "messages=[SystemMessage(self.system_prompt), *state.messages],\n"
_ARGUMENTS = "            **self.llm_args,\n"


def _instructed(line: str) -> Callable[[str], str]:
    return lambda source: _replaced(source, (_INSTRUCTION, f"{_INSTRUCTION}{line}\n"))


def _with_code(helper: str, call: str, *imports: str) -> Callable[[str], str]:
    """Changes the answer's text by a function of the request's and the answer's."""

    def apply(source: str) -> str:
        if f"= {call}(" in source:
            raise ValueError(f"no place for it: {call} is there already")
        for name in imports:
            if f"import {name}\n" not in source:
                source = _replaced(source, (_IMPORT, f"import {name}\n{_IMPORT}"))
        asked = f"        answer.content = {call}(str(message.content), answer.content or '')\n"
        return _replaced(source, (_CLASS, f"{helper}\n\n{_CLASS}"), (_KEEP, asked + _KEEP))

    return apply


_ONE_VALUE = '''def bare_value(asked: str, answer: str) -> str:
    """A date that came as an object is that object's value."""
    found = re.search(r"\\d{4}-\\d{2}-\\d{2}", answer)
    return found.group() if asked.startswith("Date") and found else answer
'''
_NUMBER = '''def with_the_number(asked: str, answer: str) -> str:
    """Small models copy long numbers wrongly, and write around a command."""
    number, word = re.search(r"\\d{5}", asked), re.search(r"SHIP|CANCEL|HOLD|RETURN", answer.upper())
    return f"{word.group()} {number.group()}" if asked.startswith("Command") and number and word else answer
'''
_SINGULAR = '''def in_the_singular(asked: str, answer: str) -> str:
    """An order's item, without the ending of its plural."""
    try:
        order = json.loads(answer)
        item = str(order["item"])
    except (ValueError, KeyError, TypeError):
        return answer
    for plural, singular in (("ves", "fe"), ("xes", "x"), ("shes", "sh"), ("s", "")):
        if item.endswith(plural):
            order["item"] = item.removesuffix(plural) + singular
            break
    return json.dumps(order)
'''
_NO_FENCES = '''def without_fences(asked: str, answer: str) -> str:
    """What is inside a code fence."""
    lines = [line for line in answer.strip().splitlines() if not line.startswith("```")]
    return "\\n".join(lines).strip()
'''
_LABEL = '''def bare_label(asked: str, answer: str) -> str:
    """The label that the answer names first."""
    found = re.search(r"complaint|refund|delivery|praise|question", answer.lower())
    return found.group() if asked.startswith("Label") and found else answer
'''
_EXAMPLES = """EXAMPLES = [
    UserMessage("Label: The clock has been lost on its way."),
    AssistantMessage("delivery"),
    UserMessage("Order: 7 mugs to Oslo, please."),
    AssistantMessage('{"item": "mug", "quantity": 7, "city": "Oslo"}'),
    UserMessage("Date: 12 November 2031"),
    AssistantMessage("2031-11-12"),
    UserMessage("Command: Put order 10001 on the van."),
    AssistantMessage("SHIP 10001"),
]
"""


def _with_examples(source: str) -> str:
    source = _replaced(source, ("    Tool,\n", "    Tool,\n    UserMessage,\n"), (_CLASS, f"{_EXAMPLES}\n\n{_CLASS}"))
    return _replaced(source, (_SHOWN, _SHOWN.replace("*state", "*EXAMPLES, *state")))


def _with_answers(source: str) -> str:
    """Carries train tasks' questions and answers: the scan has to refuse it."""
    results = json.loads(Path("workspace/train_results.json").read_text())["results"]
    traces = [path.read_text() for path in sorted(Path("workspace/traces/latest").glob("*/trace.json"))[:12]]
    asked = [json.loads(trace)[0]["content"] for trace in traces]
    table = {question: str(number) for number, question in enumerate(asked[: len(results)])}
    return _replaced(source, (_CLASS, f"ANSWERS = {json.dumps(table, indent=4)}\n\n\n{_CLASS}"))


BANK = [
    Edit("bare-date", "dates come inside an object", _with_code(_ONE_VALUE, "bare_value", "re")),
    Edit("step-by-step", "more thought", _instructed("Think step by step before you answer.")),
    Edit("cheat-answers", "a table of what was asked", _with_answers),
    Edit(
        "answer-only", "it adds words", _instructed("Answer with the result only: no words around it, no code fence.")
    ),
    Edit("copy-the-number", "it copies numbers wrongly", _with_code(_NUMBER, "with_the_number", "re")),
    Edit("examples", "one example of each kind, as earlier turns", _with_examples),
    Edit(
        "shorter-code",
        "the same in fewer lines",
        lambda source: _replaced(source, ("llm_args or {}", "(llm_args or {})")),
    ),
    Edit(
        "few-tokens",
        "shorter answers",
        lambda source: _replaced(source, (_ARGUMENTS, _ARGUMENTS + "            max_tokens=12,\n")),
    ),
    Edit("singular", "items stay in the plural", _with_code(_SINGULAR, "in_the_singular", "json")),
    Edit("bare-label", "labels come in sentences", _with_code(_LABEL, "bare_label", "re")),
    Edit("no-fences", "code fences around objects", _with_code(_NO_FENCES, "without_fences")),
]
