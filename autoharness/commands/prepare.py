"""`python prepare.py`: sets up everything that the first iteration needs, and records the baseline.

Safe to run again: what is there is left alone, and what was run is not run again. An edited agent/agent.py is never
overwritten without --reset-agent, and even then it is kept in the vault.
"""

import sys
from pathlib import Path

from autoharness.benchmarks.tau2 import data
from autoharness.commands.agent_templates import DEFAULT, PACKAGES, check_installed, template_file, template_of
from autoharness.commands.checkup import asked_at, checkup
from autoharness.commands.cli import Parser, run_door
from autoharness.core.command_form import typed
from autoharness.core.endpoints import check_keys, of_the_container
from autoharness.core.errors import EXIT_MISUSE, EXIT_UNDECIDED, UserError
from autoharness.core.files import read_plain, write_json, write_text
from autoharness.core.git_repository import Repository
from autoharness.core.outcomes import Status, mean
from autoharness.core.setting_sources import resolve
from autoharness.core.settings import AGENT_FILE, CONFIG_FILE, SIMULATED, Experiment
from autoharness.core.stats import score_line
from autoharness.engine.benchmark_runner import BenchmarkRunner
from autoharness.engine.score_identity import Measure
from autoharness.engine.trial_keys import changed
from autoharness.engine.trial_runner import Bench, Run
from autoharness.gate.gate_run import FIRST_TRIAL, looks_of, run_trials, unfinished
from autoharness.loop.program_md import COMPOSED_FILE, compose
from autoharness.vault import code_digest
from autoharness.vault.checkout_tie import tie
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_chain import mend
from autoharness.vault.ledger_rows import RULES, Baseline, Evaluator, scored_looks
from autoharness.vault.location import named_vault
from autoharness.vault.store import Store, default_vault
from autoharness.vault.workspace import (
    WORKSPACE,
    begin_learnings,
    export_domain,
    export_ledger,
    export_traces,
    export_train_results,
    set_aside_edited,
)

__all__ = ["main", "run_door"]

_CONFIG_TEMPLATE = Path("experiment_config.yaml.template")


def main(arguments: list[str]) -> int:
    """The exit code: 0 prepared, 2 infrastructure kept the baseline from being complete, 3 misuse."""
    options = _parser().parse_args(arguments)
    if options.ask and not options.check:
        raise UserError("--ask goes with --check")
    if options.check:
        checks = checkup(options.config, options.set, options.ask)
        print("\n".join(check.line for check in checks))
        return 0 if all(check.ok for check in checks) else EXIT_MISUSE
    vault = named_vault() if options.adopt_vault else default_vault()
    store = Store(vault)
    with store.lock():
        tie(vault, store.folder, options.adopt_vault)
        if not options.config:
            _install(_CONFIG_TEMPLATE, CONFIG_FILE)
        experiment = resolve({}, options.config, options.set).experiment
        if experiment.on_tau2:
            _provide_data(experiment)
        _provide_agent(store, options.template, options.reset_agent)
        for line in [*mend(store), *set_aside_edited(Ledger(store))]:
            _say(line)
        return _measure_baseline(experiment, store, options.new_experiment)


def _parser() -> Parser:
    parser = Parser(
        prog="prepare.py",
        description="Set everything up and record the baseline. Safe to run again.",
        epilog="Exit codes: 0 prepared, 2 infrastructure kept the baseline from being complete, 3 misuse.",
    )
    parser.add_argument(
        "--check", action="store_true", help="only say what is in order and what is not; costs nothing without --ask"
    )
    parser.add_argument(
        "--ask",
        action="store_true",
        help="with --check: ask each configured model too, in about eight short calls, which cost what they cost",
    )
    parser.add_argument(
        "--template", choices=list(PACKAGES), help=f"what {AGENT_FILE} starts from (docs/templates.md)"
    )
    parser.add_argument(
        "--reset-agent",
        action="store_true",
        help=f"start {AGENT_FILE} over from --template, else from {DEFAULT} (what it was is kept in the vault)",
    )
    parser.add_argument(
        "--adopt-vault", action="store_true", help="use the vault that is found, even if it is not this checkout's"
    )
    parser.add_argument("--new-experiment", action="store_true", help="go on with settings that give other scores")
    parser.add_settings()
    return parser


