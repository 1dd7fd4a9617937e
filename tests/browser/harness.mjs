// What the browser tests share: a browser, a page whose every request is seen, and Python as the outside judge.
//
// Environment, set by `./dev test`:
//   EQUIPOISE_URL            the built page, served from a sub-path
//   EQUIPOISE_NODE_PACKAGES  folder with node_modules
//   EQUIPOISE_CHROMIUM       browser to drive
//   EQUIPOISE_PYTHON         Python with nibabel and numpy
//   EQUIPOISE_OUT            folder for screenshots and downloads
//   EQUIPOISE_LAB            the command line, or nothing
//   EQUIPOISE_DATA           folder with scans, or nothing
//   EQUIPOISE_ONLY           words; only tests with one of them in their name run
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { launch } from "./chromium.mjs";

const environment = (name) => process.env[name] ?? assert.fail(`${name} is not set; run ./dev test browser`);
const require = createRequire(path.join(environment("EQUIPOISE_NODE_PACKAGES"), "package.json"));
const { chromium } = require("playwright-core");

export const axeSource = () => readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
export const root = fileURLToPath(new URL("../..", import.meta.url));
export const url = new URL(environment("EQUIPOISE_URL"));
export const dist = path.join(root, "dist");
export const out = environment("EQUIPOISE_OUT");
export const data = process.env.EQUIPOISE_DATA;

