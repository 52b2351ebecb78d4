"""A cap caps: no simulation is begun that could pass it, and what was spent is known after a kill."""

import json
import os
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoharness.core.errors import UserError
from autoharness.core.outcomes import Outcome, Status, Trial, Usage
from autoharness.core.settings import Experiment
from autoharness.loop.loop_budget import LoopBudget
from autoharness.vault.spending import FILE, cost_of, note_begin, settle, spent
from autoharness.vault.store import Store


def _outcome(usd: float, role: str = "agent") -> Outcome:
    usage = {role: Usage(calls=1, cost_usd=usd)}
    return Outcome(Trial("1", 0, 1), Status.PASSED, 1.0, usage=usage)


def _budget(store: Store, *known: Outcome, why: str = "", **limits: object) -> LoopBudget:
    experiment = Experiment(agent_model="openai/mine", **limits)  # type: ignore[arg-type]
    return LoopBudget(experiment, store, known, lambda: why)


def test_who_spent_what_is_known_apart_and_by_iteration(tmp_path: Path) -> None:
    store = Store(tmp_path)
    budget = _budget(store, coding_agent_usd=2.0)
    budget.iteration = 1
    for role, usd in (("agent", 0.25), ("user", 0.5), ("judge", 0.125)):
        budget.add(_outcome(usd, role))
    budget.iteration = 2
    budget.add_edit(1.0)
    budget.add_edit(None)
    total = spent(store)
    assert total.usd == {"coding agent": 3.0, "agent": 0.25, "user": 0.5, "judge": 0.125}
    assert (total.total, total.simulations_usd, total.assumed_usd) == (3.875, [0.25, 0.5, 0.125], 2.0)
    assert spent(store, 1).total == 0.875 and "$2.00 of it assumed" in spent(store, 2).line


def test_an_unknown_price_is_said_and_is_not_zero(tmp_path: Path) -> None:
    store = Store(tmp_path)
    budget = _budget(store)
    budget.add(Outcome(Trial("1", 0, 1), Status.PASSED, 1.0, usage={"agent": Usage(calls=3, uncosted_calls=3)}))
    budget.add_edit(None)
    unknown = "coding agent price unknown, agent price unknown, user $0.00, judge $0.00"
    assert spent(store).line == f"price unknown ({unknown})"
    budget.add_edit(0.5)
    assert spent(store).line.startswith("$0.5000 + 4 calls of unknown price (coding agent $0.50 + 1 call of unknown")


