// What was dropped, folders and all. A drop lists folders as entries that must be walked; entries are only readable in
// the drop's own task, so they are all taken before anything is awaited.

// [path, File] pairs of a drop event.
export function droppedFiles(event) {
  const entries = [...(event.dataTransfer?.items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = [...(event.dataTransfer?.files ?? [])];
  if (!entries.some((entry) => entry.isDirectory)) return Promise.resolve(files.map((file) => [file.name, file]));
  return Promise.all(entries.map(walk)).then((found) => found.flat());
}

async function walk(entry) {
  const path = entry.fullPath.replace(/^\//, "");
  if (entry.isFile) {
    // What cannot be read (a broken link, say) is no file.
    const file = await new Promise((done) => entry.file(done, () => done(null)));
    return file ? [[path, file]] : [];
  }
  const reader = entry.createReader();
  const children = [];
  // A folder is listed in batches, until one is empty.
  for (;;) {
    const batch = await new Promise((done) => reader.readEntries(done, () => done([])));
    if (!batch.length) break;
    children.push(...batch);
  }
  return (await Promise.all(children.map(walk))).flat();
}
