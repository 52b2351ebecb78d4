"""Which coding agent the loop drives: the experiment's, or the first that is installed."""

import shutil
from dataclasses import replace

from autoharness.core.settings import Experiment
from autoharness.loop.coding_agents.aider import AIDER
from autoharness.loop.coding_agents.claude import CLAUDE
from autoharness.loop.coding_agents.codex import CODEX
from autoharness.loop.coding_agents.custom import custom_agent
from autoharness.loop.coding_agents.definition import PROVIDER_KEYS, CodingAgent
from autoharness.loop.coding_agents.gemini import GEMINI
from autoharness.loop.coding_agents.mini import MINI
from autoharness.loop.coding_agents.opencode import OPENCODE
from autoharness.loop.coding_agents.scripted import SCRIPTED, SCRIPTED_AGENT

AGENTS = {
    "claude": CLAUDE,
    "codex": CODEX,
    "opencode": OPENCODE,
    "gemini": GEMINI,
    "aider": AIDER,
    "mini": MINI,
    SCRIPTED: SCRIPTED_AGENT,
}
"""In the order in which an installed one is looked for."""


def chosen(experiment: Experiment) -> CodingAgent:
    """The experiment's coding agent; if none is named, the first that is installed. Raises UserError.

    It is given no keys to the user's own servers, except a variable that holds its one provider's key.
    """
    agent = _chosen(experiment)
    if agent.keys != PROVIDER_KEYS:
        return agent
    return replace(agent, withheld=frozenset(one.key_name for one in experiment.endpoints.values()))


def _chosen(experiment: Experiment) -> CodingAgent:
    if experiment.coding_agent_command is not None:
        return custom_agent(experiment.coding_agent_command)
    if experiment.coding_agent is not None:
        return AGENTS[experiment.coding_agent]
    if experiment.simulated:
        return SCRIPTED_AGENT
    installed = [agent for agent in AGENTS.values() if agent.name not in (SCRIPTED, "mini")]
    return next((agent for agent in installed if shutil.which(agent.program)), MINI)
