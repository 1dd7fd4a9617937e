// Segments a head on the built page and prints how long that took, and the largest heap of each worker, as JSON. Run by `./dev bench`.
//
//   { dist, flair, t1, engine: "CPU", stock } on standard input
//   { chromium, seconds, heaps: { desk: [bytes], "engine-cpu": [...] }, load: "12.3 mL" }
//
// With `stock`, a folder, the CPU engine is the one there that runs on burn's stock operators; everything else is the page's.
//
// Memory of WebAssembly only grows, so its size after the run is its peak. (What the browser itself says of a page's memory
// leaves out that of workers started by workers.)
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { launch } from "../browser/chromium.mjs";
import { serve } from "./serve.mjs";

const require = createRequire(path.join(process.env.EQUIPOISE_NODE_PACKAGES, "package.json"));
const { chromium } = require("playwright-core");

// Put before the scripts of desk and engines: tells the size of every memory of WebAssembly, again and again.
function report(name) {
  return `{
    const channel = new BroadcastChannel("heaps");
    const who = ${JSON.stringify(name)};
    const id = crypto.randomUUID();
    for (const method of ["instantiate", "instantiateStreaming"]) {
      const original = WebAssembly[method];
      WebAssembly[method] = async (...values) => {
        const made = await original.apply(WebAssembly, values);
        const { memory } = (made.instance ?? made).exports;
        const tell = () => channel.postMessage({ who, id, bytes: memory.buffer.byteLength });
        setInterval(tell, 200);
        return made;
      };
    }
  }\n`;
}

const STOCK = "engine-cpu-stock";
const { dist, flair, t1, engine, stock } = JSON.parse(readFileSync(0, "utf8"));
const programOf = (name) => /^(desk|engine-cpu|engine-gpu)-(?!stock)[^.]*\.js$/.exec(name)?.[1];
const server = await serve(
  dist,
  (name) => (programOf(name) ? report(programOf(name)) : ""),
  (name) => {
    if (!stock) return undefined;
    if (programOf(name) === "engine-cpu") return path.join(stock, `${STOCK}-worker.js`);
    return [`${STOCK}.js`, `${STOCK}.wasm`].includes(name) ? path.join(stock, name) : undefined;
  },
);
const browser = await launch(chromium, process.env.EQUIPOISE_CHROMIUM);
const page = await browser.newPage();
page.on("pageerror", (error) => process.stderr.write(`uncaught: ${error.message}\n`));
await page.addInitScript(() => {
  globalThis.heaps = {};
  new BroadcastChannel("heaps").onmessage = ({ data: { who, id, bytes } }) => {
    (globalThis.heaps[who] ??= {})[id] = bytes;
  };
});
await page.goto(server.url);
await page.getByRole("combobox", { name: "Engine" }).selectOption({ label: engine });
const status = (words) => page.getByRole("status").filter({ hasText: new RegExp(`^${words}$`) });
await page.getByLabel("FLAIR", { exact: true }).setInputFiles(flair);
await page.getByLabel("T1 (optional)", { exact: true }).setInputFiles(t1);
await status("Ready").waitFor({ timeout: 120_000 });
const begin = performance.now();
await page.getByRole("button", { name: "Segment", exact: true }).click();
await status("Done").waitFor({ timeout: 2_400_000 });
const seconds = (performance.now() - begin) / 1000;
const load = await page.locator("dl div").filter({ hasText: "Lesion load" }).locator("dd").textContent();
await page.waitForTimeout(1000);
const heaps = await page.evaluate(() =>
  Object.fromEntries(Object.entries(globalThis.heaps).map(([who, byId]) => [who, Object.values(byId)])),
);
const version = browser.version();
await browser.close();
server.close();
console.log(JSON.stringify({ chromium: version, seconds, heaps, load }));
