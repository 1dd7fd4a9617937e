// The page and the command line on the same scan: the same files with the same numbers.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { pageTest, python, root, temporary } from "./harness.mjs";

const lab = process.env.EQUIPOISE_LAB;
const folder = fileURLToPath(new URL("toy", import.meta.url));
const sample = (name) => path.join(root, "www/samples", name);
const button = (page, name) => page.getByRole("button", { name, exact: true });

function replace(inner) {
  if (/^models\/.*\/card-[0-9a-f]+\.json$/.test(inner ?? "")) return readFileSync(path.join(folder, "card.json"));
  if (/^models\/.*\.safetensors$/.test(inner ?? "")) return readFileSync(path.join(folder, "weights.safetensors"));
  return undefined;
}

// Whether two points of a precision-recall curve are the same but for one lesion voxel: the two engines' probabilities differ by
// rounding, and a voxel that lies on the point's threshold may fall on either side of it. A point's threshold is the probability of its
// last voxel, so one voxel on it is the next one's, which lies some 1e-4 away where voxels are few.
const LESION = 2182; // voxels of the sample's own mask
function sameButForAVoxel(a, b) {
  const marked = (a.recall * LESION) / a.precision;
  const apart = (key) => Math.abs(a[key] - b[key]);
  return apart("recall") < 1.001 / LESION && apart("precision") < 1 / marked + 1e-4 && apart("threshold") <= 1e-3;
}

// Numbers that differ, by where they stand. What says where and how fast it ran may differ.
const OWN = new Set(["engine", "timings"]);
function differences(a, b, at = "") {
  if (OWN.has(at)) return [];
  if (typeof a === "number" && typeof b === "number") {
    return Math.abs(a - b) <= 1e-4 * Math.max(1, Math.abs(a)) ? [] : [`${at}: ${a} and ${b}`];
  }
  if (/\bcurve\.\d+$/.test(at) && a && b && sameButForAVoxel(a, b)) return [];
  if (a && b && typeof a === "object" && typeof b === "object") {
    const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
    return [...keys].flatMap((key) => differences(a[key], b[key], at ? `${at}.${key}` : key));
  }
  return a === b ? [] : [`${at}: ${JSON.stringify(a)} and ${JSON.stringify(b)}`];
}

pageTest("lab: segment and evaluate write what the page saves", { replace, skip: lab ? false : "no lab was built" }, async ({ page, app, t }) => {
  await app.engine.selectOption({ label: "CPU" });
  await app.openSample.click();
  await app.says("Ready");
  await app.segment.click();
  await app.says("Done", 200_000);
  await app.threshold.fill("0.6");
  await button(page, "Compare with the sample’s own lesions").click();
  await page.getByRole("heading", { name: "Against the reference" }).waitFor();
  await page.waitForTimeout(1500);
  const saved = {
    mask: await app.save(app.saveMask),
    probseg: await app.save(app.saveProbability),
    report: await app.save(button(page, "Save report (JSON)")),
    lesions: await app.save(button(page, "Save lesions (CSV)")),
    derivatives: await app.save(button(page, "Save all (BIDS, zip)")),
  };
  const to = path.join(temporary, "lab");
  mkdirSync(to, { recursive: true });
  const reference = ["--reference", sample("small_mask.nii.gz")];
  const cut = ["--threshold", "0.6", "--min-lesion", "3"];
  execFileSync(lab, ["segment", "--weights", folder, "--flair", sample("small_FLAIR.nii.gz"), "--t1", sample("small_T1w.nii.gz"),
    ...cut, ...reference, "--bids", "--out", to]);
  assert.deepEqual(readdirSync(to).sort(), Object.values(saved).map(({ name }) => name).sort());
  const lines = (file) => readFileSync(file, "utf8").trim().split("\r\n").map((line) => line.split(","));
  const own = (kind) => path.join(to, saved[kind].name);

  // Another processor rounds otherwise: a voxel may fall on the other side of the threshold only if it lies on it.
  const images = python("check_lab.py", saved.mask.file, own("mask"), saved.probseg.file, own("probseg"), "0.6");
  t.diagnostic(JSON.stringify(images));
  assert.ok(images.largest < 1e-4, `probabilities differ by ${images.largest}`);
  assert.equal(images.unexplained, 0);
  assert.ok(images.marked > 0, "an empty mask would prove nothing");
  const [here, there] = [saved.report.file, own("report")].map((file) => JSON.parse(readFileSync(file, "utf8")));
  assert.deepEqual(Object.keys(here), Object.keys(there));
  if (images.flipped === 0) {
    // The page notes that a T1 was opened as `lab` does: everything else is the same, to the last field.
    assert.deepEqual(differences(here, there), []);
    const [table, other] = [lines(saved.lesions.file), lines(own("lesions"))];
    assert.equal(table.length, other.length);
    for (const [at, line] of table.entries()) {
      for (const [column, cell] of line.entries()) {
        const [a, b] = [Number(cell), Number(other[at][column])];
        const same = cell === other[at][column] || Math.abs(a - b) <= 1.5e-3;
        assert.ok(same, `${table[0][column]} of line ${at}: ${cell} and ${other[at][column]}`);
      }
    }
  } else {
    assert.ok(Math.abs(here.result.load_ml - there.result.load_ml) <= images.flipped * 1e-3);
  }

  // The very map that the page saved, scored by the command line.
  const text = execFileSync(lab, ["evaluate", ...reference, "--probability", saved.probseg.file, ...cut], { encoding: "utf8" });
  assert.deepEqual(differences(here.comparison.evaluation, JSON.parse(text)), []);
});
