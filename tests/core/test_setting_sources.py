"""Settings come from four places; a mistake is one line that names what, where, and the nearest right spelling."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from autoharness.core.errors import UserError
from autoharness.core.setting_sources import from_settings, resolve
from autoharness.core.settings import CONFIG_FILE, Experiment
from autoharness.gate.gate_run import FIRST_TRIAL

NAMES = sorted(Experiment.__dataclass_fields__)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _message(error: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("command_line", "file", "environment", "model", "source"),
    [
        ("typed", "written", "exported", "typed", "command line"),
        (None, "written", "exported", "written", str(CONFIG_FILE)),
        (None, None, "exported", "exported", "environment"),
        (None, "", "exported", "exported", "environment"),
        (None, None, None, "gpt-5.4", "default"),
        (None, None, "", "gpt-5.4", "default"),
    ],
    ids=["command-line", "file", "environment", "empty-line-in-the-file", "default", "empty-variable"],
)
def test_the_nearest_source_wins(
    command_line: str | None,
    file: str | None,
    environment: str | None,
    model: str,
    source: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if file is not None:
        CONFIG_FILE.write_text(f"agent_model: {file}\n")
    if environment is not None:
        monkeypatch.setenv("AGENT_MODEL", environment)
    resolved = resolve({"agent_model": command_line})
    assert (resolved.experiment.agent_model, resolved.sources["agent_model"]) == (model, source)


def test_any_setting_can_be_typed_by_its_name() -> None:
    CONFIG_FILE.write_text("domain: airline\ntrials: 3\n")
    typed = [
        "trials=4",
        "agent_llm_args={temperature: 0.2}",
        "user_url=http://h:1/v1",
        "coding_agent_args=[--a, b=c]",
    ]
    resolved = resolve({"max_steps": 9}, assignments=typed)
    assert resolved.experiment == from_settings(
        {
            "domain": "airline",
            "trials": 4,
            "max_steps": 9,
            "agent_llm_args": {"temperature": 0.2},
            "user_url": "http://h:1/v1",
            "coding_agent_args": ["--a", "b=c"],
        }
    )
    assert {name for name, source in resolved.sources.items() if source == "command line"} == {
        *("trials", "max_steps", "agent_llm_args", "user_url", "coding_agent_args")
    }


@pytest.mark.parametrize("empty", ["user_model=", "user_model=null", "user_model=~"])
def test_an_empty_value_is_the_default_whatever_the_file_says(empty: str) -> None:
    CONFIG_FILE.write_text("user_model: written\nagent_model: written\n")
    resolved = resolve({}, assignments=[empty])
    assert (resolved.experiment.user_model, resolved.sources["user_model"]) == (None, "default")
    assert resolved.experiment.agent_model == "written"


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["domian=retail"], "command line: unknown setting 'domian'; did you mean 'domain'?"),
        (["domian="], "command line: unknown setting 'domian'; did you mean 'domain'?"),
        (["trials=two"], "command line: trials must be int, not 'two'"),
        (["trials"], "--set trials: expected NAME=VALUE, such as --set trials=4"),
        (["trials=1", "trials=2"], "--set trials is given twice"),
        (["max_steps=1"], "command line: max_steps is given twice"),
        (["seed=[1"], "--set seed: not YAML: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_in_what_is_typed_is_one_line(assignments: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        resolve({"max_steps": 9}, assignments=assignments)
    assert _message(error).startswith(message)


@settings(deadline=None)
@given(st.lists(st.text() | st.builds("{}={}".format, st.sampled_from(NAMES), st.text()), max_size=3))
def test_whatever_is_typed_is_an_experiment_or_one_line(assignments: list[str]) -> None:
    try:
        resolve({}, assignments=assignments)
    except UserError as error:
        assert "\n" not in str(error)


def test_every_setting_has_a_source_of_its_own() -> None:
    CONFIG_FILE.write_text("domain: airline\n")
    sources = resolve({"trials": 2}).sources
    assert set(sources) == set(NAMES)
    assert {name: where for name, where in sources.items() if where != "default"} == {
        "domain": str(CONFIG_FILE),
        "trials": "command line",
    }


def test_settings_from_python_win_over_the_environment_and_leave_the_file_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    CONFIG_FILE.write_text("domain: airline\n")
    monkeypatch.setenv("AGENT_MODEL", "exported")
    assert from_settings({"trials": 2, "split": None}) == Experiment(trials=2, agent_model="exported")


def test_the_keys_of_the_reference_are_taken() -> None:
    settings = {
        "benchmark": "tau-bench",
        "agent_model": "gpt-5.4",
        "domain": "airline",
        "split": "train",
        "gate_split": "test",
        "max_concurrency": 3,
        "threshold": 0.8,
        "reasoning_effort": "medium",
    }
    CONFIG_FILE.write_text(yaml.safe_dump(settings))
    assert resolve({}).experiment == Experiment(domain="airline", reasoning_effort="medium")


def test_an_integer_is_taken_for_a_setting_with_a_fraction() -> None:
    CONFIG_FILE.write_text("threshold: 1\nmax_simulation_cost_usd: 2\n")
    experiment = resolve({}).experiment
    assert (experiment.threshold, experiment.max_simulation_cost_usd) == (1.0, 2.0)
    assert (type(experiment.threshold), type(experiment.max_simulation_cost_usd)) == (float, float)


def test_the_user_has_the_agents_model_and_the_judge_the_users_unless_they_are_named() -> None:
    named: list[dict[str, str]] = [{}, {"user_model": "u"}, {"user_model": "u", "judge_model": "j"}]
    experiments = [from_settings({"agent_model": "a", **models}) for models in named]
    models = [[experiment.model_of(role) for role in ("agent", "user", "judge")] for experiment in experiments]
    assert models == [["a", "a", "a"], ["a", "u", "u"], ["a", "u", "j"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("domian: retail", "unknown setting 'domian'; did you mean 'domain'?"),
        ("zzz: 1", "unknown setting 'zzz'; there is agent, agent_api_key_name, agent_base_url"),
        ("1: 1", "unknown setting '1'"),
        ("judge_llm_args: {messages: []}", "judge_llm_args: messages is not for settings to choose: take it out"),
        ("agent_llm_args: {1: 2}", "agent_llm_args: names must be texts, and values what JSON has, not {1: 2}"),
        ("timeout_s: 3", "timeout_s must be at least 10, not 3.0"),
        ("trials: two", "trials must be int, not 'two'"),
        ("trials: true", "trials must be int, not True"),
        ("trials: 1.0", "trials must be int, not 1.0"),
        ("threshold: true", "threshold must be float, not True"),
        ("threshold: .nan", "threshold must be float, not nan"),
        ("max_simulation_cost_usd: .inf", "max_simulation_cost_usd must be float or nothing, not inf"),
        ("user_model: 5", "user_model must be str or nothing, not 5"),
        ("agent_llm_args: hot", "agent_llm_args must be dict, not 'hot'"),
        ("agent_llm_args: {api_key: sk-1}", "api_key would be written down everywhere: put it into .env"),
        ("trials: 'a\n\n  b'", r"trials must be int, not 'a\nb'"),
        ("trials: 0", "trials must be at least 1, not 0"),
        ("llm_retries: -1", "llm_retries must be at least 0, not -1"),
        ("benchmark: tua-bench", "benchmark: 'tua-bench' is unknown; did you mean 'tau-bench'?"),
        ("benchmark: [tau-bench]", "benchmark"),
        (
            "benchmark: terminal-bench\nenv_provider: e2b",
            "terminal-bench is not supported yet; set benchmark: tau-bench",
        ),
        (
            "mode: a-interact\nbenchmark: bird-interact",
            "bird-interact is not supported yet; set benchmark: tau-bench",
        ),
        ("- domain\n- split", "expected lines of the form 'setting: value', not ['domain', 'split']"),
        ("retail", "expected lines of the form 'setting: value', not 'retail'"),
        ("domain: [\nsplit: }", "not YAML: "),
        ("domain: \x00", "not YAML: "),
    ],
    ids=lambda value: value[:24].replace("\n", " ").replace("\x00", "NUL"),
)
def test_a_mistake_in_the_file_is_one_line_with_its_place(text: str, expected: str) -> None:
    CONFIG_FILE.write_text(text)
    with pytest.raises(UserError) as error:
        resolve({})
    assert _message(error).startswith(f"{CONFIG_FILE}: ")
    assert expected in _message(error)


@pytest.mark.parametrize(
    ("name", "least", "below"),
    [
        ("trials", 1, 0),
        ("max_concurrency", 1, 0),
        ("max_steps", 1, 0),
        ("max_errors", 1, 0),
        ("max_llm_calls", 1, 0),
        ("llm_retries", 0, -1),
        ("simulation_retries", 0, -1),
        ("threshold", 0, -0.01),
        ("agent_timeout_s", 0.1, 0.09),
        ("llm_timeout_s", 0.1, 0.09),
        ("max_simulation_cost_usd", 0, -0.01),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_number_has_a_least_value(name: str, least: float, below: float) -> None:
    assert getattr(from_settings({name: least}), name) == least
    with pytest.raises(UserError, match=f"{name} must be at least {least}, not {below}"):
        from_settings({name: below})


def test_trials_of_a_run_by_hand_never_have_a_number_of_the_gates() -> None:
    """Theirs count from 0, the gate's from FIRST_TRIAL on."""
    assert from_settings({"trials": FIRST_TRIAL}).trials == FIRST_TRIAL
    with pytest.raises(UserError, match=f"trials must be at most {FIRST_TRIAL}"):
        from_settings({"trials": FIRST_TRIAL + 1})


