// Fine-tuning in the page: a toy network on both engines, the network that ships on the CPU, on a small cohort made on
// the spot.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { assertOwnFilesOnly, pageTest, python } from "./harness.mjs";
import { watchTasks } from "./tasks.mjs";
import { assertAccessible, assertScores, cohort, replace, viewOf } from "./tuning.mjs";

pageTest("fine-tune: cohort to kept network on the CPU", { replace }, async ({ page, app, requests, t, shot }) => {
  const view = viewOf(page);
  await view.open([...cohort.good, ...cohort.bad], "3 of 5 cases ready for training.");
  // What is bad is named, one by one, and blocks nothing.
  const bad = (name) => view.main.getByRole("article", { name }).getByRole("alert");
  assert.match(await bad("sub-08").textContent(), /marks no lesion/);
  assert.match(await bad("sub-09").textContent(), /FLAIR: .*not a NIfTI/);
  await view.main.getByRole("region", { name: /not used/ }).getByText("readme.txt").waitFor();
  await assertAccessible(page);
  await shot("-1-cohort");

  await view.plan({ steps: 400, part: "everything", every: 50 });
  await view.main.getByText("Total time").waitFor();
  await view.main.getByText("measuring…").first().waitFor({ state: "detached", timeout: 60_000 });
  await assertAccessible(page);
  await shot("-2-plan");
  await page.waitForLoadState("networkidle");
  const before = requests.length;
  await view.button("Start training").click();
  await view.says(/Training, step \d\d/);
  await view.button("Pause").click();
  await view.says(/Paused at step/);
  const paused = await view.step();
  await assertAccessible(page);
  await shot("-3-watch");
  await page.waitForTimeout(1000);
  assert.equal(await view.step(), paused, "it went on while it was paused");
  const early = await view.loss();
  await view.button("Go on").click();
  const scores = await view.result();
  assert.equal(requests.length, before, "a request was made during the run");
  await assertAccessible(page);
  await shot("-4-decide");

  const [mapBefore, mapAfter] = [await view.save("Save probability map before"), await view.save("Save probability map after")];
  assertScores(scores, "before", mapBefore, t);
  const after = assertScores(scores, "after", mapAfter, t);
  assert.ok(after.DSC > (scores.DSC.before || 0) + 0.05, `DSC ${scores.DSC.before} to ${after.DSC}`);
  await page.getByRole("button", { name: "Watch" }).click();
  const late = await view.loss();
  const smoothed = (words) => Number(/smoothed ([\d.]+)/.exec(words)[1]);
  t.diagnostic(`loss: ${early}; ${late}`);
  assert.ok(smoothed(late) < smoothed(early), `the loss did not fall: ${early}, then ${late}`);

  // Kept, it is one of Segment's networks and gives there what it gave here.
  await page.getByRole("button", { name: "Decide" }).click();
  await view.main.getByLabel("Name of the network").fill("Scanner B");
  await view.button("Keep").click();
  await view.main.getByText("The network is kept in this browser").waitFor();
  await page.getByRole("link", { name: "Segment" }).click();
  const segmented = async (label) => {
    await page.getByRole("combobox", { name: "Network" }).selectOption({ label });
    await app.engine.selectOption({ label: "CPU" });
    await app.segment.click();
    await app.says("Done", 240_000);
    return (await app.save(app.saveProbability)).file;
  };
  await app.flair.setInputFiles(cohort.good.find((file) => /sub-03_FLAIR/.test(file)));
  await app.says("Ready");
  await app.t1.setInputFiles(cohort.good.find((file) => /sub-03_T1w/.test(file)));
  await app.says("Ready");
  const kept = await segmented("Scanner B");
  const same = python("compare.py", kept, mapAfter);
  assert.ok(same.largest < 1e-5, `Segment with the kept network differs by ${same.largest}`);

  // Exported, deleted, and loaded again, it predicts the same.
  await page.getByRole("link", { name: "Fine-tune" }).click();
  const files = await view.files("Save files", 2);
  assert.deepEqual(files.map((file) => path.basename(file)), ["Scanner-B.card.json", "Scanner-B.safetensors"]);
  const card = JSON.parse(readFileSync(files.find((file) => file.endsWith(".json")), "utf8"));
  assert.equal(card.fine_tuning.n, 3);
  assert.ok(!JSON.stringify(card).includes("sub-0"), "the card names a case");
  await view.button("Delete Scanner B").click();
  await view.main.getByText("None yet.").waitFor();
  await view.main.getByLabel("Load a network’s files").setInputFiles(files);
  await view.main.getByText("Scanner B", { exact: true }).waitFor();
  await page.reload();
  await app.flair.waitFor({ state: "attached", timeout: 60_000 });
  await page.getByRole("link", { name: "Segment" }).click();
  await app.flair.setInputFiles(cohort.good.find((file) => /sub-03_FLAIR/.test(file)));
  await app.says("Ready");
  await app.t1.setInputFiles(cohort.good.find((file) => /sub-03_T1w/.test(file)));
  await app.says("Ready");
  const again = python("compare.py", await segmented("Scanner B"), kept);
  assert.equal(again.largest, 0, "the network that was loaded predicts something else");
  await page.getByRole("link", { name: "Fine-tune" }).click();
  await view.button("Forget everything").click();
  await view.button("Yes, delete everything").click();
  await view.main.getByText("None yet.").waitFor();
  assertOwnFilesOnly(requests);
});

