// The data of a page that a server shows: asked for, and asked for again for as long as there may be more.

import type { Steps } from "../model/steps";
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

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** How long the page may read before it looks whether somebody wants something. */
const SLICE_MS = 20;

async function inSlices<T>(steps: Steps<T>): Promise<T> {
  let until = performance.now() + SLICE_MS;
  let step = steps.next();
  for (; !step.done; step = steps.next()) {
    if (performance.now() < until) continue;
    await pause(0);
    until = performance.now() + SLICE_MS;
  }
  return step.value;
}

export class Follower {
  /** What was chosen: `all`, a file's place, or two with a `-` between; `null` for what the server shows first. */
  private file: string | null = null;
  private position = "";
  private known: Profile | null = null;
  private waiting = new AbortController();

  constructor(private readonly listener: Listener) {}

  choose(file: string): void {
    this.file = file;
    this.position = "";
    this.waiting.abort();
  }

  async run(): Promise<void> {
    for (let failures = 0; failures < MOST_FAILURES;) {
      this.waiting = new AbortController();
      const file = this.file;
      try {
        const query = new URLSearchParams({ at: this.position, ...file === null ? {} : { file } });
        const response = await fetch(`data?${query}`, { signal: this.waiting.signal, cache: "no-store" });
        if (response.status === 422) {
          this.listener.complain(await response.text());
          failures = 0;
          await pause(RETRY_MS);
        } else if (!response.ok) {
          failures++;
          await pause(RETRY_MS);
        } else if (response.status !== 204) {
          const more = await inSlices(parseSteps(await response.arrayBuffer()));
          failures = 0;
          const profile = more.served?.append && this.known ? await inSlices(appendSteps(this.known, more)) : more;
          if (file !== this.file) continue;
          const started = performance.now();
          if (await this.take(profile, more.served)) return this.listener.end("ended");
          await pause((performance.now() - started) * (1 / BUSY_PART - 1));
        } else failures = 0;
      } catch (error) {
        if (this.waiting.signal.aborted) continue;
        if (!(error instanceof TypeError)) throw error;
        failures++;
        await pause(RETRY_MS);
      }
    }
    this.listener.end("gone");
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