def test_a_file_in_another_encoding_is_a_mistake_too() -> None:
    CONFIG_FILE.write_bytes("domain: café".encode("latin-1"))
    with pytest.raises(UserError, match=r"^experiment_config.yaml: not YAML: .*utf-8"):
        resolve({})


def test_a_mistake_on_the_command_line_or_in_python_says_so() -> None:
    with pytest.raises(UserError) as error:
        resolve({"trials": 0})
    assert _message(error) == "command line: trials must be at least 1, not 0"
    with pytest.raises(UserError) as error:
        from_settings({"trails": 1})
    assert _message(error) == "unknown setting 'trails'; did you mean 'trials'?"
    with pytest.raises(UserError) as error:
        from_settings({"benchmark": "tua-bench"})
    assert _message(error) == "benchmark: 'tua-bench' is unknown; did you mean 'tau-bench'?"
    with pytest.raises(UserError, match=r"^benchmark: terminal-bench is not supported yet"):
        from_settings({"benchmark": "terminal-bench"})


def test_a_file_that_is_named_must_be_there_and_the_default_one_need_not() -> None:
    assert resolve({}).experiment == Experiment()
    with pytest.raises(UserError) as error:
        resolve({}, Path("mine.yaml"))
    assert _message(error).startswith("mine.yaml: No such file")
    assert "cp experiment_config.yaml.template mine.yaml" in _message(error)


