// A static server that isolates its pages (COOP and COEP), which threads of WebAssembly and exact memory figures need.
import { createReadStream, statSync } from "node:fs";
import http from "node:http";
import path from "node:path";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

// Serves `folder`; `change(path)` may put something before a script, `find(path)` may name another file for a path. Answers
// `{ url, close }`.
export async function serve(folder, change = () => "", find = () => undefined) {
  const server = http.createServer((request, response) => {
    const wanted = decodeURIComponent(new URL(request.url, "http://localhost").pathname).slice(1) || "index.html";
    const file = find(wanted) ?? path.join(folder, path.normalize(`/${wanted}`));
    const type = TYPES[path.extname(file)] ?? "application/octet-stream";
    const headers = {
      "content-type": type,
      "cache-control": "no-store",
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
      "cross-origin-resource-policy": "same-origin",
    };
    if (!statSync(file, { throwIfNoEntry: false })?.isFile()) return response.writeHead(404, headers).end();
    response.writeHead(200, headers);
    response.write(change(wanted));
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${server.address().port}/`, close };
}
