"""Makes metrics.json: scores of small random volumes by independent means.

    pip install numpy scipy scikit-learn scikit-image lesion-metrics
    python tests/golden/metrics.py

Oracles: scipy.ndimage.label (components), scikit-learn (voxel-wise scores, average precision, reliability),
lesion-metrics (ISBI lesion scores), scipy.ndimage.binary_opening (the naive baseline), and a dense-table transcription of the MSSEG rule, written from its
description in Commowick et al. 2018.

Volumes are arrays of shape (z, y, x) in C order, so x is fastest.
"""

import functools
import json
import math
import pathlib
import platform

import lesion_metrics.metrics as lm
import numpy as np
import scipy
import scipy.ndimage as ndi
import skimage.measure
import sklearn
from sklearn import metrics as skm
from sklearn.calibration import calibration_curve

# lesion-metrics labels with scikit-image's default, 26 neighbours; ISBI 2015 counts with 18.
skimage.measure.label = functools.partial(skimage.measure.label, connectivity=2)
assert lm.skimage.measure.label is skimage.measure.label

RNG = np.random.default_rng(20180311)
STEPS = {6: 1, 18: 2, 26: 3}


def text(mask):
    return "".join("1" if voxel else "0" for voxel in mask.ravel())


def number(value):
    value = float(value)
    return None if math.isnan(value) else value


def label(mask, connectivity):
    return ndi.label(mask, ndi.generate_binary_structure(3, STEPS[connectivity]))


def components():
    cases = []
    for shape, density in [((5, 7, 6), 0.12), ((6, 5, 9), 0.3), ((4, 8, 7), 0.5), ((7, 6, 5), 0.8), ((1, 9, 8), 0.4)]:
        mask = RNG.random(shape) < density
        labels = {}
        for connectivity in STEPS:
            found, count = label(mask, connectivity)
            labels[connectivity] = {"labels": found.ravel().tolist(), "sizes": np.bincount(found.ravel())[1:].tolist()}
            assert len(labels[connectivity]["sizes"]) == count
        cases.append({"shape": shape[::-1], "mask": text(mask), "labels": labels})
    return cases


def lesion_like(shape, sigma, share):
    field = ndi.gaussian_filter(RNG.standard_normal(shape), sigma)
    return field > np.quantile(field, 1 - share)


def probability_map(mask, sigma, noise, bins):
    soft = ndi.gaussian_filter(mask.astype(float), sigma) + noise * RNG.standard_normal(mask.shape)
    soft = np.round(np.clip(1.3 * soft - 0.15, 0, 1), 2)
    # scikit-learn's bins are closed above, ours below: keep off the edges between them.
    on_edge = np.isclose(soft * bins, np.round(soft * bins)) & (soft > 0) & (soft < 1)
    return np.where(on_edge, soft + 0.003, soft).astype(np.float32)


def voxelwise():
    cases = []
    bins = 10
    for shape, share, noise, threshold in [
        ((8, 9, 11), 0.1, 0.08, 0.35),
        ((6, 10, 9), 0.02, 0.15, 0.5),
        ((5, 6, 7), 0.4, 0.3, 0.7),
        ((5, 6, 7), 0.1, 0.05, 0.99),
    ]:
        reference = lesion_like(shape, 1.0, share)
        probability = probability_map(reference, 0.8, noise, bins)
        automatic = probability >= np.float32(threshold)
        r, p, a = reference.ravel(), probability.ravel().astype(float), automatic.ravel()
        precision, recall, thresholds = skm.precision_recall_curve(r, p)
        best = {}
        for beta in (1.0, 1.5, 2.0):
            with np.errstate(invalid="ignore"):
                f = (1 + beta**2) * precision * recall / (beta**2 * precision + recall)
            best[beta] = float(np.nanmax(f[:-1]))
        true, predicted = calibration_curve(r, p, n_bins=bins, strategy="uniform")
        counts = np.histogram(p, bins=np.linspace(0, 1, bins + 1))[0]
        counts = counts[counts > 0]
        gap = np.abs(true - predicted)
        cases.append({
            "shape": shape[::-1],
            "reference": text(reference),
            "probability": [float(f"{value:.3f}") for value in p],
            "threshold": threshold,
            "scores": {
                "DSC": number(lm.dice(automatic, reference)),
                "PPV": number(skm.precision_score(r, a, zero_division=np.nan)),
                "TPR": number(skm.recall_score(r, a, zero_division=np.nan)),
                "specificity": number(skm.recall_score(~r, ~a, zero_division=np.nan)),
                "F1": number(skm.f1_score(r, a)),
                "F2": number(skm.fbeta_score(r, a, beta=2)),
                "APR": number(skm.average_precision_score(r, p)),
                "VD": number(lm.avd(automatic, reference)),
                "LTPR": number(lm.ltpr(automatic, reference)),
                "LFPR": number(lm.lfdr(automatic, reference)),
            },
            "best_f_beta": [[beta, value] for beta, value in best.items()],
            "curve": [[float(np.float32(t)), float(q), float(s)]
                      for t, q, s in zip(thresholds[::-1], precision[:-1][::-1], recall[:-1][::-1])],
            "reliability": {"frequency": true.tolist(), "mean_probability": predicted.tolist(),
                            "expected_error": float((gap * counts).sum() / counts.sum()),
                            "average_error": float(gap.mean())},
        })
    return cases


