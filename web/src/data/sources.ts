// Texts of source files: a block of their own, read when somebody wants to see one; with the data, where a server gives that;
// or asked for one by one while a recording goes on.

import type { Profile, SourceText } from "./profile";
import { decodeBase64, inflate } from "./read";

/** What a server says that has not read the file yet. */
const NO_CONTENT = 204;

async function readBlock(): Promise<SourceText[]> {
  const element = document.getElementById("sources");
  const packed = element?.textContent?.trim() ?? "";
  if (packed === "") return [];
  const files = JSON.parse(new TextDecoder().decode(await inflate(decodeBase64(packed)))) as SourceText[];
  element?.remove();
  return files;
}

/** `<string>`: code that the program has made. */
export function hasNoFile(path: string): boolean {
  return path.startsWith("<");
}

export class Sources {
  private readonly texts = new Map<string, SourceText>();
  /** Why there is no text of a file; empty while it is asked for. */
  private readonly missing = new Map<string, string>();
  private block: Promise<void> | null = null;
  private isReady = false;
  private profile: Profile | null = null;
  /** The text of which a line was asked for last. */
  private split: { text: SourceText; lines: string[] } | null = null;

  /** `onMore` is called when there is more than before. */
  constructor(private readonly onMore: () => void) {}

  /** The text of a file, which is asked for if that is possible; `null` for as long as there is none. */
  find(profile: Profile, path: string): SourceText | null {
    this.learn(profile);
    const text = this.texts.get(path);
    if (!text && profile.served?.sources === "asked" && !this.missing.has(path) && !hasNoFile(path)) void this.ask(path);
    return text ?? null;
  }

  /** One line of a file whose text is here already and as it was when it was recorded; else nothing, and nobody is asked. */
  line(profile: Profile, path: string, line: number): string {
    this.learn(profile);
    const text = this.texts.get(path);
    if (!text || text.changed_since) return "";
    if (this.split?.text !== text) this.split = { text, lines: text.text.split(/\r\n|\r|\n/) };
    return this.split.lines[line - 1] ?? "";
  }

  /** Why there is no text; `null` while it may yet come. */
  why(profile: Profile, path: string): string | null {
    const why = this.missing.get(path);
    if (profile.served?.sources === "asked") return why || null;
    return this.isReady ? why ?? "" : null;
  }

  private learn(profile: Profile): void {
    // Another file may have another text of the same name; what was read while recording is as good as at its end.
    if (profile !== this.profile && profile.served?.state === "file") this.texts.clear();
    this.profile = profile;
    const given = profile.sources ?? [];
    for (const file of given) this.texts.set(file.path, file);
    if (profile.served) this.isReady = true;
    else {
      this.block ??= readBlock().then((files) => {
        for (const file of files) this.texts.set(file.path, file);
        this.isReady = true;
        this.onMore();
      });
    }
  }

  private async ask(path: string): Promise<void> {
    this.missing.set(path, "");
    try {
      const request = () => fetch(`source?path=${encodeURIComponent(path)}`, { cache: "no-store" });
      let response = await request();
      while (response.status === NO_CONTENT) response = await request();
      if (response.ok) {
        this.texts.set(path, await response.json() as SourceText);
        this.missing.delete(path);
      } else this.missing.set(path, await response.text() || "viperf does not give it");
    } catch {
      this.missing.set(path, "viperf has ended before it was read");
    }
    this.onMore();
  }
}
