"""Reads files written by Equipoise with nibabel and compares them with the scans that they were written for.

    python check_nifti.py FOLDER

FOLDER/manifest.json lists {"scan", "written", "kind"} (kind: mask, float, plain or grid; for grid, "affine" and
"shape" take the place of "scan"). tests/volume_write.rs writes it, tests included. Prints the number of files checked.
"""

import gzip
import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

folder = Path(sys.argv[1])
manifest = json.loads((folder / "manifest.json").read_text())


def load(path):
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    return (nib.Nifti2Image if raw[4:7] == b"n+2" else nib.Nifti1Image).from_bytes(raw)


for entry in manifest:
    written = load(folder / entry["written"])
    kind = entry["kind"]
    what = f'{entry["written"]} for {entry.get("scan", "a grid")}'
    header = written.header
    data = np.asarray(written.dataobj).ravel(order="F")
    index = np.arange(data.size)

    if kind == "mask":
        assert header.get_data_dtype() == np.uint8, what
        np.testing.assert_array_equal(data, index % 3 == 1, what)
    else:
        assert header.get_data_dtype().newbyteorder("=") == np.float32, what
        np.testing.assert_array_equal(data, (index.astype(np.float32) / np.float32(data.size)), what)
    assert written.dataobj.slope == 1 and written.dataobj.inter == 0, what
    assert header["descrip"].item() == b"Equipoise; research use only", what
    assert header["cal_min"] == 0 and header["cal_max"] == 1, what
    assert header["intent_code"] == 0 and not header.extensions, what

    if kind == "grid":
        affine = np.array(entry["affine"])
        assert list(written.shape) == entry["shape"], what
        np.testing.assert_array_equal(written.affine, affine.astype(np.float32), what)
        np.testing.assert_allclose(header.get_zooms(), nib.affines.voxel_sizes(affine), rtol=1e-6, err_msg=what)
        assert header.get_xyzt_units()[0] == "mm" and header["sform_code"] == 2, what
        if entry["sheared"]:
            assert header["qform_code"] == 0, what
        else:
            assert header["qform_code"] == 2, what
            np.testing.assert_allclose(header.get_qform(), affine, atol=2e-4, err_msg=what)
        continue

    scan = load(folder / entry["scan"])
    assert written.shape == scan.shape, what
    # The viewer's copy of a NIfTI-2 scan is NIfTI-1, so its numbers are single precision; all else is exact.
    narrowed = kind == "plain" and type(scan) is nib.Nifti2Image
    same = np.testing.assert_array_equal
    if narrowed:
        same = lambda a, b, message: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-5, err_msg=message)
    same(written.affine, scan.affine, what)
    for get in ("get_qform", "get_sform"):
        (new, new_code), (old, old_code) = (getattr(i.header, get)(coded=True) for i in (written, scan))
        assert new_code == old_code, what
        if old is not None:
            same(new, old, what)
    same(header.get_zooms(), scan.header.get_zooms(), what)
    same(header["pixdim"], scan.header["pixdim"], what)
    assert header.get_xyzt_units() == scan.header.get_xyzt_units(), what
    if kind == "plain":
        assert type(written) is nib.Nifti1Image, what
    else:
        assert type(written) is type(scan) and header.endianness == scan.header.endianness, what

print(len(manifest))
