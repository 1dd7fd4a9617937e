// Fine-tuning survives the loss of the tab, of the desk, of the engine and of the GPU: nothing but a few steps is made again,
// and on the CPU the result is that of a run which nothing interrupted.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { dist, pageTest } from "./harness.mjs";
import { cohort, replace, viewOf } from "./tuning.mjs";

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

// Engines that can be made to fail from outside: they listen to a channel that the page does not know.
const listening = (then) => `new BroadcastChannel("the test").addEventListener("message", ({ data }) => { ${then} });\n`;
// A dying engine may complain more than once, and still be heard when the desk has let it go.
const CRASH = listening(`if (data === "crash") {
  for (let i = 0; i < 50; i++) setTimeout(() => { throw new RangeError("out of memory, on purpose"); });
}`);
const LOSE = `const devices = [];
  const request = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (...asked) {
    const device = await request.apply(this, asked);
    devices.push(device);
    return device;
  };
  ${listening('if (data === "lose") devices.forEach((device) => device.destroy());')}`;
function mortal(inner) {
  const before = { "tutor-cpu": CRASH, "tutor-gpu": LOSE }[/^(tutor-[cg]pu)-\w+\.js$/.exec(inner)?.[1]];
  return before ? before + readFileSync(path.join(dist, inner), "utf8") : replace(inner);
}
const tell = (page, what) => page.evaluate((what) => {
  const channel = new BroadcastChannel("the test");
  channel.postMessage(what);
  channel.close();
}, what);

// Ends what was broken on purpose from counting as a fault of the page.
const forgive = (problems, words) => problems.splice(0, problems.length, ...problems.filter((text) => !words.test(text)));

async function reloaded(page, app) {
  await page.reload();
  await app.flair.waitFor({ state: "attached", timeout: 60_000 });
}

// Goes on with the run that the page offers; answers the step that it was stored at.
async function resume(view) {
  const offer = view.main.getByRole("region", { name: "Interrupted run" });
  await offer.getByText(/was interrupted at step/).waitFor({ timeout: 60_000 });
  const stored = Number(/at step (\d+) of/.exec(await offer.textContent())[1]);
  await view.button("Go on with it").click();
  await view.says(/Training, step \d+|Did it help|Scoring the best/);
  return stored;
}

pageTest("fine-tune: crashes of tab and engine leave the result as it would have been", { replace: mortal }, async ({ page, app, problems, requests, t }) => {
  const view = viewOf(page);
  await view.open(cohort.good, "3 of 3 cases ready for training.");
  const plan = { steps: 400, every: 20, part: "everything" };
  await view.plan(plan);
  const begin = () => view.button("Start training").click();
  const stored = (step) => view.main.getByText(new RegExp(`Stored up to step ${step}`)).waitFor({ timeout: 120_000 });
  const again = async () => {
    await page.getByRole("button", { name: "Plan" }).click();
    await begin();
  };
  await begin();
  await view.result();
  const expected = await view.card("Undisturbed");
  assert.equal(expected.fine_tuning.folds[0].losses.length, 400);
  const same = (card, what) => {
    assert.deepEqual(card.fine_tuning.folds[0].losses, expected.fine_tuning.folds[0].losses, `${what}: another curve`);
    assert.deepEqual(card.fine_tuning, expected.fine_tuning, what);
    assert.equal(card.weights.sha256, expected.weights.sha256, `${what}: other weights`);
  };

  // Every engine crashes at once: others are started, and no one is asked.
  await again();
  await stored("[4-9]\\d:");
  const started = () => requests.filter(({ url }) => /tutor-cpu-\w+\.js$/.test(url)).length;
  const [reached, engines] = [await view.step(), started()];
  await tell(page, "crash");
  await view.result();
  t.diagnostic(`crashed about step ${reached} of 400; engines started: ${engines}, after it ${started() - engines}`);
  assert.ok(started() > engines, "no engine was started anew: nothing crashed");
  same(await view.card("Crashed"), "after a crash of the engines");

  // The tab goes, in the middle of a step.
  await again();
  await stored("[4-9]\\d:");
  const before = await view.step();
  await reloaded(page, app);
  const kept = await resume(view);
  assert.ok(kept >= before - 2 * 20, `at step ${before} only ${kept} were stored`);
  const scores = await view.result();
  assert.ok(Number.isFinite(scores.DSC.after));
  // What was lost with the tab is there again: both maps and both pictures.
  assert.equal(await view.main.getByRole("img", { name: /^Slice of the held-out case (before|after)/ }).count(), 2);
  await view.save("Save probability map before");
  await view.save("Save probability map after");
  // And once more when all was over.
  await reloaded(page, app);
  await view.main.getByText(/was interrupted at step 400 of 400/).waitFor({ timeout: 60_000 });
  await view.button("Go on with it").click();
  assert.deepEqual(await view.result(), scores);
  assert.equal(await view.main.getByRole("img", { name: /^Slice of the held-out case (before|after)/ }).count(), 2);
  await view.save("Save probability map before");
  same(await view.card("Reloaded"), "after a reload");
  forgive(problems, /on purpose/);
});

