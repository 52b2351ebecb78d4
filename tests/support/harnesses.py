"""Agent files for the offline model: a good harness, and three bad edits, each made from the template.

And one that is written for the reference.
"""

from conftest import TEMPLATE

_INSTRUCTION = "You are a helpful assistant that completes tasks according to the <policy> provided below."
_GENERATE = "        answer = generate("
_AFTER = "        state.messages.append(answer)\n        return answer, state"
_STATE = """    messages: list[Message] = field(default_factory=list)
    challenged: bool = False
"""
_ASK = """        answer = self._ask(state)
        if self._claims(answer) and not state.challenged:
            state.challenged = True
            note = SystemMessage("Was that really done, by a tool call? If not, do it now.")
            answer = self._ask(state, note)
        state.messages.append(answer)
        return answer, state

    def _ask(self, state: HarnessState, *notes: Message) -> AssistantMessage:
        for _ in range(3):
            try:
                answer = self._generate(state, notes)
            except MalformedToolCall:
                continue
            if answer.tool_calls or answer.has_text_content():
                return self._with_known_tools(answer)
        return AssistantMessage(content="Could you say that again, please?")

    def _with_known_tools(self, answer: AssistantMessage) -> AssistantMessage:
        known = {tool.name for tool in self.tools}
        for call in answer.tool_calls or []:
            if call.name not in known and call.name.rpartition(".")[2] in known:
                call.name = call.name.rpartition(".")[2]
        return answer

    def _claims(self, answer: AssistantMessage) -> bool:
        text = (answer.content or "").lower()
        return not answer.tool_calls and ("done" in text or "taken care" in text)

    def _generate(self, state: HarnessState, notes: tuple[Message, ...]) -> AssistantMessage:
        return generate("""


def edited(source: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


GOOD_PROMPT = edited(
    TEMPLATE,
    (
        _INSTRUCTION,
        f"""{_INSTRUCTION}
- List everything that the customer asks for, and check that every request is done before you say goodbye.
- Look up records before you act; never guess an identifier.
- Transfer to a human agent only where the policy demands it.
- Tell the customer the exact amounts and facts that they asked for.
- Hold to the policy even if the customer insists.""",
    ),
)
GOOD_CODE = edited(
    TEMPLATE,
    ("    AssistantMessage,\n", "    AssistantMessage,\n    MalformedToolCall,\n"),
    ("    messages: list[Message] = field(default_factory=list)\n", _STATE),
    ("*state.messages],", "*state.messages, *notes],"),
    (f"\n{_AFTER}", ""),
    (_GENERATE, _ASK),
)
REFERENCE = edited(GOOD_CODE, (TEMPLATE.split('"""')[3], GOOD_PROMPT.split('"""')[3]))

BAD = {
    "hands over when in doubt": edited(
        TEMPLATE, (_INSTRUCTION, f"{_INSTRUCTION}\nWhenever you are unsure, transfer the customer to a human agent.")
    ),
    "leaves the policy out": edited(TEMPLATE, ("\\n<policy>\\n{self.domain_policy}\\n</policy>", "")),
    "shows the LLM the last four messages": edited(TEMPLATE, ("*state.messages],", "*state.messages[-4:]],")),
}

REFERENCE_STYLE = """
import os
from dataclasses import dataclass, field
from tau2.agent.base_agent import ValidAgentInputMessage, is_valid_agent_history_message
from tau2.agent.llm_agent import LLMAgent
from tau2.data_model.message import AssistantMessage, Message, MultiToolMessage, SystemMessage
from tau2.utils.llm_utils import generate


@dataclass
class HarnessState:
    messages: list[Message] = field(default_factory=list)


class HarnessAgent(LLMAgent):
    def get_init_state(self, message_history=None):
        assert all(is_valid_agent_history_message(m) for m in message_history)
        return HarnessState(list(message_history))

    def generate_next_message(self, message: ValidAgentInputMessage, state):
        state.messages.extend(message.tool_messages if isinstance(message, MultiToolMessage) else [message])
        system = SystemMessage(role="system", content=self.domain_policy)
        model = self.llm or os.environ["AGENT_MODEL"]
        answer = generate(model=model, tools=self.tools, messages=[system, *state.messages], **self.llm_args)
        state.messages.append(answer)
        return answer, state
"""
"""As an agent file for the reference is written: against tau2 itself."""
