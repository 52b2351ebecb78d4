"""OpenAI-compatible servers: the base URL, and the name of the environment variable that holds the API key.

The key itself is only in the environment of the processes that call the server. Without a variable name the server
gets a placeholder as the key: otherwise litellm would take another provider's key from the environment.

And the proxies that lead there, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY. This machine's own addresses are
never asked through a proxy, which would look for the server on its own machine.
"""

import importlib.util
import ipaddress
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from autoharness.core.command_form import in_compose
from autoharness.core.errors import UserError

_PATH = "/chat/completions"
_NO_KEY = "none"
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_AWS_KEY = re.compile(r"A[A-Z]{3}[A-Z0-9]{16}")
_USUAL_PORTS = {"http": 80, "https": 443}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PROXIED = ("http", "https", "all")
_SOCKS = ("socks5", "socks5h")


@dataclass(frozen=True)
class Endpoint:
    """The server that answers for a model."""

    url: str
    """As `base_url` returns it."""
    key_name: str | None = None
    """The environment variable with the key; None if the server needs none."""

    def __str__(self) -> str:
        return f"{self.url} (key in {self.key_name})" if self.key_name else f"{self.url} (without a key)"

    @property
    def key(self) -> str:
        """What is sent as the key."""
        return os.environ.get(self.key_name or "") or _NO_KEY

    @property
    def lacks_key(self) -> bool:
        return bool(self.key_name and not os.environ.get(self.key_name))


def of_the_container(urls: Mapping[str, str]) -> Iterator[str]:
    """A line for each address that leads a container to itself, and not to the machine around it.

    `urls`: by the setting or the variable that has it.
    """
    for name, url in urls.items():
        if in_compose() and _is_loopback(host := _host(url)):
            yield (
                f"{name}: {host} is the container itself; a server on the machine around it is http://"
                "host.docker.internal:PORT, if it listens at the address of Docker's bridge (docs/docker.md)"
            )


def check_keys(endpoints: Mapping[str, Endpoint], missing: Mapping[str, str]) -> None:
    """Raises UserError for the first key that is not set.

    `endpoints`: by role. `missing`: by model, why its provider cannot be asked; see `providers.missing_keys`.
    """
    for role, endpoint in endpoints.items():
        if endpoint.lacks_key:
            name = endpoint.key_name
            raise UserError(f"{role}: no key for {endpoint.url}: {name} is not set: echo '{name}=...' >> .env")
    for model, what in missing.items():
        is_a_key = what.endswith("is not set")
        raise UserError(f"no key for {model}: {what}; put it into .env" if is_a_key else f"{model}: {what}")


def base_url(text: str) -> str:
    """The URL in one normal form, to which `/chat/completions` is added. A URL that ends with that is accepted too.

    Raises ValueError, which says what is wrong but never quotes the URL: it may hold a secret.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("is no address") from None
    if "@" in parts.netloc:
        raise ValueError("has a user or a password in it, which would be written down everywhere")
    if "?" in text or "#" in text:
        raise ValueError("has a ? or a # in it: what stands behind it would be written down everywhere, or is lost")
    host = parts.hostname or ""
    if parts.scheme not in _USUAL_PORTS or not host or not re.fullmatch(r"[!-~]+", text):
        raise ValueError("must be an address such as http://127.0.0.1:8000/v1")
    written = f"[{host}]" if ":" in host else host
    place = written if port in (None, _USUAL_PORTS[parts.scheme]) else f"{written}:{port}"
    return f"{parts.scheme}://{place}{parts.path.rstrip('/').removesuffix(_PATH).rstrip('/')}"


def is_variable(text: str) -> bool:
    """Whether it can be the name of a variable: a user who puts the key itself there is told so."""
    return bool(_VARIABLE.fullmatch(text)) and not _AWS_KEY.fullmatch(text)


def sparing_loopback(urls: Iterable[str]) -> dict[str, str]:
    """NO_PROXY for a process that asks these servers: what it is here, and this machine's own addresses."""
    given = _proxies().get("no", "")
    own = [host for url in urls if _is_loopback(host := _host(url))]
    hosts = ",".join(dict.fromkeys([*filter(None, given.split(",")), *_LOOPBACK, *own]))
    return {"NO_PROXY": hosts, "no_proxy": hosts}


def proxy_of(url: str) -> str:
    """The proxy on the way to a server, such as "HTTP_PROXY http://proxy:3128"; empty if there is none."""
    from urllib.request import proxy_bypass  # slow to load

    proxies, host = _proxies(), _host(url)
    scheme = next((one for one in (urlsplit(url).scheme, "all") if one in proxies), "")
    if not scheme or _is_loopback(host) or proxy_bypass(host, proxies):
        return ""
    return _named(scheme, proxies[scheme])


def check_proxies() -> None:
    """Raises UserError for the first proxy of the environment that cannot be used."""
    for scheme, proxy in _proxies().items():
        kind, _, _ = proxy.rpartition("://")
        if scheme not in _PROXIED:
            continue
        if kind not in ("", *_USUAL_PORTS, *_SOCKS) or not _is_address(proxy):
            raise UserError(f"{_named(scheme, proxy)}: must be such as http://proxy:3128 or socks5://proxy:1080")
        if kind in _SOCKS and importlib.util.find_spec("socksio") is None:
            raise UserError(f"{_named(scheme, proxy)}: pip install socksio")


def _proxies() -> dict[str, str]:
    """By "http", "https" or "all"; with "no", the hosts that are asked without one."""
    from urllib.request import getproxies_environment  # slow to load

    return getproxies_environment()


def _named(scheme: str, proxy: str) -> str:
    """The variable and the address, without a user and a password."""
    name = next((name for name in os.environ if name.lower() == f"{scheme}_proxy" and os.environ[name] == proxy), "")
    kind, colon, place = proxy.rpartition("://")
    return f"{name} {kind}{colon}{place.rpartition('@')[2]}"


def _is_address(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
