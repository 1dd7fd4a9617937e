// What is taken away: the dataset as a zip, the printed report, batches; and that the page stays quick and tells no names.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { out, pageTest, python, root, temporary } from "./harness.mjs";
import { watchTasks } from "./tasks.mjs";

const inputs = python("make_inputs.py", path.join(temporary, "report"));
const toy = (name) => readFileSync(fileURLToPath(new URL(`toy/${name}`, import.meta.url)));
const sample = (name) => path.join(root, "www/samples", name);
const button = (page, name) => page.getByRole("button", { name, exact: true });

// In the place of whatever network the page asks for: what is tested here is not the network.
function replace(inner) {
  if (/^models\/.*\/card-[0-9a-f]+\.json$/.test(inner ?? "")) return toy("card.json");
  if (/^models\/.*\.safetensors$/.test(inner ?? "")) return toy("weights.safetensors");
  return undefined;
}

async function segmented(page, app) {
  await app.engine.selectOption({ label: "CPU" });
  await app.openSample.click();
  await app.says("Ready");
  await app.segment.click();
  await app.says("Done", 200_000);
}

pageTest("report: the zip is a BIDS-derivatives dataset of the same files", { replace }, async ({ page, app }) => {
  await segmented(page, app);
  const zip = await app.save(button(page, "Save all (BIDS, zip)"));
  const alone = { mask: await app.save(app.saveMask), report: await app.save(button(page, "Save report (JSON)")) };
  const found = python("check_zip.py", zip.file, alone.mask.file, alone.report.file);
  assert.equal(found.description.DatasetType, "derivative");
  assert.deepEqual(found.same, { mask: true, report: true });
  assert.deepEqual(found.names.sort(), [
    ".bidsignore", "README", "dataset_description.json",
    ...["lesions.csv", "mask.json", "mask.nii.gz", "probseg.json", "probseg.nii.gz", "report.json"].map(
      (name) => `sub-smallFLAIR/anat/sub-smallFLAIR_desc-lesion_${name}`),
  ].sort());
  assert.match(found.sidecar.InputSHA256.FLAIR, /^[0-9a-f]{64}$/);
});

pageTest("report: it prints on one page, with pictures, numbers and no file name", { replace }, async ({ page, app }) => {
  await page.evaluate(() => (window.print = () => (window.printed = true)));
  await segmented(page, app);
  await button(page, "Compare with the sample’s own lesions").click();
  await page.getByRole("heading", { name: "Against the reference" }).waitFor();
  await button(page, "Print report").click();
  await page.waitForFunction(() => window.printed, null, { timeout: 60_000 });
  const pdf = await page.pdf({ preferCSSPageSize: true, printBackground: true });
  writeFileSync(path.join(out, "report.pdf"), pdf);
  assert.equal(pdf.toString("latin1").match(/\/Type\s*\/Page\b/g).length, 1, "pages");
  await page.emulateMedia({ media: "print" });
  await page.setViewportSize({ width: 794, height: 1123 });
  await page.screenshot({ path: path.join(out, "report-print.png"), fullPage: true });
  const text = await page.locator(".sheet").innerText();
  assert.doesNotMatch(text, /small_|\.nii/i, "a report names no file");
  assert.match(text, /Research use only/);
  const { createHash } = await import("node:crypto");
  const digest = createHash("sha256").update(readFileSync(sample("small_FLAIR.nii.gz"))).digest("hex");
  assert.ok(text.includes(digest) && text.includes(JSON.parse(toy("card.json")).weights.sha256));
  // The pictures are pictures: of many greys, with something marked.
  const shades = await page.evaluate(() => [...document.querySelectorAll(".sheet canvas")].map((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const seen = new Set();
    for (let i = 0; i < data.length; i += 4) seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
    return seen.size;
  }));
  assert.ok(shades.length === 3 && shades.every((count) => count > 50), `${shades}`);
  const rendering = await page.evaluate(() => document.querySelector(".sheet img").naturalWidth);
  assert.ok(rendering > 100, `the rendering is ${rendering} px wide`);
});

