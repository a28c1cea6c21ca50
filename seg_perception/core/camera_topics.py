"""Where the topics of a camera are."""

from __future__ import annotations


def below(prefix: str, topic: str) -> str:
    """A topic below a prefix, which may be empty; an absolute one as it is."""
    return topic if not prefix or topic.startswith("/") else f"{prefix.rstrip('/')}/{topic}"


def beside(image: str, name: str) -> str:
    """What is called `name` in the place where an image's topic is, raw or compressed: image_transport's convention."""
    place, slash, _ = image.removesuffix("/compressed").rpartition("/")
    return f"{place}{slash}{name}"


def compressed(image: str) -> str:
    """Where the compressed images of a topic are: below it, or it itself, as not every driver names them that way."""
    return image if image.endswith("compressed") else f"{image}/compressed"


def is_rectified(image: str) -> bool:
    """Whether a topic has the name that image_proc and the drivers give to rectified images: image_rect, …_color."""
    return image.removesuffix("/compressed").rpartition("/")[2].startswith("image_rect")
