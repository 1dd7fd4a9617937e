// Fine-tuning in the page: a toy network on both engines, the network that ships on the CPU, on a small cohort made on
// the spot.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { makeCohort } from "./cohort.mjs";
import { assertOwnFilesOnly, axeSource, pageTest, python, temporary } from "./harness.mjs";

const cohort = makeCohort(path.join(temporary, "cohort"), 3);
const toy = (name) => readFileSync(fileURLToPath(new URL(`toy/${name}`, import.meta.url)));
const heldOutMask = cohort.good.find((file) => /sub-03.*mask/.test(file));

// In the place of whatever network the page asks for.
function replace(inner) {
  if (/^models\/.*\/card-[0-9a-f]+\.json$/.test(inner)) return toy("card.json");
  if (/^models\/.*\.safetensors$/.test(inner)) return toy("weights.safetensors");
  return undefined;
}

// The view by its accessible names.
function viewOf(page) {
  const main = page.locator("main.finetune");
  const button = (name) => main.getByRole("button", { name, exact: true });
  const set = async (label, value) => {
    const field = main.getByLabel(label, { exact: true });
    await field.fill(String(value));
    await field.press("Enter");
  };
  return {
    main,
    button,
    async open(files, ready) {
      await page.getByRole("link", { name: "Fine-tune" }).click();
      await main.getByLabel("Add files").setInputFiles(files);
      await main.getByText(ready).waitFor({ timeout: 60_000 });
    },
    // Fills the plan in.
    async plan({ engine = "CPU", steps = 40, rate = 0.005, every = 10, part, patch }) {
      await button("Plan the training").click();
      await main.getByLabel("Train on").selectOption({ label: engine });
      if (part) await main.getByLabel("What learns").selectOption(part);
      await set("Steps", steps);
      await main.getByText("More settings").click();
      await set("Learning rate", rate);
      await set("Look at the held-out case every", every);
      await set("Stop after looks without gain", 0);
      await set("Checkpoint every", every);
      if (patch) await main.getByLabel("Training patch").selectOption(patch);
    },
    status: () => main.getByRole("status").first(),
    says: (words, timeout = 240_000) => main.getByRole("status").filter({ hasText: words }).first().waitFor({ timeout }),
    // Steps done, from the words on the run.
    async step() {
      return Number(/step (\d+) of/.exec(await this.status().textContent())?.[1] ?? 0);
    },
    // Waits for the verdict and reads the table of scores.
    async result(timeout = 240_000) {
      await main.getByRole("heading", { name: "Did it help?" }).waitFor({ timeout });
      const rows = await main.getByRole("region", { name: "Scores before and after" }).getByRole("row").allInnerTexts();
      return Object.fromEntries(rows.slice(1).map((row) => {
        const [name, ...cells] = row.split(/\t/).map((cell) => cell.trim());
        return [name, { before: Number.parseFloat(cells[0]), after: Number.parseFloat(cells[1]) }];
      }));
    },
    loss: () => main.locator("section").filter({ hasText: "Loss on the training patches" }).locator("svg").getAttribute("aria-label"),
    async save(name) {
      const [download] = await Promise.all([page.waitForEvent("download"), button(name).click()]);
      const file = path.join(temporary, `${Math.random().toString(36).slice(2)}-${download.suggestedFilename()}`);
      await download.saveAs(file);
      return file;
    },
  };
}

