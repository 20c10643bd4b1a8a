// What a function belongs to: its module (the file, or the library), and its library or package.

import { NONE, type Profile } from "../data/profile";
import { KIND_INCOMPLETE, KIND_KERNEL, KIND_PYTHON } from "./kinds";
import { inChunks, part, type Steps } from "./steps";

const STANDARD_LIBRARY = "standard library";

/** The package a Python file belongs to: what is installed by its name, the rest by its folder. */
export function packageOf(file: string): string {
  const installed = /[\\/](?:site|dist)-packages[\\/]([^\\/]+)/.exec(file);
  if (installed) return installed[1].replace(/\.py$/, "");
  if (file.startsWith("<frozen ") || /[\\/]lib(?:64)?[\\/]python\d[\d.]*t?[\\/]/.test(file)) return STANDARD_LIBRARY;
  if (/python\d+\.zip[\\/]/.test(file)) return STANDARD_LIBRARY;
  const end = Math.max(file.lastIndexOf("/"), file.lastIndexOf("\\"));
  return end > 0 ? file.slice(0, end + 1) : file || "no file";
}

/** Each function's place in a list of distinct texts. */
export interface Grouping {
  texts: string[];
  /** By function. */
  of: Int32Array;
}

/** Functions that are gone through at a time. */
const CHUNK = 10_000;

function* group(size: number, text: (row: number) => string): Steps<Grouping> {
  const numbers = new Map<string, number>();
  const of = new Int32Array(size);
  yield* inChunks(size, CHUNK, (from, to) => {
    for (let row = from; row < to; row++) {
      const key = text(row);
      let number = numbers.get(key);
      if (number === undefined) numbers.set(key, number = numbers.size);
      of[row] = number;
    }
  });
  return { texts: [...numbers.keys()], of };
}

export interface Groups {
  libraries: Grouping;
  modules: Grouping;
}

export function* groupFunctions(profile: Profile): Steps<Groups> {
  const size = profile.function_name.length;
  const string = (index: number) => index === NONE ? "" : profile.strings[index];
  const outside = (row: number) => {
    const kind = profile.function_kind[row];
    if (kind === KIND_KERNEL) return string(profile.function_library[row]) || "kernel";
    if (kind === KIND_INCOMPLETE) return "incomplete";
    return string(profile.function_library[row]) || "no library";
  };
  const isPython = (row: number) => profile.function_kind[row] === KIND_PYTHON;
  return {
    libraries: yield* part(group(size, (row) => isPython(row) ? packageOf(string(profile.function_file[row])) : outside(row)), 0, 0.6),
    modules: yield* part(group(size, (row) => isPython(row) ? string(profile.function_file[row]) || "no file" : outside(row)), 0.6, 1),
  };
}
