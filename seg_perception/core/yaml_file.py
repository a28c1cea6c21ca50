"""YAML that people write: nothing in it is dropped without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def load_yaml(path: Path) -> Any:
    """The document in a file. Raises OSError, or ValueError with one line that says why it cannot be read."""
    text = path.read_text(encoding="utf-8")
    try:
        return yaml.load(text, _UniqueKeys)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


class _UniqueKeys(yaml.SafeLoader):
    """YAML forbids a key twice, but PyYAML would keep the last of them and forget the others."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)  # before `<<` adds keys that may be there again
        seen = set()
        for key, _ in node.value:
            if (key.tag, str(key.value)) in seen:
                line = key.start_mark.line + 1
                raise ValueError(f"line {line}: {key.value} is listed twice; make it one entry")
            seen.add((key.tag, str(key.value)))
        return node
