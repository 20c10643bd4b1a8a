// The data of a page that a server shows: asked for, and asked for again for as long as there may be more.

import type { Profile, Served } from "./profile";
import { parseProfile } from "./read";

/** After this many failures in a row nobody is there any more. */
const MOST_FAILURES = 3;
const RETRY_MS = 700;
/** The page computes for at most this part of the time. */
const BUSY_PART = 0.25;

export interface Listener {
  /** All data, or all of it and what is new; returns once it is shown. */
  receive(profile: Profile & { served: Served }): void;
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
export function appendProfile(known: Profile, more: Profile): Profile {
  const from = known as unknown as Record<string, Column>, to = more as unknown as Record<string, Column>;
  const grown: Record<string, unknown> = { ...more, strings: known.strings.concat(more.strings) };
  for (const [name] of more.columns) grown[name] = WHOLE.includes(name) ? to[name] : join(from[name], to[name]);
  return grown as unknown as Profile;
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
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
          const more = parseProfile(await response.arrayBuffer());
          failures = 0;
          if (file !== this.file) continue;
          const started = performance.now();
          if (this.take(more)) return this.listener.end("ended");
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
  private take(more: Profile): boolean {
    if (!more.served) throw new Error("the data does not say where it belongs");
    const profile = more.served.append && this.known ? appendProfile(this.known, more) : more;
    this.known = profile;
    this.position = more.served.position;
    this.listener.receive({ ...profile, served: more.served });
    return more.served.state === "ended";
  }
}
