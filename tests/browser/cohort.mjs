// A small cohort made on the spot: heads of two tissues with bright balls in them, 1 mm voxels, stored right to left.
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { gzipSync } from "node:zlib";

const SHAPE = [44, 48, 40];
const CENTRE = SHAPE.map((n) => (n - 1) / 2);

// A NIfTI-1 file of 16-bit integers, x fastest.
function nifti(values) {
  const header = Buffer.alloc(352);
  header.writeInt32LE(348, 0);
  [3, ...SHAPE, 1, 1, 1, 1].forEach((size, i) => header.writeInt16LE(size, 40 + 2 * i));
  header.writeInt16LE(4, 70);
  header.writeInt16LE(16, 72);
  for (let i = 0; i < 4; i++) header.writeFloatLE(1, 76 + 4 * i);
  header.writeFloatLE(352, 108);
  header.writeUInt8(2, 123);
  header.writeInt16LE(1, 254);
  [-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0].forEach((value, i) => header.writeFloatLE(value, 280 + 4 * i));
  header.write("n+1\0", 344, "latin1");
  return gzipSync(Buffer.concat([header, Buffer.from(Int16Array.from(values).buffer)]));
}

// The same numbers for the same seed (a linear congruential generator is random enough for noise).
function random(seed) {
  let state = seed >>> 0;
  return () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) / 2 ** 32;
}

function head(seed) {
  const next = random(seed * 7919);
  const balls = Array.from({ length: 6 }, () => [10 + next() * 24, 12 + next() * 24, 10 + next() * 20, 2 + next() * 3]);
  const [flair, t1, mask] = [[], [], []];
  for (let z = 0; z < SHAPE[2]; z++)
    for (let y = 0; y < SHAPE[1]; y++)
      for (let x = 0; x < SHAPE[0]; x++) {
        const radius = Math.hypot(...[x, y, z].map((v, i) => (v - CENTRE[i]) / CENTRE[i]));
        const inside = radius < 0.92;
        const rim = radius > 0.7;
        const lesion = radius < 0.8 && balls.some(([a, b, c, r]) => Math.hypot(x - a, y - b, z - c) < r);
        flair.push(inside ? 100 + Math.round(next() * 16) + (rim ? 25 : 0) + (lesion ? 90 : 0) : 0);
        t1.push(inside ? 120 + Math.round(next() * 14) - (rim ? 30 : 0) - (lesion ? 40 : 0) : 0);
        mask.push(lesion ? 1 : 0);
      }
  return { flair: nifti(flair), t1: nifti(t1), mask: nifti(mask) };
}

// Writes `cases` cases into a folder and answers their files, and those of two that are no cases.
export function makeCohort(folder, cases) {
  mkdirSync(folder, { recursive: true });
  const write = (name, bytes) => {
    const file = path.join(folder, name);
    writeFileSync(file, bytes);
    return file;
  };
  const good = [];
  for (let n = 1; n <= cases; n++) {
    const { flair, t1, mask } = head(n);
    good.push(write(`sub-0${n}_FLAIR.nii.gz`, flair), write(`sub-0${n}_desc-lesion_mask.nii.gz`, mask));
    if (n !== 2) good.push(write(`sub-0${n}_T1w.nii.gz`, t1));
  }
  const { flair } = head(8);
  const bad = [
    write("sub-08_FLAIR.nii.gz", flair),
    write("sub-08_desc-lesion_mask.nii.gz", nifti(new Array(SHAPE[0] * SHAPE[1] * SHAPE[2]).fill(0))),
    write("sub-09_FLAIR.nii.gz", "This is no image."),
    write("sub-09_desc-lesion_mask.nii.gz", nifti(new Array(SHAPE[0] * SHAPE[1] * SHAPE[2]).fill(1))),
    write("readme.txt", "no scan"),
  ];
  return { good, bad };
}