pageTest("fine-tune: a pause is stored, and a dead desk costs a few steps", { replace }, async ({ page, app, problems }) => {
  await page.addInitScript(remember);
  await reloaded(page, app);
  const view = viewOf(page);
  await view.open(cohort.good, "3 of 3 cases ready for training.");
  await view.plan({ steps: 4000, every: 10 });
  await view.button("Start training").click();
  await view.main.getByText(/Stored up to step [1-9]\d+:/).waitFor({ timeout: 120_000 });
  await view.button("Pause").click();
  await view.says(/Paused at step/);
  const paused = await view.step();
  await view.main.getByText(`Stored up to step ${paused}:`).waitFor();
  await reloaded(page, app);
  assert.equal(await resume(view), paused, "a step before the pause was lost");

  // Some steps more, then the desk's worker dies.
  await view.main.getByText(/Stored up to step [1-9]\d+:/).waitFor({ timeout: 120_000 });
  const reached = await view.step();
  await page.evaluate(() => {
    const [, worker] = globalThis.workers.findLast(([name]) => name === "tuning desk");
    worker.terminate();
    worker.dispatchEvent(new ErrorEvent("error", { message: "killed on purpose" }));
  });
  await view.main.getByText(/stopped unexpectedly \(killed on purpose\)/).waitFor();
  assert.ok((await resume(view)) >= reached - 20, "more was lost than the steps since the checkpoint before");
  await view.button("Stop and evaluate").click();
  await view.result();
  // Back to the weights that it started from: evaluated anew, they score what they scored before.
  await view.main.getByLabel("Weights of").selectOption("0");
  await view.main.getByText(/No step scored better|hardly different/).waitFor({ timeout: 120_000 });
  const { DSC } = await view.result();
  assert.equal(DSC.after, DSC.before);
  forgive(problems, /on purpose/);
});

pageTest("fine-tune: a WebGPU device that is lost hands over to the CPU", { replace: mortal }, async ({ page, problems, requests, t, shot }) => {
  const view = viewOf(page);
  await view.open(cohort.good, "3 of 3 cases ready for training.");
  await view.plan({ engine: "WebGPU", steps: 60, every: 4 });
  await view.button("Start training").click();
  await view.main.getByText(/Stored up to step [48]:/).waitFor({ timeout: 500_000 });
  assert.ok(requests.some(({ url }) => url.includes("tutor-gpu")), "the GPU engine that trains was not loaded");
  const before = await view.step();
  await tell(page, "lose");
  await view.main.getByText(/The engine was changed to (the )?CPU/).waitFor({ timeout: 60_000 });
  await shot("-changed");
  await view.says(/Training, step \d+/);
  const after = await view.step();
  t.diagnostic(`lost about step ${before}, gone on at ${after}: ${await view.main.getByText(/The engine was changed/).textContent()}`);
  assert.ok(after >= before - 8, `lost at step ${before}, gone on at ${after}`);
  await view.result();
  const { fine_tuning: record } = await view.card("Handed over");
  assert.equal(record.folds[0].losses.length, 60);
  forgive(problems, /./);
});
