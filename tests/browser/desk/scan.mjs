// A small case made on the spot: three bright balls in a grainy ellipsoid of 1 mm voxels, stored right to left.
import { gzipSync } from "node:zlib";

export const SHAPE = [44, 48, 40];
const CENTRE = SHAPE.map((n) => (n - 1) / 2);
const LESIONS = [[15, 20, 20], [30, 25, 18], [22, 33, 25]];

const radius = (at) => Math.hypot(...at.map((v, i) => (v - CENTRE[i]) / CENTRE[i]));
const lesion = (at) => LESIONS.some((centre) => Math.hypot(...centre.map((v, i) => v - at[i])) < 3);
// Many grey values, the same every time.
const grain = ([x, y, z]) => ((x * 7 + y * 13 + z * 29) % 17) - 8;

// A value for every voxel, x fastest.
function volume(value) {
  const out = [];
  for (let z = 0; z < SHAPE[2]; z++) for (let y = 0; y < SHAPE[1]; y++) for (let x = 0; x < SHAPE[0]; x++) out.push(value([x, y, z]));
  return out;
}

// A NIfTI-1 file of 16-bit integers.
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
  return Buffer.concat([header, Buffer.from(Int16Array.from(values).buffer)]);
}

export const truth = volume((at) => (lesion(at) ? 1 : 0));
export const flair = gzipSync(nifti(volume((at) => (radius(at) < 0.9 ? 100 + grain(at) + (lesion(at) ? 120 : 0) : 0))));

// Dice of a mask (one byte a voxel) with the truth.
export function dice(mask) {
  let [both, sum] = [0, 0];
  truth.forEach((value, i) => {
    both += value && mask[i];
    sum += value + mask[i];
  });
  return (2 * both) / sum;
}
