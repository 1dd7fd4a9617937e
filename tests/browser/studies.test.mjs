// "Explore" with a scan, on toy networks: a family of two, and how patches are fused.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { assertOwnFilesOnly, axeSource, dist, follow, out, pageTest, root } from "./harness.mjs";

const toy = (name) => readFileSync(fileURLToPath(new URL(`toy/${name}`, import.meta.url)));
const sample = (name) => path.join(root, "www/samples", name);

// Half precision to a number and back (the values of a network: no infinities, and rounding does not matter here).
function fromHalf(bits) {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}
function toHalf(value) {
  if (Math.abs(value) < 2 ** -14) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  const fraction = Math.min(1023, Math.round((Math.abs(value) / 2 ** exponent - 1) * 1024));
  return (value < 0 ? 1 << 15 : 0) | ((exponent + 15) << 10) | fraction;
}

// The toy with other biases before its last layer, so that all its probabilities rise.
function shifted(by) {
  const bytes = Buffer.from(toy("weights.safetensors"));
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length));
  const place = (name, at) => 8 + length + header[name].data_offsets[0] + 2 * at;
  assert.equal(header["head.up.bias"].dtype, "F16");
  for (let at = 0; at < header["head.up.bias"].shape[0]; at++) {
    const weight = fromHalf(bytes.readUInt16LE(place("head.conv.weight", at)));
    const bias = place("head.up.bias", at);
    bytes.writeUInt16LE(toHalf(fromHalf(bytes.readUInt16LE(bias)) + by * Math.sign(weight)), bias);
  }
  return bytes;
}

function card(beta, weights) {
  const sha256 = createHash("sha256").update(weights).digest("hex");
  const plain = JSON.parse(toy("card.json"));
  return JSON.stringify({ ...plain, name: `toy-b${beta}`, beta, weights: { ...plain.weights, sha256 } });
}

// The page as if it shipped these networks: by beta, the shift of their last layer.
function family(members) {
  const files = {};
  const names = {};
  for (const [beta, by] of members) {
    const weights = shifted(by);
    files[`models/toy-b${beta}/card.json`] = Buffer.from(card(beta, weights));
    files[`models/toy-b${beta}/weights.safetensors`] = weights;
  }
  for (const name of Object.keys(files)) names[name] = name;
  const table = JSON.stringify(names).slice(1, -1);
  return (inner) => {
    if (files[inner]) return files[inner];
    if (!/^(app|desk)-.*\.js$/.test(inner ?? "")) return undefined;
    const script = readFileSync(path.join(dist, inner), "utf8");
    // What it really ships goes, what is asked for comes.
    const without = script.replace(/"models\/[^"]+":"models\/[^"]+",?/g, "");
    const changed = without.replace(/"samples\//, `${table},"samples/`);
    assert.notEqual(changed, script, `${inner} holds no table of files`);
    return changed;
  };
}

const region = (page, name) => page.getByRole("region", { name, exact: true });
const cells = async (row) => (await row.locator("td").allTextContents()).map(Number.parseFloat);
const slider = (page, name) => page.getByRole("slider", { name, exact: true });

async function opened(page, app) {
  await page.setViewportSize({ width: 1280, height: 860 });
  await app.engine.selectOption({ label: "CPU" });
  await app.openSample.click();
  await app.says("Ready");
}

async function axe(page, where) {
  await page.evaluate(axeSource());
  const { violations } = await page.evaluate(() => window.axe.run());
  assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`), [], where);
}

// Share of a canvas's pixels in a colour.
const coloured = (page, at, wanted) =>
  page.evaluate(([at, [r, g, b]]) => {
    const canvas = document.querySelectorAll(".explore .plane canvas")[at];
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let i = 0; i < data.length; i += 4) {
      const near = (value, to) => value >= to * 0.75 - 1 && value <= to * 0.75 + 65;
      count += near(data[i], r) && near(data[i + 1], g) && near(data[i + 2], b) && Math.abs(data[i] - data[i + 2]) > 40 ? 1 : 0;
    }
    return count / (data.length / 4);
  }, [at, wanted]);