// Mean and standard deviation (n - 1).
function spread(values) {
  const mean = values.reduce((a, b) => a + b) / values.length;
  return [mean, Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1))];
}

pageTest("fine-tune: k-fold by case shows mean and spread", { replace }, async ({ page, t, shot }) => {
  const view = viewOf(page);
  await view.open(cohort.good, "3 of 3 cases ready for training.");
  await view.plan({ steps: 100, every: 50, part: "everything" });
  await view.main.getByLabel("Held-out case", { exact: true }).selectOption("folds 3");
  const said = await view.listen();
  await view.button("Start training").click();
  await view.result();
  const heard = await said();
  for (const run of [1, 2, 3, 4]) assert.ok(heard.some((words) => words.includes(`Training, run ${run} of 4`)), `run ${run} in ${heard}`);
  await assertAccessible(page);
  await shot("-decide");
  const rows = async (name) => {
    const found = await view.main.getByRole("region", { name }).getByRole("row").allInnerTexts();
    return found.slice(1).map((row) => row.split(/\t/).map((cell) => cell.trim()));
  };
  const [summary, each] = [await rows("Scores before and after"), await rows("Scores of each case")];
  assert.deepEqual(each.map(([name]) => name).sort(), ["sub-01", "sub-02", "sub-03"]);
  t.diagnostic(JSON.stringify({ summary, each }));
  assert.match(await view.main.getByText(/^Held-out cases/).textContent(), /n = 3/);
  assert.match(await view.main.getByRole("status").filter({ hasText: "On the held-out cases" }).textContent(), /of n = 3, SD of the change \d/);
  assert.equal(await view.button("Save probability map after").count(), 0, "of k-fold no maps are kept");

  // What is shown is what the card holds of each case, and each was held out of the network that it was scored on.
  const { fine_tuning: record } = await view.card("Three folds");
  assert.deepEqual(record.folds.map(({ held_out }) => held_out), [[0], [1], [2], []]);
  for (const { train, held_out } of record.folds.slice(0, 3)) assert.ok(!train.includes(held_out[0]));
  const best = record.folds.slice(0, 3).map(({ best_step }) => best_step).sort((a, b) => a - b);
  assert.equal(record.folds[3].planned, best[1], "the last run takes the median of the others' best steps");
  assert.equal(record.folds[3].losses.length, best[1]);
  for (const [column, when] of [[1, "before"], [2, "after"]]) {
    const values = record.folds.slice(0, 3).map((fold) => fold[when][0].evaluation.DSC);
    const [mean, sd] = spread(values);
    assert.equal(summary[0][column], `${mean.toFixed(3)} ± ${sd.toFixed(3)}`, `DSC ${when}`);
  }
});

pageTest("fine-tune: a budget in minutes, and no task of the page over 50 ms", { replace }, async ({ page, t }) => {
  const view = viewOf(page);
  await view.open(cohort.good, "3 of 3 cases ready for training.");
  await view.plan({ every: 50, part: "everything" });
  await view.main.getByLabel("Train for").selectOption("minutes");
  const minutes = view.main.getByLabel("Minutes", { exact: true });
  await minutes.fill("0.5");
  await minutes.press("Enter");
  // Until a step was timed nobody knows how many fit.
  await view.main.getByText("measuring…").first().waitFor({ state: "detached", timeout: 60_000 });
  await page.waitForTimeout(1000);
  const start = view.button("Start training");
  for (let tries = 0; (await start.isDisabled()) && tries < 100; tries++) await page.waitForTimeout(100);
  const said = await view.main.locator("p.plan").textContent();
  const planned = Number(/^([\d\s,]+) step/.exec(said)[1].replace(/\D/g, ""));
  const figure = async (name) => view.main.locator("dl.figures div").filter({ hasText: name }).locator("dd").textContent();
  t.diagnostic(`${said}; one step ${await figure("One step")}, in all ${await figure("Total time")}`);
  assert.match(await figure("Total time"), /^(2\d|30) s$/);
  const tasks = await watchTasks(page);
  const begun = performance.now();
  await start.click();
  await view.says(new RegExp(`Training, step \\d+ of ${planned}[ ,.]`));
  await view.result(120_000);
  const seconds = (performance.now() - begun) / 1000;
  t.diagnostic(`${planned} steps with looks and scores took ${seconds.toFixed(1)} s of 30 s`);
  const { count, longest, long } = await tasks();
  t.diagnostic(`${count} tasks of the page's own thread, the longest ${JSON.stringify(longest)}`);
  assert.deepEqual(long, []);
  // The dry step is one sample on a machine that does other things, too: neither a tenth nor three times of it.
  assert.ok(seconds > 3 && seconds < 90, `${seconds} s`);
});

