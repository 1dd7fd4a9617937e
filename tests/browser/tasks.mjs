// What the tasks of the page's own thread cost, by the browser's trace.
//
// Counted is the thread's processor time. By the clock (as the browser's own "longtask" entries count) a task of 7 ms takes
// 100 ms where engines compute on every core of a small machine: that says how busy the machine is, not what the page does.
import assert from "node:assert/strict";

const BEGIN = "watch begins";
const SAID = "said: ";

// Begins to watch; the answer ends it and gives the tasks of more than `limit` ms, `{ ms, elapsed, said }` with what the
// page's status said last, from when the status first said `from` until it said one of `to` (the whole time without).
export async function watchTasks(page, limit = 50) {
  const browser = page.context().browser();
  await browser.startTracing(page, { categories: ["toplevel", "blink.user_timing"] });
  await page.evaluate(([begin, said]) => {
    performance.mark(begin);
    let last;
    const hear = () => {
      const words = [...document.querySelectorAll("[role=status]")].filter((status) => status.checkVisibility()).map((status) => status.textContent.trim()).join(" / ");
      if (words !== last) performance.mark(`${said}${words}`);
      last = words;
    };
    hear();
    new MutationObserver(hear).observe(document.body, { childList: true, characterData: true, subtree: true });
    // A task that is known to be long, lest the trace be read wrongly.
    for (const from = performance.now(); performance.now() < from + 300; );
  }, [BEGIN, SAID]);

  return async ({ from, to } = {}) => {
    const { traceEvents } = JSON.parse((await browser.stopTracing()).toString());
    const begin = traceEvents.find(({ name }) => name === BEGIN);
    assert.ok(begin, "the trace has not the mark of its beginning");
    const own = traceEvents.filter(({ pid, tid }) => pid === begin.pid && tid === begin.tid);
    const marks = own.filter(({ name, ts }) => name.startsWith(SAID) && ts >= begin.ts).map(({ name, ts }) => ({ words: name.slice(SAID.length), ts }));
    const at = (...starts) => marks.find(({ words }) => starts.some((start) => words?.startsWith(start)))?.ts;
    const [low, high] = [from ? at(from) : begin.ts, to ? at(...to) : Infinity];
    assert.ok(low < high, `"${from}" and "${to}" are not in ${marks.map(({ words }) => words).join(" | ")}`);

    const tasks = own
      .filter(({ ph, name, ts, dur }) => ph === "X" && name.endsWith("RunTask") && ts + dur >= begin.ts)
      .map(({ ts, dur, tdur }) => ({ ts, ms: tdur / 1000, elapsed: dur / 1000, said: marks.findLast((mark) => mark.ts <= ts)?.words }))
      .sort((a, b) => a.ts - b.ts);
    const known = tasks.shift();
    assert.ok(known?.ms > limit, `the known task of 300 ms is not in the trace: ${JSON.stringify(known)}`);
    const last = tasks.at(-1);
    assert.ok(last?.ts > marks.at(-1).ts - 1e6, "the trace ends before the page does");
    const within = tasks.filter(({ ts }) => ts >= low && ts <= high);
    return {
      seconds: (Math.min(high, last.ts) - low) / 1e6,
      count: within.length,
      longest: within.reduce((a, b) => (a.ms > b.ms ? a : b)),
      long: within.filter(({ ms }) => ms > limit),
    };
  };
}
