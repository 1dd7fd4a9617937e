// The main job on the CPU engine with the network that ships: a scan in, a mask and a probability map out.
import assert from "node:assert/strict";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { assertOwnFilesOnly, out, pageTest, python, root, temporary } from "./harness.mjs";

const inputs = python("make_inputs.py", path.join(temporary, "inputs"));
const sample = (name) => path.join(root, "www/samples", name);

// Dice on the small sample at the default threshold, from the card of the network that the page takes first.
function promisedDice() {
  const folder = path.join(root, "www/models");
  const cards = readdirSync(folder).map((name) => JSON.parse(readFileSync(path.join(folder, name, "card.json"), "utf8")));
  const card = cards.find((card) => card.default) ?? cards[0];
  const figure = card.held_out.map(({ text }) => /sample small\b.*?\bDSC ([\d.]+)/.exec(text)?.[1]).find(Boolean);
  assert.ok(figure, "the card does not say what the network reaches on the sample `small`");
  return Number(figure);
}

// Pixels of the viewer in the mask's orange: far more red than blue, and more red than green.
async function orangePixels(page, canvas, name) {
  const png = await canvas.screenshot();
  writeFileSync(path.join(out, `${name}.png`), png);
  return page.evaluate(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    let orange = 0;
    for (let i = 0; i < data.length; i += 4) {
      if (data[i] > data[i + 2] + 70 && data[i] > data[i + 1] + 15 && data[i] > 100) orange += 1;
    }
    return orange;
  }, png.toString("base64"));
}

// The sizes and places that a saved file must share with its input.
function assertSameGrid(found) {
  for (const [name, image] of Object.entries({ mask: found.mask, probability: found.probability })) {
    for (const what of ["shape", "affine", "zooms", "qform", "sform", "quaternion"]) {
      assert.equal(image[what], true, `${name}: ${what} differs from the input's`);
    }
  }
  assert.equal(found.probability.datatype, "float32");
  assert.ok(found.probability.finite && found.probability.low >= 0 && found.probability.high <= 1);
  for (const value of found.mask.values) assert.ok(value === 0 || value === 1, `mask holds ${value}`);
}

const figure = async (page, name) => {
  const text = await page.locator("dl div").filter({ hasText: name }).locator("dd").textContent();
  return Number.parseFloat(text);
};

pageTest("sample, Segment on the CPU, Done, both files", {}, async ({ page, app, requests, shot, t }) => {
  await app.engine.selectOption({ label: "CPU" });
  await app.openSample.click();
  await app.says("Ready");
  await page.waitForLoadState("networkidle");
  const opened = requests.length;
  const before = await orangePixels(page, app.canvas, "overlay-before");
  const start = performance.now();
  await app.segment.click();
  const progress = page.getByRole("progressbar");
  await progress.and(page.locator("[max]")).waitFor({ timeout: 120_000 });
  await app.says("Done", 400_000);
  t.diagnostic(`segmented in ${((performance.now() - start) / 1000).toFixed(1)} s`);

  const mask = await app.save(app.saveMask);
  const probability = await app.save(app.saveProbability);
  assert.match(mask.name, /^small.*_desc-lesion_mask\.nii\.gz$/);
  assert.match(probability.name, /^small.*_desc-lesion_probseg\.nii\.gz$/);
  const found = python("check_outputs.py", sample("small_FLAIR.nii.gz"), mask.file, probability.file, sample("small_mask.nii.gz"));
  t.diagnostic(JSON.stringify(found));
  assertSameGrid(found);
  // The card says what the network reaches natively on this sample; the browser must reach the same.
  const promised = promisedDice();
  assert.ok(Math.abs(found.dice - promised) < 0.01, `Dice with the sample's lesions is ${found.dice}, the card says ${promised}`);
  const threshold = Number(await app.threshold.inputValue());
  assert.ok(found.lowest_inside >= threshold - 1e-6, `${found.lowest_inside} inside a mask cut at ${threshold}`);
  assert.ok(Math.abs((await figure(page, "Lesion load")) - found.mask.load_ml) <= 0.01 * Math.max(1, found.mask.load_ml));

  const after = await orangePixels(page, app.canvas, "overlay-after");
  t.diagnostic(`orange pixels: ${before} before, ${after} after`);
  assert.ok(before < 50, `${before} orange pixels before there was a mask`);
  assert.ok(after > before + 200, `${after} orange pixels with a mask of ${found.mask.voxels} voxels`);
  await shot("-done");

  // Nothing but the build's own files was asked for, and of the engines only the one in use.
  const asked = requests.slice(opened);
  assertOwnFilesOnly(asked);
  assert.ok(requests.some(({ url }) => url.includes("engine-cpu")), "the CPU engine was not loaded");
  assert.ok(!requests.some(({ url }) => url.includes("engine-gpu")), "the GPU engine was loaded for a run on the CPU");
});