pageTest("fine-tune: full storage is said, and the run goes on", { replace }, async ({ page }) => {
  const view = viewOf(page);
  await view.open(cohort.good, "3 of 3 cases ready for training.");
  await view.plan({ steps: 20, every: 10 });
  const { origin } = new URL(page.url());
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 1000 });
  await view.button("Start training").click();
  await view.main.getByText(/cannot be stored.*is full.*It goes on/).waitFor();
  await view.result();
  await view.button("Keep").click();
  await view.main.getByText(/could not be kept: .*is full/).waitFor();
  await devtools.send("Storage.overrideQuotaForOrigin", { origin });
  await view.button("Keep").click();
  await view.main.getByText("The network is kept in this browser").waitFor();
});

pageTest("fine-tune: the same on WebGPU with a toy network", { replace }, async ({ page, requests, t }) => {
  const view = viewOf(page);
  await view.open(cohort.good, "3 of 3 cases ready for training.");
  await view.plan({ engine: "WebGPU", steps: 12, every: 12 });
  await view.button("Start training").click();
  const scores = await view.result(500_000);
  assert.ok(requests.some(({ url }) => url.includes("tutor-gpu")), "the GPU engine that trains was not loaded");
  assert.equal(await view.main.getByText("The engine was changed").count(), 0, "the engine was changed");
  assertScores(scores, "after", await view.save("Save probability map after"), t);
});

pageTest("fine-tune: a result is corrected with pen and eraser and becomes a case", { replace }, async ({ page, app, shot }) => {
  const view = viewOf(page);
  await app.engine.selectOption({ label: "CPU" });
  await app.flair.setInputFiles(cohort.good.find((file) => /sub-01_FLAIR/.test(file)));
  await app.says("Ready");
  await app.segment.click();
  await app.says("Done", 240_000);
  await page.getByText("Axial", { exact: true }).click();
  const load = async () => Number.parseFloat(await page.locator("dl div").filter({ hasText: "Lesion load" }).locator("dd").textContent());
  const { x, y, width, height } = await app.canvas.boundingBox();
  const stroke = async () => {
    await page.mouse.move(x + 0.45 * width, y + 0.45 * height);
    await page.mouse.down();
    await page.mouse.move(x + 0.55 * width, y + 0.55 * height, { steps: 8 });
    await page.mouse.up();
  };
  const correct = async (undo) => {
    await page.getByRole("button", { name: "Correct the mask" }).click();
    await page.getByLabel("Draw with").selectOption({ label: "Eraser" });
    await page.getByRole("slider", { name: "Width" }).fill("9");
    await stroke();
    await shot(undo ? "-undone" : "-erased");
    if (undo) await page.getByRole("button", { name: "Undo" }).click();
    await page.getByRole("button", { name: "Use this mask" }).click();
    await page.getByRole("button", { name: "Correct the mask" }).waitFor();
    await page.waitForTimeout(1000);
  };
  // With random weights nearly everything is lesion, so the eraser always meets some.
  const before = await load();
  await correct(true);
  assert.equal(await load(), before, "a stroke that was undone changed the mask");
  await correct(false);
  const after = await load();
  assert.ok(after < before, `the eraser took nothing away: ${before} mL before, ${after} mL after`);
  await page.getByRole("button", { name: "Use as training case" }).click();
  await view.main.getByText("1 of 1 case ready for training").waitFor();
  const article = view.main.getByRole("article", { name: /from Segment/ });
  const figure = await article.locator("dl div").filter({ hasText: "Lesion load" }).locator("dd").textContent();
  assert.ok(Math.abs(Number.parseFloat(figure) - after) <= 0.05 * after, `${figure} in the cohort, ${after} mL in Segment`);
});

pageTest("fine-tune: the network that ships, on the CPU", {}, async ({ page, requests, t }) => {
  const view = viewOf(page);
  await view.open(cohort.good, "3 of 3 cases ready for training.");
  await view.plan({ steps: 6, every: 6, rate: 0.001, patch: "32" });
  await view.button("Start training").click();
  const scores = await view.result(500_000);
  assert.ok(requests.some(({ url }) => url.includes("tutor-cpu")), "the CPU engine that trains was not loaded");
  assertScores(scores, "before", await view.save("Save probability map before"), t);
});
