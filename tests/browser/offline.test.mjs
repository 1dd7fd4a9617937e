// Without a network: the page is kept on the first visit, and a new version waits until it is asked for.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import test from "node:test";
import vm from "node:vm";
import { appOf, dist, distFiles, newContext, wanted } from "./harness.mjs";

const TYPES = { html: "text/html", js: "text/javascript", css: "text/css", wasm: "application/wasm", json: "application/json",
  svg: "image/svg+xml", png: "image/png", webmanifest: "application/manifest+json" };
const script = () => readFileSync(path.join(dist, "service-worker.js"), "utf8");

// A static host that can be switched off, with the page below two folders.
async function host() {
  const files = new Set(distFiles());
  const state = { script: script(), requests: [] };
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://host");
    state.requests.push({ method: request.method, pathname });
    const file = pathname.replace(/^\/(here|there)\//, "") || "index.html";
    if (!files.has(file)) return response.writeHead(404).end();
    const body = file === "service-worker.js" ? state.script : readFileSync(path.join(dist, file));
    response.writeHead(200, { "content-type": TYPES[file.split(".").pop()] ?? "application/octet-stream" }).end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => (server.close(), server.closeAllConnections());
  return { state, close, url: `http://127.0.0.1:${server.address().port}/here/` };
}

async function visit(context, url) {
  const page = await context.newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(`uncaught: ${error.message}`));
  await page.goto(`${url}#about`);
  await page.getByText(/^Works offline/).waitFor({ timeout: 120_000 });
  return { page, problems };
}

function offlineTest(name, body) {
  if (!wanted(name)) return;
  test(name, { timeout: 600_000 }, async (t) => {
    const served = await host();
    const context = await newContext({ serviceWorkers: "allow" });
    try {
      await body({ t, served, context });
    } finally {
      await context.close();
      served.close();
    }
  });
}

offlineTest("offline: segments the sample after the server is gone", async ({ t, served, context }) => {
  const { page, problems } = await visit(context, served.url);
  served.close();
  await assert.rejects(fetch(served.url), "the server still answers");
  await page.goto("about:blank");
  await page.goto(served.url);
  const app = appOf(page);
  await app.says("Open a FLAIR scan to begin");
  await app.engine.selectOption({ label: "CPU" });
  await app.openSample.click();
  await app.says("Ready");
  await app.segment.click();
  await app.says("Done", 400_000);
  await page.goto(new URL("licences.html", served.url).href);
  await page.getByText("Permission is hereby granted, free of charge").first().waitFor();
  assert.deepEqual(problems, []);
  const asked = served.state.requests;
  assert.ok(asked.every(({ method }) => method === "GET"));
  t.diagnostic(`${asked.length} requests in all, for ${new Set(asked.map(({ pathname }) => pathname)).size} files`);
});

offlineTest("offline: a new version waits until it is asked for, and takes only its own caches away", async ({ served, context }) => {
  const { page } = await visit(context, served.url);
  const version = /"version":"([^"]+)"/.exec(served.state.script)[1];
  const caches = () => page.evaluate(() => window.caches.keys());
  assert.deepEqual(await caches(), [`equipoise ${served.url} ${version}`]);
  await page.evaluate(() => window.caches.open("somebody else's"));
  for (const next of ["0000000000000001", "0000000000000002"]) {
    served.state.script = script().replace(version, next);
    await page.goto("about:blank");
    await page.goto(`${served.url}#about`);
    const reload = page.getByRole("button", { name: "Reload now" });
    await reload.waitFor({ timeout: 60_000 });
    await Promise.all([page.waitForEvent("load"), reload.click()]);
    await page.getByText(/^Works offline/).waitFor({ timeout: 60_000 });
    await page.waitForFunction(async (name) => (await window.caches.keys()).some((cache) => cache.endsWith(name)), next);
    assert.equal(await reload.count(), 0);
  }
  // The version before stays for tabs that still show it; the one before that is gone.
  const own = (await caches()).filter((name) => name.startsWith("equipoise")).map((name) => name.split(" ").at(-1));
  assert.deepEqual(own.sort(), ["0000000000000001", "0000000000000002"]);
  assert.ok((await caches()).includes("somebody else's"));
});

offlineTest("offline: can be installed", async ({ served, context }) => {
  const { page } = await visit(context, served.url);
  const href = await page.locator('link[rel="manifest"]').getAttribute("href");
  const manifest = JSON.parse(readFileSync(path.join(dist, href), "utf8"));
  for (const { src } of manifest.icons) assert.ok(distFiles().includes(src), src);
  const session = await context.newCDPSession(page);
  const { errors, url } = await session.send("Page.getAppManifest");
  assert.deepEqual(errors, []);
  assert.equal(url, new URL(href, served.url).href);
  const { installabilityErrors } = await session.send("Page.getInstallabilityErrors");
  // A context of a test is a private one, which is the only thing that may stand in the way.
  assert.deepEqual(installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== "in-incognito"), []);
});

if (wanted("offline: the service worker answers nothing but GETs of its own files")) {
  test("offline: the service worker answers nothing but GETs of its own files", async () => {
    const scope = "https://host.example/some/where/";
    const heard = {};
    const none = { match: async () => undefined, put: async () => {} };
    const seen = [];
    const self = { registration: { scope }, location: new URL(scope), addEventListener: (kind, on) => (heard[kind] = on), skipWaiting() {} };
    vm.runInNewContext(script(), {
      self, URL, Response, Set, Promise,
      caches: { keys: async () => [], open: async () => none, delete: async () => true },
      fetch: async (request) => (seen.push(request.url ?? request), new Response("x")),
    });
    const answered = (url, { method = "GET", mode = "cors" } = {}) => {
      let answer = false;
      heard.fetch({ request: { url, method, mode }, respondWith: () => (answer = true), waitUntil() {} });
      return answer;
    };
    const own = distFiles().find((file) => file.startsWith("app-") && file.endsWith(".js"));
    assert.ok(answered(scope + own));
    assert.ok(answered(scope, { mode: "navigate" }) && answered(`${scope}index.html?x=1`, { mode: "navigate" }));
    for (const method of ["POST", "PUT", "HEAD", "DELETE"]) assert.ok(!answered(scope + own, { method }), method);
    for (const url of [
      `blob:${scope}0b6f`, "file:///home/scan.nii", "data:text/plain,x", "https://elsewhere.example/some/where/" + own,
      "https://host.example/other/" + own, `${scope}${own}?scan=1`,
    ]) assert.ok(!answered(url), url);
  });
}
