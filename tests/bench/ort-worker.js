// onnxruntime-web in a worker, spoken to with three messages: start, predict, and what comes back.
let session;
let shape;

onmessage = async ({ data }) => {
  try {
    postMessage(data.start ? await start(data.start) : await predict(data.patch));
  } catch (error) {
    postMessage({ failed: String(error?.message ?? error) });
  }
};

async function start({ build, provider, threads, model, dims }) {
  const ort = await import(`./ort/${build}`);
  ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  shape = (values) => ({ x: new ort.Tensor("float32", values, dims) });
  session = await ort.InferenceSession.create(new Uint8Array(model), {
    executionProviders: [provider],
    graphOptimizationLevel: "all",
    // An operator that the GPU lacks shall be an error and not a detour through the CPU.
    extra: provider === "webgpu" ? { session: { disable_cpu_ep_fallback: "1" } } : undefined,
  });
  return { ready: true, threads: ort.env.wasm.numThreads, version: ort.env.versions.web ?? ort.env.versions.common };
}

async function predict(patch) {
  const begin = performance.now();
  const { p } = await session.run(shape(patch));
  const probability = await p.getData();
  const seconds = (performance.now() - begin) / 1000;
  return { seconds, probability: Float32Array.from(probability) };
}
