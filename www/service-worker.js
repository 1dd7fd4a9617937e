// Keeps the page in the browser, so that it works without a network from the second visit on.
//
// `xtask` puts EQUIPOISE_OFFLINE before this: a version made of all names, the files without which the page cannot segment
// (`first`), the rest (`more`), and the SHA-256 of the two pages, whose names have no hash (`pages`).
//
// One version serves a tab throughout: a new one waits until a person asks for it. The version before is kept for tabs that
// still show it. Scans are never fetched, so none can come by here; nothing but GETs of this page's own files is answered.

const { version, first, more, pages } = EQUIPOISE_OFFLINE;
const SCOPE = self.registration.scope;
// Copies of the page below other paths of one origin have caches of their own.
const PREFIX = `equipoise ${SCOPE} `;
const NAME = PREFIX + version;
const ROOT = new URL("./", SCOPE).href;
// Hosts may redirect index.html to its folder, so the folder is asked for.
const address = (file) => (file === "index.html" ? ROOT : new URL(file, SCOPE).href);
const known = new Set([...first, ...more].map(address));

const own = async () => (await caches.keys()).filter((name) => name.startsWith(PREFIX));

// What is kept under an address, in this version first.
async function kept(wanted) {
  const others = (await own()).filter((name) => name !== NAME).reverse();
  for (const name of [NAME, ...others]) {
    const found = await (await caches.open(name)).match(wanted, { ignoreVary: true });
    if (found) return found;
  }
}

async function keep(cache, file) {
  const wanted = address(file);
  const digest = pages[file];
  // A name with a hash means the same bytes in every version.
  const before = digest ? await cache.match(wanted) : await kept(wanted);
  if (before) return cache.put(wanted, before);
  const response = await fetch(wanted, digest ? { cache: "no-cache", integrity: digest } : {});
  if (!response.ok) throw new Error(`${response.status} for ${file}`);
  const plain = response.redirected ? new Response(await response.blob(), { headers: response.headers }) : response;
  return cache.put(wanted, plain);
}

async function keepAll(files) {
  const cache = await caches.open(NAME);
  await Promise.all(files.map((file) => keep(cache, file)));
}

self.addEventListener("install", (event) => event.waitUntil(keepAll(first)));

self.addEventListener("activate", (event) => {
  const clean = async () => {
    const old = (await own()).filter((name) => name !== NAME);
    await Promise.all(old.slice(0, -1).map((name) => caches.delete(name)));
  };
  event.waitUntil(clean());
});

self.addEventListener("message", (event) => {
  if (event.data === "take over") self.skipWaiting();
  // One file that does not come must not keep the others away; it will be kept when it is used.
  if (event.data === "keep more") event.waitUntil(Promise.allSettled(more.map((file) => keepAll([file]))));
});

// The address of the file that a request is for; nothing for what is none of this page's.
function wantedBy(request) {
  if (request.method !== "GET" || !request.url.startsWith(SCOPE)) return undefined;
  const url = new URL(request.url);
  url.hash = "";
  if (request.mode === "navigate") url.search = "";
  return url.search ? undefined : address(url.href === `${ROOT}index.html` ? "index.html" : url.href);
}

self.addEventListener("fetch", (event) => {
  const wanted = wantedBy(event.request);
  if (wanted === undefined) return;
  const answer = async () => {
    const found = await kept(wanted);
    if (found) return found;
    const response = await fetch(event.request);
    if (response.ok && !response.redirected && known.has(wanted)) {
      const copy = response.clone();
      event.waitUntil(caches.open(NAME).then((cache) => cache.put(wanted, copy)).catch(() => {}));
    }
    return response;
  };
  event.respondWith(answer());
});
