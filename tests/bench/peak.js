// The fp32 multiply-adds a second that the browser's GPU can do: `peak.wgsl`, as `lab bench peak` runs it natively.

const FORMS = { fused_narrow: 16, plain_narrow: 16, fused_wide: 32, plain_wide: 32 };
const UNITS = 1 << 18;
const WORKGROUP = 64;
// Dispatches are lengthened until they take so long.
const LONG_ENOUGH = 0.2;

// Answers `{ device, run }`; a run answers with the GFLOPS (a multiply-add counts two) of the fastest form.
export async function peak() {
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  const device = await adapter.requestDevice();
  const module = device.createShaderModule({ code: await (await fetch("peak.wgsl")).text() });
  const io = device.createBuffer({ size: 4 * (2 + UNITS), usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST });
  device.queue.writeBuffer(io, 0, Float32Array.of(0.999, 0.001));

  // Seconds of one dispatch, its second run: the first compiles.
  async function dispatch(entryPoint, loops) {
    const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint, constants: { loops } } });
    const layout = pipeline.getBindGroupLayout(0);
    const group = device.createBindGroup({ layout, entries: [{ binding: 0, resource: { buffer: io } }] });
    let seconds = 0;
    for (let i = 0; i < 2; i++) {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(UNITS / WORKGROUP);
      pass.end();
      const begin = performance.now();
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
      seconds = (performance.now() - begin) / 1000;
    }
    return seconds;
  }

  async function run() {
    let best = 0;
    for (const [form, macs] of Object.entries(FORMS)) {
      let loops = 16;
      let seconds = await dispatch(form, loops);
      while (seconds < LONG_ENOUGH && loops < 1 << 24) {
        loops *= 4;
        seconds = await dispatch(form, loops);
      }
      best = Math.max(best, (2 * UNITS * macs * loops) / seconds / 1e9);
    }
    return { gflops: best };
  }
  return { device: adapter.info?.description ?? "", run, stop: () => device.destroy() };
}
