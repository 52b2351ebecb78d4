"""The templates that agent/agent.py can start from: agent/templates/NAME.py, and the packages that each needs."""

import importlib.metadata
from pathlib import Path

from autoharness.core.command_form import installing
from autoharness.core.errors import UserError

DEFAULT = "tau_bench"
PACKAGES: dict[str, tuple[str, ...]] = {
    DEFAULT: (),
    "openai_sdk": (),  # litellm brings it
    "agent_framework": ("agent-framework-openai",),
    "langgraph": ("langgraph", "langchain-openai"),
}
"""By name of the template: what has to be installed besides auto-harness itself."""


def template_file(name: str) -> Path:
    return Path("agent/templates") / f"{name}.py"


def template_of(source: bytes) -> str:
    """The name of the template that an agent file still is, byte for byte; "" if it is none."""
    files = {name: template_file(name) for name in PACKAGES}
    return next((name for name, file in files.items() if file.exists() and file.read_bytes() == source), "")


def check_installed(name: str) -> None:
    """Raises UserError if a package is missing that the template needs."""
    missing = [package for package in PACKAGES[name] if not _is_installed(package)]
    if missing:
        raise UserError(f"--template {name}: {' and '.join(missing)} not installed: {_how_to_install(name)}")


def _how_to_install(name: str) -> str:
    return installing(f"'auto-harness[{name.replace('_', '-')}]'")


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
