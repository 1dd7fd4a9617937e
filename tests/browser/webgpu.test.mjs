// The WebGPU engine (SwiftShader's adapter here) with a toy network: the shipped one would take minutes a patch.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { assertOwnFilesOnly, pageTest, python, temporary } from "./harness.mjs";

const inputs = python("make_inputs.py", path.join(temporary, "inputs"));
const toy = (name) => readFileSync(fileURLToPath(new URL(`toy/${name}`, import.meta.url)));

// In the place of whatever network the page asks for.
function replace(inner) {
  if (/^models\/.*\/card-[0-9a-f]+\.json$/.test(inner)) return toy("card.json");
  if (/^models\/.*\.safetensors$/.test(inner)) return toy("weights.safetensors");
  return undefined;
}

async function probability(page, app, engine) {
  await app.engine.selectOption({ label: engine });
  await app.segment.click();
  await app.says("Done", 500_000);
  return app.save(app.saveProbability);
}

pageTest("WebGPU and CPU answer the same within 1e-3", { replace }, async ({ page, app, requests, t }) => {
  await app.flair.setInputFiles(inputs.good);
  await app.says("Ready");
  await app.t1.setInputFiles(inputs.good_t1);
  await app.says("Ready");
  const gpu = await probability(page, app, "WebGPU");
  await page.getByText(/ on WebGPU\.$/).first().waitFor();
  assert.ok(requests.some(({ url }) => url.includes("engine-gpu")), "the GPU engine was not loaded");
  const cpu = await probability(page, app, "CPU");
  await page.getByText(/ on CPU\.$/).first().waitFor();
  const { largest, spread } = python("compare.py", gpu.file, cpu.file);
  t.diagnostic(`largest difference ${largest}, probabilities spread over ${spread}`);
  assert.ok(spread > 1e-2, "two constant maps would prove nothing");
  assert.ok(largest < 1e-3, `largest difference ${largest}`);
  assertOwnFilesOnly(requests);
});