pageTest("studies: a family of two on a scan, with and without a reference", { replace: family([[3, 0.6], [1, 0]]) }, async ({ page, app, requests, shot }) => {
  await opened(page, app);
  // What Segment finds with the first member is what the family says of it.
  await app.segment.click();
  await app.says("Done", 200_000);
  const load = Number.parseFloat(await page.locator("dl div").filter({ hasText: "Lesion load" }).locator("dd").textContent());
  await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: "Explore" }).click();
  await page.getByRole("link", { name: "Beta on a scan" }).click();
  await page.getByText("This page ships 2 networks: β 1, β 3.").waitFor();
  await page.getByRole("button", { name: "Run all 2" }).click();
  const table = region(page, "Every network in numbers");
  await table.waitFor({ timeout: 200_000 });
  const rows = table.locator("tbody tr");
  assert.deepEqual(await rows.locator("th").allTextContents(), ["β 1", "β 3"]);
  const [one, three] = [await cells(rows.nth(0)), await cells(rows.nth(1))];
  const chosen = await page.evaluate(() => document.querySelector("#model")?.value ?? "");
  assert.ok([one[0], three[0]].some((ml) => Math.abs(ml - load) <= 0.6), `${load} mL in Segment (${chosen}), ${one[0]} and ${three[0]} here`);
  assert.ok(three[0] > one[0], `a larger bias finds more: ${one[0]} and ${three[0]} mL`);

  // Switching is instant, and the shares add up.
  const start = performance.now();
  await slider(page, "Shown network").fill("1");
  await page.getByRole("heading", { name: "β 3 against β 1" }).waitFor();
  assert.ok(performance.now() - start < 2000, `${performance.now() - start} ms`);
  const shares = async () => (await page.locator(".scores.three dd").allTextContents()).map(Number.parseFloat);
  // Volumes are shown in three figures: from 100 mL on, to the millilitre.
  await page.waitForFunction(([ml]) => Math.abs(Number.parseFloat(document.querySelector(".scores.three dd").textContent) - ml) <= 0.51, [one[0]]);
  const [both, only3, only1] = await shares();
  assert.ok(Math.abs(both + only3 - three[0]) <= 0.52 && Math.abs(both + only1 - one[0]) <= 0.52, `${both} ${only3} ${only1}`);
  assert.ok(Math.abs(only3 - only1 - (three[0] - one[0])) < 0.03, `${only3} ${only1}`);
  await page.waitForTimeout(300);
  const seen = await coloured(page, 0, [213, 94, 0]);
  assert.ok(seen > 0.001, `${seen} of the axial slice is marked by the second alone`);
  await page.getByRole("heading", { name: "What the threshold does" }).waitFor({ timeout: 60_000 });
  await shot("-pair");

  // The crosshair moves by click and by key; the other planes follow.
  const axial = page.getByRole("application", { name: /^Axial/ });
  const where = () => axial.getAttribute("aria-label");
  const before = await where();
  const coronal = page.getByRole("application", { name: /^Coronal/ });
  await coronal.focus();
  await page.keyboard.press("ArrowUp");
  await page.waitForFunction((old) => document.querySelector('[aria-label^="Axial"]').getAttribute("aria-label") !== old, before);
  const z = (label) => Number(/z (.*) mm/.exec(label)[1].replace("−", "-"));
  assert.equal(z(await where()), z(before) + 1);

  // With a reference: scores are those of Segment's own comparison.
  await page.getByRole("button", { name: "Take the sample’s" }).click();
  await page.getByRole("heading", { name: "Precision and recall" }).waitFor({ timeout: 60_000 });
  await page.getByRole("combobox", { name: "Compared with" }).selectOption("reference");
  await page.getByRole("heading", { name: "β 3 against the reference" }).waitFor();
  const scored = [await cells(rows.nth(0)), await cells(rows.nth(1))];
  await axe(page, "beta on a scan");
  await shot("-reference");
  const own = scored.find(([ml]) => Math.abs(ml - load) <= 0.6);
  const comparison = async (name) =>
    Number(await page.locator(".comparison tr").filter({ has: page.locator(`#about-${name}`) }).locator("td").textContent());
  for (const [column, name] of [[2, "ppv"], [3, "tpr"], [4, "dsc"], [5, "f2"], [6, "apr"]]) {
    assert.ok(Math.abs(own[column] - (await comparison(name))) <= 0.0011, `${name}: ${own[column]} here, ${await comparison(name)} in Segment`);
  }
  // The threshold moves the numbers, and dragging the point moves the threshold.
  await slider(page, "Cut at").fill("0.9");
  await page.waitForFunction((old) => Number.parseFloat(document.querySelector('[aria-label="Every network in numbers"] td').textContent) < old, scored[0][0]);
  const chart = page.getByRole("img", { name: "Precision-recall curves of all networks" });
  await chart.scrollIntoViewIfNeeded();
  const box = await chart.boundingBox();
  await page.mouse.move(box.x + box.width * 0.5, box.y + box.height * 0.6);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.52, box.y + box.height * 0.6);
  await page.mouse.up();
  await page.waitForFunction(() => document.querySelector("#cut-at").value !== "0.9");
  assertOwnFilesOnly(requests.filter(({ url }) => !url.includes("models/toy")));
});

