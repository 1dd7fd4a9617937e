// How tests and benchmarks start the browser.

const ARGS = [
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-unsafe-swiftshader",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // In the place of playwright's own list. Autofill would tell the browser's maker about the fields of the page; Chromium 148
  // asks its maker at every start whether its AI mode may be offered (Aim) and opens a connection to the default search engine.
  `--disable-features=${[
    "AimEnabled",
    "AutofillServerCommunication",
    "DialMediaRouteProvider",
    "HttpsUpgrades",
    "MediaRouter",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "SearchEnginePreconnect2",
    "Translate",
  ].join(",")}`,
];

export function launch(chromium, executablePath) {
  return chromium.launch({ executablePath, args: ARGS });
}
