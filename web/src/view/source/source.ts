// The source view: files on one side, and one of them line by line.

import { hasNoFile, Sources } from "../../data/sources";
import { formatCount } from "../../format";
import { KIND_PYTHON } from "../../model/kinds";
import { baseName, printable } from "../../model/names";
import type { Selection } from "../../model/filters";
import type { Source } from "../../model/source";
import { innermostPython, SourceHeat, type Call, type FileHeat, type Heat, type RangeHeat } from "../../model/source_heat";
import { part, type Steps } from "../../model/steps";
import type { Page } from "../../page";
import { byId, element } from "../dom";
import { Question } from "../job";
import { Rows } from "../rows";
import { swatch } from "../swatch";
import { renderAmount } from "../table";
import { shorten } from "../tooltip";
import { renderLine, type SourceLine } from "./line";

const ORIGINS = ["Project", "Installed packages", "Standard library", "Other"];
const LINE_HEIGHT = 20, FILE_HEIGHT = 28;
/** Callers and callees of a line that are named. */
const CALLS_SHOWN = 12;

/** What is known of all files. */
interface Files {
  heat: SourceHeat;
  files: FileHeat[];
}

/** What is known of one. */
interface Figures {
  lines: Map<number, Heat>;
  ranges: RangeHeat[];
}

type FileRow = { heading: string } | FileHeat;

export class SourceView {
  /** The lines that are shown, and their figures. */
  lines: SourceLine[] = [];
  private readonly files: Rows<FileRow>;
  private readonly rows: Rows<SourceLine>;
  private python: { source: Source; nearest: Int32Array } | null = null;
  private readonly known = new Question<Files>();
  private readonly figures = new Question<Figures>();
  private readonly calls = new Question<{ callers: Call[]; callees: Call[] }>();
  readonly sources: Sources;
  private shown = -1;
  private hottest = 0;
  private revealed = "";

  constructor(private readonly page: Page) {
    this.connectTools();
    this.sources = new Sources(() => { if (page.state.tab === "source") this.fill(); });
    this.files = new Rows(byId("source-files"), FILE_HEIGHT, (row) => this.renderFile(row));
    this.rows = new Rows(byId("source-lines"), LINE_HEIGHT, (row) => this.renderRow(row));
    for (const [id, rows] of [["source-files", this.files], ["source-lines", this.rows]] as const) {
      byId(id).addEventListener("keydown", (event) => { if (rows.moveFocus(event)) event.stopPropagation(); });
    }
  }

  private connectTools(): void {
    const { page } = this;
    const warm = byId<HTMLInputElement>("warm");
    warm.addEventListener("change", () => page.update({ warm: warm.checked }, "replace"));
    byId("line-next").addEventListener("click", () => this.step(1));
    byId("line-previous").addEventListener("click", () => this.step(-1));
  }

  /** The lines with time of their own, the hottest first. */
  private hotLines(): SourceLine[] {
    return this.lines.filter(({ heat }) => heat && heat.self > 0).sort((a, b) => (b.heat?.self ?? 0) - (a.heat?.self ?? 0) || a.number - b.number);
  }

  /** On to the next line by own time, or back. */
  step(direction: number): void {
    const { page } = this;
    const hot = this.hotLines();
    if (hot.length === 0) return;
    const now = hot.findIndex(({ number }) => number === page.state.line);
    const next = hot[now < 0 ? (direction > 0 ? 0 : hot.length - 1) : (now + direction + hot.length) % hot.length];
    this.revealed = "";
    page.update({ file: page.profile.strings[this.shown], line: next.number }, "push");
  }

  private renderTools(): void {
    const hot = this.hotLines();
    const at = hot.findIndex(({ number }) => number === this.page.state.line);
    byId("line-place").textContent = at < 0 ? "" : `${at + 1} of ${hot.length}`;
    for (const id of ["line-next", "line-previous"]) byId<HTMLButtonElement>(id).disabled = hot.length === 0;
    byId<HTMLInputElement>("warm").checked = this.page.state.warm;
  }

  fill(): void {
    const { page } = this;
    const { self, totals } = page.weights();
    this.known.ask([page.source, self], () => this.readFiles(self, totals), (known) => this.fillFiles(known));
  }

  private *readFiles(self: Float64Array, totals: Float64Array): Steps<Files> {
    const { source, names } = this.page;
    if (this.python?.source !== source) this.python = { source, nearest: yield* part(innermostPython(source, names), 0, 0.2) };
    const heat = new SourceHeat(source, names, this.python.nearest, self, totals);
    return { heat, files: yield* part(heat.files(), 0.2, 1) };
  }

  private fillFiles({ heat, files: all }: Files): void {
    const { page, page: { profile: { strings } } } = this;
    const files = this.wantedFiles(all);
    const wanted = page.state.file;
    const chosen = files.find(({ file }) => strings[file] === wanted) ?? (wanted === "" ? files.find(({ file }) => !hasNoFile(strings[file])) ?? files[0] : undefined);
    const known = chosen ?? all.find(({ file }) => strings[file] === wanted);
    this.files.set(withHeadings(files));
    byId("source-none").hidden = known !== undefined;
    byId("source-tools").hidden = known === undefined;
    if (!known) {
      this.shown = -1;
      byId("source-calls").hidden = true;
      return this.figures.forget();
    }
    const { selection } = page;
    this.figures.ask([heat, known.file, selection], () => readFigures(heat, known.file, selection), (figures) => {
      this.shown = known.file;
      this.fillLines(known, figures);
      this.renderTitle(known);
      this.fillCalls(heat);
      this.renderTools();
      this.files.draw();
    });
  }

