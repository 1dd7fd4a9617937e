// Times one patch in every engine, ours and stock in turn, and prints the rows as JSON. Run by `./dev bench`.
import { createRequire } from "node:module";
import path from "node:path";
import { launch } from "./chromium.mjs";

const require = createRequire(path.join(process.env.EQUIPOISE_NODE_PACKAGES, "package.json"));
const { chromium } = require("playwright-core");
const REPEAT = { cpu: 7, gpu: 3 };

const browser = await launch(chromium, process.env.EQUIPOISE_CHROMIUM);
const page = await browser.newPage();
await page.goto(process.env.EQUIPOISE_URL);
const rows = [];
for (const kind of ["cpu", "gpu"]) rows.push(await page.evaluate(inPage, { kind, repeat: REPEAT[kind] }));
await browser.close();
console.log(JSON.stringify(rows));

async function inPage({ kind, repeat }) {
  const card = await (await fetch("card.json")).json();
  const weights = await (await fetch("weights.safetensors")).arrayBuffer();
  const side = card.patch;
  const patch = Float32Array.from({ length: 2 * side ** 3 }, (_, i) => ((i * 7919) % 2003) / 500 - 2);
  const start = async (name) => {
    const worker = new Worker(`${name}-worker.js`, { type: "module" });
    const heard = [];
    let wake = () => {};
    worker.onmessage = ({ data }) => {
      heard.push(data);
      wake();
    };
    const next = async () => {
      while (!heard.length) await new Promise((resolve) => (wake = resolve));
      const { message, buffers } = heard.shift();
      if (message.Failed) throw new Error(`${name}: ${JSON.stringify(message)}`);
      return { message, buffers };
    };
    const ready = await next();
    const ask = async (message, buffers) => {
      worker.postMessage({ message, buffers, files: [], case: 1 }, buffers);
      return next();
    };
    await ask({ Load: { config: JSON.stringify(card.config) } }, [weights.slice(0)]);
    const times = [];
    let first;
    return {
      device: ready.message.Ready.device,
      times,
      result: undefined,
      get first() {
        return first;
      },
      async predict() {
        const { message, buffers } = await ask({ Predict: { tile: 0, side } }, [patch.slice().buffer]);
        const { millis } = message.Predicted;
        if (first === undefined) first = millis;
        else times.push(millis);
        this.result = new Float32Array(buffers[0]);
      },
    };
  };
  const [ours, stock] = [await start(`engine-${kind}`), await start(`engine-${kind}-stock`)];
  // The first round compiles the shaders and is not counted.
  for (let round = 0; round <= repeat; round++) {
    await ours.predict();
    await stock.predict();
  }
  const median = (times) => times.slice().sort((a, b) => a - b)[times.length >> 1] / 1000;
  const difference = ours.result.reduce((worst, p, i) => Math.max(worst, Math.abs(p - stock.result[i])), 0);
  return {
    engine: kind,
    device: ours.device,
    side,
    repeat,
    ours: median(ours.times),
    stock: median(stock.times),
    ratio: median(stock.times) / median(ours.times),
    first: { ours: ours.first / 1000, stock: stock.first / 1000 },
    difference,
  };
}
