// In the page: engines of ours and onnxruntime-web, each in workers of its own, in turn on one patch.

import { peak } from "./peak.js";

// Asks a worker one thing at a time.
class Conversation {
  #heard = [];
  #wake = () => {};

  constructor(script) {
    this.worker = new Worker(script, { type: "module" });
    this.worker.onmessage = ({ data }) => this.#hear(data);
    this.worker.onerror = (event) => this.#hear({ failed: event.message ?? `${script} could not be started` });
  }

  #hear(data) {
    this.#heard.push(data);
    this.#wake();
  }

  async next() {
    while (!this.#heard.length) await new Promise((resolve) => (this.#wake = resolve));
    const data = this.#heard.shift();
    const failed = data.failed ?? data.message?.Failed;
    if (failed) throw new Error(JSON.stringify(failed));
    return data;
  }

  ask(data, transfer = []) {
    this.worker.postMessage(data, transfer);
    return this.next();
  }
}

// An engine of ours, spoken to as the desk does (src/web/messages.rs).
async function engine({ program, workers = 1 }, model) {
  const team = await Promise.all(
    Array.from({ length: workers }, async () => {
      const talk = new Conversation(`${program}-worker.js`);
      const { message } = await talk.next();
      const ask = (word, buffers) => talk.ask({ message: word, buffers, files: [], case: 1 }, buffers);
      await ask({ Load: { config: JSON.stringify(model.card.config) } }, [model.weights.slice(0)]);
      const predict = async () => {
        const answer = await ask({ Predict: { tile: 0, side: model.card.patch } }, [model.patch.slice().buffer]);
        const { millis, heap } = answer.message.Predicted;
        return { seconds: millis / 1000, heap, probability: new Float32Array(answer.buffers[0]) };
      };
      return { talk, predict, device: message.Ready.device };
    }),
  );
  return { device: team[0].device, run: () => together(team), stop: () => team.forEach(({ talk }) => talk.worker.terminate()) };
}

// One patch in each worker at the same time; the time is that of one patch.
async function together(team) {
  if (team.length === 1) return team[0].predict();
  const begin = performance.now();
  const answers = await Promise.all(team.map((member) => member.predict()));
  const seconds = (performance.now() - begin) / 1000 / team.length;
  return { seconds, heap: answers[0].heap, probability: answers[0].probability };
}

// An engine of ours that trains (src/web/messages/finetune.rs): one step after the other on the same patch, of which one voxel
// in eight is lesion. The loss must fall, or nothing was trained.
async function tutor({ tutor: program, recipe, repeat }, model) {
  const talk = new Conversation(`${program}-worker.js`);
  const { message } = await talk.next();
  const ask = (word, buffers) => talk.ask({ message: word, buffers, files: [], case: 1 }, buffers);
  const tune = async (word, buffers) => {
    const answer = (await ask({ Tune: word }, buffers)).message.Tune;
    if (answer.Refused || answer.Diverged) throw new Error(JSON.stringify(answer));
    return answer;
  };
  const config = JSON.stringify(model.card.config);
  const side = model.card.patch;
  await ask({ Load: { config } }, [model.weights.slice(0)]);
  await tune({ Begin: { run: 1, config, recipe: { ...recipe, steps: 2 * (repeat + 1) } } }, [model.weights.slice(0)]);
  const label = Float32Array.from({ length: side ** 3 }, (_, i) => {
    const place = [i % side, Math.floor(i / side) % side, Math.floor(i / side ** 2)];
    return Number(place.every((at) => 2 * at >= side / 2 && 2 * at < 1.5 * side));
  });
  const losses = [];
  const step = async () => {
    const { Stepped } = await tune({ Step: { step: losses.length, side } }, [model.patch.slice().buffer, label.slice().buffer]);
    losses.push(Stepped.loss);
  };
  // Memory of WebAssembly never shrinks, so what is there after the last step is the peak.
  const heap = async () => {
    const answer = await ask({ Predict: { tile: 0, side } }, [model.patch.slice().buffer]);
    return answer.message.Predicted.heap;
  };
  // A step answers when its loss is known; a GPU is then still busy with its backward pass, which the next step has to wait for. So what
  // one step takes among many is the time between two answers, and a prediction keeps the rest from whoever comes next.
  const run = async () => {
    await step();
    const begin = performance.now();
    await step();
    const seconds = (performance.now() - begin) / 1000;
    await heap();
    if (losses.length > 2 * repeat && losses.at(-1) >= losses[0]) throw new Error(`the loss did not fall: ${losses}`);
    return { seconds, probability: undefined };
  };
  return { device: message.Ready.device, run, heap, stop: () => talk.worker.terminate() };
}

async function onnxruntime({ build, provider, threads, onnx }, model) {
  const talk = new Conversation("ort-worker.js");
  const { side, channels } = { side: model.card.patch, channels: model.card.config.in_channels };
  const dims = [1, channels, side, side, side];
  const file = await (await fetch(onnx)).arrayBuffer();
  const ready = await talk.ask({ start: { build, provider, threads, model: file, dims } }, [file]);
  const run = () => talk.ask({ patch: model.patch });
  return { device: `${provider}, ${ready.threads} thread(s)`, version: ready.version, run, stop: () => talk.worker.terminate() };
}

const start = (entry, model) => {
  if (entry.program) return engine(entry, model);
  if (entry.tutor) return tutor(entry, model);
  return entry.provider ? onnxruntime(entry, model) : peak();
};

// `contestants`: `[{ name, program | tutor | provider | (neither: the adapter's peak), repeat, ... }]`; the first is the one the
// others' answers are held against. The first round compiles shaders and warms up; it is reported but not among `times`
// (seconds; of the adapter's peak GFLOPS).
globalThis.contest = async ({ folder, contestants }) => {
  const card = await (await fetch(`${folder}/card.json`)).json();
  const weights = await (await fetch(`${folder}/${card.weights.file}`)).arrayBuffer();
  const count = card.config.in_channels * card.patch ** 3;
  const patch = Float32Array.from({ length: count }, (_, i) => ((i * 7919) % 2003) / 500 - 2);
  const model = { card, weights, patch };
  const running = [];
  for (const entry of contestants) {
    running.push({ ...entry, ...(await start(entry, model)), times: [], first: undefined });
  }
  const rounds = Math.max(...contestants.map(({ repeat }) => repeat));
  for (let round = 0; round <= rounds; round++) {
    for (const one of running) {
      if (round > one.repeat) continue;
      const { seconds, gflops, heap, probability } = await one.run();
      if (round === 0) one.first = seconds ?? gflops;
      else one.times.push(seconds ?? gflops);
      one.heapNow = heap;
      one.probability = probability;
    }
  }
  for (const one of running) one.heapNow = (await one.heap?.()) ?? one.heapNow;
  const reference = running[0].probability;
  return running.map(({ name, device, version, times, first, heapNow, probability, stop }) => {
    stop();
    // NaN, if there is one, stays the worst.
    const difference = probability && reference.reduce((worst, p, i) => Math.max(worst, Math.abs(p - probability[i])), 0);
    return { name, device, version, times, first, heap: heapNow, difference };
  });
};
