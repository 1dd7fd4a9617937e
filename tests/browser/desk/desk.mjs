// A desk of one's own inside the built page, spoken to without the page's help, with engines that fail on purpose.
import { readFileSync } from "node:fs";
import { distFiles, pageTest } from "../harness.mjs";
import { flair } from "./scan.mjs";

const engineText = readFileSync(new URL("engine.js", import.meta.url), "utf8");
const program = (name) => distFiles().find((file) => new RegExp(`^${name}-[0-9A-Za-z]+\\.js$`).test(file));

const model = distFiles("models/").find((file) => /card-[0-9a-zA-Z]+\.json$/.test(file)) ?? "models/";
export const settings = {
  model: model.replace(/\/card-[^/]*$/, ""),
  engine: { Use: "Cpu" },
  overlap: 0.5,
  window: "bspline",
  patch: 32,
  rotations: false,
  hyperintensity: true,
};

// A test with a desk. `modes` says how the engines behave ({ cpu, gpu }), and can be changed at any time.
export function deskTest(name, body) {
  const modes = {};
  const replace = (inner) => {
    const engine = /^engine-(cpu|gpu)-[0-9A-Za-z]+\.js$/.exec(inner ?? "");
    return engine ? Buffer.from(`const MODE = ${JSON.stringify(modes[engine[1]] ?? {})};\n${engineText}`) : modes.replace?.(inner);
  };
  pageTest(`desk: ${name}`, { replace }, async ({ page, problems }) => {
    Object.keys(modes).forEach((key) => delete modes[key]);
    await page.evaluate(inPage, program("desk"));
    const desk = {
      start: () => page.evaluate(() => desk.start()),
      tell: (message, extra = {}) => page.evaluate(([m, e]) => desk.tell(m, e), [message, extra]),
      tellAll: (messages) => page.evaluate((all) => all.forEach((m) => desk.tell(m)), messages),
      raw: (value) => page.evaluate((v) => desk.worker.postMessage(v), value),
      pause: (ms) => page.waitForTimeout(ms),
      // Waits for a message of one of these kinds; what was said before it stays to be heard.
      async hear(kinds, ms = 60_000) {
        const { buffer, ...heard } = await page.evaluate(([k, t]) => desk.hear(k, t), [[kinds].flat(), ms]);
        return { ...heard, buffer: buffer && Buffer.from(buffer, "base64") };
      },
      // Everything that was said and not yet heard.
      rest: () => page.evaluate(() => desk.heard.splice(0).map(({ message }) => message)),
      async open(bytes = flair, name = "sub-01_FLAIR.nii.gz", slot = "Flair") {
        await page.evaluate(([s, b, n]) => desk.open(s, b, n), [slot, bytes.toString("base64"), name]);
        return this.hear(["Opened", "Refused"]);
      },
      async run(over = {}) {
        await this.rest();
        await this.tell({ Segment: { ...settings, ...over } });
        const end = await this.hear(["Segmented", "Failed"]);
        return end.kind === "Segmented" ? { ...end, mask: await this.hear("Mask") } : end;
      },
    };
    await desk.start();
    await body(desk, modes);
    // The browser reports what was broken on purpose; anything else fails the test.
    problems.splice(0, problems.length, ...problems.filter((text) => !/on purpose|404/.test(text)));
  });
}

// Runs in the page.
function inPage(program) {
  const base64 = (buffer) => {
    const bytes = new Uint8Array(buffer);
    let text = "";
    for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return btoa(text);
  };
  const kind = (message) => (typeof message === "string" ? message : Object.keys(message)[0]);
  globalThis.desk = {
    heard: [],
    start() {
      this.worker?.terminate();
      this.heard.length = 0;
      this.worker = new Worker(new URL(program, document.baseURI), { type: "module" });
      this.worker.onerror = (event) => this.heard.push({ message: { Died: event.message } });
      this.worker.onmessage = ({ data }) => this.heard.push({ message: data.message, case: data.case, buffer: data.buffers?.[0] });
      return this.hear(["Ready"], 60_000);
    },
    tell(message, extra) {
      this.worker.postMessage({ message, buffers: [], files: [], case: 1, ...extra });
    },
    open(slot, text, name) {
      const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
      this.tell({ Open: { slot } }, { files: [new File([bytes], name)] });
    },
    async hear(kinds, ms) {
      for (const until = performance.now() + ms; performance.now() < until; await new Promise((on) => setTimeout(on, 5))) {
        const at = this.heard.findIndex(({ message }) => kinds.includes(kind(message)));
        if (at < 0) continue;
        const [{ message, case: number, buffer }] = this.heard.splice(at, 1);
        return { kind: kind(message), says: message[kind(message)], case: number, buffer: buffer && base64(buffer) };
      }
      const said = JSON.stringify(this.heard.map(({ message }) => message));
      throw new Error(`waited for ${kinds.join(" or ")}; heard ${said.slice(-500)}`);
    },
  };
}
