"""Scores a probability map and mask against a reference: check_comparison.py PROBABILITY MASK REFERENCE FLAIR.

Independent of the project: numpy, scipy's labels, scikit-learn's rule for the area. Prints JSON."""

import hashlib
import json
import sys

import nibabel as nib
import numpy as np
from scipy import ndimage

probability, mask, reference = (np.asarray(nib.load(path).dataobj, dtype=np.float64) for path in sys.argv[1:4])
m, r = mask > 0, reference > 0
tp, fp, fn, tn = (int(np.sum(x)) for x in (m & r, m & ~r, ~m & r, ~m & ~r))


def area(truth, score):
    """Average precision, as scikit-learn defines it."""
    order = np.argsort(-score, kind="stable")
    truth, score = truth[order], score[order]
    last = np.append(np.nonzero(np.diff(score))[0], len(score) - 1)
    hits = np.cumsum(truth)[last]
    precision, recall = hits / (last + 1), hits / truth.sum()
    return float(np.sum(np.diff(np.concatenate([[0], recall])) * precision))


eighteen = ndimage.generate_binary_structure(3, 2)


def met(these, others):
    labels, count = ndimage.label(these, eighteen)
    return count, len(set(np.unique(labels[others])) - {0})


mask_count, mask_met = met(m, r)
reference_count, reference_met = met(r, m)
sha = lambda path: hashlib.sha256(open(path, "rb").read()).hexdigest()
print(
    json.dumps(
        {
            "scores": {
                "DSC": 2 * tp / (2 * tp + fp + fn),
                "PPV": tp / (tp + fp),
                "TPR": tp / (tp + fn),
                "specificity": tn / (tn + fp),
                "F2": 5 * tp / (5 * tp + 4 * fn + fp),
                "APR": area(r.ravel(), probability.ravel()),
                "VD": abs((tp + fp) - (tp + fn)) / (tp + fn),
                "LTPR": reference_met / reference_count,
                "LFPR": (mask_count - mask_met) / mask_count,
            },
            "lesions": {"tp": mask_met, "fp": mask_count - mask_met, "fn": reference_count - reference_met},
            "flair_sha256": sha(sys.argv[4]),
            "reference_sha256": sha(sys.argv[3]),
        }
    )
)
