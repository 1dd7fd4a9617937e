// What the tests of fine-tuning share: a small cohort made on the spot, a toy network, and the view.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { makeCohort } from "./cohort.mjs";
import { axeSource, python, temporary } from "./harness.mjs";

export const cohort = makeCohort(path.join(temporary, "cohort"), 3);
const toy = (name) => readFileSync(fileURLToPath(new URL(`toy/${name}`, import.meta.url)));
const heldOutMask = cohort.good.find((file) => /sub-03.*mask/.test(file));

// In the place of whatever network the page asks for.
export function replace(inner) {
  if (/^models\/.*\/card-[0-9a-f]+\.json$/.test(inner)) return toy("card.json");
  if (/^models\/.*\.safetensors$/.test(inner)) return toy("weights.safetensors");
  return undefined;
}

// The view by its accessible names.
export function viewOf(page) {
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
    says: (words, timeout = 240_000) => main.getByRole("status").filter({ hasText: words }).first().waitFor({ timeout }),
    // Keeps every word of the page's status from now on, for what may pass faster than a test looks; call the answer to read.
    async listen() {
      await main.evaluate((element) => {
        window.said = new Set();
        const hear = () => element.querySelectorAll("[role=status]").forEach((status) => window.said.add(status.textContent));
        new MutationObserver(hear).observe(element, { childList: true, characterData: true, subtree: true });
      });
      return () => page.evaluate(() => [...window.said]);
    },
    // Steps done, from the words on the run.
    async step() {
      const said = main.getByRole("status").filter({ hasText: /step \d+ of/ }).first();
      return Number(/step (\d+) of/.exec(await said.textContent())[1]);
    },
    // Waits for the verdict and reads the table of scores.
    async result(timeout = 240_000) {
      await main.getByRole("heading", { name: "Did it help?" }).waitFor({ timeout }).catch(async (problem) => {
        throw new Error(`no verdict, the page says: ${await main.innerText()}`, { cause: problem });
      });
      const rows = await main.getByRole("region", { name: "Scores before and after" }).getByRole("row").allInnerTexts();
      return Object.fromEntries(rows.slice(1).map((row) => {
        const [name, ...cells] = row.split(/\t/).map((cell) => cell.trim());
        return [name, { before: Number.parseFloat(cells[0]), after: Number.parseFloat(cells[1]) }];
      }));
    },
    loss: () => main.locator("section").filter({ hasText: "Loss on the training patches" }).locator("svg").getAttribute("aria-label"),
    // Presses a button that makes files, and answers where they lie.
    async files(name, count) {
      const downloads = [];
      const more = (download) => downloads.push(download);
      page.on("download", more);
      await button(name).click();
      while (downloads.length < count) await page.waitForTimeout(50);
      page.off("download", more);
      const folder = mkdtempSync(path.join(temporary, "save-"));
      const files = [];
      for (const download of downloads) {
        files.push(path.join(folder, download.suggestedFilename()));
        await download.saveAs(files.at(-1));
      }
      return files.sort();
    },
    async save(name) {
      return (await this.files(name, 1))[0];
    },
    // Keeps the result, reads the card that is saved with it, and deletes it from the browser again.
    async card(name) {
      await main.getByLabel("Name of the network").fill(name);
      await button("Keep").click();
      await main.getByText("The network is kept in this browser").waitFor();
      const files = await this.files("Save files", 2);
      await button(`Delete ${name}`).click();
      await main.getByText("None yet.").waitFor();
      return JSON.parse(readFileSync(files.find((file) => file.endsWith(".json")), "utf8"));
    },
  };
}

export async function assertAccessible(page) {
  await page.evaluate(axeSource());
  const { violations } = await page.evaluate(() => globalThis.axe.run(document));
  assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map((n) => n.html.slice(0, 120)).join(" ")}`), []);
}

// Scores on the page are those that numpy finds in the map that the page gives away.
export function assertScores(scores, when, map, t) {
  const outside = python("check_finetune.py", map, heldOutMask, "0.5");
  t.diagnostic(`${when}: ${JSON.stringify(outside)}`);
  for (const name of ["DSC", "precision", "recall", "F2"]) {
    const [page, numpy] = [scores[name][when], outside[name]];
    if (numpy === null) assert.ok(Number.isNaN(page), `${name} ${when}: the page says ${page}, numpy has none`);
    else assert.ok(Math.abs(page - numpy) < 6e-4, `${name} ${when}: the page says ${page}, numpy ${numpy}`);
  }
  return outside;
}
