"""PyTorch as a contestant of `./dev bench`: `torch_partner.py MODEL_FOLDER forward|step THREADS`.

The same graph, weights, patch, loss and optimiser as `lab bench partner`, and the same lines on standard input and
output (`src/bin/lab/bench/partner.rs`).
"""

import json
import sys
import time

import torch
from model import EPSILON, Model, labels, patch
from torch.nn import functional as F

BETA = 1.5
SMOOTH = 1.0


class Net(torch.nn.Module):
    """The graph of `src/net/graph.rs`."""

    def __init__(self, model):
        super().__init__()
        self.config = model.config
        self.tensors, self.statistics = {}, {}
        for name, values in model.weights.items():
            tensor = torch.from_numpy(values.copy())
            if name.endswith((".mean", ".variance")):
                self.statistics[name] = tensor
                continue
            if name.endswith((".conv1.weight", ".conv.weight")):
                tensor = tensor.reshape(*tensor.shape, 1, 1, 1)
            self.tensors[name] = torch.nn.Parameter(tensor)
            self.register_parameter(name.replace(".", "_"), self.tensors[name])

    def norm_relu(self, x, name):
        gamma, beta = self.tensors[f"{name}.gamma"], self.tensors[f"{name}.beta"]
        if self.config["norm"] == "instance":
            return F.relu(F.instance_norm(x, weight=gamma, bias=beta, eps=EPSILON), inplace=True)
        mean, variance = self.statistics[f"{name}.mean"], self.statistics[f"{name}.variance"]
        return F.relu(F.batch_norm(x, mean, variance, gamma, beta, self.training, 0.1, EPSILON), inplace=True)

    def conv(self, x, name, **options):
        return F.conv3d(x, self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"), **options)

    def up(self, x, name):
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        double = [2 * side for side in x.shape[2:]]
        # Of 2 n + 1 voxels a side the last is dropped.
        y = F.conv_transpose3d(x, weight, bias, stride=2)[:, :, : double[0], : double[1], : double[2]]
        return F.relu(y)

    def block(self, x, name):
        new = []
        for i in range(self.config["layers"]):
            layer = f"{name}.layers.{i}"
            y = self.norm_relu(x, f"{layer}.norm1")
            if self.config["bottleneck"]:
                y = self.norm_relu(self.conv(y, f"{layer}.conv1"), f"{layer}.norm3")
            maps = self.conv(y, f"{layer}.conv3", padding=1)
            x = torch.cat([x, maps], 1)
            new.append(maps)
        return x, torch.cat(new, 1)

    def forward(self, x):
        if self.config["compact"]:
            x = F.relu(self.conv(x, "stem.down", stride=2), inplace=True)
        for i in range(3):
            x = self.norm_relu(self.conv(x, f"stem.convs.{i}", padding=1), f"stem.norms.{i}")
        skips = []
        for i in range(self.config["blocks"]):
            every, _ = self.block(x, f"down.{i}")
            skips.append(every)
            y = self.conv(self.norm_relu(every, f"transition_down.{i}.norm"), f"transition_down.{i}.conv")
            x = F.max_pool3d(y, 2)
        every, new = self.block(x, "centre")
        for i in range(self.config["blocks"]):
            raised = self.up(new, f"transition_up.{i}")
            every, new = self.block(torch.cat([raised, skips.pop()], 1), f"up.{i}")
        if self.config["compact"]:
            every = self.up(every, "head.up")
        return self.conv(every, "head.conv")


def f_beta(p, g):
    """`1 - (TP + s) / (a sum p + (1 - a) sum g + s)`, `a = 1 / (1 + beta^2)`, as `src/loss/tensor.rs`."""
    a = 1 / (1 + BETA**2)
    return 1 - ((p * g).sum() + SMOOTH) / (a * p.sum() + (1 - a) * g.sum() + SMOOTH)


def peak_resident():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def say(answer):
    print(json.dumps(answer), flush=True)


def main():
    folder, work, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(threads)
    model = Model(folder)
    net = Net(model).train(work == "step")
    x = torch.from_numpy(patch(model.config["in_channels"], model.side))
    g = torch.from_numpy(labels(model.side))
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)

    def forward():
        with torch.inference_mode():
            return torch.sigmoid(net(x))

    def step():
        loss = f_beta(torch.sigmoid(net(x)), g)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss

    version = f"PyTorch {torch.__version__}"
    say({"ready": {"device": "CPU", "threads": torch.get_num_threads(), "version": version}})
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word == "run":
            begin = time.perf_counter()
            value = step() if work == "step" else forward().mean()
            value = value.item()
            say({"seconds": time.perf_counter() - begin, "value": value})
        elif word == "write":
            p = forward().contiguous().numpy()
            p.astype("<f4").tofile(rest)
            say({"written": p.size})
        elif word == "memory":
            say({"peak": peak_resident()})
        else:
            sys.exit(f"`{word}` is none of run, write FILE, memory")


if __name__ == "__main__":
    main()