def test_an_empty_file_changes_nothing() -> None:
    CONFIG_FILE.write_text("# all of it commented out\n")
    assert resolve({}).experiment == Experiment()


def test_an_experiment_is_rebuilt_from_its_json() -> None:
    experiment = from_settings({"domain": "airline", "agent_llm_args": {"temperature": 0.5}})
    assert Experiment(**experiment.to_json()) == experiment


@settings(deadline=None)
@given(mapping=st.dictionaries(st.sampled_from(NAMES) | st.text() | st.integers() | st.dates(), VALUES, max_size=4))
def test_whatever_the_file_says_is_an_experiment_or_one_line(
    mapping: dict[Any, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "any.yaml"
    path.write_text(yaml.safe_dump(mapping))
    try:
        experiment = resolve({}, path).experiment
    except UserError as error:
        assert "\n" not in str(error)
        return
    for name, value in yaml.safe_load(path.read_text()).items():
        taken = getattr(experiment, name)
        assert value is None or taken == type(taken)(value)


@pytest.mark.parametrize(
    "text",
    [
        "seed: 2024-13-01",
        "threshold: 0b_",
        "seed: !!int a",
        "domain: !!bool x",
        "seed: 1" + "0" * 5000,
        "threshold: 1" + "0" * 400,
        "domain: " + "[" * 2000,
        "agent_llm_args: {temperature: .nan}",
        "agent_llm_args: {when: 2024-01-01}",
        "agent_llm_args: {1: 2}",
        "agent_llm_args: &a {x: *a}",
        "threshold: 80",
        "agent_model: ''",
        "[]",
        "false",
    ],
    ids=lambda text: text[:30],
)
def test_what_yaml_takes_and_an_experiment_cannot_is_refused(text: str) -> None:
    CONFIG_FILE.write_text(text)
    with pytest.raises(UserError) as error:
        resolve({})
    assert "\n" not in str(error.value)


def test_an_empty_benchmark_is_the_default() -> None:
    CONFIG_FILE.write_text("benchmark:\n")
    assert resolve({}).experiment.benchmark == "tau-bench"


def test_the_offline_models_play_together() -> None:
    experiment = resolve({"agent_model": "offline/clerk"}).experiment
    assert [experiment.model_of(role) for role in ("user", "judge")] == ["offline/customer", "offline/judge"]
    assert experiment.simulated and not resolve({"agent_model": "gpt-5.4"}).experiment.simulated


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"agent_model": "offline/clark"}, "agent_model: 'offline/clark' is unknown; did you mean 'offline/clerk'"),
        ({"agent_model": "offline/clerk", "user_model": "gpt-5.4"}, "gpt-5.4 does not play with agent_model"),
        ({"agent_model": "gpt-5.4", "user_model": "offline/customer"}, "offline/customer does not play with"),
        ({"agent_model": "gpt-5.4", "judge_model": "offline/judge"}, "offline/judge does not play with"),
        ({"agent_model": "offline/clerk", "user_model": "offline/clerk"}, "did you mean 'offline/customer'"),
    ],
    ids=["misspelt", "real-user", "real-agent", "real-judged", "wrong-role"],
)
def test_the_offline_models_play_with_nobody_else(settings: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as error:
        resolve(settings)
    assert message in str(error.value)
