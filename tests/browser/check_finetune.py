"""Scores of a probability map against a mask, computed by numpy alone: what the page's must equal.

usage: check_finetune.py PROBABILITY MASK THRESHOLD
"""

import json
import sys

import nibabel
import numpy

probability = numpy.asarray(nibabel.load(sys.argv[1]).dataobj, dtype=numpy.float32)
mask = numpy.asarray(nibabel.load(sys.argv[2]).dataobj) > 0
found = (probability >= numpy.float32(sys.argv[3])) & (probability > 0)

both = int(numpy.count_nonzero(found & mask))
wrong = int(numpy.count_nonzero(found & ~mask))
missed = int(numpy.count_nonzero(~found & mask))


def ratio(numerator, denominator):
    return numerator / denominator if denominator else None


print(
    json.dumps(
        {
            "DSC": ratio(2 * both, 2 * both + wrong + missed),
            "precision": ratio(both, both + wrong),
            "recall": ratio(both, both + missed),
            "F2": ratio(5 * both, 5 * both + wrong + 4 * missed),
            "found": both + wrong,
        }
    )
)
