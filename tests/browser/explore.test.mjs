// The views beside "Segment": where they are, what they show, and that an address leads back to it.
import assert from "node:assert/strict";
import path from "node:path";
import { assertOwnFilesOnly, axeSource, out, pageTest, url } from "./harness.mjs";

const at = (hash) => new URL(hash, url).href;
const tab = (page, name) => page.getByRole("navigation", { name: "Views" }).getByRole("link", { name, exact: true });

// Goes to an address of the page that is open; a page that only changes its hash is not loaded anew.
async function visit(page, hash) {
  await page.goto("about:blank");
  await page.goto(at(hash));
  await page.getByRole("navigation", { name: "Views" }).waitFor({ timeout: 60_000 });
}

const slider = (page, name) => page.getByRole("slider", { name, exact: true });
const score = async (page, name) =>
  Number(await page.locator(".scores div").filter({ hasText: new RegExp(`^${name}`) }).locator("dd").textContent());

pageTest("every view in light and dark and at 390 px passes axe and does not scroll sideways", {}, async ({ page }) => {
  for (const [width, height] of [[1280, 860], [390, 844]]) {
    for (const colorScheme of ["light", "dark"]) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      for (const [view, heading] of [["segment", "Scans"], ["explore", "The loss on paper"], ["explore/scan", "Beta on a scan"], ["explore/fusion", "How patches are fused"], ["about", "What it does"]]) {
        await visit(page, `#${view}`);
        await page.getByRole("heading", { name: heading, exact: true }).waitFor();
        await page.evaluate(axeSource());
        const { violations } = await page.evaluate(() => window.axe.run());
        const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
        assert.deepEqual(found, [], `${view} at ${width} px, ${colorScheme}`);
        const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(sideways <= 0, `${view} at ${width} px scrolls sideways by ${sideways} px`);
        await page.screenshot({ path: path.join(out, `view-${view.replace("/", "-")}-${width}-${colorScheme}.png`), fullPage: true });
      }
    }
  }
});

pageTest("views can be reached by the keyboard and named by the address", {}, async ({ page, app }) => {
  await app.says("Open a FLAIR scan to begin");
  await tab(page, "Explore").focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "The loss on paper" }).waitFor();
  assert.equal(await tab(page, "Explore").getAttribute("aria-current"), "page");
  // The link for the keyboard leads to what is new, and does not change the address.
  await page.locator(".skip").focus();
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "content");
  assert.equal(new URL(page.url()).hash, "#explore");
  await page.goBack();
  await app.says("Open a FLAIR scan to begin");
});

pageTest("the score on paper is the formula's", {}, async ({ page }) => {
  await visit(page, "#explore");
  for (const [beta, tp, fp, fn] of [[1.5, 60, 20, 40], [3, 100, 300, 5], [0.5, 1, 0, 500]]) {
    await slider(page, "Beta").fill(String(beta));
    await slider(page, "True positives").fill(String(tp));
    await slider(page, "False positives").fill(String(fp));
    await slider(page, "False negatives").fill(String(fn));
    const f = (b) => ((1 + b * b) * tp) / ((1 + b * b) * tp + b * b * fn + fp);
    const near = async (name, value) => assert.ok(Math.abs((await score(page, name)) - value) <= 0.0005, `${name} ${value}`);
    await near("Precision", tp / (tp + fp));
    await near("Recall", tp / (tp + fn));
    await near("Dice", f(1));
    await near(`F${beta.toFixed(1).replace(".", "\\.")}`, f(beta));
  }
});

pageTest("gradients on paper: rare lesions weaken the means and leave F_beta", {}, async ({ page }) => {
  await visit(page, "#explore");
  const missed = async (loss) => {
    const row = page.locator(".numbers tbody tr").filter({ hasText: loss });
    return Number((await row.locator("td").first().textContent()).replace("−", "-").replace("e−", "e-"));
  };
  const seen = [];
  for (const power of ["0", "4"]) {
    await slider(page, "Lesion fraction").fill(power);
    seen.push({ dice: await missed("Dice"), entropy: await missed("Cross-entropy"), focal: await missed("Focal") });
  }
  assert.equal(seen[0].dice, seen[1].dice);
  // TP 60, FP 20, FN 40, a = 1/2: D = 90, (a TP - D) / D^2.
  assert.ok(Math.abs(seen[0].dice - -60 / 8100) < 1e-4, `${seen[0].dice}`);
  assert.ok(Math.abs(seen[0].entropy - -1 / (0.1 * 200)) < 1e-4, `${seen[0].entropy}`);
  assert.ok(Math.abs(seen[0].entropy / seen[1].entropy / 5000.5 - 1) < 0.01, JSON.stringify(seen));
  assert.ok(Math.abs(seen[0].focal / seen[1].focal / 5000.5 - 1) < 0.01, JSON.stringify(seen));
});

pageTest("an address leads back to the drawing it was taken from", {}, async ({ page }) => {
  await visit(page, "#explore");
  await page.getByRole("button", { name: "2. Beta buys recall" }).click();
  await page.waitForURL(/beta=3/);
  await slider(page, "False positives").fill("75");
  await page.waitForURL(/fp=75/);
  const link = new URL(page.url()).hash;
  await visit(page, link);
  assert.equal(await slider(page, "False positives").inputValue(), "75");
  assert.equal(await slider(page, "Beta").inputValue(), "3");
  await page.getByRole("figure", { name: "The score over precision and recall" }).waitFor();
  // Hovering tells the numbers.
  const drawing = page.getByRole("figure", { name: "What an error weighs" }).locator("svg");
  const box = await drawing.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.getByText(/At β 2\.[0-9]+ a false positive weighs/).waitFor();
});

pageTest("a link to a sample opens it with its settings, and names no file", {}, async ({ page, app, requests }) => {
  await visit(page, "#segment?sample=small&overlap=0&window=uniform&threshold=0.31&smallest=7");
  await app.says("Ready");
  assert.equal(await app.threshold.count(), 0, "no result was asked for");
  await page.getByText("Settings").first().click();
  assert.equal(await page.getByRole("combobox", { name: "Patch overlap" }).inputValue(), "0");
  assert.equal(await page.getByRole("combobox", { name: "Voting window" }).inputValue(), "uniform");
  await app.engine.selectOption({ label: "CPU" });
  await app.segment.click();
  await app.says("Done", 400_000);
  await page.waitForURL(/result=1/);
  assert.equal(await app.threshold.inputValue(), "0.31");
  const shown = await page.locator("dl div").filter({ hasText: "Lesion load" }).locator("dd").textContent();
  const link = new URL(page.url()).hash;
  assert.match(link, /^#segment\?sample=small&result=1&overlap=0&window=uniform&threshold=0\.31&smallest=7&engine=cpu$/);
  // Another person follows it: the same result, without a click.
  await visit(page, link);
  await app.says("Done", 400_000);
  await page.locator("dl div").filter({ hasText: "Lesion load" }).locator("dd").filter({ hasText: shown }).waitFor();
  assertOwnFilesOnly(requests);
});
