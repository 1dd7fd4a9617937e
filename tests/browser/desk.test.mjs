// The desk when engines fail, messages are odd and people are impatient. What it does with scans that are fine is
// tested through the page.
import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import { deskTest, settings } from "./desk/desk.mjs";
import { dice, truth } from "./desk/scan.mjs";

const right = (run) => {
  assert.equal(run.kind, "Segmented", JSON.stringify(run.says));
  assert.ok(dice(run.mask.buffer) > 0.95, `Dice ${dice(run.mask.buffer)}`);
};
const gpu = { engine: { Use: "WebGpu" } };
const done = (messages) => messages.filter((m) => m.Progress?.stage === "Segmenting").map((m) => m.Progress.done);

deskTest("segments, cuts and saves on the scan's own grid", async (desk) => {
  await desk.open();
  await desk.tell({ Plan: settings }, { case: 7 });
  const first = await desk.hear("Planned");
  assert.equal(first.case, 7);
  assert.equal(first.says.seconds, undefined, "nothing was timed yet");
  assert.ok((await desk.hear("Planned")).says.seconds > 0, "a patch was timed");
  const run = await desk.run();
  right(run);
  assert.equal(run.says.plan.tiles, first.says.tiles);
  assert.equal(run.buffer.length, 352 + 4 * truth.length);
  assert.equal(run.mask.says.lesions.length, 3);
  assert.equal(done(await desk.rest()).at(-1), first.says.tiles);
  for (const [product, name, bytes] of [["Mask", "mask", 1], ["Probability", "probseg", 4]]) {
    await desk.tell({ Save: product });
    const saved = await desk.hear("Saved");
    assert.equal(saved.says.name, `sub-01_desc-lesion_${name}.nii.gz`);
    const file = gunzipSync(saved.buffer);
    assert.equal(file.length, 352 + bytes * truth.length);
    assert.equal(file.readFloatLE(280), -1, "first element of the affine");
  }
});

deskTest("answers a burst of cuts by the last", async (desk) => {
  await desk.open();
  right(await desk.run());
  const cuts = Array.from({ length: 50 }, (_, i) => ({ Cut: { threshold: (i + 1) / 64, min_lesion_mm3: 3 } }));
  await desk.tellAll(cuts);
  await desk.pause(1500);
  const masks = (await desk.rest()).filter((m) => m.Mask).map((m) => m.Mask.threshold);
  assert.ok(masks.length < 10, `${masks.length} masks were cut`);
  assert.equal(masks.at(-1), 50 / 64);
});

deskTest("answers whatever it is told", async (desk) => {
  const odd = [7, null, "x", {}, { message: "Nonsense" }, { message: { Open: {} } }, { message: { Cut: { threshold: "a" } } }];
  for (const value of odd) {
    await desk.raw(value);
    await desk.hear("Failed", 5000);
  }
  await desk.tell({ Open: { slot: "Flair" } });
  assert.match((await desk.hear("Refused")).says.problem, /No file/);
  await desk.tell({ Segment: settings });
  assert.match((await desk.hear("Failed")).says.problem, /Open a FLAIR/);
  await desk.tell({ Cut: { threshold: 0.5, min_lesion_mm3: 0 } });
  assert.match((await desk.hear("Failed")).says.problem, /no result/);
  await desk.tell({ Save: "Mask" });
  assert.match((await desk.hear("Failed")).says.problem, /no result/);
  await desk.tell("Cancel");
  await desk.hear("Cancelled");
  await desk.open();
  for (const over of [{ patch: 0 }, { patch: 100000 }, { overlap: 1 }, { overlap: -1 }, { window: "square" }, { model: "../x" }, { model: "models/none" }]) {
    assert.equal((await desk.run(over)).kind, "Failed", JSON.stringify(over));
  }
  right(await desk.run());
  await desk.tell({ Cut: { threshold: 7, min_lesion_mm3: 0 } });
  await desk.hear("Failed");
  await desk.tell({ Cut: { threshold: 0.5, min_lesion_mm3: 0 } });
  await desk.hear("Mask");
});

