// Later, but as soon as the page is free.

/** Messages come as soon as the page is free; timers of timers wait for four milliseconds each, and much longer in a tab that is not seen. */
const channel = new MessageChannel();
const waiting: (() => void)[] = [];
channel.port1.onmessage = () => waiting.shift()?.();

export function soon(run: () => void): void {
  waiting.push(run);
  channel.port2.postMessage(null);
}