def _install(template: Path, target: Path) -> None:
    if target.exists():
        return
    if not template.exists():
        raise UserError(f"{template}: there is none here; run from the checkout's root")
    write_text(target, template.read_text(encoding="utf-8"))
    _say(f"{target}: made from {template}")


def _provide_data(experiment: Experiment) -> None:
    if data.comes_with_package() or (data.folder() / "tau2").is_dir():
        return
    _say(f"{data.folder()}: fetching tau2's data from {experiment.tau2_data_source}")
    data.fetch(experiment.tau2_data_source, experiment.tau2_data_revision)


def _provide_agent(store: Store, template: str | None, reset: bool) -> None:
    """Raises UserError rather than replace an edited file that the user did not ask to reset."""
    file = template_file(template or DEFAULT)
    if template:
        check_installed(template)
    if not AGENT_FILE.exists() or not (template or reset):
        _install(file, AGENT_FILE)
        return
    source = read_plain(AGENT_FILE)
    if not reset and not template_of(source):
        raise UserError(f"{AGENT_FILE} is edited: add --reset-agent to replace it by {file}; it is kept in the vault")
    _say(f"{AGENT_FILE}: what it was is kept as {store.agent_file(store.keep_agent(source))}")
    write_text(AGENT_FILE, file.read_text(encoding="utf-8"))
    _say(f"{AGENT_FILE}: made from {file}")


def _measure_baseline(experiment: Experiment, store: Store, new_experiment: bool) -> int:
    runner = BenchmarkRunner.of(experiment)
    with runner.workers() as workers:
        workers.provide()
        look = runner.look(workers)
        measure = look.measure
        compose(measure.facts["about"])
        check_keys(experiment.endpoints, look.missing_keys)
        for line in of_the_container(asked_at(experiment)):
            _say(line)
        ledger, code = Ledger(store, measure.id), 0
        _check_measure(measure, ledger, new_experiment)
        if not ledger.versions:
            with runner.open(workers=workers) as bench:
                code = _run_baseline(bench, ledger)
        else:
            _say(f"baseline: recorded on {ledger.versions[0].row.time}")
            _accept_evaluator(measure, ledger, store)
            _compare_template(ledger, store)
    _export(measure, ledger, store)
    if ledger.versions:
        row, trials = ledger.versions[0].row, experiment.trials
        print(f"baseline: {score_line(row.held_out.values(), trials)}  ({measure.words})")
        print(f"train: {score_line(row.train.values(), trials)}")
        print(f"next: {typed('optimize.py')}, or tell a coding agent here to follow {COMPOSED_FILE}")
    if experiment.simulated:
        print(SIMULATED)
    return code


def _compare_template(ledger: Ledger, store: Store) -> None:
    """Say that a changed template is an edit: it makes no new baseline."""
    source = read_plain(AGENT_FILE)
    name = template_of(source)
    if name and store.keep_agent(source) not in {version.row.agent for version in ledger.versions}:
        _say(f"{AGENT_FILE} is the template {name}, the baseline was another file: the gate takes it as an edit")


def _accept_evaluator(measure: Measure, ledger: Ledger, store: Store) -> None:
    """Accept the code digest as it is now, and record what changed."""
    now = code_digest.keep(store)
    if now == ledger.evaluator:
        return
    try:
        changed = code_digest.changes(store, ledger.evaluator, now)
    except UserError:  # the manifest of the one before is gone: --verify says so
        changed = ["what it was is not kept any more"]
    newest = ledger.versions[-1].row
    ledger.append(
        Evaluator(measure.id, newest.agent, measure.words, simulated=newest.simulated, evaluator=now, changed=changed)
    )
    _say(f"the evaluator changed, and is accepted as it is now: {code_digest.in_short(changed)}")
    _say("verdicts and reports say so from now on; what was measured before, the old one measured")


