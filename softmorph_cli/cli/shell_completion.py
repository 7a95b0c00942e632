"""What the shell completes: the steps of chains, and words that bash has split."""

from __future__ import annotations

import os
from typing import Final

# The words that bash hands over, and the number of the word that is completed.
_WORDS, _NUMBER = "COMP_WORDS", "COMP_CWORD"
# At these bash splits words; what it completes is the part behind the last one.
_BREAKS: Final = (":", "=")
# The parts before that one.
_before: list[str] = []


def join_words() -> None:
    """Join what bash has split at : and = in the words to be completed, such as close:iterations=2.

    An option and its value, as in --method=nested, become two words. The other shells split at spaces only.
    """
    _before.clear()
    words, number = os.environ.get(_WORDS), os.environ.get(_NUMBER, "")
    # Of several words each is a line, and an empty word an empty line.
    if words is None or "\n" not in words or not number.isdecimal():
        return
    split = words.split("\n")[: int(number) + 1]
    *done, last = [*split, ""] if len(split) <= int(number) else split
    joined: list[str] = []
    glued = False
    for word in done:
        is_break = word in _BREAKS
        if is_break and joined and joined[-1].startswith("--"):
            continue
        if joined and (is_break or glued):
            joined[-1] += word
        else:
            joined.append(word)
        glued = is_break
    if last in _BREAKS:
        # The part behind it is completed, which is empty yet.
        if not (joined and joined[-1].startswith("--")):
            _before[:] = [(joined.pop() if joined else "") + last]
        last = ""
    elif glued and joined and not joined[-1].startswith("--"):
        _before[:] = [joined.pop()]
    os.environ[_WORDS] = "\n".join([*joined, last])
    os.environ[_NUMBER] = str(len(joined))


def step(begun: str) -> list[str]:
    """Return how a step of a chain, such as clo or close:iter, may go on.

    >>> step("thres"), step("threshold:la"), step("close:method=nes")
    (['threshold'], ['threshold:largest=', 'threshold:labels'], ['close:method=nested'])
    """
    before = "".join(_before)
    return [one.removeprefix(before) for one in _steps(before + begun) if one.startswith(before)]


def _steps(begun: str) -> list[str]:
    from softmorph_cli.pipeline.chain import option
    from softmorph_cli.pipeline.steps.registry import STEPS

    name, colon, rest = begun.partition(":")
    if not colon:
        return [operation for operation in STEPS if operation.startswith(begun)]
    keys = {option(one): one for one in STEPS[name].keys().values()} if name in STEPS else {}
    given, comma, last = rest.rpartition(",")
    ahead = f"{name}:{given}{comma}"
    key, equals, value = last.partition("=")
    if equals:
        known = keys.get(key.replace("-", "_"))
        return [] if known is None else [f"{ahead}{key}={one}" for one in known.about.completed(value)]
    typed = {word.replace("_", "-"): one for word, one in keys.items()}
    return [
        f"{ahead}{word}{'' if one.kind is bool else '='}"
        for word, one in typed.items()
        if word.startswith(key)
    ]
