"""The additions of an edit to an agent file, as lines, tokens, texts and syntax tree."""

import ast
import io
import tokenize
from dataclasses import dataclass
from functools import cached_property

from autoharness.benchmarks.leaks import literals
from autoharness.benchmarks.leaks.source_text import parsed
from autoharness.benchmarks.leaks.vocabulary import is_plain, words_in

_TEXT_TOKENS = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


@dataclass(frozen=True)
class Added:
    """What an edit adds."""

    before: str
    after: str
    given: frozenset[str]
    """Words that the agent is given anyway."""

    @cached_property
    def tree(self) -> ast.Module:
        """Empty if it is not Python."""
        try:
            return parsed(self.after)
        except (SyntaxError, ValueError):
            return ast.Module([], [])

    @cached_property
    def lines(self) -> dict[int, str]:
        """The added lines, by number."""
        return literals.added_lines(self.before, self.after)

    @cached_property
    def known(self) -> frozenset[str]:
        return self.given.union(words_in(self.before))

    @cached_property
    def tokens(self) -> list[tokenize.TokenInfo]:
        """Tokens, up to where it stops being Python."""
        found = []
        try:
            for token in tokenize.generate_tokens(io.StringIO(self.after).readline):
                found.append(token)
        except (tokenize.TokenError, SyntaxError):
            pass
        return found

    @cached_property
    def texts(self) -> dict[int, str]:
        """The text of literals and comments in each new line, as it is written."""
        found: dict[int, str] = {}
        for token in self.tokens:
            if token.type in _TEXT_TOKENS:
                for number, line in enumerate(literals.lines(token.string), token.start[0]):
                    if number in self.lines:
                        found[number] = f"{found.get(number, '')}\n{line}"
        return found

    @cached_property
    def is_english(self) -> bool:
        """Whether the policy and the tools are in English. If not, plain words cannot be told from others."""
        return 2 * sum(map(is_plain, self.given)) >= len(self.given)

    def is_odd(self, word: str) -> bool:
        return self.is_english and word not in self.known and not is_plain(word)
