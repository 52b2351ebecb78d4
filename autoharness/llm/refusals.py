"""What kind of refusal a provider's error is, by its status, its type and what it says.

Each server has its own words. So they are read for their meaning: something of the conversation (a prompt, the input,
its tokens) exceeds something of the model (its context, its limit of tokens). What only sounds like it is no such
refusal: a rate limit, an argument that is too large, a name that is too long.

A server may also cut a conversation that is too long, and say nothing: see `Growth`.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from autoharness.core.endpoints import proxy_of
from autoharness.core.outcomes import CUT, NO_SERVER

BAD_GATEWAY = 502
_NAMED = {
    400: "invalid_request_error context_length_exceeded",
    401: "authentication_error invalid_api_key",
    403: "permission_error",
    404: "not_found_error model_not_found",
    413: "request_too_large",
    429: "rate_limit_error rate_limit_exceeded resource_exhausted insufficient_quota",
    500: "api_error server_error internal_server_error",
    503: "overloaded_error service_unavailable",
}
"""The words by which errors are named, by HTTP status code."""
_MOST_CHARS, _MOST_ERRORS = 20_000, 8
_TOO_MANY, _TOO_LARGE = 429, 413
_OF_THE_ACCOUNT = frozenset({401, 402, 403, 408})
"""Status codes that say nothing about the conversation's length, whatever the words are."""
_FEWEST_CALLS, _FEWEST_CHARS, _CHARS_OF_A_TOKEN, _STILL = 3, 4000, 20, 0.75
_LETS_NOBODY_IN, _NOT_FOUND = (401, 403), 404
_REFUSALS = frozenset({200, 400, 403, 422, 451})

_RATE = re.compile(
    r"rate[ _-]?limit|\b(?:per|a|each)[ _-](?:second|min|hour|day|month)|\btp[md]\b|quota|too many requests|throttl"
    r"|concurren|credits|billing|please wait|try again later|overload|out of memory|allocat|api key"
    r"|token limit\b.{0,30}\b(?:day|month|team|key|account)"
    r"|\b(?:team|key|account|organi[sz]ation)\S*\b.{0,20}token limit"
)
_BOUND = re.compile(
    r"(?:string|array|list) too long|string_above_max_length|array_above_max_length|should have at most"
)
"""The server checks the length of a field, such as a tool's name."""
_OF_ALL = re.compile(r"""["'`](?:messages|input|prompt)(?:\[\d+])?(?:\.content\S*?)?["'`]""")
"""... and this field is the conversation."""