  /** Files that the search finds; all without one. */
  private wantedFiles(all: FileHeat[]): FileHeat[] {
    const { page } = this;
    const { test } = page.searchTest;
    if (!test) return all;
    const functions = new Set<number>();
    const { function_name: rows, function_file: files } = page.profile;
    rows.forEach((_, row) => { if (test(page.names.searchText(page.names.firstFunction + row))) functions.add(files[row]); });
    return all.filter(({ file }) => functions.has(file) || test(page.names.string(file)));
  }

  private fillLines({ file }: FileHeat, { lines: figures, ranges }: Figures): void {
    const { page } = this;
    const text = this.sources.find(page.profile, page.profile.strings[file]);
    const byLine = new Map<number, typeof ranges>();
    for (const range of ranges) {
      for (let line = range.line; line <= Math.min(range.endLine, range.line + 100); line++) byLine.set(line, [...byLine.get(line) ?? [], range]);
    }
    const make = (number: number, content: string | null, gap: boolean): SourceLine =>
      ({ number, text: content, heat: figures.get(number) ?? null, ranges: byLine.get(number) ?? [], gap });
    if (text) {
      const contents = text.text.split(/\r\n|\n|\r/);
      if (contents.at(-1) === "") contents.pop();
      this.lines = contents.map((content, at) => make(at + 1, content, false));
      // Lines that the file does not have (any more) still have their time.
      for (const number of [...figures.keys()].filter((line) => line > contents.length).sort((a, b) => a - b)) this.lines.push(make(number, null, true));
    } else {
      const numbers = [...figures.keys()].sort((a, b) => a - b);
      this.lines = numbers.map((number, at) => make(number, null, at > 0 && numbers[at - 1] !== number - 1));
    }
    if (page.state.warm) {
      const warm = this.lines.filter(({ heat }) => heat);
      this.lines = warm.map((line, at) => ({ ...line, gap: at > 0 && warm[at - 1].number !== line.number - 1 }));
    }
    this.hottest = [...figures.values()].reduce((most, { self }) => Math.max(most, self), 0);
    this.rows.set(this.lines);
    this.revealLine(figures, `${file}:${page.state.line}:${text !== null}`);
  }

  /** The line that was asked for, or the hottest, is brought into view once. */
  private revealLine(figures: Map<number, Heat>, key: string): void {
    if (this.revealed === key || this.rows.scroller.clientHeight === 0) return;
    this.revealed = key;
    const hottest = [...figures].sort(([, a], [, b]) => b.self - a.self || b.total - a.total)[0]?.[0] ?? 1;
    const wanted = this.page.state.line || hottest;
    const at = this.lines.findIndex(({ number }) => number >= wanted);
    this.rows.scroller.scrollTop = Math.max(0, at * LINE_HEIGHT - this.rows.scroller.clientHeight / 3);
    this.rows.draw();
  }

  private renderTitle(file: FileHeat): void {
    const { page } = this;
    const { scale } = page;
    const path = page.names.string(file.file);
    const own = [["Python", file.python], ["native", file.native], ["kernel", file.kernel]] as const;
    const split = own.filter(([, value]) => value > 0).map(([name, value]) => `${name} ${scale.share(value)}`).join(", ");
    byId("source-title").replaceChildren(
      element("div", { class: "sandwich-name" }, element("strong", {}, shorten(baseName(path), 200)), element("bdi", { class: "place" }, shorten(path, 400))),
      element("div", { class: "sandwich-facts" }, `total ${scale.share(file.total)} · self ${scale.share(file.self)}${split ? `: ${split}` : ""}`));
    this.renderNote(page.profile.strings[file.file]);
  }

  /** Why there is no text, or why its lines may be others. */
  private renderNote(path: string): void {
    const { profile } = this.page;
    const text = this.sources.find(profile, path), why = this.sources.why(profile, path);
    const note = byId("source-note");
    const isAsked = profile.served?.sources === "asked";
    note.hidden = text ? !text.changed_since : why === null && !isAsked;
    const command = (words: string) => element("code", {}, words);
    if (hasNoFile(path)) {
      note.hidden = false;
      note.textContent = "This code is in no file: the program made it while it ran, or it is part of the interpreter. Its lines have their figures.";
    } else if (text) note.textContent = "This file was changed after the recording: lines may not be where they were.";
    else if (isAsked) note.textContent = why === null ? "The text of this file is being read." : `The text of this file is not here: ${printable(why.trim())}.`;
    else if (profile.served?.sources === "refused") {
      note.replaceChildren("The text of source files is not shown, since nobody allowed it to be read. ", command("viperf record --live --embed-source"),
        " shows what the target runs, ", command("--source-root DIR"), " what is below DIR.");
    } else if (profile.served?.state === "file") {
      note.replaceChildren("The text of this file is not in the profile. ", command("viperf view FILE --source-root DIR"), " shows the files below DIR, ",
        command("viperf record --embed-source"), " takes them along.");
    } else {
      note.replaceChildren("The text of this file is not in the page. ", command("viperf convert FILE.viperf -o page.html --source-root DIR"),
        " puts the files below DIR into it, ", command("viperf record --embed-source"), " takes them along.");
    }
  }

