// The names that this build gave its files. When `xtask` bundles, it puts EQUIPOISE_ASSETS before this: a table from
// logical names ("desk.js", "models/x/card.json") to the hashed ones beside this script.
const table = typeof EQUIPOISE_ASSETS === "undefined" ? {} : EQUIPOISE_ASSETS;

// Absolute URL of a file of this build; a name that the build does not know comes back as it is, beside this script.
export function asset_url(name) {
  return new URL(table[name] ?? name, import.meta.url).href;
}

// Logical names that start with a prefix, sorted.
export function asset_list(prefix) {
  return Object.keys(table).filter((name) => name.startsWith(prefix)).sort();
}
