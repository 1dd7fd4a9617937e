"""Makes loss.json: values and gradients of the losses, from their definitions.

    pip install numpy
    python tests/golden/loss.py

The losses are written in terms of TP, FP, FN and class sums as the papers define them, not in the closed form of
the project; gradients come from the complex step, which is exact to rounding (f'(x) = Im f(x + ih) / h).
"""

import json
import pathlib

import numpy as np

RNG = np.random.default_rng(1803)


def f_beta(p, g, beta, smooth):
    tp, fp, fn = (p * g).sum(), (p * (1 - g)).sum(), ((1 - p) * g).sum()
    w_fp, w_fn = 1 / (1 + beta**2), beta**2 / (1 + beta**2)
    return 1 - (tp + smooth) / (tp + w_fp * fp + w_fn * fn + smooth)


def focal(p, g, alpha, gamma, epsilon):
    # Binary labels: alpha_t and p_t picked by class.
    p_t = np.where(g == 1, p, 1 - p)
    alpha_t = np.where(g == 1, alpha, 1 - alpha)
    return (-alpha_t * (1 - p_t) ** gamma * np.log(p_t + epsilon)).mean()


def generalized_dice(p, g, smooth):
    # Two channels, batch=True, w_type="square" of MONAI's GeneralizedDiceLoss.
    pred, target = np.stack([1 - p, p]), np.stack([1 - g, g])
    ground = target.sum(1)
    with np.errstate(divide="ignore"):
        w = 1 / (ground * ground)
    w[np.isinf(w)] = 0
    w[ground == 0] = w.max()
    intersection = (pred * target).sum(1)
    return 1 - (2 * (w * intersection).sum() + smooth) / ((w * (ground + pred.sum(1))).sum() + smooth)


def cross_entropy(p, g, epsilon):
    p_t = np.where(g == 1, p, 1 - p)
    return -np.log(p_t + epsilon).mean()


def record(loss, p, g, **parameters):
    h = 1e-30
    gradient = []
    for i in range(len(p)):
        shifted = p.astype(complex)
        shifted[i] += 1j * h
        gradient.append(float(loss(shifted, g, **parameters).imag / h))
    return {"loss": loss.__name__, "parameters": parameters, "p": p.tolist(), "g": g.tolist(),
            "value": float(loss(p, g, **parameters)), "gradient": gradient}


def main():
    cases = []
    for n, share in [(12, 0.3), (12, 0.0), (7, 1.0)]:
        g = (np.arange(n) < round(share * n)).astype(float)
        p = np.round(RNG.random(n), 3)
        for beta in (1.0, 1.5, 3.0):
            cases.append(record(f_beta, p, g, beta=beta, smooth=1.0))
        cases.append(record(f_beta, p, g, beta=1.5, smooth=0.25))
        cases.append(record(focal, p, g, alpha=0.25, gamma=2.0, epsilon=1e-8))
        cases.append(record(focal, p, g, alpha=0.6, gamma=1.5, epsilon=1e-4))
        cases.append(record(generalized_dice, p, g, smooth=1e-5))
        cases.append(record(cross_entropy, p, g, epsilon=1e-8))
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
    print(path.name, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
