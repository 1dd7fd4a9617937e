// What helps whoever is asked for help, and nothing that names a person, a scan or a place.

const word = (value) => (value === undefined || value === null || value === "" ? "not told" : String(value));

async function gpu() {
  if (!navigator.gpu) return "no WebGPU";
  try {
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) return "WebGPU without an adapter";
    const { vendor, architecture, description, isFallbackAdapter } = adapter.info ?? {};
    const limits = ["maxBufferSize", "maxStorageBufferBindingSize", "maxComputeInvocationsPerWorkgroup", "maxComputeWorkgroupsPerDimension"];
    return [
      [vendor, architecture, description].filter(Boolean).join(" ") || "an adapter without a name",
      isFallbackAdapter ? "(software)" : "",
      ...limits.map((name) => `${name} ${word(adapter.limits[name])}`),
      `features ${[...adapter.features].sort().join(" ") || "none"}`,
    ].filter(Boolean).join("; ");
  } catch (error) {
    return `WebGPU failed: ${error.message}`;
  }
}

// Lines of text about browser and machine.
export async function diagnostics() {
  const heap = performance.memory?.usedJSHeapSize;
  return [
    `Browser: ${navigator.userAgent}`,
    `Processors: ${word(navigator.hardwareConcurrency)}`,
    `Memory, GiB (rounded by the browser): ${word(navigator.deviceMemory)}`,
    `Page's own heap, MB: ${heap ? (heap / 1e6).toFixed(0) : "not told"}`,
    `Screen: ${innerWidth} x ${innerHeight} at ${devicePixelRatio}`,
    `GPU: ${await gpu()}`,
    `Served securely: ${isSecureContext}`,
  ].join("\n");
}

// Puts text on the clipboard; answers whether the browser let it.
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
