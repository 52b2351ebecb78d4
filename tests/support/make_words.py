"""Makes words.txt: the words that an edit may use freely, and which function words follow each other.

    python tests/support/make_words.py FOLDER     of SCOWL's word lists, as Debian's package `scowl` installs them

Words: SCOWL's two smallest sizes, less what `vocabulary` makes of others by their endings; the names of Python and of
some modules of its library. Pairs of function words: those that stand twice in Python's own manual, in our pages and
in tau2's policies and tasks.
"""

import builtins
import importlib
import json
import keyword
import pydoc_data.topics
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from autoharness.benchmarks.leaks import vocabulary  # noqa: E402
from autoharness.benchmarks.tau2.adapter import Tau2  # noqa: E402

SIZES = (10, 20)
KINDS = ("english-words", "american-words", "british-words")
MODULES = (
    *("abc", "asyncio", "collections", "contextlib", "copy", "dataclasses", "datetime", "decimal", "difflib", "enum"),
    *(
        "functools",
        "hashlib",
        "itertools",
        "json",
        "logging",
        "math",
        "operator",
        "random",
        "re",
        "statistics",
        "string",
    ),
    *("textwrap", "threading", "time", "typing", "unicodedata", "uuid"),
)
TYPES = (bytes, dict, float, int, list, set, str, tuple)
FUNCTION_WORDS = """
    a about above across after again against all almost along already also although always am among an and
    another any anybody anyone anything are around as at away back be because been before behind being below
    between both but by can cannot could did do does doing done down during each either else enough even ever
    every everyone everything few for from further get give go had has have having he her here hers herself him
    himself his how however i if in instead into is it its itself just less let like make many may me might mine
    more most much must my myself near need neither never next no nobody none nor not nothing now of off often
    on once one only onto or other others our ours ourselves out over own per perhaps please same shall she
    should since so some somebody someone something soon still such than that the their theirs them themselves
    then there therefore these they thing this those though through thus till to together too toward under
    unless until up upon us use very via was we well were what whatever when whenever where whether which while
    who whoever whole whom whose why will with within without would yet you your yours yourself
"""
PARTS = "s t re ve ll d m don doesn isn aren didn won couldn wouldn shouldn hasn haven wasn weren"
"""Ends of words with an apostrophe, each of which may be followed by anything."""
ELSEWHERE = (
    """
    aber alle als am an auch auf aus bei bin bis bitte da das dass dein dem den der des die diese diesem diesen
    dieser dies dir doch du durch ein eine einem einen einer eines er es euch für haben hat hatte habe ich ihm
    ihn ihnen ihr ihre ihrem ihren ihrer im in ins ist ja kann kein keine keinen können mehr mein meine mich mir
    mit müssen nach nicht noch nun nur ob oder ohne sehr sein seine sich sie sind so sondern über um und uns
    unser unsere vom von vor war was weil wenn werden wie wir wird wurde zu zum zur
    """,
    """
    au aux avec avez ce ces cette dans de des du elle elles en est et être il ils je la le les leur leurs lui ma
    mais mes mon ne nos notre nous on ou où par pas plus pour que qui sa sans se ses si son sont sur tu un une
    votre vos vous à
    """,
    """
    al como con de del el ella ellos en era es esta está este esto hay la las lo los más me mi muy no nos o para
    pero por porque que se ser si sin sobre son su sus también un una usted ustedes y ya
    """,
    """
    agli alla alle anche che ci come con da dal dei del della delle di e era gli ha ho i il io la le lei li lo
    loro ma mi nel nella non o per più quando questa questo si sono su sua suo tra un una uno vi voi è
    """,
    """
    ao aos as com da das do dos e em essa esse está eu foi mais mas na nas no nos não o os ou para pela pelo por
    que se sem ser seu sua são também um uma você à é
    """,
    """
    aan als bij dat de deze die dit door een en er geen haar hebben heeft het hij hun ik in is je kan maar meer
    met mijn naar niet nog of om onze ook op over te tot u uit van voor was wat we wel werd wij worden ze zich
    zijn
    """,
)
"""Function words of German, French, Spanish, Italian, Portuguese and Dutch."""
OF_PROGRAMS = """
    agent airline anthropic api args assistant async auth autoharness backticks bool boolean cached cancellation
    cert cfg char charset checklist claude cls cmd com config configs const conv ctx customizable dataclass
    datetime dedupe deduplicate default delim deserialize desc dest dev dict diff dir dst email enqueue enum env
    eval exc exec executor fallback fetch filename fmt func gemini google gpt greeting hallucinate hardcoded hexdigest
    hint html http https id idx img impl init inline int iso iterate iteration json jsonl kwargs lang langchain
    langgraph len lib litellm llm localhost lookup markdown markup max metadata min misc mixin mod msg msgs
    mutex namespace no normalize num obj openai param params parse parser payload pid placeholder pos pre prev
    prompt proto ptr pydantic py query ref regex reminder repo req resp retail retry reward role runtime schema
    schemas seq serialize setup sha sig spec src ss stderr stdin stdout str struct subclass substring summarize sync
    syntax sys tau telecom temp tier timestamp tmp todo token tool traceback ts tuple txt typo upcoming uri url
    usd user username utf util utils utc uuid val validate validation var vec verify whitespace workflow xml yaml
    yyyy mm dd hh ok etc vs eg ie
"""
LICENCE = """\
# The plain words of English and of Python, for vocabulary.py. Made by tests/support/make_words.py.
#
# The English words are from SCOWL, http://wordlist.aspell.net/, under this notice:
#
#   Copyright 2000-2020 by Kevin Atkinson
#
#   Permission to use, copy, modify, distribute and sell these word lists, the associated scripts, the output created
#   from the scripts, and its documentation for any purpose is hereby granted without fee, provided that the above
#   copyright notice appears in all copies and that both that copyright notice and this permission notice appear in
#   supporting documentation. Kevin Atkinson makes no representations about the suitability of this array for any
#   purpose. It is provided "as is" without express or implied warranty.
#
# "of: the this" are the function words that commonly follow one; "-: der die" those of another language; "+: s t"
# parts of words that go with any.
"""


