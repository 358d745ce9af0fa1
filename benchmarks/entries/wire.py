"""Messages between this program and an entry in its box: words as JSON, tensors as safetensors, nothing that runs.

The box has this file too, so it imports nothing of the project.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import IO, Any

from safetensors.torch import load, save
from torch import Tensor

_SIZES = struct.Struct(">QQ")

MOST_WORDS, MOST_BYTES = 2**20, 2**30
"""No message has more bytes of words, or of tensors: what is read from a box is held in memory."""


class NoMessage(ValueError):
    """What came is no message."""


def send(stream: IO[bytes], words: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> None:
    """Write one message."""
    content = save({name: value.detach().cpu().contiguous() for name, value in (tensors or {}).items()})
    head = json.dumps(words).encode()
    stream.write(_SIZES.pack(len(head), len(content)) + head)
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read one message: its words, and its tensors by name.

    Raises:
        EOFError: if the other side is gone.
        NoMessage: if what came is none.

    Example:
        >>> import io
        >>> import torch
        >>> pipe = io.BytesIO()
        >>> send(pipe, {"op": "solve"}, {"y": torch.ones(1)})
        >>> receive(io.BytesIO(pipe.getvalue()))
        ({'op': 'solve'}, {'y': tensor([1.])})
    """
    head, content = _SIZES.unpack(_exactly(stream, _SIZES.size))
    if head > MOST_WORDS or content > MOST_BYTES:
        raise NoMessage("a message is larger than any can be")
    try:
        words = json.loads(_exactly(stream, head))
        tensors = load(_exactly(stream, content))
    except EOFError:
        raise
    except Exception as error:
        raise NoMessage(f"a message cannot be read: {type(error).__name__}") from None
    if not isinstance(words, dict):
        raise NoMessage("a message has no words")
    return words, tensors


def _exactly(stream: IO[bytes], count: int) -> bytes:
    parts: list[bytes] = []
    while count:
        part = stream.read(min(count, 2**20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
