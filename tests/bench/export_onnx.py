"""Writes a model of ours as ONNX, for onnxruntime-web: `export_onnx.py MODEL_FOLDER OUT.onnx [--webgpu] [--matmul]`.

Normalisations are folded as inference folds them: into the convolution before where there is one, else into a
multiplication and an addition. The WebGPU backend of onnxruntime-web lacks some operators in 3-D; `--webgpu` writes
them as others that compute the same:

- max-pool: reshape and reduce-max;
- transposed convolution: a convolution to eight times the channels, one set per parity of the output voxel, whose
  results are interleaved by a transposition.

`--matmul` writes 1x1x1 convolutions as matrix products over the voxels.
"""

import argparse

import numpy as np
import onnx
from model import EPSILON, Model
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """Nodes and constants as they are added."""

    def __init__(self, model, webgpu, matmul):
        self.model, self.webgpu, self.matmul = model, webgpu, matmul
        self.nodes, self.constants, self.count = [], [], 0

    def constant(self, values, kind=np.float32):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype=kind), name))
        return name

    def add(self, operator, inputs, **attributes):
        self.count += 1
        name = f"t{self.count}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=f"{operator}{self.count}", **attributes))
        return name

    def reshape(self, x, shape):
        return self.add("Reshape", [x, self.constant(shape, np.int64)])

    def relu(self, x):
        return self.add("Relu", [x])

    def conv(self, x, weight, bias=None, stride=1, pads=None):
        kernel = list(weight.shape[2:])
        inputs = [x, self.constant(weight)] + ([] if bias is None else [self.constant(bias)])
        pads = pads or [k // 2 if stride == 1 else 0 for k in kernel] * 2
        return self.add("Conv", inputs, kernel_shape=kernel, strides=[stride] * 3, pads=pads)

    def pointwise(self, x, weight, bias, side):
        out, into = weight.shape
        if not self.matmul:
            return self.conv(x, weight.reshape(out, into, 1, 1, 1), bias)
        y = self.add("MatMul", [self.constant(weight), self.reshape(x, [into, side**3])])
        if bias is not None:
            y = self.add("Add", [y, self.constant(bias.reshape(out, 1))])
        return self.reshape(y, [1, out, side, side, side])

    def instance_relu(self, x, norm):
        affine = [self.constant(self.model[f"{norm}.{part}"]) for part in ("gamma", "beta")]
        return self.relu(self.add("InstanceNormalization", [x, *affine], epsilon=EPSILON))

    def norm_relu(self, x, norm):
        if self.model.by_instance:
            return self.instance_relu(x, norm)
        scale, shift = (v.reshape(1, -1, 1, 1, 1) for v in self.model.folded(norm))
        x = self.add("Mul", [x, self.constant(scale)])
        return self.relu(self.add("Add", [x, self.constant(shift)]))

    def pool(self, x, channels, side):
        if not self.webgpu:
            return self.add("MaxPool", [x], kernel_shape=[2] * 3, strides=[2] * 3)
        half = side // 2
        x = self.reshape(x, [channels, half, 2, half, 2, half, 2])
        x = self.add("ReduceMax", [x, self.constant([2, 4, 6], np.int64)], keepdims=0)
        return self.reshape(x, [1, channels, half, half, half])

    def interleave(self, x, out, side):
        """`[1, out * 8, side^3]`, the eight of a channel by the parity of z, y, x, to `[1, out, (2 side)^3]`."""
        x = self.reshape(x, [out, 2, 2, 2, side, side, side])
        x = self.add("Transpose", [x], perm=[0, 4, 1, 5, 2, 6, 3])
        return self.reshape(x, [1, out, 2 * side, 2 * side, 2 * side])

    def up(self, x, name, side):
        """Transposed convolution of stride 2 with bias and ReLU; of 2 n + 1 voxels the last is dropped."""
        weight, bias = self.model[f"{name}.weight"], self.model[f"{name}.bias"]
        into, out, kernel = weight.shape[:3]
        if not self.webgpu:
            pads = [0, 0, 0] + [kernel - 2] * 3
            inputs = [x, self.constant(weight), self.constant(bias)]
            shape = [kernel] * 3
            return self.relu(self.add("ConvTranspose", inputs, kernel_shape=shape, strides=[2] * 3, pads=pads))
        eight = np.repeat(bias, 8)
        if kernel == 2:
            matrix = weight.reshape(into, out * 8).T
            return self.relu(self.interleave(self.pointwise(x, matrix, eight, side), out, side))
        # Along one axis y[2 i] = w[2] x[i - 1] + w[0] x[i] and y[2 i + 1] = w[1] x[i].
        taps = np.zeros((2, 2, 3), np.float32)
        taps[0, 0, 2] = taps[0, 1, 0] = taps[1, 1, 1] = 1.0
        eightfold = np.einsum("pau,qbv,rcw,iouvw->opqriabc", taps, taps, taps, weight)
        x = self.conv(x, eightfold.reshape(out * 8, into, 2, 2, 2), eight, pads=[1, 1, 1, 0, 0, 0])
        return self.relu(self.interleave(x, out, side))

    def block(self, x, name, side):
        every, new = x, []
        for layer in self.model.blocks(name):
            y = self.norm_relu(every, f"{layer}.norm1")
            if self.model.config["bottleneck"] and self.model.by_instance:
                y = self.pointwise(y, self.model[f"{layer}.conv1.weight"], None, side)
                y = self.instance_relu(y, f"{layer}.norm3")
            elif self.model.config["bottleneck"]:
                scale, shift = self.model.folded(f"{layer}.norm3")
                weight = self.model[f"{layer}.conv1.weight"] * scale[:, None]
                y = self.relu(self.pointwise(y, weight, shift, side))
            maps = self.conv(y, self.model[f"{layer}.conv3.weight"])
            every = self.add("Concat", [every, maps], axis=1)
            new.append(maps)
        return every, self.add("Concat", new, axis=1)

    def network(self, x):
        model, config, side = self.model, self.model.config, self.model.side
        if config["compact"]:
            x = self.relu(self.conv(x, model["stem.down.weight"], model["stem.down.bias"], stride=2))
            side //= 2
        for i in range(3):
            if model.by_instance:
                x = self.instance_relu(self.conv(x, model[f"stem.convs.{i}.weight"]), f"stem.norms.{i}")
                continue
            scale, shift = model.folded(f"stem.norms.{i}")
            weight = model[f"stem.convs.{i}.weight"] * scale[:, None, None, None, None]
            x = self.relu(self.conv(x, weight, shift))
        skips = []
        for i in range(config["blocks"]):
            every, _ = self.block(x, f"down.{i}", side)
            skips.append(every)
            y = self.norm_relu(every, f"transition_down.{i}.norm")
            weight = model[f"transition_down.{i}.conv.weight"]
            x = self.pool(self.pointwise(y, weight, None, side), len(weight), side)
            side //= 2
        every, new = self.block(x, "centre", side)
        for i in range(config["blocks"]):
            raised = self.up(new, f"transition_up.{i}", side)
            side *= 2
            every, new = self.block(self.add("Concat", [raised, skips.pop()], axis=1), f"up.{i}", side)
        if config["compact"]:
            every = self.up(every, "head.up", side)
            side *= 2
        return self.add("Sigmoid", [self.pointwise(every, model["head.conv.weight"], None, side)])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--webgpu", action="store_true")
    parser.add_argument("--matmul", action="store_true")
    args = parser.parse_args()
    model = Model(args.model)
    graph = Graph(model, args.webgpu, args.matmul)
    result = graph.network("x")
    side, channels = model.side, model.config["in_channels"]
    graph.nodes.append(helper.make_node("Identity", [result], ["p"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, side, side, side])
    p = helper.make_tensor_value_info("p", TensorProto.FLOAT, [1, 1, side, side, side])
    whole = helper.make_graph(graph.nodes, "equipoise", [x], [p], graph.constants)
    proto = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, args.out)


if __name__ == "__main__":
    main()
