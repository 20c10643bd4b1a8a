// Later, but as soon as the page is free.

/** Messages come as soon as the page is free; timers of timers wait for four milliseconds each, and much longer in a tab that is not seen. */
const channel = new MessageChannel();
const waiting: (() => void)[] = [];
channel.port1.onmessage = () => waiting.shift()?.();

export function soon(run: () => void): void {
  waiting.push(run);
  channel.port2.postMessage(null);
}

/** A tab that is not seen has no next picture. */
const NO_PICTURE_MS = 300;

/** Once the next picture is on the screen, or it is clear that there is none. */
export function afterPicture(run: () => void): void {
  let isDone = false;
  const once = () => {
    if (isDone) return;
    isDone = true;
    run();
  };
  requestAnimationFrame(() => soon(once));
  setTimeout(once, NO_PICTURE_MS);
}