pageTest("a T1 from which the patient had moved is shown where it was laid", {}, async ({ page, app, shot, t }) => {
  await app.engine.selectOption({ label: "CPU" });
  await app.flair.setInputFiles(sample("small_FLAIR.nii.gz"));
  await app.says("Ready");
  await app.t1.setInputFiles(inputs.t1_moved);
  await page.getByText(/resampled/i).first().waitFor();
  await app.says("Ready");
  await page.getByRole("combobox", { name: "Scan shown" }).selectOption({ label: "T1" });
  await app.segment.click();
  await app.says("Done", 400_000);
  await page.getByText(/had moved between FLAIR and T1 \(5\.\d mm/).first().waitFor();
  await page.waitForTimeout(1500);
  await shot("-laid");

  const { width, height } = await app.canvas.boundingBox();
  const [places, values] = [[], []];
  for (const [x, y] of [[0.3, 0.2], [0.35, 0.3], [0.42, 0.1], [0.53, 0.2], [0.6, 0.3], [0.68, 0.25]]) {
    await app.canvas.click({ position: { x: x * width, y: y * height } });
    await page.waitForTimeout(300);
    const words = (await page.locator("p.where").textContent()).replaceAll("−", "-");
    const [, ...numbers] = /x (\S+)\s+y (\S+)\s+z (\S+) mm.*?T1 ([\d.]+)/.exec(words) ?? assert.fail(words);
    places.push(...numbers.slice(0, 3));
    values.push(Number(numbers[3]));
  }
  const fits = (image) => python("check_places.py", image, ...places).map(([low, high], i) => low <= values[i] && values[i] <= high);
  const [laid, filed] = [fits(sample("small_T1w.nii.gz")), fits(inputs.t1_moved)];
  t.diagnostic(JSON.stringify({ places, values, laid, filed }));
  assert.ok(laid.every(Boolean), "the T1 is not shown where it lay before it moved");
  assert.ok(!filed.every(Boolean), "the test cannot tell");
});

pageTest("the threshold re-cuts the probability live", {}, async ({ page, app }) => {
  await app.engine.selectOption({ label: "CPU" });
  await app.openSample.click();
  await app.says("Ready");
  await app.segment.click();
  await app.says("Done", 400_000);
  const loads = [];
  const masks = [];
  for (const value of ["0.1", "0.5", "0.9"]) {
    await app.threshold.fill(value);
    await app.says("Done");
    // The answer of the desk follows the slider; wait until it has settled.
    await page.waitForTimeout(1500);
    loads.push(await figure(page, "Lesion load"));
    masks.push(await app.save(app.saveMask));
  }
  assert.ok(loads[0] > loads[1] && loads[1] > loads[2], `loads at 0.1, 0.5 and 0.9: ${loads}`);
  const probability = await app.save(app.saveProbability);
  const voxels = masks.map(({ file }) => python("check_outputs.py", sample("small_FLAIR.nii.gz"), file, probability.file));
  for (const [index, threshold] of [0.1, 0.5, 0.9].entries()) {
    const { lowest_inside: lowest, mask } = voxels[index];
    assert.ok(mask.voxels === 0 || lowest >= threshold - 1e-6, `${lowest} inside a mask cut at ${threshold}`);
    assert.ok(Math.abs(mask.load_ml - loads[index]) <= 0.01 * Math.max(1, mask.load_ml), `${mask.load_ml} mL, shown ${loads[index]}`);
  }
});

pageTest("what is no brighter than the brain is marked only if asked for", {}, async ({ page, app, shot }) => {
  await app.engine.selectOption({ label: "CPU" });
  await app.openSample.click();
  await app.says("Ready");
  await page.getByText("Settings").first().click();
  const bright = page.getByRole("checkbox", { name: /brighter than the brain/ });
  assert.ok(await bright.isChecked(), "the weight is on unless turned off");
  await shot("-settings");
  const loads = [];
  for (const on of [true, false]) {
    await bright.setChecked(on);
    await app.segment.click();
    await app.says("Done", 400_000);
    loads.push(await figure(page, "Lesion load"));
  }
  assert.ok(loads[0] > 0.5 && loads[1] > 1.1 * loads[0], `${loads[0]} mL with the weight, ${loads[1]} mL without`);
});

pageTest("an oblique scan with thick slices comes back in its own grid and name", {}, async ({ app }) => {
  await app.engine.selectOption({ label: "CPU" });
  await app.flair.setInputFiles(inputs["sub-x_ses-2_FLAIR"]);
  await app.says("Ready");
  await app.segment.click();
  await app.says("Done", 400_000);
  const mask = await app.save(app.saveMask);
  const probability = await app.save(app.saveProbability);
  assert.match(mask.name, /^sub-x_ses-2_desc-lesion_mask\.nii\.gz$/);
  assert.match(probability.name, /^sub-x_ses-2_desc-lesion_probseg\.nii\.gz$/);
  assertSameGrid(python("check_outputs.py", inputs["sub-x_ses-2_FLAIR"], mask.file, probability.file));
});

pageTest("Cancel acts within a tile and the page can segment again", {}, async ({ page, app, t }) => {
  await app.engine.selectOption({ label: "CPU" });
  await app.openSample.click();
  await app.says("Ready");
  // Four rotations: time enough to cancel in the middle.
  await page.getByText("Settings").first().click();
  await page.getByRole("checkbox", { name: /rotations/ }).check();
  await app.segment.click();
  await page.getByText(/Patch [1-9]\d* of/).waitFor({ timeout: 200_000 });
  const start = performance.now();
  await app.cancel.click();
  await app.says("Cancelled", 60_000);
  const seconds = (performance.now() - start) / 1000;
  t.diagnostic(`cancelled after ${seconds.toFixed(1)} s`);
  assert.ok(seconds < 30, `cancelled after ${seconds} s`);
  await page.getByRole("checkbox", { name: /rotations/ }).uncheck();
  await app.segment.click();
  await app.says("Done", 400_000);
});
