// Every browser test, in one process: `./dev test browser` sets the environment that harness.mjs names.
import { after } from "node:test";
import { close } from "./harness.mjs";

await import("./page.test.mjs");
await import("./offline.test.mjs");
await import("./explore.test.mjs");
await import("./compare.test.mjs");
await import("./studies.test.mjs");
await import("./report.test.mjs");
await import("./lab.test.mjs");
await import("./inputs.test.mjs");
await import("./segment.test.mjs");
await import("./webgpu.test.mjs");
await import("./finetune.test.mjs");
await import("./finetune.lost.test.mjs");
await import("./desk.test.mjs");
if ((process.env.EQUIPOISE_ONLY ?? "").split(" ").some((word) => word.startsWith("pictures"))) await import("./pictures.mjs");

after(close);
