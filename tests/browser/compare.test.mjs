// A result beside a reference mask: the page's numbers are those of an independent count on the files it saves.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { assertOwnFilesOnly, axeSource, pageTest, python, root, temporary } from "./harness.mjs";

const inputs = python("make_inputs.py", path.join(temporary, "compare"));
const sample = (name) => path.join(root, "www/samples", name);

const reference = (page) => page.getByLabel("Reference mask (optional)", { exact: true });
const score = async (page, name) => {
  const row = page.locator(".comparison tr").filter({ has: page.locator(`#about-${name.toLowerCase().replaceAll(" ", "-")}`) });
  return Number(await row.locator("td").textContent());
};

async function segmented(page, app) {
  // A small picture: what is tested is not the drawing, which SwiftShader takes its time over.
  await page.setViewportSize({ width: 1000, height: 600 });
  await app.engine.selectOption({ label: "CPU" });
  await app.openSample.click();
  await app.says("Ready");
  await app.segment.click();
  await app.says("Done", 400_000);
}

pageTest("scores, table and files against a reference are what numpy counts", {}, async ({ page, app, requests, shot, t }) => {
  await segmented(page, app);
  const sent = requests.length;
  await reference(page).setInputFiles(sample("small_mask.nii.gz"));
  await page.getByRole("heading", { name: "Against the reference" }).waitFor();
  assert.equal(await page.getByRole("combobox", { name: "Overlay" }).inputValue(), "comparison");
  const probability = await app.save(app.saveProbability);
  const mask = await app.save(app.saveMask);
  const report = await app.save(page.getByRole("button", { name: "Save report (JSON)" }));
  const csv = await app.save(page.getByRole("button", { name: "Save lesions (CSV)" }));
  assert.match(report.name, /_desc-lesion_report\.json$/);
  assert.match(csv.name, /_desc-lesion_lesions\.csv$/);
  const text = readFileSync(report.file, "utf8");
  assert.doesNotMatch(text, /small_|\.nii/, "a report names no file");
  const saved = JSON.parse(text);
  const found = python("check_comparison.py", probability.file, mask.file, sample("small_mask.nii.gz"), sample("small_FLAIR.nii.gz"));
  t.diagnostic(JSON.stringify(found));
  for (const [name, value] of Object.entries(found.scores)) {
    assert.ok(Math.abs(saved.comparison.evaluation[name.replace(" ", "_")] - value) < 1e-6, `${name}: ${value}`);
    const shown = name === "specificity" ? "Specificity" : name;
    assert.ok(Math.abs((await score(page, shown)) - value) <= 0.0005 + 1e-9, `${name}: shown ${await score(page, shown)}, counted ${value}`);
  }
  assert.equal(saved.flair.sha256, found.flair_sha256);
  assert.equal(saved.comparison.reference.sha256, found.reference_sha256);
  const card = JSON.parse(readFileSync(path.join(root, "www/models", saved.model.name, "card.json"), "utf8"));
  assert.equal(saved.model.sha256, card.weights.sha256);
  // The table: every lesion of the mask and every missed one, in the file and on the page.
  const lines = readFileSync(csv.file, "utf8").trim().split("\r\n").slice(1).map((line) => line.split(","));
  const count = (verdict) => lines.filter(([, , v]) => v === verdict).length;
  assert.deepEqual([count("TP"), count("FP"), count("FN")], [found.lesions.tp, found.lesions.fp, found.lesions.fn]);
  const rows = page.locator(".lesions tbody tr");
  assert.equal(await rows.count(), lines.length);
  const volume = lines.filter(([, of]) => of === "mask").reduce((sum, line) => sum + Number(line[4]), 0);
  assert.ok(Math.abs(volume / 1000 - saved.result.load_ml) < 1e-3, `${volume}`);
  await shot("-compared");

  // Sorting by the keyboard, and going to a lesion.
  await page.getByRole("button", { name: "Volume, mm³" }).focus();
  await page.keyboard.press("Enter");
  const volumes = async () => (await rows.locator("td:nth-child(3)").allTextContents()).map(Number);
  const falling = await volumes();
  assert.ok(falling.every((v, i) => i === 0 || v <= falling[i - 1]), `${falling}`);
  await page.keyboard.press("Enter");
  assert.deepEqual(await volumes(), [...falling].sort((a, b) => a - b));
  const go = rows.nth(1).getByRole("button");
  await go.focus();
  await page.keyboard.press("Enter");
  const centre = (await rows.nth(1).locator("td:nth-child(4)").textContent()).replaceAll("−", "-").split(" ").map(Number);
  await page.waitForFunction((to) => {
    const text = document.querySelector(".where span")?.textContent.replaceAll("−", "-") ?? "";
    const at = [...text.matchAll(/-?\d+\.\d/g)].map(Number);
    return at.length === 3 && at.every((v, i) => Math.abs(v - to[i]) <= 1.01);
  }, centre);

  // Another threshold moves scores and verdicts with it.
  const before = await score(page, "TPR");
  await app.threshold.fill("0.95");
  await page.waitForFunction((old) => Number(document.querySelector("#about-tpr").closest("tr").querySelector("td").textContent) < old, before);
  // The point on the curve can be dragged.
  await page.locator(".comparison svg").scrollIntoViewIfNeeded();
  const box = await page.locator(".comparison svg").boundingBox();
  await page.mouse.move(box.x + box.width * 0.9, box.y + box.height * 0.5);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.92, box.y + box.height * 0.55);
  await page.mouse.up();
  await page.waitForFunction(() => Number(document.querySelector("#threshold").value) < 0.9);

  await page.evaluate(axeSource());
  const { violations } = await page.evaluate(() => window.axe.run());
  assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`), []);
  assertOwnFilesOnly(requests.slice(sent));
});

pageTest("a reference on another grid is resampled, one elsewhere or no mask is refused in a sentence", {}, async ({ page, app }) => {
  assert.equal(await reference(page).count(), 0, "there is nothing to compare with yet");
  await app.flair.setInputFiles(inputs.good);
  await app.says("Ready");
  await reference(page).setInputFiles(inputs.mask_other_grid);
  await page.getByText(/reference lies on another grid and was resampled/).waitFor();
  await reference(page).setInputFiles(inputs.mask_far);
  await page.getByRole("alert").filter({ hasText: /covers only 0 % of the FLAIR's field of view/ }).waitFor();
  await reference(page).setInputFiles(inputs.good);
  await page.getByRole("alert").filter({ hasText: /This is no mask/ }).waitFor();
  await reference(page).setInputFiles(inputs.text);
  await page.getByRole("alert").filter({ hasText: /not a NIfTI file/ }).waitFor();
  assert.ok(await app.segment.isEnabled(), "the scan can be segmented all the same");
  await reference(page).setInputFiles(inputs.mask);
  await page.getByText(/44 × 48 × 40 voxels/).nth(1).waitFor();
  // Another scan has another reference.
  await app.flair.setInputFiles(inputs["sub-x_ses-2_FLAIR"]);
  await app.says("Ready");
  assert.equal(await page.locator("#reference-name").count(), 0);
});
