"""What a vision-language model is asked, and how much it may answer: three lengths (paper 4.3)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """The question, and the most tokens of an answer."""

    text: str
    most_tokens: int


PROMPTS = {
    "short": Prompt("Describe this image in one plain sentence of at most fifteen words.", 32),
    "medium": Prompt(
        "Describe this image in one or two plain sentences: what is there, where in the picture it is, and its colours.",
        80,
    ),
    "long": Prompt(
        "Describe this image in detail in plain sentences: every object, where in the picture it is, its colour, its "
        "material, the light, the weather and the ground.",
        256,
    ),
}


def prompt_of(length: str) -> Prompt:
    """The prompt of that length; raises ValueError for one that is not known."""
    if length not in PROMPTS:
        raise ValueError(f"caption length {length!r}: {', '.join(PROMPTS)} are known")
    return PROMPTS[length]


def tidy(answer: str) -> str:
    """One line, without what models like to put around an answer."""
    return " ".join(answer.split()).strip("\"' ").removeprefix("The image shows ").removeprefix("This image shows ")