def test_a_line_that_a_kill_cut_short_does_not_count_and_is_replaced(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _budget(store).add(_outcome(1.0))
    with (tmp_path / FILE).open("a") as file:
        file.write('{"time": "now", "usd": {"ag')
    assert spent(store).total == 1.0
    _budget(store).add(_outcome(2.0))
    assert spent(store).total == 3.0 and all(json.loads(line) for line in store.read_lines(FILE))


def test_a_person_and_the_limits_of_a_run_stop_it_too(tmp_path: Path) -> None:
    assert _budget(Store(tmp_path), why="Ctrl-C").reached == "Ctrl-C"
    budget = _budget(Store(tmp_path), max_run_llm_calls=1)
    budget.add(_outcome(0.0))
    assert budget.reached.startswith("max_run_llm_calls") and budget.check_edit() == budget.reached


def test_an_edit_is_begun_only_where_its_reserve_fits(tmp_path: Path) -> None:
    budget = _budget(Store(tmp_path), max_usd=5.0, coding_agent_usd=2.0)
    budget.add_edit(2.0)
    assert budget.check_edit() == ""
    budget.add_edit(1.5)
    assert budget.check_edit().startswith("max_usd: 3.5000 of 5 USD spent")
    assert budget.reached == "", "a simulation still fits"


@settings(max_examples=200, deadline=None)
@given(
    costs=st.lists(st.floats(0, 1), max_size=60),
    cap=st.floats(0, 12),
    concurrency=st.integers(1, 8),
    order=st.randoms(use_true_random=False),
)
def test_it_never_passes_the_cap_where_no_simulation_is_dearer_than_those_before(
    tmp_path_factory: pytest.TempPathFactory, costs: list[float], cap: float, concurrency: int, order: object
) -> None:
    """As the executor asks: before each one is begun, with so many in flight."""
    store = Store(tmp_path_factory.mktemp("vault"))
    budget = _budget(store, _outcome(1.0), max_usd=cap)
    waiting, in_flight = deque(costs), []
    while waiting or in_flight:
        while waiting and len(in_flight) < concurrency and budget.has_room(len(in_flight)):
            in_flight.append(waiting.popleft())
        if not in_flight:
            assert budget.reached, "it stands still without a reason"
            break
        done = in_flight.pop(order.randrange(len(in_flight)))  # type: ignore[attr-defined]
        budget.add(_outcome(done))
    assert spent(store).total <= cap + 1e-9 or not costs
    assert cap - spent(store).total < 1.0 + 1e-9 or not waiting, "it stops no earlier than it has to"


def test_where_nobody_knows_what_a_simulation_costs_there_is_one_at_a_time(tmp_path: Path) -> None:
    budget = _budget(Store(tmp_path), max_usd=5.0)
    assert (budget.has_room(0), budget.has_room(1)) == (True, False)
    budget.add(_outcome(1.0))
    assert (budget.has_room(3), budget.has_room(4)) == (True, False)


def test_what_a_dear_one_cost_is_known_after_a_restart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _budget(store, max_usd=5.0).add(_outcome(3.0))
    again = _budget(store, max_usd=5.0)
    assert not again.has_room(0) and again.reached.startswith("max_usd: 3.0000 of 5 USD spent")


def test_what_is_known_of_a_cost_does_not_count_twice_where_a_price_is_added(tmp_path: Path) -> None:
    """A role with calls of known cost and calls without one: the price covers all of its tokens."""
    usage = {"agent": Usage(calls=2, prompt_tokens=1_000_000, cost_usd=1.0, uncosted_calls=1)}
    outcome = Outcome(Trial("1", 0, 1), Status.PASSED, 1.0, usage=usage)
    for usd, total in ((1.0, 1.0), (3.0, 3.0), (0.5, 1.0)):
        prices = {"openai/mine": {"input": usd, "output": 0.0}}
        assert cost_of(outcome, Experiment(agent_model="openai/mine", prices=prices)) == total


def test_simulations_from_before_the_prices_stood_there_are_priced_by_their_tokens(tmp_path: Path) -> None:
    usage = {"agent": Usage(calls=1, prompt_tokens=1_000_000, completion_tokens=500_000, uncosted_calls=1)}
    outcome = Outcome(Trial("1", 0, 1), Status.PASSED, 1.0, usage=usage)
    prices = {"openai/mine": {"input": 1.0, "output": 2.0}}
    assert cost_of(outcome, Experiment(agent_model="openai/mine", prices=prices)) == 2.0
    assert cost_of(outcome, Experiment(agent_model="openai/mine")) is None
    budget = _budget(Store(tmp_path), outcome, max_usd=5.0, prices=prices)
    assert (budget.has_room(1), budget.has_room(2)) == (True, False)


def test_what_was_kept_and_not_counted_when_a_kill_came_is_counted_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.keep({"trial": 0}, Outcome(Trial("0", 0, 1), Status.PASSED, 1.0, usage={"agent": Usage(cost_usd=8.0)}))
    for path in store.trial_files():
        os.utime(path, ns=(0, 0))  # long before: within one tick of the kernel's clock, times say nothing
    _budget(store).add(_outcome(1.0))
    store.keep({"trial": 1}, _outcome(1.0))
    store.keep({"trial": 2}, Outcome(Trial("2", 0, 1), Status.PASSED, 1.0, usage={"user": Usage(cost_usd=2.0)}))
    before_ns = (store.folder / FILE).stat().st_mtime_ns
    with (store.folder / FILE).open("a") as file:  # damaged lines are left out, and in nobody's way
        file.write('{"iteration": 1, "us\n[1]\n{"iteration": 1, "usd": {"agent": "9"}}\n')
    os.utime((store.folder / FILE), ns=(before_ns, before_ns))
    for _ in range(2):
        settle(store, iteration=3)
        assert spent(store).total == 3.0 and spent(store, 3).usd["user"] == 2.0


def test_a_clock_that_was_set_back_hides_no_spending(tmp_path: Path) -> None:
    """Before, what was kept after the jump looked older than the last line, and was never counted."""
    store = Store(tmp_path)
    store.keep({"trial": 0}, Outcome(Trial("0", 0, 1), Status.PASSED, 1.0, usage={"agent": Usage(cost_usd=8.0)}))
    note_begin(store)
    _budget(store).add(_outcome(1.0))
    store.keep({"trial": 1}, _outcome(1.0))
    store.keep({"trial": 2}, Outcome(Trial("2", 0, 1), Status.PASSED, 1.0, usage={"user": Usage(cost_usd=2.0)}))
    for path in store.trial_files():
        os.utime(path, ns=(0, 0))
    settle(store, iteration=3)
    assert spent(store).total == 3.0


def test_a_damaged_trial_does_not_keep_the_loop_from_starting(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (store.folder / "trials" / "damaged.json").write_text("cut sho")
    settle(store, 1)


def test_a_cap_is_not_kept_by_lines_that_nobody_can_read(tmp_path: Path) -> None:
    """They may have said dollars; without a cap nobody minds."""
    store = Store(tmp_path)
    (store.folder / FILE).write_text(
        '{"iteration": 1, "usd": {"agent": 4.0}}\n{"iteration": 1, "usd": {"judge": null}}\n'
    )
    with pytest.raises(UserError, match="1 lines are damaged or gone"):
        LoopBudget(Experiment(max_usd=5.0), store, [], lambda: "")
    LoopBudget(Experiment(), store, [], lambda: "")


def test_a_cap_is_not_kept_by_a_file_that_was_cut(tmp_path: Path) -> None:
    """At a line's end nothing looks damaged: how many there were is counted elsewhere."""
    store = Store(tmp_path)
    for _ in range(3):
        _budget(store).add(_outcome(1.0))
    file = store.folder / FILE
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:1]))
    with pytest.raises(UserError, match="2 lines are damaged or gone"):
        LoopBudget(Experiment(max_usd=5.0), store, [], lambda: "")
    file.unlink()
    with pytest.raises(UserError, match="3 lines are damaged or gone"):
        LoopBudget(Experiment(max_usd=5.0), store, [], lambda: "")
