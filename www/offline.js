// The page's side of service-worker.js.

// The tab that asked for the new version reloads when it has taken over; others go on with what they have.
let asked = false;
let registration;

// Has the page kept for use without a network. `tell` hears "keeping", then "ready", and "update" whenever a new version waits;
// or "insecure", "unsupported", "failed".
export async function keep(tell) {
  const workers = navigator.serviceWorker;
  if (!workers) return tell(isSecureContext ? "unsupported" : "insecure");
  workers.addEventListener("controllerchange", () => asked && location.reload());
  try {
    // After what the person waits for.
    await new Promise((later) => (window.requestIdleCallback ?? setTimeout)(later));
    registration = await workers.register(new URL("service-worker.js", document.baseURI));
    tell(registration.active ? "ready" : "keeping");
    const follow = (worker) => {
      if (!worker) return;
      const look = () => {
        if (worker.state === "installed" && registration.active) tell("update");
        if (worker.state === "activated") {
          tell("ready");
          if (!navigator.connection?.saveData) worker.postMessage("keep more");
        }
        if (worker.state === "redundant" && !registration.active) tell("failed");
      };
      worker.addEventListener("statechange", look);
      look();
    };
    follow(registration.waiting ?? registration.installing ?? registration.active);
    registration.addEventListener("updatefound", () => follow(registration.installing));
  } catch {
    tell("failed");
  }
}

// Reloads the page in its new version.
export function update() {
  asked = true;
  if (registration?.waiting) registration.waiting.postMessage("take over");
  else location.reload();
}