async function assertAccessible(page) {
  await page.evaluate(axeSource());
  const { violations } = await page.evaluate(() => globalThis.axe.run(document));
  assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map((n) => n.html.slice(0, 120)).join(" ")}`), []);
}

// Scores on the page are those that numpy finds in the map that the page gives away.
function assertScores(scores, when, map, t) {
  const outside = python("check_finetune.py", map, heldOutMask, "0.5");
  t.diagnostic(`${when}: ${JSON.stringify(outside)}`);
  for (const name of ["DSC", "precision", "recall", "F2"]) {
    const [page, numpy] = [scores[name][when], outside[name]];
    if (numpy === null) assert.ok(Number.isNaN(page), `${name} ${when}: the page says ${page}, numpy has none`);
    else assert.ok(Math.abs(page - numpy) < 6e-4, `${name} ${when}: the page says ${page}, numpy ${numpy}`);
  }
  return outside;
}

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
  await page.evaluate(() => {
    globalThis.longest = 0;
    const see = (list) => list.getEntries().forEach(({ duration }) => (globalThis.longest = Math.max(globalThis.longest, duration)));
    new PerformanceObserver(see).observe({ type: "longtask" });
  });
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
  t.diagnostic(`longest task of the page during the run: ${await page.evaluate(() => globalThis.longest)} ms`);
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
  const downloads = [];
  page.on("download", (download) => downloads.push(download));
  await view.button("Save files").click();
  while (downloads.length < 2) await page.waitForTimeout(50);
  const files = [];
  for (const download of downloads) {
    const file = path.join(temporary, download.suggestedFilename());
    await download.saveAs(file);
    files.push(file);
  }
  assert.deepEqual(files.map((file) => path.basename(file)).sort(), ["Scanner-B.card.json", "Scanner-B.safetensors"]);
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

// Remembers the workers, so that a test can kill one as a browser does when memory runs out.
const remember = () => {
  globalThis.workers = [];
  const Original = globalThis.Worker;
  globalThis.Worker = class extends Original {
    constructor(url, options) {
      super(url, options);
      globalThis.workers.push([options?.name, this]);
    }
  };
};

pageTest("fine-tune: a reload and a dead worker cost a few steps", { replace }, async ({ page, app, problems }) => {
  await page.addInitScript(remember);
  await page.reload();
  await app.flair.waitFor({ state: "attached", timeout: 60_000 });
  const view = viewOf(page);
  await view.open(cohort.good, "3 of 3 cases ready for training.");
  await view.plan({ steps: 4000, every: 10 });
  await view.button("Start training").click();
  await view.main.getByText(/Stored up to step [1-9]\d/).waitFor({ timeout: 120_000 });
  const resume = async () => {
    await view.main.getByText(/was interrupted at step/).waitFor({ timeout: 60_000 });
    const stored = Number(/at step (\d+) of/.exec(await view.main.getByRole("region", { name: "Interrupted run" }).textContent())[1]);
    await view.button("Go on with it").click();
    await view.says(/Training, step \d+/);
    assert.ok((await view.step()) >= stored, "it began anew");
    return stored;
  };
  let reached = await view.step();
  await page.reload();
  await app.flair.waitFor({ state: "attached", timeout: 60_000 });
  assert.ok((await resume()) >= reached - 10 - 10, "more was lost than the steps since the checkpoint before");

  // Ten more steps, then the desk's worker dies.
  await view.main.getByText(/Stored up to step [1-9]\d/).waitFor({ timeout: 120_000 });
  reached = await view.step();
  await page.evaluate(() => {
    const [, worker] = globalThis.workers.findLast(([name]) => name === "tuning desk");
    worker.terminate();
    worker.dispatchEvent(new ErrorEvent("error", { message: "killed on purpose" }));
  });
  await view.main.getByText(/stopped unexpectedly \(killed on purpose\)/).waitFor();
  assert.ok((await resume()) >= reached - 20, "more was lost than the steps since the checkpoint before");
  await view.button("Stop and evaluate").click();
  await view.result();
  // Back to the weights that it started from: evaluated anew, they score what they scored before.
  await view.main.getByLabel("Weights of").selectOption("0");
  await view.main.getByText(/No step scored better|hardly different/).waitFor({ timeout: 120_000 });
  const { DSC } = await view.result();
  assert.equal(DSC.after, DSC.before);
  problems.splice(0, problems.length, ...problems.filter((text) => !/on purpose/.test(text)));
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