def main() -> None:
    english = set(FUNCTION_WORDS.split())
    words = _scowl(Path(sys.argv[1])) | _python() | set(OF_PROGRAMS.split())
    words = {word for word in words if not any(base in words for base in vocabulary.bases(word))}
    followers = _followers(english)
    pairs = [f"{word}: {' '.join(sorted(followers[word]))}" for word in sorted(english)]
    languages = [f"-: {' '.join(language.split())}" for language in ELSEWHERE]
    lines = [*pairs, *languages, f"+: {PARTS}", *sorted(words - english)]
    (ROOT / "autoharness" / "benchmarks" / "leaks" / "words.txt").write_text(
        LICENCE + "\n".join(lines) + "\n", encoding="utf-8"
    )


def _scowl(folder: Path) -> set[str]:
    files = [folder / f"{kind}.{size}" for kind in KINDS for size in SIZES]
    words = {word for file in files if file.exists() for word in file.read_text("latin-1").split()}
    return {word for word in words if re.fullmatch("[a-z]{2,}", word)}


def _python() -> set[str]:
    names = [*keyword.kwlist, *dir(builtins), *(name for kind in TYPES for name in dir(kind))]
    for module in map(importlib.import_module, MODULES):
        names += [name for name in dir(module) if not name.startswith("_")]
    return {word for name in names for word in vocabulary.words_in(name) if len(word) > 2}


def _followers(words: set[str]) -> dict[str, set[str]]:
    counted: Counter[tuple[str, str]] = Counter()
    for text in _prose():
        for sentence in re.split(r"[^\w\s']", text.lower()):
            spoken = re.findall("[a-z]+", sentence)
            counted.update(pair for pair in pairwise(spoken) if words.issuperset(pair))
    found: dict[str, set[str]] = defaultdict(set)
    for (first, second), count in counted.items():
        if count > 1:
            found[first].add(second)
    return found


def _prose() -> Iterator[str]:
    yield from pydoc_data.topics.topics.values()
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "program_templates").glob("*.md")]
    yield from (page.read_text(encoding="utf-8") for page in pages)
    for domain in ("retail", "airline", "telecom"):
        material = Tau2().material(domain)
        yield material["policy"]
        yield json.dumps(material["tools"])
        yield from dict.fromkeys(_texts(material["tasks"]))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
    elif isinstance(value, str) and " " in value:
        yield value


if __name__ == "__main__":
    main()
