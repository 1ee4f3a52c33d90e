"""The words of the text prompts and their numbers in a vocabulary.

A prompt is a sequence of words with a space before each. A word of the frame ("lives", "=") may be several tokens; a
name must be one, so that prompts of one setting have one length and a binding is one position. Names that a tokenizer
splits, or does not know, are left out of their pool, and others are drawn in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pydantic import BaseModel, ConfigDict, Field

from tasks.errors import UserError

UPPER = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
PEOPLE = (
    "Alice", "Bob", "Carol", "David", "Emma", "Frank", "Grace", "Henry", "Jack", "Kate", "Laura", "Mary",
    "Nick", "Oliver", "Paul", "Rose", "Sam", "Tom", "Victor", "William", "Anna", "Ben", "Charlie", "Diana",
    "Eric", "Fiona", "George", "Helen", "Ian", "James", "Karen", "Leo", "Martin", "Nancy", "Oscar", "Peter",
    "Rachel", "Sarah", "Tina", "Simon", "Adam", "Brian", "Claire", "Daniel", "Ellen", "Fred", "Greg",
    "Harry", "Jane", "Kevin", "Linda", "Mark", "Nora", "Patrick", "Robert", "Susan", "Tony", "Walter",
    "Amy", "Andrew",
)  # fmt: skip
POOLS: dict[str, tuple[str, ...]] = {
    "letter": UPPER + tuple("abcdeghijklmnopqrstuvwxyz"),
    "digit": tuple("0123456789"),
    "function": ("f", "sin", "cos", "log", "exp", "max", "min", "sum", "sort", "map", "next", "last", "first"),
    "argument": UPPER,
    "person": PEOPLE,
    "city": (
        "Paris", "London", "Berlin", "Rome", "Madrid", "Vienna", "Moscow", "Tokyo", "Boston", "Chicago", "Dublin",
        "Oslo", "Sydney", "Toronto",
    ),
    "country": (
        "France", "Spain", "Italy", "England", "Germany", "Poland", "Russia", "China", "Japan", "India", "Egypt",
        "Greece", "Norway", "Sweden",
    ),
    "class": ("wizard", "knight", "king", "doctor", "lawyer", "teacher", "soldier", "writer"),
    "relation": ("mother", "father", "brother", "sister", "uncle", "friend", "cousin", "boss"),
}  # fmt: skip
FRAME = (  # every word that a form's sentences are made of
    "So", "=", ".", "(", ")", "lives", "with", "in", "serves", "rules",
    "belongs", "to", "The", "of", "is", "a", "Every", "the", "someone", "who",
)  # fmt: skip
UNKNOWN = "<unk>"
Encode = Callable[[str], list[int]]


class Lexicon(BaseModel):
    """Token numbers of every word: `words` of the frame, `names` by pool, `prefix` what stands before each prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: int = Field(ge=1)
    prefix: tuple[int, ...] = ()
    words: dict[str, tuple[int, ...]]
    names: dict[str, dict[str, int]]

    def of_words(self) -> Lexicon:
        """The same pools numbered word by word: prompts of it are drawn alike, one token a word."""
        return word_level(self.names)

    def phrase(self) -> dict[int, str]:
        """The word that a token stands for; of a word in several tokens, the first (the others are "..")."""
        found: dict[int, str] = {}
        for word, ids in self.words.items():
            for i, token in enumerate(ids):
                found.setdefault(token, ".." if i else word)
        return found | {token: name for pool in self.names.values() for name, token in pool.items()}


def word_level(pools: dict[str, Iterable[str]] | dict[str, dict[str, int]] | None = None) -> Lexicon:
    """A vocabulary of whole words: 0 for the unknown, then the frame, then the names (all of ours by default)."""
    chosen = {pool: tuple(names) for pool, names in (POOLS if pools is None else pools).items()}
    every = dict.fromkeys([UNKNOWN, *FRAME, *(name for names in chosen.values() for name in names)])
    number = {word: i for i, word in enumerate(every)}
    return Lexicon(
        vocabulary=len(number),
        words={word: (number[word],) for word in FRAME},
        names={pool: {name: number[name] for name in names} for pool, names in chosen.items()},
    )


def vocabulary_of(lexicon: Lexicon) -> dict[str, int]:
    """Every word of a word-level lexicon with its number, for a tokenizer that is to be made of it."""
    names = {name: token for pool in lexicon.names.values() for name, token in pool.items()}
    return {UNKNOWN: 0, **{word: ids[0] for word, ids in lexicon.words.items()}, **names}


def lexicon_of(
    encode: Encode, vocabulary: int, prefix: tuple[int, ...] = (), unknown: int | None = None
) -> Lexicon:
    """The words' tokens in a tokenizer, which is given as `encode` (text to token numbers, nothing added).

    Raises UserError for a word of the frame that the tokenizer does not know.
    """
    words = {word: tuple(encode(f" {word}")) for word in FRAME}
    for word, ids in words.items():
        if not ids or unknown in ids:
            raise UserError(f"the model's tokenizer does not know the word {word!r}, which the prompts need")
    single = {pool: _single(names, encode, unknown) for pool, names in POOLS.items()}
    return Lexicon(vocabulary=vocabulary, prefix=prefix, words=words, names=single)


def _single(names: Iterable[str], encode: Encode, unknown: int | None) -> dict[str, int]:
    """Names that are one token of their own, in the order of a run's settings on disk: prompts depend on it."""
    found: dict[str, int] = {}
    for name in names:
        ids = encode(f" {name}")
        if len(ids) == 1 and ids[0] != unknown and ids[0] not in found.values():
            found[name] = ids[0]
    return dict(sorted(found.items()))
