"""A model of ours as numbers: `card.json` and `weights.safetensors`, read with nothing but numpy.

The graph is that of `src/net/graph.rs`; PyTorch (`torch_partner.py`) and ONNX (`export_onnx.py`) both follow it from
here, so that what is compared differs in the runtime alone.
"""

import json
import struct
from pathlib import Path

import numpy as np

# Added to variances, as in `src/net/layers.rs`.
EPSILON = 1.1e-5
TYPES = {"F16": np.float16, "F32": np.float32}


class Model:
    """Configuration and weights (float32) by the names that `DenseNet` stores them under."""

    def __init__(self, folder):
        folder = Path(folder)
        card = json.loads((folder / "card.json").read_text())
        self.config = card["config"]
        self.side = card["patch"]
        self.weights = safetensors((folder / card["weights"]["file"]).read_bytes())

    def __getitem__(self, name):
        return self.weights[name]

    @property
    def by_instance(self):
        """True if each patch is normalised by its own statistics."""
        return self.config["norm"] == "instance"

    def folded(self, norm):
        """Scale and shift of a normalisation at inference."""
        scale = self[f"{norm}.gamma"] / np.sqrt(self[f"{norm}.variance"] + np.float32(EPSILON))
        return scale, self[f"{norm}.beta"] - self[f"{norm}.mean"] * scale

    def blocks(self, name):
        """Names of the layers of a dense block."""
        return [f"{name}.layers.{i}" for i in range(self.config["layers"])]


def safetensors(file):
    (length,) = struct.unpack("<Q", file[:8])
    header = json.loads(file[8 : 8 + length])
    body = file[8 + length :]
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            values = np.frombuffer(body[start:end], dtype=TYPES[entry["dtype"]])
            tensors[name] = values.reshape(entry["shape"]).astype(np.float32)
    return tensors


def patch(channels, side):
    """The patch that every benchmark runs on, `[1, channel, z, y, x]`."""
    i = np.arange(channels * side**3, dtype=np.int64)
    values = (i * 7919 % 2003).astype(np.float32) / np.float32(500.0) - np.float32(2.0)
    return values.reshape(1, channels, side, side, side)


def labels(side):
    """The labels that every training step is timed with: one voxel in fifty is lesion."""
    i = np.arange(side**3, dtype=np.int64)
    return (i % 50 == 0).astype(np.float32).reshape(1, 1, side, side, side)
