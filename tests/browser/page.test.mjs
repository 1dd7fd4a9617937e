// The page before anything is opened: what it loads, how it behaves for everybody.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { assertOwnFilesOnly, axeSource, dist, distFiles, pageTest, url } from "./harness.mjs";

pageTest("opens below a sub-path without loading an engine", {}, async ({ page, app, requests }) => {
  assert.notEqual(url.pathname, "/", "the tests must run below a sub-path");
  await app.says("Open a FLAIR scan to begin");
  assert.ok(await app.segment.isDisabled());
  await page.waitForLoadState("networkidle");
  assertOwnFilesOnly(requests);
  const engines = requests.filter(({ url }) => url.includes("engine-"));
  assert.deepEqual(engines, [], "the page must open without an engine");
});

pageTest("has the names that people and tests rely on", {}, async ({ page, app }) => {
  for (const control of [app.flair, app.t1, app.openSample, app.segment, app.cancel, app.engine]) {
    assert.equal(await control.count(), 1, `${control}`);
  }
  assert.equal(await page.getByRole("status").count(), 1);
});

pageTest("passes axe", {}, async ({ page, app }) => {
  await app.says("Open a FLAIR scan to begin");
  await page.evaluate(axeSource());
  const { violations } = await page.evaluate(() => window.axe.run());
  assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`), []);
});

pageTest("a content security policy forbids everything that is not its own", {}, async ({ page }) => {
  const policy = await page.locator('meta[http-equiv="Content-Security-Policy"]').getAttribute("content");
  const rules = Object.fromEntries(policy.split(";").map((rule) => rule.trim().split(/\s+(.*)/s).slice(0, 2)));
  assert.equal(rules["default-src"], "'none'");
  assert.equal(rules["script-src"], "'self' 'wasm-unsafe-eval'");
  assert.doesNotMatch(policy, /unsafe-inline|'unsafe-eval'|https?:|\*/);
});

pageTest("every file but the two pages and the service worker carries its hash, and the pages name only files that exist", {}, async () => {
  const files = distFiles();
  const hashed = /-[0-9A-Za-z]{8,16}(\.[A-Za-z0-9.]+)?$/;
  const plain = files.filter((file) => !hashed.test(file));
  assert.deepEqual(plain.sort(), ["index.html", "licences.html", "service-worker.js"]);
  const html = readFileSync(path.join(dist, "index.html"), "utf8");
  const named = [...html.matchAll(/(?:href|src)="([^"#]+)"/g)].map((match) => match[1]);
  assert.ok(named.length >= 3, `${named}`);
  for (const name of named) assert.ok(files.includes(name), `index.html names ${name}, which is not in dist/`);
});

pageTest("the licences page names what is bundled", {}, async ({ page }) => {
  await page.goto(new URL("licences.html", url).href);
  const text = await page.locator("body").textContent();
  for (const name of ["yew", "burn", "wasm-bindgen", "@niivue/niivue", "cubecl", "Rust's standard library"]) {
    assert.ok(text.includes(name), name);
  }
  assert.ok(text.includes("Permission is hereby granted, free of charge"), "the words of the MIT licence");
});