// Files of the build, as paths below the page.
export function distFiles(folder = "") {
  return readdirSync(path.join(dist, folder), { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? distFiles(`${folder}${entry.name}/`) : [`${folder}${entry.name}`],
  );
}

// A Python script of this folder; it prints JSON.
export function python(script, ...args) {
  const file = fileURLToPath(new URL(script, import.meta.url));
  const text = execFileSync(environment("EQUIPOISE_PYTHON"), [file, ...args], { encoding: "utf8", maxBuffer: 1 << 26 });
  return JSON.parse(text);
}

export const temporary = mkdtempSync(path.join(tmpdir(), "equipoise-browser-"));

let browser;
async function launched() {
  browser ??= await launch(chromium, environment("EQUIPOISE_CHROMIUM"));
  return browser;
}

// Ends the browser, after all tests. The runner prints its totals only when nothing is left that could still happen, so
// `./dev test` is told here that every test has run, and what hangs on after 10 s is cut off.
export async function close() {
  process.stdout.write("# every test has run\n");
  await Promise.race([browser?.close(), new Promise((resolve) => setTimeout(resolve, 20_000).unref())]);
  setTimeout(() => {
    process.stderr.write(`cut off: ${process.getActiveResourcesInfo().join(", ")}\n`);
    process.exit();
  }, 10_000).unref();
}

// A proxy that notes what it is asked for, passes on what is ours and nothing else. The browser sends all traffic of
// the page, its workers and their workers through it, so nothing can go past. `replace` maps paths below the page to
// bytes that are answered in their stead.
async function watchedProxy(replace) {
  const requests = [];
  const server = http.createServer((request, response) => {
    const wanted = new URL(request.url);
    const seen = { method: request.method, url: request.url, bytes: 0, at: performance.now() };
    requests.push(seen);
    request.on("data", (chunk) => (seen.bytes += chunk.length));
    if (wanted.origin !== url.origin) {
      request.on("end", () => response.writeHead(502).end());
      return;
    }
    const inner = wanted.pathname.startsWith(url.pathname) ? wanted.pathname.slice(url.pathname.length) : undefined;
    const replacement = replace?.(inner);
    if (replacement !== undefined) {
      const type = inner.endsWith(".js") ? "text/javascript" : "application/octet-stream";
      request.on("end", () => response.writeHead(200, { "content-type": type, "cache-control": "no-store" }).end(replacement));
      return;
    }
    const onward = http.request(wanted, { method: request.method, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    // Whoever closes its page in the middle of a download does not want the rest; nobody else would end this request.
    response.on("close", () => onward.destroy());
    request.pipe(onward);
  });
  // An encrypted or raw connection to anywhere is not ours.
  server.on("connect", (request, socket) => {
    requests.push({ method: "CONNECT", url: request.url, bytes: 0, at: performance.now() });
    socket.end("HTTP/1.1 502 Refused\r\n\r\n");
  });
  server.on("upgrade", (request, socket) => {
    requests.push({ method: "UPGRADE", url: request.url, bytes: 0, at: performance.now() });
    socket.destroy();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { requests, address: `http://127.0.0.1:${server.address().port}`, close };
}

// Whether a test of this name was asked for.
export function wanted(name) {
  const only = (process.env.EQUIPOISE_ONLY ?? "").split(" ").filter(Boolean);
  return !only.length || only.some((word) => name.includes(word));
}

// A fresh browser profile. Nothing is kept for offline use unless a test says so, lest files come from there unseen.
export async function newContext(options) {
  return (await launched()).newContext({
    acceptDownloads: true,
    viewport: { width: 1280, height: 860 },
    serviceWorkers: "block",
    ...options,
  });
}

// A test with a fresh page at the built app. The test gets `{ page, app, requests, problems }`; afterwards any
// uncaught error and any complaint of the browser (a broken CSP among them) fails it.
export function pageTest(name, options, body) {
  if (!wanted(name)) return;
  test(name, { timeout: 600_000, ...options }, async (t) => {
    const proxy = await watchedProxy(options.replace);
    const context = await newContext({ proxy: { server: proxy.address, bypass: "<-loopback>" }, ...options.context });
    const page = await context.newPage();
    const problems = [];
    page.on("pageerror", (error) => problems.push(`uncaught: ${error.message}`));
    page.on("console", (message) => {
      if (message.type() === "error") problems.push(`console: ${message.text()}`);
    });
    const file = name.replace(/[^a-z0-9]+/gi, "-").toLowerCase();
    const shot = (suffix = "") => page.screenshot({ path: path.join(out, `${file}${suffix}.png`) });
    try {
      const response = await page.goto(url.href);
      assert.equal(response.status(), 200);
      const app = appOf(page);
      await app.flair.waitFor({ state: "attached", timeout: 60_000 });
      await body({ t, page, app, requests: proxy.requests, problems, shot });
      assert.deepEqual(problems, []);
    } finally {
      await shot().catch(() => {});
      await context.close();
      proxy.close();
    }
  });
}

// Follows a link as a person would who was sent it.
export async function follow(page, hash) {
  const there = page.url().split("#")[0] + hash;
  await page.goto("about:blank");
  await page.goto(there);
}

// The page by its accessible names, which are a promise to users of assistive technology and to these tests.
export function appOf(page) {
  const status = page.getByRole("status");
  return {
    flair: page.getByLabel("FLAIR", { exact: true }),
    t1: page.getByLabel("T1 (optional)", { exact: true }),
    openSample: page.getByRole("button", { name: "Open sample" }),
    segment: page.getByRole("button", { name: "Segment", exact: true }),
    cancel: page.getByRole("button", { name: "Cancel" }),
    saveMask: page.getByRole("button", { name: "Save mask" }),
    saveProbability: page.getByRole("button", { name: "Save probability map" }),
    threshold: page.getByRole("slider", { name: "Threshold", exact: true }),
    engine: page.getByRole("combobox", { name: "Engine" }),
    canvas: page.locator("canvas").first(),
    status,
    // Waits until the status says one of these, and answers which.
    async says(wanted, timeout = 60_000) {
      const words = [wanted].flat();
      const pattern = new RegExp(`^(${words.join("|")})$`);
      await status.filter({ hasText: pattern }).waitFor({ timeout });
      return (await status.textContent()).trim();
    },
    // Presses a button that makes a file, and answers where it lies and under which name.
    async save(button) {
      const [download] = await Promise.all([page.waitForEvent("download"), button.click()]);
      const name = download.suggestedFilename();
      const file = path.join(mkdtempSync(path.join(temporary, "save-")), name);
      await download.saveAs(file);
      return { name, file };
    },
  };
}

// Fails unless every request is a plain GET of a file of the build (the page itself, at first, is one too).
export function assertOwnFilesOnly(requests) {
  const files = new Set(distFiles());
  for (const { method, url: address, bytes } of requests) {
    const wanted = URL.canParse(address) ? new URL(address) : undefined;
    assert.equal(wanted?.origin, url.origin, `a request left the origin: ${method} ${address}`);
    const inner = decodeURIComponent(wanted.pathname.slice(url.pathname.length)) || "index.html";
    assert.ok(wanted.pathname.startsWith(url.pathname) && files.has(inner), `not a file of the build: ${address}`);
    assert.equal(method, "GET", `${method} ${address}`);
    assert.equal(bytes, 0, `a request carried ${bytes} bytes: ${address}`);
    assert.equal(wanted.search, "", `a request carried words: ${address}`);
  }
}
