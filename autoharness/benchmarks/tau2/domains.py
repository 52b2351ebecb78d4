"""Domains of the installed tau2: their tasks, splits, policies, tools and data."""

import importlib.metadata
import os
from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

from autoharness.benchmarks import user_code
from autoharness.benchmarks.lazy_imports import postponed
from autoharness.benchmarks.tau2 import custom_user, patches
from autoharness.benchmarks.tau2.data import check_installed, checksums
from autoharness.benchmarks.tau2.flavours import Nvidia, Sierra
from autoharness.benchmarks.tau2.participants import AGENT_NAME, blamed, proxy_class
from autoharness.core.command_form import typed
from autoharness.core.errors import SetupError, UserError, UserSimulatorError
from autoharness.core.setting_checks import check_choice
from autoharness.core.settings import ORACLE, SOLO, Experiment
from autoharness.core.tasks import DomainFacts, Script, Step, cut, in_order

Json = dict[str, Any]

_UNWRITTEN = {
    "mock/update_task_with_history_and_env_assertions": (
        Step("assistant", "update_task_status", {"task_id": "task_2", "status": "completed"}, decisive=True),
    )
}
"""The steps that solve the one task whose author wrote down only its outcome."""


class Domains:
    """The installed tau2, except its conversations, as one experiment uses it. Many threads may use it."""

    def __init__(self, experiment: Experiment | None = None) -> None:
        """`experiment`: how its conversations are set up; None: with the defaults of every setting."""
        check_installed()
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else the import asks the network, and waits
        from loguru import logger

        logger.remove()  # tau2 narrates every message; held-out ones too
        logger.disable("tau2")
        with postponed("litellm", "deepdiff", "pandas"):
            import tau2.evaluator.evaluator
            import tau2.orchestrator.orchestrator  # noqa: F401  these two are asked for later
            from tau2.registry import registry

        self._registry = registry
        self._flavour = (Sierra if hasattr(registry, "register_agent_factory") else Nvidia)(registry)
        self._flavour.register(AGENT_NAME, proxy_class())
        self._tasks = cache(self._load_tasks)
        self._experiment = experiment or Experiment()
        patches.install()

    @cached_property
    def _facts(self) -> Callable[[str], DomainFacts]:
        return cache(self._find_facts)

    def _environment(self, domain: str, task: Any = None) -> Any:
        return self._flavour.environment(domain, self._experiment, task)

    @property
    def domains(self) -> list[str]:
        return list(self._registry.get_domains())

    def provide(self) -> None:
        """Nothing to do: the data comes with the package, or prepare has fetched it before any worker started."""

    def warm_up(self, domain: str) -> None:
        """Load what every worker needs. Raises UserError."""
        if domain in self.domains:
            self.facts(domain)

    def facts(self, domain: str) -> DomainFacts:
        """Facts about a domain, from the data as this process has loaded it.

        Raises UserError for a domain that this tau2 does not have, SetupError if its data is missing.
        """
        return self._facts(domain)

    def _find_facts(self, domain: str) -> DomainFacts:
        check_choice("domain", domain, self.domains)
        try:
            suitable = self._suitable(domain)
            environment = self._environment(domain)
            splits = self._splits(domain)
            if self._experiment.user:
                self._check_user(environment, next(iter(self._tasks(domain).values())))
        except FileNotFoundError as error:
            raise SetupError(f"tau2's data has no {error.filename}: {typed('prepare.py')} fetches it") from error
        return DomainFacts(
            domain=domain,
            flavour=self._flavour.name,
            version=importlib.metadata.version(self._flavour.distribution),
            data_files=checksums(domain),
            splits=splits,
            policy=environment.get_policy(),
            tools=[tool.openai_schema for tool in environment.get_tools()],
            suitable=suitable,
            user_sha256=self._own_user.sha256 if self._own_user else "",
        )

    def _suitable(self, domain: str) -> list[str] | None:
        """The tasks that the experiment's agent can run, if tau2 does not give it all of them; otherwise None.

        Raises UserError if there are none.
        """
        if self._experiment.agent not in (SOLO, ORACLE):
            return None
        from tau2.agent.llm_agent import LLMGTAgent, LLMSoloAgent

        agent = LLMSoloAgent if self._experiment.agent == SOLO else LLMGTAgent
        suitable = [task_id for task_id, task in self._tasks(domain).items() if agent.check_valid_task(task)]
        if not suitable:
            raise UserError(f"agent: {self._experiment.agent} can run no task of {domain}: none has what it needs")
        return suitable

    @property
    def folders(self) -> list[str]:
        """The folders of its code and its data: no agent may read them."""
        import tau2
        from tau2.utils.utils import DATA_DIR

        return [*tau2.__path__, str(DATA_DIR)]

    def material(self, domain: str) -> Json:
        """A domain's contents as JSON: {"databases", "tasks": [...], "policy", "tools": [...]}.

        Raises UserError for a domain that this tau2 does not have.
        """
        check_choice("domain", domain, self.domains)
        environment = self._environment(domain)
        return {
            "databases": databases_of(environment),
            "tasks": [task.model_dump(mode="json") for task in self._tasks(domain).values()],
            "policy": environment.get_policy(),
            "tools": [tool.openai_schema for tool in environment.get_tools()],
        }

    def published(self, domain: str, task_ids: list[str]) -> Json:
        """What tau2's own results file has besides its simulations.

        {"tasks": [...], "environment": {...}, "agent", "user", "guidelines"}, all as tau2 itself writes it.
        """
        from tau2.user.user_simulator import get_global_user_sim_guidelines

        tasks = self._tasks(domain)
        return {
            "tasks": [tasks[task_id].model_dump(mode="json") for task_id in task_ids],
            "environment": self._environment(domain).get_info().model_dump(mode="json"),
            "agent": AGENT_NAME,
            "user": self._experiment.user or "user_simulator",
            "guidelines": get_global_user_sim_guidelines(),
        }

    def _user(self, environment: Any, task: Any, user_args: Json) -> Any:
        """The user simulator. Raises UserSimulatorError if the user's own one cannot be made."""
        if self._experiment.agent == SOLO:
            return self._registry.get_user_constructor("dummy_user")()
        made_with: Json = {"tools": self._flavour.user_tools(environment, task), "llm": "user", "llm_args": user_args}
        made_with["instructions"] = str(task.user_scenario)
        if not self._own_user:
            return self._registry.get_user_constructor("user_simulator")(**made_with)
        spec = str(self._experiment.user)
        try:
            return blamed(self._own_user.cls(**made_with), custom_user.USER_METHODS, UserSimulatorError, spec)
        except Exception as error:
            why = user_code.in_short(error)
            raise UserSimulatorError(
                f"{spec} cannot be made as tau2 makes its own: {why}", retryable=False
            ) from error

    @cached_property
    def _own_user(self) -> custom_user.OwnUser | None:
        """Raises UserError."""
        return custom_user.load(self._experiment.user) if self._experiment.user else None

    def _check_user(self, environment: Any, task: Any) -> None:
        """Raises UserError if the user's own user simulator cannot be made: before anything is run."""
        try:
            self._user(environment, task, {})
        except UserSimulatorError as error:
            raise UserError(f"user: {error}") from error

    def script(self, domain: str, task_id: str) -> Script:
        """The task's reference actions and what goes with them."""
        task, (policy, changing) = self._tasks(domain)[task_id], self._policy_and_changing_tools(domain)
        criteria = task.evaluation_criteria
        basis = {one.value for one in criteria.reward_basis} if criteria else set()
        steps = [
            Step(one.requestor, one.name, one.arguments, "ACTION" in basis or (one.requestor, one.name) in changing)
            for one in (criteria and criteria.actions) or []
        ]
        to_say = list(criteria.communicate_info or []) if "COMMUNICATE" in basis else []
        to_say += list(criteria.nl_assertions or []) if "NL_ASSERTION" in basis else []
        request = _request(task.user_scenario.instructions)
        known = _UNWRITTEN.get(f"{domain}/{task_id}", tuple(steps))
        return Script(domain, task_id, policy, request, known, tuple(to_say))

    @cached_property
    def _policy_and_changing_tools(self) -> Callable[[str], tuple[str, set[tuple[str, str]]]]:
        """A domain's policy, and (requestor, name) of its tools that tau2 marks as writing."""

        @cache
        def load(domain: str) -> tuple[str, set[tuple[str, str]]]:
            environment = self._environment(domain)
            kits = {"assistant": environment.tools, "user": environment.user_tools}
            changing = {
                (requestor, name)
                for requestor, kit in kits.items()
                for name in (kit.get_tools() if kit else [])
                if kit.tool_type(name).value == "write"
            }
            return environment.get_policy(), changing

        return load

    def _load_tasks(self, domain: str) -> dict[str, Any]:
        return {task.id: task for task in self._registry.get_tasks_loader(domain)(None)}

    def _splits(self, domain: str) -> dict[str, list[str]]:
        task_ids = list(self._tasks(domain))
        loader = self._registry.get_task_splits_loader(domain)
        splits = loader() if loader else {}
        named = {name: in_order(task_ids, set(ids)) for name, ids in splits.items()}
        return named if {"train", "test"} <= set(named) else cut(task_ids) | named


def _request(instructions: Any) -> str:
    """What the customer wants and knows; some task sets have it as one text."""
    if isinstance(instructions, str):
        return instructions.replace("###", "")  # it quotes ###STOP###, and a customer who says that hangs up
    return "\n".join(part for part in (instructions.reason_for_call, instructions.known_info) if part)


def toolkits_of(environment: Any) -> dict[str, Any]:
    return {"agent": environment.tools, "user": environment.user_tools}


def databases_of(environment: Any) -> Json:
    found = {name: getattr(toolkit, "db", None) for name, toolkit in toolkits_of(environment).items()}
    return {name: db.model_dump(mode="json") for name, db in found.items() if db is not None}
