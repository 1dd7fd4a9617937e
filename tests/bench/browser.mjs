// Runs contests in Chromium: reads their description as JSON from standard input, prints what came of them as JSON.
//
//   { www: folder, contests: { NAME: { folder, contestants: [...] } } }  ->  { chromium, results: { NAME: [...] } }
//
// Run by `./dev bench`, which sets EQUIPOISE_NODE_PACKAGES and EQUIPOISE_CHROMIUM.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { launch } from "../browser/chromium.mjs";
import { serve } from "./serve.mjs";

const require = createRequire(path.join(process.env.EQUIPOISE_NODE_PACKAGES, "package.json"));
const { chromium } = require("playwright-core");

const { www, contests } = JSON.parse(readFileSync(0, "utf8"));
const server = await serve(www);
const browser = await launch(chromium, process.env.EQUIPOISE_CHROMIUM);
const results = {};
for (const [name, contest] of Object.entries(contests)) {
  // A page of its own for each, so that nothing of one weighs on the next.
  const page = await browser.newPage();
  page.on("console", (message) => process.stderr.write(`${name}: ${message.text()}\n`));
  await page.goto(server.url);
  if (!(await page.evaluate(() => crossOriginIsolated))) throw new Error("the page is not isolated");
  results[name] = await page.evaluate((spec) => globalThis.contest(spec), contest);
  for (const { name: who, times } of results[name]) process.stderr.write(`${name}: ${who} ${times.join(" ")}\n`);
  await page.close();
}
const version = browser.version();
await browser.close();
server.close();
console.log(JSON.stringify({ chromium: version, results }));
