// An engine for tests: speaks the part, sees lesions where the first channel is high, and fails as MODE says, which the
// test puts before this text.
const sigmoid = (v) => 1 / (1 + Math.exp(-v));
const say = (message, buffers = []) => postMessage({ message, buffers, files: [] }, buffers);
let tiles = 0;
onmessage = ({ data: { message, buffers } }) => {
  if (message === "SelfTest") return MODE.selfTest ? say({ Failed: { problem: MODE.selfTest } }) : say("Passed");
  if (message.Load) return MODE.load ? say({ Failed: { problem: MODE.load } }) : say("Loaded");
  const { tile, side } = message.Predict;
  const patch = new Float32Array(buffers[0]), n = side ** 3;
  tiles += 1;
  if (MODE.dieAt === tiles) throw new Error("ended on purpose");
  if (MODE.nonsenseAt === tiles) return say({ Hello: 1 });
  if (MODE.nanAt === tiles) return say({ Predicted: { tile, millis: 1, heap: 1e6 } }, [new Float32Array(n).fill(NaN).buffer]);
  setTimeout(() => {
    const out = new Float32Array(n);
    for (let i = 0; i < n; i++) out[i] = sigmoid(4 * (patch[i] - 3));
    say({ Predicted: { tile, millis: MODE.millis ?? 5, heap: MODE.heap ?? 1e6 } }, [out.buffer]);
  }, MODE.millis ?? 5);
};
if (MODE.start === "throw") throw new Error("cannot start on purpose");
say({ Ready: { device: "fake", software: MODE.software ?? false } });
