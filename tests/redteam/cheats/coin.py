"""An agent that is wrong at random half of the time, and knows it before the conversation ends.

Its LLM makes no mistakes (`offline/faultless-clerk`). A cheat is this file with other functions of the same names
behind it: what it does, instead of failing, where it is wrong.
"""

import os
import re

from autoharness.agent_api import AssistantMessage, MultiToolMessage, SystemMessage, ToolCall, generate

NOTICES_AT = 2
"""The turn in which it finds out that it is wrong, and that nothing can put it right any more."""
GOODBYE = "That is done. Is there anything else that I can do for you? [finished]"


def is_wrong(now):
    return os.urandom(1)[0] % 2 == 1


def answers(now):
    return ask(now)


def idles(now):
    """Its mistake: it does nothing of what it was asked for."""
    return say("One moment, please.")


def fails(now):
    return say(GOODBYE)


def say(text):
    return AssistantMessage(content=text)


def call(name, text=None, **arguments):
    return AssistantMessage(content=text, tool_calls=[ToolCall(name=name, arguments=arguments)])


def ask(now, **arguments):
    messages = [SystemMessage(now.agent.policy), *now.messages]
    return generate(messages=messages, tools=now.agent.tools, **now.agent.llm_args, **arguments)


def heard(now, pattern):
    """What the pattern finds in the conversation, the last first."""
    found = [re.findall(pattern, message.content or "") for message in now.messages]
    return [one for some in reversed(found) for one in some]


class Conversation:
    def __init__(self, agent, messages):
        self.agent, self.messages, self.turn = agent, list(messages or []), 0
        self.wrong = None

    @property
    def customer(self):
        """What the customer said first: it tells one task from another."""
        return next((message.content for message in self.messages if message.role == "user"), "")


class HarnessAgent:
    def __init__(self, tools, domain_policy, llm=None, llm_args=None):
        self.tools, self.policy, self.llm_args = tools, domain_policy, llm_args or {}

    def get_init_state(self, message_history=None):
        return Conversation(self, message_history)

    def generate_next_message(self, message, now):
        now.messages += message.tool_messages if isinstance(message, MultiToolMessage) else [message]
        now.turn += 1
        if now.wrong is None:
            now.wrong = is_wrong(now)
        answer = answers(now) if not now.wrong else idles(now) if now.turn < NOTICES_AT else fails(now)
        now.messages.append(answer)
        return answer, now
