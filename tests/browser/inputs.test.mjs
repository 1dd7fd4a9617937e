// What the page says about the files it is given. Each bad one gets a sentence, and the next good one is taken.
import assert from "node:assert/strict";
import path from "node:path";
import { assertOwnFilesOnly, pageTest, python, temporary } from "./harness.mjs";

const inputs = python("make_inputs.py", path.join(temporary, "inputs"));

// File, what the sentence must say is wrong, what it must tell the person to do.
const refused = [
  ["text", /not a NIfTI file/, /NIfTI/],
  ["truncated", /cut off/, /again/],
  ["empty", /empty \(0 bytes\)/, /again/],
  ["disagree", /[Hh]eader and data disagree/, /again/],
  ["fourd", /series of 3 volumes/, /file of its own/],
  ["constant", /same value \(7\)/, /right file/],
  ["mask", /looks like a mask/, /Open the scan/],
  ["bomb", /disagree/, /export it again/],
  ["huge", /2500|memory|disagree/, /[Cc]rop|again/],
];

for (const [name, wrong, remedy] of refused) {
  pageTest(`refuses ${name} in a sentence and stays usable`, {}, async ({ page, app }) => {
    await app.flair.setInputFiles(inputs[name]);
    const problem = page.getByRole("alert").filter({ hasText: wrong });
    await problem.first().waitFor({ timeout: 120_000 });
    const said = await problem.first().textContent();
    assert.match(said, remedy);
    assert.ok(!said.includes(temporary), `the sentence names a path: ${said}`);
    assert.ok(await app.segment.isDisabled());
    await app.flair.setInputFiles(inputs.good);
    await app.says("Ready");
    assert.equal(await problem.count(), 0, "the old sentence must go");
    assert.ok(await app.segment.isEnabled());
  });
}

pageTest("bright fat around a brain does not leave it in the dark", {}, async ({ page, app, shot }) => {
  await app.flair.setInputFiles(inputs.fat);
  await app.says("Ready");
  const white = page.getByLabel("White at");
  await page.waitForTimeout(1500);
  // The brain reaches 360 and its noise 400; the fat has 1100.
  const value = Number(await white.inputValue());
  await shot();
  assert.ok(value > 380 && value < 550, `white at ${value}`);
});

pageTest("says how many voxels were no numbers", {}, async ({ page, app }) => {
  await app.flair.setInputFiles(inputs.nan);
  await app.says("Ready");
  // 23 NaN and 7 infinite ones.
  await page.getByText(/\b30 voxels were not finite numbers/).first().waitFor();
});

pageTest("takes a T1 on another grid and says so", {}, async ({ page, app }) => {
  await app.flair.setInputFiles(inputs.good);
  await app.says("Ready");
  await app.t1.setInputFiles(inputs.t1_other_grid);
  await page.getByText(/resampled/i).first().waitFor();
  await app.says("Ready");
  assert.ok(await app.segment.isEnabled());
});

pageTest("refuses a T1 that lies elsewhere and goes on without it", {}, async ({ page, app }) => {
  await app.flair.setInputFiles(inputs.good);
  await app.says("Ready");
  await app.t1.setInputFiles(inputs.t1_far);
  const problem = page.getByRole("alert").filter({ hasText: /T1/ }).first();
  await problem.waitFor();
  assert.match(await problem.textContent(), /without the T1|not registered|same person/);
  assert.ok(await app.segment.isEnabled(), "the FLAIR alone can still be segmented");
});

pageTest("asks for nothing after a scan is opened but its own files", {}, async ({ page, app, requests }) => {
  await app.says("Open a FLAIR scan to begin");
  await page.waitForLoadState("networkidle");
  const before = requests.length;
  await app.flair.setInputFiles(inputs["sub-x_ses-2_FLAIR"]);
  await app.says("Ready");
  await page.waitForLoadState("networkidle");
  const after = requests.slice(before);
  assertOwnFilesOnly(after);
  assert.ok(!JSON.stringify(requests).includes("sub-x"), "a request names the scan");
});
