"""Programs of torch.export (.pt2) as plain data: operators in JSON and raw tensors; nothing pickled.

`torch.export.load` alone unpickles what it finds, and calls what a node names; so nothing reaches it unchecked.
"""

from __future__ import annotations

import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from seg_perception.core.errors import BundleError

_SAMPLES = "data/sample_inputs/model.pt"
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_GRAPH = "models/model.json"
_MARKS = ("archive_format", "archive_version", "byteorder", ".data/version", ".data/serialization_id", _SAMPLES)
_TENSOR = re.compile(r"data/(weights/weight|constants/tensor)_\d+")
_OPERATOR = re.compile(r"torch\.ops\.aten\.\w+\.\w+|_operator\.getitem")
_EVALUATED = {"as_expr", "expr_str", "as_custom_obj", "as_operator", "as_graph"}


def save_program(network: nn.Module, example: Tensor) -> bytes:
    """A network of one input, like `example`, as the content of a .pt2 file that `load_program` takes."""
    program = torch.export.export(network.eval(), (example,))
    for node in list(program.graph.nodes):
        node.meta.pop("stack_trace", None)  # paths of this machine
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            program.graph.erase_node(node)  # it would insist on float32 where an engine computes in less
    saved, plain = io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that weights in channels-last order are not contiguous
        torch.export.save(program, saved)
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(plain, "w") as target:
        for name in source.namelist():
            target.writestr(name, b"" if name.endswith(_SAMPLES) else source.read(name))
    return plain.getvalue()


def load_program(content: bytes) -> nn.Module:
    """The network, on the CPU. Raises BundleError when it is damaged, of another version of torch, or not plain."""
    try:
        _require_plain(content)
        return torch.export.load(io.BytesIO(content)).module()
    except BundleError:
        raise
    except Exception as error:  # zipfile, json and torch raise what they like for a damaged file
        raise BundleError(
            f"not a program that torch {torch.__version__} can read ({' '.join(str(error).split())[:200]}); "
            "export it again"
        ) from error


def _require_plain(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    foreign = [name for name in files if name not in (*_MARKS, *_CONFIGS, _GRAPH) and not _TENSOR.fullmatch(name)]
    pickled = [name for name in _CONFIGS if any(_values(json.loads(files[name]), {"use_pickle"}))]
    if foreign or pickled or files.get(_SAMPLES):
        raise BundleError(f"the program holds pickled data ({', '.join([*foreign, *pickled]) or _SAMPLES}); not loaded")
    graph = json.loads(files[_GRAPH])
    called = [str(target) for target in _values(graph, {"target"}) if not _OPERATOR.fullmatch(str(target))]
    if called or any(True for _ in _values(graph, _EVALUATED)):
        raise BundleError(f"the program calls more than tensor operators ({', '.join(called[:3])}); not loaded")


def _values(document: Any, keys: set[str]) -> Iterator[Any]:
    """Values of some keys, at any depth."""
    if isinstance(document, dict):
        yield from (document[key] for key in keys & document.keys())
        document = list(document.values())
    if isinstance(document, list):
        for entry in document:
            yield from _values(entry, keys)
