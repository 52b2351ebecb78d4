"""The form in which commands are typed here: plain, from a virtual environment, or through docker compose.

docker-compose.yml sets AUTOHARNESS_COMMAND to what a person outside the container types in place of `python`. Every
message that names a command takes its form from here.
"""

import os
import re
import shutil
import socket
import sys
from pathlib import Path

COMMAND_VARIABLE = "AUTOHARNESS_COMMAND"
_COMPOSE = "docker compose run --rm autoeval"
_BUILD = "docker compose build"


def in_compose() -> bool:
    """Whether this process runs in the container of docker-compose.yml."""
    return bool(os.environ.get(COMMAND_VARIABLE))


def python_command() -> str:
    """The command that starts this Python here."""
    named = os.environ.get(COMMAND_VARIABLE)
    if named:
        return named
    typed = sys.orig_argv[0]
    found = shutil.which("python")
    return "python" if found and Path(found).absolute() == Path(sys.executable).absolute() else typed


def typed(command: str) -> str:
    """A command of ours as it is typed here, of "prepare.py --check" for example."""
    return f"{python_command()} {command}"


def through_compose(command: str) -> str:
    """A command of ours for the container, whatever the form is here."""
    return f"{_COMPOSE} python {command}"


def serving() -> str:
    """The command that serves the live page; a container's is published on the loopback of the machine around it."""
    if not in_compose():
        return typed("report.py --serve")
    inside = through_compose("report.py --serve --bind 0.0.0.0")
    return inside.replace("--rm", "--rm --publish 127.0.0.1:8642:8642")


def installing(packages: str) -> str:
    """What installs these packages. In a container they would be gone with it: the image holds them."""
    return _BUILD if in_compose() else f"pip install {packages}"


def as_root(command: str) -> str:
    """A command in the container, as its root: on volumes nobody else may change an owner."""
    return f"{_COMPOSE.replace('--rm', '--rm --user 0')} {command}"


def wrong_account() -> str:
    """What mends it if the container runs as another account than the checkout's; "" if that is no problem here."""
    owner = Path().stat()
    if not in_compose() or owner.st_uid == os.geteuid() or os.access(".", os.R_OK | os.W_OK | os.X_OK):
        return ""
    return (
        f"this container runs as {_ours()}, and the checkout belongs to {owner.st_uid}:{owner.st_gid}: "
        f"put HOST_UID={owner.st_uid} and HOST_GID={owner.st_gid} into .env, then: {_BUILD}"
    )


def other_owner(path: Path) -> str:
    """What mends it if something belongs to another account than the container's; "" if that is no problem here."""
    if not in_compose():
        return ""
    found = next(one for one in (path.absolute(), *path.absolute().parents) if os.access(one, os.F_OK))
    owner = found.stat()
    if owner.st_uid == os.geteuid():
        return ""
    whole = path if found.is_relative_to(Path.cwd()) else Path(*found.parts[:2])
    give = as_root(f"chown -R {_ours()} {whole}")
    return f"it belongs to {owner.st_uid}:{owner.st_gid}, and this container runs as {_ours()}: give it over: {give}"


def unmounted_repository(folder: Path) -> str:
    """What makes a linked worktree's repository visible, where a container sees the worktree alone; "" otherwise."""
    link = folder / ".git"
    named = (
        re.match(r"gitdir: (/.*)/worktrees/[^/]+\s*$", link.read_text(errors="replace")) if link.is_file() else None
    )
    if not named or Path(named[1]).exists():
        return ""
    mounted = through_compose("prepare.py").replace("--rm", f"--rm --volume {named[1]}:{named[1]}")
    return (
        f"this folder is a linked worktree of {named[1]}, which is not here: "
        + (f"mount that too ({mounted}), or " if in_compose() else "")
        + "clone the repository, and work there"
    )


def ending() -> str:
    """What ends this process, typed where its person is."""
    return f"docker stop {socket.gethostname()}" if in_compose() else f"kill {os.getpid()}"


def _ours() -> str:
    return f"{os.geteuid()}:{os.getegid()}"