_EXCEEDS = (
    r"(?:exceed|too (?:long|large|big|many|high)|(?:longer|greater|larger|more|bigger|fewer|less) than|overflow"
    r"|beyond|over the|is not enough|maximum|at most|up to|only|should be \[|must be <|reduce|shorten|full|>=)"
)
_OF_MODEL = (
    r"(?:(?:context|sequence)[ _'-]*(?:length|window|size|limit|len)|(?:prompt|input|model)[ _-](?:length|len|size)"
    r"|max_model_len|max_seq_len|max_num_tokens|token limit|tokens? allowed|max(?:imum)? context|n_ctx)"
)
_OF_TALK = r"(?:prompt|inputs?|context|conversation|messages|chat history|history)"
_OTHER = r"(?:image|audio|video|pdf|file|name|description|schema|timeout|took|takes|output|completion|max_tokens)"
_TYPE = re.compile(
    r"context_length_exceeded|exceed_context|context_?window_?exceeded|context_limit|request_too_large"
    r"|(?:prompt|input|context)_too_long|max_?prompt_?(?:length|tokens)_?exceeded|tokens_limit_reached"
)
_TOO_LONG = [
    re.compile(one)
    for one in (
        rf"{_OF_MODEL}.{{0,120}}{_EXCEEDS}",
        rf"{_EXCEEDS}.{{0,80}}{_OF_MODEL}",
        rf"(?<!image )\b{_OF_TALK}\b(?:(?!{_OTHER})[^.;]){{0,80}}?too (?:long|large|big)\b",
        rf"\b{_OF_TALK}\b(?:(?!{_OTHER})[^.;]){{0,40}}?\btokens?\b(?:(?!{_OTHER})[^.;]){{0,60}}?{_EXCEEDS}",
        rf"\b{_OF_TALK}\b(?:(?!{_OTHER})[^.;]){{0,30}}?exceed(?:(?!{_OTHER})[^.;]){{0,40}}?\b(?:tokens|length)\b",
        rf"{_EXCEEDS}(?:(?!{_OTHER})[^.;]){{0,40}}?\b(?:input|prompt) tokens?\b|than (?:the|its) context\b",
        r"\bcontext\b.{0,20}overflow|too many tokens|`inputs` (?:tokens|must have)|size limit exceeded by \d+ tokens",
        rf"reduce the (?:length|size) of (?:the|your) {_OF_TALK}|(?:shorter|shorten(?: the| your)?) (?:prompt|input)",
        r"(?:request|payload|body|entity)(?: body| entity)? (?:is )?too large",
        r"(?:prompt|token|输入|上下文|消息|对话|内容)[^。]{0,12}(?:超长|过长|太长|超过|超出|超限)",
    )
]
_NO_CREDIT = re.compile(
    r"insufficient[_ ](?:quota|balance|credit|fund)|exceeded your current quota|billing|out of credit|no credit"
    r"|credit balance|(?:spend(?:ing)?|usage|monthly|hard) (?:limit|cap)|recharge|arrears|overdue",
    re.IGNORECASE,
)
_SOON = re.compile(r"(?:retry|try again) (?:in|after)|retry_?delay|per[ _](?:second|minute)", re.IGNORECASE)
"""In the text of a 429: that the account has no credit left; and that it is a rate limit after all."""
_FILTERED = re.compile(
    r"content[_ -]?(?:filter|policy|management|moderation|safety)|responsible_?ai|data_?inspection_?failed"
    r"|prohibited_content|\bsafety\b|\bblocklist\b|\brecitation\b|\bspii\b|usage polic|cyber_policy|guardrail"
    r"|inappropriate content|sensitive (?:content|information|words?)|(?:was|been|is) flagged|content exists risk"
    r"|invalid_prompt|moderation|敏感|内容安全|违规|不安全",
)
_OF_TEMPLATE = re.compile(
    r"jinja|raise_exception|template[ _]?error|chat[ _-]?template(?!_kwargs)|invalid_request_message_order"
    r"|\b(?:roles?|messages|turns?|requests)\b[^.]{0,60}\balternat(?:e|ing)\b|\balternating (?:roles|messages|turns)"
    r"|\b(?:must|should|has to|have to) (?:start|begin) with (?:an? |the )?[`'\"]?(?:user|human|system)\b"
    r"|\b(?:first|last) (?:message|role|turn)\b[^.]{0,60}\b(?:user|assistant|system|role)\b"
    r"|\broles? in a row|\bconsecutive [`'\"]?(?:user|assistant|messages)|\b(?:unexpected|unsupported|invalid) role\b"
    r"|\b(?:system|developer) (?:role|message|prompt|instruction)s? (?:is |are )?not (?:supported|allowed|enabled)"
    r"|\bsystem message must be at the (?:beginning|start)|\brole [`'\"]?\w+[`'\"]? (?:is )?not (?:supported|allowed)"
    r"|\bonly [^.]{0,40}\broles? (?:are|is) (?:supported|allowed)|\bno user query found"
)
"""Words by which a server refuses the roles of a conversation."""
_OF_FLAGS = re.compile(r"--jinja|--trust-request-chat-template|--enable-auto-tool-choice")
"""... and which say that it was started without a flag."""
_CONTEXT = re.compile(
    r"(?:n_ctx|context[ _](?:length|size|window|limit)|tokens allowed"
    r"|(?:maximum|max)[ _](?:model|context|sequence|input|number of)[ _]?\w*)\D{0,40}?(\d{2,})|> (\d{2,}) maximum"
)
_NEEDED = re.compile(
    r"(?:prompt_tokens|\blength|\btokens?|requested|requests?|count)\W{0,20}?(?:is |of )?(\d{2,})"
    r"|(\d{2,}) (?:\w+ )?tokens"
)


def context_figures(text: str) -> str:
    """What an error says of a context and of the request, such as "it takes 1024 tokens, and this needs 1900"."""
    said = re.sub(r"(?<=\d),(?=\d{3})", "", text[:_MOST_CHARS].lower())
    takes, needs = ([int(one or other) for one, other in found.findall(said)] for found in (_CONTEXT, _NEEDED))
    if not takes or not needs or max(needs) <= takes[0]:
        return ""
    return f"it takes {takes[0]} tokens for each conversation, and this needs {max(needs)}"


def message_of(text: str) -> str:
    """The message of an error, if the text is its whole body; otherwise the text."""
    with suppress(ValueError, AttributeError, RecursionError):
        body = json.loads(text)
        error = body.get("error") or body
        return str(error if isinstance(error, str) else error.get("message", text))
    return text


def template_words(status: int, text: str) -> str:
    """The words that say that a chat template refuses the roles of a conversation, small; empty without any."""
    if status in _OF_THE_ACCOUNT | {0, _TOO_MANY}:
        return ""
    said = text[:_MOST_CHARS].lower()
    found = None if _OF_FLAGS.search(said) else _OF_TEMPLATE.search(said)
    return found[0] if found else ""


def status_of(error: Any) -> int:
    """The status code that an error names, by number or by word; otherwise the provider's own failure."""
    for name in ("code", "status_code", "status", "type") if isinstance(error, dict) else ():
        named = str(error.get(name)).lower()
        if re.fullmatch("[45][0-9][0-9]", named):
            return int(named)
        if known := [status_code for status_code, words in _NAMED.items() if named in words.split()]:
            return known[0]
    return BAD_GATEWAY


