// What the boxes are called. A box shows an entry: the whole, a process, a thread, a function, or one line of a function.

const KIND_PYTHON = 1, KIND_NATIVE = 2, KIND_KERNEL = 3, KIND_INCOMPLETE = 4, KIND_INTERPRETER = 5;
const KIND_ROOT = 0, KIND_PROCESS = 6, KIND_THREAD = 7;
const KIND_NAMES = ["whole profile", "Python", "native", "kernel", "incomplete", "interpreter", "process", "thread"];

// Control characters would be invisible and direction marks would reorder what stands around them.
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

function printable(text) {
  return text.replace(UNPRINTABLE, (character) => `\\u{${character.codePointAt(0).toString(16)}}`);
}

function baseName(path) {
  return path.slice(path.lastIndexOf("/") + 1) || path;
}

// Entries are numbers: 0 the whole, then processes, threads, functions, frames (function and line).
class Names {
  constructor(profile) {
    this.profile = profile;
    this.firstProcess = 1;
    this.firstThread = this.firstProcess + profile.processes.length;
    this.firstFunction = this.firstThread + profile.threads.length;
    this.firstFrame = this.firstFunction + profile.function_name.length;
    this.size = this.firstFrame + profile.frame_function.length;
    this.namesakes = findNamesakes(profile.processes);
  }

  string(index) {
    return index === NONE ? "" : printable(this.profile.strings[index]);
  }

  process(row, merged) {
    return this.firstProcess + (merged ? this.namesakes[row] : row);
  }

  // The row of the functions for a function or frame entry, else -1.
  functionRow(entry) {
    if (entry >= this.firstFrame) return this.profile.frame_function[entry - this.firstFrame];
    return entry >= this.firstFunction ? entry - this.firstFunction : -1;
  }

  kind(entry) {
    if (entry >= this.firstFunction) return this.profile.function_kind[this.functionRow(entry)];
    if (entry >= this.firstThread) return KIND_THREAD;
    return entry >= this.firstProcess ? KIND_PROCESS : KIND_ROOT;
  }

  name(entry, view) {
    const row = this.functionRow(entry);
    if (row >= 0) {
      const name = this.string(this.profile.function_name[row]) || "(no name)";
      return this.profile.function_kind[row] === KIND_INCOMPLETE ? `[${name}]` : name;
    }
    if (entry >= this.firstThread) {
      const thread = this.profile.threads[entry - this.firstThread];
      return `${this.string(thread.name) || "(no name)"} (${thread.tid})`;
    }
    if (entry >= this.firstProcess) {
      const process = this.profile.processes[entry - this.firstProcess];
      const name = this.string(process.name) || "(no name)";
      return view.mergeProcesses ? name : `${name} (${process.pid})`;
    }
    return "all";
  }

  // `file:line` of the entry's line or first line, else the library.
  place(entry) {
    const row = this.functionRow(entry);
    if (row < 0) return "";
    const file = this.string(this.profile.function_file[row]);
    const line = this.line(entry) || this.profile.function_line[row];
    if (file && this.profile.function_kind[row] === KIND_PYTHON) return line ? `${file}:${line}` : file;
    return this.string(this.profile.function_library[row]) || file;
  }

  // The short form of the place, for the box itself.
  shortPlace(entry) {
    const row = this.functionRow(entry);
    if (row < 0) return "";
    const line = this.line(entry);
    const file = this.profile.function_kind[row] === KIND_PYTHON ? this.string(this.profile.function_file[row]) : "";
    if (file) return line ? `${baseName(file)}:${line}` : baseName(file);
    return this.isBareAddress(entry) ? "" : this.string(this.profile.function_library[row]);
  }

  // `[library+0xoffset]`: the library is in the name already.
  isBareAddress(entry) {
    return this.kind(entry) === KIND_NATIVE && /^\[.*\+0x.*\]$/.test(this.name(entry, {}));
  }

  line(entry) {
    return entry >= this.firstFrame ? this.profile.frame_line[entry - this.firstFrame] : 0;
  }

  // What a search looks at.
  searchText(entry, view) {
    const place = this.isBareAddress(entry) ? "" : this.place(entry);
    const name = this.name(entry, view);
    return place ? `${name} (${place})` : name;
  }
}

// For each process the first one of its name.
function findNamesakes(processes) {
  const first = new Map();
  return processes.map((process, row) => {
    if (!first.has(process.name)) first.set(process.name, row);
    return first.get(process.name);
  });
}
