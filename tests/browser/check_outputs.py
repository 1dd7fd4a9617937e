"""Judges what the page saved: check_outputs.py INPUT MASK PROBABILITY [TRUTH]. Prints what it finds as JSON."""

import json
import sys

import nibabel as nib
import numpy as np

given, mask, probability = (nib.load(path) for path in sys.argv[1:4])
found = {}
for name, image in [("mask", mask), ("probability", probability)]:
    found[name] = {
        "kind": type(image).__name__,
        "shape": list(image.shape) == list(given.shape),
        "affine": bool(np.array_equal(image.affine, given.affine)),
        "zooms": bool(np.array_equal(image.header.get_zooms(), given.header.get_zooms())),
        "qform": bool(image.header["qform_code"] == given.header["qform_code"]),
        "sform": bool(image.header["sform_code"] == given.header["sform_code"]),
        "quaternion": all(
            bool(image.header[field] == given.header[field])
            for field in ["quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"]
        ),
        "datatype": str(image.get_data_dtype()),
    }
m = np.asarray(mask.dataobj)
p = np.asarray(probability.dataobj)
found["mask"]["values"] = sorted(float(v) for v in np.unique(m))
found["mask"]["voxels"] = int((m > 0).sum())
found["mask"]["load_ml"] = float((m > 0).sum() * abs(np.linalg.det(given.affine[:3, :3])) / 1000)
found["probability"].update(low=float(p.min()), high=float(p.max()), finite=bool(np.isfinite(p).all()))
found["lowest_inside"] = float(p[m > 0].min()) if (m > 0).any() else None
if len(sys.argv) > 4:
    truth = np.asarray(nib.load(sys.argv[4]).dataobj) > 0
    found["dice"] = float(2 * (truth & (m > 0)).sum() / max(truth.sum() + (m > 0).sum(), 1))
    found["truth_voxels"] = int(truth.sum())
print(json.dumps(found))