def says_too_long(status: int, text: str) -> bool:
    """Whether the conversation is longer than the model takes. A further try of the same request is refused too.

    `status`: HTTP's, 200 if an error came as an answer, 0 if it is not known. `text`: all that the server said.
    """
    said = text[:_MOST_CHARS].lower()
    if status == _TOO_LARGE:
        return True
    if status == _TOO_MANY:  # beyond the account's tokens per minute: this is not a rate limit that is over soon
        return "too large" in said
    if status in _OF_THE_ACCOUNT:
        return False
    if _BOUND.search(said):
        return bool(_OF_ALL.search(said))
    if _TYPE.search(said):
        return True
    return not _RATE.search(said) and any(one.search(said) for one in _TOO_LONG)


def says_filtered(status: int, text: str) -> bool:
    """Whether a content filter refuses the words, or has cut the answer. `text`: an error, or a finish reason."""
    return status in _REFUSALS and bool(_FILTERED.search(text[:_MOST_CHARS].lower()))


def says_no_credit(text: str) -> bool:
    """Whether the text of a 429 says that the account is empty, and not that a limit is over soon."""
    return bool(_NO_CREDIT.search(text)) and not _SOON.search(text)


def said_by(error: BaseException) -> str:
    """All that an error says, and the errors that led to it: a client passes on only a part of the server's words."""
    parts: list[str] = []
    for one in led_to(error):
        body = getattr(one, "body", None)
        parts += [str(one), body if isinstance(body, str) else json.dumps(body, default=str, ensure_ascii=False)]
    return " ".join(dict.fromkeys(parts))


def led_to(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those behind it."""
    for _ in range(_MOST_ERRORS):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def behind_a_proxy(error: BaseException) -> str:
    """If a connection failed: the proxy on its way, such as " (through HTTP_PROXY http://proxy:3128)"."""
    import httpx  # loaded only if providers are asked

    for one in led_to(error):
        if isinstance(one, httpx.TransportError) and (proxy := proxy_of(str(one.request.url))):
            return f" (through {proxy})"
    return ""


def hint(error: BaseException, status: int, key_name: str | None = "") -> str:
    """What the user can look at, if a server cannot be reached, lets nobody in, or does not know what it is asked.

    It goes behind the error's own words; what begins with NO_SERVER says all. `key_name`: the variable with the key
    to the user's own server, None without one; empty for a provider.
    """
    import httpx  # loaded only if providers are asked

    if any(isinstance(one, httpx.ConnectError) for one in led_to(error)):
        said = " ".join(map(str, led_to(error))).lower()
        refused, unknown = "refused" in said, re.search("name or service|name resolution|nodename|getaddrinfo", said)
        why = "connection refused" if refused else "its name is not known" if unknown else "no connection"
        return f"{NO_SERVER}: {why}{behind_a_proxy(error)}"
    if status in _LETS_NOBODY_IN and key_name != "":
        return f" (the key is that in {key_name})" if key_name else " (no key was sent: ..._api_key_name says which)"
    if status == _NOT_FOUND and key_name != "":
        return " (a wrong path, which is /v1 on most servers, or a model that it does not serve)"
    return behind_a_proxy(error)


class Growth:
    """Notices a server that cuts conversations: one role's requests grow, and its count of prompt tokens does not."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
        """By role and by what its requests begin with: the characters and the prompt tokens of each call."""

    def note(self, role: str, request: dict[str, Any], prompt_tokens: int) -> None:
        """`prompt_tokens`: cached ones too; 0 if the server does not say."""
        texts = [json.dumps(part, ensure_ascii=False) for part in (request["messages"], request.get("tools"))]
        beginning = hash((json.dumps(request["messages"][:1]), texts[1]))
        if prompt_tokens:
            self._calls[role, beginning].append((sum(map(len, texts)), prompt_tokens))

    @property
    def notes(self) -> list[str]:
        """One for each role whose conversation was cut."""
        found = {role: line for (role, _), calls in self._calls.items() if (line := _cut(role, sorted(calls)))}
        return list(found.values())


def _cut(role: str, calls: list[tuple[int, int]]) -> str:
    """`calls`: from the shortest on. Empty if none was cut: even blanks have a token for each 20 characters."""
    for start in range(len(calls) - _FEWEST_CALLS + 1):
        chars = calls[-1][0] - calls[start][0]
        tokens = [count for _, count in calls[start:]]
        most = max(tokens)
        if chars < _FEWEST_CHARS:
            break
        if most - tokens[0] < chars / _CHARS_OF_A_TOKEN and min(tokens) > _STILL * max(count for _, count in calls):
            what = f"the {role}'s requests grew by {chars} characters, and their prompt tokens did not"
            return (
                f"{CUT} at about {most} tokens: {what}: set a longer context (Ollama: OLLAMA_CONTEXT_LENGTH, num_ctx)"
            )
    return ""
