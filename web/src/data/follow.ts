// The data of a page that a server shows: asked for, and asked for again for as long as there may be more.

import type { Steps } from "../model/steps";
import { soon } from "../soon";
import type { Profile, Served } from "./profile";
import { parseSteps } from "./read";

/** After this many failures in a row nobody is there any more. */
const MOST_FAILURES = 3;
const RETRY_MS = 700;
/** The page computes for at most this part of the time. */
const BUSY_PART = 0.25;

export interface Listener {
  /** All data, or all of it and what is new; returns once it is shown, or is not to be shown now. */
  receive(profile: Profile & { served: Served }): Promise<void>;
  /** One line for the reader; empty when all is well again. */
  complain(text: string): void;
  /** Nothing more will come. */
  end(reason: "ended" | "gone"): void;
}

type Column = Uint8Array | Uint32Array | Float64Array;

function join(known: Column | undefined, more: Column): Column {
  if (!known || known.length === 0) return more;
  const joined = new (known.constructor as new (length: number) => Column)(known.length + more.length);
  joined.set(known);
  joined.set(more, known.length);
  return joined;
}

/** Columns that come whole each time. */
const WHOLE = ["function_group", "function_origin"];

/** What is known, with the rows of `more` behind its own. */
export function* appendSteps(known: Profile, more: Profile): Steps<Profile> {
  const from = known as unknown as Record<string, Column>, to = more as unknown as Record<string, Column>;
  const grown: Record<string, unknown> = { ...more, strings: known.strings.concat(more.strings) };
  for (const [at, [name]] of more.columns.entries()) {
    grown[name] = WHOLE.includes(name) ? to[name] : join(from[name], to[name]);
    yield at / more.columns.length;
  }
  return grown as unknown as Profile;
}

/** No longer than until `signal` comes. */
function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => resolve());
  });
}

/** How long the page may read before it looks whether somebody wants something. */
const SLICE_MS = 20;

async function inSlices<T>(steps: Steps<T>): Promise<T> {
  let until = performance.now() + SLICE_MS;
  let step = steps.next();
  for (; !step.done; step = steps.next()) {
    if (performance.now() < until) continue;
    await new Promise<void>(soon);
    until = performance.now() + SLICE_MS;
  }
  return step.value;
}

export class Follower {
  /** What was chosen: `all`, a file's place, or two with a `-` between; `null` for what the server shows first. */
  private file: string | null = null;
  /** Another number for each choice: what was asked for before it is to be dropped. */
  choice = 0;
  private position = "";
  private known: Profile | null = null;
  private waiting = new AbortController();

  constructor(private readonly listener: Listener) {}

  choose(file: string): void {
    this.file = file;
    this.choice++;
    this.position = "";
    this.waiting.abort();
  }

  async run(): Promise<void> {
    for (let failures = 0; failures < MOST_FAILURES;) {
      this.waiting = new AbortController();
      const { choice, waiting: { signal } } = this;
      const answer = await this.ask();
      if (choice !== this.choice) continue;
      if (!answer || (answer.status !== 422 && (answer.status < 200 || answer.status > 299))) {
        failures++;
        await pause(RETRY_MS);
        continue;
      }
      failures = 0;
      if (answer.status === 422) {
        this.listener.complain(new TextDecoder().decode(answer.body));
        await pause(RETRY_MS);
      } else if (answer.status !== 204) {
        const more = await inSlices(parseSteps(answer.body));
        const profile = more.served?.append && this.known ? await inSlices(appendSteps(this.known, more)) : more;
        if (choice !== this.choice) continue;
        const started = performance.now();
        const isLast = await this.take(profile, more.served);
        if (choice !== this.choice) continue;
        if (isLast) return this.listener.end("ended");
        await pause((performance.now() - started) * (1 / BUSY_PART - 1), signal);
      }
    }
    this.listener.end("gone");
  }

  /** `null` if nobody answers, or another file was chosen meanwhile. What fails here is the network; what fails elsewhere is not. */
  private async ask(): Promise<{ status: number; body: ArrayBuffer } | null> {
    const { file, position, waiting: { signal } } = this;
    try {
      const query = new URLSearchParams({ at: position, ...file === null ? {} : { file } });
      const response = await fetch(`data?${query}`, { signal, cache: "no-store" });
      return { status: response.status, body: await response.arrayBuffer() };
    } catch (error) {
      if (signal.aborted || error instanceof TypeError) return null;
      throw error;
    }
  }

  /** Whether that was the last. */
  private async take(profile: Profile, served?: Served): Promise<boolean> {
    if (!served) throw new Error("the data does not say where it belongs");
    this.known = profile;
    this.position = served.position;
    await this.listener.receive({ ...profile, served });
    return served.state === "ended";
  }
}