deskTest("cancels within a tile, and the next run works", async (desk, modes) => {
  modes.cpu = { millis: 600_000 };
  await desk.open();
  await desk.tell({ Segment: settings });
  await desk.pause(1500);
  const asked = performance.now();
  await desk.tell("Cancel");
  await desk.hear("Cancelled");
  assert.ok(performance.now() - asked < 1000, `${performance.now() - asked} ms`);
  assert.ok(!(await desk.rest()).some((m) => m.Failed || m.Segmented));
  modes.cpu = {};
  right(await desk.run());
});

deskTest("a new scan ends the run; of two runs asked for at once one is made", async (desk, modes) => {
  modes.cpu = { millis: 600_000 };
  await desk.open();
  await desk.tell({ Segment: settings });
  await desk.pause(1000);
  assert.equal((await desk.open()).kind, "Opened");
  modes.cpu = {};
  await desk.tellAll([{ Segment: settings }, { Segment: settings }]);
  await desk.hear("Mask");
  await desk.pause(1000);
  assert.equal((await desk.rest()).filter((m) => m.Segmented).length, 1);
});

deskTest("replaces a CPU engine that dies", async (desk, modes) => {
  for (const mode of [{ dieAt: 3 }, { nonsenseAt: 2 }, { nanAt: 2 }]) {
    modes.cpu = mode;
    await desk.start();
    await desk.open();
    right(await desk.run());
  }
});

deskTest("says why when no CPU engine lives, and works once one does", async (desk, modes) => {
  for (const [mode, why] of [[{ dieAt: 1 }, /ended on purpose/], [{ start: "throw" }, /start on purpose/], [{ load: "no such layer" }, /no such layer/]]) {
    modes.cpu = mode;
    await desk.start();
    await desk.open();
    const run = await desk.run();
    assert.equal(run.kind, "Failed");
    assert.match(run.says.problem, why);
    modes.cpu = {};
    right(await desk.run());
  }
});

deskTest("honours WebGPU by name and warns of a software adapter, which automatic leaves alone", async (desk) => {
  await desk.open();
  const run = await desk.run(gpu);
  right(run);
  assert.equal(run.says.plan.engine, "WebGpu");
  assert.match(run.says.notes.join(" "), /emulated in software/);
  await desk.tell({ Plan: { ...settings, engine: "Auto" } });
  const plan = (await desk.hear("Planned")).says;
  assert.equal(plan.engine, "Cpu");
  assert.match(plan.why, /software/);
});

const failures = {
  "fails its self-test": { selfTest: "probabilities differ by 0.4" },
  "dies in mid-run": { dieAt: 4 },
  "answers with NaN": { nanAt: 3 },
  "talks nonsense": { nonsenseAt: 2 },
  "cannot start": { start: "throw" },
  "cannot load the network": { load: "no such layer" },
};
for (const [what, mode] of Object.entries(failures)) {
  deskTest(`a GPU engine that ${what} hands over to the CPU and nothing fused is lost`, async (desk, modes) => {
    modes.gpu = mode;
    await desk.open();
    const run = await desk.run(gpu);
    right(run);
    assert.equal(run.says.plan.engine, "Cpu");
    const said = await desk.rest();
    assert.equal(said.filter((m) => m.EngineChanged?.engine === "Cpu").length, 1);
    const counts = done(said);
    assert.ok(counts.every((n, i) => i === 0 || n >= counts[i - 1]), counts.join(" "));
  });
}

deskTest("names damaged weights", async (desk, modes) => {
  modes.replace = (inner) => (/^models\/.*\.safetensors$/.test(inner) ? Buffer.from("other bytes") : undefined);
  await desk.open();
  const run = await desk.run();
  assert.equal(run.kind, "Failed");
  assert.match(run.says.problem, /SHA-256/);
  modes.replace = undefined;
  right(await desk.run());
});
