// The README's pictures, drawn anew: `./dev test browser pictures` writes docs/images (`pictures-beta` that one alone). Not among the tests, for it takes minutes
// and writes into the tree. The one of fine-tuning needs a folder of cases in EQUIPOISE_COHORT, made by
// `lab synthetic --maps MAPS --small --shift --first 2 --count 6 --out FOLDER`.
import { readdirSync } from "node:fs";
import path from "node:path";
import { follow, pageTest, root } from "./harness.mjs";
import { viewOf } from "./tuning.mjs";

const image = (name) => path.join(root, "docs/images", `${name}.png`);
const sized = (width, height) => ({ context: { viewport: { width, height } } });
// The viewer and the charts draw a little after the page says that it is done.
const settled = (page) => page.waitForTimeout(4000);

pageTest("pictures-segment", sized(1280, 800), async ({ page, app }) => {
  await follow(page, "#segment?sample=head&result=1&engine=cpu");
  await app.says("Done", 400_000);
  await settled(page);
  await page.screenshot({ path: image("segment") });
});

pageTest("pictures-explore", sized(1280, 860), async ({ page }) => {
  await follow(page, "#explore");
  await settled(page);
  await page.screenshot({ path: image("explore") });
});

pageTest("pictures-beta", sized(1280, 1000), async ({ page }) => {
  await follow(page, "#explore/scan?sample=small&result=1&engine=cpu&member=1");
  await page.getByRole("button", { name: "Take the sample’s" }).click({ timeout: 400_000 });
  await page.getByRole("heading", { name: "Precision and recall" }).waitFor({ timeout: 60_000 });
  await settled(page);
  await page.screenshot({ path: image("beta") });
});

pageTest("pictures-fusion", sized(1280, 1000), async ({ page }) => {
  await follow(page, "#explore/fusion?sample=small&result=1&engine=cpu&layer=disagreement");
  await page.locator(".explore table.numbers").first().waitFor({ timeout: 400_000 });
  await settled(page);
  await page.screenshot({ path: image("fusion") });
});

const cases = process.env.EQUIPOISE_COHORT;
pageTest("pictures-finetune", { ...sized(1280, 1190), skip: cases ? false : "no EQUIPOISE_COHORT" }, async ({ page }) => {
  const view = viewOf(page);
  const files = readdirSync(cases).filter((file) => file.endsWith(".nii.gz"));
  await view.open(files.map((file) => path.join(cases, file)), "6 of 6 cases ready for training.");
  await view.plan({ steps: 120, rate: 0.001, every: 20, part: "everything" });
  await view.button("Start training").click();
  await view.says(/step 9\d of 120/, 600_000);
  await settled(page);
  await page.screenshot({ path: image("finetune") });
});
