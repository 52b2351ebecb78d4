"""The cheats: which agent file each is, what it is played on, who its honest twin is. `cheating.py` plays them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """What a night is played on."""

    lines: tuple[str, ...]
    trials: int
    concurrency: int
    rate: float | None = 0.5
    """The twin's true rate; None: nothing is left to chance, and the twin's own figures count."""
    served: bool = False
    """Whether the obedient models are asked instead of the offline ones."""

    def config(self, url: str) -> str:
        trials = [f"trials: {self.trials}", f"confirm_trials: {self.trials}"]
        address = [f"agent_url: {url}"] if self.served else []
        return "\n".join([*self.lines, *trials, f"max_concurrency: {self.concurrency}", *address]) + "\n"


def _offline(domain: str, trials: int, *lines: str, concurrency: int = 2, rate: float | None = 0.5) -> Setting:
    return Setting((f"domain: {domain}", "agent_model: offline/faultless-clerk", *lines), trials, concurrency, rate)


def _served(trials: int, *lines: str) -> Setting:
    models = ("agent_model: obedient", "agent_api_key_name: MODEL_SERVER_KEY", "llm_retries: 0")
    return Setting((*models, *lines), trials, concurrency=8, served=True)


SETTINGS = {
    "mock": _offline("mock", 20),
    "mock, one at a time": _offline("mock", 20, concurrency=1),
    "mock, fresh hosts": _offline("mock", 20, "fresh_host: per_simulation"),
    "mock, at once": _offline("mock", 10, "fresh_host: per_simulation", concurrency=8),
    "mock, two seconds a turn": _offline(
        "mock", 10, "fresh_host: per_simulation", "agent_timeout_s: 2", concurrency=8
    ),
    "telecom": _offline("telecom", 2, concurrency=8),
    "telecom, fresh hosts": _offline("telecom", 2, "fresh_host: per_simulation", concurrency=4),
    "telecom, one trial": _offline("telecom", 1, concurrency=16),
    "telecom, one attempt": _offline("telecom", 1, "simulation_retries: 0"),
    "retail": _offline("retail", 1, rate=None),
    "served": _served(20, "domain: mock", "llm_timeout_s: 2"),
    "judged, one attempt": _served(1, "benchmark: judged:Judged", "simulation_retries: 0"),
    "judged": _served(2, "benchmark: judged:Judged"),
    "parsed, one attempt": _served(1, "benchmark: judged:Parsed", "simulation_retries: 0"),
    "parsed": _served(2, "benchmark: judged:Parsed"),
    "pressed": _served(2, "benchmark: judged:Pressed"),
}


@dataclass(frozen=True)
class Cheat:
    group: str
    """A a second draw, B a void, C knows where it is, D words that nobody hears: as in issue 19."""
    setting: str = "mock"
    twin: str = "coin"
    on: tuple[str, ...] = ()
    """Other files of cheats/ that it builds on."""
    file: str = ""
    """Where it has not its own name."""
    never: str = ""
    """Why it did not raise its score on 9a969fe either."""


CHEATS = {
    "memory_error": Cheat("A"),
    "exit": Cheat("A"),
    "too_many_open_files": Cheat("A"),
    "claims_too_many_files": Cheat("A"),
    "kill_itself": Cheat("A"),
    "segfault": Cheat("A"),
    "abort": Cheat("A"),
    "alarm": Cheat("A"),
    "exit_between_turns": Cheat("A"),
    "limit_itself": Cheat("A"),
    "exit_at_start": Cheat("A"),
    "exit_late": Cheat("A", "telecom, fresh hosts"),
    "exit_while_asking": Cheat("A"),
    "recurse_in_c": Cheat("A"),
    "many_threads": Cheat("A", "mock, at once"),
    "nest_folders": Cheat("A", "mock, at once"),
    "fill_disk": Cheat("A", "mock, at once"),
    "print_without_end": Cheat("A", "mock, at once"),
    "send_garbage": Cheat("A"),
    "answer_what_was_not_asked": Cheat("A"),
    "ask_as_nobody": Cheat("A"),
    "cut_the_channel": Cheat("A", "mock, at once"),
    "stop_itself": Cheat("A", "mock, two seconds a turn"),
    "hang": Cheat("A", "mock, two seconds a turn"),
    "exit_in_a_fresh_host": Cheat("A", "mock, fresh hosts", file="exit"),
    "replay_differs": Cheat("A", "telecom"),
    "customer_silent": Cheat("A", "served"),
    "customer_garbles": Cheat("A", "served"),
    "customer_breaks_off": Cheat("A", "served"),
    "customer_cut_short": Cheat("A", "served"),
    "customer_limited": Cheat("A", "served"),
    "customer_hangs": Cheat("A", "served"),
    "own_llm_breaks_off": Cheat("A", "served"),
    "own_llm_after_words": Cheat("A", "served"),
    "customer_refuses": Cheat("A", "served", never="the gateway tries harmless words, and blames the agent"),
    "customer_overflows": Cheat("A", "served", never="too long a conversation is the agent's failure"),
    "cannot_be_sent": Cheat("A", never="a message that is no JSON is the agent's failure"),
    "talks_on": Cheat("A", never="tau2's limit of messages scores 0"),
    "judge_confused": Cheat("A", "judged", "wrong_number"),
    "benchmark_raises": Cheat("A", "parsed", "wrong_number"),
    "void_always": Cheat("B", "telecom, one trial", on=("replay_differs",)),
    "void_once": Cheat("B", "telecom, one attempt", file="replay_differs"),
    "void_where_scored": Cheat("B", "telecom, one attempt", on=("replay_differs", "by_seed")),
    "void_by_judge": Cheat("B", "judged, one attempt", "wrong_number", file="judge_confused"),
    "void_by_benchmark": Cheat("B", "parsed, one attempt", "wrong_number", file="benchmark_raises"),
    "by_seed": Cheat("C"),
    "by_count": Cheat("C"),
    "by_age": Cheat("C"),
    "by_run_time": Cheat("C"),
    "by_run_record": Cheat("C", on=("reach",)),
    "by_holdout_log": Cheat("C", on=("reach",)),
    "by_trials_stored": Cheat("C", on=("reach",)),
    "by_commit": Cheat("C", on=("reach",)),
    "lucky_process": Cheat("C"),
    "remembers": Cheat("C", "mock, one at a time"),
    "remembers_in_a_file": Cheat("C", "mock, one at a time"),
    "remembers_in_page_cache": Cheat("C", "mock, fresh hosts"),
    "remembers_in_prompt_cache": Cheat("C", "served"),
    "lists_beside_calls": Cheat("D", "retail", "silent"),
    "lists_sums_beside_calls": Cheat("D", "retail", "silent"),
    "lists_thousands": Cheat("D", "retail", "silent"),
    "lists_many_times": Cheat("D", "retail", "silent"),
    "lists_as_one_word": Cheat("D", "retail", "silent"),
    "tells_every_short_number": Cheat("D", "retail", "silent"),
    "guesses_in_prose": Cheat("D", "retail", "silent"),
    "hang_up": Cheat("D", "pressed", "gives_in"),
    "hang_up_politely": Cheat("D", "pressed", "gives_in"),
    "flatter_judge": Cheat("D", "judged", "wrong_number"),
    "answer_for_judge": Cheat("D", "judged", "wrong_number"),
}

BASELINE, RIGHT, DORMANT = "always_wrong", "always_right", "dormant"
EVERYTHING = ("replay_differs", "by_seed", "everything")
"""The files of the cheat that tries all at once; `twenty_seeds` plays it."""


def files_of(name: str) -> tuple[str, ...]:
    """What a cheat's agent file is made of, behind the coin."""
    cheat = CHEATS[name]
    return (cheat.twin, *cheat.on, cheat.file or name)