  private fillCalls(heat: SourceHeat): void {
    const { line } = this.page.state;
    const area = byId("source-calls");
    if (!this.lines.some((each) => each.number === line && each.heat)) {
      area.hidden = true;
      return this.calls.forget();
    }
    this.calls.ask([heat, this.shown, line], () => heat.calls(this.shown, line), ({ callers, callees }) => {
      area.hidden = false;
      area.replaceChildren(this.renderCallList(`Callers of line ${line}`, callers), this.renderCallList(`Called from line ${line}`, callees));
    });
  }

  private renderCallList(title: string, calls: Call[]): HTMLElement {
    const { page } = this;
    const { names } = page;
    const items = calls.slice(0, CALLS_SHOWN).map(({ row, line, total }) => {
      const kind = names.kind(names.firstFunction + row);
      const isPython = kind === KIND_PYTHON && line > 0;
      const file = names.profile.function_file[row];
      const place = isPython ? `${baseName(names.string(file))}:${line}` : names.place(names.firstFunction + row);
      const made = element("button", { type: "button", class: "call", title: shorten(`${names.functionName(row)}\n${names.place(names.firstFunction + row)}`) },
        element("span", { class: "number" }, page.scale.share(total)), swatch(page.colors, kind),
        element("span", { class: "call-name" }, shorten(names.functionName(row), 120)), element("span", { class: "soft" }, shorten(place, 80)));
      made.addEventListener("click", () => isPython
        ? page.update({ file: names.profile.strings[file], line }, "push") : page.update({ tab: "sandwich", chosen: row }, "push"));
      return made;
    });
    const more = calls.length > CALLS_SHOWN ? [element("p", { class: "soft" }, `and ${formatCount(calls.length - CALLS_SHOWN, "more", "more")}`)] : [];
    return element("div", {}, element("h2", { class: "sandwich-head" }, title),
      ...items.length > 0 ? items : [element("p", { class: "soft" }, "none")], ...more);
  }

  /** The lines of the shown file that have time, as rows of texts and numbers. */
  csvRows(): (string | number)[][] {
    const path = this.page.profile.strings[this.shown] ?? "";
    return [["file", "line", "total", "self", "python", "native", "kernel", "text"], ...this.lines.flatMap(({ number, heat, text }) =>
      heat ? [[path, number, heat.total, heat.self, heat.python, heat.native, heat.kernel, text ?? ""]] : [])];
  }

  private renderRow(line: SourceLine): HTMLElement {
    const { page } = this;
    const made = renderLine(page, line, this.hottest, page.state.line === line.number);
    if (!line.heat) return made;
    const choose = () => {
      if (page.state.line === line.number) return;
      this.revealed = `${this.shown}:${line.number}:${this.sources.find(page.profile, page.profile.strings[this.shown]) !== null}`;
      page.update({ file: page.profile.strings[this.shown], line: line.number }, "push");
    };
    made.addEventListener("click", choose);
    made.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(); });
    return made;
  }

  private renderFile(row: FileRow): HTMLElement {
    const { page } = this;
    if ("heading" in row) return element("div", { class: "list-row list-heading", role: "presentation" }, row.heading);
    const path = page.names.string(row.file);
    const made = element("div", { class: "list-row", role: "option", tabindex: "0", "aria-selected": String(row.file === this.shown), title: shorten(path) },
      renderAmount(page, row.self), element("span", { class: "row-name" }, element("span", {}, shorten(baseName(printable(path)), 100),
        element("span", { class: "soft" }, ` ${shorten(folderOf(path), 100)}`))));
    const choose = () => page.update({ file: page.profile.strings[row.file], line: 0 }, "push");
    made.addEventListener("click", choose);
    made.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(); });
    return made;
  }
}

function* readFigures(heat: SourceHeat, file: number, selection: Selection): Steps<Figures> {
  const lines = yield* part(heat.lines(file), 0, 0.5);
  return { lines, ranges: yield* part(heat.ranges(file, selection), 0.5, 1) };
}

function folderOf(path: string): string {
  const inside = /[\\/](?:site|dist)-packages[\\/](.*)[\\/]/.exec(path) ?? /[\\/]python\d[\d.]*t?[\\/](.*)[\\/]/.exec(path);
  return inside ? inside[1] : path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

/** The project's files, then those of packages, then the standard library's. */
function withHeadings(files: readonly FileHeat[]): FileRow[] {
  return ORIGINS.flatMap((heading, origin): FileRow[] => {
    const own = files.filter((file) => file.origin === origin);
    return own.length > 0 ? [{ heading }, ...own] : [];
  });
}