pageTest("studies: one network alone says so", { replace: family([[1.5, 0]]) }, async ({ page, app }) => {
  await app.says("Open a FLAIR scan to begin");
  await page.goto(`${page.url().split("#")[0]}#explore/scan`);
  await page.getByText(/ships one network, β 1\.5\. There is nothing to compare it with yet/).waitFor();
  await page.getByRole("button", { name: "Open the sample" }).waitFor();
});

pageTest("studies: tiles, votes and weights before a run, disagreement and seams after it", { replace: family([[1, 0]]) }, async ({ page, app, shot }) => {
  await opened(page, app);
  await page.goto(`${page.url().split("#")[0]}#explore/fusion`);
  await page.getByRole("heading", { name: "Sum of weights, B-spline" }).waitFor();
  await page.locator(".plane .tile").first().waitFor({ timeout: 60_000 });
  await page.getByRole("combobox", { name: "Layer" }).selectOption("votes");
  // In the middle of a head at 50 % overlap, eight patches vote.
  await page.getByText("8 at the crosshair").waitFor();
  await shot("-votes");
  await page.getByRole("button", { name: "Segment with all three windows" }).click();
  const seams = region(page, "Seams and disagreement of every window");
  await seams.waitFor({ timeout: 200_000 });
  assert.deepEqual(await seams.locator("tbody th").allTextContents(), ["B-spline", "Gaussian", "Uniform"]);
  const rows = await Promise.all([0, 1, 2].map((at) => cells(seams.locator("tbody tr").nth(at))));
  const ratio = rows.map((row) => row[2]);
  assert.ok(ratio[2] > ratio[0], `the uniform window leaves more of a seam than the spline: ${ratio}`);
  assert.ok(rows.every((row) => row[4] > 0), "votes of a random network disagree");
  await page.getByRole("heading", { name: "Disagreement of the votes, B-spline" }).waitFor();
  await axe(page, "fusion");
  await shot("-disagreement");
  await page.waitForURL(/#explore\/fusion\?sample=small&result=1.*layer=disagreement/);
  // The lesion table tells the disagreement, too.
  await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: "Segment" }).click();
  await page.getByRole("columnheader", { name: "Disagreement" }).waitFor();
});

pageTest("studies: a link leads back to the drawing it was taken from", { replace: family([[1, 0], [3, 0.6]]) }, async ({ page }) => {
  const link = "#explore/scan?sample=small&result=1&threshold=0.61&connectivity=6&engine=cpu&member=1";
  await follow(page, link);
  await page.getByRole("heading", { name: "β 3 against β 1" }).waitFor({ timeout: 200_000 });
  assert.equal(await slider(page, "Cut at").inputValue(), "0.61");
  // The address follows the page with a little delay.
  await page.waitForURL(({ hash }) => hash === link, { timeout: 20_000 });
});

for (const [width, height] of [[1280, 860], [390, 844]]) {
  pageTest(`studies: drawings at ${width} px in light and dark`, { replace: family([[1, 0], [3, 0.6]]) }, async ({ page }) => {
    await page.setViewportSize({ width, height });
    for (const hash of ["#explore/scan?sample=small&result=1&engine=cpu&member=1", "#explore/fusion?sample=small&result=1&engine=cpu"]) {
      await follow(page, hash);
      await page.locator(".plane").first().waitFor({ timeout: 200_000 });
      await page.locator(".explore table.numbers").first().waitFor({ timeout: 200_000 });
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        await axe(page, `${hash} ${colorScheme} ${width}`);
        const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(sideways <= 0, `${hash} at ${width} px scrolls sideways by ${sideways} px`);
        const name = /explore\/(\w+)/.exec(hash)[1];
        await page.screenshot({ path: path.join(out, `view-${name}-${width}-${colorScheme}.png`), fullPage: true });
      }
    }
  });
}