def _check_measure(measure: Measure, ledger: Ledger, new_experiment: bool) -> None:
    """Raises UserError for a split that hides nothing, and for settings that changed since the last baseline."""
    measure.check_splits()
    if ledger.all_versions and not ledger.versions and not new_experiment:
        begun = max((version.row for version in ledger.all_versions), key=lambda row: row.number)
        others = ", ".join(changed(measure.experiment, begun.experiment)) or "data, version or machine"
        raise UserError(
            f"these settings ({measure.words}) give other scores than those of the experiment that was begun "
            f"({begun.measured}; what changed: {others}): take them back, or start another one: "
            f"{typed('prepare.py --new-experiment')}"
        )


def _run_baseline(bench: Bench, ledger: Ledger) -> int:
    train, held_out = bench.measure.train, bench.measure.gate_tasks
    if not template_of(read_plain(AGENT_FILE)):
        _say(f"{AGENT_FILE} is none of the templates: the baseline is that of the file as it is")
    _say(f"baseline: {len(train)} train and {len(held_out)} held-out tasks ({bench.measure.words})")
    trials = bench.measure.trials(train, bench.agent) + bench.measure.trials(held_out, bench.agent, FIRST_TRIAL)
    bench.accepted = code_digest.keep(bench.store)
    run = run_trials(bench, trials, "prepare.py")
    export_traces(bench.export(run), "baseline", train=train)
    scored = [outcome for outcome in run.outcomes if outcome.trial.task_id in held_out]
    looks = looks_of(bench, scored, bench.agent)
    if bench.measure.shared_seeds:
        _say(f"warning: {bench.measure.shared_seeds}")
    held_out_rewards, rewards, missing = scored_looks(looks, {}), run.settled, unfinished(looks)
    if run.outcomes and all(outcome.status == Status.AGENT_ERROR for outcome in run.outcomes):
        raise UserError(f"{AGENT_FILE} fails in every conversation: {run.outcomes[0].detail}")
    if missing or mean(held_out_rewards.values()) is None:
        _say(f"{missing} held-out tasks could not be evaluated; the same command runs those again")
        _explain(run, bench.measure.held_out)
        return EXIT_UNDECIDED
    row = Baseline(
        bench.measure.id,
        bench.agent,
        bench.measure.words,
        bench.experiment.to_json(),
        tasks=held_out,
        held_out=held_out_rewards,
        score_looks=looks,
        rules=RULES,
        train={task_id: rewards[task_id] for task_id in train},
        val_score=mean(held_out_rewards.values()),
        simulated=bench.experiment.simulated,
        first_trial=FIRST_TRIAL,
        reveals=bench.store.reveals(bench.experiment.domain),
        commit=_commit_of_agent(),
        evaluator=code_digest.check(bench.store, bench.accepted),
    )
    ledger.append(row)
    export_train_results(row.train, None)
    return 0


def _commit_of_agent() -> str:
    """The commit that has the agent file as it is; empty, with a warning, if none has."""
    try:
        repository = Repository()
        if repository.file(head := repository.head, AGENT_FILE) == read_plain(AGENT_FILE):
            return head
    except Exception:  # no git, no repository, no commit: `--check` says so, and record will
        pass
    _say(f"{AGENT_FILE} is not committed as it is: git checkout would take it back; commit it before you go on")
    return ""


def _explain(run: Run, held_out: set[str]) -> None:
    """Say why there are no rewards; of a held-out task not even that."""
    lost = [one for one in run.outcomes if one.reward is None and one.trial.task_id not in held_out]
    reasons = {f"{outcome.status}: {outcome.detail}" for outcome in lost}
    for reason in sorted(reasons)[:3]:
        _say(reason)
    _say(f"log: {run.folder}")


def _export(measure: Measure, ledger: Ledger, store: Store) -> None:
    """Write what the coding agent reads; what has not changed stays as it is."""
    export_domain(measure.facts["policy"], measure.facts["tools"])
    write_json(store.folder / "data.json", {**measure.benchmark, "files": measure.facts["data_files"]})
    begin_learnings()
    export_ledger(Ledger(store))
    if ledger.versions and not (WORKSPACE / "train_results.json").exists():
        export_train_results(ledger.versions[0].row.train, None)


def _say(line: str) -> None:
    print(f"[prepare] {line}", file=sys.stderr)