def msseg_detected(table, alpha, beta, gamma):
    """Rows are the lesions to be detected, columns the others; row and column 0 are background."""
    detected = 0
    column_sizes = table.sum(axis=0)
    for row in table[1:]:
        overlap = row[1:]
        if overlap.sum() <= alpha * row.sum():
            continue
        seen, good = 0, True
        for j in sorted(np.flatnonzero(overlap), key=lambda j: -overlap[j]):
            if seen >= gamma * overlap.sum():
                break
            if table[0, j + 1] > beta * column_sizes[j + 1]:
                good = False
                break
            seen += overlap[j]
        detected += good
    return detected


def msseg(reference, automatic, voxel_volume, connectivity, minimum, alpha, beta, gamma):
    def lesions(mask):
        found, count = label(mask, connectivity)
        kept = np.zeros_like(found)
        next_label = 0
        for i in range(1, count + 1):
            if (found == i).sum() * voxel_volume > minimum:
                next_label += 1
                kept[found == i] = next_label
        return kept, next_label

    r, n_r = lesions(reference)
    a, n_a = lesions(automatic)
    table = np.zeros((n_r + 1, n_a + 1), dtype=int)
    np.add.at(table, (r.ravel(), a.ravel()), 1)
    detected = msseg_detected(table, alpha, beta, gamma)
    confirmed = msseg_detected(table.T, alpha, beta, gamma)
    if n_r == 0:
        sensitivity = ppv = f1 = None
    else:
        sensitivity = detected / n_r
        ppv = confirmed / n_a if n_a else 0.0
        f1 = 2 * sensitivity * ppv / (sensitivity + ppv) if sensitivity + ppv else 0.0
    return {"reference": n_r, "automatic": n_a, "detected": detected, "confirmed": confirmed,
            "SensL": sensitivity, "PPVL": ppv, "F1": f1}


def lesionwise():
    cases = []
    for index in range(24):
        shape = (7, 8, 9)
        reference = lesion_like(shape, 0.9, RNG.uniform(0.05, 0.3))
        shift = tuple(RNG.integers(-1, 2, 3))
        other = lesion_like(shape, 0.7, RNG.uniform(0.0, 0.15))
        automatic = np.roll(reference, shift, (0, 1, 2)) & (RNG.random(shape) < 0.9) ^ other
        voxel_volume = [1.0, 0.5, 1.25][index % 3]
        settings = {"connectivity": [6, 18, 26][index // 3 % 3], "minimum": 3.0,
                    "alpha": 0.1, "beta": 0.7, "gamma": 0.65}
        if index % 4 == 3:
            settings |= {"alpha": 0.3, "beta": 0.4, "gamma": 0.8}
        cases.append({
            "shape": shape[::-1],
            "reference": text(reference),
            "automatic": text(automatic),
            "voxel_volume": voxel_volume,
            "LTPR": number(lm.ltpr(automatic, reference)),
            "LFPR": number(lm.lfdr(automatic, reference)),
            "settings": settings,
            "msseg": msseg(reference, automatic, voxel_volume, **settings),
        })
    return cases


def naive():
    cases = []
    for shape in [(9, 8, 10), (7, 11, 6)]:
        field = ndi.gaussian_filter(RNG.standard_normal(shape), 1.2)
        flair = np.round(100 + 60 * field / field.std()).astype(np.float32)
        foreground = RNG.random(shape) < 0.97
        reference = lesion_like(shape, 0.6, 0.05) | (flair > 180)
        mean, sd = (float(f(flair[foreground].astype(float))) for f in (np.mean, np.std))
        sweep = []
        for k in np.arange(0, 2.01, 0.25):
            bright = (flair >= mean + k * sd) & foreground
            opened = ndi.binary_opening(bright, ndi.generate_binary_structure(3, 1))
            sweep.append([float(k), *(float(skm.f1_score(reference.ravel(), m.ravel())) for m in (bright, opened))])
        cases.append({"shape": shape[::-1], "flair": flair.ravel().astype(int).tolist(), "foreground": text(foreground),
                      "reference": text(reference), "mean": mean, "sd": sd, "sweep": sweep})
    return cases


def main():
    versions = {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__,
                "scikit-learn": sklearn.__version__, "scikit-image": skimage.__version__}
    golden = {"versions": versions, "components": components(), "voxelwise": voxelwise(), "lesionwise": lesionwise(),
              "naive": naive()}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(path.name, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
