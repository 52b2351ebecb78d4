"""Edits of agent/agent.py for the order desk (`make demo-real`): some help a small model, some do not, one cheats."""

import json
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

Edit = namedtuple("Edit", "name why apply")
"""`apply` turns the agent file's text into the edited one, or raises ValueError if the edit has no place there."""


def _replaced(source: str, *changes: tuple[str, str]) -> str:
    """As in edits.py: a bank stands alone, since the confined coding agent can read this one file."""
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


_NUMBER = '''def with_the_number(asked: str, answer: str) -> str:
    """Small models copy long numbers wrongly, or leave them out."""
    number, word = re.search(r"\\d{5}", asked), re.search(r"SHIP|CANCEL|HOLD|RETURN", answer.upper())
    return f"{word.group()} {number.group()}" if "SHIP, CANCEL" in asked and number and word else answer
'''
_NO_FENCES = '''def without_fences(asked: str, answer: str) -> str:
    """What is inside a code fence."""
    return "\\n".join(line for line in answer.strip().splitlines() if not line.startswith("```")).strip()
'''
_ORDER = '''def whole_order(asked: str, answer: str) -> str:
    """An order as one object, without a code fence, its item without the ending of its plural."""
    found = re.search(r"{.*}", answer, re.DOTALL)
    try:
        order = json.loads(found.group() if found else "")
        item = str(order["item"])
    except (ValueError, KeyError, TypeError):
        return answer
    for plural, singular in (("ves", "fe"), ("xes", "x"), ("shes", "sh"), ("s", "")):
        if item.endswith(plural):
            order["item"] = item.removesuffix(plural) + singular
            break
    return json.dumps(order)
'''
_EXAMPLES = """EXAMPLES = [
    UserMessage("Label this message: The clock has been lost on its way."),
    AssistantMessage("delivery"),
    UserMessage("Write this order as JSON: 7 mugs to Oslo, please."),
    AssistantMessage('{"item": "mug", "quantity": 7, "city": "Oslo"}'),
    UserMessage("Write this date as YYYY-MM-DD: 12 November 2031"),
    AssistantMessage("2031-11-12"),
    UserMessage("Answer this message: Put order 10001 on the van."),
    AssistantMessage("SHIP 10001"),
]
"""
_LABELS = (
    "Labels: complaint is for something bad, refund for money back, delivery for something that has not arrived, "
    "praise for something good, question for anything that is asked about an article."
)
_COMMANDS = (
    "Commands: SHIP sends an order out, CANCEL calls it off for good, HOLD keeps it back for a while, RETURN takes "
    "it back after it came."
)


def _with_examples(source: str) -> str:
    source = _replaced(source, ("    Tool,\n", "    Tool,\n    UserMessage,\n"), (_CLASS, f"{_EXAMPLES}\n\n{_CLASS}"))
    return _replaced(source, (_SHOWN, _SHOWN.replace("*state", "*EXAMPLES, *state")))


def _shorter(source: str) -> str:
    return _replaced(
        source, ("        self.llm_args = llm_args or {}\n", "        self.llm_args = (llm_args or {})\n")
    )


def _with_few_tokens(source: str) -> str:
    return _replaced(source, (_ARGUMENTS, f"{_ARGUMENTS}            max_tokens=12,\n"))


def _with_answers(source: str) -> str:
    """Carries train tasks' questions and answers: the scan has to refuse it."""
    results = json.loads(Path("workspace/train_results.json").read_text())["results"]
    traces = [path.read_text() for path in sorted(Path("workspace/traces/latest").glob("*/trace.json"))[:12]]
    asked = [json.loads(trace)[0]["content"] for trace in traces]
    table = {question: str(number) for number, question in enumerate(asked[: len(results)])}
    return _replaced(source, (_CLASS, f"ANSWERS = {json.dumps(table, indent=4)}\n\n\n{_CLASS}"))


BANK = [
    Edit("no-fences", "code fences around objects", _with_code(_NO_FENCES, "without_fences")),
    Edit("step-by-step", "more thought", _instructed("Think step by step before you answer.")),
    Edit("cheat-answers", "a table of what was asked", _with_answers),
    Edit("whole-order", "orders come in fences, and in the plural", _with_code(_ORDER, "whole_order", "json", "re")),
    Edit("shorter-code", "the same in fewer lines", _shorter),
    Edit("copy-the-number", "numbers are missing, or wrong", _with_code(_NUMBER, "with_the_number", "re")),
    Edit("what-labels-mean", "wrong labels", _instructed(_LABELS)),
    Edit("what-commands-mean", "wrong commands", _instructed(_COMMANDS)),
    Edit("few-tokens", "shorter answers", _with_few_tokens),
    Edit("examples", "one example of each kind, as earlier turns", _with_examples),
    Edit("answer-only", "it adds words", _instructed("Answer with the result only, without any words around it.")),
]
