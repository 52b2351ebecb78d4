"""The loop: a coding agent edits, the gate decides, all night.

Every step writes down what it found before the next one begins, and does only what is missing: after a kill at any
instant the same command goes on in the same iteration, from the last finished simulation, to the same verdict. The
user's branch and files stay as they are until an edit is accepted; then agent/agent.py is written and committed.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from autoharness.core.errors import RunLimitReached, UserError
from autoharness.core.files import read_plain, write_text
from autoharness.core.git_repository import Repository
from autoharness.core.outcomes import Outcome, Rewards, passed, settled_rewards
from autoharness.core.redaction import one_line
from autoharness.core.settings import AGENT_FILE, Experiment
from autoharness.engine.benchmark_runner import BenchmarkRunner
from autoharness.engine.executor import LocalExecutor
from autoharness.engine.progress import Progress
from autoharness.engine.score_identity import Measure
from autoharness.engine.trial_runner import Bench
from autoharness.gate.gate import judge
from autoharness.gate.record import record
from autoharness.loop.coding_agent import Coder
from autoharness.loop.learnings import write_section
from autoharness.loop.loop_budget import LoopBudget
from autoharness.loop.patience import Patience
from autoharness.loop.proposal import Proposer, lay_out
from autoharness.loop.screening import (
    FEW,
    Screened,
    claim_trials,
    claimed,
    claims,
    more,
    smoke_refusal,
    smoke_trials,
)
from autoharness.loop.status import Phase, note_phase
from autoharness.loop.stop_rules import StopRules, WorkClock
from autoharness.vault.iterations import (
    ACCEPTED,
    NO_EDIT,
    OVERTAKEN,
    REFUSED,
    REPEATED,
    UNDECIDED,
    Iteration,
    Iterations,
    next_iteration,
)
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Gate
from autoharness.vault.spending import spent
from autoharness.vault.store import Store, now
from autoharness.vault.workspace import WORKSPACE, Changes, export_train_results

Json = dict[str, Any]


class Loop:
    """Iterations of one experiment. See the top of this file."""

    def __init__(
        self,
        measure: Measure,
        store: Store,
        coder: Coder,
        workers: LocalExecutor,
        stop_reason: Callable[[], str],
        patience_s: Sequence[float],
        progress: Progress,
    ) -> None:
        """`stop_reason`: why a person wants it to end; "" as long as nobody does."""
        self._measure, self._store, self._coder, self._workers = measure, store, coder, workers
        self._experiment: Experiment = measure.experiment
        self._progress = progress
        self._iterations, self._proposer = Iterations(store), Proposer(measure, store, coder)
        self._clock = WorkClock(sum(one.seconds for one in self._iterations.all(measure.id)))
        self._stop_rules = StopRules(measure, self._iterations, self._clock, stop_reason)
        self._patience = Patience(store, patience_s, self._stop_rules.why_stop_now)
        self._open: Iteration | None = None
        """The iteration as it was saved last."""
        self._budget = LoopBudget(self._experiment, store, self._known_outcomes(), self._stop_rules.why_stop_now)

    def run(self) -> str:
        """Run iterations until there is a reason to stop; returns it. Raises Outage, UserError, Interrupted."""
        try:
            while not (reason := self._stop_rules.why_stop() or self.iterate(self._open_or_new())):
                pass
        except RunLimitReached as reached:
            reason = reached.limit
        finally:
            if self._open and not self._open.finished:
                self._save(self._open)  # how long it took, however it ended
        return reason

    def iterate(self, iteration: Iteration) -> str:
        """One turn of the loop. Returns why there is no further one; "" if there may be. Raises RunLimitReached."""
        iteration = self.run_train(iteration)
        if all(map(passed, iteration.before.values())):
            return "every train task passes: there is nothing to learn from"
        iteration = self.propose(iteration)
        iteration = self.check(iteration)
        if iteration.edit and not iteration.end:
            with self._bench(iteration.edit.agent, iteration.incumbent) as bench:
                iteration = self.screen(iteration, bench)
                iteration = self.gate(iteration, bench)
        iteration = self.keep(iteration)
        self.learn(iteration)
        return ""

    def run_train(self, iteration: Iteration) -> Iteration:
        """Run the kept version on every train task: only what is missing."""
        if not iteration.before:
            self._enter(iteration, Phase.TRAIN)
            outcomes = self._train_outcomes(iteration.incumbent)
            return self._save(iteration, before=settled_rewards(outcomes))
        return iteration

    def propose(self, iteration: Iteration) -> Iteration:
        """The coding agent's edit, made in a worktree of its own."""
        waits = self._patience.waits()
        while not iteration.edit:
            self._enter(iteration, Phase.EDIT)
            if reason := self._budget.check_edit():
                raise RunLimitReached(reason)
            with self._proposer.proposed(iteration) as (edit, ran):
                self._budget.add_edit(0.0 if ran.failed else ran.cost_usd)
                if edit.agent or not ran.failed:
                    iteration = self._save(iteration, edit=edit)
                    self._iterations.show_edit(iteration)
            if not iteration.edit:
                self._patience.wait(waits, f"the coding agent fails: exit code {ran.exit_code}: {ran.last_words}")
        return iteration

    def check(self, iteration: Iteration) -> Iteration:
        """Check the edit as far as that is possible without running anything."""
        assert iteration.edit
        if iteration.end or self._known_gate(iteration):
            return iteration
        if not iteration.edit.agent:
            return self._save(iteration, end=NO_EDIT, reasons=[iteration.edit.problem])
        if kept := [one.name for one in self._ledger().versions if one.row.agent == iteration.edit.agent]:
            return self._save(iteration, end=REPEATED, reasons=[f"the file is that of {kept[-1]}"])
        if iteration.edit.problem:
            return self._save(iteration, end=REFUSED, reasons=[iteration.edit.problem])
        if repeated := self._iterations.repeats(iteration, iteration.edit.agent):
            return self._save(iteration, end=REPEATED, reasons=[repeated])
        return iteration

    def screen(self, iteration: Iteration, bench: Bench) -> Iteration:
        """Check for leaks, run a smoke test and the failures that it is to fix, before it costs a gate run."""
        assert iteration.edit
        if self._known_gate(iteration):
            return iteration
        self._enter(iteration, Phase.SCREENING)
        if leaks := bench.leaks(iteration.incumbent):
            return self._save(iteration, end=REFUSED, reasons=leaks[:3])
        smoke, refusal = self._patience.run_trials(bench, smoke_trials(bench, iteration.before), iteration.incumbent)
        if refusal := refusal or smoke_refusal(smoke):
            return self._save(iteration, end=REFUSED, reasons=[refusal], after=self._after(bench))
        tasks = claimed(iteration.edit.fixes, iteration.before)
        screened = self._claims(iteration, bench, tasks, FEW)
        if screened.is_behind:
            screened = self._claims(iteration, bench, tasks, more(tasks))
        found: Json = {"screening": screened.rewards, "after": self._after(bench)}
        if screened.refusal:
            found |= {"end": REFUSED, "reasons": [screened.refusal]}
        return self._save(iteration, **found)

    def _claims(self, iteration: Iteration, bench: Bench, tasks: list[str], fresh: int) -> Screened:
        """Whether it fixes these tasks, in so many fresh trials of each."""
        trials = claim_trials(bench, iteration.incumbent, tasks, fresh)
        outcomes, refusal = self._patience.run_trials(bench, trials, iteration.incumbent) if tasks else ([], "")
        return Screened(refusal, {}) if refusal else claims(outcomes, bench.agent)

    def gate(self, iteration: Iteration, bench: Bench) -> Iteration:
        """The verdict. If infrastructure prevents one, the loop waits and runs the gate again."""
        if iteration.end:
            return iteration
        self._enter(iteration, Phase.GATE)
        waits = self._patience.waits()
        gate = self._known_gate(iteration)
        while gate is None:
            asked = judge(bench)
            if asked.verdict == UNDECIDED:
                self._patience.wait(waits, f"the gate is undecided: {asked.reasons[0]}")
            else:
                gate = asked
        return self._save(
            iteration, gate=gate.number, end=gate.verdict, reasons=gate.reasons[:6], after=self._after(bench)
        )

    def keep(self, iteration: Iteration) -> Iteration:
        """An accepted edit becomes the user's next commit, and is run on every train task. Others leave no trace."""
        if iteration.end != ACCEPTED or iteration.commit:
            return iteration
        assert iteration.edit
        self._enter(iteration, Phase.COMMIT)
        self._check_checkout(iteration, iteration.incumbent, iteration.edit.agent)
        write_text(AGENT_FILE, self._store.agent_source(iteration.edit.agent))
        version = record(self._ledger(), self._store, iteration.edit.agent, iteration.number)
        self._enter(iteration, Phase.TRAIN)
        after = settled_rewards(self._train_outcomes(iteration.edit.agent))
        return self._save(iteration, commit=version.commit, after=after)

    def learn(self, iteration: Iteration) -> None:
        """Write down the result, for the coding agent's next turn and for the user."""
        note_phase(self._store, iteration.number, Phase.LEARN)
        gates = [gate for gate in self._ledger().gates if gate.number == iteration.gate]
        write_section(
            iteration,
            gates[0] if gates else None,
            self._iterations.diff(iteration),
            spent(self._store, iteration.number),
        )
        self._save(iteration, finished=now())
        reasons = "; ".join(iteration.reasons[:2])
        self._say(iteration, f"{iteration.end}" + (f": {reasons}" if reasons else ""))

    # -- what the steps are made of

    def _open_or_new(self) -> Iteration:
        """The iteration that was not finished, or the next one."""
        open_ = [one for one in self._iterations.all(self._measure.id) if not one.finished]
        for iteration in open_:
            if self._goes_on(iteration):
                return iteration if iteration.edit else replace(iteration, **self._coding_agent)
            reason = "another version was kept meanwhile, and by other hands"
            self.learn(replace(iteration, end=OVERTAKEN, reasons=[reason]))
        iteration = Iteration(
            number=next_iteration(self._store, self._ledger()),
            measure=self._measure.id,
            incumbent=self._ledger().best.row.agent,
            branch=Repository().branch,
            **self._coding_agent,
        )
        self._check_checkout(iteration, iteration.incumbent)
        return self._save(iteration, started=now())

    @property
    def _coding_agent(self) -> dict[str, Any]:
        return {"coding_agent": self._coder.agent.name, "not_enforced": self._coder.not_enforced}

    def _goes_on(self, iteration: Iteration) -> bool:
        """Whether the kept version is still the one that it starts from, or its own edit, by whatever command."""
        own = iteration.edit.agent if iteration.edit else iteration.incumbent
        return self._ledger().best.row.agent in (iteration.incumbent, own)

    def _check_checkout(self, iteration: Iteration, *expected: str) -> None:
        """Raises UserError if the user's branch or agent file is not what the loop goes on from."""
        branch = Repository().branch
        if branch != iteration.branch:
            raise UserError(
                f"the branch was {iteration.branch or 'none'} and is {branch or 'none'}: switch back to it"
            )
        if self._store.keep_agent(read_plain(AGENT_FILE)) not in expected:
            raise UserError(
                f"{AGENT_FILE} is not the version that is kept: git checkout HEAD {AGENT_FILE}; gating.py is for "
                "edits of your own"
            )

    def _train_outcomes(self, agent: str) -> list[Outcome]:
        """The outcomes of one version's train trials. Also writes anew what the coding agent reads of them."""
        trials = self._measure.trials(self._measure.train, agent)
        outcomes = self._measure.found(self._store, trials)
        if len(outcomes) < len(trials):
            with self._bench(agent) as bench:
                outcomes, _ = self._patience.run_trials(bench, trials, agent)
        rewards, versions = settled_rewards(outcomes), self._ledger().versions
        earlier = [version for version in versions if version.row.agent != agent]
        changes = Changes.between(earlier[-1].name, earlier[-1].row.train, rewards) if earlier else None
        lay_out(self._measure, self._store, outcomes, WORKSPACE)
        export_train_results(rewards, changes)
        return outcomes

    @contextmanager
    def _bench(self, agent: str, *others: str) -> Iterator[Bench]:
        """A bench for one agent file and a few others, not for all that were ever kept: each is read and sent."""
        runner = BenchmarkRunner.of(self._experiment, self._store.agent_file(agent), self._budget, self._progress)
        with runner.open(*others, workers=self._workers) as bench:
            yield bench

    def _after(self, bench: Bench) -> Rewards:
        """The edit's rewards in those train tasks that it was run on."""
        return bench.stored(bench.agent, self._measure.train)

    def _known_gate(self, iteration: Iteration) -> Gate | None:
        """The gate's verdict on this edit against this incumbent, if there is one; not that of an earlier
        iteration with the same edit."""
        assert iteration.edit
        question = (iteration.edit.agent, iteration.incumbent)
        others = {one.gate for one in self._iterations.all(self._measure.id) if one.number != iteration.number}
        asked = [gate for gate in self._ledger().gates if gate.number not in others]
        gates = [gate for gate in asked if (gate.agent, gate.incumbent) == question]
        return gates[-1] if gates and gates[-1].verdict != UNDECIDED else None

    def _ledger(self) -> Ledger:
        return Ledger(self._store, self._measure.id)

    def _known_outcomes(self) -> Iterator[Outcome]:
        """The simulations of the kept versions, in train and held-out tasks: they show what one can cost."""
        train, held_out = self._measure.train, self._measure.gate_tasks
        for version in self._ledger().versions:
            for task_ids, first in ((train, 0), (held_out, version.row.first_trial)):
                yield from self._measure.found(self._store, self._measure.trials(task_ids, version.row.agent, first))

    def _save(self, iteration: Iteration, **changes: Any) -> Iteration:
        elapsed_s = self._clock.lap_s()
        if "reasons" in changes:
            changes["reasons"] = [one_line(reason) for reason in changes["reasons"]]
        self._open = self._iterations.save(replace(iteration, seconds=iteration.seconds + elapsed_s, **changes))
        return self._open

    def _enter(self, iteration: Iteration, phase: Phase) -> None:
        self._budget.iteration = iteration.number
        note_phase(self._store, iteration.number, phase)
        self._say(iteration, phase)

    def _say(self, iteration: Iteration, what: str) -> None:
        print(f"[optimize] iteration {iteration.number}: {one_line(what, 400)}", file=sys.stderr, flush=True)