pageTest("report: a batch goes on past a broken scan and ends in one table", { replace }, async ({ page, app }) => {
  await app.engine.selectOption({ label: "CPU" });
  await page.getByText("Several scans").click();
  const flairs = [inputs.good, inputs.text, inputs["sub-x_ses-2_FLAIR"]];
  await page.getByLabel("Scans for a batch").setInputFiles(flairs);
  await page.getByText("0 of 3 scans done").waitFor();
  await button(page, "Segment all").click();
  await page.getByText("3 of 3 scans done").waitFor({ timeout: 300_000 });
  const rows = page.getByRole("region", { name: "Batch", exact: true }).locator("tbody tr");
  assert.equal(await rows.filter({ hasText: /not a NIfTI file/ }).count(), 1);
  const table = await app.save(button(page, "Save table (CSV)"));
  const lines = readFileSync(table.file, "utf8").trim().split("\r\n");
  assert.equal(lines.length, 4);
  assert.doesNotMatch(lines.join("\n"), /good|sub-x/, "no file names unless they are asked for");
  const heading = lines[0].split(",");
  const loads = lines.slice(1).map((line) => line.split(",")[heading.indexOf("load_ml")]);
  assert.equal(loads.filter((load) => Number.parseFloat(load) >= 0).length, 2, `${loads}`);
  await page.getByLabel(/File names in the table/).check();
  const named = await app.save(button(page, "Save table (CSV)"));
  assert.match(readFileSync(named.file, "utf8"), /sub-x_ses-2_FLAIR\.nii\.gz/);
  // Stopping one leaves the rest waiting. Many votes make it last long enough to be stopped.
  await page.getByText("Settings").first().click();
  await page.getByRole("combobox", { name: "Patch overlap" }).selectOption("0.75");
  await page.getByRole("checkbox", { name: /rotations/ }).check();
  await page.getByLabel("Scans for a batch").setInputFiles([inputs.good, inputs["sub-x_ses-2_FLAIR"]]);
  await button(page, "Segment all").click();
  await page.getByText("at work").waitFor();
  await button(page, "Stop the batch").click();
  await button(page, "Segment all").waitFor();
  assert.ok(await rows.filter({ hasText: "waits" }).count() >= 1);
});

pageTest("report: no task of the page's own thread is longer than 50 ms while it computes", {}, async ({ page, app, t }) => {
  await app.engine.selectOption({ label: "CPU" });
  await app.openSample.click();
  await app.says("Ready");
  // Pictures are drawn in software here; that is the graphics card's work elsewhere, and not what is measured.
  await page.waitForTimeout(3000);
  const tasks = await watchTasks(page);
  await app.segment.click();
  await app.says("Done", 400_000);
  await page.waitForTimeout(500);
  const { seconds, count, longest, long } = await tasks({ from: "Segmenting", to: ["Fusing", "Cutting", "Done"] });
  t.diagnostic(`${seconds.toFixed(1)} s of segmenting; ${count} tasks, the longest ${JSON.stringify(longest)}`);
  assert.deepEqual(long, []);
});

pageTest("report: diagnostics tell the machine and no name", { context: { permissions: ["clipboard-read", "clipboard-write"] } }, async ({ page, app }) => {
  await app.flair.setInputFiles(inputs["sub-x_ses-2_FLAIR"]);
  await app.says("Ready");
  await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: "About" }).click();
  await button(page, "Copy diagnostics").click();
  const shown = await page.getByLabel("Diagnostics", { exact: true }).textContent();
  assert.match(shown, /^Equipoise \d/);
  for (const word of [/Network: models\/\S+ [0-9a-f]{64}/, /Browser: .*Chrome/, /Processors: \d/, /GPU: /]) assert.match(shown, word);
  assert.doesNotMatch(shown, /sub-x|\.nii/);
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), shown);
});
